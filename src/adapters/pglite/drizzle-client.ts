import { keepingParams, refusedMembers } from '../../driver/client.ts'
import type { PgliteClient, PgliteRows } from '../../driver/dialect.ts'
import { withinTransaction } from '../../driver/drizzle.ts'
import type { Executor } from '../../driver/types.ts'
import { isRows } from './connection.ts'

/** The `$client` of a handle by PGlite. */
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
