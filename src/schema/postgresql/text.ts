import type { SQL } from 'drizzle-orm'
import { quoteIdentifier, type StoredName } from '../definition.ts'
import { type ExpressionPlace, expressionText } from '../expression.ts'
import { type Casing, type ColumnKey, columnName } from '../names.ts'

/** PostgreSQL truncates longer identifiers, wherever a statement has them. */
export const MAX_NAME_BYTES = 63

/** Quotes an identifier, truncated as PostgreSQL would do it. */
export function quote(name: string): string {
  return quoteIdentifier(truncated(name))
}

export function storedName(modelName: string): StoredName {
  return { name: truncated(modelName), modelName }
}

export function storedColumnName(column: ColumnKey, casing: Casing | undefined): string {
  return truncated(columnName(column, casing))
}

/** A schema that a model names, or none. */
export function storedSchema(schema: string | undefined): string | undefined {
  return schema === undefined ? undefined : truncated(schema)
}

export function qualified(schema: string | undefined, name: string): string {
  return schema === undefined ? quote(name) : `${quote(schema)}.${quote(name)}`
}

export function list(names: readonly string[]): string {
  return names.map(quote).join(', ')
}

/** What reports and errors call it: as the database has it. */
export function label(schema: string | undefined, name: string): string {
  return schema === undefined ? truncated(name) : `${truncated(schema)}.${truncated(name)}`
}

/** A name as PostgreSQL stores it: truncated between characters. */
export function truncated(name: string, maxBytes = MAX_NAME_BYTES): string {
  const bytes = Buffer.from(name)
  return bytes.length <= maxBytes ? name : bytes.toString('utf8', 0, characterStart(bytes, maxBytes))
}

/** The first byte, in UTF-8, of the character that the byte at `index` is part of. */
function characterStart(bytes: Uint8Array, index: number): number {
  let start = index
  while (((bytes[start] ?? 0) & 0xc0) === 0x80) start -= 1
  return start
}

/** A value, as a driver would be given it, as SQL text; undefined for what has no literal. */
export function literal(value: unknown): string | undefined {
  if (value === null) return 'null'
  if (value instanceof Uint8Array) return `'\\x${Buffer.from(value).toString('hex')}'`
  if (value instanceof Date) return `'${value.toISOString()}'`
  switch (typeof value) {
    case 'number':
      return Number.isFinite(value) ? String(value) : `'${value}'`
    case 'bigint':
    case 'boolean':
      return String(value)
    case 'string':
      return value.includes('\0') ? undefined : `'${value.replaceAll("'", "''")}'`
    default:
      return undefined
  }
}

/** An expression of a model as DDL. */
export function ddlText(expression: SQL, place: ExpressionPlace): string {
  return expressionText(expression, place, { quote, literal: operand })
}

/** A value within an expression, where a plain object stands for JSON. */
function operand(value: unknown): string | undefined {
  return literal(isPlainObject(value) ? JSON.stringify(value) : value)
}

function isPlainObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}
