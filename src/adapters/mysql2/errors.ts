import { redactMessage } from '../../driver/redact.ts'
import { TransactionConflictError } from '../../errors.ts'
import type { BoundValue } from './values.ts'

/** An error the server sent. */
export interface ServerError extends Error {
  /** The server's name for it: `ER_DUP_ENTRY`. */
  readonly code: string
  readonly errno: number
  readonly sqlState: string
}

export function isServerError(error: unknown): error is ServerError {
  return (
    error instanceof Error &&
    'errno' in error &&
    typeof error.errno === 'number' &&
    'sqlState' in error &&
    typeof error.sqlState === 'string'
  )
}

/**
 * The server ends the connection with this error: shutdown, kill, too long idle, or a packet that is too large.
 * 1053 ER_SERVER_SHUTDOWN, 1153 ER_NET_PACKET_TOO_LARGE, 1184 ER_NEW_ABORTING_CONNECTION, 1927 ER_CONNECTION_KILLED,
 * 3169 ER_SESSION_WAS_KILLED, 4031 ER_CLIENT_INTERACTION_TIMEOUT.
 */
export function connectionIsGone({ errno }: ServerError): boolean {
  return [1053, 1153, 1184, 1927, 3169, 4031].includes(errno)
}

/**
 * The server lets nobody in, or this user, as long as others keep their connections: 1040 ER_CON_COUNT_ERROR, 1203
 * ER_TOO_MANY_USER_CONNECTIONS, and 1226 ER_USER_LIMIT_REACHED for a user's own `max_user_connections`; its other limits
 * are counted by the hour.
 */
export function isBusy({ errno, message }: ServerError): boolean {
  return errno === 1040 || errno === 1203 || (errno === 1226 && message.includes('max_user_connections'))
}

/**
 * The server takes no writes any more, as after a failover: a new connection may find the one that does.
 * 1290 ER_OPTION_PREVENTS_STATEMENT, 1836 ER_READ_ONLY_MODE.
 */
export function isDemoted({ errno, message }: ServerError): boolean {
  return errno === 1836 || (errno === 1290 && /read[-_]only/i.test(message))
}

/**
 * The server rolls the whole transaction back with this error, or may: 1020 ER_CHECKREAD, 1205 ER_LOCK_WAIT_TIMEOUT,
 * 1206 ER_LOCK_TABLE_FULL, 1213 ER_LOCK_DEADLOCK, 1614 ER_XA_RBDEADLOCK.
 */
export function rollsBack({ errno }: ServerError): boolean {
  return [1020, 1205, 1206, 1213, 1614].includes(errno)
}

/**
 * The server undid a transaction for the sake of another one: 1020 ER_CHECKREAD (of MariaDB's snapshot isolation), 1213
 * ER_LOCK_DEADLOCK (also what Galera says at a commit), 1614 ER_XA_RBDEADLOCK, 3101 ER_TRANSACTION_ROLLBACK_DURING_COMMIT
 * (group replication), and TiDB's 8002, 8005, 8022 and 9007.
 */
const CONFLICTS: ReadonlySet<number> = new Set([1020, 1213, 1614, 3101, 8002, 8005, 8022, 9007])

/** Undoes the statement only, unless innodb_rollback_on_timeout is set. */
const LOCK_WAIT_TIMEOUT = 1205

/**
 * The error to throw for one of the server: as it came, or as the cause of a conflict.
 * @param isUndone whether no transaction is open behind it
 */
export function withConflict(error: ServerError, isUndone: boolean): Error {
  const { errno, code, message } = error
  if (!CONFLICTS.has(errno) && !(errno === LOCK_WAIT_TIMEOUT && isUndone)) return error
  return new TransactionConflictError(
    `MySQL undid the transaction because of another one: ${message} (${code}). ` +
      'Nothing of it was kept: roll back, and run all of it again.',
    { cause: error },
  )
}

/** The statement was not run, since its prepared form is gone: 1243 ER_UNKNOWN_STMT_HANDLER, 1615 ER_NEED_REPREPARE. */
export function isStale(error: unknown): boolean {
  return isServerError(error) && [1243, 1615].includes(error.errno)
}

/** Values that the server quotes: `Duplicate entry '…' for key`, `Incorrect integer value: '…' for column`. */
const QUOTED =
  /\b(entry|value|values|argument|string):? '(?:[\s\S]*'(?= for (?:key|column|function)\b| from )|[\s\S]*'$)/i

/** `BIGINT value is out of range in '(… + 12)'` (1690 ER_DATA_OUT_OF_RANGE) quotes an expression with its values. */
const EXPRESSION = /'[\s\S]*'/

/** The column or key of which a complaint about a value speaks. */
const NAMED = /\b(?:column|key) '([^']*)'(?: at row \d+)?$/

/** SIGNAL, whose text is whatever code in the database put together: 1644 ER_SIGNAL_EXCEPTION, or its usual SQLSTATE. */
function isRaised({ errno, sqlState }: ServerError): boolean {
  return errno === 1644 || sqlState === '45000'
}

/** The same error without what may repeat a parameter. */
export function scrub(error: ServerError, sql: string, params: readonly BoundValue[]): ServerError {
  if (params.length === 0) return made(error, error.message)
  const withoutValues = error.message.replace(QUOTED, "$1 '[hidden]'")
  const hidden = error.errno === 1690 ? withoutValues.replace(EXPRESSION, "'[hidden]'") : withoutValues
  const names = NAMED.exec(hidden)?.slice(1) ?? []
  const about = isRaised(error) ? 'raised' : 'names'
  return made(error, redactMessage(hidden, { sql, params: params.map(textOf), names, about }))
}

function textOf(param: BoundValue): unknown {
  return typeof param === 'object' && param !== null && 'value' in param ? param.value : param
}

/** A new one: what mysql2 throws carries the statement, and the message once more. */
export function made({ code, errno, sqlState }: ServerError, message: string): ServerError {
  return Object.assign(new Error(message), { code, errno, sqlState })
}
