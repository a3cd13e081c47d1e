import { keepingParams, refusedMembers } from '../../driver/client.ts'
import type { PgliteClient, PgliteRows } from '../../driver/dialect.ts'
import { withinTransaction } from '../../driver/drizzle.ts'
import type { Executor } from '../../driver/types.ts'
import { isRows } from './connection.ts'

/** All that Drizzle 0.45 and 1.0 ask of a PGlite. */
export interface DrizzleClient {
  query(sql: string, params?: unknown[], options?: { rowMode?: 'array' | 'object' }): Promise<unknown>
  transaction(work: (client: DrizzleClient) => unknown): Promise<unknown>
}

/** The client Drizzle's PGlite handle runs on: its statements go to `executor`. */
export function drizzleClient(executor: Executor): DrizzleClient {
  return {
    query: (sql, params = [], { rowMode } = {}) =>
      executor.run({ sql, params, asArrays: rowMode === 'array' }),
    transaction: (work) => withinTransaction(executor, (transaction) => work(drizzleClient(transaction))),
  }
}

/** The `$client` of that handle. */
export function pgliteClient(executor: Executor): PgliteClient {
  return clientOn(keepingParams(executor))
}

function clientOn(executor: Executor): PgliteClient {
  return {
    ...REFUSED,
    async query<Row>(...[sql, params = [], { rowMode } = {}]: Parameters<PgliteClient['query']>) {
      const answer = await executor.run({ sql, params, asArrays: rowMode === 'array' })
      // Our connection answers with nothing else; of what kind the rows are, the caller says.
      return answer as PgliteRows<Row>
    },
    async exec(sql) {
      const answer = await executor.run({ sql, params: [], asArrays: false })
      // As above.
      return (isRows(answer) ? [answer] : answer) as Awaited<ReturnType<PgliteClient['exec']>>
    },
    transaction: (work) => withinTransaction(executor, (transaction) => work(clientOn(transaction))),
  }
}

const REFUSED = refusedMembers(
  '$client',
  [
    'clone',
    'describeQuery',
    'dumpDataDir',
    'execProtocol',
    'execProtocolRaw',
    'execProtocolRawStream',
    'execProtocolRawSync',
    'execProtocolStream',
    'listen',
    'offNotification',
    'onNotification',
    'refreshArrayTypes',
    'rollback',
    'runExclusive',
    'sql',
    'syncToFs',
    'unlisten',
  ],
  'Use query(), exec() or transaction() of it, db.execute(), db.transaction(), or a client of your own.',
  'close',
)
