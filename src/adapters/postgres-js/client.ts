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
import { PendingRows } from '../postgresql/drizzle-client.ts'

/** The `$client` of a handle by postgres.js. */
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
