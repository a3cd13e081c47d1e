import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Dialect, SessionManager } from 'drizzle-celery'
import { DatabaseBackend, type ListOptions } from 'drizzle-celery/backend'
import { resultModels as mysqlModels } from 'drizzle-celery/models/mysql'
import { resultModels as postgresqlModels } from 'drizzle-celery/models/postgresql'
import { resultModels as sqliteModels } from 'drizzle-celery/models/sqlite'
import { resultsApp } from 'drizzle-celery/web'
import { createConnection } from 'mysql2/promise'
import postgres from 'postgres'
import { median } from './measure.ts'
import { report } from './report.ts'

/** Lists of 50 tasks, and the page, in tables of millions that have the indexes of a dashboard. */
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

/** Where the numbers from 1 on come from, an id, and a time so many seconds ago. */
const SYNTAX: Record<
  Dialect,
  { numbers(rows: number): string; taskId: string; ago(seconds: string): string }
> = {
  postgresql: {
    numbers: (rows) => `generate_series(1, ${rows}) as s (n)`,
    taskId: 'md5(n::text)',
    ago: (seconds) => `clock_timestamp()::timestamp - make_interval(secs => ${seconds})`,
  },
  mysql: {
    numbers: (rows) => `(select seq as n from seq_1_to_${rows}) s`,
    taskId: 'md5(n)',
    ago: (seconds) => `utc_timestamp(6) - interval ${seconds} second`,
  },
  sqlite: {
    numbers: (rows) =>
      `(with recursive s (n) as (select 1 union all select n + 1 from s where n < ${rows}) select n from s) s`,
    taskId: 'lower(hex(randomblob(16)))',
    ago: (seconds) => `strftime('%Y-%m-%d %H:%M:%f', 'now', -(${seconds}) || ' seconds') || '000'`,
  },
}
/** What the table is of. */
const DAYS = 30

/** Most rows are alike, 1 in 1,000 is what is rare, and what was usual until half of the time ago came no more. */
function column(usual: readonly string[], rare: string, rows: number, past = usual): string {
  const among = (texts: readonly string[]) =>
    `case n % ${texts.length} ${texts.map((text, at) => `when ${at} then '${text}'`).join(' ')} end`
  return `case when n % 1000 = 7 then '${rare}' when n * 2 < ${rows} then ${among(past)} else ${among(usual)} end`
}

async function listed(dialect: Dialect, dburi: string, rows: number): Promise<void> {
  await fill(dialect, dburi, rows)
  const indexes = { indexes: 'dashboard' } as const
  const models = {
    postgresql: postgresqlModels(indexes),
    mysql: mysqlModels(indexes),
    sqlite: sqliteModels(indexes),
  }
  const engineOptions = { statementTimeout: 600 }
  await using manager = new SessionManager({ models, prepare: 'upgrade', engineOptions })
  await using backend = new DatabaseBackend(dburi, { manager, resultExtended: true })
  await backend.recentCounts()
  const engine = await manager.getEngine(dburi)
  const analyze = { postgresql: 'vacuum analyze', mysql: 'analyze table celery_taskmeta', sqlite: 'analyze' }
  await engine.run({ sql: analyze[dialect], params: [], asArrays: false })
  const where = `${dialect}, ${rows / 1_000_000} M rows`
  const asked: Record<string, ListOptions> = {
    'newest first': {},
    'one state in 1,000': { state: 'FAILURE' },
    'a state that is not there': { state: 'RETRY' },
    'two states': { state: ['RETRY', 'FAILURE'] },
    'one name in 1,000': { name: 'shop.rare' },
    'a worker that is not there': { worker: 'w@none' },
    'a queue that is not there': { queue: 'none' },
    'by date, one state in 1,000': { state: 'FAILURE', orderBy: 'dateDone' },
  }
  for (const [what, options] of Object.entries(asked)) {
    report(`list() of ${where}: ${what}`, await typical(() => backend.list(options)), 'ms', { most: 20 })
  }
  await pages(where, backend)
}

