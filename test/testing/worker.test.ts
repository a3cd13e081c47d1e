import { SessionManager } from 'drizzle-celery'
import { workerDatabase } from 'drizzle-celery/testing'
import { sql } from 'drizzle-orm'
import { int, mysqlTable } from 'drizzle-orm/mysql-core'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { createMysql, describeNeeding } from '../fixtures/servers.ts'

const city = mysqlTable('city', { id: int().autoincrement().primaryKey() })
const street = mysqlTable('street', { cityId: int().references(() => city.id) })
const models = { mysql: { city, street } }

describeNeeding('mysql', 'the database of a worker', () => {
  let dburi: string
  let dropFirst: () => Promise<void>

  beforeAll(async () => {
    const database = await createMysql()
    dburi = database.dburi
    dropFirst = database.drop
  })
  afterEach(() => vi.unstubAllEnvs())
  afterAll(() => dropFirst())

  /** Adds a city and a street to it. @returns how many there are, the id of the city, and what had to be created */
  async function add(to: string) {
    await using manager = new SessionManager({ models })
    const engine = await manager.getEngine(to)
    const { created } = await manager.prepareModels(engine)
    return await manager.session(to, async (db) => {
      const [{ insertId }] = await db.insert(city).values({})
      await db.insert(street).values({ cityId: insertId })
      return {
        cities: await db.$count(city),
        streets: await db.$count(street),
        insertId,
        created: created.length,
      }
    })
  }

  it('is prepared once, and emptied for each file of tests', async () => {
    vi.stubEnv('VITEST_POOL_ID', '7')
    const first = await workerDatabase(dburi)
    try {
      expect(await add(first.dburi)).toEqual({ cities: 1, streets: 1, insertId: 1, created: 2 })
      const second = await workerDatabase(dburi)

      expect(second.dburi).toBe(first.dburi)
      expect(await add(second.dburi)).toEqual({ cities: 1, streets: 1, insertId: 1, created: 0 })
    } finally {
      await first.drop()
    }
    await expect(add(first.dburi)).rejects.toThrow(Error)
  })

  it("has the models' sequences begin anew", async () => {
    await using database = await workerDatabase(dburi)
    const ids = async () => {
      await using manager = new SessionManager()
      return await manager.session(database.dburi, async (_, session) => {
        if (session.dialect !== 'mysql') throw new Error('it is of another dialect')
        await session.db.insert(session.models.task).values({ taskId: 'x' })
        return session.db.select({ id: session.models.task.id }).from(session.models.task)
      })
    }
    const before = await ids()
    await workerDatabase(dburi)

    expect(await ids()).toEqual(before)
  })

  it('keeps the rows of tables that are to be kept', async () => {
    await using database = await workerDatabase(dburi)
    await using manager = new SessionManager({ models, prepare: 'none' })
    const { db } = await manager.getEngine(database.dburi)
    for (const name of ['__drizzle_migrations', 'mine', 'theirs'])
      await db.execute(sql.raw(`create table ${name} select 1 as n`))
    const counts = async () => {
      const [rows] = await db.execute(
        sql`select (select count(*) from __drizzle_migrations) as a, (select count(*) from mine) as b, (select count(*) from theirs) as c`,
      )
      return Object.values(Object(rows)[0]).map(Number)
    }

    await workerDatabase(dburi, { keep: ['mine'] })
    expect(await counts()).toEqual([1, 1, 0])
    await workerDatabase(dburi)
    expect(await counts()).toEqual([1, 0, 0])
  })

  it('never empties a database that somebody else made', async () => {
    vi.stubEnv('VITEST_POOL_ID', '8')
    const { dburi: theirs, drop } = await workerDatabase(dburi)
    try {
      await using manager = new SessionManager({ models, prepare: 'none' })
      const { db } = await manager.getEngine(theirs)
      await db.execute(sql`drop table drizzle_celery_worker`)
      await db.execute(sql`create table mine select 1 as n`)

      await expect(workerDatabase(dburi)).rejects.toMatchObject({
        code: 'NOT_COPIED',
        message: expect.stringContaining('tables that no worker made'),
      })
      expect(Object(await db.execute(sql`select n from mine`))[0]).toEqual([{ n: 1 }])
    } finally {
      await drop()
    }
  })

  it('has a name of its own, however long the beginning is', async () => {
    const { pathname } = new URL(dburi)
    const long = dburi.replace(pathname, `${pathname}_${'long'.repeat(12)}`)
    await using database = await workerDatabase(long)

    expect(new URL(database.dburi).pathname.slice(1)).toHaveLength(64)
    expect((await add(database.dburi)).cities).toBe(1)
  })

  it.each(['pglite:', ':memory:', 'postgresql://127.0.0.1/test', 'mysql://127.0.0.1/'])(
    'is refused elsewhere (%s)',
    async (other) => {
      await expect(workerDatabase(other)).rejects.toMatchObject({ code: 'NOT_COPIED' })
    },
  )
})
