import type { SQL } from 'drizzle-orm'
import { namesBy, quotedText } from '../../models/names.ts'
import { quoteIdentifier } from '../definition.ts'
import { SchemaError } from '../errors.ts'
import { type ExpressionContext, expressionText } from '../expression.ts'
import { literalIn } from '../text.ts'
import type { Flavor } from './model.ts'

const MAX_NAME_CHARACTERS = 64

/** Quotes an identifier. @throws SchemaError for one that neither MySQL nor MariaDB accepts */
export function quote(name: string): string {
  if (name.length > MAX_NAME_CHARACTERS) {
    const reason = `it has ${name.length} characters and the database keeps ${MAX_NAME_CHARACTERS}`
    throw badName(name, `${reason}. Give it a shorter name in its model`)
  }
  if (/[\u{10000}-\u{10ffff}]/u.test(name)) throw badName(name, 'it holds a character beyond U+FFFF')
  if (name.endsWith(' ')) throw badName(name, 'it ends with a space')
  return quoteIdentifier(name, '`')
}

function badName(name: string, reason: string): SchemaError {
  return new SchemaError('SCHEMA_INVALID_NAME', `Cannot use the name "${name}": ${reason}`)
}

export const { qualified, list } = namesBy(quote)

/** The statement that adds parts to an existing table. */
export function additionText(flavor: Flavor, table: string, parts: readonly string[]): string {
  return `ALTER TABLE ${table}${waiting(flavor)} ADD ${parts.join(', ADD ')}`
}

/**
 * A statement that waits for a table's metadata lock blocks all later ones, for up to a day. MariaDB takes a limit of 5
 * s in the statement, MySQL only as a session variable.
 */
export function waiting(flavor: Flavor): string {
  return flavor === 'mariadb' ? ' WAIT 5' : ''
}

/** An expression of a model as DDL. */
export function ddlText(expression: SQL, context: ExpressionContext): string {
  return expressionText(expression, context, { quote, literal: operand })
}

export const literal = literalIn({
  bytes: (hex) => `x'${hex}'`,
  text: (text) => (ESCAPES.test(text) ? `_utf8mb4 ${hexOf(text)}` : quotedText(text)),
})

/** The same within an expression: there MariaDB forgets to escape what it keeps of `_utf8mb4 x'…'`. */
export function operand(value: unknown): string | undefined {
  const isEscaped = typeof value === 'string' && ESCAPES.test(value)
  return isEscaped ? `convert(${hexOf(value)} using utf8mb4)` : literal(value)
}

/** A value of an ENUM, which takes no character set introducer. */
export function enumValue(value: string): string {
  return ESCAPES.test(value) ? hexOf(value) : quotedText(value)
}

/** Whether a backslash escapes what follows it depends on the `sql_mode`, and a NUL ends statements here and there. */
const ESCAPES = /[\\\0]/

function hexOf(value: string): string {
  return `x'${Buffer.from(value).toString('hex')}'`
}
