/**
 * Every error this library throws on its own. Each has a stable `code`; the driver's error is its `cause`.
 *
 * ```
 * DrizzleCeleryError           itself, for what needs no class         IN_TRANSACTION, PROTOCOL_VIOLATION, …
 * ├─ DburiError               the dburi cannot be read                  EMPTY, UNPARSABLE, UNSUPPORTED_DIALECT, …
 * ├─ OptionError              an option is unknown, refused or wrong    UNKNOWN_OPTION, REFUSED_OPTION, INVALID_OPTION
 * ├─ MissingDriverError       the adapter's package is not installed    MISSING_DRIVER
 * ├─ ConnectError             no connection could be opened             CONNECT_FAILED, CONNECT_TIMEOUT, …
 * ├─ DatabaseLockedError      another process has the files open        DATABASE_LOCKED
 * ├─ PoolTimeoutError         all connections stayed in use             POOL_TIMEOUT
 * ├─ ConnectionLostError      it broke; the outcome is unknown          CONNECTION_LOST
 * ├─ NotServingError          the server says that it cannot serve      NOT_SERVING
 * ├─ StatementTimeoutError    no answer within the statement deadline   STATEMENT_TIMEOUT
 * ├─ ResponseTooLargeError    an answer beyond `maxResponseBytes`         RESPONSE_TOO_LARGE
 * ├─ ResultTimeoutError       a task was not done in time               RESULT_TIMEOUT
 * ├─ AbortedError             the caller's AbortSignal fired            ABORTED
 * ├─ TransactionConflictError undone for others' sake; can be run anew  TRANSACTION_CONFLICT
 * ├─ TransactionExpiredError  undone by the server: it was open too long TRANSACTION_EXPIRED
 * ├─ AccessDeniedError        a libSQL token may not do that            ACCESS_DENIED
 * ├─ StorageError             the database file cannot be used          STORAGE_FULL, STORAGE_READ_ONLY, …
 * ├─ PendingRollbackError     the transaction is gone: rollback first   PENDING_ROLLBACK
 * ├─ TransactionAbortedError  commit of a failed transaction            TRANSACTION_ABORTED
 * ├─ ClosedError              used after close or dispose               CLOSED
 * ├─ StatementError           a statement refused before it is sent     INVALID_STATEMENT, INVALID_PARAMETER, …
 * ├─ SchemaError              the tables cannot be prepared             SCHEMA_…
 * ├─ PickleError              a pickle cannot be read or written        PICKLE_TRUNCATED, PICKLE_LIMIT, …
 * ├─ BackendError             a stored result cannot be read or written RESULT_UNREADABLE, RESULT_TOO_LARGE, …
 * ├─ BackendStoreError        a result could not be stored, retried      STORE_FAILED
 * ├─ ChainBrokenError         what comes after a task was not sent       CHAIN_BROKEN
 * ├─ BackendGetMetaError      a task could not be read, retried          GET_META_FAILED
 * ├─ AmbiguousOutcomeError    it may or may not have been written        AMBIGUOUS_OUTCOME
 * └─ TaskError                a task failed, here or in Python          TASK_FAILED
 * ```
 *
 * No message, stack or property carries a password, a token or a bound parameter.
 */
export class DrizzleCeleryError<Code extends string = string> extends Error {
  /** As every class of ours that people see says its name, since minifiers rename classes. */
  static override readonly name: string = 'DrizzleCeleryError'

  /** Stable across releases; branch on this, not on the message. */
  readonly code: Code

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }

  override get name(): string {
    return this.constructor.name
  }
}

/** Why a dburi cannot be read. */
export type DburiErrorCode =
  | 'EMPTY'
  | 'TOO_LONG'
  | 'UNPARSABLE'
  | 'UNSUPPORTED_DIALECT'
  | 'INVALID_PORT'
  | 'HOST_IN_SQLITE_URI'
  | 'URL_INVALID'

/** The part of a dburi an error is about. */
export type DburiPart = 'dburi' | 'scheme' | 'user' | 'password' | 'host' | 'port' | 'database' | 'options'

