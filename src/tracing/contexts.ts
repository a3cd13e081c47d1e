import type { Dialect } from '../dburi/types.ts'

/** The database that something was done on. */
export interface DatabaseContext {
  readonly dialect: Dialect
  /** The dburi without its password and other secrets. */
  readonly dburi: string
  /** The name of the database, or the path of its file; `null` for the default one, and in memory. */
  readonly database: string | null
  /** The host or the Unix socket: of several hosts the first, until one of them is connected. `null` without a server. */
  serverAddress: string | null
  /** `null` for a socket, and without a server. */
  serverPort: number | null
}

/** What each context has once it is over: with `asyncEnd`, and with `error`. */
export interface OutcomeContext {
  /** Milliseconds from `start`. */
  durationMs?: number
  /** What it failed with. It holds no parameters, unless the engine has `exposeParameters`. */
  error?: unknown
  /**
   * What the failure is called: the server's own word (`23505`, `ER_DUP_ENTRY`, `SQLITE_CONSTRAINT`), or the code of an
   * error of this library (`POOL_TIMEOUT`).
   */
  errorCode?: string
  /** Whether `errorCode` is the server's. */
  isServerError?: boolean
}

/** `drizzle-celery:connect`: a connection is opened, and set up by `onConnect`. */
export interface ConnectContext extends DatabaseContext, OutcomeContext {
  /** Which connection it is, of those that this process has opened; missing where none was. */
  connection?: number
}

/** `drizzle-celery:checkout`: a connection is asked of the pool; its duration is the wait. */
export interface CheckoutContext extends DatabaseContext, OutcomeContext {
  /** For a session, a transaction or `connect()`, which hold it, or for one statement of `engine.db`. */
  readonly holder: 'lease' | 'statement'
}

/** `drizzle-celery:statement`: a statement is sent, and answered; that of a stream ends with the last rows that are fetched. */
export interface StatementContext extends DatabaseContext, OutcomeContext {
  /** Which connection it runs on, of those that this process has opened. */
  readonly connection: number
  /** Its text as it is sent: with placeholders where there are parameters, and with whatever literals were written. */
  readonly text: string
  /** Its first word, in capitals: `SELECT`, `INSERT`, … */
  readonly operation: string
  /** Whether it has parameters, which are not told. */
  readonly isParameterized: boolean
  /** Milliseconds that were waited for its connection, where it was the first to use it. */
  readonly poolWaitMs: number
  /** The transaction or savepoint that it belongs to, where somebody listened when that began. */
  readonly transaction: TransactionContext | null
  /**
   * For subscribers of `start` to set: sent as a comment behind the text, where the server's own logs have it. A text that is
   * another one each time is prepared for nothing, so this costs what preparing saves.
   */
  comment?: string
  /** Rows that it gave, or wrote; missing where the driver does not say. */
  rows?: number
}

/** `drizzle-celery:transaction`: from its begin to its end. */
export interface TransactionContext extends DatabaseContext, OutcomeContext {
  /** Which connection it is on, of those that this process has opened. */
  readonly connection: number
  /** 0 for a transaction, and one more for each savepoint within the other. */
  readonly depth: number
  /** What a savepoint is in; `null` for a transaction. */
  readonly outer: TransactionContext | null
  readonly isolationLevel: string | null
  readonly readOnly: boolean
  /** How it ended; missing where it failed. */
  outcome?: 'commit' | 'rollback'
}

/** `drizzle-celery:session`: a call of `manager.session()`, with all its attempts. */
export interface SessionContext extends OutcomeContext {
  /** The dburi without its password and other secrets. */
  readonly dburi: string
}

/** `drizzle-celery:prepare`: a database is brought up to the models. */
export interface PrepareContext extends DatabaseContext, OutcomeContext {
  /** Objects that were created. */
  created?: number
}

/** `drizzle-celery:store`: a `DatabaseBackend` stores results. Ids, states and results are not told. */
export interface StoreContext extends DatabaseContext, OutcomeContext {
  /** How many. */
  readonly count: number
}
