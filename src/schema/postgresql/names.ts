import { type Casing, type ColumnKey, columnName } from '../casing.ts'
import { quoteIdentifier, type StoredName } from '../definition.ts'

/** PostgreSQL truncates longer identifiers, wherever a statement has them. */
export const MAX_NAME_BYTES = 63

/** Quotes an identifier, truncated as PostgreSQL would do it. */
export function quote(name: string): string {
  return quoteIdentifier(truncated(name))
}

export function storedName(modelName: string): StoredName {
  return { name: truncated(modelName), modelName }
}

export function storedColumnName(column: ColumnKey, casing: Casing | undefined): string {
  return truncated(columnName(column, casing))
}

/** A schema that a model names, or none. */
export function storedSchema(schema: string | undefined): string | undefined {
  return schema === undefined ? undefined : truncated(schema)
}

export function qualified(schema: string | undefined, name: string): string {
  return schema === undefined ? quote(name) : `${quote(schema)}.${quote(name)}`
}

export function list(names: readonly string[]): string {
  return names.map(quote).join(', ')
}

/** What reports and errors call it: as the database has it. */
export function label(schema: string | undefined, name: string): string {
  return schema === undefined ? truncated(name) : `${truncated(schema)}.${truncated(name)}`
}

/** A name as PostgreSQL stores it: truncated between characters. */
export function truncated(name: string, maxBytes = MAX_NAME_BYTES): string {
  const bytes = Buffer.from(name)
  return bytes.length <= maxBytes ? name : bytes.toString('utf8', 0, characterStart(bytes, maxBytes))
}

/** The first byte, in UTF-8, of the character that the byte at `index` is part of. */
function characterStart(bytes: Uint8Array, index: number): number {
  let start = index
  while (((bytes[start] ?? 0) & 0xc0) === 0x80) start -= 1
  return start
}