/** The dburi cannot be read. Never repeats the text it was given: it may hold a password. */
export class DburiError extends DrizzleCeleryError<DburiErrorCode> {
  static override readonly name: string = 'DburiError'

  readonly part: DburiPart

  constructor(code: DburiErrorCode, part: DburiPart, message: string) {
    super(code, message)
    this.part = part
  }
}

/** What is wrong with an option: its name, that it is given at all, or its value. */
export type OptionErrorCode = 'UNKNOWN_OPTION' | 'REFUSED_OPTION' | 'INVALID_OPTION'

/** What is wrong with one option. */
export interface OptionFault {
  readonly code: OptionErrorCode
  readonly option: string
  readonly message: string
}

/**
 * An option, in the dburi or beside it, that is unknown, refused because it is dangerous, or of a wrong value. Where more
 * than one is wrong, the message names them all, and `code` and `option` are the first one's. Values are never repeated.
 */
export class OptionError extends DrizzleCeleryError<OptionErrorCode> {
  static override readonly name: string = 'OptionError'

  readonly option: string
  /** All that is wrong, this one first. */
  readonly faults: readonly OptionFault[]

  constructor(
    code: OptionErrorCode,
    option: string,
    message: string,
    { faults, ...options }: ErrorOptions & { readonly faults?: readonly OptionFault[] } = {},
  ) {
    super(code, message, options)
    this.option = option
    this.faults = faults ?? [{ code, option, message }]
  }
}

/** The npm package of an adapter is not installed. */
export class MissingDriverError extends DrizzleCeleryError<'MISSING_DRIVER'> {
  static override readonly name: string = 'MissingDriverError'

  readonly packageName: string

  constructor(packageName: string, options?: ErrorOptions) {
    super(
      'MISSING_DRIVER',
      `Cannot load the driver "${packageName}": it is not installed. Run: npm install ${packageName}`,
      options,
    )
    this.packageName = packageName
  }
}

/** Why no connection could be opened. */
export type ConnectErrorCode =
  | 'CONNECT_FAILED'
  | 'CONNECT_TIMEOUT'
  | 'TLS_REFUSED'
  | 'TLS_FAILED'
  | 'AUTH_REFUSED'
  | 'NO_SUITABLE_HOST'
  | 'FILE_UNUSABLE'
  | 'ON_CONNECT_FAILED'

/** Where a server is: a host and port, or the path of a Unix socket. */
export type ServerTarget = { readonly host: string; readonly port: number } | { readonly path: string }

/** Where a connection was to go: a server, or the file or directory of a database. */
export type ConnectTarget = ServerTarget | { readonly file: string }

/**
 * No connection could be opened; nothing was done. `CONNECT_FAILED` and `CONNECT_TIMEOUT` may pass by themselves,
 * `TLS_REFUSED` (the server has no TLS), `TLS_FAILED` (it could not prove who it is), `AUTH_REFUSED` (a libSQL server
 * does not take the token, or the way in which a server wants us to prove who we are is too costly, unsafe or unknown) and `FILE_UNUSABLE` (no such
 * directory, no right to it, no SQLite database) want a change of settings. `ON_CONNECT_FAILED`: the program's `onConnect`
 * threw, see the cause.
 */
export class ConnectError extends DrizzleCeleryError<ConnectErrorCode> {
  static override readonly name: string = 'ConnectError'

  readonly host: string | null
  readonly port: number | null
  /** The path of the Unix socket, when it was one. */
  readonly socket: string | null
  /** The path of the database's file or directory, when it was one. */
  readonly file: string | null
  /**
   * The server is there, and lets nobody in for a moment: it has as many connections as it may, or is just starting or
   * stopping. Pools try again until `poolTimeout`.
   */
  readonly isServerBusy: boolean