/** Before there are indexes, which are sooner made than kept. */
async function fill(dialect: Dialect, dburi: string, rows: number): Promise<void> {
  await using manager = new SessionManager({ engineOptions: { statementTimeout: 600 } })
  await using backend = new DatabaseBackend(dburi, { manager, resultExtended: true })
  await backend.counts()
  const engine = await manager.getEngine(dburi)
  const { numbers, taskId, ago } = SYNTAX[dialect]
  const columns = {
    id: 'n',
    task_id: taskId,
    status: column(['SUCCESS', 'SUCCESS', 'SUCCESS', 'REVOKED'], 'FAILURE', rows),
    date_done: ago(`(${rows} - n) * ${(DAYS * 86_400) / rows}`),
    name: column(['shop.often', 'shop.add', 'mail.send'], 'shop.rare', rows, ['shop.past', 'mail.send']),
    worker: column(['w@one', 'w@two'], 'w@rare', rows, ['w@past', 'w@one']),
    queue: column(['celery', 'mail'], 'rare', rows, ['past', 'mail']),
  }
  const sql =
    `insert into celery_taskmeta (${Object.keys(columns).join(', ')}) ` +
    `select ${Object.values(columns).join(', ')} from ${numbers(rows)}`
  await engine.run({ sql, params: [], asArrays: false })
}

/** What a visitor of the page waits for, by every filter and with some of them together: the first page, and the one behind it. */
async function pages(where: string, backend: DatabaseBackend): Promise<void> {
  const app = resultsApp(backend, { auth: 'everyone' })
  const visit = async (path: string) => {
    const response = await app(new Request(`http://localhost${path}`))
    const text = await response.text()
    if (response.status !== 200) throw new Error(`${path} gave ${response.status}: ${text}`)
    return text
  }
  const filters = ['', 'state=SUCCESS', 'state=FAILURE', 'state=RETRY', 'state=FAILURE&state=REVOKED']
  for (const [key, names] of Object.entries({
    name: ['shop.often', 'shop.rare', 'shop.past', 'none'],
    worker: ['w@one', 'w@rare', 'w@past', 'none'],
    queue: ['celery', 'rare', 'past', 'none'],
  })) {
    filters.push(...names.map((name) => `${key}=${name}`))
    filters.push(`state=FAILURE&${key}=${names[0]}`, `state=SUCCESS&${key}=${names[1]}`)
  }
  filters.push('name=shop.often&worker=w@one', 'name=shop.rare&worker=w@rare', 'name=shop.past&queue=mail')
  const both = ['name=shop.often&worker=w@one', 'name=shop.past&queue=mail', 'state=FAILURE&queue=celery']
  const times = [
    'since=1h',
    'since=1d',
    'since=7d',
    'since=7d&until=6d',
    `since=${DAYS}d&until=${DAYS - 1}d`,
    'until=1d',
    `until=${DAYS - 1}d`,
  ].flatMap((when) =>
    ['', '&state=FAILURE', '&name=shop.often', '&name=shop.rare', ...both.map((each) => `&${each}`)].map(
      (filter) => when + filter,
    ),
  )
  const byDate = filters.map((filter) => `${filter}&sort=done`)
  const queries = [...filters, ...byDate, ...times, 'id=a', 'id=abc', 'id=none']
  for (const query of queries) {
    const next = /href="([^"]+)" rel="next"/.exec(await visit(`/?${query}`))?.[1]?.replaceAll('&amp;', '&')
    const first = await typical(() => visit(`/?${query}`))
    report(`page of ${where}: ${query}`, first, 'ms', { most: 100 })
    if (next === undefined) continue
    report('    and the next one', await typical(() => visit(next)), 'ms', { most: 100 })
  }
  for (const range of ['1h', '24h', '7d', '30d']) {
    const startedAt = performance.now()
    await visit(`/charts?range=${range}`)
    report(`charts of ${where}: ${range}, at once`, performance.now() - startedAt, 'ms', { most: 1_000 })
    while ((await visit(`/charts?range=${range}`)).includes('being counted')) await sleep(50)
    report('    until it is whole', performance.now() - startedAt, 'ms')
    report('    again', await typical(() => visit(`/charts?range=${range}`)), 'ms', { most: 100 })
  }
}

async function typical(work: () => Promise<unknown>): Promise<number> {
  const times: number[] = []
  for (let turn = 0; turn < 10; turn++) {
    const startedAt = performance.now()
    await work()
    times.push(performance.now() - startedAt)
  }
  return median(times)
}
