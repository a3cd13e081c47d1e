import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PGlite } from '@electric-sql/pglite'
import { type Client, createClient } from '@libsql/client'
import { asc, eq, getTableColumns, sql } from 'drizzle-orm'
import { drizzle as drizzleLibsql } from 'drizzle-orm/libsql'
import { getTableConfig as mysqlTableConfig } from 'drizzle-orm/mysql-core'
import { drizzle as drizzleMysql } from 'drizzle-orm/mysql2'
import { getTableConfig as pgTableConfig } from 'drizzle-orm/pg-core'
import { drizzle as drizzlePglite } from 'drizzle-orm/pglite'
import { drizzle as drizzlePostgres } from 'drizzle-orm/postgres-js'
import { getTableConfig as sqliteTableConfig } from 'drizzle-orm/sqlite-core'
import { createPool } from 'mysql2'
import postgres from 'postgres'
import { afterAll, describe, expect, expectTypeOf, it } from 'vitest'
import * as mysqlFile from '../../src/models/mysql.ts'
import { drawsFrom } from '../../src/models/mysql-sequence.ts'
import * as postgresqlFile from '../../src/models/postgresql.ts'
import * as sqliteFile from '../../src/models/sqlite.ts'
import { prepareModels } from '../../src/schema/prepare.ts'
import { askMysql, askPostgres } from '../fixtures/catalogue.ts'
import { CeleryPeer, celeryDdl, mysqlCeleryDdl } from '../fixtures/celery/peer.ts'
import { childRun, scenario } from '../fixtures/child-run.ts'
import { createMysql, describeNeeding, freshPostgres } from '../fixtures/servers.ts'

const EDGE_BYTES = Uint8Array.of(0x00, 0x01, 0xff, 0x80)
const TASK_COLUMNS = [
  'id',
  'task_id',
  'status',
  'result',
  'date_done',
  'traceback',
  'name',
  'args',
  'kwargs',
  'worker',
  'retries',
  'queue',
]

const directory = mkdtempSync(join(tmpdir(), 'dc-models-'))
afterAll(() => rmSync(directory, { recursive: true }))

let files = 0
function newFile(): string {
  files += 1
  return join(directory, `${files}.sqlite`)
}