  constructor(
    code: ConnectErrorCode,
    target: ConnectTarget | null,
    message: string,
    { isServerBusy = false, ...options }: ErrorOptions & { readonly isServerBusy?: boolean } = {},
  ) {
    super(code, message, options)
    this.isServerBusy = isServerBusy
    this.host = target !== null && 'host' in target ? target.host : null
    this.port = target !== null && 'port' in target ? target.port : null
    this.socket = target !== null && 'path' in target ? target.path : null
    this.file = target !== null && 'file' in target ? target.file : null
  }
}

/**
 * The files of the database are open already, in another process or in another engine of this one, and it can be
 * opened once only. Nothing was touched; it may pass by itself.
 */
export class DatabaseLockedError extends DrizzleCeleryError<'DATABASE_LOCKED'> {
  static override readonly name: string = 'DatabaseLockedError'

  /** Whose process has it open. */
  readonly pid: number
  /** Where the database is. */
  readonly path: string

  constructor(path: string, pid: number, reason: string) {
    super('DATABASE_LOCKED', `Cannot open the database ${path}: ${reason}`)
    this.pid = pid
    this.path = path
  }
}

/**
 * No connection became free within `poolTimeout`. Raise the limit, shorten the sessions, or close the ones you forgot.
 * Where connects failed meanwhile, `cause` is the error of the last one.
 */
export class PoolTimeoutError extends DrizzleCeleryError<'POOL_TIMEOUT'> {
  static override readonly name: string = 'PoolTimeoutError'

  constructor(message: string, options?: ErrorOptions) {
    super('POOL_TIMEOUT', message, options)
  }
}

/**
 * The connection broke while the statement was on its way: it may or may not have taken effect. Retry only what
 * may run twice.
 */
export class ConnectionLostError extends DrizzleCeleryError<'CONNECTION_LOST'> {
  static override readonly name: string = 'ConnectionLostError'

  constructor(message: string, options?: ErrorOptions) {
    super('CONNECTION_LOST', message, options)
  }
}

/**
 * The server answered that it cannot do it, since it is not the one that serves: it takes no writes any more, as after a
 * failover, or is no part of its cluster. The statement was certainly not done. The connection was closed, its
 * transaction is gone, and for a while new connections go to the other hosts of the dburi. `cause` is the driver's error.
 */
export class NotServingError extends DrizzleCeleryError<'NOT_SERVING'> {
  static override readonly name: string = 'NotServingError'

  constructor(message: string, options?: ErrorOptions) {
    super('NOT_SERVING', message, options)
  }
}

/** No answer came within the statement's deadline; the connection was thrown away and the outcome is unknown. */
export class StatementTimeoutError extends DrizzleCeleryError<'STATEMENT_TIMEOUT'> {
  static override readonly name: string = 'StatementTimeoutError'

  /** @param option what set the deadline */
  constructor(
    seconds: number,
    option: 'statementTimeout' | 'request_timeout' | 'timeout' = 'statementTimeout',
  ) {
    super(
      'STATEMENT_TIMEOUT',
      `The statement had no answer within its ${option} of ${seconds} s. ` +
        'Its connection was thrown away; whether the statement took effect is unknown.',
    )
  }
}

/**
 * The answer to a statement was larger than `maxResponseBytes`. Its connection was closed before more of it was read;
 * whether the statement took effect is unknown.
 */
export class ResponseTooLargeError extends DrizzleCeleryError<'RESPONSE_TOO_LARGE'> {
  static override readonly name: string = 'ResponseTooLargeError'

  /** The limit, in bytes. */
  readonly maxResponseBytes: number

  constructor(maxResponseBytes: number, options?: ErrorOptions) {
    super(
      'RESPONSE_TOO_LARGE',
      `The answer to the statement is larger than its maxResponseBytes of ${maxResponseBytes}. ` +
        'Its connection was closed; whether the statement took effect is unknown. ' +
        'Read fewer rows or columns at once, or raise maxResponseBytes.',
      options,
    )
    this.maxResponseBytes = maxResponseBytes
  }
}

