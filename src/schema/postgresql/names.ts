import { quoteIdentifier } from '../definition.ts'

/** PostgreSQL cuts longer identifiers short in silence. */
const MAX_NAME_BYTES = 63

/** Quotes an identifier for PostgreSQL, refusing what it would cut short. */
export function quote(name: string): string {
  return quoteIdentifier(name, MAX_NAME_BYTES)
}

export function qualified(schema: string | undefined, name: string): string {
  return schema === undefined ? quote(name) : `${quote(schema)}.${quote(name)}`
}

export function list(names: readonly string[]): string {
  return names.map(quote).join(', ')
}

export function label(schema: string | undefined, name: string): string {
  return schema === undefined ? name : `${schema}.${name}`
}

/**
 * A name that nobody chose, as PostgreSQL keeps it: drizzle-kit derives names of any length and leaves it to the
 * server to cut them, which it does between characters.
 */
export function shortened(name: string): string {
  let kept = ''
  for (const character of name) {
    if (Buffer.byteLength(kept + character) > MAX_NAME_BYTES) break
    kept += character
  }
  return kept
}
