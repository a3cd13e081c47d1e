import { textOf } from '../../errors.ts'
import { redactedMessage } from '../postgresql/errors.ts'
import type { BoundValue } from './parameters.ts'

/** An error of PostgreSQL itself: PGlite's `DatabaseError`, whose class has another name in each build. */
export interface ServerError extends Error {
  /** SQLSTATE. */
  readonly code: string
  readonly severity: string
  readonly routine?: string
}

export function isServerError(error: unknown): error is ServerError {
  return (
    error instanceof Error &&
    'severity' in error &&
    'code' in error &&
    typeof error.code === 'string' &&
    /^[0-9A-Z]{5}$/.test(error.code)
  )
}

const SAFE = [
  'severity',
  'code',
  'position',
  'schema',
  'table',
  'column',
  'dataType',
  'constraint',
  'file',
  'line',
  'routine',
] as const

/** What postgres.js calls the same things. */
const ALSO_CALLED = {
  schema_name: 'schema',
  table_name: 'table',
  column_name: 'column',
  constraint_name: 'constraint',
} as const

/**
 * The error as callers may see it: with its facts by PGlite's names and by postgres.js's, and unless parameters may be
 * exposed without what may repeat one: `detail`, `where`, `hint`, the query with its parameters that PGlite hangs on
 * it, and the values inside its message.
 */
export function judged(
  error: ServerError,
  sql: string,
  bound: readonly BoundValue[],
  exposeParameters: boolean,
): ServerError {
  const told = exposeParameters ? error : scrubbed(error, sql, bound)
  for (const [name, original] of Object.entries(ALSO_CALLED)) {
    const value: unknown = Reflect.get(error, original)
    if (value !== undefined) Reflect.set(told, name, value)
  }
  return told
}

function scrubbed(error: ServerError, sql: string, bound: readonly BoundValue[]): ServerError {
  const params = bound.map(({ value }) => (value === null ? null : String(value)))
  const names = Object.values(ALSO_CALLED).flatMap((field) => textOf(error, field) ?? [])
  const told = new (constructorOf(error))(redactedMessage(error, { sql, params }, names), 0, error.name)
  for (const field of SAFE) {
    const value: unknown = Reflect.get(error, field)
    if (value !== undefined) Reflect.set(told, field, value)
  }
  return told
}

function constructorOf(
  error: ServerError,
): new (
  message: string,
  length: number,
  name: string,
) => ServerError {
  return Reflect.get(error, 'constructor')
}
