import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Dialect, SessionManager } from 'drizzle-celery'
import { DatabaseBackend, type ListOptions } from 'drizzle-celery/backend'
import { resultModels as mysqlModels } from 'drizzle-celery/models/mysql'
import { resultModels as postgresqlModels } from 'drizzle-celery/models/postgresql'
import { resultModels as sqliteModels } from 'drizzle-celery/models/sqlite'
import { createConnection } from 'mysql2/promise'
import postgres from 'postgres'
import { median } from './measure.ts'
import { report } from './report.ts'

/** Lists of 50 tasks in tables of millions that have the indexes of a dashboard: 1 in 1,000 is what is asked for, or none. */
export async function lists(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'dc-bench-'))
  try {
    await listed('sqlite', `file:${join(directory, 'lists.db')}`, 1_000_000)
  } finally {
    rmSync(directory, { recursive: true })
  }
  const { POSTGRES_URL, MYSQL_URL } = process.env
  if (POSTGRES_URL !== undefined) {
    const admin = postgres(POSTGRES_URL, { max: 1, onnotice() {} })
    await admin.unsafe('drop database if exists dc_lists with (force)')
    await admin.unsafe('create database dc_lists template template0')
    await listed(
      'postgresql',
      Object.assign(new URL(POSTGRES_URL), { pathname: '/dc_lists' }).href,
      5_000_000,
    )
    await admin.unsafe('drop database dc_lists with (force)')
    await admin.end()
  }
  if (MYSQL_URL !== undefined) {
    const admin = await createConnection(MYSQL_URL)
    await admin.query('drop database if exists dc_lists')
    await admin.query('create database dc_lists')
    await listed('mysql', Object.assign(new URL(MYSQL_URL), { pathname: '/dc_lists' }).href, 1_000_000)
    await admin.query('drop database dc_lists')
    await admin.end()
  }
}

/** Where the numbers from 1 on come from. */
const NUMBERS: Record<Dialect, (rows: number) => string> = {
  postgresql: (rows) => `generate_series(1, ${rows}) as s (n)`,
  mysql: (rows) => `(select seq as n from seq_1_to_${rows}) s`,
  sqlite: (rows) =>
    `(with recursive s (n) as (select 1 union all select n + 1 from s where n < ${rows}) select n from s) s`,
}
const TEXT_OF: Record<Dialect, string> = {
  postgresql: "'t-' || n",
  mysql: "concat('t-', n)",
  sqlite: "'t-' || n",
}

async function listed(dialect: Dialect, dburi: string, rows: number): Promise<void> {
  const indexes = { indexes: 'dashboard' } as const
  const models = {
    postgresql: postgresqlModels(indexes),
    mysql: mysqlModels(indexes),
    sqlite: sqliteModels(indexes),
  }
  await using manager = new SessionManager({ models, engineOptions: { statementTimeout: 600 } })
  await using backend = new DatabaseBackend(dburi, { manager, resultExtended: true })
  await backend.counts()
  const engine = await manager.getEngine(dburi)
  const run = (sql: string) => engine.run({ sql, params: [], asArrays: false })
  const rare = (one: string, other: string) => `case when n % 1000 = 7 then '${one}' else '${other}' end`
  await run(
    'insert into celery_taskmeta (id, task_id, status, date_done, name, worker, queue) ' +
      `select n, ${TEXT_OF[dialect]}, ${rare('FAILURE', 'SUCCESS')}, '2026-11-29 00:00:00', ` +
      `${rare('shop.rare', 'shop.often')}, 'w@one', 'celery' from ${NUMBERS[dialect](rows)}`,
  )
  await run({ postgresql: 'analyze', mysql: 'analyze table celery_taskmeta', sqlite: 'analyze' }[dialect])
  const asked: Record<string, ListOptions> = {
    'newest first': {},
    'one state in 1,000': { state: 'FAILURE' },
    'a state that is not there': { state: 'REVOKED' },
    'two states': { state: ['REVOKED', 'FAILURE'] },
    'one name in 1,000': { name: 'shop.rare' },
    'a worker that is not there': { worker: 'w@none' },
    'a queue that is not there': { queue: 'none' },
    'by date, one state in 1,000': { state: 'FAILURE', orderBy: 'dateDone' },
  }
  for (const [what, options] of Object.entries(asked)) {
    const times: number[] = []
    for (let turn = 0; turn < 9; turn++) {
      const startedAt = performance.now()
      await backend.list(options)
      times.push(performance.now() - startedAt)
    }
    report(`list() of ${dialect}, ${rows / 1_000_000} M rows: ${what}`, median(times), 'ms', { most: 20 })
  }
}
