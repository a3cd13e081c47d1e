import { LruMap } from '../../driver/lru-map.ts'
import { PARSE_LIFETIME, schemaVersion } from '../postgresql/statement.ts'
import type { ServerError } from './errors.ts'
import type { QueryResult } from './results.ts'
import type { BoundValue } from './values.ts'

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

  /** What the server is to close; the driver is to forget it where nothing else has taken its place there. */
  takeUnused(): { name: string; forgotten: string | null }[] {
    return this.#unused.splice(0).map(({ named, signature }) => ({
      name: named.name,
      forgotten: this.#statements.has(signature) ? null : named.driversSignature,
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

/** Sends a query of ours by the client of postgres.js that it was made for. */
export type SendQuery = (query: Query) => void

/** A query's rows: objects, arrays of values, or arrays of bytes. */
type Rows = false | 'values' | true

/** What postgres.js is to forget: the statement of the query's own text, or the one it has by a signature. */
type Forgotten = 'nothing' | 'its text' | { readonly signature: string }

/** A prepared statement. */
export interface Named {
  /** What the server calls it. */
  readonly name: string
  /** What postgres.js looks it up by. */
  readonly driversSignature: string
}

/**
 * A query as the connections of postgres.js know it. Their own is a promise of another class, with more promises around
 * it; making and awaiting it took a quarter of the processor time of a prepared select.
 */
export class Query {
  readonly answer: Promise<QueryResult>
  /** Settle `answer`; called by postgres.js. */
  readonly resolve: (answer: QueryResult) => void
  readonly reject: (error: unknown) => void
  readonly strings: readonly [string]
  readonly args: readonly BoundValue[]
  readonly options: { readonly prepare: boolean; readonly simple: boolean }
  readonly isRaw: Rows
  readonly tagged = false
  /** Where it was made, for the stack of its error. */
  readonly origin = ''
  /** It is never sent then; set by us, read by postgres.js. */
  cancelled = false
  // What postgres.js writes down; declared so that all queries have one shape.
  active = false
  state = null
  prepare = false
  string = ''
  signature: string | false = ''
  parameters: unknown[] | null = null
  prepared = false
  statement: { readonly name: string; readonly columns?: unknown } | null = null
  parsing = false
  #forgotten: Forgotten

  /**
   * @param prepare by the name that the connection has given the text, or gives it now
   * @param forgotten what postgres.js is to forget of what it has prepared; the server keeps that until it is told
   */
  constructor(
    sql: string,
    params: readonly BoundValue[],
    rows: Rows,
    prepare: boolean,
    forgotten: Forgotten,
  ) {
    this.strings = [sql]
    this.args = params
    this.options = prepare ? PREPARED : params.length === 0 ? SIMPLE : UNPREPARED
    this.isRaw = rows
    this.#forgotten = forgotten
    let resolve = (_: QueryResult) => {}
    let reject = (_: unknown) => {}
    this.answer = new Promise((onAnswer, onError) => {
      resolve = onAnswer
      reject = onError
    })
    this.resolve = resolve
    this.reject = reject
  }

  /**
   * postgres.js runs a stale statement again by itself, without regard for what it has sent behind it: when that is stale
   * as well, neither ever settles. It first notes the error here, and sends no query that is cancelled.
   */
  set retried(error: object) {
    stale.add(error)
    this.cancelled = true
    this.reject(error)
  }

  /**
   * postgres.js waits to be told the types of parameters before it sends them, a round trip during which nothing else is
   * sent. Ours are text already, whatever their types are.
   */
  get describeFirst(): boolean {
    return false
  }

  set describeFirst(_: boolean) {}

  /** Asked first when a query is built: for `true` postgres.js forgets the statement it has by that signature. */
  get onlyDescribe(): boolean {
    const forgotten = this.#forgotten
    if (forgotten === 'nothing') return false
    this.#forgotten = 'nothing'
    if (forgotten !== 'its text') this.signature = forgotten.signature
    return true
  }

  /** What the statement is known by; `null` if the server could not parse it. */
  get named(): Named | null {
    const { statement, signature } = this
    return statement?.columns == null ? null : { name: statement.name, driversSignature: String(signature) }
  }
}

const PREPARED = { prepare: true, simple: false }
const UNPREPARED = { prepare: false, simple: false }
/** Takes several statements. */
const SIMPLE = { prepare: false, simple: true }

/** The errors of statements that were not run, since a schema change or a DEALLOCATE made their prepared form unusable. */
const stale = new WeakSet<object>()

export function isStale(error: unknown): boolean {
  return typeof error === 'object' && error !== null && stale.has(error)
}

/** Each of its own queries has it, though its types do not say so. */
export function sendQueryOf(client: { unsafe(sql: string): object }): SendQuery {
  return Reflect.get(client.unsafe(''), 'handler')
}
