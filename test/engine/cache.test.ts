import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type EngineOptions,
  type LibsqlHandle,
  type NewConnection,
  OptionError,
  type PostgresJsHandle,
  SessionManager,
} from 'drizzle-celery'
import { task as mysqlTask } from 'drizzle-celery/models/mysql'
import { task as postgresTask } from 'drizzle-celery/models/postgresql'
import { task as sqliteTask } from 'drizzle-celery/models/sqlite'
import { sql } from 'drizzle-orm'
import { Cache } from 'drizzle-orm/cache/core'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createMysql, createPostgres, describeNeeding } from '../fixtures/servers.ts'

/** All that it is asked for, until something is written. */
class Kept extends Cache {
  readonly #answers = new Map<string, unknown[]>()
  invalidations = 0

  override strategy() {
    return this.#answers.size >= 0 ? ('explicit' as const) : ('all' as const)
  }

  override async get(key: string) {
    return this.#answers.get(key)
  }

  override async put(key: string, answer: unknown[]) {
    this.#answers.set(key, answer)
  }

  override async onMutate(_mutation?: unknown) {
    this.invalidations++
    this.#answers.clear()
  }

  get size() {
    return this.#answers.size
  }
}

const file = async () => ({ dburi: ':memory:', [Symbol.asyncDispose]: async () => {} })
const kinds = [
  ['sqlite', null, file, sqliteTask],
  ['pglite', null, async () => ({ ...(await file()), dburi: 'pglite:' }), postgresTask],
  ['postgres-js', 'postgresql', () => createPostgres(), postgresTask],
  ['pg', 'postgresql', () => createPostgres({ scheme: 'postgresql+pg' }), postgresTask],
  ['mysql2', 'mysql', () => createMysql(), mysqlTask],
] as const

for (const [name, need, create, model] of kinds) {
  const suite = () => {
    it("answers selects of the engine by Drizzle's cache, and those of sessions and streams never", async () => {
      await using database = await create()
      const cache = new Kept()
      await using manager = new SessionManager({ engineOptions: { cache } })
      await manager.session(database.dburi, async () => {})
      const engine = await manager.getEngine(database.dburi)
      // As in the tests of all dialects, these queries read the same.
      const [db, task] = [engine.db as unknown as PostgresJsHandle, model as typeof postgresTask]
      const ids = async (from: PostgresJsHandle) =>
        (await from.select({ id: task.taskId }).from(task).$withCache()).map(({ id }) => id)
      const insert = (into: PostgresJsHandle, taskId: string) =>
        into.insert(task).values({ taskId, status: 'SUCCESS' })

      await insert(db, 'a')
      expect(await ids(db)).toEqual(['a'])
      expect(cache.size).toBe(1)
      await db.execute?.(sql`update celery_taskmeta set status = 'FAILURE'`)
      expect(await ids(db)).toEqual(['a'])

      await manager
        .session(database.dburi, async (_, session) => {
          const own = session.db as unknown as PostgresJsHandle
          await insert(own, 'undone')
          expect(cache.size).toBe(0)
          expect(await ids(own)).toEqual(['a', 'undone'])
          throw new Error('changed my mind')
        })
        .catch((error: unknown) => expect(error).toMatchObject({ message: 'changed my mind' }))
      expect(cache.size).toBe(0)
      expect(await ids(db)).toEqual(['a'])
      if (name !== 'sqlite') {
        const query = db.select({ id: task.taskId }).from(task).$withCache()
        const streamed = []
        for await (const { id } of engine.stream(query, { batch: 1 })) streamed.push(id)
        expect(streamed).toEqual(['a'])
      }
      const { invalidations } = cache
      await db.$cache.invalidate({ tables: 'celery_taskmeta' })
      expect(cache.invalidations).toBe(invalidations + 1)
    })
  }
  if (need === null) describe(name, suite)
  else describeNeeding(need, name, suite)
}