describe('the models', () => {
  it('are the same objects for the same names', () => {
    const custom = { tableNames: { task: 'jobs' }, schemas: { task: 'public' } }

    expect(postgresqlFile.resultModels()).toBe(postgresqlFile.resultModels({}))
    expect(postgresqlFile.resultModels().task).toBe(postgresqlFile.task)
    expect(postgresqlFile.resultModels(custom)).toBe(postgresqlFile.resultModels({ ...custom }))
    expect(postgresqlFile.resultModels(custom)).not.toBe(
      postgresqlFile.resultModels({ tableNames: { task: 'jobs' } }),
    )
    expect(sqliteFile.resultModels().group).toBe(sqliteFile.group)
    expect(mysqlFile.resultModels({}).task).toBe(mysqlFile.task)
    expect(mysqlFile.resultModels(custom)).toBe(mysqlFile.resultModels({ ...custom }))
    expect(mysqlFile.resultModels(custom)).not.toBe(mysqlFile.resultModels({ tableNames: { task: 'jobs' } }))
  })

  it('have Celery’s columns in Celery’s order', () => {
    const names = (columns: { name: string }[]) => columns.map(({ name }) => name)

    expect(names(pgTableConfig(postgresqlFile.task).columns)).toEqual(TASK_COLUMNS)
    expect(names(sqliteTableConfig(sqliteFile.task).columns)).toEqual(TASK_COLUMNS)
    expect(names(mysqlTableConfig(mysqlFile.task).columns)).toEqual(TASK_COLUMNS)
    expect(names(Object.values(getTableColumns(postgresqlFile.group)))).toEqual([
      'id',
      'taskset_id',
      'result',
      'date_done',
    ])
    expect(Object.keys(getTableColumns(sqliteFile.task))).toEqual(
      Object.keys(getTableColumns(postgresqlFile.task)),
    )
  })

  it('name their indexes and constraints after a custom table, and their sequences never', () => {
    const { task, taskIdSequence, tasksetIdSequence } = postgresqlFile.resultModels({
      tableNames: { task: 'jobs' },
      schemas: { task: 'app', group: 'public' },
    })
    const config = pgTableConfig(task)

    expect(config.indexes.map((index) => index.config.name)).toEqual(['ix_jobs_date_done'])
    expect(config.columns.find(({ name }) => name === 'task_id')?.uniqueName).toBe('jobs_task_id_key')
    expect([taskIdSequence.schema, taskIdSequence.seqName]).toEqual(['app', 'task_id_sequence'])
    expect([tasksetIdSequence.schema, tasksetIdSequence.seqName]).toEqual(['public', 'taskset_id_sequence'])
  })

  it('name them on MySQL as Celery does there: the keys after their columns', () => {
    const { task, taskIdSequence } = mysqlFile.resultModels({
      tableNames: { task: 'jobs' },
      schemas: { task: 'app' },
    })
    const config = mysqlTableConfig(task)

    expect(config.indexes.map((index) => index.config.name)).toEqual(['ix_jobs_date_done'])
    expect(config.columns.find(({ name }) => name === 'task_id')?.uniqueName).toBe('task_id')
    expect(taskIdSequence).toMatchObject({ schema: 'app', sequenceName: 'task_id_sequence' })
    expect(drawsFrom(task.id)).toBe(taskIdSequence)
  })

  it('have exact types', () => {
    type Task = typeof postgresqlFile.task.$inferSelect
    expectTypeOf<Task['id']>().toEqualTypeOf<number>()
    expectTypeOf<Task['result']>().toEqualTypeOf<Uint8Array | null>()
    expectTypeOf<Task['dateDone']>().toEqualTypeOf<Date | null>()
    expectTypeOf<typeof sqliteFile.task.$inferSelect>().toEqualTypeOf<Task>()
    expectTypeOf<typeof mysqlFile.task.$inferSelect>().toEqualTypeOf<Task>()
    expectTypeOf<typeof mysqlFile.task.$inferInsert>().toEqualTypeOf<typeof sqliteFile.task.$inferInsert>()
    expectTypeOf<typeof postgresqlFile.group.$inferInsert>().toEqualTypeOf<
      typeof sqliteFile.group.$inferInsert
    >()
    expectTypeOf({ taskId: 'a', status: 'SUCCESS' }).toExtend<typeof postgresqlFile.task.$inferInsert>()
    expectTypeOf({ taskId: 1 }).not.toExtend<typeof postgresqlFile.task.$inferInsert>()
  })
})

type PostgresqlDb = ReturnType<typeof drizzlePostgres> | ReturnType<typeof drizzlePglite>

/** What must hold of the PostgreSQL models, however the tables came to be. */
async function expectPostgresqlWork(db: PostgresqlDb): Promise<void> {
  const { task, group } = postgresqlFile.resultModels()
  const dateDone = new Date('2026-01-02T03:04:05.678Z')

  const insert = db
    .insert(task)
    .values({ taskId: 't-1', status: 'SUCCESS', result: EDGE_BYTES, dateDone, args: EDGE_BYTES })
  await insert.onConflictDoUpdate({ target: task.taskId, set: { status: 'again' } })
  await db.insert(task).values({ taskId: 't-2' })
  await db
    .insert(task)
    .values({ taskId: 't-1', retries: 3 })
    .onConflictDoUpdate({ target: task.taskId, set: { retries: 3 } })
  await db.insert(group).values({ tasksetId: 'g-1', result: EDGE_BYTES })

  const [first, second] = await db.select().from(task).orderBy(asc(task.taskId))
  expect(first).toMatchObject({ taskId: 't-1', status: 'SUCCESS', dateDone, retries: 3, traceback: null })
  expect(first?.result).toBeInstanceOf(Uint8Array)
  expect([...(first?.result ?? [])]).toEqual([...EDGE_BYTES])
  expect([...(first?.args ?? [])]).toEqual([...EDGE_BYTES])
  expect(second).toMatchObject({ taskId: 't-2', status: 'PENDING', result: null, dateDone: null })
  expect(second?.id).toBe((first?.id ?? 0) + 1)
  const [saved] = await db.select().from(group).where(eq(group.tasksetId, 'g-1'))
  expect(Date.now() - Number(saved?.dateDone)).toBeLessThan(60_000)
}

