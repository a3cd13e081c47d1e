import { redactMessage } from '../../driver/redact.ts'
import { NotServingError, TransactionConflictError } from '../../errors.ts'
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

/** What a server that cannot serve did with what it was asked. */
export type Unfit = 'not done' | 'perhaps done'

/**
 * Whether the server says with this error that it is not the one that serves, so that others are to be asked: 1290
 * ER_OPTION_PREVENTS_STATEMENT of read_only, 1836 ER_READ_ONLY_MODE; 1047 ER_UNKNOWN_COM_ERROR of a Galera node
 * without quorum; 1053 ER_SERVER_SHUTDOWN; 1180 ER_ERROR_DURING_COMMIT of a Galera node that loses it, and 3100
 * ER_RUN_HOOK_ERROR of group replication, whose peers may have the transaction already.
 * @param isCommit a COMMIT may have reached the peers before
 */
export function unfitness({ errno, message }: ServerError, isCommit: boolean): Unfit | null {
  switch (errno) {
    case 1836:
      return 'not done'
    case 1290:
      return READ_ONLY.test(message) ? 'not done' : null
    case 1047:
      if (!/wsrep/i.test(message)) return null
      return isCommit ? 'perhaps done' : 'not done'
    case 1180:
      return /provider status|wsrep|primary component/i.test(message) ? 'perhaps done' : null
    case 1053:
    case 3100:
      return 'perhaps done'
    default:
      return null
  }
}

const READ_ONLY = /read[-_]only/i

/** Whether it is about writing: a server that was asked for as one that only reads may say so. */
export function refusesWrites({ errno }: ServerError): boolean {
  return errno === 1290 || errno === 1836
}

/** What certainly was not done, since its server takes no writes or has lost its cluster. */
export function notServing(cause: ServerError): NotServingError {
  return new NotServingError(
    `MySQL did not do it, since this server does not serve at the moment: ${cause.message} (${cause.code}). ` +
      'The connection was closed, and the next one goes to another host, where the dburi names one.',
    { cause },
  )
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
