import { holderNeeded, type StatementTraits, splitStatements, traitsOf } from '../../driver/statement.ts'
import { StatementError } from '../../errors.ts'

/** What a statement does beyond its own rows on PostgreSQL, as far as its text shows. */
export interface PostgresTraits extends StatementTraits {
  /** It may change a schema: every statement that is not known to leave schemas as they are. */
  readonly changesSchema: boolean
  /** It calls a function and reads no table. Functions that change a schema are called this way, and many others. */
  readonly callsFunction: boolean
  /** Names may mean other objects behind it. */
  readonly movesSearchPath: boolean
  /** LISTEN: a Drizzle handle cannot report notifications. */
  readonly listens: boolean
  /** Its lock or cursor belongs to the connection's holder; without one it is gone at once. */
  readonly needsHolder: boolean
}

const KEEPS_SCHEMA = new RegExp(
  [
    String.raw`^select\b(?!.*\binto\b)`,
    String.raw`^(?:insert|update|delete|merge|values|table|with|explain|copy|lock|truncate|analyze|vacuum)\b`,
    String.raw`^(?:set|reset|show|savepoint|release|rollback|declare|fetch|move|close|listen|unlisten|notify)\b`,
  ].join('|'),
  'is',
)

/** A name and a parenthesis behind it, but for what is used often and changes nothing. Quoted names are empty here. */
const CALL =
  /(?:^|[^\w$'])(?!(?:pg_\w*|select|as|in|now|nextval|set_config|current_setting)\b)(?:[a-z_][\w$]*|'')\s*\(/i

/** FROM, and the name of no function. */
const READS_TABLE = /\bfrom\s+(?=([\w$.']+))\1(?!\s*\()/i

/** "$user" is part of the default path, so SET ROLE moves it as well. */
const MOVES_SEARCH_PATH =
  /^(?:set|reset)\s+(?:(?:local|session)\s+)?(?:search_path|schema|role|session\s+authorization|all)\b/i

/** Read with its literals: which setting it is stands in one. A parameter may name any. */
const SETS_SEARCH_PATH = /\bset_config\s*\(\s*(?:\$|'(?:search_path|role|session_authorization)')/i

const NEEDS_HOLDER = /^declare\b.*\bwith\s+hold\b|\bpg_(?:try_)?advisory_lock(?:_shared)?\s*\(/is

/**
 * Refuses what would succeed in vain.
 * @throws StatementError
 */
export function assertUseful({ listens, needsHolder }: PostgresTraits, isShared: boolean): void {
  if (listens) {
    throw new StatementError(
      'INVALID_STATEMENT',
      'Cannot run LISTEN: a Drizzle handle cannot report notifications, so nobody would hear of them. ' +
        'Use a client of your own for it.',
    )
  }
  if (needsHolder && isShared)
    throw holderNeeded('pg_advisory_xact_lock() in a transaction is kept until its end.')
}

/** Classifies a statement by its text; several statements in one text count together. */
export function postgresTraits(sql: string): PostgresTraits {
  const parts = splitStatements(sql)
  return {
    ...traitsOf(sql, parts),
    changesSchema: parts.some((part) => !KEEPS_SCHEMA.test(part)),
    callsFunction: parts.some(
      (part) => /^select\b/i.test(part) && CALL.test(part) && !READS_TABLE.test(part),
    ),
    movesSearchPath: parts.some((part) => MOVES_SEARCH_PATH.test(part)) || SETS_SEARCH_PATH.test(sql),
    listens: parts.some((part) => /^listen\b/i.test(part)),
    needsHolder: parts.some((part) => NEEDS_HOLDER.test(part)),
  }
}

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
interface SerialQueue {
  since: number
  count: number
}

/** By text, those that were called last behind the others. */
const calls = new Map<string, SerialQueue>()
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
