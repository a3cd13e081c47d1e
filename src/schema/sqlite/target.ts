import type { SQL } from 'drizzle-orm'

/** What we use of a Drizzle handle for SQLite, whichever its driver. */
export interface SqliteHandle {
  all(query: SQL): PromiseLike<unknown[]>
  run(query: SQL): PromiseLike<unknown>
  transaction<Result>(run: (tx: Asks) => Promise<Result>, config: { behavior: 'immediate' }): Promise<Result>
}

/** What asks and does, in a transaction or not. */
export type Asks = Pick<SqliteHandle, 'all' | 'run'>

/** A database, and one connection of it for what only one connection can do: an `Engine` is such a target. */
export interface SqliteTarget {
  readonly db: SqliteHandle
  connect?(): Promise<AsyncDisposable & { readonly db: SqliteHandle }>
}

/** What a query answers with. */
export async function rowsOf(db: Asks, query: SQL): Promise<object[]> {
  const rows = await db.all(query)
  return rows.filter((row) => typeof row === 'object' && row !== null)
}
