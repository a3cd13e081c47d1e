import { keepingParams, refusal, refusedMembers } from '../../driver/client.ts'
import type {
  PostgresJsClient,
  PostgresJsQuery,
  PostgresJsTransactionClient,
  PostgresJsSettled as Settled,
  PostgresJsWork as Work,
} from '../../driver/dialect.ts'
import { withinTransaction } from '../../driver/drizzle.ts'
import type { Executor, TransactionOptions } from '../../driver/types.ts'
import { StatementError } from '../../errors.ts'
import { readBeginOptions } from '../postgresql/begin.ts'

/** A statement that is sent when it is awaited, for rows as objects, or by `values()`, for rows as arrays. */
class PendingRows implements PromiseLike<unknown> {
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

/** All that Drizzle 0.45 and 1.0 ask of a postgres.js client. */
export interface DrizzleClient {
  readonly options: { parsers: object; serializers: object }
  unsafe(sql: string, params?: unknown[]): PendingRows
  begin(work: DrizzleWork): Promise<unknown>
  savepoint(work: DrizzleWork): Promise<unknown>
}

/** The client Drizzle's postgres.js handle runs on: its statements go to `executor`. */
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

/** The `$client` of that handle. */
export function postgresJsClient(executor: Executor): PostgresJsClient {
  const kept = keepingParams(executor)
  const begin = async <Result>(optionsOrWork: string | Work<Result>, work?: Work<Result>) =>
    typeof optionsOrWork === 'string'
      ? within(kept, work, readBeginOptions(optionsOrWork))
      : within(kept, optionsOrWork)
  return Object.assign(templateTag(), REFUSED, { unsafe: unsafeOn(kept), begin })
}

function transactionClient(executor: Executor): PostgresJsTransactionClient {
  const savepoint = <Result>(nameOrWork: string | Work<Result>, work?: Work<Result>) =>
    within(executor, typeof nameOrWork === 'string' ? work : nameOrWork)
  return Object.assign(templateTag(), REFUSED, { unsafe: unsafeOn(executor), savepoint })
}

/** As postgres.js does, waits for each of the queries in a list that `work` returns. */
async function within<Result>(
  executor: Executor,
  work: Work<Result> | undefined,
  options?: TransactionOptions,
): Promise<Settled<Result>> {
  if (typeof work !== 'function') throw new StatementError('INVALID_STATEMENT', NO_WORK)
  const settle = async (client: PostgresJsTransactionClient): Promise<unknown> => {
    const result = work(client)
    return Array.isArray(result) ? Promise.all(result) : result
  }
  const settled = await withinTransaction(executor, (inner) => settle(transactionClient(inner)), options)
  // By the line before, which no type of `Promise.all` follows.
  return settled as Settled<Result>
}

const NO_WORK = 'Cannot begin a transaction of $client: it needs a function, which is given a client.'

function unsafeOn(executor: Executor): PostgresJsClient['unsafe'] {
  return <Rows>(sql: string, params: unknown[] = []) => {
    const pending = new PendingRows(executor, sql, params)
    // The rows are what the caller says they are.
    return Object.assign(pending, REFUSED_OF_QUERIES) as unknown as PostgresJsQuery<Rows>
  }
}

const INSTEAD = 'Use unsafe() or begin() of it, db.execute(), db.transaction(), or a client of your own.'

function templateTag(): () => never {
  return refusal('$client as a template tag', INSTEAD)
}

const REFUSED = refusedMembers(
  '$client',
  [
    'array',
    'close',
    'file',
    'json',
    'largeObject',
    'listen',
    'notify',
    'prepare',
    'reserve',
    'subscribe',
    'typed',
  ],
  INSTEAD,
  'end',
)

const REFUSED_OF_QUERIES = refusedMembers(
  '$client.unsafe()',
  ['cancel', 'cursor', 'describe', 'execute', 'forEach', 'raw', 'readable', 'simple', 'stream', 'writable'],
  'Await it, or its values().',
)
