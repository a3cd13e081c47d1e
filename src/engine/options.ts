import type { Dialect } from '../dburi/types.ts'
import type { AdapterOptions, TransactionOptions } from '../driver/types.ts'
import { OptionError } from '../errors.ts'
import { aDeadline, aFlag, aLogger, aSignal, aText, type Checks, check, oneOf } from '../options/check.ts'
import { MAX_RESPONSE_BYTES_RULE } from '../options/max-response-bytes.ts'
import { POOL_RULES, type PoolOptions } from '../options/pool.ts'
import { together } from '../options/values.ts'
import type { CheckoutOptions } from './pool.ts'

/**
 * How an engine is opened: the pool's options, the adapter's, and these. What the dburi says as well (`?pool_size=20`)
 * is overruled by what stands here. A wrong value is an `OptionError` when the engine is opened.
 */
export interface EngineOptions
  extends Partial<PoolOptions>,
    Partial<Omit<AdapterOptions, 'casing' | 'models'>> {
  /**
   * Keep up to `poolSize` connections open for the next use. `false` opens one for each use and closes it afterwards,
   * without a limit (SQLAlchemy's `NullPool`). A database in memory, a PGlite or a replica has one connection always.
   * @default true
   */
  pooled?: boolean
  /**
   * Seconds any statement may take. One that takes longer rejects with a `StatementTimeoutError`, whether it took effect
   * is unknown, and its connection is thrown away. Sessions may say otherwise. It opens no database of its own: engines that differ in nothing else share their pool.
   * @default none
   */
  statementTimeout?: number
  /**
   * Stands for the identity of `password` where that is a function: without it another function is another engine, so that
   * two users never share one, and with it functions written inline share the engine of the first. Engines of different
   * keys are different ones, and so are engines of one key that differ in another option. Not among the `engineOptions`
   * of a manager.
   * @default none
   */
  engineKey?: string
}

/** How an engine is closed. */
export interface DisposeOptions {
  /** Seconds that work under way is given to finish; then its connections are broken. `0` breaks them now. @default 5 */
  grace?: number
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
  logger: aLogger,
  engineKey: aText,
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
