import { withinTransaction } from '../../driver/drizzle.ts'
import type { Executor } from '../../driver/types.ts'

/** A statement that is sent when it is awaited, for rows as objects, or by `values()`, for rows as arrays. */
export class PendingRows implements PromiseLike<unknown> {
  readonly #executor: Executor
  readonly #sql: string
  readonly #params: unknown[]
  #rows: Promise<unknown> | null = null

  constructor(executor: Executor, sql: string, params: unknown[]) {
    this.#executor = executor
    this.#sql = sql
    this.#params = params
  }

  values(): Promise<unknown> {
    return this.#run(true)
  }

  // biome-ignore lint/suspicious/noThenProperty: Drizzle awaits what postgres.js calls a pending query
  then<Value = unknown, Failure = never>(
    onValue?: ((value: unknown) => Value | PromiseLike<Value>) | null,
    onFailure?: ((reason: unknown) => Failure | PromiseLike<Failure>) | null,
  ): Promise<Value | Failure> {
    return this.#run(false).then(onValue, onFailure)
  }

  catch<Failure = never>(
    onFailure?: ((reason: unknown) => Failure | PromiseLike<Failure>) | null,
  ): Promise<unknown> {
    return this.then(null, onFailure)
  }

  finally(onSettled?: (() => void) | null): Promise<unknown> {
    return this.then().finally(onSettled)
  }

  /** It runs once, however often it is awaited. */
  #run(asArrays: boolean): Promise<unknown> {
    this.#rows ??= this.#executor.run({ sql: this.#sql, params: this.#params, asArrays })
    return this.#rows
  }
}

type DrizzleWork = (client: DrizzleClient) => unknown

/** All that Drizzle's sessions for postgres.js, of 0.45 and 1.0, ask of a client. */
export interface DrizzleClient {
  readonly options: { parsers: object; serializers: object }
  unsafe(sql: string, params?: unknown[]): PendingRows
  begin(work: DrizzleWork): Promise<unknown>
  savepoint(work: DrizzleWork): Promise<unknown>
}

/** The client that such a session runs on: its statements go to `executor`. */
export function drizzleClient(executor: Executor): DrizzleClient {
  const begin = (work: DrizzleWork) =>
    withinTransaction(executor, (transaction) => work(drizzleClient(transaction)))
  return {
    options: { parsers: {}, serializers: {} },
    unsafe: (sql, params = []) => new PendingRows(executor, sql, params),
    begin,
    savepoint: begin,
  }
}
