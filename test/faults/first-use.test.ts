/** Many callers at once: one opening, one preparation, one failure for all, and nothing left behind. */
import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectError, type Engine, SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { causeOf } from '../adapters/conformance.ts'
import { FaultProxy } from '../fixtures/fault-proxy.ts'
import { createPostgres, describeNeeding, type TestDatabase } from '../fixtures/servers.ts'
import { type Check, startCheck } from '../fixtures/standard-check.ts'
import { failure, Observer, type PostgresDburi, tally, times, until, withOptions } from './support.ts'

describeNeeding('postgresql', 'the first use', () => {
  let database: TestDatabase
  let check: Check

  beforeEach(async () => {
    database = await createPostgres()
    check = startCheck()
  })
  afterEach(async () => {
    await check.nothingLeftOpen()
    await database.drop()
  })

  it('T31 50 sessions at once prepare the models once and call the callback once', async () => {
    const dburi = withOptions(database.dburi, {})
    const queries: string[] = []
    const engines: Engine[] = []
    await using manager = new SessionManager({
      engineOptions: { logger: { logQuery: (query) => queries.push(query.toLowerCase()) } },
      engineCallback: async (engine) => {
        engines.push(engine)
        await sleep(20)
      },
    })

    const sessions = await times(50, () => manager.sessionFactory(dburi))
    await Promise.all(
      sessions.map(async (session, index) => {
        await session.db.insert(session.models.task).values({ taskId: `task ${index}` })
        await session.commit()
        await session.close()
      }),
    )

    expect(engines).toHaveLength(1)
    expect(new Set(sessions.map(({ engine }) => engine))).toEqual(new Set(engines))
    for (const table of ['celery_taskmeta', 'celery_tasksetmeta']) {
      const creations = queries.filter((query) => query.includes('create table') && query.includes(table))
      expect(creations).toHaveLength(1)
    }
    const before = queries.length
    await (await manager.sessionFactory(dburi)).close()
    expect(queries).toHaveLength(before)
    await using observer = new Observer(database.dburi)
    expect(await observer.sql`select count(*)::int as count from celery_taskmeta`).toEqual([{ count: 50 }])
  })

  it('T31 when the callback fails, all 50 get its error and the next one tries again', async () => {
    const dburi = withOptions(database.dburi, {})
    const mood = new Error('not today')
    let calls = 0
    await using manager = new SessionManager({
      engineCallback: async () => {
        await sleep(10)
        if (++calls === 1) throw mood
      },
    })

    const errors = await times(50, () => failure(manager.sessionFactory(dburi)))

    expect(new Set(errors)).toEqual(new Set([mood]))
    expect(manager.stats().engines).toEqual([])
    await (await manager.sessionFactory(dburi)).close()
    expect(calls).toBe(2)
  })

  it('T31 when the preparation fails, all 50 get the error and the next one tries again', async () => {
    const proxy = await FaultProxy.before(database.dburi)
    const dburi = withOptions(proxy.dburi, {})
    const manager = new SessionManager()
    proxy.mode = 'reset-on-accept'

    const errors = await times(50, () => causeOf(manager.sessionFactory(dburi)))

    expect(errors.every((error) => error instanceof ConnectError)).toBe(true)
    expect(new Set(errors).size).toBe(1)
    expect(proxy.connections).toBe(1)
    proxy.mode = 'pass'
    await (await manager.sessionFactory(dburi)).close()
    await manager.dispose()
    await proxy.close()
  })

  it('T32 10,000 calls of 200 managers open one engine for each dburi', async () => {
    const dburis = Array.from({ length: 5 }, (_, index) =>
      withOptions(database.dburi, { application_name: `dc-many-${index}` }),
    )
    let opened = 0
    const managers = Array.from(
      { length: 200 },
      () =>
        new SessionManager({
          engineCallback: () => {
            opened++
          },
        }),
    )

    const found = await Promise.all(
      managers.map((manager) => times(50, (call) => manager.getEngine(dburis[call % 5] as PostgresDburi))),
    )

    expect(opened).toBe(1_000)
    for (const engines of found) expect(new Set(engines).size).toBe(5)
    expect(new Set(found.flat()).size).toBe(1_000)
    // Engines are cheap: none has opened a connection yet.
    expect(found.flat().every((engine) => engine.stats().open === 0)).toBe(true)
    await Promise.all(managers.map((manager) => manager.dispose()))
  })

  it('T32 the same dburi in another spelling is the same engine', async () => {
    await using manager = new SessionManager()
    const { host, pathname } = new URL(database.dburi)
    const spellings = [
      `postgresql://postgres@${host}${pathname}`,
      `postgres://postgres@${host}${pathname}`,
      `db+postgresql+psycopg2://postgres@${host}${pathname}`,
    ]

    const engines = await times(30, (call) => manager.getEngine(String(spellings[call % 3])))

    expect(new Set(engines).size).toBe(1)
  })

  it('T32 whoever uses an engine that is invalidated may finish; whoever comes later gets a new one', async () => {
    const application = 'dc-invalidated'
    const dburi = withOptions(database.dburi, { application_name: application })
    const observer = new Observer(database.dburi)
    const manager = new SessionManager()
    const { engine, sessionMaker } = await manager.createSession(dburi)
    const session = sessionMaker()
    await session.db.execute(sql`create table borrowed (id int)`)
    const single = failure(engine.db.execute(sql`select pg_sleep(0.2)`))
    await until(() => engine.stats().running === 1)
    const old = await observer.backends(application)

    const invalidated = manager.invalidate(dburi)
    const later = await times(20, () => manager.getEngine(dburi))
    await later[0]?.db.execute(sql`select 1`)
    await session.db.execute(sql`insert into borrowed values (1)`)
    await session.commit()
    await session.close()
    const failed = await single
    await invalidated

    expect(failed).toBeUndefined()
    expect(new Set(later).size).toBe(1)
    expect(later).not.toContain(engine)
    expect(engine.stats()).toMatchObject({ open: 0, checkedOut: 0 })
    expect(await observer.sql`select count(*)::int as count from borrowed`).toEqual([{ count: 1 }])
    const pids = old.map(({ pid }) => pid)
    await until(async () => (await observer.backends(application)).every(({ pid }) => !pids.includes(pid)))
    expect(await observer.backends(application)).toHaveLength(1)
    await manager.dispose()
    await until(async () => (await observer.backends(application)).length === 0)
    await observer[Symbol.asyncDispose]()
  })

  it('T32 engines that come and go while they are used fail nobody but by type', {
    tags: 'full',
  }, async () => {
    const dburi = withOptions(database.dburi, { application_name: 'dc-coming-and-going' })
    await using manager = new SessionManager()
    let isOver = false
    const codes: string[] = []
    const users = times(8, async () => {
      while (!isOver) {
        const { db } = await manager.getEngine(dburi)
        const error = await causeOf(db.execute(sql`select 1`))
        codes.push(error === undefined ? 'served' : error instanceof Error ? error.name : 'untyped')
      }
    })
    for (let round = 0; round < 10; round++) {
      await sleep(60)
      await manager.invalidate(dburi)
    }
    await until(() => (tally(codes)['served'] ?? 0) > 20)
    isOver = true
    await users

    expect(Object.keys(tally(codes)).filter((code) => code !== 'ClosedError')).toEqual(['served'])
  })
})
