import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type BackendOptions, DatabaseBackend } from '../../src/backend/database-backend.ts'
import { ResultCache } from '../../src/backend/reading.ts'
import { AsyncResult } from '../../src/backend/results.ts'
import { SessionManager } from '../../src/session/open-manager.ts'
import { askPostgres } from '../fixtures/catalogue.ts'
import { celeryDdl } from '../fixtures/celery/peer.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'
import { openSqld, type SqldServer } from '../fixtures/sqld-server.ts'
import { ask, type Behaves, behavesAsCelery, keepsItsPromises, newId } from './behaviour.ts'

/** Finds statements that wait for a lock. */
const BLOCKED = `select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`

const directory = mkdtempSync(join(tmpdir(), 'dc-backend-'))
afterAll(() => rmSync(directory, { recursive: true }))

/** A suite on one database; every backend of it shares a manager unless it brings its own. */
function opening(dialect: Behaves['dialect'], dburi: () => string): Behaves {
  let manager: SessionManager
  beforeAll(() => {
    manager = new SessionManager()
  })
  afterAll(() => manager.dispose())
  return { dialect, open: (options) => new DatabaseBackend(dburi(), { manager, ...options }) }
}

describe('on PGlite', () => {
  const suite = opening('postgresql', () => 'pglite::memory:')
  behavesAsCelery(suite)
  keepsItsPromises(suite)
})

describe('on a libSQL file', () => {
  const dburi = `file:${join(directory, 'results.db')}`
  const suite = opening('sqlite', () => dburi)
  behavesAsCelery(suite)
  keepsItsPromises(suite)

  it('date_done has six digits, and grows with every store', async () => {
    await using backend = new DatabaseBackend(dburi)
    const prefix = newId()
    for (let number = 0; number < 50; number++) await backend.markAsDone(`${prefix}-${number}`, number)

    const rows = await ask(
      backend,
      dburi,
      `select date_done from celery_taskmeta where task_id like '${prefix}%' order by id`,
    )
    const dates = rows.map((row) => String(Reflect.get(row, 'date_done')))
    expect(dates.every((date) => /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}$/.test(date))).toBe(true)
    expect(dates).toEqual([...dates].sort())
    expect(dates.some((date) => !date.endsWith('000'))).toBe(true)
  })

  it('4, 5, 28: other table names get tables and indexes of their own', async () => {
    await using backend = new DatabaseBackend(dburi, {
      databaseTableNames: { task: 'my "tasks"', group: 'my-groups' },
    })
    await backend.markAsDone('x', 1)
    await backend.saveGroup('g', ['x'])

    const indexes = await ask(
      backend,
      dburi,
      "select name from sqlite_master where type = 'index' and sql is not null",
    )
    expect(await backend.getResult('x')).toBe(1)
    expect((await backend.restoreGroup('g'))?.members).toHaveLength(1)
    expect(indexes.map((row) => Reflect.get(row, 'name'))).toEqual(
      expect.arrayContaining([
        'ix_celery_taskmeta_date_done',
        'ix_my "tasks"_date_done',
        'ix_my-groups_date_done',
      ]),
    )
  })

  it('a page can end at any value of date_done, and the next one begins there', async () => {
    const odd = `file:${join(directory, 'odd.db')}`
    await using backend = new DatabaseBackend(odd)
    await backend.getState('x')
    const dates = [
      "'yesterday'",
      "'2024-01-01 00:00:00+02:00'",
      '1700000000',
      '1.5',
      '7',
      "'2024-02-30 10:00:00'",
    ]
    for (const [number, date] of dates.entries()) {
      await ask(
        backend,
        odd,
        `insert into celery_taskmeta (task_id, status, date_done) values ('t-${number}', 'SUCCESS', ${date})`,
      )
    }

    const ids: string[] = []
    for (let cursor: string | null | undefined; cursor !== null; ) {
      const page = await backend.list({ orderBy: 'dateDone', limit: 1, cursor: cursor ?? null })
      ids.push(...page.items.map(({ taskId }) => taskId))
      cursor = page.cursor
    }

    expect(ids.sort()).toEqual(dates.map((_, number) => `t-${number}`))
  })

  it('children and stamps are stored where the table has columns for them', async () => {
    const later = `file:${join(directory, 'later.db')}`
    await using manager = new SessionManager()
    const engine = await manager.getEngine(later as `file:${string}`)
    for (const statement of celeryDdl('sqlite')) await engine.db.run(statement)
    for (const column of ['children', 'stamps']) {
      await engine.db.run(`alter table celery_taskmeta add column ${column} blob`)
    }
    await using backend = new DatabaseBackend(later, { resultExtended: true })

    await backend.storeResult('p', 1, 'SUCCESS', {
      request: { task: 't', children: ['c-1', [['c-2', null], null]], stamps: { color: 'red' } },
    })

    expect(await backend.getTaskMeta('p')).toMatchObject({
      children: [
        [['c-1', null], null],
        [['c-2', null], null],
      ],
      stamps: { color: 'red' },
    })
    expect(await backend.getTaskMeta('q')).toMatchObject({ children: null, stamps: null })

    // p started c-1 and c-2, and c-1 a group of g-1 and g-2.
    const request = { task: 't', children: [[['g', null], ['g-1', 'g-2'].map((id) => [[id, null], null])]] }
    await backend.storeResult('c-1', 'one', 'SUCCESS', { request })
    await backend.storeMany(['c-2', 'g-1', 'g-2'].map((taskId) => ({ taskId, result: taskId })))
    const collected: unknown[] = []
    const result = new AsyncResult('p', backend)
    for await (const [{ id }, value] of result.collect({ timeout: 5 })) collected.push([id, value])
    expect(await result.children).toMatchObject([{ id: 'c-1' }, { id: 'c-2' }])
    expect(collected).toEqual([
      ['p', 1],
      ['c-1', 'one'],
      ['c-2', 'c-2'],
      ['g', ['g-1', 'g-2']],
      ['g-1', 'g-1'],
      ['g-2', 'g-2'],
    ])
    expect(await result.getLeaf()).toBe('g-2')
  })
})

