import type { AdapterOptions, Connection, Database, Executor, TransactionOptions } from './adapter.ts'
import type { Dialect } from './dialect.ts'
import { type Limits, runWithin } from './limits.ts'
import { type CheckoutOptions, type Lease, Pool, type PoolRules, type PoolStats } from './pool.ts'
import type { PoolOptions } from './pool-options.ts'
import { hideParams, isOwnError } from './statement.ts'
import { Scope } from './transaction.ts'

/** How an engine is opened. What the dburi says as well (`?pool_size=20`) is overruled by what stands here. */
export interface EngineOptions extends Partial<PoolOptions>, Partial<AdapterOptions> {
  /**
   * `false` opens a connection for each use and closes it afterwards (SQLAlchemy's `NullPool`).
   * @default true
   */
  pooled?: boolean
  /** Seconds any statement may take before its connection is thrown away. @default none */
  statementTimeout?: number
}

/** How an engine is closed. */
export interface DisposeOptions {
  /** Seconds that work under way is given to finish. @default 5 */
  grace?: number
}

export interface EngineStats extends PoolStats {
  readonly dburi: string
  readonly dialect: Dialect
}

/** What an engine is made of, once its options are settled. */
export interface EngineParts<D extends Dialect, Db> {
  readonly dialect: D
  readonly database: Database<Db>
  readonly pool: PoolOptions
  readonly pooled: boolean
  readonly statementTimeout: number | undefined
  /** The dburi as it may be printed. */
  readonly name: string
}

const GRACE = 5

/** An open database: its dialect, its pool, and the Drizzle handle over both. */
export class Engine<D extends Dialect = Dialect, Db = unknown> implements AsyncDisposable {
  readonly dialect: D
  /**
   * The shared Drizzle handle. Each statement autocommits; many run side by side on the connections that no session
   * holds. `db.transaction()` takes a connection of its own for as long as it runs.
   */
  readonly db: Db
  readonly #database: Database<Db>
  readonly #pool: Pool<Connection>
  readonly #name: string
  /** What statements of this engine are held to. @internal */
  readonly limits: Limits
  #sessions = 0
  #disposed: Promise<void> | null = null

  constructor({ dialect, database, pool, pooled, statementTimeout, name }: EngineParts<D, Db>) {
    this.dialect = dialect
    this.#database = database
    this.#name = name
    this.limits = { statementTimeout, turnTimeout: pool.poolTimeout }
    this.#pool = new Pool((signal) => database.connect(signal), rulesOf(database, pool, pooled))
    this.db = this.handle(this.#sharedExecutor())
  }

  /**
   * Checks out one connection, with a Drizzle handle bound to it whose statements autocommit. Close it to give it back.
   * @throws PoolTimeoutError, ConnectError, AbortedError, ClosedError
   */
  async connect(options: CheckoutOptions = {}): Promise<EngineConnection<Db>> {
    const lease = await this.checkout(options)
    const scope = Scope.autocommit(lease.connection, this.limits)
    scope.onEnd = () => lease.release()
    return new EngineConnection(this.handle(scope), scope)
  }

  /** @internal */
  checkout(options: CheckoutOptions): Promise<Lease<Connection>> {
    return this.#pool.checkout(options)
  }

  /** A Drizzle handle whose statements go to `executor`. @internal */
  handle(executor: Executor): Db {
    return this.#database.handle(hidingParams(executor))
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
            ? runWithin(connection, () => connection.run(statement), limits)
            : connection.run(statement),
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
  readonly db: Db
  readonly #scope: Scope

  constructor(db: Db, scope: Scope) {
    this.db = db
    this.#scope = scope
  }

  /** Rolls back a transaction that is still open, and gives the connection back. Safe to call twice. */
  close(): Promise<void> {
    return this.#scope.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/**
 * The same executor, whose refusals show no parameters: Drizzle hangs those of the statement on whatever it is thrown,
 * also when the statement never came to a connection, which would have hidden them.
 */
function hidingParams(executor: Executor): Executor {
  return {
    run(statement) {
      const result = executor.run(statement)
      result.catch((error: unknown) => {
        if (isOwnError(error)) hideParams(statement.params)
      })
      return result
    },
    async begin(options) {
      const transaction = await executor.begin(options)
      return {
        ...hidingParams(transaction),
        commit: () => transaction.commit(),
        rollback: () => transaction.rollback(),
      }
    },
  }
}

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
    }
  }
  const limit = maxOverflow === -1 ? Number.POSITIVE_INFINITY : poolSize + maxOverflow
  return {
    keep: pooled ? poolSize : 0,
    limit: pooled ? limit : Number.POSITIVE_INFINITY,
    spread: Math.min(database.spread ?? poolSize, poolSize),
    timeout: poolTimeout,
    recycle: poolRecycle,
    prePing: poolPrePing,
  }
}
