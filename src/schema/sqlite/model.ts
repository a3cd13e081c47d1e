import type { SQL } from 'drizzle-orm'
import type { getTableConfig } from 'drizzle-orm/sqlite-core'
import { quoteIdentifier, unsupported } from '../definition.ts'
import { type ExpressionPlace, expressionText } from '../expression.ts'
import { type Casing, type ColumnKey, columnName } from '../names.ts'

/** A table as its model describes it. */
export interface TableModel extends ReturnType<typeof getTableConfig> {
  readonly casing: Casing | undefined
}

/** The names of columns, quoted and in a row. */
export function columnList(columns: readonly ColumnKey[], casing: Casing | undefined, comma = ','): string {
  return columns.map((column) => quote(columnName(column, casing))).join(comma)
}

/** Quotes a name as drizzle-kit does; SQLite sets no limit to it but the length of a statement. */
export function quote(name: string): string {
  return quoteIdentifier(name, '`')
}

/** An expression of a model; the names in it are quoted as Drizzle does. */
export function sqlText(expression: SQL, place: ExpressionPlace): string {
  return expressionText(expression, place, { quote: doubleQuote, literal })
}

/** An expression that may speak of no column. */
export function constantText(expression: SQL, place: ExpressionPlace): string {
  const quote = (name: string) => {
    throw unsupported(place.owner, `${place.what} speaks of "${name}"`)
  }
  return expressionText(expression, place, { quote, literal })
}

export function doubleQuote(name: string): string {
  return quoteIdentifier(name)
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