describeNeeding('sqld', 'on a libSQL server', () => {
  describe.each(['http', 'sockets'] as const)('over %s', (protocol) => {
    let server: SqldServer
    beforeAll(async () => {
      server = await openSqld()
    })
    afterAll(() => server.close())

    const suite = opening('sqlite', () => server[protocol])
    behavesAsCelery(suite)
    keepsItsPromises(suite)
  })
})

describeNeeding('postgresql', 'on PostgreSQL', () => {
  const database = freshPostgres()
  const suite = opening('postgresql', () => database.dburi)
  behavesAsCelery(suite)
  keepsItsPromises(suite)

  it('a store over a row draws no id', async () => {
    await using backend = suite.open()
    await using guarded = suite.open({ protectReady: true })
    const id = newId()
    await backend.markAsDone(id, 0)
    const drawn = async () =>
      (await askPostgres(database.dburi, 'select last_value from task_id_sequence'))[0]
    const before = await drawn()

    for (let number = 0; number < 10; number++) await backend.markAsDone(id, number)
    await backend.storeMany([{ taskId: id, result: 1 }])
    await guarded.markAsDone(id, 'other')

    expect(await drawn()).toEqual(before)
  })

  it('a page may end at the end of time, and the next one begins there', async () => {
    await using backend = suite.open()
    const ids = [newId(), newId(), newId(), newId()]
    await backend.storeMany(ids.map((taskId) => ({ taskId, result: 1, state: 'REVOKED' })))
    for (const [number, date] of ['infinity', '294275-12-31', '0045-02-29 BC', '-infinity'].entries()) {
      await askPostgres(
        database.dburi,
        `update celery_taskmeta set date_done = '${date}' where task_id = '${ids[number]}'`,
      )
    }

    const listed: string[] = []
    for (let cursor: string | null | undefined; cursor !== null; ) {
      const page = await backend.list({
        orderBy: 'dateDone',
        state: 'REVOKED',
        limit: 1,
        cursor: cursor ?? null,
      })
      listed.push(...page.items.map(({ taskId }) => taskId).filter((taskId) => ids.includes(taskId)))
      cursor = page.cursor
    }

    await backend.storeMany(ids.map((taskId) => ({ taskId, result: 1, state: 'STARTED' })))
    expect(listed).toEqual(ids)
  })

  it('cleanup goes on when another program renews a row of its batch', async () => {
    await using backend = suite.open({ resultExpires: 86_400 })
    // What other tests left.
    await backend.cleanup()
    const prefix = newId()
    await backend.storeMany(
      Array.from({ length: 25 }, (_, number) => ({ taskId: `${prefix}-${number}`, result: number })),
    )
    await askPostgres(
      database.dburi,
      `update celery_taskmeta set date_done = date_done - interval '3 days' where task_id like '${prefix}-%'`,
    )
    await using manager = new SessionManager({ models: { postgresql: {} } })
    const cleaning = await manager.session(database.dburi as 'postgresql://', async (db) => {
      await db.execute(sql`update celery_taskmeta set date_done = clock_timestamp() at time zone 'utc'
        where task_id like ${`${prefix}-_`}`)
      const cleanup = backend.cleanup({ batchSize: 10 })
      await expect.poll(() => askPostgres(database.dburi, BLOCKED)).not.toEqual([])
      // Wrapped: as a promise it would be awaited before the commit.
      return { cleanup }
    })

    const { tasks } = await cleaning.cleanup

    expect(tasks).toBe(15)
  })

  it.each([
    ['that of the session', {}, 'now()::timestamp'],
    ['UTC beside Celery up to 5.3', { celeryVersion: '5.3' }, "now() at time zone 'utc'"],
  ])('date_done has microseconds, and its zone is %s', async (_, options, now) => {
    await askPostgres(database.dburi, `alter database ${database.name} set timezone to 'Asia/Tokyo'`)
    await using backend = new DatabaseBackend(database.dburi, { resultExpires: 3_600, ...options })
    const [id, group] = [newId(), newId()]
    await backend.markAsDone(id, 0)
    await backend.saveGroup(group, [id])

    const [row] = await askPostgres(
      database.dburi,
      `select date_done::text as date_done, abs(extract(epoch from date_done - (${now}))) < 60 as is_now
       from celery_taskmeta where task_id = '${id}'`,
    )
    await askPostgres(database.dburi, `alter database ${database.name} reset timezone`)
    expect(row).toMatchObject({ is_now: true, date_done: expect.stringMatching(/\.\d{4,6}$/) })
    expect(Math.abs(Date.now() - Number((await backend.getTaskMeta(id)).dateDone))).toBeLessThan(60_000)
    expect(await backend.cleanup()).toEqual({ tasks: 0, groups: 0 })
  })

  it('27, 28: schemas and names reach tables, sequences and indexes', async () => {
    await askPostgres(database.dburi, 'create schema "my schema"')
    await using backend = new DatabaseBackend(database.dburi, {
      databaseTableNames: { task: 'my"task' },
      databaseTableSchemas: { task: 'my schema', group: 'my schema' },
    })

    await backend.markAsDone('x', 1)
    await backend.saveGroup('g', ['x'])

    const found = await askPostgres(
      database.dburi,
      `select relname::text as name from pg_class where relnamespace = '"my schema"'::regnamespace and relkind in ('r', 'S')`,
    )
    expect(await backend.getResult('x')).toBe(1)
    expect((found as { name: string }[]).map(({ name }) => name).sort()).toEqual([
      'celery_tasksetmeta',
      'my"task',
      'task_id_sequence',
      'taskset_id_sequence',
    ])
  })

  it('tables without the sequences, whose ids come from elsewhere, are used as they are', async () => {
    await askPostgres(
      database.dburi,
      `create schema other; create table other.celery_taskmeta (id serial primary key, task_id varchar(155) unique,
       status varchar(50), result bytea, date_done timestamp, traceback text);
       create table other.celery_tasksetmeta (id serial primary key, taskset_id varchar(155) unique, result bytea, date_done timestamp)`,
    )
    await using manager = new SessionManager({ prepare: 'none' })
    await using backend = new DatabaseBackend(`${database.dburi}?options=-csearch_path%3Dother`, { manager })

    expect(await backend.markAsDone('x', 1)).toBe(true)
    await backend.saveGroup('g', ['x'])
    expect(await backend.getResult('x')).toBe(1)
    expect((await backend.list()).items).toMatchObject([{ taskId: 'x', name: null }])
  })

  it('tables that are not there and must not be created are told of', async () => {
    await askPostgres(database.dburi, 'create schema void')
    await using manager = new SessionManager({ prepare: 'none' })
    await using backend = new DatabaseBackend(`${database.dburi}?options=-csearch_path%3Dvoid`, { manager })

    await expect(backend.getState('x')).rejects.toThrow(
      /no table celery_taskmeta and no table celery_tasksetmeta/,
    )
  })

  it.each(['none', 'check'] as const)(
    'a manager that creates nothing creates no tables of other names either (%s)',
    async (prepare) => {
      await using manager = new SessionManager({ prepare })
      const options = { manager, databaseTableNames: { task: `task_${prepare}`, group: `group_${prepare}` } }
      await using backend = new DatabaseBackend(database.dburi, options)

      await expect(backend.getState('x')).rejects.toThrow(`no table task_${prepare}`)
      const made = `select relname from pg_class where relname in ('task_${prepare}', 'group_${prepare}')`
      expect(await askPostgres(database.dburi, made)).toEqual([])
    },
  )
})

