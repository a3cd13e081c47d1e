import { isDrizzle1 } from '../drizzle-version.ts'

/** What drizzle-kit calls a thing of a table that nobody gave a name: from 1.0 on what PostgreSQL would call it. */
export const derivedNames: DerivedNames = isDrizzle1
  ? {
      primaryKey: (table) => `${table}_pkey`,
      uniqueColumn: (table, column) => `${table}_${column}_key`,
      foreignKey: (...parts) => `${parts.join('_')}_fkey`,
    }
  : {
      primaryKey: (...parts) => `${parts.join('_')}_pk`,
      uniqueColumn: (table, column) => `${table}_${column}_unique`,
      foreignKey: (...parts) => `${parts.join('_')}_fk`,
    }

interface DerivedNames {
  primaryKey(table: string, ...columns: string[]): string
  uniqueColumn(table: string, column: string): string
  /** Of a table and its columns, the foreign table and its columns. */
  foreignKey(...parts: string[]): string
}
