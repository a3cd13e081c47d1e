import type { SQL } from 'drizzle-orm'
import type { getTableConfig } from 'drizzle-orm/sqlite-core'
import { namesBy } from '../../models/names.ts'
import { quoteIdentifier, unsupported } from '../definition.ts'
import { type ExpressionContext, expressionText } from '../expression.ts'
import { type Casing, type ColumnKey, columnNames } from '../names.ts'
import { literalIn, textWithoutNul } from '../text.ts'

/** A table as its model describes it. */
export interface TableModel extends ReturnType<typeof getTableConfig> {
  readonly casing: Casing | undefined
}

/** The names of columns, quoted and in a row. */
export function columnList(columns: readonly ColumnKey[], casing: Casing | undefined, comma = ','): string {
  return list(columnNames(columns, casing), comma)
}

/** Quotes a name as drizzle-kit does; SQLite sets no limit to it but the length of a statement. */
export function quote(name: string): string {
  return quoteIdentifier(name, '`')
}

const { list } = namesBy(quote)

/** An expression of a model; the names in it are quoted as Drizzle does. */
export function sqlText(expression: SQL, context: ExpressionContext): string {
  return expressionText(expression, context, { quote: doubleQuote, literal })
}

/** An expression that must not name a column. */
export function constantText(expression: SQL, context: ExpressionContext): string {
  const quote = (name: string) => {
    throw unsupported(context.owner, `${context.what} speaks of "${name}"`)
  }
  return expressionText(expression, context, { quote, literal })
}

export function doubleQuote(name: string): string {
  return quoteIdentifier(name)
}

export const literal = literalIn({ bytes: (hex) => `X'${hex.toUpperCase()}'`, text: textWithoutNul })
