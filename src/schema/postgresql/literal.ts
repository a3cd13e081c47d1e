import type { SQL } from 'drizzle-orm'
import type { Casing } from '../casing.ts'
import { unsupported } from '../definition.ts'
import { expressionText } from '../expression.ts'
import { quote } from './names.ts'

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

/** What an expression stands in: whose it is, and what errors call it. */
export interface ExpressionPlace {
  readonly owner: string
  readonly what: string
  readonly casing: Casing | undefined
  readonly isUnqualified?: boolean
}

/** An expression of a model as DDL, its values written down where drizzle-kit leaves a `$1` that nobody fills. */
export function ddlText(
  expression: SQL,
  { owner, what, casing, isUnqualified = false }: ExpressionPlace,
): string {
  return expressionText(expression, {
    quote,
    casing,
    isUnqualified,
    literal(value) {
      const text = isPlainObject(value) ? literal(JSON.stringify(value)) : literal(value)
      if (text === undefined) throw unsupported(owner, `${what} holds a value that cannot be written down`)
      // Or the minus of `x - ${-1}` would begin a comment.
      return text.startsWith('-') ? `(${text})` : text
    },
  })
}

function isPlainObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}
