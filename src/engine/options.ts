import type { Dialect } from '../dburi/types.ts'
import type { AdapterOptions, DrizzleLogger, TransactionOptions } from '../driver/types.ts'
import { OptionError } from '../errors.ts'
import {
  aDeadline,
  aFlag,
  aFunction,
  aSignal,
  aText,
  type Checks,
  check,
  isLogger,
  isObject,
  oneOf,
} from '../options/check.ts'
import { MAX_RESPONSE_BYTES_RULE } from '../options/max-response-bytes.ts'
import { POOL_RULES, type PoolOptions } from '../options/pool.ts'
import { together } from '../options/values.ts'
import type { OnConnect } from './new-connection.ts'
import type { CheckoutOptions } from './pool-rules.ts'

type Optional<Options> = { [Name in keyof Options]?: Options[Name] | undefined }

/**
 * How an engine is opened: the pool's options, the adapter's, and these. What the dburi says as well (`?pool_size=20`)
 * is overruled by what stands here. A wrong value is an `OptionError` when the engine is opened.
 */
export interface EngineOptions
  extends Optional<PoolOptions>,
    Optional<Omit<AdapterOptions, 'casing' | 'models' | 'logger'>> {
  /**
   * Drizzle's logger, which it calls before each statement. Or `pretty`: a line on stderr for each statement once it is
   * answered, with milliseconds, rows and connection, for BEGIN and COMMIT, and for waits in the pool; never parameters. It
   * is for all engines of the dburi, and for no session alone; `NODE_DEBUG=drizzle-celery` is for all dburis.
   * @default none
   */
  logger?: DrizzleLogger | 'pretty' | undefined
  /** With `logger: 'pretty'`: milliseconds from which on a statement is marked as SLOW. @default none is */
  slowStatement?: number | undefined
  /**
   * Keep up to `poolSize` connections open for the next use. `false` opens one for each use and closes it afterwards,
   * without a limit (SQLAlchemy's `NullPool`). A database in memory, a PGlite or a replica has one connection always.
   * @default true
   */
  pooled?: boolean | undefined
  /**
   * Seconds any statement may take. One that takes longer rejects with a `StatementTimeoutError`, whether it took effect
   * is unknown, and its connection is thrown away. Sessions may say otherwise. It opens no database of its own: engines that differ in nothing else share their pool.
   * @default none
   */
  statementTimeout?: number | undefined
  /**
   * Called for each new connection before anybody gets it: what it sets (`SET`, `PRAGMA`, `set role`, a temporary table)
   * stays for all who use the connection later. Where it throws, the connection is closed and who waited for it rejects
   * with a `ConnectError` (`ON_CONNECT_FAILED`) and the cause. It counts into the dburi's `connect_timeout`. Refused
   * (`REFUSED_OPTION`) behind a pooler in transaction mode and on libSQL servers and their replicas, where what is set on a connection
   * reaches strangers or nobody. Connections for NOTIFY are not set up. Counts by identity, as `password` does. Known as
   * SQLAlchemy's `connect` event, Knex' `afterCreate`, and node-postgres' and MikroORM's hooks.
   * @default none
   */
  onConnect?: OnConnect | undefined
  /**
   * Stands for the identity of `password` and `onConnect` where they are functions: without it another function is another engine, so that
   * two users never share one, and with it functions written inline share the engine of the first. Engines of different
   * keys are different ones, and so are engines of one key that differ in another option. Not among the `engineOptions`
   * of a manager.
   * @default none
   */
  engineKey?: string | undefined
}

/** How an engine is closed. */
export interface DisposeOptions {
  /** Seconds that work under way is given to finish; then its connections are broken. `0` breaks them now. @default 5 */
  grace?: number | undefined
}

/** What each option of an engine must be. */
export const ENGINE_CHECKS: Checks<EngineOptions> = {
  poolSize: check(...POOL_RULES.poolSize),
  maxOverflow: check(...POOL_RULES.maxOverflow),
  poolTimeout: check(...POOL_RULES.poolTimeout),
  poolRecycle: check(...POOL_RULES.poolRecycle),
  poolPrePing: check(...POOL_RULES.poolPrePing),
  idleTimeout: check(...POOL_RULES.idleTimeout),
  pooled: aFlag,
  statementTimeout: aDeadline,
  statementCacheSize: check(
    (value) => Number.isSafeInteger(value) && Number(value) >= 0,
    'a whole number from 0',
  ),
  maxResponseBytes: check(...MAX_RESPONSE_BYTES_RULE),
  exposeParameters: aFlag,
  password: check(
    (value) => typeof value === 'string' || typeof value === 'function',
    'a text, or a function that returns one',
  ),
  sqliteRoot: aText,
  timeZone: aText,
  cache: check(
    (value) => isObject(value) && 'get' in value && 'put' in value && 'onMutate' in value,
    'a cache of Drizzle, with get(), put() and onMutate()',
  ),
  extensions: check(isObject, 'an object with the extensions of PGlite by their names'),
  logger: check(
    (value) => value === 'pretty' || isLogger(value),
    "an object with logQuery(query, params), or 'pretty'",
  ),
  slowStatement: check((value) => typeof value === 'number' && value >= 0, 'a number of milliseconds from 0'),
  engineKey: aText,
  onConnect: aFunction,
}

export const CHECKOUT_CHECKS: Checks<CheckoutOptions> = { signal: aSignal, ownConnection: aFlag }

export const DISPOSE_CHECKS: Checks<DisposeOptions> = {
  grace: check((value) => typeof value === 'number' && value >= 0, 'a number of seconds from 0'),
}

/** What each option of a transaction must be. */
export const TRANSACTION_CHECKS: Checks<TransactionOptions> = {
  isolationLevel: oneOf('read uncommitted', 'read committed', 'repeatable read', 'serializable'),
  readOnly: aFlag,
  deferrable: aFlag,
  withConsistentSnapshot: aFlag,
}

const NAMES = ['isolationLevel', 'readOnly', 'deferrable', 'withConsistentSnapshot'] as const

/** The only dialect that has the option. SQLite is always serializable, which is what any isolation level asks for or more. */
const ONLY_IN: { readonly [Name in keyof TransactionOptions]?: Dialect } = {
  deferrable: 'postgresql',
  withConsistentSnapshot: 'mysql',
}

/** The options of a transaction among others; what is left out, or undefined, is as in `under`. */
export function transactionOptionsOf(
  options: TransactionOptions,
  under: TransactionOptions = {},
): TransactionOptions {
  const given = NAMES.filter((name) => options[name] !== undefined)
  if (given.length === 0) return under
  return { ...under, ...Object.fromEntries(given.map((name) => [name, options[name]])) }
}

/** @throws OptionError for what another dialect has */
export function assertOfDialect(dialect: Dialect, options: TransactionOptions): void {
  refuse(options, (name) => {
    const only = ONLY_IN[name]
    return only === undefined || only === dialect ? null : `is for ${only}, and this is ${dialect}`
  })
}

/** @throws OptionError where statements belong to no transaction that could have them */
export function refuseAll(options: TransactionOptions): void {
  refuse(options, () => 'goes not with autocommit: give it to begin(), where a transaction is to have it')
}

function refuse(options: TransactionOptions, why: (name: keyof TransactionOptions) => string | null): void {
  const errors = NAMES.flatMap((name) => {
    const reason = options[name] ? why(name) : null
    return reason === null ? [] : [new OptionError('INVALID_OPTION', name, `The option ${name} ${reason}`)]
  })
  if (errors.length > 0) throw together(errors)
}
