import {
  Column,
  getTableColumns,
  is,
  Name,
  Param,
  SQL,
  type SQLChunk,
  StringChunk,
  Subquery,
  Table,
} from 'drizzle-orm'
import { unsupported } from './definition.ts'
import { type Casing, columnName } from './names.ts'

/** Where an expression stands: its owner and what it is, for errors, and how it names columns. */
export interface ExpressionContext {
  readonly owner: string
  readonly what: string
  readonly casing?: Casing | undefined
  /** Columns without the name of their table, as indexes and generated columns want them. */
  readonly isUnqualified?: boolean
}

/** How a dialect writes names and values. */
interface Syntax {
  quote(name: string): string
  /** Undefined for a value that has no literal. */
  literal(value: unknown): string | undefined
}

/** An expression of a model as DDL, with literals where drizzle-kit leaves placeholders. */
export function expressionText(expression: SQL, context: ExpressionContext, syntax: Syntax): string {
  const { owner, what, casing, isUnqualified = false } = context
  const literal = (value: unknown) => {
    const text = syntax.literal(value)
    if (text === undefined) throw unsupported(owner, `${what} holds a value that cannot be written down`)
    // Or `x -${-1}` would start a comment.
    return text.startsWith('-') ? `(${text})` : text
  }
  const config = {
    escapeName: (name: string) => syntax.quote(name),
    escapeParam: (_: number, value: unknown) => literal(value),
    escapeString: literal,
    // All that Drizzle 0.45 uses of its cache; 1.0 has none, so that the class cannot be imported.
    casing: { getColumnCasing: (column: Column) => columnName(column, casing) },
    invokeSource: isUnqualified ? ('indexes' as const) : undefined,
  }
  // Without the flag for inlining that a view's query has: Drizzle writes no literals of bigints and bytes.
  return new SQL(expression.queryChunks).toQuery(config as QueryConfig).sql
}

/** The end of a generated column's text; without a mode of its own it has the usual one of Drizzle's dialect. */
export function generatedText(
  { name: owner, casing }: { readonly name: string; readonly casing: Casing | undefined },
  { name, generated }: { readonly name: string; readonly generated: Generated | undefined },
  ddlText: (expression: SQL, context: ExpressionContext) => string,
  usualMode: 'virtual' | 'stored' = 'virtual',
): string {
  if (generated === undefined) return ''
  const { as, mode = usualMode } = generated
  const expression: unknown = typeof as === 'function' ? as() : as
  const context = { owner, what: `the expression of its column "${name}"`, casing, isUnqualified: true }
  const text = is(expression, SQL) ? ddlText(expression, context) : String(expression)
  return ` GENERATED ALWAYS AS (${text}) ${mode.toUpperCase()}`
}

interface Generated {
  readonly as: unknown
  readonly mode?: string | undefined
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

/** Whether SQL text contains a name, quoted or not, in either case. */
export function mentions(text: string, name: string): boolean {
  const pattern = name.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
  const word = String.raw`[\w$\u0080-\uffff]`
  return new RegExp(`(?<!${word})${pattern}(?!${word})`, 'i').test(
    text.replaceAll('""', '"').replaceAll('``', '`'),
  )
}

/**
 * A view's query with the names of the columns in the database: Drizzle's query builder ignores the casing and writes
 * keys.
 */
export function viewQuery(query: SQL, selectedFields: object, casing: Casing | undefined): SQL {
  const names = new Map<string, string>()
  if (casing !== undefined) {
    for (const column of columnsOf([query, ...Object.values(selectedFields)])) {
      if (column.keyAsName) names.set(column.name, columnName(column, casing))
    }
  }
  return names.size === 0 ? query : renamed(query, names)
}

/** The columns of a selection and of the tables it reads, however deep they are. */
function columnsOf(fields: readonly unknown[]): Column[] {
  return fields.flatMap((field): Column[] => {
    if (is(field, Column)) return [field]
    if (is(field, Table)) return Object.values(getTableColumns(field))
    if (is(field, SQL)) return columnsOf(field.queryChunks)
    if (is(field, SQL.Aliased)) return columnsOf([field.sql])
    if (is(field, Subquery)) return columnsOf([field._.sql])
    const isNested = typeof field === 'object' && field !== null && field.constructor === Object
    return isNested ? columnsOf(Object.values(field)) : []
  })
}

/** The same SQL with other names; an alias, or what stands before a dot, is no column's name. */
function renamed(query: SQL, names: ReadonlyMap<string, string>): SQL {
  const { queryChunks } = query
  return new SQL(
    queryChunks.map((chunk, at): SQLChunk => {
      if (is(chunk, SQL)) return renamed(chunk, names)
      if (is(chunk, Subquery) && !chunk._.isWith) {
        return new SQL([
          new StringChunk('('),
          renamed(chunk._.sql, names),
          new StringChunk(') '),
          new Name(chunk._.alias),
        ])
      }
      if (!is(chunk, Name)) return chunk

      const isColumn =
        !/ as $/i.test(textOf(queryChunks[at - 1])) && !textOf(queryChunks[at + 1]).startsWith('.')
      return new Name((isColumn ? names.get(chunk.value) : undefined) ?? chunk.value)
    }),
  )
}

function textOf(chunk: SQLChunk | undefined): string {
  return is(chunk, StringChunk) ? [chunk.value].flat().join('') : ''
}
