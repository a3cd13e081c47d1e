import { Stream } from 'node:stream'
import type { ClientQuery, QueryResult, Sent } from '../postgresql/client.ts'
import { copyRefused } from '../postgresql/errors.ts'
import type { Named } from '../postgresql/prepared.ts'
import type { BoundValue } from '../postgresql/values.ts'
import { type Answer, readRelational, resultOf } from './results.ts'

/** Sends a query of ours by the client of postgres.js that it was made for. */
type SendQuery = (query: Query) => void

/** A query's rows: objects, arrays of values, or arrays of bytes. */
type Rows = false | 'values' | true

/** What postgres.js is to forget: the statement of the query's own text, or the one it has by a signature. */
type Forgotten = 'nothing' | 'its text' | { readonly signature: string }

/**
 * A query as the connections of postgres.js know it. Their own is a promise of another class, with more promises around
 * it; making and awaiting it took a quarter of the processor time of a prepared select.
 */
export class Query implements Sent {
  readonly answer: Promise<QueryResult>
  /** Rejects `answer`; called by postgres.js. */
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
  readonly #asked: ClientQuery
  readonly #resolve: (result: QueryResult) => void

  /** @param forgotten what postgres.js is to forget of what it has prepared; the server keeps that until it is told */
  constructor(asked: ClientQuery, forgotten: Forgotten) {
    const { sql, bound, asArrays, relational, parsed } = asked
    this.strings = [sql]
    this.args = bound
    this.options = parsed !== null ? PREPARED : bound.length === 0 ? SIMPLE : UNPREPARED
    this.isRaw = relational !== null ? true : asArrays ? 'values' : false
    this.#asked = asked
    this.#forgotten = forgotten
    let resolve = (_: QueryResult) => {}
    let reject = (_: unknown) => {}
    this.answer = new Promise((onAnswer, onError) => {
      resolve = onAnswer
      reject = onError
    })
    this.#resolve = resolve
    this.reject = reject
  }

  /** Called by postgres.js, which rejects the query with what is thrown here. */
  resolve(answer: Answer | Stream): void {
    if (answer instanceof Stream) {
      // It fails when its connection is thrown away, and would end the process if nobody listened.
      answer.on('error', () => {})
      this.reject(copyRefused())
      return
    }
    const { relational, carriesBegin } = this.#asked
    const result = resultOf(answer, carriesBegin)
    if (relational !== null) readRelational(result, relational)
    this.#resolve(result)
  }

  /**
   * postgres.js runs a stale statement again by itself, without regard for what it has sent behind it: when that is stale
   * as well, neither ever settles. It first notes the error here, and sends no query that is cancelled.
   */
  set retried(error: object) {
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

  get named(): Named | null {
    const { statement, signature } = this
    return statement?.columns == null ? null : { name: statement.name, driversSignature: String(signature) }
  }
}

const PREPARED = { prepare: true, simple: false }
const UNPREPARED = { prepare: false, simple: false }
/** Takes several statements. */
const SIMPLE = { prepare: false, simple: true }

/** Each of its own queries has it, though its types do not say so. */
export function sendQueryOf(client: { unsafe(sql: string): object }): SendQuery {
  return Reflect.get(client.unsafe(''), 'handler')
}
