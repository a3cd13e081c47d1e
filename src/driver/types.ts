import type { Cache } from 'drizzle-orm/cache/core'
import type { Dburi, Dialect } from '../dburi/types.ts'
import type { ConnectTarget } from '../errors.ts'
import type { Statement } from './statement.ts'

/** How a transaction begins. */
export interface TransactionOptions {
  /** SQLite is always serializable, which is any of them or more. @default the server's */
  isolationLevel?: 'read uncommitted' | 'read committed' | 'repeatable read' | 'serializable' | undefined
  /**
   * Refuses writes. On SQLite it takes no lock for writing: others write meanwhile, though in `journal_mode=delete` they
   * cannot commit before it ends.
   * @default false
   */
  readOnly?: boolean | undefined
  /** PostgreSQL: wait for a snapshot that cannot fail to serialize. @default false */
  deferrable?: boolean | undefined
  /** MySQL: take the snapshot at once, not at the first read. @default false */
  withConsistentSnapshot?: boolean | undefined
}

/** Where a Drizzle handle sends its statements: a pool, a session, or a transaction. */
export interface Executor {
  /** Runs a statement; rows have the driver's own shape. */
  run(statement: Statement): Promise<unknown>
  /** Begins a transaction, or a savepoint in one. */
  begin(options?: TransactionOptions): Promise<Transaction>
  /** Opens a cursor for a select; missing where nobody asks for one. */
  openCursor?(statement: Statement, batch: number): Promise<Cursor>
}

/** A statement whose rows are fetched a part at a time. */
export interface Cursor {
  /**
   * The next rows, in the shape in which `run` gives them: as many as were asked for, or more; fewer, or none, only at
   * their end.
   */
  fetch(): Promise<readonly unknown[]>
  /** Ends the statement, where it still runs. It never rejects, and is safe to call twice. */
  close(): Promise<void>
}

/** A transaction or a savepoint; after `commit` or `rollback` it refuses every statement. */
export interface Transaction extends Executor {
  /** Keeps what was done. @throws TransactionAbortedError when the database rolled back instead */
  commit(): Promise<void>
  /** Undoes what was done. */
  rollback(): Promise<void>
}

/** What was waited before a connection is asked for something. */
export interface WaitOptions {
  /** When it was asked for, by `performance.now()`: the wait for the connection counts. @default now */
  readonly askedAt?: number | undefined
}

/** How a connection runs a statement. */
export interface RunOptions extends WaitOptions {
  /** Nobody holds the connection: what the statement gives its session is lost with the next one's checkout. @default false */
  readonly isShared?: boolean
  /** It sets up a new connection: what it leaves behind is meant for everybody who uses it. @default false */
  readonly isSetUp?: boolean
}

/** One physical connection. Statements run in the order in which they were given. */
export interface Connection {
  /**
   * Runs a statement; rows have the driver's own shape.
   * @throws ConnectionLostError when the connection breaks first: the outcome is unknown
   */
  run(statement: Statement, options?: RunOptions): Promise<unknown>
  /**
   * Opens a cursor for a select, in a transaction. Undefined if the driver gives all rows of a statement at once.
   * @param batch rows to be fetched at once
   */
  openCursor?(statement: Statement, batch: number): Promise<Cursor>
  /** Begins a transaction. The adapter may send BEGIN with the first statement. */
  begin(options: TransactionOptions, wait?: WaitOptions): Promise<void>
  /** The same at once, for an adapter that sends BEGIN with the first statement whenever it can. */
  beginLater?(options: TransactionOptions): void
  /** Resolves to false when the database rolled back instead, since a statement had failed. */
  commit(): Promise<boolean>
  /** Undoes the open transaction. */
  rollback(): Promise<void>
  /**
   * Sets a savepoint in the open transaction; its name is a word, and no keyword. A connection without this method is sent
   * `savepoint <name>`, and so for the next two.
   */
  savepoint?(name: string): Promise<void>
  /** Forgets a savepoint, and keeps what was done since. */
  release?(name: string): Promise<void>
  /** Undoes what was done since a savepoint, which stays. */
  rollbackTo?(name: string): Promise<void>
  /** Asks the server for a sign of life. */
  ping(): Promise<void>
  /** Breaks the connection now: running statements reject, and the server is asked to stop working on them. */
  discard(reason: Error): void
  /** Ends the connection in an orderly way. Safe to call twice. */
  close(): Promise<void>
  /** Why the connection can never be used again; `null` while it can. */
  readonly lost: Error | null
  /** A statement left state behind that the next user must not see. */
  readonly tainted: boolean
  /** Called once, when the connection is lost. */
  onLost: (() => void) | null
  /** Where it leads. */
  readonly target?: ConnectTarget | undefined
}

/** Callbacks for one NOTIFY channel. */
export interface NotificationHandler {
  /** Called for each notification, with its payload. */
  onMessage(text: string): void
  /** Called once, when the connection is lost and nothing is heard any more. */
  onLost(): void
}

/** An open subscription to one NOTIFY channel, on a connection of its own. */
export interface Subscription {
  /** Safe to call twice. */
  close(): Promise<void>
}

