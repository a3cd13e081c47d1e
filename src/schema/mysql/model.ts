import type { getTableConfig } from 'drizzle-orm/mysql-core'
import type { Casing } from '../names.ts'

/** Which of the two a server is. They agree on most of their DDL. */
export type Flavor = 'mysql' | 'mariadb'

/** A table as its model describes it. */
export interface TableModel extends ReturnType<typeof getTableConfig> {
  readonly casing: Casing | undefined
  readonly flavor: Flavor
}

export type Column = TableModel['columns'][number]

export function isAutoIncrement(column: Column): boolean {
  return 'autoIncrement' in column && column.autoIncrement === true
}