describe('how a backend is made', () => {
  it('20: without a dburi, or with one that cannot be read, it is refused at once', () => {
    expect(() => new DatabaseBackend('')).toThrow(expect.objectContaining({ name: 'DburiError' }))
    expect(() => new DatabaseBackend('redis://host')).toThrow(expect.objectContaining({ name: 'DburiError' }))
  })

  it('21, 22: connections are pinged and recycled after an hour, unless the engine options say otherwise', async () => {
    const { DEFAULT_POOL_OPTIONS } = await import('../../src/options/pool.ts')
    expect(DEFAULT_POOL_OPTIONS).toMatchObject({ poolPrePing: true, poolRecycle: 3_600 })
    expect(() => new DatabaseBackend(':memory:', { databaseEngineOptions: { poolSize: -1 } })).toThrow(
      /pool/i,
    )
  })

  it('an option that does not exist is refused', () => {
    const options = { resultExtnded: true } as BackendOptions
    expect(() => new DatabaseBackend(':memory:', options)).toThrow(/resultExtnded/)
    expect(() => new DatabaseBackend(':memory:', { pickle: { maxBytes: 1.5 } })).toThrow(/pickle.maxBytes/)
    expect(() => new DatabaseBackend(':memory:', { pickle: { maxDepth: -1 } })).toThrow(/maxDepth/)
    expect(() => new DatabaseBackend(':memory:', { pickle: { maxDeep: 1 } as object })).toThrow(/maxDeep/)
    expect(() => new DatabaseBackend(':memory:', { pickle: 5 } as object)).toThrow(/pickle/)
    expect(() => new DatabaseBackend(':memory:', { resultExpires: 1e15 })).toThrow(/resultExpires/)
  })

  it('29: tables are created at construction, or with the first call', async () => {
    const created: string[] = []
    const make = (name: string, databaseCreateTablesAtSetup: boolean) =>
      new DatabaseBackend(`file:${join(directory, name)}`, {
        databaseCreateTablesAtSetup,
        databaseEngineCallback: () => void created.push(name),
      })
    await using eager = make('eager.db', true)
    await using lazy = make('lazy.db', false)
    await expect.poll(() => created).toEqual(['eager.db'])

    expect(await eager.getState('x')).toBe('PENDING')
    expect(await lazy.getState('x')).toBe('PENDING')

    expect(created).toEqual(['eager.db', 'lazy.db'])
  })

  it('a failure to open is not remembered, and nothing is left unhandled', async () => {
    let fails = true
    await using backend = new DatabaseBackend(`file:${join(directory, 'later-there.db')}`, {
      databaseEngineCallback() {
        if (fails) throw new Error('not yet')
      },
    })
    await expect(backend.getState('x')).rejects.toThrow('not yet')
    fails = false

    expect(await backend.getState('x')).toBe('PENDING')
  })

  it('17, 25, 26: after invalidate the next call opens the database anew', async () => {
    let opened = 0
    const dburi = `file:${join(directory, 'invalidated.db')}`
    await using backend = new DatabaseBackend(dburi, { databaseEngineCallback: () => void opened++ })
    await backend.markAsDone('x', 1)

    await backend.manager.invalidate(dburi)

    expect(await backend.getResult('x')).toBe(1)
    expect(opened).toBe(2)
  })

  it('a backend disposes of its own manager only, twice if need be, and refuses what comes later', async () => {
    await using manager = new SessionManager()
    const own = new DatabaseBackend(':memory:')
    const guest = new DatabaseBackend('pglite::memory:', { manager })
    await guest.getState('x')

    for (const backend of [own, own, guest]) await backend.dispose()

    await expect(own.getState('x')).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(guest.getState('x')).rejects.toMatchObject({ code: 'CLOSED' })
    expect(manager.stats().engines).toHaveLength(1)
    const callback = { manager, databaseEngineCallback: () => {} }
    expect(() => new DatabaseBackend(':memory:', callback)).toThrow(/databaseEngineCallback/)
  })

  it('databaseShortLivedSessions leaves no connection open', async () => {
    const dburi = `file:${join(directory, 'short-lived.db')}`
    await using backend = new DatabaseBackend(dburi, { databaseShortLivedSessions: true })

    await backend.markAsDone('x', 1)

    expect(await backend.getResult('x')).toBe(1)
    await expect.poll(() => backend.manager.stats().engines).toMatchObject([{ open: 0 }])
  })

  it('resultAcceptContent holds for arguments, not for results', async () => {
    await using writer = new DatabaseBackend(`file:${join(directory, 'accept.db')}`, {
      resultExtended: true,
      resultSerializer: 'pickle',
    })
    const { manager } = writer
    await using backend = new DatabaseBackend(`file:${join(directory, 'accept.db')}`, {
      manager,
      resultExtended: true,
      resultAcceptContent: ['json'],
    })
    await writer.storeResult('x', 1, 'SUCCESS', { request: { task: 't', args: [1] } })

    const meta = await backend.getTaskMeta('x')

    expect([meta.result, meta.name]).toEqual([1, 't'])
    expect(() => meta.args).toThrow(expect.objectContaining({ code: 'RESULT_UNREADABLE' }))
  })

  it('46, 47: printed, it shows nothing of its dburi', async () => {
    await using backend = new DatabaseBackend('postgresql://user:canary@127.0.0.1:1/x', {
      databaseCreateTablesAtSetup: false,
      retryDeadline: 0.2,
    })
    const error = await backend.getState('x').catch((reason: unknown) => reason)

    expect(inspect(backend, { depth: 10, showHidden: true }) + JSON.stringify(backend)).not.toContain(
      'canary',
    )
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('canary')
    expect(error).toMatchObject({
      name: 'BackendGetMetaError',
      taskId: 'x',
      cause: { code: 'CONNECT_FAILED' },
    })
  })
})

