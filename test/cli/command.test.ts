/** The command `drizzle-celery`, as a person or a script runs it: a process of its own, on every database. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@libsql/client'
import { DatabaseBackend } from 'drizzle-celery/backend'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { visible } from '../../src/backend/visible.ts'
import { Output, widthOf } from '../../src/cli/output.ts'
import { countsLine } from '../../src/cli/watch.ts'
import { until } from '../faults/support.ts'
import { compiled, projectRoot } from '../fixtures/compile.ts'
import { openFiles } from '../fixtures/open-files.ts'
import { openPgBouncer } from '../fixtures/pgbouncer.ts'
import { describeNeeding, freshMysql, freshPostgres } from '../fixtures/servers.ts'

// A busy machine takes long to start the command, which some tests do often.
vi.setConfig({ testTimeout: 120_000 })
const directory = mkdtempSync(join(tmpdir(), 'dc-cli-'))
let main: string
beforeAll(async () => {
  main = await compiled(join(projectRoot, 'src/cli/main.ts'))
})
afterAll(() => rmSync(directory, { recursive: true }))

const PLAIN = { NO_COLOR: '', FORCE_COLOR: '', DATABASE_URL: '', NODE_OPTIONS: '' }

function run(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [main, ...args], {
    encoding: 'utf8',
    cwd: directory,
    env: { ...process.env, ...PLAIN, ...env },
  })
  return { stdout, stderr, status }
}

function jsonOf(args: readonly string[]): Record<string, unknown>[] {
  const { stdout, stderr, status } = run([...args, '--json'])
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 })
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}

function serves(place: { readonly dburi: string }): void {
  it('reaches it, prepares it, and shows, waits for, forgets and cleans up results', {
    tags: 'full',
    timeout: 180_000,
  }, async () => {
    const { dburi } = place
    expect(run(['prepare', dburi])).toMatchObject({ status: 0, stderr: '' })
    expect(run(['check', dburi])).toMatchObject({ status: 0, stderr: '' })
    expect(jsonOf(['ping', dburi])[0]).toMatchObject({
      version: expect.any(String),
      latency: expect.any(Number),
      tables: { missing: [] },
    })

    const backend = new DatabaseBackend(dburi, { resultExtended: true })
    const request = { task: 'shop.add', args: [1, 2], worker: 'celery@one', queue: 'fast' }
    await backend.storeResult('t-1', { sum: new Set([3]) }, 'SUCCESS', { request })
    await backend.storeResult('t-2', 1, 'SUCCESS', { request: { ...request, queue: 'slow' } })
    await backend.markAsFailure('t-3', new TypeError('no'), {
      traceback: 'Traceback (most recent call last)',
    })
    await backend.storeResult('t-4', { done: 1 }, 'PROGRESS')
    await backend.saveGroup('g', ['t-1', { id: 'inner', children: ['t-3'] }])
    await backend.dispose()

    expect(jsonOf(['tasks', dburi, '--limit', '2']).map(({ taskId }) => taskId)).toEqual(['t-4', 't-3'])
    expect(jsonOf(['tasks', dburi, '--queue', 'fast', '--name', 'shop.add', '--since', '1h'])).toMatchObject([
      { taskId: 't-1', worker: 'celery@one' },
    ])
    expect(jsonOf(['task', dburi, 't-1'])[0]).toMatchObject({
      status: 'SUCCESS',
      result: { sum: [3] },
      args: [1, 2],
    })
    const failed = run(['task', dburi, 't-3', '--traceback'])
    expect(failed).toEqual({ stdout: 'Traceback (most recent call last)\n', stderr: '', status: 1 })
    expect(run(['task', dburi, 'nobody'])).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('PENDING'),
    })
    expect(jsonOf(['counts', dburi])).toEqual([{ SUCCESS: 2, FAILURE: 1, PROGRESS: 1 }])
    expect(jsonOf(['group', dburi, 'g']).map(({ taskId, depth }) => [taskId, depth])).toEqual([
      ['t-1', 0],
      ['inner', 0],
      ['t-3', 1],
    ])
    expect(run(['task', dburi, 't-4', '--wait', '--timeout', '3s'])).toMatchObject({
      status: 3,
      stdout: 'PROGRESS {"done":1}\n',
      stderr: expect.stringMatching(/^drizzle-celery: The task t-4 was not done within 3 s.*\n$/),
    })
    expect(run(['cleanup', dburi, '--older-than', '1h'])).toMatchObject({
      status: 0,
      stdout: '0 tasks and 0 groups were deleted.\n',
    })
    await sleep(20)
    expect(jsonOf(['cleanup', dburi, '--older-than', '0.01s', '--dry-run'])).toEqual([
      { tasks: 3, dryRun: true },
    ])
    expect(jsonOf(['cleanup', dburi, '--older-than', '0.01s'])).toEqual([{ tasks: 3, groups: 1 }])
    expect(run(['forget', dburi, 't-4', 't-1'])).toEqual({
      stdout: '1 of 2 tasks were stored, and are deleted.\n',
      stderr: '',
      status: 1,
    })
  })

  it('watch tells each change until it is interrupted, and leaves nothing behind', {
    tags: 'full',
  }, async () => {
    const { dburi } = place
    const child = spawn(process.execPath, [main, 'watch', dburi, '--json', '--every', '0.1s'], {
      env: { ...process.env, ...PLAIN },
    })
    let told = ''
    child.stdout.setEncoding('utf8').on('data', (text) => {
      told += text
    })
    const ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve([code, signal])))
    await using backend = new DatabaseBackend(dburi)
    // Not what is there when it begins: so until the first one is told.
    for (let count = 0; told === '' && count < 200; count++) {
      await backend.storeResult(`watched-${count}`, null, 'STARTED')
      await sleep(100)
    }
    child.kill('SIGINT')

    expect(await ended).toEqual([130, null])
    expect(JSON.parse(told.split('\n')[0] ?? '')).toMatchObject({ status: 'STARTED' })
  })
}

describe('on a SQLite file', () => serves({ dburi: `file:${join(directory, 'results.db')}` }))

// One process at a time has its files, which the test's own backend would keep from the command.
describe('on PGlite', () => {
  it('is opened by the command, and let go', { tags: 'full' }, () => {
    const dburi = `pglite:${join(directory, 'pglite')}`
    expect(run(['prepare', dburi])).toMatchObject({ status: 0, stderr: '' })
    expect(jsonOf(['counts', dburi])).toEqual([{}])
  })
})

describeNeeding('postgresql', 'on PostgreSQL', () => {
  const database = freshPostgres()
  serves(database)

  describeNeeding('pgbouncer', 'behind PgBouncer', () => {
    it('ping tells of the pooler', async () => {
      await using pooler = await openPgBouncer(database.dburi)

      expect(jsonOf(['ping', pooler.dburi])[0]).toMatchObject({ pooler: 'yes' })
      expect(jsonOf(['ping', database.dburi])[0]).toMatchObject({ pooler: 'no' })
    })
  })
})
describeNeeding('mysql', 'on MySQL', () => serves(freshMysql()))

describe('a command line', () => {
  const database = `file:${join(directory, 'line.db')}`
  beforeAll(() => {
    run(['prepare', database])
  })

  it.each([
    ['no command', ['nope'], 'There is no command nope'],
    ['no dburi', ['tasks'], 'set DATABASE_URL'],
    ['an unknown option', ['tasks', database, '--limt', '1'], "Unknown option '--limt'"],
    ['a wrong number', ['tasks', database, '--limit', '0'], '--limit takes a whole number'],
    ['a wrong time', ['tasks', database, '--since', 'x'], '--since takes a time ago'],
    ['a day that is none', ['tasks', database, '--since', '2026-02-29'], '--since takes a time ago'],
    ['no id', ['task', database], 'Type: drizzle-celery task [DBURI] ID'],
    ['one too many', ['counts', database, 'x'], 'Type: drizzle-celery counts'],
    ['no file', ['counts', 'file:gone.db'], 'There is no file'],
    ['a scheme of nobody', ['ping', 'mssql://u:canary@h/x'], 'There is no adapter for this database'],
    ['a variable that is not set', ['counts', '--env', 'GONE'], 'GONE is not set'],
    ['a schema that is not there', ['check', database, '--schema', 'gone.mjs'], 'Cannot load gone.mjs'],
  ])('with %s is told in one line what to do', { tags: 'full' }, (_what, args, told) => {
    const { stdout, stderr, status } = run(args)

    expect({ stdout, status }).toEqual({ stdout: '', status: 2 })
    expect(stderr).toMatch(/^drizzle-celery: .*\n$/)
    expect(stderr).toContain(told)
    expect(stderr).not.toContain('canary')
    expect(existsSync(join(directory, 'gone.db'))).toBe(false)
  })

  it('shows no password, neither of what fails nor of what works', { tags: 'full' }, () => {
    const failed = run(['ping', 'postgresql://u:canary@127.0.0.1:1/x', '--json'])

    expect(failed).toMatchObject({ status: 3, stdout: '' })
    expect(JSON.parse(failed.stderr)).toMatchObject({ error: { code: 'CONNECT_FAILED' } })
    expect(failed.stderr).not.toContain('canary')

    const dburi = 'postgresql://u:canary@127.0.0.1:1/x'
    for (const args of [[dburi], ['help', dburi], ['tasks', '--env', dburi], ['tasks', `--${dburi}`]])
      expect(Object.values(run(args)).join()).not.toContain('canary')
  })

  it('reads times in UTC, as it shows them, wherever the machine is', { tags: 'full' }, async () => {
    const dburi = `file:${join(directory, 'zones.db')}`
    const backend = new DatabaseBackend(dburi)
    await backend.storeResult('t', 1, 'SUCCESS')
    await backend.dispose()
    const inHours = (hours: number) =>
      new Date(Date.now() + hours * 3_600_000).toISOString().slice(0, 16).replace('T', ' ')
    const idsSince = (since: string, TZ: string) =>
      run(['tasks', dburi, '--since', since, '--json'], { TZ }).stdout.match(/"taskId":"t"/g) ?? []

    for (const zone of ['Asia/Tokyo', 'America/Los_Angeles']) {
      expect(idsSince(inHours(1), zone)).toEqual([])
      expect(idsSince(inHours(-1), zone)).toHaveLength(1)
    }
  })

  it('takes the dburi from the environment', { tags: 'full' }, () => {
    expect(run(['counts'], { DATABASE_URL: database })).toMatchObject({ status: 0 })
    expect(run(['counts', '--env', 'RESULTS'], { RESULTS: database })).toMatchObject({ status: 0 })
    expect(run(['task', 'an-id'], { DATABASE_URL: database })).toMatchObject({ status: 1 })
  })

  it('has help for everything, and exit 0 for it', { tags: 'full' }, () => {
    for (const args of [[], ['--help'], ['help'], ['help', 'tasks'], ['tasks', '--help']])
      expect(run(args)).toMatchObject({
        status: 0,
        stderr: '',
        stdout: expect.stringContaining('drizzle-celery'),
      })
  })

  it('does nothing to a database without result tables but tell', { tags: 'full' }, async () => {
    const empty = join(directory, 'empty.db')
    writeFileSync(empty, '')
    const { stderr, status } = run(['tasks', `file:${empty}`])

    expect(status).toBe(3)
    expect(stderr).toContain('drizzle-celery prepare DBURI')
    expect(run(['check', `file:${empty}`]).status).toBe(1)
  })

  it('prepares and compares tables of a schema of the program', { tags: 'full' }, () => {
    const schema = join(projectRoot, 'node_modules/.cache', `schema-${process.pid}.mjs`)
    writeFileSync(
      schema,
      "import { integer, sqliteTable } from 'drizzle-orm/sqlite-core'\n" +
        "export const cart = sqliteTable('cart', { id: integer().primaryKey(), total: integer() })\n",
    )
    const own = `file:${join(directory, 'own.db')}`

    expect(run(['ddl', own, '--schema', schema]).stdout).toContain('CREATE TABLE `cart`')
    expect(run(['prepare', own, '--schema', schema]).stdout).toMatch(/created +cart/)
    expect(run(['check', own, '--schema', schema])).toMatchObject({ status: 0 })
    rmSync(schema)
  })

  it('is coloured when that is wanted, and never where it is refused', { tags: 'full' }, async () => {
    const backend = new DatabaseBackend(database, { resultExtended: true })
    await backend.storeResult('evil', 1, 'SUCCESS', { request: { task: '\u001b[31mred\u202e' } })
    await backend.dispose()

    expect(run(['tasks', database]).stdout).not.toContain('\u001b')
    expect(run(['tasks', database], { FORCE_COLOR: '1' }).stdout).toContain('\u001b[32m')
    expect(run(['tasks', database], { FORCE_COLOR: '1', NO_COLOR: '1' }).stdout).not.toContain('\u001b')
    expect(run(['tasks', database, '--json'], { FORCE_COLOR: '1' }).stdout).not.toContain('\u001b')
    expect(run(['tasks', database], { FORCE_COLOR: '1' }).stdout).not.toContain('\u001b[31mred')
  })

  it('shows what a terminal would obey in errors, in counts and in what differs, too', {
    tags: 'full',
  }, async () => {
    const schema = join(projectRoot, 'node_modules/.cache', `evil-${process.pid}.mjs`)
    writeFileSync(schema, "throw new Error('\\u001b[2Jgone')\n")
    expect(run(['check', database, '--schema', schema]).stderr).toContain('\\u001b[2Jgone')

    writeFileSync(
      schema,
      "import { integer, sqliteTable } from 'drizzle-orm/sqlite-core'\n" +
        "export const cart = sqliteTable('cart', { id: integer().primaryKey(), total: integer() })\n",
    )
    const file = join(directory, 'evil.db')
    const client = createClient({ url: `file:${file}` })
    await client.execute('create table cart (id integer primary key, total "te\u001b[2Jxt")')
    client.close()
    expect(run(['check', `file:${file}`, '--schema', schema]).stdout).toContain('te\\u001b[2Jxt')
    rmSync(schema)

    const output = new Output({ write() {} }, { isJson: false, env: {} })
    expect(countsLine({ output }, { 'a\u001b[2J': 1 })).toBe('a\\u001b[2J 1')
  })

  it('looks no more often for a time that no timer takes', { tags: 'full' }, async () => {
    const child = spawn(process.execPath, [main, 'watch', database, '--every', '30d'], {
      env: { ...process.env, ...PLAIN },
    })
    let stderr = ''
    child.stderr.on('data', (text) => {
      stderr += text
    })
    const ended = new Promise((resolve) => child.on('exit', resolve))
    // It looks once it has the file open.
    await until(() => openFiles(join(directory, 'line.db'), child.pid) > 0)
    await sleep(2_000)
    child.kill('SIGINT')

    expect(await ended).toBe(130)
    expect(stderr).toBe('')
  })

  it('shows a long result over several lines, and its rows on one each', async () => {
    const dburi = `file:${join(directory, 'rows.db')}`
    await using backend = new DatabaseBackend(dburi)
    const rows = Array.from({ length: 3 }, (_, at) => [at, `article-${at}`, at * 1.5])
    await backend.markAsDone('report', { day: '2026-11-29', rows, note: 'x'.repeat(70) })

    const lines = run(['task', dburi, 'report'])
      .stdout.split('\n')
      .map((line) => line.trim())
    expect(lines.slice(lines.indexOf('result  {'), -1)).toEqual([
      'result  {',
      '"day": "2026-11-29",',
      '"rows": [[0,"article-0",0],[1,"article-1",1.5],[2,"article-2",3]],',
      `"note": "${'x'.repeat(70)}"`,
      '}',
    ])
  })

  it('ends well when nobody reads on', async () => {
    const child = spawn(process.execPath, [main, 'tasks', database], { env: { ...process.env, ...PLAIN } })
    child.stdout.destroy()
    let stderr = ''
    child.stderr.on('data', (text) => {
      stderr += text
    })

    expect(await new Promise((resolve) => child.on('exit', resolve))).toBe(0)
    expect(stderr).toBe('')
  })
})

describe('a table', () => {
  const rows = [
    { state: 'SUCCESS', name: 'a.very.long.name.of.a.task', queue: 'celery', id: '0123456789' },
    { state: 'FAILURE', name: '任务', queue: 'celery', id: 'x' },
  ]
  const columns = [
    { title: 'STATE', of: (row: (typeof rows)[number]) => row.state },
    { title: 'NAME', of: (row: (typeof rows)[number]) => row.name, isCut: true },
    { title: 'QUEUE', of: (row: (typeof rows)[number]) => row.queue, isSpare: true },
    { title: 'ID', of: (row: (typeof rows)[number]) => row.id, isRight: true },
  ]
  const linesAt = (width: number) =>
    new Output(
      { isTTY: true, columns: width, write() {} },
      { isJson: false, env: { NO_COLOR: '1' } },
    ).tableLines(columns, rows)

  it.each([80, 44, 36, 29])('fits %i columns', (width) => {
    expect(linesAt(width).filter((line) => widthOf(line) > width)).toEqual([])
  })

  it('is aligned, cut where it must be, and leaves out what it can do without', () => {
    expect(linesAt(44)).toEqual([
      'STATE    NAME             QUEUE           ID',
      'SUCCESS  a.very.long.na…  celery  0123456789',
      'FAILURE  任务             celery           x',
    ])
    expect(linesAt(29)).toEqual([
      'STATE    NAME              ID',
      'SUCCESS  a.very.…  0123456789',
      'FAILURE  任务               x',
    ])
  })

  it('shows what a terminal would obey', () => {
    expect(visible('a\u001b[2J\n\u202eb\u2028')).toBe('a\\u001b[2J\\n\\u202eb\\u2028')
  })
})
