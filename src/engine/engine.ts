import type { Dialect } from '../dburi/types.ts'
import { hidingParams } from '../driver/client.ts'
import type { Statement } from '../driver/statement.ts'
import type { Connection, Database, DrizzleLogger, Executor, TransactionOptions } from '../driver/types.ts'
import { ConnectError } from '../errors.ts'
import { checkOptions, isObject } from '../options/check.ts'
import type { PoolOptions } from '../options/pool.ts'
import { type Origin, originOf, type Trace, unwatch, watch } from './leaks.ts'
import { CHECKOUT_CHECKS, DISPOSE_CHECKS, type DisposeOptions } from './options.ts'
import { type CheckoutOptions, type HolderOptions, type Lease, Pool } from './pool.ts'
import type { PoolRules, PoolStats } from './pool-rules.ts'
import { type Limits, runWithin, Scope } from './scope.ts'

export type { DisposeOptions, EngineOptions } from './options.ts'

/** What an engine is and the counters of its pool, at one moment; safe to print and to serialise. */
export interface EngineStats extends PoolStats {
  /** The dburi without its password and other secrets. */
  readonly dburi: string
  /** The dialect its Drizzle handles speak. */
  readonly dialect: Dialect
}

/** What an engine is made of, once its options are settled. */
export interface EngineParts<D extends Dialect, Db> {
  readonly dialect: D
  readonly database: Database<Db>
  readonly pool: PoolOptions
  readonly pooled: boolean
  readonly statementTimeout: number | undefined
  readonly logger?: DrizzleLogger | undefined
  readonly exposeParameters: boolean
  /** The dburi as it may be printed. */
  readonly name: string
  /** Where its manager was made. */
  readonly origin: Origin
}

const GRACE = 5

/** Stands for the logger of engines without one, and for Drizzle's own, which is asked for by `true`. */
const NO_LOGGER = {}

/** One warning says it for all databases. */
let hasWarned = false

/** What engines of one open database may each have for themselves; what is left out is as in the first. */
export interface EngineVariant {
  readonly statementTimeout?: number | undefined
  readonly logger?: DrizzleLogger | undefined
}

/** What the engines of one open database have in common. */
interface Shared<D extends Dialect, Db> {
  readonly pool: Pool<Connection>
  /** The engines beside the first, by `logger` and `statementTimeout`. */
  readonly others: WeakMap<object, Map<number | undefined, WeakRef<Engine<D, Db>>>>
  sessions: number
  disposed: Promise<void> | null
  onDispose: ((disposed: Promise<void>) => void) | null
}

/** An open database: its dialect, its pool, and the Drizzle handle over both. */
export class Engine<D extends Dialect = Dialect, Db = unknown> implements AsyncDisposable {
  static readonly name: string = 'Engine'

  /** The dialect of `db`, the discriminant of a union of engines. */
  readonly dialect: D
  /**
   * The shared Drizzle handle. Each statement autocommits, on a connection that nobody else uses meanwhile (on libSQL,
   * with others of its kind); where all are in use it waits its turn, as sessions do. `db.transaction()` takes a connection
   * of its own for as long as it runs.
   */
  readonly db: Db
  readonly #parts: EngineParts<D, Db>
  readonly #shared: Shared<D, Db>
  readonly #executor: Executor
  /** What statements of this engine are held to. @internal */
  readonly limits: Limits
  /** The engine that was opened, for a variant of it. @internal */
  readonly origin: Engine<D, Db>

