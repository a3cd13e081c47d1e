import type { getTableConfig } from 'drizzle-orm/pg-core'
import type { Casing } from '../names.ts'

/** A table as its model describes it. */
export interface TableModel {
  readonly config: ReturnType<typeof getTableConfig>
  readonly casing: Casing | undefined
}

export type Column = TableModel['config']['columns'][number]
