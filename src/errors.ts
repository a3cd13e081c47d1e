/**
 * Every error this library throws on its own. Each has a stable `code`; the driver's error is its `cause`.
 *
 * ```
 * DrizzleCeleryError
 * ├─ DburiError               the dburi cannot be read                  EMPTY, UNPARSABLE, UNSUPPORTED_DIALECT, …
 * ├─ OptionError              an option is unknown, refused or wrong    UNKNOWN_OPTION, REFUSED_OPTION, INVALID_OPTION
 * ├─ MissingDriverError       the adapter's package is not installed    MISSING_DRIVER
 * ├─ ConnectError             no connection could be opened             CONNECT_FAILED, CONNECT_TIMEOUT, …
 * ├─ PoolTimeoutError         all connections stayed in use             POOL_TIMEOUT
 * ├─ ConnectionLostError      it broke; the outcome is unknown          CONNECTION_LOST
 * ├─ StatementTimeoutError    no answer within the statement deadline   STATEMENT_TIMEOUT
 * ├─ AbortedError             the caller's AbortSignal fired            ABORTED
 * ├─ ContentionError          others held the database; not done        CONTENTION
 * ├─ PendingRollbackError     the transaction is gone: rollback first   PENDING_ROLLBACK
 * ├─ TransactionAbortedError  commit of a failed transaction            TRANSACTION_ABORTED
 * ├─ ClosedError              used after close or dispose               CLOSED
 * ├─ StatementError           a statement refused before it is sent     INVALID_STATEMENT, INVALID_PARAMETER
 * └─ SchemaError              the tables cannot be prepared             SCHEMA_…
 * ```
 *
 * No message, stack or property carries a password, a token or a bound parameter.
 */
export class DrizzleCeleryError<Code extends string = string> extends Error {
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

export type DburiErrorCode =
  | 'EMPTY'
  | 'UNPARSABLE'
  | 'UNSUPPORTED_DIALECT'
  | 'INVALID_PORT'
  | 'HOST_IN_SQLITE_URI'
  | 'URL_INVALID'

/** The part of a dburi an error is about. */
export type DburiPart = 'dburi' | 'scheme' | 'user' | 'password' | 'host' | 'port' | 'database' | 'options'

/** The dburi cannot be read. Never repeats the text it was given: it may hold a password. */
export class DburiError extends DrizzleCeleryError<DburiErrorCode> {
  readonly part: DburiPart

  constructor(code: DburiErrorCode, part: DburiPart, message: string) {
    super(code, message)
    this.part = part
  }
}

/** An option, in the dburi or beside it, that is unknown, refused because it is dangerous, or of a wrong value. */
export class OptionError extends DrizzleCeleryError<'UNKNOWN_OPTION' | 'REFUSED_OPTION' | 'INVALID_OPTION'> {
  readonly option: string

  constructor(code: OptionError['code'], option: string, message: string, options?: ErrorOptions) {
    super(code, message, options)
    this.option = option
  }
}