/** The `AbortSignal` given by the caller fired; `cause` is its reason. */
export class AbortedError extends DrizzleCeleryError<'ABORTED'> {
  static override readonly name: string = 'AbortedError'

  constructor(message: string, options?: ErrorOptions) {
    super('ABORTED', message, options)
  }
}

/**
 * The transaction was undone because of other ones: it could not be serialized with them, met them in a deadlock, or they
 * held the database for longer than it may wait. Nothing of it was kept, so all of it can be run again; a session wants a
 * `rollback()` before. `cause` is the driver's error.
 */
export class TransactionConflictError extends DrizzleCeleryError<'TRANSACTION_CONFLICT'> {
  static override readonly name: string = 'TransactionConflictError'

  constructor(message: string, options?: ErrorOptions) {
    super('TRANSACTION_CONFLICT', message, options)
  }
}

/**
 * @deprecated Use `TransactionConflictError`, which is the same class.
 * @alias
 */
export const ContentionError = TransactionConflictError
/** @deprecated Use `TransactionConflictError`. */
export type ContentionError = TransactionConflictError

/**
 * The server ended the transaction since it was open or idle for longer than it allows; libSQL's servers do so. Nothing of
 * it was kept, so all of it can be run again, in less time; a session wants a `rollback()` before. `cause` is the server's
 * error.
 */
export class TransactionExpiredError extends DrizzleCeleryError<'TRANSACTION_EXPIRED'> {
  static override readonly name: string = 'TransactionExpiredError'

  constructor(options?: ErrorOptions) {
    super(
      'TRANSACTION_EXPIRED',
      'The server ended the transaction, which was open or idle for longer than it allows, and kept nothing of it. ' +
        'Run all of it again, and wait for nothing else while it is open.',
      options,
    )
  }
}

/**
 * The token that a libSQL server was given does not allow that, such as writing with a read-only one; nothing was done.
 * `cause` is the server's error.
 */
export class AccessDeniedError extends DrizzleCeleryError<'ACCESS_DENIED'> {
  static override readonly name: string = 'AccessDeniedError'

  constructor(options?: ErrorOptions) {
    super(
      'ACCESS_DENIED',
      'The libSQL server refused the statement: the authToken does not allow it. Use a token that does; ' +
        'one that may only read needs tables that are there, and sessions that are readOnly.',
      options,
    )
  }
}

/** What is wrong with the file of a database. */
export type StorageErrorCode = 'STORAGE_FULL' | 'STORAGE_READ_ONLY' | 'STORAGE_CORRUPT' | 'STORAGE_FAILED'

/**
 * The file of the database could not be read or written; the statement was not done. `STORAGE_FULL` and
 * `STORAGE_FAILED` may pass when there is room or the disk is back, the others want a person.
 */
export class StorageError extends DrizzleCeleryError<StorageErrorCode> {
  static override readonly name: string = 'StorageError'

  /** The path of the database file. */
  readonly path: string

  constructor(code: StorageErrorCode, path: string, message: string, options?: ErrorOptions) {
    super(code, message, options)
    this.path = path
  }
}

/** The transaction is gone (`cause` says why): nothing runs until `rollback()` or `close()`, as in SQLAlchemy. */
export class PendingRollbackError extends DrizzleCeleryError<'PENDING_ROLLBACK'> {
  static override readonly name: string = 'PendingRollbackError'

  constructor(options?: ErrorOptions) {
    super(
      'PENDING_ROLLBACK',
      'The transaction of this session is gone, and nothing of it was kept unless a commit was under way. ' +
        'Call rollback() to begin anew, or close().',
      options,
    )
  }
}

/** A commit was asked of a transaction in which a statement had failed; the database rolled back instead. */
export class TransactionAbortedError extends DrizzleCeleryError<'TRANSACTION_ABORTED'> {
  static override readonly name: string = 'TransactionAbortedError'

  constructor(options?: ErrorOptions) {
    super(
      'TRANSACTION_ABORTED',
      'Cannot commit: a statement of this transaction failed, so the database rolled all of it back. ' +
        'Its `cause` is that failure. Run what may fail in a nested db.transaction().',
      options,
    )
  }
}

