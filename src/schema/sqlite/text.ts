import type { SQL } from 'drizzle-orm'
import type { Casing } from '../casing.ts'
import { quoteIdentifier, unsupported } from '../definition.ts'
import { expressionText } from '../expression.ts'

/** Quotes a name as drizzle-kit does; SQLite sets no limit to it but the length of a statement. */
export function quote(name: string): string {
  return quoteIdentifier(name, Number.POSITIVE_INFINITY, '`')
}

/** Whose an expression is, what errors call it, and how it may speak of columns. */
export interface ExpressionPlace {
  readonly owner: string
  readonly what: string
  readonly casing?: Casing | undefined
  /** @default 'qualified' */
  readonly columns?: 'qualified' | 'unqualified' | 'none'
}

/** An expression of a model; the names in it are quoted as Drizzle does. */
export function sqlText(expression: SQL, place: ExpressionPlace): string {
  const { owner, what, casing, columns = 'qualified' } = place
  return expressionText(expression, {
    casing,
    isUnqualified: columns === 'unqualified',
    quote: (name) => {
      if (columns === 'none') throw unsupported(owner, `${what} speaks of "${name}"`)
      return doubleQuote(name)
    },
    literal: (value) => {
      const text = literal(value)
      if (text === undefined) throw unsupported(owner, `${what} holds a value that has no literal`)
      return text
    },
  })
}

export function doubleQuote(name: string): string {
  return quoteIdentifier(name, Number.POSITIVE_INFINITY)
}

/** A value as a literal; undefined when SQLite has none for it. */
export function literal(value: unknown): string | undefined {
  if (value === null) return 'null'
  if (value instanceof Uint8Array) return `X'${Buffer.from(value).toString('hex').toUpperCase()}'`
  switch (typeof value) {
    case 'number':
      return Number.isFinite(value) ? String(value) : undefined
    case 'bigint':
    case 'boolean':
      return String(value)
    case 'string':
      return value.includes('\0') ? undefined : `'${value.replaceAll("'", "''")}'`
    default:
      return undefined
  }
}
