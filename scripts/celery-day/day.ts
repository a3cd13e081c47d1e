import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { createConnection } from 'mysql2/promise'
import postgres from 'postgres'
import { DatabaseBackend } from '../../src/backend/index.ts'
import { SessionManager } from '../../src/session/open-manager.ts'

/**
 * A day of a shop in Celery, and the command and the page used on it: real workers run what `day.py` sends, then their rows are copied under
 * new ids and over the hours of a day until there are 100,000. Wants `npm run build`, POSTGRES_URL, MYSQL_URL and AMQP_URL (a
 * virtual host of its own: the queues are `celery`, `mail` and `reports`).
 *
 *     npx tsx scripts/celery-day/day.ts [--sent 3000] [--rows 100000] [--home /srv/shop] [--keep]
 *
 * The workers run a copy of `day.py` in `--home`, a new folder unless it is said, as the tracebacks tell who reads them.
 */
const { values: options } = parseArgs({
  options: {
    sent: { type: 'string', default: '3000' },
    rows: { type: 'string', default: '100000' },
    home: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
})
const ROWS = Number(options.rows)
const PYTHON = process.env['CELERY_PYTHON'] ?? '/usr/bin/python3'
const COMMAND = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const directory = mkdtempSync(join(tmpdir(), 'dc-day-'))
const home = options.home ?? directory
const run = promisify(execFile)

/** Where the copies of a row come from; `n` numbers them. */
const COPY = {
  postgresql: {
    id: "nextval('task_id_sequence')",
    taskId: 'gen_random_uuid()::text',
    date: (seconds: number) => `t.date_done - n.n * interval '${seconds} seconds'`,
    numbers: (most: number) => `generate_series(1, ${most}) n (n)`,
  },
  mysql: {
    id: 'nextval(task_id_sequence)',
    taskId: 'uuid()',
    date: (seconds: number) => `t.date_done - interval (n.n * ${seconds}) second`,
    numbers: (most: number) => `(select seq as n from seq_1_to_${most}) n`,
  },
  sqlite: {
    id: 'null',
    taskId: "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || hex(randomblob(7)))",
    date: (seconds: number) =>
      `strftime('%Y-%m-%d %H:%M:%f', t.date_done, (-${seconds} * n.n) || ' seconds') || '000'`,
    numbers: (most: number) =>
      `(with recursive s (n) as (select 1 union all select n + 1 from s where n < ${most}) select n from s) n`,
  },
}
const COPIED = 'status, result, traceback, name, args, kwargs, worker, retries, queue'

interface Database {
  readonly dialect: keyof typeof COPY
  readonly dburi: string
}

async function databases(): Promise<Database[]> {
  const { POSTGRES_URL = '', MYSQL_URL = '' } = process.env
  const server = postgres(POSTGRES_URL, { max: 1, onnotice() {} })
  await server.unsafe('drop database if exists dc_day with (force)')
  await server.unsafe('create database dc_day')
  await server.end()
  const other = await createConnection(MYSQL_URL)
  await other.query('drop database if exists dc_day')
  await other.query('create database dc_day')
  await other.end()
  const at = (url: string) => Object.assign(new URL(url), { pathname: '/dc_day' }).href
  return [
    { dialect: 'postgresql', dburi: at(POSTGRES_URL) },
    { dialect: 'mysql', dburi: at(MYSQL_URL) },
    { dialect: 'sqlite', dburi: `sqlite:///${join(directory, 'day.db')}` },
  ]
}

/** What Celery's workers write of it. Three of them, each for its queues; of SQLite, where they would wait for each other, one. */
async function runWorkers({
  dialect,
  dburi,
}: Database): Promise<{ groups: string[]; ran: number; seconds: number }> {
  const backend = `db+${dburi.replace('mysql://', 'mysql+pymysql://')}`
  const env = { ...process.env, DAY_BROKER: process.env['AMQP_URL'] ?? '', DAY_BACKEND: backend }
  const cwd = home
  const queues = dialect === 'sqlite' ? ['celery,mail,reports'] : ['celery', 'celery,mail', 'celery,reports']
  const workers = queues.map((queue, at) => {
    const node = ['-n', `${['one', 'two', 'three'][at]}@shop`, '-Q', queue]
    const quiet = ['-l', 'error', '--without-gossip', '--without-mingle', '--without-heartbeat']
    const args = ['-m', 'celery', '-A', 'day', 'worker', '-P', 'solo', ...node, ...quiet]
    return spawn(PYTHON, args, { env, cwd, stdio: ['ignore', 'ignore', 'ignore'] })
  })
  const startedAt = performance.now()
  try {
    const { stdout } = await run(PYTHON, ['day.py', options.sent], { env, cwd })
    const ran = await settled(dburi)
    return { groups: JSON.parse(stdout).groups, ran, seconds: (performance.now() - startedAt) / 1_000 }
  } finally {
    for (const worker of workers) {
      worker.kill('SIGTERM')
      if (worker.exitCode === null && worker.signalCode === null) await once(worker, 'exit')
    }
  }
}

/** Waits until nothing more is stored. @returns the number of tasks */
async function settled(dburi: string): Promise<number> {
  await using backend = new DatabaseBackend(dburi, { resultExtended: true })
  for (let [last, since] = ['', Date.now()]; ; ) {
    const counts = await backend.counts()
    const now = JSON.stringify(counts)
    if (now !== last) [last, since] = [now, Date.now()]
    else if (Date.now() - since > 8_000) return Object.values(counts).reduce((sum, count) => sum + count, 0)
    await sleep(500)
  }
}

async function copyRows({ dialect, dburi }: Database, ran: number): Promise<void> {
  await using manager = new SessionManager({ prepare: 'none', engineOptions: { statementTimeout: 600 } })
  const engine = await manager.getEngine(dburi)
  const { id, taskId, date, numbers } = COPY[dialect]
  const missing = ROWS - ran
  const most = Math.ceil(missing / ran)
  const seconds = Math.floor(86_400 / most)
  await engine.run({
    sql:
      `insert into celery_taskmeta (id, task_id, date_done, ${COPIED}) select ${id}, ${taskId}, ${date(seconds)}, ` +
      `t.${COPIED.replaceAll(', ', ', t.')} from celery_taskmeta t cross join ${numbers(most)} order by n.n, t.id limit ${missing}`,
    params: [],
    asArrays: false,
  })
  const analyze = { postgresql: 'analyze', mysql: 'analyze table celery_taskmeta', sqlite: 'analyze' }
  await engine.run({ sql: analyze[dialect], params: [], asArrays: false })
}

/** No Python opens a directory of PGlite: it gets PostgreSQL's rows as they are. */
async function copyToPGlite(from: string): Promise<string> {
  const dburi = `pglite:///${join(directory, 'pglite')}`
  await using manager = new SessionManager({ engineOptions: { statementTimeout: 600 } })
  await using backend = new DatabaseBackend(dburi, { manager, resultExtended: true })
  await backend.counts()
  const theirs = postgres(from, { max: 1 })
  const engine = await manager.getEngine(dburi)
  for (const table of ['celery_taskmeta', 'celery_tasksetmeta']) {
    for await (const rows of theirs`select * from ${theirs(table)} order by id`.cursor(500)) {
      const columns = Object.keys(rows[0] ?? {})
      const params = rows.flatMap((row) => columns.map((column) => row[column]))
      const values = rows.map(
        (_, at) => `(${columns.map((__, place) => `$${at * columns.length + place + 1}`).join(', ')})`,
      )
      await engine.run({
        sql: `insert into ${table} (${columns.join(', ')}) values ${values.join(', ')}`,
        params,
        asArrays: false,
      })
    }
  }
  await theirs.end()
  await engine.run({ sql: 'analyze', params: [], asArrays: false })
  return dburi
}

/** Has a process tell, at its end, what it took of the processor. */
const METER =
  'data:text/javascript,import { writeSync } from "node:fs"; process.on("exit", () => {' +
  'const { user, system } = process.cpuUsage(); writeSync(3, ((user + system) / 1e6).toFixed(1) + " s") })'

/** The command with these words: its time, its exit status and how much it wrote. */
async function use(what: string, words: readonly string[]): Promise<string> {
  const startedAt = performance.now()
  const child = spawn(process.execPath, ['--import', METER, COMMAND, ...words], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  })
  let [output, problems, cpu] = ['', '', '']
  child.stdio[3]?.on('data', (text: Buffer) => {
    cpu += text.toString()
  })
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    problems += text
  })
  const timer = setTimeout(() => child.kill('SIGINT'), what === 'watch, 3 s' ? 3_000 : 120_000)
  const [status] = await once(child, 'close')
  clearTimeout(timer)
  const took = `${((performance.now() - startedAt) / 1_000).toFixed(1)} s, ${cpu} of processor`
  const lines = output.split('\n').length - 1
  console.log(`  ${what.padEnd(44)} ${took.padStart(25)}  exit ${status}, ${lines} lines ${problems.trim()}`)
  return output
}

