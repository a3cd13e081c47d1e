import { PARSE_LIFETIME, schemaVersion } from '../../postgresql/schema-version.ts'
import type { Spelled } from './parameters.ts'
import type { ServerError } from './server-error.ts'

/** A statement as the server has parsed it, types of parameters included. */
export interface Parsed {
  /** What the server calls it; `null` until it has answered. */
  name: string | null
  readonly at: number
  readonly schemaVersion: number
}

/** The statements that one connection keeps prepared. */
export class PreparedStatements {
  readonly #size: number
  readonly #statements = new Map<string, PreparedStatement>()
  /** Names that the server still has and nobody uses. */
  readonly #unused: string[] = []

  constructor(size: number) {
    this.#size = size
  }

  /** One for each text and types that its parameters are sent as; `null` when there are too many. */
  get(sql: string, params: readonly Spelled[]): PreparedStatement | null {
    let types = ''
    for (let at = 0; at < params.length; at++) {
      const param = params[at]
      if (typeof param === 'object' && param !== null) types += `${at}:${param.type} `
    }
    const signature = types === '' ? sql : types + sql
    const known = this.#statements.get(signature)
    if (known !== undefined) return known
    if (this.#statements.size >= this.#size) return null
    const statement = new PreparedStatement(this.#unused)
    this.#statements.set(signature, statement)
    return statement
  }

  get hasUnused(): boolean {
    return this.#unused.length > 0
  }

  takeUnused(): string[] {
    return this.#unused.splice(0)
  }
}

/** A text that is parsed by the server once in a while, and runs by its name in between. */
export class PreparedStatement {
  readonly #unused: string[]
  #parsed: Parsed | null = null
  #repeatedAt = Number.NEGATIVE_INFINITY

  constructor(unused: string[]) {
    this.#unused = unused
  }

  /**
   * What an execution that is sent now runs from. Without a name it has to be parsed by this execution; `null` while
   * another one does, so that two never do at once.
   */
  use(): Parsed | null {
    const now = performance.now()
    const parsed = this.#parsed
    if (parsed !== null) {
      if (parsed.schemaVersion === schemaVersion() && now - parsed.at < PARSE_LIFETIME) {
        return parsed.name === null ? null : parsed
      }
      this.drop(parsed)
    }
    this.#parsed = { name: null, at: now, schemaVersion: schemaVersion() }
    return this.#parsed
  }

  /** The server has answered the execution that parsed: by what name it keeps it, `null` if it could not parse it. */
  answered(parsed: Parsed | null, name: string | null): void {
    if (parsed === null) return
    parsed.name = name
    if (this.#parsed === parsed) {
      if (name === null) this.#parsed = null
    } else if (name !== null) this.#unused.push(name)
  }

  /** Never runs from this again. */
  drop(parsed: Parsed): void {
    if (this.#parsed !== parsed) return
    this.#parsed = null
    if (parsed.name !== null) this.#unused.push(parsed.name)
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
