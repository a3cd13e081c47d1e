/**
 * Milliseconds after which the server parses a prepared statement anew. It fixes the types of parameters when it parses, and
 * says nothing when somebody else alters a column: so long may a statement be wrong.
 */
export const PARSE_LIFETIME = 2_000

/**
 * How often a statement of this process may have changed a schema. One count for all databases: the same one may be
 * reached under several names, and being wrong about it costs a statement one more parse.
 */
let version = 0

export function schemaVersion(): number {
  return version
}

export function schemaMayHaveChanged(): void {
  version++
}

/** How often a text that calls a function has counted as a change of schema since then. */
interface Calls {
  since: number
  count: number
}

/** By text, those that were called last behind the others. */
const calls = new Map<string, Calls>()
const MOST_TEXTS = 32
const MOST_CALLS = 10

/**
 * Whether a call of a function is to count as a change of schema: in `PARSE_LIFETIME` a few times for each of a few
 * texts. A program that calls functions all day long would otherwise have all its statements parsed all day long.
 */
export function countsAsChange(sql: string): boolean {
  const now = performance.now()
  const known = calls.get(sql)
  if (known !== undefined && now - known.since < PARSE_LIFETIME) return known.count++ < MOST_CALLS
  calls.delete(sql)
  const [oldest] = calls
  if (oldest !== undefined && calls.size >= MOST_TEXTS) {
    const [text, { since }] = oldest
    if (now - since < PARSE_LIFETIME) return false
    calls.delete(text)
  }
  calls.set(sql, { since: now, count: 1 })
  return true
}
