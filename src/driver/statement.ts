import { DrizzleCeleryError, StatementError } from '../errors.ts'
import { LruMap } from './lru-map.ts'

/** One SQL statement on its way from a Drizzle handle to a connection. */
export interface Statement {
  readonly sql: string
  /** When a statement of a handle fails, this array is blanked (see `hidingParams`): of what a user gave, take a copy. */
  readonly params: unknown[]
  /** Rows as arrays of values instead of objects. */
  readonly asArrays: boolean
}

/** What a statement does beyond its own rows, as far as its text shows. */
export interface StatementTraits {
  /** It writes nothing, as far as its text shows. */
  readonly reads: boolean
  /** It begins or ends a transaction, which only `begin`, `commit`, `rollback` and `transaction` may do. */
  readonly controlsTransaction: boolean
  /** It sets, releases or goes back to a savepoint. */
  readonly isSavepoint: boolean
  /** It leaves state behind on its connection (SET, temporary tables, advisory locks, LISTEN, PRAGMA, …). */
  readonly taints: boolean
}

const CONTROL =
  /^(?:begin|start\s+transaction|commit|end|abort|prepare\s+transaction|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b/i

const SAVEPOINT = /^(?:savepoint|release|rollback\s+(?:(?:work|transaction)\s+)?to)\b/i

/**
 * What may make a temporary object: by CREATE TEMP, by naming its schema, which `temp` is on SQLite, or by having names
 * mean those of that schema.
 */
const TEMPORARY = [
  String.raw`create\s+(?:or\s+replace\s+)?(?:(?:local|global)\s+)?temp(?:orary)?\b`,
  String.raw`create\b.*\btemp\s*\.`,
  String.raw`.*\bpg_temp(?:_\d+)?\b`,
].join('|')

const TAINTS = new RegExp(
  [
    String.raw`^(?:set(?!\s+(?:local|transaction|constraints)\b)|reset|listen|load|prepare|attach|pragma|do|call|declare\b[^;]*\bwith\s+hold)\b`,
    // Not what is gone with its transaction, the one of a statement that autocommits included.
    String.raw`^(?!create\b.*\btable\b.*\bon\s+commit\s+drop\b)(?:${TEMPORARY})`,
    String.raw`\binto\s+(?:(?:local|global)\s+)?temp(?:orary)?\b(?!\s*\.)`,
    String.raw`\bset_config\s*\((?![^()]*,\s*true\s*\))`,
    String.raw`\bpg_(?:try_)?advisory_lock(?:_shared)?\s*\(`,
  ].join('|'),
  'is',
)

/** Whether a text holds more than one statement. One that makes a trigger holds others and is one all the same. */
export function isSeveral(sql: string): boolean {
  const parts = splitStatements(sql)
  return parts.length > 1 && !OPENS_BODY.test(parts[0] ?? '')
}

const READS = /^(?:select|values|explain|show|table)\b/i
const WRITES =
  /\b(?:insert|update|delete|replace|into|nextval|setval)\b|\bfor\s+(?:no\s+key\s+)?(?:update|share)\b/i

/** Classifies a statement by its text; several statements in one text count together. */
export function traitsOf(sql: string, parts: readonly string[] = splitStatements(sql)): StatementTraits {
  return {
    reads: parts.every((part) => READS.test(part) && !WRITES.test(part)),
    controlsTransaction: withoutBodyEnds(parts).some((part) => CONTROL.test(part) || part.includes('*/')),
    isSavepoint: parts.length === 1 && SAVEPOINT.test(parts[0] ?? ''),
    taints: parts.some((part) => TAINTS.test(part)),
  }
}

const OPENS_BODY = /^create\s+(?:temp(?:orary)?\s+)?trigger\b.*\bbegin\b|\bbegin\s+atomic\b/is

/** SQLite's triggers and SQL functions have statements between `begin` and `end`, which is no `END` of a transaction. */
function withoutBodyEnds(parts: readonly string[]): string[] {
  let isInBody = false
  return parts.filter((part) => {
    isInBody ||= OPENS_BODY.test(part)
    if (!isInBody || !/^end$/i.test(part)) return true
    isInBody = false
    return false
  })
}

/** In quotes it is the schema of temporary objects all the same, and so it is in the value of `search_path`. */
const NAMES_PG_TEMP = /^(?:"pg_temp(?:_\d+)?"|'(?:[^'%]*[\s,"])?pg_temp(?:_\d+)?(?:[\s,"][^'%]*)?')$/
const IS_TEMP = /^["'`]temp["'`]$/i

const SKIPPED =
  /\b[eE]'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--[^\n\r]*|\/\*[\s\S]*?\*\/|\$((?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?)\$[\s\S]*?\$\1\$/g

/** The statements of a text without their comments, and with their literals and quoted names emptied. */
export function splitStatements(sql: string): string[] {
  return sql
    .replace(SKIPPED, (skipped: string, _tag: unknown, at: number) => {
      if (/^[-/]/.test(skipped)) return ' '
      if (NAMES_PG_TEMP.test(skipped)) return 'pg_temp'
      return IS_TEMP.test(skipped) && /^\s*\./.test(sql.slice(at + skipped.length)) ? 'temp' : "''"
    })
    .split(';')
    .map((part) => part.replace(/^[\s(]+/, '').trimEnd())
    .filter((part) => part !== '')
}

/** Refuses, before anything is sent, what no driver handles well. */
function assertNoNul(sql: string): void {
  if (!sql.includes('\0')) return
  throw new StatementError(
    'INVALID_STATEMENT',
    'Cannot run a statement whose text holds a NUL character: drivers cut it there. Pass the value as a parameter.',
  )
}

/** Refuses `begin`, `commit` and the like in the text of a statement. */
function assertNoTransactionControl(traits: Pick<StatementTraits, 'controlsTransaction'>): void {
  if (traits.controlsTransaction) throw transactionControlRefused()
}

/** The error for a text that begins or ends a transaction. */
export function transactionControlRefused(): StatementError {
  return new StatementError(
    'INVALID_STATEMENT',
    'Cannot begin or end a transaction by SQL text: the session would not know of it. ' +
      'Use begin(), commit() and rollback() of the session, or db.transaction().',
  )
}

/**
 * The error for a statement that needs somebody who holds its connection.
 * @param instead what else will do
 */
export function holderNeeded(instead: string): StatementError {
  return new StatementError(
    'INVALID_STATEMENT',
    'Cannot run this statement by engine.db: its lock or cursor belongs to a connection, which nobody would hold, so ' +
      `that it would be gone at once. Run it in a session or by engine.connect(). ${instead}`,
  )
}

/** What stands in errors where a parameter was. */
export const HIDDEN = '[hidden]'

/** Whether an error is one of this library: those hold no parameters; everything else might. */
export function isOwnError(error: unknown): error is DrizzleCeleryError {
  return error instanceof DrizzleCeleryError
}

/** What a connection knows of an SQL text. */
export type KnownText<Traits> = Traits & {
  /** Whether the connection was asked about the text before, and still knew it. */
  isRepeated: boolean
}

/** The SQL texts that one connection was asked about last. */
export class StatementCache<Traits extends Pick<StatementTraits, 'controlsTransaction'> = StatementTraits> {
  readonly #read: (sql: string) => Traits
  readonly #texts: LruMap<string, KnownText<Traits>>

  constructor(size: number, read: (sql: string) => Traits) {
    this.#read = read
    this.#texts = new LruMap(size)
  }

  /** @throws StatementError when the text may not be run */
  look(sql: string): Readonly<KnownText<Traits>> {
    const known = this.#texts.get(sql)
    if (known !== undefined) {
      known.isRepeated = true
      return known
    }

    assertNoNul(sql)
    const traits = this.#read(sql)
    assertNoTransactionControl(traits)
    const text = { ...traits, isRepeated: false }
    this.#texts.set(sql, text)
    return text
  }
}