  constructor(parts: EngineParts<D, Db>, origin?: Engine<D, Db>) {
    const { dialect, pool, statementTimeout } = parts
    this.dialect = dialect
    this.#parts = parts
    this.origin = origin ?? this
    this.#shared = origin === undefined ? sharedOf(parts) : origin.#shared
    this.limits = { statementTimeout, turnTimeout: pool.poolTimeout }
    this.warnOfDeadline(statementTimeout)
    this.#executor = this.#sharedExecutor()
    this.db = this.handle(this.#executor)
  }

  /**
   * The same database and pool, with another deadline for statements or another logger: the same engine for the same ones.
   * @internal
   */
  within(variant: EngineVariant): Engine<D, Db> {
    const { statementTimeout = this.#parts.statementTimeout, logger = this.#parts.logger } = variant
    for (const known of [this, this.origin]) {
      const { statementTimeout: itsTimeout, logger: itsLogger } = known.#parts
      if (statementTimeout === itsTimeout && logger === itsLogger) return known
    }
    const { others } = this.#shared
    const key: object = isObject(logger) ? logger : NO_LOGGER
    const siblings = others.get(key) ?? new Map<number | undefined, WeakRef<Engine<D, Db>>>()
    others.set(key, siblings)
    const known = siblings.get(statementTimeout)?.deref()
    if (known !== undefined && known.#parts.logger === logger) return known

    for (const [seconds, other] of siblings) if (other.deref() === undefined) siblings.delete(seconds)
    const engine = new Engine({ ...this.#parts, statementTimeout, logger }, this.origin)
    siblings.set(statementTimeout, new WeakRef(engine))
    return engine
  }

  /**
   * Checks out one connection, with a Drizzle handle bound to it whose statements autocommit. Close it to give it back;
   * one that is garbage-collected unclosed is given back with a warning that says where it was checked out.
   * @throws PoolTimeoutError, ConnectError, AbortedError, ClosedError
   */
  async connect(options: CheckoutOptions = {}): Promise<EngineConnection<Db>> {
    checkOptions('connect', options, CHECKOUT_CHECKS)
    const origin = originOf(this.connect)
    const lease = await this.checkout(options)
    const scope = Scope.autocommit(lease.connection, this.limits)
    scope.onEnd = () => lease.release()
    return new EngineConnection(this, scope, origin)
  }

  /** Says once in a process that a deadline of statements cannot be kept here, if it is so. @internal */
  warnOfDeadline(statementTimeout: number | undefined): void {
    if (statementTimeout === undefined || hasWarned || this.#parts.database.inThread !== true) return
    hasWarned = true
    process.emitWarning(
      'statementTimeout does not end a statement that runs on a local SQLite database or on PGlite, only one that waits: ' +
        'these work in the thread of the program, where no timer fires meanwhile.',
      { code: 'DRIZZLE_CELERY_STATEMENT_TIMEOUT' },
    )
  }

  /** @internal */
  checkout(options: HolderOptions): Promise<Lease<Connection>> {
    return this.#shared.pool.checkout(options)
  }

  /** A Drizzle handle whose statements go to `executor`. @internal */
  handle(executor: Executor, logger = this.#parts.logger): Db {
    const { database, exposeParameters } = this.#parts
    return database.handle(exposeParameters ? executor : hidingParams(executor), logger)
  }

  /** Runs a statement where those of `db` run, without Drizzle: rows have the driver's own shape. @internal */
  run(statement: Statement): Promise<unknown> {
    return this.#executor.run(statement)
  }

  /** Opens a connection beside the pool that hears what is sent to a channel; missing where there are none. @internal */
  get listen(): Database<Db>['listen'] {
    return this.#parts.database.listen
  }

  /** The counters of its pool at this moment, and the dburi without its secrets. */
  stats(): EngineStats {
    return { dburi: this.#parts.name, dialect: this.dialect, ...this.#shared.pool.stats() }
  }

  /** Whether nobody uses or waits for one of its connections, and no session on it is open. */
  get isIdle(): boolean {
    return this.#shared.sessions === 0 && this.#shared.pool.isIdle
  }

  /** A session was made on this engine; the function it gets is called when the session is closed. @internal */
  sessionOpened(): () => void {
    const shared = this.#shared
    shared.sessions++
    return () => {
      shared.sessions--
    }
  }

  /** Whether `dispose()` was called: nothing new is begun. */
  get isDisposed(): boolean {
    return this.#shared.disposed !== null
  }

  /** Whether its database can be opened again only when it is disposed of. @internal */
  get isExclusive(): boolean {
    return this.#parts.database.exclusive === true
  }

  /** Called once, when `dispose()` is. @internal */
  set onDispose(onDispose: (disposed: Promise<void>) => void) {
    this.#shared.onDispose = onDispose
  }

  /**
   * Closes all connections: idle ones now, the others when they are returned or the grace is over. Its manager opens
   * another engine for who comes later; a database in memory is gone. Safe to call twice.
   */
  dispose(options: DisposeOptions = {}): Promise<void> {
    const shared = this.#shared
    try {
      checkOptions('dispose', options, DISPOSE_CHECKS)
    } catch (error) {
      return Promise.reject(error)
    }
    const { grace = GRACE } = options
    if (shared.disposed !== null) return shared.disposed
    unwatch(shared.pool)
    const disposed = shared.pool.dispose(grace).then(() => this.#parts.database.release?.())
    shared.disposed = disposed
    shared.onDispose?.(disposed)
    return disposed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  /** Safe to print: no password. */
  toJSON(): EngineStats {
    return this.stats()
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `Engine(${this.#parts.name})`
  }

  #sharedExecutor(): Executor {
    const { limits } = this
    const isLimited = limits.statementTimeout !== undefined
    return {
      run: (statement) => {
        const how = { isShared: true, askedAt: performance.now() }
        return this.#shared.pool.share((connection) =>
          isLimited
            ? runWithin(connection, () => connection.run(statement, how), limits)
            : connection.run(statement, how),
        )
      },
      begin: (options) => this.#beginShared(options),
    }
  }

  async #beginShared(options: TransactionOptions = {}): Promise<Scope> {
    const lease = await this.checkout({})
    const scope = Scope.autocommit(lease.connection, this.limits, lease.askedAt)
    scope.onEnd = () => lease.release()
    try {
      const transaction = await scope.begin(options)
      transaction.onEnd = () => void scope.close()
      return transaction
    } catch (error) {
      await scope.close()
      throw error
    }
  }
}

/** One connection checked out of an engine, and the Drizzle handle bound to it. */
export class EngineConnection<Db> implements AsyncDisposable {
  static readonly name: string = 'EngineConnection'

  /** The Drizzle handle of this connection: its statements autocommit, its `transaction()` begins one. */
  readonly db: Db
  readonly #scope: Scope

  constructor(engine: Pick<Engine<Dialect, Db>, 'handle'>, scope: Scope, origin: Origin) {
    this.#scope = scope
    // Whoever has the handle has the connection, so that it is not collected under a handle in use.
    this.db = engine.handle({
      run: (statement) => this.#scope.run(statement),
      begin: (options) => this.#scope.begin(options),
    })
    watch(this, traceOf(scope, origin))
  }

  /** Rolls back a transaction that is still open, and gives the connection back. Safe to call twice. */
  close(): Promise<void> {
    unwatch(this)
    return this.#scope.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** Made here, where nothing leads to the connection that is watched: closures keep what their neighbours use. */
function traceOf(scope: Scope, origin: Origin): Trace {
  return { what: 'connection', origin, letGo: () => void scope.close() }
}

/** No limit helps: such a database cannot be opened twice. */
const ONE_CONNECTION =
  'This database has one connection, whatever poolSize says, and a session or a transaction holds it until it ends: ' +
  'inside of one use its own handle (the `db` of the session, the `tx` of the transaction) instead of `engine.db` or ' +
  'another session, and close sessions that are done.'

/**
 * All that is made of an engine leads to its pool: handles, sessions, statements under way, and who waits for a connection.
 * So once the pool is garbage-collected, nobody can use what it has open.
 */
function sharedOf<D extends Dialect, Db>(parts: EngineParts<D, Db>): Shared<D, Db> {
  const pool = poolOf(parts)
  watch(pool, poolTrace(parts, pool.members))
  return {
    pool,
    others: new WeakMap(),
    sessions: 0,
    disposed: null,
    onDispose: null,
  }
}

function poolOf({ database, pool, pooled }: EngineParts<Dialect, unknown>): Pool<Connection> {
  return new Pool((signal) => database.connect(signal), rulesOf(database, pool, pooled))
}

/** Made here, where nothing leads to the pool that is watched. */
function poolTrace(
  { database, name, origin }: EngineParts<Dialect, unknown>,
  members: ReadonlySet<{ readonly connection: Connection }>,
): Trace {
  return {
    what: 'engine',
    name,
    origin,
    get isUnused() {
      return members.size === 0
    },
    letGo() {
      const closing = [...members].map(({ connection }) => connection.close())
      // There is nobody to be told how it went.
      void Promise.allSettled(closing).then(() => database.release?.().catch(() => {}))
    },
  }
}

function rulesOf(database: Database<unknown>, pool: PoolOptions, pooled: boolean): PoolRules {
  const { poolSize, maxOverflow, poolTimeout, poolRecycle, poolPrePing, idleTimeout } = pool
  if (database.pooling === 'static') {
    return {
      keep: 1,
      limit: 1,
      timeout: poolTimeout,
      recycle: -1,
      idleTimeout: 0,
      prePing: false,
      advice: ONE_CONNECTION,
    }
  }
  const limit = maxOverflow === -1 ? Number.POSITIVE_INFINITY : poolSize + maxOverflow
  return {
    keep: pooled ? poolSize : 0,
    limit: pooled ? limit : Number.POSITIVE_INFINITY,
    ...(database.pipeline !== undefined && { pipeline: database.pipeline }),
    ...(database.spread !== undefined && { spread: Math.min(database.spread, poolSize) }),
    timeout: poolTimeout,
    recycle: poolRecycle,
    idleTimeout,
    prePing: poolPrePing,
    mayPass: (error) => error instanceof ConnectError && error.isServerBusy,
  }
}