/** Something was used after it was closed or disposed. */
export class ClosedError extends DrizzleCeleryError<'CLOSED'> {
  static override readonly name: string = 'ClosedError'

  constructor(
    what: string,
    { reason = 'it is closed', ...options }: ErrorOptions & { reason?: string } = {},
  ) {
    super('CLOSED', `Cannot use the ${what}: ${reason}`, options)
  }
}

/** A statement that is refused before anything is sent. */
export class StatementError extends DrizzleCeleryError<
  'INVALID_STATEMENT' | 'INVALID_PARAMETER' | 'NESTED_TRANSACTION_OPEN' | 'STREAM_OPEN'
> {
  static override readonly name: string = 'StatementError'
}

/** Why bytes cannot be read as a pickle, or a value cannot be written as one. */
export type PickleErrorCode =
  | 'PICKLE_INPUT'
  | 'PICKLE_TRUNCATED'
  | 'PICKLE_PROTOCOL'
  | 'PICKLE_OPCODE'
  | 'PICKLE_REFUSED'
  | 'PICKLE_STACK'
  | 'PICKLE_MEMO'
  | 'PICKLE_VALUE'
  | 'PICKLE_LIMIT'
  | 'PICKLE_UNENCODABLE'
  | 'PICKLE_CLASS'

/** Where in a pickle, or in the value to be pickled, an error is; what does not apply is left out. */
export interface PicklePlace {
  /** The byte at which the opcode stands. */
  readonly position?: number
  /** The opcode's name, as in Python's `pickletools`. */
  readonly opcode?: string
  /** The way from the value given to `encode` to the one it cannot write: `$.rows[3].callback`. */
  readonly path?: string
  /** The option that would allow it. */
  readonly limit?: string
}

/**
 * A pickle cannot be read, or a value not be written as one. Nothing of a pickle's contents is ever repeated.
 *
 * `PICKLE_INPUT` (no bytes were given), `PICKLE_TRUNCATED`, `PICKLE_OPCODE` (unknown), `PICKLE_STACK`, `PICKLE_MEMO` and
 * `PICKLE_VALUE` (malformed) mean that Python could not read it either; `PICKLE_PROTOCOL` that it is newer than 5;
 * `PICKLE_REFUSED` that it points outside itself, at a persistent id, an extension or an out-of-band buffer;
 * `PICKLE_LIMIT` that it is larger than an option allows; `PICKLE_UNENCODABLE` that Python has no such value;
 * `PICKLE_CLASS` that a function of the option `classes` threw, which is the `cause`.
 */
export class PickleError extends DrizzleCeleryError<PickleErrorCode> {
  static override readonly name: string = 'PickleError'

  readonly position: number | null
  readonly opcode: string | null
  readonly path: string | null
  readonly limit: string | null

  constructor(code: PickleErrorCode, message: string, { cause, ...place }: PicklePlace & ErrorOptions = {}) {
    super(code, message, cause === undefined ? {} : { cause })
    this.position = place.position ?? null
    this.opcode = place.opcode ?? null
    this.path = place.path ?? null
    this.limit = place.limit ?? null
  }
}

/**
 * An error and what caused it, outermost first. Drizzle and we wrap what a driver throws; five levels are more than
 * both do together, and a chain that bites its own tail ends there.
 */
export function causes(error: unknown): unknown[] {
  const chain: unknown[] = []
  let link = error
  while (link !== undefined && link !== null && chain.length < 5 && !chain.includes(link)) {
    chain.push(link)
    link = typeof link === 'object' && 'cause' in link ? link.cause : undefined
  }
  return chain
}

/** The text that `error` itself, not its cause, carries under a property; undefined when it is no text. */
export function textOf(error: unknown, property: string): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const value: unknown = Reflect.get(error, property)
  return typeof value === 'string' ? value : undefined
}

/** Whatever was thrown, as an error: itself, or a new one that says what it was. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}
