import type { Result } from './instance.ts'

/**
 * The rows of one statement, in two shapes at once: an array with a `count`, as postgres.js gives, and an object with
 * `rows`, `fields` and `affectedRows`, as PGlite gives. So code written for PostgreSQL runs on both drivers, and
 * Drizzle's PGlite session, which reads `rows`, finds them. What is added does not show in `console.log` or JSON.
 */
export interface Rows extends Array<unknown> {
  readonly rows: unknown[]
  readonly fields: Result['fields']
  readonly affectedRows: number
  /** Rows written, or given by a statement that writes none. */
  readonly count: number
  readonly command: string | undefined
}

/** The rows of the only statement, or, as postgres.js has it, a list of the rows of each. */
export function rowsOf(results: readonly Result[]): Rows | Rows[] {
  const all = results.map(toRows)
  const [first] = all
  return first !== undefined && all.length === 1 ? first : all
}

export function isRows(answer: unknown): answer is Rows {
  return Array.isArray(answer) && 'affectedRows' in answer
}

function toRows({ rows, fields, affectedRows = 0, command, rowCount }: Result): Rows {
  const count = rowCount ?? rows.length
  // The assertion holds by the properties defined here.
  return Object.defineProperties(rows, {
    rows: { value: rows },
    fields: { value: fields },
    affectedRows: { value: affectedRows },
    count: { value: count },
    command: { value: command },
  }) as Rows
}
