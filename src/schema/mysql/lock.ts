import { createHash } from 'node:crypto'
import { type SQL, sql } from 'drizzle-orm'
import { textOf } from '../../errors.ts'
import { numberOf } from './errors.ts'

interface LockOptions {
  /** What the lock is for, in a database. */
  readonly names: readonly string[]
  /** Seconds to wait for it. */
  readonly timeout: number
}

/** Held, kept by others until the timeout, or not supported by the server. */
type LockState = 'held' | 'timeout' | 'none'

/**
 * Runs `work` under the lock, on the connection that holds it. Without such locks (some proxies and clusters) it runs
 * all the same: it must tolerate races anyway, with Celery, which takes no lock.
 */
export async function withLock<Result>(
  db: Queryable,
  { names, timeout }: LockOptions,
  work: (state: LockState) => Promise<Result>,
): Promise<Result> {
  // Locks are global to the server, with names of up to 64 characters: the database is part of this one.
  const hash = createHash('sha256').update(JSON.stringify(names)).digest('hex')
  const name = sql`concat('drizzle-celery ', sha1(concat(coalesce(lower(database()), ''), ' ', ${hash})))`
  const state = await take(db, sql`select cast(get_lock(${name}, ${timeout}) as char) as answer`)
  try {
    return await work(state)
  } finally {
    // A lost connection has released the lock.
    if (state === 'held') await Promise.resolve(db.execute(sql`select release_lock(${name})`)).catch(() => {})
  }
}

async function take(db: Queryable, query: ReturnType<typeof sql>): Promise<LockState> {
  try {
    const [row] = await rowsOf(db, query)
    const answer = textOf(row, 'answer')
    if (answer === '1') return 'held'
    return answer === '0' ? 'timeout' : 'none'
  } catch (error) {
    // A server that rejects the call has no such locks. Any other error is the connection's.
    if (numberOf(error) === undefined) throw error
    return 'none'
  }
}

/** Whether a MariaDB server is a node of a Galera cluster. */
export async function isGalera(db: Queryable): Promise<boolean> {
  return (await variables(db, ['wsrep_on'])).has('wsrep_on=on')
}

/**
 * Whether peers of this server take writes that its locks keep nobody from: Galera, and group replication with several
 * primaries. Neither has locks for all nodes; what conflicts there is the keys of committed rows.
 */
export async function isLockLocal(db: Queryable): Promise<boolean> {
  const found = await variables(db, ['wsrep_on', 'group_replication_single_primary_mode'])
  return found.has('wsrep_on=on') || found.has('group_replication_single_primary_mode=off')
}

/** Those that the server has, as `name=value` in lower case. */
async function variables(db: Queryable, names: readonly string[]): Promise<ReadonlySet<string>> {
  const list = sql.raw(names.map((name) => `'${name}'`).join(', '))
  const rows = await rowsOf(db, sql`show variables where variable_name in (${list})`)
  return new Set(rows.map((row) => `${textOf(row, 'Variable_name')}=${textOf(row, 'Value')}`.toLowerCase()))
}

/** Runs queries, whatever the driver. */
export interface Queryable {
  execute(query: SQL): PromiseLike<unknown>
}

/** The part of a Drizzle handle for MySQL that is used here. */
interface MysqlHandle extends Queryable {
  transaction<Result>(run: (tx: Queryable) => Promise<Result>): Promise<Result>
}

/** A database, and one connection of it whose statements autocommit: an `Engine` is such a target. */
export interface MysqlTarget {
  readonly db: MysqlHandle
  connect?(): Promise<AsyncDisposable & { readonly db: Queryable }>
}

/**
 * Runs `work` on one connection in autocommit mode, which holds the lock. A foreign handle pins one by a transaction,
 * which is committed at once, as its first DDL statement would do.
 */
export async function onOneConnection<Result>(
  target: MysqlTarget,
  work: (db: Queryable) => Promise<Result>,
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

/** mysql2 returns the rows and their columns. */
export async function rowsOf(db: Queryable, query: SQL): Promise<object[]> {
  const answer: unknown = await db.execute(query)
  const [first]: unknown[] = Array.isArray(answer) ? answer : []
  const rows = Array.isArray(first) ? first : answer
  return Array.isArray(rows) ? rows.filter((row) => typeof row === 'object' && row !== null) : []
}