/** A database opened by an adapter: it makes connections, and Drizzle handles over executors. */
export interface Database<Db> {
  /** Opens one more connection. @throws ConnectError */
  connect(signal?: AbortSignal): Promise<Connection>
  /**
   * The Drizzle handle whose statements go to `executor`.
   * @param logger for this handle, instead of the one the database was opened with
   * @param cachesReads whether Drizzle's `cache` may answer its selects; writes invalidate in any case. @default false
   */
  handle(executor: Executor, logger?: DrizzleLogger, cachesReads?: boolean): Db
  /**
   * Subscribes to a channel, on a connection of its own, until it is closed or the database released. Resolves to `null`
   * behind a transaction pooler. Undefined if the driver has no LISTEN.
   * @throws ConnectError
   */
  listen?(channel: string, handler: NotificationHandler, signal?: AbortSignal): Promise<Subscription | null>
  /** `static`: everybody takes turns on one connection. The database outlives it, also in memory, until `release`. */
  readonly pooling: 'queue' | 'static'
  /**
   * How many single statements may run on one connection at once. More than one only where none of them waits for another
   * on that connection, whatever it waits for itself. @default 1
   */
  readonly pipeline?: number
  /** Over how many connections single statements are spread before they share one. @default poolSize */
  readonly spread?: number
  /** Seconds after which an idle connection is closed where no option says it; 0 for never. @default 0 */
  readonly idleTimeout?: number
  /**
   * It runs in this thread, which can do nothing meanwhile: neither a deadline nor a signal ends a statement that runs.
   * @default false
   */
  readonly inThread?: boolean
  /** Milliseconds that opening a connection may take, one server after another apart; setting it up counts. @default 10,000 */
  readonly connectTimeout?: number
  /**
   * Why nothing can be set up on a connection: it is no session of one server, so that what is set reaches strangers, or
   * nobody. A reason, and what to do instead, for the end of a sentence.
   */
  readonly withoutSession?: string
  /** It can be opened by one engine at a time: the next waits until this one is released. @default false */
  readonly exclusive?: boolean
  /** Lets go of what belongs to no connection (files, locks). Called once, after all connections are closed. */
  release?(): Promise<void>
}

/** What an adapter is given beside the dburi. */
export interface AdapterOptions {
  /** The password, asked for whenever a connection is opened; it wins over the one in the dburi. */
  password?: (string | (() => string | Promise<string>)) | undefined
  /** SQL texts a connection keeps prepared: those that were used last. @default 256 */
  statementCacheSize: number
  /**
   * Bytes that the answer to one statement may have, on servers: from the first byte to the last, all rows together, as
   * they are sent; in memory, rows of small values take several times as much. Its connection is closed at the first message beyond, and it rejects with a `ResponseTooLargeError`.
   * @default 1 GiB
   */
  maxResponseBytes: number
  /** Lets errors carry bound parameters. @default false */
  exposeParameters: boolean
  /** SQLite and PGlite files must lie under this directory. */
  sqliteRoot?: string | undefined
  /**
   * MySQL and MariaDB: the time zone of every session, which `timestamp` columns and `current_timestamp` are in. Drizzle
   * sends and reads dates as UTC, so that any other zone shifts them. `UTC`, an offset such as `+09:00`, a name that the
   * server has (`Europe/Berlin`), or `server` for what the server is set to.
   * @default 'UTC'
   */
  timeZone?: string | undefined
  /** Passed on to Drizzle by the handles that are given no logger of their own. */
  logger?: DrizzleLogger | undefined
  /** Passed on to Drizzle 0.45: how columns without a name are called in the database. */
  casing?: 'snake_case' | 'camelCase' | undefined
  /**
   * Drizzle's cache, for the selects of `engine.db`. Sessions and streams read past it, as what they see may be rolled back, and
   * invalidate it by what they write, when they write it.
   */
  cache?: Cache | undefined
  /** PGlite's extensions by name, as its own option has them: `{ pg_trgm }` of `@electric-sql/pglite/contrib/pg_trgm`. */
  extensions?: Readonly<Record<string, unknown>> | undefined
  /** What relational queries (`db.query`) know. */
  models?: Record<string, unknown> | undefined
}

/** Drizzle's own logger, which it calls before each statement; it is given the bound parameters. */
export interface DrizzleLogger {
  /** Called before each statement, with its bound parameters. */
  logQuery(query: string, params: unknown[]): void
}

/** One driver package: opens the databases it understands. */
export interface Adapter<D extends Dialect = Dialect, Db = unknown> {
  readonly dialect: D
  /** @throws OptionError, MissingDriverError */
  open(dburi: Dburi, options: AdapterOptions): Promise<Database<Db>>
}

/** An adapter as a manager takes it among its `adapters`. */
export interface NamedAdapter<Driver extends string = string, D extends Dialect = Dialect, Db = unknown>
  extends Adapter<D, Db> {
  /**
   * The driver's name, by which dburis find it: this package's for the schemes of its own drivers (`postgres-js`). Any
   * other name is a scheme as well (`duckdb` opens `duckdb:…`).
   */
  readonly driver: Driver
}
