import type { SQL } from 'drizzle-orm'
import { type ExpressionPlace, expressionText } from '../expression.ts'
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
