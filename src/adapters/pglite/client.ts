import type { Executor } from '../../adapter.ts'
import { withinTransaction } from '../../within-transaction.ts'
import { isRows, type Rows } from './rows.ts'

type Work = (client: PgliteClient) => unknown

/** All that Drizzle 0.45 and 1.0 ask of a PGlite, and `exec`. */
export interface PgliteClient {
  query(sql: string, params?: unknown[], options?: { rowMode?: 'array' | 'object' }): Promise<unknown>
  /** Runs a text of several statements. */
  exec(sql: string): Promise<Rows[]>
  transaction(work: Work): Promise<unknown>
}

/** The client Drizzle's PGlite handle runs on: its statements go to `executor`. */
export function pgliteClient(executor: Executor): PgliteClient {
  return {
    query: (sql, params = [], { rowMode } = {}) =>
      executor.run({ sql, params, asArrays: rowMode === 'array' }),
    async exec(sql) {
      const answer = await executor.run({ sql, params: [], asArrays: false })
      // Our connection answers with nothing else.
      return isRows(answer) ? [answer] : (answer as Rows[])
    },
    transaction: (work) => withinTransaction(executor, (transaction) => work(pgliteClient(transaction))),
  }
}
