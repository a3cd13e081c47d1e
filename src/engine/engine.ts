import type { Dialect } from '../dburi/types.ts'
import { hidingParams } from '../driver/client.ts'
import { withinTransaction } from '../driver/drizzle.ts'
import type { Statement } from '../driver/statement.ts'
import type {
  Connection,
  Cursor,
  Database,
  DrizzleLogger,
  Executor,
  Transaction,
  TransactionOptions,
} from '../driver/types.ts'
import { ConnectError } from '../errors.ts'
import { checkOptions, isObject } from '../options/check.ts'
import type { PoolOptions } from '../options/pool.ts'
import type { DatabaseContext } from '../tracing/contexts.ts'
import { printDatabase, printsAll } from '../tracing/pretty.ts'
import { type Origin, originOf, type Trace, unwatch, watch } from './leaks.ts'
import { type Limited, limitedHandle, STATEMENT_CHECKS, type StatementOptions, streamOf } from './limited.ts'
import { type Limits, limitsWithin, notSent, runWithin } from './limits.ts'
import { type OnConnect, settingUp } from './new-connection.ts'
import { CHECKOUT_CHECKS, DISPOSE_CHECKS, type DisposeOptions } from './options.ts'
import { PING_CHECKS, type PingOptions, pingBy } from './ping.ts'
import { Pool } from './pool.ts'
import type { CheckoutOptions, HolderOptions, Lease, PoolRules, PoolStats } from './pool-rules.ts'
import { Scope } from './scope.ts'
import type { StreamOptions, StreamSource } from './stream.ts'
import { checkedOut, seenConnecting, seenRunning, shared } from './traced.ts'

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
  readonly onConnect?: OnConnect | undefined
  readonly logger?: DrizzleLogger | undefined
  readonly exposeParameters: boolean
  /** Its database as it is printed, and as tracing events name it. */
  readonly seenAs: DatabaseContext
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
  /** `pretty` is for all of them. */
  readonly logger?: DrizzleLogger | 'pretty' | undefined
  readonly slowStatement?: number | undefined
}

/** What the engines of one open database have in common. */
interface Shared<D extends Dialect, Db> {
  readonly pool: Pool<Connection>
  /** The engines beside the first, by `logger` and `statementTimeout`. */
  readonly others: WeakMap<object, Map<number | undefined, WeakRef<Engine<D, Db>>>>
  sessions: number
  disposed: Promise<void> | null
  /** Where statements go instead of the pool. */
  redirect: (() => Promise<Scope>) | null
  onDispose: ((disposed: Promise<void>) => void) | null
  /** Stops the printing of what is done on it. */
  stopPrinting: (() => void) | null
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
    printsAll()
    const { dialect, pool, statementTimeout } = parts
    this.dialect = dialect
    this.#parts = parts
    this.origin = origin ?? this
    this.#shared = origin === undefined ? sharedOf(parts) : origin.#shared
    this.limits = { statementTimeout, turnTimeout: pool.poolTimeout }
    this.warnOfDeadline(statementTimeout)
    this.#executor = this.#sharedExecutor(this.limits)
    this.db = this.handle(this.#executor, this.#parts.logger, true)
  }