describe('one cache of many engines', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dc-cache-'))
  const dburiOf = (tenant: string) => `file:${directory}/${tenant}.db`
  const cache = new Kept()
  const manager = new SessionManager({ engineOptions: { cache } })
  const store = async (tenant: string, taskId: string) => {
    await manager.session(dburiOf(tenant), (db) =>
      (db as unknown as LibsqlHandle).insert(sqliteTask).values({ taskId, status: 'SUCCESS' }),
    )
  }
  const handle = async (tenant: string, options: EngineOptions = {}) =>
    (await manager.getEngine(dburiOf(tenant), options)).db as unknown as LibsqlHandle
  const read = async (db: LibsqlHandle, config = {}) =>
    (await db.select({ id: sqliteTask.taskId }).from(sqliteTask).$withCache(config)).map(({ id }) => id)

  beforeAll(async () => {
    await store('a', 'of a')
    await store('b', 'of b')
  })
  afterAll(async () => {
    await manager.dispose()
    rmSync(directory, { recursive: true })
  })

  it.each([{}, { tag: 'tasks' }])('gives each the rows of its own database (%o)', async (config) => {
    expect(await read(await handle('a'), config)).toEqual(['of a'])
    expect(await read(await handle('b'), config)).toEqual(['of b'])
    const { size } = cache
    expect(await read(await handle('a'), config)).toEqual(['of a'])
    // Another pool of the same database reads the same.
    expect(await read(await handle('a', { poolSize: 2 }), config)).toEqual(['of a'])
    expect(cache.size).toBe(size)
  })

  it('gives nobody what somebody else sees by what onConnect has set', async () => {
    const seeing = (tasks: string) => ({
      onConnect: ({ execute }: NewConnection) =>
        void execute(`create temp view celery_taskmeta as select * from main.celery_taskmeta where ${tasks}`),
    })
    expect(await read(await handle('a', seeing("task_id = 'of nobody'")))).toEqual([])
    expect(await read(await handle('a', seeing("task_id = 'of a'")))).toEqual(['of a'])
    const keyed = { ...seeing("task_id = 'of nobody'"), engineKey: 'nobody' }
    expect(await read(await handle('a', keyed))).toEqual([])
  })

  it('is told of the tags that a handle invalidates as it knows them', async () => {
    const db = await handle('a')
    await read(db, { tag: 'tasks' })
    const told = vi.spyOn(cache, 'onMutate')
    const asked = vi.spyOn(cache, 'get')
    await db.$cache.invalidate({ tags: ['tasks'], tables: 'celery_taskmeta' })
    await read(db, { tag: 'tasks' })

    // Drizzle 1.0 puts how the rows are read in front of a tag, and tells the tag alone.
    const known = String(asked.mock.calls[0]?.[0]).replace(':all_', ':')
    expect(told.mock.calls).toEqual([[{ tags: [known], tables: 'celery_taskmeta' }]])
    vi.restoreAllMocks()
  })
})

describe('options of engines', () => {
  it('refuse what is no cache, and extensions that are no object', async () => {
    await using manager = new SessionManager()
    const wrong = { cache: {}, extensions: 'vector' } as object
    await expect(manager.getEngine(':memory:', wrong)).rejects.toThrow(OptionError)
    await expect(manager.getEngine(':memory:', wrong)).rejects.toThrow(/cache[\s\S]*extensions/)
  })

  it('hand extensions to PGlite', async () => {
    const { citext } = await import('@electric-sql/pglite/contrib/citext')
    await using manager = new SessionManager({
      models: { postgresql: {} },
      engineOptions: { extensions: { citext } },
    })
    const { db } = await manager.getEngine('pglite:')
    await db.execute(sql`create extension citext`)

    expect(await db.execute(sql`select 'ULM'::citext = 'ulm'::citext as same`)).toMatchObject([
      { same: true },
    ])
  })
})
