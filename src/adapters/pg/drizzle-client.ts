import { keepingParams, refusedMembers } from '../../driver/client.ts'
import type { PgClient, PgQuery, PgResult } from '../../driver/dialect.ts'
import type { Executor } from '../../driver/types.ts'
import { isRows, type Rows } from './query.ts'

/** The `$client` of a handle by pg. */
export function pgClient(executor: Executor): PgClient {
  const kept = keepingParams(executor)
  return {
    ...REFUSED,
    async query<Row>(query: string | PgQuery, values?: unknown[]) {
      const { text, rowMode, ...config } = typeof query === 'string' ? { text: query } : query
      const params = values ?? config.values ?? []
      const answer = await kept.run({ sql: text, params, asArrays: rowMode === 'array' })
      // Our connection answers with nothing else; of what kind the rows are, the caller says.
      return (isRows(answer) ? resultOf(answer) : (answer as Rows[]).map(resultOf)) as PgResult<Row>
    },
  }
}

/** As pg has it: the command is the first word of what the server says. */
function resultOf(rows: Rows): PgResult<never> {
  const { command, count: rowCount, oid, fields } = rows
  return { command: command?.split(' ')[0] ?? null, rowCount, oid, rows: [...rows], fields }
}

const REFUSED = refusedMembers(
  '$client',
  ['connect', 'copyFrom', 'copyTo', 'on', 'once', 'release', 'setTypeParser'],
  'Use query() of it, db.execute(), db.transaction(), or a client of your own.',
  'end',
)