describeNeeding('postgresql', 'the PostgreSQL models', () => {
  const database = freshPostgres()
  const ask = (text: string) => askPostgres(database.dburi, text)

  async function withFreshSchema(
    use: (db: ReturnType<typeof drizzlePostgres>) => Promise<void>,
  ): Promise<void> {
    await ask('drop schema public cascade; create schema public')
    const client = postgres(database.dburi, { max: 1 })
    try {
      await use(drizzlePostgres({ client }))
    } finally {
      await client.end()
    }
  }

  it('insert, upsert and select on tables of ours', () =>
    withFreshSchema(async (db) => {
      await prepareModels({ dialect: 'postgresql', db }, { ...postgresqlFile.resultModels() })
      await expectPostgresqlWork(db)
    }))

  it('insert, upsert and select on tables of Celery’s, whose ids have no default', () =>
    withFreshSchema(async (db) => {
      for (const statement of celeryDdl('postgresql')) await ask(statement)
      await expectPostgresqlWork(db)
    }))

  it('let a plain SQL insert leave out the id on tables of ours', () =>
    withFreshSchema(async (db) => {
      await prepareModels({ dialect: 'postgresql', db }, { ...postgresqlFile.resultModels() })
      await db.insert(postgresqlFile.task).values({ taskId: 'drizzle' })

      await ask(`insert into celery_taskmeta (task_id) values ('plain')`)

      expect(await ask('select id, task_id from celery_taskmeta order by id')).toEqual([
        { id: 1, task_id: 'drizzle' },
        { id: 2, task_id: 'plain' },
      ])
    }))

  it('work in schemas whose names need quoting, and in public written out', () =>
    withFreshSchema(async (db) => {
      await ask(`drop schema if exists "it's ""A""" cascade; create schema "it's ""A"""`)
      const models = postgresqlFile.resultModels({
        schemas: { task: 'it\'s "A"', group: 'public' },
        tableNames: { task: 'my "jobs"', group: "group's" },
      })

      const { created } = await prepareModels({ dialect: 'postgresql', db }, { ...models })
      await db.insert(models.task).values({ taskId: 't-1' })
      await db.insert(models.group).values({ tasksetId: 'g-1' })

      expect(created).toContain('it\'s "A".my "jobs"')
      expect(await db.select({ id: models.task.id }).from(models.task)).toEqual([{ id: 1 }])
      expect(db.select().from(models.group).toSQL().sql).toContain(`from "public"."group's"`)
      expect(await prepareModels({ dialect: 'postgresql', db }, { ...models })).toMatchObject({ created: [] })
    }))

  it('keep dates in UTC whatever the time zone of the process', async () => {
    await ask('drop schema public cascade; create schema public')

    const { emitted, stderr } = await childRun(scenario('celery-dates'), {
      arguments: [database.dburi],
      env: { TZ: 'America/New_York' },
    })

    expect(stderr).toBe('')
    expect(emitted).toEqual([
      {
        localHours: [3, 1, 1],
        read: ['2026-03-08T07:30:00.123Z', '2026-11-01T05:30:00.000Z', '2026-11-01T06:30:00.999Z'],
        stored: ['2026-03-08 07:30:00.123', '2026-11-01 05:30:00', '2026-11-01 06:30:00.999'],
      },
    ])
  })

  describeNeeding('python celery', 'with real Celery', () => {
    const settings = {
      database_table_names: { task: 'jobs', group: 'sets' },
      database_table_schemas: { task: 'app', group: 'app' },
    }
    const celeryUrl = () => database.dburi.replace('postgresql:', 'postgresql+psycopg2:')

    it.each(['prepareModels', 'Celery'])('share tables that %s made', async (maker) => {
      using peer = new CeleryPeer()
      await withFreshSchema(async (db) => {
        if (maker === 'Celery') await peer.prepare(celeryUrl())
        else await prepareModels({ dialect: 'postgresql', db }, { ...postgresqlFile.resultModels() })

        await peer.store(celeryUrl(), 'python', { n: 1 })
        await db
          .insert(postgresqlFile.task)
          .values({ taskId: 'node', status: 'SUCCESS', dateDone: new Date(0) })
        await peer.store(celeryUrl(), 'python-2', null)
        await peer.saveGroup(celeryUrl(), 'g-1')
        await db.insert(postgresqlFile.group).values({ tasksetId: 'g-2' })

        expect(await peer.read(celeryUrl(), 'node')).toMatchObject({
          status: 'SUCCESS',
          dateDone: '1970-01-01 00:00:00',
        })
        expect(await peer.readGroup(celeryUrl(), 'g-1')).toEqual(['member'])
        const rows = await db.select().from(postgresqlFile.task).orderBy(postgresqlFile.task.id)
        expect(rows.map(({ id, taskId }) => [id, taskId])).toEqual([
          [1, 'python'],
          [2, 'node'],
          [3, 'python-2'],
        ])
        expect((rows[0]?.result ?? [])[0]).toBe(0x80)
      })
    })

    it('share custom names in a schema', async () => {
      using peer = new CeleryPeer()
      await withFreshSchema(async (db) => {
        await ask('drop schema if exists app cascade; create schema app')
        const models = postgresqlFile.resultModels({
          tableNames: { task: 'jobs', group: 'sets' },
          schemas: { task: 'app', group: 'app' },
        })
        await prepareModels({ dialect: 'postgresql', db }, { ...models })

        await peer.store(celeryUrl(), 'python', [1], settings)
        await db.insert(models.task).values({ taskId: 'node', status: 'SUCCESS' })

        expect(await db.select({ id: models.task.id }).from(models.task).orderBy(models.task.id)).toEqual([
          { id: 1 },
          { id: 2 },
        ])
        expect(await peer.read(celeryUrl(), 'node', settings)).toMatchObject({ status: 'SUCCESS' })
      })
    })
  })
})

