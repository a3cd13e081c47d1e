import { textOf } from '../../errors.ts'
import { redactedMessage } from '../postgresql/errors.ts'
import type { BoundValue } from './values.ts'

/** An error the server sent: postgres.js's `PostgresError`, whose class a minifier may have renamed. */
export interface ServerError extends Error {
  /** SQLSTATE. */
  readonly code: string
  readonly routine?: string
}

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

/**
 * The server lets nobody in for a moment: too_many_connections (of the server, the database or the role), or
 * cannot_connect_now, since it starts or stops.
 */
export function isBusy(error: ServerError): boolean {
  return error.code === '53300' || error.code === '57P03'
}

const SAFE = [
  'severity_local',
  'severity',
  'code',
  'position',
  'schema_name',
  'table_name',
  'column_name',
  'constraint_name',
  'file',
  'line',
  'routine',
] as const

const NAMES = ['schema_name', 'table_name', 'column_name', 'constraint_name'] as const

/**
 * The same error without what may repeat a parameter: `detail`, `where`, the query that postgres.js hangs on it, and
 * the values inside its message.
 */
export function scrub(error: ServerError, sql: string, params: readonly BoundValue[]): ServerError {
  const fields: Record<string, unknown> = { name: 'PostgresError' }
  for (const field of SAFE) if (field in error) fields[field] = Reflect.get(error, field)
  const texts = params.map((param) => (typeof param === 'object' && param !== null ? param.value : param))
  const names = NAMES.flatMap((field) => textOf(error, field) ?? [])
  fields['message'] = redactedMessage(error, { sql, params: texts }, names)
  return new (constructorOf(error))(fields)
}

/** `PostgresError` is made from the fields the server sent. */
function constructorOf(error: ServerError): new (fields: Record<string, unknown>) => ServerError {
  return Reflect.get(error, 'constructor')
}