  /**
   * The same database and pool, with another deadline for statements or another logger: the same engine for the same ones.
   * @internal
   */
  within(variant: EngineVariant): Engine<D, Db> {
    if (variant.logger === 'pretty') this.print(variant.slowStatement)
    const { statementTimeout = this.#parts.statementTimeout } = variant
    const logger = variant.logger === 'pretty' ? this.#parts.logger : (variant.logger ?? this.#parts.logger)
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
   * A handle over the same pool whose statements have a deadline, a signal or a logger of their own:
   * `engine.with({ signal, statementTimeout: 2 }).db`. A signal ends the wait for a connection as well.
   * @throws OptionError
   */
  with({ signal, ...variant }: StatementOptions): Limited<Db> {
    checkOptions('with', { signal, ...variant }, STATEMENT_CHECKS)
    const engine = this.within(variant)
    const limits = limitsWithin(engine.limits, { signal })
    return limitedHandle({
      ...engine.#streamSource(limits, originOf(this.with)),
      db: () =>
        signal === undefined
          ? engine.db
          : engine.handle(this.#sharedExecutor(limits), engine.#parts.logger, true),
    })
  }

  /**
   * The rows of a select, a batch at a time, in a transaction of its own on one connection: breaking out of the loop gives
   * the connection back. Rows are mapped as Drizzle maps them.
   * @param query what `db.select().from(…)` or `db.query.….findMany()` returns, not awaited
   * @throws OptionError; StatementError for what is no select, and on libSQL, whose driver gives all rows at once
   */
  stream<Row>(
    query: PromiseLike<readonly Row[]>,
    options: StreamOptions = {},
  ): AsyncGenerator<Row, void, undefined> {
    return streamOf(this.#streamSource(this.limits, originOf(this.stream)), query, options)
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

  /** Prints what is done on its database from now on, unless all of them are printed. @internal */
  print(slowStatement?: number): void {
    const shared = this.#shared
    if (printsAll() || (shared.stopPrinting !== null && slowStatement === undefined)) return
    shared.stopPrinting?.()
    shared.stopPrinting = printDatabase(this.#parts.seenAs.dburi, slowStatement)
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
  checkout(options: HolderOptions): Lease<Connection> | Promise<Lease<Connection>> {
    return checkedOut(this.#shared.pool, this.#parts.seenAs, options)
  }

  /** A Drizzle handle whose statements go to `executor`; where they autocommit, Drizzle's cache may have what they read. @internal */
  handle(executor: Executor, logger = this.#parts.logger, cachesReads = false): Db {
    const { database, exposeParameters } = this.#parts
    return database.handle(exposeParameters ? executor : hidingParams(executor), logger, cachesReads)
  }

  /** Runs a statement where those of `db` run, without Drizzle: rows have the driver's own shape. @internal */
  run(statement: Statement): Promise<unknown> {
    return this.#executor.run(statement)
  }

  /** Does something in a transaction on a connection of its own: kept when it returns, undone when it throws. @internal */
  transaction<Result>(work: (transaction: Transaction) => Promise<Result>): Promise<Result> {
    return withinTransaction(this.#executor, work)
  }

  /** Has each statement and transaction be a savepoint in a level, until it is called with `null`; for tests. @internal */
  redirect(to: (() => Promise<Scope>) | null): void {
    this.#shared.redirect = to
  }

  /** Its database as tracing events name it. @internal */
  get seenAs(): DatabaseContext {
    return this.#parts.seenAs
  }

  /** Opens a connection beside the pool that hears what is sent to a channel; missing where there are none. @internal */
  get listen(): Database<Db>['listen'] {
    return this.#parts.database.listen
  }

  /** The counters of its pool at this moment, and the dburi without its secrets. */
  stats(): EngineStats {
    return { dburi: this.#parts.seenAs.dburi, dialect: this.dialect, ...this.#shared.pool.stats() }
  }

  /**
   * Asks the database for a sign of life, on a connection of the pool, for readiness probes.
   * @returns the milliseconds it took, the wait for a connection included
   * @throws PoolTimeoutError when no connection was to be had within `timeout`, StatementTimeoutError when there was no
   * answer on it, ConnectError, ConnectionLostError, AbortedError, ClosedError
   */
  async ping(options: PingOptions = {}): Promise<number> {
    checkOptions('ping', options, PING_CHECKS)
    return pingBy((how) => this.checkout(how), options)
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
    shared.stopPrinting?.()
    const disposed = shared.pool.dispose(grace).then(() => this.#parts.database.release?.())
    shared.disposed = disposed
    shared.onDispose?.(disposed)
    return disposed
  }

  /** For `await using`: `dispose()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  /** Safe to print: no password. */
  toJSON(): EngineStats {
    return this.stats()
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `Engine(${this.#parts.seenAs.dburi})`
  }

  #sharedExecutor(limits: Limits): Executor {
    const { statementTimeout, signal } = limits
    const isLimited = statementTimeout !== undefined || signal !== undefined
    const executor: Executor = {
      run: (statement) => {
        if (signal?.aborted) return Promise.reject(notSent(signal))
        if (this.#shared.redirect !== null) return withinTransaction(executor, (own) => own.run(statement))
        const how = { isShared: true, askedAt: performance.now() }
        const run = (connection: Connection) =>
          seenRunning(connection, statement, how, null, (sent) =>
            isLimited
              ? runWithin(connection, () => connection.run(sent, how), limits)
              : connection.run(sent, how),
          )
        return shared(this.#shared.pool, this.#parts.seenAs, { run, signal })
      },
      begin: (options) => this.#beginShared(options, limits),
      openCursor: (statement, batch) => this.#openCursor(statement, batch, limits),
    }
    return executor
  }

  #streamSource(limits: Limits, origin: Origin): StreamSource {
    return {
      handle: (executor, logger) => this.handle(executor, logger),
      openCursor: (statement, batch) => this.#openCursor(statement, batch, limits, origin),
    }
  }

  /** A cursor in a transaction of its own, which is kept once all rows were read: the select may have called functions. */
  async #openCursor(
    statement: Statement,
    batch: number,
    limits: Limits,
    origin = originOf(this.#openCursor),
  ): Promise<Cursor> {
    const scope = await this.#beginShared(undefined, limits)
    try {
      const cursor = await scope.openCursor(statement, batch)
      const own: Cursor = {
        async fetch() {
          const rows = await cursor.fetch()
          if (rows.length < batch) await scope.commit()
          return rows
        },
        async close() {
          unwatch(own)
          await cursor.close()
          await scope.rollback()
        },
      }
      watch(own, streamTrace(scope, origin))
      return own
    } catch (error) {
      await scope.rollback()
      throw error
    }
  }

  async #beginShared(options: TransactionOptions | undefined, limits: Limits): Promise<Scope> {
    const { redirect } = this.#shared
    // A savepoint has no options of its own.
    if (redirect !== null) return (await redirect()).begin({}, limits)
    const lease = await this.checkout({ signal: limits.signal })
    const scope = Scope.autocommit(lease.connection, limits, lease.askedAt)
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
    // The handle refers to the connection, so that it is not collected while the handle is in use.
    this.db = engine.handle({
      run: (statement) => this.#scope.run(statement),
      begin: (options) => this.#scope.begin(options),
      openCursor: (statement, batch) => this.#scope.openCursor(statement, batch),
    })
    watch(this, traceOf(scope, origin))
  }

  /** Rolls back a transaction that is still open, and gives the connection back. Safe to call twice. */
  close(): Promise<void> {
    unwatch(this)
    return this.#scope.close()
  }

  /** For `await using`: `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** Made here, where nothing leads to the connection that is watched: closures keep what their neighbours use. */
function traceOf(scope: Scope, origin: Origin): Trace {
  return { what: 'connection', origin, letGo: () => void scope.close() }
}

/** Made here for the same reason. */
function streamTrace(scope: Scope, origin: Origin): Trace {
  return { what: 'stream', origin, letGo: () => void scope.rollback() }
}

/** No limit helps: such a database cannot be opened twice. */
const ONE_CONNECTION =
  'This database has one connection, whatever poolSize says, and a session or a transaction holds it until it ends: ' +
  'inside of one use its own handle (the `db` of the session, the `tx` of the transaction) instead of `engine.db` or ' +
  'another session, and close sessions that are done.'

/**
 * Everything made of an engine refers to its pool: handles, sessions, running statements, waiters. So once the pool is
 * garbage-collected, nobody can use its connections.
 */
function sharedOf<D extends Dialect, Db>(parts: EngineParts<D, Db>): Shared<D, Db> {
  const pool = poolOf(parts)
  watch(pool, poolTrace(parts, pool.members))
  return {
    pool,
    others: new WeakMap(),
    sessions: 0,
    disposed: null,
    redirect: null,
    onDispose: null,
    stopPrinting: null,
  }
}

function poolOf(parts: EngineParts<Dialect, unknown>): Pool<Connection> {
  const { dialect, database, pool, pooled, onConnect, seenAs } = parts
  const connect =
    onConnect === undefined
      ? (signal: AbortSignal) => database.connect(signal)
      : settingUp(dialect, database, onConnect)
  return new Pool(seenConnecting(seenAs, connect), rulesOf(database, pool, pooled))
}

/** Made here, where nothing leads to the pool that is watched. */
function poolTrace(
  { database, seenAs, origin }: EngineParts<Dialect, unknown>,
  members: ReadonlySet<{ readonly connection: Connection }>,
): Trace {
  return {
    what: 'engine',
    name: seenAs.dburi,
    origin,
    get isUnused() {
      return members.size === 0
    },
    letGo() {
      const closing = [...members].map(({ connection }) => connection.close())
      // Nobody awaits it.
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
