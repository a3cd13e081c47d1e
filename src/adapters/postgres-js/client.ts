import type { Executor } from '../../adapter.ts'
import { withinTransaction } from '../../within-transaction.ts'

/** Rows on their way: as objects when awaited, as arrays through `values()`. */
class PendingRows implements PromiseLike<unknown> {
  readonly #executor: Executor
  readonly #sql: string
  readonly #params: unknown[]

  constructor(executor: Executor, sql: string, params: unknown[]) {
    this.#executor = executor
    this.#sql = sql
    this.#params = params
  }

  values(): Promise<unknown> {
    return this.#executor.run({ sql: this.#sql, params: this.#params, asArrays: true })
  }

  // biome-ignore lint/suspicious/noThenProperty: Drizzle awaits what postgres.js calls a pending query
  then<Value = unknown, Failure = never>(
    onValue?: ((value: unknown) => Value | PromiseLike<Value>) | null,
    onFailure?: ((reason: unknown) => Failure | PromiseLike<Failure>) | null,
  ): Promise<Value | Failure> {
    const rows = this.#executor.run({ sql: this.#sql, params: this.#params, asArrays: false })
    return rows.then(onValue, onFailure)
  }
}

type Work = (client: PostgresJsClient) => unknown

/** All that Drizzle 0.45 and 1.0 ask of a postgres.js client. */
export interface PostgresJsClient {
  readonly options: { parsers: object; serializers: object }
  unsafe(sql: string, params?: unknown[]): PendingRows
  begin(work: Work): Promise<unknown>
  begin(options: string, work: Work): Promise<unknown>
  savepoint(work: Work): Promise<unknown>
}

/** The client Drizzle's postgres.js handle runs on: its statements go to `executor`. */
export function postgresJsClient(executor: Executor): PostgresJsClient {
  const nest = (work: Work) =>
    withinTransaction(executor, (transaction) => work(postgresJsClient(transaction)))
  return {
    options: { parsers: {}, serializers: {} },
    unsafe: (sql, params = []) => new PendingRows(executor, sql, params),
    begin: (optionsOrWork: string | Work, work?: Work) =>
      nest(typeof optionsOrWork === 'function' ? optionsOrWork : (work ?? noWork)),
    savepoint: nest,
  }
}

function noWork(): never {
  throw new TypeError('begin() needs a function')
}
