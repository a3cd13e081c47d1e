import { is, SQL } from 'drizzle-orm'
import type { PgColumn } from 'drizzle-orm/pg-core'
import type { Casing } from '../casing.ts'
import { unsupported } from '../definition.ts'
import { isDrizzle1 } from '../drizzle-version.ts'
import type { ColumnType } from './column-type.ts'
import { ddlText, literal } from './literal.ts'

/** What stands behind DEFAULT; undefined when the database is to know none. */
export function defaultText(
  table: string,
  column: PgColumn,
  type: ColumnType,
  casing: Casing | undefined,
): string | undefined {
  const what = `the default of its column "${column.name}"`
  const value: unknown = column.default
  if (value === undefined) return undefined
  if (is(value, SQL)) return ddlText(value, { owner: table, what, casing, isUnqualified: true })

  const text = type.dimensions > 0 ? arrayText(column, type, value) : valueText(column, value)
  if (text === undefined) throw unsupported(table, `${what} cannot be written down`)
  return text
}

function valueText(column: PgColumn, value: unknown): string | undefined {
  if (isJson(column)) {
    const json = jsonText(value)
    return json === undefined ? undefined : literal(json)
  }
  const mapped = toDriver(column, value)
  // A number that its column sends as text is still written as the number that it is, as drizzle-kit does.
  return literal(String(mapped) === String(value) ? value : mapped)
}

function isJson(column: PgColumn): boolean {
  return /^jsonb?$/.test(column.getSQLType())
}

/** Text that is JSON already is taken for just that, as drizzle-kit takes it before 1.0. */
function jsonText(value: unknown): string | undefined {
  if (typeof value !== 'string' || isDrizzle1) return attempt(() => JSON.stringify(value))
  return attempt(() => JSON.parse(value)) === undefined ? JSON.stringify(value) : value
}

/** What an insert would send; a default that its column cannot map is sent as it is. */
function toDriver(column: PgColumn, value: unknown): unknown {
  return value === null ? null : (attempt(() => column.mapToDriverValue(value)) ?? value)
}

/** Undefined where `work` throws: what a value's own code says to being written down is of no use to anybody. */
function attempt<Result>(work: () => Result): Result | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}

function arrayText(
  column: PgColumn,
  { element, dimensions }: ColumnType,
  value: unknown,
): string | undefined {
  if (!Array.isArray(value)) return literal(value)
  // Under Drizzle 1.0 the column is its own element, and maps the array as a whole.
  const isMapped = element === column && !isJson(element)
  const elements: unknown = isMapped ? toDriver(column, value) : value
  const written = elementText(elements, dimensions, (item) => {
    if (isJson(element)) return jsonText(item)
    return isMapped ? item : toDriver(element, item)
  })
  return written === undefined ? undefined : literal(written)
}

/** An array in the form that PostgreSQL reads, down to the depth at which its elements are. */
function elementText(value: unknown, depth: number, map: (item: unknown) => unknown): string | undefined {
  if (value === null) return 'NULL'
  if (depth > 0 && Array.isArray(value)) {
    const items = value.map((item) => elementText(item, depth - 1, map))
    return items.includes(undefined) ? undefined : `{${items.join(',')}}`
  }

  const mapped = map(value)
  if (mapped instanceof Uint8Array) return `"\\\\x${Buffer.from(mapped).toString('hex')}"`
  if (mapped instanceof Date) return `"${mapped.toISOString()}"`
  if (typeof mapped === 'string') return `"${mapped.replace(/["\\]/g, '\\$&')}"`
  return typeof mapped === 'number' || typeof mapped === 'bigint' || typeof mapped === 'boolean'
    ? String(mapped)
    : undefined
}
