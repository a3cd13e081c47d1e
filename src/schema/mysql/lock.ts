import { createHash } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { textOf } from '../../causes.ts'
import { numberOf } from './server-error.ts'
import { type Asks, rowsOf } from './target.ts'

export interface LockOptions {
  /** What the lock is for, in a database. */
  readonly names: readonly string[]
  /** Seconds to wait for it. */
  readonly timeout: number
}

/** Whether the lock is ours, others kept it, or the server has no such locks. */
export type LockState = 'held' | 'timeout' | 'none'

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
