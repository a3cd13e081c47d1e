import type { AdapterOptions, Connection, Database, Executor, TransactionOptions } from './adapter.ts'
import type { Dialect } from './dialect.ts'
import { hidingParams } from './hidden-params.ts'
import { type Limits, runWithin } from './limits.ts'
import {
  type CheckoutOptions,
  type HolderOptions,
  type Lease,
  Pool,
  type PoolRules,
  type PoolStats,
} from './pool.ts'
import type { PoolOptions } from './pool-options.ts'
import type { Statement } from './statement.ts'
import { Scope } from './transaction.ts'
import { type Place, placeOf, type Trace, unwatch, watch } from './unclosed.ts'

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
   * is unknown, and its connection is thrown away: statements of `engine.db` that run on the same one are lost with it.
   * Sessions may say otherwise.
   * @default none
   */
  statementTimeout?: number
}

/** How an engine is closed. */
export interface DisposeOptions {
  /** Seconds that work under way is given to finish; then its connections are broken. `0` breaks them now. @default 5 */
  grace?: number
}

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
  readonly exposeParameters: boolean
  /** The dburi as it may be printed. */
  readonly name: string
}

const GRACE = 5

/** How statements of `engine.db` run. */
const SHARED = { isShared: true }

/** An open database: its dialect, its pool, and the Drizzle handle over both. */
export class Engine<D extends Dialect = Dialect, Db = unknown> implements AsyncDisposable {
  static readonly name: string = 'Engine'

  /** The dialect of `db`, which tells the members of a union of engines apart. */
  readonly dialect: D
  /**
   * The shared Drizzle handle. Each statement autocommits; many run side by side on the connections that no session
   * holds. `db.transaction()` takes a connection of its own for as long as it runs.
   */
  readonly db: Db
  readonly #database: Database<Db>
  readonly #pool: Pool<Connection>
  readonly #name: string
  readonly #shared: Executor
  readonly #exposeParameters: boolean
  /** What statements of this engine are held to. @internal */
  readonly limits: Limits
  #sessions = 0
  #disposed: Promise<void> | null = null

  constructor(parts: EngineParts<D, Db>) {
    const { dialect, database, pool, pooled, statementTimeout, exposeParameters, name } = parts
    this.dialect = dialect
    this.#database = database
    this.#name = name
    this.#exposeParameters = exposeParameters
    this.limits = { statementTimeout, turnTimeout: pool.poolTimeout }
    this.#pool = new Pool((signal) => database.connect(signal), rulesOf(database, pool, pooled))
    this.#shared = this.#sharedExecutor()
    this.db = this.handle(this.#shared)
  }

  /**
   * Checks out one connection, with a Drizzle handle bound to it whose statements autocommit. Close it to give it back;
   * one that is garbage-collected unclosed is given back with a warning that says where it was checked out.
   * @throws PoolTimeoutError, ConnectError, AbortedError, ClosedError
   */
  async connect(options: CheckoutOptions = {}): Promise<EngineConnection<Db>> {
    const place = placeOf(this.connect)
    const lease = await this.checkout(options)
    const scope = Scope.autocommit(lease.connection, this.limits)
    scope.onEnd = () => lease.release()
    return new EngineConnection(this, scope, place)
  }

  /** @internal */
  checkout(options: HolderOptions): Promise<Lease<Connection>> {
    return this.#pool.checkout(options)
  }

  /** A Drizzle handle whose statements go to `executor`. @internal */
  handle(executor: Executor): Db {
    return this.#database.handle(this.#exposeParameters ? executor : hidingParams(executor))
  }

  /** Runs a statement where those of `db` run, without Drizzle: rows have the driver's own shape. @internal */
  run(statement: Statement): Promise<unknown> {
    return this.#shared.run(statement)
  }

  /** Opens a connection beside the pool that hears what is sent to a channel; missing where there are none. @internal */
  get listen(): Database<Db>['listen'] {
    return this.#database.listen
  }

  /** The counters of its pool at this moment, and the dburi without its secrets. */
  stats(): EngineStats {
    return { dburi: this.#name, dialect: this.dialect, ...this.#pool.stats() }
  }

  /** Whether nobody uses or waits for one of its connections, and no session on it is open. */
  get isIdle(): boolean {
    return this.#sessions === 0 && this.#pool.isIdle
  }

  /** A session was made on this engine; the function it gets is called when the session is closed. @internal */
  sessionOpened(): () => void {
    this.#sessions++
    return () => {
      this.#sessions--
    }
  }

  /** Whether `dispose()` was called: nothing new is begun. */
  get isDisposed(): boolean {
    return this.#disposed !== null
  }

  /** Closes all connections: idle ones now, the others when they are returned or the grace is over. Safe to call twice. */
  dispose({ grace = GRACE }: DisposeOptions = {}): Promise<void> {
    this.#disposed ??= this.#pool.dispose(grace).then(() => this.#database.release?.())
    return this.#disposed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  /** Safe to print: no password. */
  toJSON(): EngineStats {
    return this.stats()
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `Engine(${this.#name})`
  }

  #sharedExecutor(): Executor {
    const { limits } = this
    const isLimited = limits.statementTimeout !== undefined
    return {
      run: (statement) =>
        this.#pool.share((connection) =>
          isLimited
            ? runWithin(connection, () => connection.run(statement, SHARED), limits)
            : connection.run(statement, SHARED),
        ),
      begin: (options) => this.#beginShared(options),
    }
  }

  async #beginShared(options: TransactionOptions = {}): Promise<Scope> {
    const lease = await this.checkout({})
    const scope = Scope.autocommit(lease.connection, this.limits)
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

  constructor(engine: Pick<Engine<Dialect, Db>, 'handle'>, scope: Scope, place: Place) {
    this.#scope = scope
    // Whoever has the handle has the connection, so that it is not collected under a handle in use.
    this.db = engine.handle({
      run: (statement) => this.#scope.run(statement),
      begin: (options) => this.#scope.begin(options),
    })
    watch(this, traceOf(scope, place))
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
function traceOf(scope: Scope, place: Place): Trace {
  return { what: 'connection', place, letGo: () => void scope.close() }
}

/** No limit helps: such a database cannot be opened twice. */
const ONE_CONNECTION =
  'This database has one connection, whatever poolSize says, and a session or a transaction holds it until it ends: ' +
  'inside of one use its own handle (the `db` of the session, the `tx` of the transaction) instead of `engine.db` or ' +
  'another session, and close sessions that are done.'

function rulesOf(database: Database<unknown>, pool: PoolOptions, pooled: boolean): PoolRules {
  const { poolSize, maxOverflow, poolTimeout, poolRecycle, poolPrePing } = pool
  if (database.pooling === 'static') {
    return {
      keep: 1,
      limit: 1,
      spread: 1,
      timeout: poolTimeout,
      recycle: -1,
      prePing: false,
      advice: ONE_CONNECTION,
    }
  }
  const limit = maxOverflow === -1 ? Number.POSITIVE_INFINITY : poolSize + maxOverflow
  return {
    keep: pooled ? poolSize : 0,
    limit: pooled ? limit : Number.POSITIVE_INFINITY,
    spread: Math.min(database.spread ?? poolSize, poolSize),
    ...(database.pipeline !== undefined && { pipeline: database.pipeline }),
    timeout: poolTimeout,
    recycle: poolRecycle,
    prePing: poolPrePing,
  }
}
