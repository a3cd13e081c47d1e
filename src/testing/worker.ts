import { type SQL, sql } from 'drizzle-orm'
import { parseDburi } from '../dburi/parse.ts'
import { quoteBy } from '../models/names.ts'
import { SessionManager } from '../session/open-manager.ts'
import { notCopied, renamed, type TestDatabase } from './copy.ts'

/** What is left as it is when a worker's database is emptied. */
export interface WorkerDatabaseOptions {
  /** Tables that keep their rows, beside the journals of migrations. @default `[]` */
  keep?: readonly string[] | undefined
}

/**
 * A database for each worker of the tests, on a MySQL or MariaDB server, where `copyDatabase` has nothing to copy by: the first
 * file of tests in a worker finds it empty, and its first session prepares it; those after it find the tables, emptied. The
 * worker is that of vitest or jest; elsewhere it is the process, whose database is to be dropped at the end.
 *
 * ```ts
 * const { dburi } = await workerDatabase('mysql://root@localhost/test')
 * ```
 * @param dburi of the server, with the beginning of the name: `test` becomes `test_1`, `test_2` …
 * @throws DburiError; DrizzleCeleryError with code `NOT_COPIED` for other databases, and where one of that name is there with tables
 *   that are not of an earlier worker; and what the server has against it
 */
export async function workerDatabase(
  dburi: string,
  { keep = [] }: WorkerDatabaseOptions = {},
): Promise<TestDatabase> {
  const { dialect, database } = parseDburi(dburi)
  if (dialect !== 'mysql') throw notCopied('it is no database of a MySQL server: see copyDatabase()')
  if (database === null) throw notCopied('it has no name')
  const worker = process.env['VITEST_POOL_ID'] ?? process.env['JEST_WORKER_ID'] ?? String(process.pid)
  const letters = [...database].slice(0, MOST_LETTERS - worker.length - 1)
  const name = `${letters.join('')}_${worker}`
  const run = async (work: (execute: Execute) => Promise<void>) => {
    await using admin = new SessionManager({ models: { mysql: {} }, prepare: 'none', pooled: false })
    const engine = await admin.getEngine(renamed(dburi, database, 'information_schema'))
    await using connection = await engine.connect()
    await work((query) => connection.db.execute(query))
  }
  await run(async (execute) => {
    await execute(sql.raw(`create database if not exists ${quoted(name)}`))
    await empty(name, [MARK, ...JOURNALS, ...keep], execute)
  })
  const drop = () =>
    run(async (execute) => void (await execute(sql.raw(`drop database if exists ${quoted(name)}`))))
  return { dburi: renamed(dburi, database, name), drop, [Symbol.asyncDispose]: drop }
}

type Execute = (query: SQL) => Promise<unknown>

/** What MySQL allows a name to have. */
const MOST_LETTERS = 64

/** A table that says that what is in its database may be deleted. */
const MARK = 'drizzle_celery_worker'
/** By their default names, this package's and Drizzle's. */
const JOURNALS = ['drizzle_celery_migrations', '__drizzle_migrations']

const quoted = quoteBy('`')

async function empty(database: string, keep: readonly string[], execute: Execute): Promise<void> {
  const [found] = Object(
    await execute(
      sql`select table_name as name, table_type as type from information_schema.tables where table_schema = ${database}`,
    ),
  )
  const tables = found as { name: string; type: string }[]
  if (tables.length > 0 && !tables.some(({ name }) => name === MARK)) throw isSomebodys(database)
  const texts = tables
    .filter(({ name }) => !keep.includes(name))
    .flatMap(({ name, type }) => {
      const table = `${quoted(database)}.${quoted(name)}`
      if (type === 'SEQUENCE') return `alter sequence ${table} restart`
      return type === 'BASE TABLE' ? `truncate table ${table}` : []
    })
  // In any order, whatever refers to what.
  const mark = `create table if not exists ${quoted(database)}.${MARK} (n int)`
  for (const text of [mark, 'set foreign_key_checks = 0', ...texts]) await execute(sql.raw(text))
}

function isSomebodys(name: string): Error {
  return notCopied(
    `${JSON.stringify(name)} is there, with tables that no worker made, and would be emptied. Drop it, or give the dburi another name`,
  )
}
