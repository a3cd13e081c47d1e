import { LruMap } from '../../driver/lru-map.ts'
import type { ServerError } from './errors.ts'
import { PARSE_LIFETIME, schemaVersion } from './statement.ts'
import type { BoundValue } from './values.ts'

/** A statement that the server has parsed. */
export interface Named {
  /** What the server calls it. */
  readonly name: string
  /** What the driver looks it up by. */
  readonly driversSignature: string
}

/** A statement as the server has parsed it, types of parameters included. */
export interface Parsed {
  /** What server and driver know it by; `null` until the server has answered. */
  named: Named | null
  readonly at: number
  readonly schemaVersion: number
}

/** What the server still has and nobody uses. */
interface Unused {
  readonly named: Named
  /** By which it is, or was, one of the statements. */
  readonly signature: string
}

/** What is unused is closed outside of transactions only. In a long one nothing else is prepared once there is so much. */
const MOST_UNUSED = 16

/** The statements that one connection keeps prepared: those that were used last. */
export class PreparedStatements {
  readonly #size: number
  readonly #statements: LruMap<string, PreparedStatement>
  readonly #unused: Unused[] = []

  constructor(size: number) {
    this.#size = size
    this.#statements = new LruMap(size)
  }

  /**
   * One for each text and types that its parameters are sent as. Where there is no room, the least recently used one goes
   * for a text that is `isRepeated`; `null` for others, which may never come again.
   */
  get(sql: string, params: readonly BoundValue[], isRepeated: boolean): PreparedStatement | null {
    if (this.#size === 0) return null
    let types = ''
    for (let at = 0; at < params.length; at++) {
      const param = params[at]
      if (typeof param === 'object' && param !== null) types += `${at}:${param.type} `
    }
    const signature = types === '' ? sql : types + sql
    const known = this.#statements.get(signature)
    if (known !== undefined) return known
    if (this.#statements.isFull && (!isRepeated || this.#unused.length >= MOST_UNUSED)) return null
    const statement = new PreparedStatement((named) => this.#unused.push({ named, signature }))
    this.#statements.set(signature, statement)?.retire()
    return statement
  }

  get hasUnused(): boolean {
    return this.#unused.length > 0
  }

  /** What the server is to close. `isReplaced`: the driver knows another one by that signature. */
  takeUnused(): { named: Named; isReplaced: boolean }[] {
    return this.#unused.splice(0).map(({ named, signature }) => ({
      named,
      isReplaced: this.#statements.has(signature),
    }))
  }
}

/** A text that is parsed by the server once in a while, and runs by its name in between. */
export class PreparedStatement {
  readonly #leave: (named: Named) => void
  #parsed: Parsed | null = null
  #isRetired = false
  #repeatedAt = Number.NEGATIVE_INFINITY

  /** @param leave told what the server has and nobody uses any more */
  constructor(leave: (named: Named) => void) {
    this.#leave = leave
  }

  /**
   * What an execution that is sent now runs from. Without a name it has to be parsed by this execution; `null` while
   * another one does, so that two never do at once, and once it is retired.
   */
  use(): Parsed | null {
    if (this.#isRetired) return null
    const now = performance.now()
    const parsed = this.#parsed
    if (parsed !== null) {
      if (parsed.schemaVersion === schemaVersion() && now - parsed.at < PARSE_LIFETIME) {
        return parsed.named === null ? null : parsed
      }
      this.drop(parsed)
    }
    this.#parsed = { named: null, at: now, schemaVersion: schemaVersion() }
    return this.#parsed
  }

  /** The server has answered the execution that parsed: by what it keeps it, `null` if it could not parse it. */
  answered(parsed: Parsed | null, named: Named | null): void {
    if (parsed === null) return
    parsed.named = named
    if (this.#parsed === parsed) {
      if (named === null) this.#parsed = null
    } else if (named !== null) this.#leave(named)
  }

  /** Never runs from this again. */
  drop(parsed: Parsed): void {
    if (this.#parsed !== parsed) return
    this.#parsed = null
    if (parsed.named !== null) this.#leave(parsed.named)
  }

  /** Another one has taken its place. Executions under way are not disturbed: the server closes it behind them. */
  retire(): void {
    this.#isRetired = true
    if (this.#parsed !== null) this.drop(this.#parsed)
  }

  /**
   * Whether an execution that failed is worth a second try. Once in `PARSE_LIFETIME`: a value that is wrong is wrong
   * again, and must not cost twice as much for ever.
   */
  mayRepeat(): boolean {
    const now = performance.now()
    if (now - this.#repeatedAt < PARSE_LIFETIME) return false
    this.#repeatedAt = now
    return true
  }
}

/**
 * Whether a statement may have failed because what it names was altered since it was parsed: a value does not fit the
 * old type (22003, 22P02), a type is gone (XX000 "cache lookup failed"), types no longer agree (class 42), the rows
 * have another shape (0A000).
 */
export function mayBeOutdated(error: ServerError): boolean {
  return /^(?:22|42|XX000|0A000|26000)/.test(error.code)
}

/** Those of the server's functions that refuse a prepared statement before any of it is run (postgres.js's list). */
const REFUSING: ReadonlySet<unknown> = new Set([
  'FetchPreparedStatement',
  'RevalidateCachedQuery',
  'transformAssignedExpr',
])

/** The error of a statement that was not run, since a schema change or a DEALLOCATE made its prepared form unusable. */
export function isStale({ routine }: ServerError): boolean {
  return REFUSING.has(routine)
}
