import { type SQL, sql } from 'drizzle-orm'

/** What asks and does, whichever the driver. */
export interface Asks {
  execute(query: SQL): PromiseLike<unknown>
}

/** What we use of a Drizzle handle for MySQL. */
export interface MysqlHandle extends Asks {
  transaction<Result>(run: (tx: Asks) => Promise<Result>): Promise<Result>
}

/** A database, and one connection of it whose statements autocommit: an `Engine` is such a target. */
export interface MysqlTarget {
  readonly db: MysqlHandle
  connect?(): Promise<AsyncDisposable & { readonly db: Asks }>
}

/**
 * Works on one connection, to which a lock belongs, and whose statements autocommit. Of a foreign handle a transaction
 * has one. The first DDL statement would commit it; done at once, it is the same for all statements.
 */
export async function onOneConnection<Result>(
  target: MysqlTarget,
  work: (db: Asks) => Promise<Result>,
): Promise<Result> {
  const connect = target.connect?.bind(target)
  if (connect === undefined) {
    return await target.db.transaction(async (tx) => {
      await tx.execute(sql`commit`)
      return await work(tx)
    })
  }
  await using connection = await connect()
  return await work(connection.db)
}

/** mysql2 answers with the rows and what is known of their columns. */
export async function rowsOf(db: Asks, query: SQL): Promise<object[]> {
  const answer: unknown = await db.execute(query)
  const [first]: unknown[] = Array.isArray(answer) ? answer : []
  const rows = Array.isArray(first) ? first : answer
  return Array.isArray(rows) ? rows.filter((row) => typeof row === 'object' && row !== null) : []
}
