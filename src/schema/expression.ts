import { Column, is, Param, SQL } from 'drizzle-orm'
import { type Casing, columnName } from './casing.ts'

export interface ExpressionOptions {
  /** What the values in it are written as; throws for a value that has no literal. */
  literal(value: unknown): string
  quote(name: string): string
  readonly casing?: Casing | undefined
  /** Columns without the name of their table, as indexes and generated columns want them. */
  readonly isUnqualified?: boolean
}

/** An expression as a DDL statement can hold it: its values written down where a query would have parameters. */
export function expressionText(expression: SQL, options: ExpressionOptions): string {
  const { literal, quote, casing, isUnqualified = false } = options
  const config = {
    escapeName: quote,
    escapeParam: (_: number, value: unknown) => literal(value),
    escapeString: literal,
    // All that Drizzle 0.45 uses of its cache; 1.0 has none, so that the class cannot be imported.
    casing: { getColumnCasing: (column: Column) => columnName(column, casing) },
    invokeSource: isUnqualified ? ('indexes' as const) : undefined,
  }
  // Without its own flag for inlining, which a view's query has: Drizzle's literals know no bigint and no bytes.
  return new SQL(expression.queryChunks).toQuery(config as QueryConfig).sql
}

type QueryConfig = Parameters<SQL['toQuery']>[0]

/** Drizzle's columns in an expression, however deep. */
export function columnsIn(chunk: unknown): Column[] {
  if (is(chunk, Column)) return [chunk]
  if (Array.isArray(chunk)) return chunk.flatMap(columnsIn)
  if (is(chunk, SQL)) return chunk.queryChunks.flatMap(columnsIn)
  if (is(chunk, SQL.Aliased)) return columnsIn(chunk.sql)
  return is(chunk, Param) ? columnsIn(chunk.value) : []
}

/** Whether SQL text may speak of a name: in quotes or not, in either case. */
export function mentions(text: string, name: string): boolean {
  const pattern = name.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
  const word = String.raw`[\w$\u0080-\uffff]`
  return new RegExp(`(?<!${word})${pattern}(?!${word})`, 'i').test(
    text.replaceAll('""', '"').replaceAll('``', '`'),
  )
}
