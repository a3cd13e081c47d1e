import { isDrizzle1 } from '../drizzle-version.ts'
import { foreignKeyName } from '../foreign-key-name.ts'
import { MAX_NAME_BYTES, truncated } from './names.ts'

/**
 * What a thing of a table is called that nobody gave a name: as drizzle-kit does, which from 1.0 on leaves the keys of one
 * column to PostgreSQL.
 */
export const derivedNames: DerivedNames = isDrizzle1
  ? {
      primaryKey: (table, ...columns) => (columns.length === 1 ? composed([table], 'pkey') : `${table}_pkey`),
      unique: (table, ...columns) =>
        columns.length === 1
          ? composed([table, ...columns], 'key')
          : `${[table, ...columns].join('_')}_unique`,
      foreignKey: (...parts) => foreignKeyName(parts[0] ?? '', `${parts.join('_')}_fkey`),
    }
  : {
      primaryKey: (...parts) => `${parts.join('_')}_pk`,
      unique: (...parts) => `${parts.join('_')}_unique`,
      foreignKey: (...parts) => `${parts.join('_')}_fk`,
    }

interface DerivedNames {
  primaryKey(table: string, ...columns: string[]): string
  unique(table: string, ...columns: string[]): string
  /** Of a table and its columns, the foreign table and its columns. */
  foreignKey(...parts: string[]): string
}

/** As PostgreSQL makes names (`makeObjectName`): while they are too long the longer part loses bytes at its end. */
function composed(parts: readonly string[], ending: string): string {
  const lengths = parts.map((part) => Buffer.byteLength(part))
  const room = MAX_NAME_BYTES - ending.length - parts.length
  while (lengths.reduce((sum, length) => sum + length, 0) > room) {
    const longest = Math.max(...lengths)
    lengths[lengths.lastIndexOf(longest)] = longest - 1
  }
  return [...parts.map((part, at) => truncated(part, lengths[at])), ending].join('_')
}