async function useCommand(dburi: string, groups: readonly string[]): Promise<void> {
  const idsOf = async (words: readonly string[]) =>
    (await use(`tasks ${words.join(' ')}`, ['tasks', dburi, '--json', ...words]))
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line).taskId as string)
  await use('ping', ['ping', dburi])
  await use('counts', ['counts', dburi])
  await idsOf([])
  const [failed = ''] = await idsOf(['--state', 'FAILURE'])
  await idsOf(['--state', 'REVOKED', '--state', 'RETRY'])
  const [big = ''] = await idsOf(['--name', 'report.daily'])
  const [unicode = ''] = await idsOf(['--name', 'user.greet'])
  await idsOf(['--worker', 'three@shop'])
  await idsOf(['--queue', 'mail'])
  await idsOf(['--since', '1h'])
  await idsOf(['--since', '12h', '--until', '6h', '--state', 'FAILURE'])
  await idsOf(['--name', 'not.there'])
  await idsOf(['--limit', '100000'])
  await use('task, failed', ['task', dburi, failed])
  await use('task, 1,500 rows', ['task', dburi, big])
  await use('task, unicode', ['task', dburi, unicode])
  await use('task --traceback', ['task', dburi, failed, '--traceback'])
  await use('group', ['group', dburi, groups[0] ?? ''])
  await use('watch, 3 s', ['watch', dburi])
  await use('cleanup --dry-run', ['cleanup', dburi, '--older-than', '12h', '--dry-run'])
}

