import { createHash } from 'node:crypto'
import { type SQL, sql } from 'drizzle-orm'
import { textOf } from '../../causes.ts'
import { numberOf } from './errors.ts'

interface LockOptions {
  /** What the lock is for, in a database. */
  readonly names: readonly string[]
  /** Seconds to wait for it. */
  readonly timeout: number
}

/** Whether the lock is ours, others kept it, or the server has no such locks. */
type LockState = 'held' | 'timeout' | 'none'

/**
 * Works while nobody else has the lock, on the connection that has it. Where there are no such locks (some proxies and
 * clusters) work goes on without: it has to stand losing a race anyway, against those who take none.
 */
export async function withLock<Result>(
  db: Asks,
  { names, timeout }: LockOptions,
  work: (state: LockState) => Promise<Result>,
): Promise<Result> {
  // Locks are the server's, and their names have up to 64 characters: this one is of a database.
  const hash = createHash('sha256').update(JSON.stringify(names)).digest('hex')
  const name = sql`concat('drizzle-celery ', sha1(concat(coalesce(lower(database()), ''), ' ', ${hash})))`
  const state = await take(db, sql`select cast(get_lock(${name}, ${timeout}) as char) as answer`)
  try {
    return await work(state)
  } finally {
    // With a connection that is lost the lock went, too.
    if (state === 'held') await Promise.resolve(db.execute(sql`select release_lock(${name})`)).catch(() => {})
  }
}

async function take(db: Asks, query: ReturnType<typeof sql>): Promise<LockState> {
  try {
    const [row] = await rowsOf(db, query)
    const answer = textOf(row, 'answer')
    if (answer === '1') return 'held'
    return answer === '0' ? 'timeout' : 'none'
  } catch (error) {
    // What the server refuses it does not have; without an answer there is no connection.
    if (numberOf(error) === undefined) throw error
    return 'none'
  }
}

/** What asks and does, whichever the driver. */
export interface Asks {
  execute(query: SQL): PromiseLike<unknown>
}

/** What we use of a Drizzle handle for MySQL. */
interface MysqlHandle extends Asks {
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
