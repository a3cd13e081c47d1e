import { withoutParams } from '../../statement.ts'
import type { Spelled } from './parameters.ts'

/** An error the server sent: postgres.js's `PostgresError`. */
export interface ServerError extends Error {
  /** SQLSTATE. */
  readonly code: string
  readonly severity: string
  readonly routine?: string
}

export function isServerError(error: unknown): error is ServerError {
  return error instanceof Error && error.name === 'PostgresError' && 'code' in error && 'severity' in error
}

/** The server ends the connection with this error: shutdown, crash, or a connection exception. */
export function connectionIsGone(error: ServerError): boolean {
  return /^(?:08|57P0[123])/.test(error.code)
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

/**
 * The same error without what may repeat a parameter: `detail`, `where`, the query that postgres.js hangs on it, and
 * the values inside its message.
 */
export function scrub(error: ServerError, params: readonly Spelled[]): ServerError {
  const fields: Record<string, unknown> = {}
  for (const field of SAFE) if (field in error) fields[field] = Reflect.get(error, field)
  const texts = params.map((param) => (typeof param === 'object' && param !== null ? param.value : param))
  fields['message'] = withoutParams(error.message, texts, error.code)
  return new (constructorOf(error))(fields)
}

/** `PostgresError` is made from the fields the server sent. */
function constructorOf(error: ServerError): new (fields: Record<string, unknown>) => ServerError {
  return Reflect.get(error, 'constructor')
}
