import type { AdapterOptions } from './adapter.ts'
import { aDeadline, aFlag, aLogger, aSignal, aText, type Checks, check } from './check-options.ts'
import { MAX_RESPONSE_BYTES_RULE } from './max-response-bytes.ts'
import type { CheckoutOptions } from './pool.ts'
import { POOL_RULES, type PoolOptions } from './pool-options.ts'

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
