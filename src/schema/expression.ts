import { Column, is, Param, SQL } from 'drizzle-orm'
import { type Casing, columnName } from './casing.ts'
import { unsupported } from './definition.ts'

/** Whose an expression is, what errors call it, and how it may speak of columns. */
export interface ExpressionPlace {
  readonly owner: string
  readonly what: string
  readonly casing?: Casing | undefined
  /** Columns without the name of their table, as indexes and generated columns want them. */
  readonly isUnqualified?: boolean
}

/** How a dialect writes names and values. */
export interface Spelling {
  quote(name: string): string
  /** Undefined for a value that has no literal. */
  literal(value: unknown): string | undefined
}

/**
 * An expression of a model as a DDL statement can hold it: its values are written down where drizzle-kit leaves a
 * placeholder that nobody fills.
 */
export function expressionText(expression: SQL, place: ExpressionPlace, spelling: Spelling): string {
  const { owner, what, casing, isUnqualified = false } = place
  const literal = (value: unknown) => {
    const text = spelling.literal(value)
    if (text === undefined) throw unsupported(owner, `${what} holds a value that cannot be written down`)
    // Or the minus of `x -${-1}` would begin a comment.
    return text.startsWith('-') ? `(${text})` : text
  }
  const config = {
    escapeName: (name: string) => spelling.quote(name),
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
