import type { SQL } from 'drizzle-orm'
import { SchemaError } from '../../errors.ts'
import { quoteIdentifier } from '../definition.ts'
import { type ExpressionPlace, expressionText } from '../expression.ts'
import type { Flavor } from './model.ts'

const MAX_NAME_CHARACTERS = 64

/** Quotes an identifier, refusing what no MySQL or MariaDB takes for one. */
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

export function qualified(schema: string | undefined, name: string): string {
  return schema === undefined ? quote(name) : `${quote(schema)}.${quote(name)}`
}

/** The names of columns, quoted and in a row. */
export function list(names: readonly string[]): string {
  return names.map(quote).join(', ')
}

export function label(schema: string | undefined, name: string): string {
  return schema === undefined ? name : `${schema}.${name}`
}

/** What adds to a table that is there. */
export function additionText(flavor: Flavor, table: string, parts: readonly string[]): string {
  return `ALTER TABLE ${table}${waiting(flavor)} ADD ${parts.join(', ADD ')}`
}

/**
 * Whoever waits for a table stands in the way of all who come after, for up to a day: MariaDB can be told to wait no longer
 * than 5 s, MySQL only by a variable of the session.
 */
export function waiting(flavor: Flavor): string {
  return flavor === 'mariadb' ? ' WAIT 5' : ''
}

/** An expression of a model as DDL. */
export function ddlText(expression: SQL, place: ExpressionPlace): string {
  return expressionText(expression, place, { quote, literal: operand })
}

/** A value as a literal; undefined when there is none for it. */
export function literal(value: unknown): string | undefined {
  if (value === null) return 'null'
  if (value instanceof Uint8Array) return `x'${Buffer.from(value).toString('hex')}'`
  switch (typeof value) {
    case 'number':
      return Number.isFinite(value) ? String(value) : undefined
    case 'bigint':
    case 'boolean':
      return String(value)
    case 'string':
      return ESCAPES.test(value) ? `_utf8mb4 ${hex(value)}` : quoted(value)
    default:
      return undefined
  }
}

/** The same within an expression: there MariaDB forgets to escape what it keeps of `_utf8mb4 x'…'`. */
export function operand(value: unknown): string | undefined {
  const isEscaped = typeof value === 'string' && ESCAPES.test(value)
  return isEscaped ? `convert(${hex(value)} using utf8mb4)` : literal(value)
}

/** A value of an ENUM, which takes no word for its character set. */
export function enumValue(value: string): string {
  return ESCAPES.test(value) ? hex(value) : quoted(value)
}

function quoted(value: string): string {
  return `'${value.replaceAll("'", "''")}'`
}

/** Whether a backslash escapes what follows it depends on the `sql_mode`, and a NUL ends statements here and there. */
const ESCAPES = /[\\\0]/

function hex(value: string): string {
  return `x'${Buffer.from(value).toString('hex')}'`
}