/** The page of `drizzle-celery web`: what it takes when it is first asked, and after that, at most and mostly. */
async function usePage(dburi: string, groups: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [COMMAND, 'web', dburi, '--port', '0', '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const [line] = await once(createInterface(child.stdout), 'line')
    const { origin, searchParams } = new URL(JSON.parse(line).url)
    const headers = { authorization: `Bearer ${searchParams.get('token')}` }
    const visit = async (path: string) => {
      const startedAt = performance.now()
      const response = await fetch(`${origin}${path}`, { headers })
      const text = await response.text()
      if (!response.ok) throw new Error(`${path} gave ${response.status}: ${text}`)
      return { text, took: performance.now() - startedAt }
    }
    const look = async (path: string) => {
      const { text, took: first } = await visit(path)
      const times: number[] = []
      for (let turn = 0; turn < 10; turn++) times.push((await visit(path)).took)
      const [middle = 0, most = 0] = [times.sort((one, other) => one - other)[5], times[9]]
      const rows = [...text.matchAll(/<tr data-id="([^"]+)"/g)].map(([, id = '']) => id)
      const took = `${first.toFixed(0)} ms, then ${middle.toFixed(0)}, up to ${most.toFixed(0)} ms`
      const [, next] = /href="([^"]+)" rel="next"/.exec(text) ?? []
      console.log(`  page ${path.slice(0, 60).padEnd(62)} ${took.padStart(34)}  ${rows.length} tasks`)
      return { rows, next: next?.replaceAll('&amp;', '&') }
    }
    const { rows, next } = await look('/')
    await look(next ?? '/')
    for (const state of ['SUCCESS', 'FAILURE', 'REVOKED']) {
      const { rows } = await look(`/?state=${state}`)
      if (rows.length === 0) throw new Error(`No task is ${state}`)
    }
    const [failed = ''] = (await look('/?state=FAILURE&sort=done')).rows
    const [big = ''] = (await look('/?name=report.daily')).rows
    for (const filters of [
      ...['name=not.there', 'worker=one%40shop', 'queue=mail', 'name=mail.send&state=RETRY', 'since=1h'],
      ...['since=12h&until=6h&state=FAILURE', `id=${rows[0]?.slice(0, 8)}`, 'id=a'],
    ])
      await look(`/?${filters}`)
    for (const id of [failed, big]) await look(`/task?id=${id}`)
    await look(`/group?id=${groups[0]}`)
    const startedAt = performance.now()
    const { took } = await visit('/charts?range=24h')
    while ((await visit('/charts?range=24h')).text.includes('being counted')) await sleep(100)
    const whole = (performance.now() - startedAt) / 1_000
    console.log(`  charts of 24h: at once ${took.toFixed(0)} ms, whole after ${whole.toFixed(1)} s`)
    await look('/charts?range=24h')
  } finally {
    child.kill('SIGINT')
    await once(child, 'exit')
  }
}

async function useBoth(dburi: string, groups: readonly string[]): Promise<void> {
  await useCommand(dburi, groups)
  await usePage(dburi, groups)
}

try {
  cpSync(fileURLToPath(new URL('day.py', import.meta.url)), join(home, 'day.py'))
  let first: { dburi: string; groups: string[] } | undefined
  for (const database of await databases()) {
    const { groups, ran, seconds } = await runWorkers(database)
    first ??= { dburi: database.dburi, groups }
    await copyRows(database, ran)
    console.log(
      `${database.dialect}: ${ran} tasks run by workers in ${seconds.toFixed(0)} s, ${ROWS - ran} copied`,
    )
    console.log(`  ${options.keep ? database.dburi : ''}`)
    await useBoth(database.dburi, groups)
  }
  const dburi = await copyToPGlite(first?.dburi ?? '')
  console.log(`pglite: ${ROWS} copied`)
  await useBoth(dburi, first?.groups ?? [])
} finally {
  if (!options.keep) rmSync(directory, { recursive: true })
}