describe('what is kept in memory', () => {
  it('is not what was read before it was written', async () => {
    const cache = new ResultCache<string>(2)
    await cache.reading(['x'], async (keep) => {
      cache.delete('x')
      await cache.reading(['x'], async (keepAnew) => keepAnew('x', 'new'))
      cache.delete('x')
      keep('x', 'old')
    })
    await cache.reading(['x'], async (keep) => {
      cache.clear()
      keep('x', 'old')
    })
    expect(cache.get('x')).toBeUndefined()
  })

  it('is the latest used', async () => {
    const cache = new ResultCache<string>(2)

    for (const id of ['x', 'y', 'x', 'z']) await cache.reading([id], async (keep) => keep(id, id))

    expect([cache.get('x'), cache.get('y'), cache.get('z')]).toEqual(['x', undefined, 'z'])
  })

  it('is also what was read while others were written', async () => {
    await using backend = new DatabaseBackend(':memory:', { resultCacheMax: 0 })
    await using writer = new DatabaseBackend(':memory:', { manager: backend.manager })
    await backend.markAsDone('x', 'read')
    const writes = Array.from({ length: 20 }, (_, number) => backend.markAsDone(`y-${number}`, number))

    await Promise.all([backend.getTaskMeta('x'), backend.getMany(['x']), ...writes])

    await writer.forget('x')
    expect(await backend.getResult('x')).toBe('read')
  })
})
