import type { SQL } from 'drizzle-orm'
import { namesBy } from '../../models/names.ts'
import { quoteIdentifier, type StoredName } from '../definition.ts'
import { type ExpressionContext, expressionText } from '../expression.ts'
import { type Casing, type ColumnKey, columnName } from '../names.ts'
import { dotted, literalIn, textWithoutNul } from '../text.ts'

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

export const { qualified, list } = namesBy(quote)

/** What reports and errors call it: as the database has it. */
export function label(schema: string | undefined, name: string): string {
  return dotted(storedSchema(schema), truncated(name))
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

export const literal = literalIn({
  bytes: (hex) => `'\\x${hex}'`,
  text: textWithoutNul,
  notFinite: (number) => `'${number}'`,
  date: (date) => `'${date.toISOString()}'`,
})

/** An expression of a model as DDL. */
export function ddlText(expression: SQL, context: ExpressionContext): string {
  return expressionText(expression, context, { quote, literal: operand })
}

/** A value within an expression, where a plain object stands for JSON. */
function operand(value: unknown): string | undefined {
  return literal(isPlainObject(value) ? JSON.stringify(value) : value)
}

function isPlainObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}
