import type { QueryConfig, QueryResult as Result } from 'pg'
import type { ClientQuery, QueryResult, Sent } from '../postgresql/client.ts'
import { isServerError } from '../postgresql/errors.ts'
import { UNKNOWN } from '../postgresql/parameters.ts'
import type { Named } from '../postgresql/prepared.ts'
import { JSON_OID, readJsonColumns } from '../postgresql/relational-json.ts'
import { type BoundValue, type Parser, textParsers } from '../postgresql/values.ts'

/** A statement on its way by pg. */
export class Query implements Sent {
  readonly answer: Promise<QueryResult>
  /** The name that is free once it has run. */
  readonly deallocates: string | null
  readonly config: QueryConfig & { readonly rowMode?: 'array' }
  readonly #asked: ClientQuery
  readonly #name: string | null
  readonly #parses: boolean
  /** What the server says of each of its statements, that of a BEGIN before it included. */
  readonly #tags: string[] = []
  #parsed = 0
  #outcome: (() => void) | null = null
  #resolve: (result: QueryResult) => void = () => {}
  #reject: (error: unknown) => void = () => {}

  /**
   * @param name to prepare it by, or to run it from; `null` for neither
   */
  constructor(asked: ClientQuery, name: string | null, deallocates: string | null = null) {
    const { sql, bound, asArrays, relational } = asked
    this.#asked = asked
    this.deallocates = deallocates
    this.#name = name
    this.#parses = asked.parsed?.named === null
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    const getTypeParser = relational === null ? parserOf : parserBesideJson
    this.config = {
      text: sql,
      values: bound.map(textIn),
      ...(name !== null && { name }),
      ...(asArrays && { rowMode: 'array' }),
      // pg hands one and the same thing to what parses rows, and as the list of the parameters' types to the server.
      types: Object.assign(bound.map(typeIn), { getTypeParser }),
    }
  }

  get named(): Named | null {
    const isParsed = this.#parsed > (this.#asked.carriesBegin ? 1 : 0)
    return this.#name !== null && isParsed ? { name: this.#name, driversSignature: this.#name } : null
  }

  /** The name by which the server was to parse it and did not; pg may take the answer to a BEGIN before it for that. */
  get unparsed(): string | null {
    return this.#parses && this.named === null ? this.#name : null
  }

  isParsed(): void {
    this.#parsed++
  }

  isCompleted(tag: string): void {
    this.#tags.push(tag)
  }

  /** Called by pg. A server's answer counts once the server is ready for the next statement; after any other error none follows. */
  isAnswered(error: Error | null, result: Result | Result[]): void {
    if (error === null) this.#outcome = () => this.#resolve(this.#resultOf(result))
    else if (isServerError(error)) this.#outcome = () => this.#reject(error)
    else this.fail(error)
  }

  fail(error: Error): void {
    this.#reject(error)
  }

  /** Whether it was answered. */
  settle(): boolean {
    this.#outcome?.()
    return this.#outcome !== null
  }

  #resultOf(answer: Result | Result[]): QueryResult {
    const { relational, carriesBegin } = this.#asked
    const own = Array.isArray(answer) ? answer.slice(carriesBegin ? 1 : 0) : [answer]
    const tags = carriesBegin ? this.#tags.slice(1) : this.#tags
    const results = own.map((result, at) => {
      if (relational !== null) readJsonColumns(result, relational)
      return toRows(result, tags[at])
    })
    const [first] = results
    return first !== undefined && results.length === 1 ? first : results
  }
}

/** The rows of a statement, as postgres.js gives them, with what pg says of them. What is added does not show when printed. */
export interface Rows extends Array<never> {
  readonly command: string | null
  readonly count: number | null
  readonly oid: number | null
  readonly fields: Result['fields']
}

export function isRows(value: unknown): value is Rows {
  return Array.isArray(value) && 'fields' in value
}

/** @param tag `INSERT 0 1`; of a statement that is empty there is none */
function toRows({ rows, rowCount, oid, fields }: Result, tag: string | undefined): QueryResult {
  return Object.defineProperties(rows, {
    command: { value: tag?.replace(/[ \d]+$/, '') ?? null },
    count: { value: rowCount },
    oid: { value: oid },
    fields: { value: fields },
  })
}

const textIn = (param: BoundValue) => (typeof param === 'object' && param !== null ? param.value : param)
const typeIn = (param: BoundValue) => (typeof param === 'object' && param !== null ? param.type : UNKNOWN)

const PARSERS = textParsers()
const asText: Parser = (text) => text
const parserOf = (oid: number): Parser => PARSERS[oid] ?? asText
/** For a statement whose JSON is read by its columns. */
const parserBesideJson = (oid: number): Parser => (oid === JSON_OID ? asText : parserOf(oid))