describeNeeding('mysql', 'the MySQL models', () => {
  const { task, group, ...sequences } = mysqlFile.resultModels()
  const models = { task, group, ...sequences }

  interface Opened {
    readonly db: Omit<ReturnType<typeof drizzleMysql>, '$client'>
    readonly dburi: string
    ask(text: string): Promise<Record<string, unknown>[]>
  }

  async function withDatabase(use: (opened: Opened) => Promise<void>): Promise<void> {
    await using database = await createMysql()
    const client = createPool({ uri: database.dburi, connectionLimit: 1 })
    try {
      const { dburi } = database
      await use({ db: drizzleMysql({ client }), dburi, ask: (text) => askMysql(dburi, text) })
    } finally {
      await client.promise().end()
    }
  }

  async function prepare({ db, dburi, ask }: Opened, maker: string): Promise<void> {
    if (maker === 'prepareModels') await prepareModels({ dialect: 'mysql', db }, models)
    else for (const statement of await mysqlCeleryDdl(dburi)) await ask(statement)
  }

  const makers = ['prepareModels', 'Celery']

  it.each(makers)('insert, upsert and select on tables that %s made', (maker) =>
    withDatabase(async (opened) => {
      await prepare(opened, maker)
      const { db } = opened
      const dateDone = new Date('2026-01-02T03:04:05.678Z')

      await db.insert(task).values({ taskId: 't-1', status: 'SUCCESS', result: EDGE_BYTES, dateDone })
      await db.insert(task).values([{ taskId: 't-2' }, { taskId: 't-3' }])
      await db
        .insert(task)
        .values({ taskId: 't-1' })
        .onDuplicateKeyUpdate({ set: { retries: 3 } })
      await db.insert(group).values({ tasksetId: 'g-1', result: EDGE_BYTES })

      const [first, second, third] = await db.select().from(task).orderBy(asc(task.taskId))
      expect(first).toMatchObject({ id: 1, taskId: 't-1', status: 'SUCCESS', retries: 3, traceback: null })
      expect(first?.dateDone?.toISOString()).toBe(
        maker === 'Celery' ? '2026-01-02T03:04:05.000Z' : '2026-01-02T03:04:05.678Z',
      )
      expect(first?.result).toBeInstanceOf(Uint8Array)
      expect([...(first?.result ?? [])]).toEqual([...EDGE_BYTES])
      expect(second).toMatchObject({ id: 2, status: 'PENDING', result: null, dateDone: null })
      expect(third?.id).toBe(3)
      const [saved] = await db.select().from(group).where(eq(group.tasksetId, 'g-1'))
      expect(Date.now() - Number(saved?.dateDone)).toBeLessThan(60_000)
    }),
  )

  it('let a plain SQL insert leave out the id on tables of ours', () =>
    withDatabase(async (opened) => {
      await prepare(opened, 'prepareModels')
      await opened.db.insert(task).values({ taskId: 'drizzle' })

      await opened.ask(`insert into celery_taskmeta (task_id) values ('plain')`)

      expect(await opened.ask('select id, task_id from celery_taskmeta order by id')).toEqual([
        { id: 1, task_id: 'drizzle' },
        { id: 2, task_id: 'plain' },
      ])
    }))

  it('hold large results, and ids that differ in case only', () =>
    withDatabase(async (opened) => {
      await prepare(opened, 'prepareModels')
      const { db } = opened

      await db.insert(task).values({ taskId: 'a', result: new Uint8Array(70_000) })
      await db.insert(task).values({ taskId: 'A', traceback: 'x'.repeat(70_000) })

      expect(await db.select({ id: task.id }).from(task).where(eq(task.taskId, 'A'))).toEqual([{ id: 2 }])
    }))

  it('work in another database, under names that need quoting', () =>
    withDatabase(async ({ db }) => {
      await using other = await createMysql()
      const named = mysqlFile.resultModels({
        tableNames: { task: 'my `jobs`', group: "group's" },
        schemas: { task: other.name, group: other.name },
      })

      await prepareModels({ dialect: 'mysql', db }, { ...named })
      await db.insert(named.task).values({ taskId: 't-1' })
      await db.insert(named.group).values({ tasksetId: 'g-1' })

      expect(await db.select({ id: named.task.id }).from(named.task)).toEqual([{ id: 1 }])
      expect(await prepareModels({ dialect: 'mysql', db }, { ...named })).toMatchObject({ created: [] })
    }))

  describeNeeding('python celery mysql', 'with real Celery', () => {
    const celeryUrl = (dburi: string) => dburi.replace('mysql:', 'mysql+pymysql:')

    it.each(makers)('share tables that %s made', (maker) =>
      withDatabase(async (opened) => {
        using peer = new CeleryPeer()
        const { db } = opened
        const theirs = celeryUrl(opened.dburi)
        if (maker === 'Celery') await peer.prepare(theirs)
        else await prepare(opened, maker)

        await peer.store(theirs, 'python', { n: 1 })
        await db.insert(task).values({ taskId: 'node', status: 'SUCCESS', dateDone: new Date(0) })
        await peer.store(theirs, 'python-2', null)
        await peer.saveGroup(theirs, 'g-1')
        await db.insert(group).values({ tasksetId: 'g-2' })

        expect(await peer.read(theirs, 'node')).toMatchObject({
          status: 'SUCCESS',
          dateDone: '1970-01-01 00:00:00',
        })
        expect(await peer.readGroup(theirs, 'g-1')).toEqual(['member'])
        const rows = await db.select().from(task).orderBy(task.id)
        expect(rows.map(({ id, taskId }) => [id, taskId])).toEqual([
          [1, 'python'],
          [2, 'node'],
          [3, 'python-2'],
        ])
        expect((rows[0]?.result ?? [])[0]).toBe(0x80)
      }),
    )
  })
})

