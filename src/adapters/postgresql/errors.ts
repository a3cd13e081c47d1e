import { type MessageContext, redactMessage } from '../../driver/redact.ts'
import { isOwnError } from '../../driver/statement.ts'
import { ConnectionLostError, NotServingError, StatementError, textOf } from '../../errors.ts'

/** An error of PostgreSQL itself: a driver's own class for it, which a minifier may have renamed. */
export interface ServerError extends Error {
  /** SQLSTATE. */
  readonly code: string
  /** The function of the server that threw it. */
  readonly routine?: string
}

/** What is looked at in a message of the server. */
export type ErrorFacts = Pick<ServerError, 'message' | 'code' | 'routine'>

/** Every server sends a severity with its SQLSTATE; some leave out the form of it that is never translated. */
export function isServerError(error: unknown): error is ServerError {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    /^[0-9A-Z]{5}$/.test(error.code) &&
    ('severity' in error || 'severity_local' in error)
  )
}

/** The server ends the connection with this error: shutdown, crash, or a connection exception. */
export function connectionIsGone(error: ServerError): boolean {
  return /^(?:08|57P0[123])/.test(error.code)
}

/** cannot_connect_now, which a pooler may answer a statement with: no server has seen it. */
export function letsNobodyIn({ code }: ServerError): boolean {
  return code === '57P03'
}

/** read_only_sql_transaction: the statement writes, and its transaction may only read. */
export function isReadOnly({ code }: ServerError): boolean {
  return code === '25006'
}

/**
 * The server lets nobody in for a moment: too_many_connections (of the server, the database or the role), or
 * cannot_connect_now, since it starts or stops.
 */
export function isBusy(error: ServerError): boolean {
  return error.code === '53300' || error.code === '57P03'
}

/** For a COPY whose data the server wants from the client, or sends to it. */
export function copyRefused(): StatementError {
  return new StatementError(
    'INVALID_STATEMENT',
    'Cannot run COPY FROM STDIN or COPY TO STDOUT: a Drizzle handle has no stream for the data. ' +
      'Use a client of your own for it.',
  )
}

/** What the statement was that failed. */
export interface FailedStatement {
  readonly sql: string
  /** The texts of its parameters, as they were sent. */
  readonly params: readonly unknown[]
}

/** The fields of an error that repeat no parameter, by postgres.js's names and by those of pg and PGlite. */
const SAFE = [
  'severity_local',
  'severity',
  'code',
  'position',
  'schema_name',
  'table_name',
  'column_name',
  'constraint_name',
  'schema',
  'table',
  'column',
  'dataType',
  'constraint',
  'file',
  'line',
  'routine',
] as const

/** What postgres.js calls what pg and PGlite call otherwise. */
const ALSO_CALLED = {
  schema_name: 'schema',
  table_name: 'table',
  column_name: 'column',
  constraint_name: 'constraint',
} as const

/**
 * The error as callers may see it, of the class it had: with its facts by postgres.js's names whatever the driver, and
 * unless parameters may be exposed without what may repeat one: `detail`, `where`, `hint`, the query with its parameters
 * that drivers hang on it, and the values inside its message.
 */
export function translated(
  error: ServerError,
  statement: FailedStatement,
  { exposeParameters }: { readonly exposeParameters: boolean },
): ServerError {
  for (const [name, original] of Object.entries(ALSO_CALLED)) {
    const value: unknown = Reflect.get(error, original)
    if (value !== undefined) Reflect.set(error, name, value)
  }
  return exposeParameters ? error : scrub(error, statement)
}

/** The same error without what may repeat a parameter. */
export function scrub(error: ServerError, statement: FailedStatement): ServerError {
  const names = Object.keys(ALSO_CALLED).flatMap((field) => textOf(error, field) ?? [])
  const redacted = new Error(redactedMessage(error, statement, names))
  Object.setPrototypeOf(redacted, Object.getPrototypeOf(error))
  const fields = SAFE.flatMap((field) => {
    const value: unknown = Reflect.get(error, field)
    return value === undefined ? [] : [[field, value]]
  })
  // `name` is an own property of theirs, and that of the class in a program that was minified.
  const name = error.name === 'error' ? 'error' : 'PostgresError'
  return Object.assign(redacted, { name, code: error.code }, Object.fromEntries(fields))
}

/**
 * The server's message without what may repeat a parameter.
 * @param names that the server gave beside it: of the table, the column, the constraint
 */
export function redactedMessage(
  error: ErrorFacts,
  { sql, params }: FailedStatement,
  names: readonly string[],
): string {
  const { message, code } = error
  const about = aboutOf(error)
  // Integrity errors quote names only: values stand in their detail.
  const isViolation = about === 'names' && code.startsWith('23') && names.length > 0
  return redactMessage(message, { sql, params, about, names: isViolation ? namesIn(message) : names })
}

function aboutOf({ code, routine }: ErrorFacts): MessageContext['about'] {
  if (routine === RAISE || !SERVERS.test(code)) return 'raised'
  return ABOUT_NAMES.test(code) ? 'names' : 'values'
}

/** What throws for RAISE in PL/pgSQL, also with the SQLSTATE of one of the server's errors. */
const RAISE = 'exec_stmt_raise'

/** The classes of the server's own errors. P0001 is RAISE's own, class 38 that of other languages. */
const SERVERS = /^(?!38|P0001)(?:[0-5]|F0|HV|P0|XX)/

/** Integrity, transaction state, unknown or wrong names, and the state of objects. */
const ABOUT_NAMES = /^(?:23|25|3B|3D|3F|42|55)/

function namesIn(message: string): string[] {
  return Array.from(message.matchAll(/"([^"]*)"/g), ([, name = '']) => name)
}

/** A standby, or a server that was told to refuse writes: not a role or a client that is not to write. */
export const ONLY_READS = `select case when pg_catalog.pg_is_in_recovery() or exists (select from pg_catalog.pg_settings
  where name = 'default_transaction_read_only' and setting = 'on'
  and source not in ('session', 'client', 'user', 'database user')) then 'only' end as reads`

/** What certainly was not done, since its server takes no writes or lets nobody in. */
export function notServing(cause: Error): NotServingError {
  return new NotServingError(
    'PostgreSQL did not do it, since this server does not serve at the moment: it takes no writes or lets nobody in. ' +
      'The connection was closed, and the next one goes to another host, where the dburi names one.',
    { cause },
  )
}

/** What is under way when a connection ends. */
export function lostBy(reason: Error): ConnectionLostError {
  return new ConnectionLostError(
    'The connection to PostgreSQL was lost. A statement that was under way may or may not have taken effect.',
    { cause: withoutStatement(reason) },
  )
}

/** postgres.js hangs the statement and its parameters on whatever error breaks its socket; this is what says why. */
function withoutStatement(reason: Error): Error {
  if (isOwnError(reason) || isServerError(reason)) return reason
  const { message, cause } = reason
  const code = textOf(reason, 'code')
  return Object.assign(
    new Error(message, cause === undefined ? {} : { cause }),
    code !== undefined && { code },
  )
}
