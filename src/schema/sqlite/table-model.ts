import type { getTableConfig } from 'drizzle-orm/sqlite-core'
import { type Casing, type ColumnKey, columnName } from '../casing.ts'
import { quote } from './text.ts'

/** A table as its model describes it. */
export interface TableModel extends ReturnType<typeof getTableConfig> {
  readonly casing: Casing | undefined
}

/** The names of columns, quoted and in a row. */
export function columnList(columns: readonly ColumnKey[], casing: Casing | undefined, comma = ','): string {
  return columns.map((column) => quote(columnName(column, casing))).join(comma)
}