it('the PostgreSQL models work on PGlite', { tags: 'full', timeout: 120_000 }, async () => {
  const client = new PGlite()
  const db = drizzlePglite({ client })

  await prepareModels({ dialect: 'postgresql', db }, { ...postgresqlFile.resultModels() })
  await expectPostgresqlWork(db)

  await client.exec('drop schema public cascade; create schema public')
  await client.exec(celeryDdl('postgresql').join(';'))
  await expectPostgresqlWork(db)
  await client.close()
})

describe('the SQLite models', () => {
  const { task, group } = sqliteFile.resultModels()

  async function withFile(use: (client: Client, path: string) => Promise<void>): Promise<void> {
    const path = newFile()
    const client = createClient({ url: `file:${path}` })
    try {
      await use(client, path)
    } finally {
      client.close()
    }
  }

  it.each(['prepareModels', 'Celery'])('insert, upsert and select on tables that %s made', (maker) =>
    withFile(async (client) => {
      const db = drizzleLibsql({ client })
      if (maker === 'Celery') await client.batch(celeryDdl('sqlite'), 'write')
      else await prepareModels({ dialect: 'sqlite', db }, { task, group })
      const dateDone = new Date('2026-01-02T03:04:05.678Z')

      await db.insert(task).values({ taskId: 't-1', status: 'SUCCESS', result: EDGE_BYTES, dateDone })
      await db.insert(task).values({ taskId: 't-2' })
      await db
        .insert(task)
        .values({ taskId: 't-1' })
        .onConflictDoUpdate({ target: task.taskId, set: { retries: 3 } })
      await db.insert(group).values({ tasksetId: 'g-1', result: EDGE_BYTES })

      const [first, second] = await db.select().from(task).orderBy(asc(task.taskId))
      expect(first).toMatchObject({ id: 1, taskId: 't-1', status: 'SUCCESS', dateDone, retries: 3 })
      expect(first?.result).toBeInstanceOf(Uint8Array)
      expect([...(first?.result ?? [])]).toEqual([...EDGE_BYTES])
      expect(second).toMatchObject({ id: 2, status: 'PENDING', result: null, dateDone: null })
      const { rows } = await client.execute(`select date_done from celery_taskmeta where task_id = 't-1'`)
      expect(rows[0]?.['date_done']).toBe('2026-01-02 03:04:05.678000')
      const [saved] = await db.select().from(group)
      expect(Date.now() - Number(saved?.dateDone)).toBeLessThan(60_000)
    }),
  )

  it.each([
    ['2026-01-02 03:04:05.678901', '2026-01-02T03:04:05.678Z'],
    ['2026-01-02 03:04:05.6', '2026-01-02T03:04:05.600Z'],
    ['2026-01-02 03:04:05', '2026-01-02T03:04:05.000Z'],
    ['2026-01-02T03:04:05.678Z', '2026-01-02T03:04:05.678Z'],
    ['2026-01-02 03:04:05.678901+02:00', '2026-01-02T01:04:05.678Z'],
  ])('read %s as UTC', (stored, read) =>
    withFile(async (client) => {
      const db = drizzleLibsql({ client })
      await prepareModels({ dialect: 'sqlite', db }, { task, group })
      await client.execute({ sql: 'insert into celery_taskmeta (date_done) values (?)', args: [stored] })

      const [row] = await db.select({ date: task.dateDone, text: sql<string>`${task.dateDone}` }).from(task)

      expect(row?.date?.toISOString()).toBe(read)
      expect(row?.text).toBe(stored)
    }),
  )

  it('make an invalid Date of what is none, so that its row stays readable', () =>
    withFile(async (client) => {
      const db = drizzleLibsql({ client })
      await prepareModels({ dialect: 'sqlite', db }, { task, group })
      await client.execute(
        `insert into celery_taskmeta (task_id, date_done) values ('x', 'soon'), ('y', 1700000000)`,
      )

      const rows = await db.select().from(task)

      expect(rows.map(({ taskId, dateDone }) => [taskId, dateDone?.getTime()])).toEqual([
        ['x', Number.NaN],
        ['y', Number.NaN],
      ])
      await expect(db.insert(task).values({ dateDone: new Date(Number.NaN) })).rejects.toThrow(
        'Invalid time value',
      )
    }))

  it('keep dates in UTC whatever the time zone of the process', async () => {
    const { emitted, stderr } = await childRun(scenario('celery-dates'), {
      arguments: [`file:${newFile()}`],
      env: { TZ: 'America/New_York' },
    })

    expect(stderr).toBe('')
    expect(emitted).toEqual([
      {
        localHours: [3, 1, 1],
        read: ['2026-03-08T07:30:00.123Z', '2026-11-01T05:30:00.000Z', '2026-11-01T06:30:00.999Z'],
        stored: ['2026-03-08 07:30:00.123000', '2026-11-01 05:30:00.000000', '2026-11-01 06:30:00.999000'],
      },
    ])
  })

  it('read what a real Celery worker wrote', async () => {
    const path = newFile()
    copyFileSync(fileURLToPath(new URL('../fixtures/celery/results.sqlite', import.meta.url)), path)
    const client = createClient({ url: `file:${path}` })
    const db = drizzleLibsql({ client })

    const { created } = await prepareModels({ dialect: 'sqlite', db }, { task, group })
    const rows = await db.select().from(task).orderBy(task.id)
    const groups = await db.select().from(group)

    expect(created).toEqual([])
    expect(rows.map(({ status, name, worker }) => [status, name, worker])).toEqual([
      ['SUCCESS', 'shop.add', 'worker@shop'],
      ['SUCCESS', 'shop.invoice', 'worker@shop'],
      ['SUCCESS', 'shop.nothing', 'worker@shop'],
      ['FAILURE', 'shop.charge', 'worker@shop'],
      ['SUCCESS', 'shop.add', 'worker@shop'],
      ['SUCCESS', 'shop.add', 'worker@shop'],
      ['SUCCESS', 'shop.add', 'worker@shop'],
    ])
    expect(rows[3]?.traceback).toContain(`ValueError: ('card refused', 'amex')`)
    expect(Buffer.from(rows[0]?.kwargs ?? []).toString()).toBe('{"y": 3}')
    expect(rows[0]?.dateDone?.getTime()).not.toBeNaN()
    expect(groups.map(({ tasksetId }) => tasksetId)).toEqual(['00000000-0000-4000-8000-000000000100'])
    client.close()
  })

  describeNeeding('python celery', 'with real Celery', () => {
    it('share tables', () =>
      withFile(async (client, path) => {
        using peer = new CeleryPeer()
        const db = drizzleLibsql({ client })
        await prepareModels({ dialect: 'sqlite', db }, { task, group })

        await peer.store(`sqlite:///${path}`, 'python', { n: 1 })
        await db.insert(task).values({ taskId: 'node', status: 'SUCCESS', dateDone: new Date(1) })
        await peer.saveGroup(`sqlite:///${path}`, 'g-1')

        expect(await peer.read(`sqlite:///${path}`, 'node')).toEqual({
          status: 'SUCCESS',
          result: null,
          dateDone: '1970-01-01 00:00:00.001000',
        })
        expect(await peer.readGroup(`sqlite:///${path}`, 'g-1')).toEqual(['member'])
        const [row] = await db.select().from(task).where(eq(task.taskId, 'python'))
        expect((row?.result ?? [])[0]).toBe(0x80)
      }))
  })
})
