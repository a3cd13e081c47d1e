/** How a pool opens and what it keeps: crowded servers, dead networks, and connections that nobody needs any more. */
import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectError, type Engine, PoolTimeoutError, SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { createConnection } from 'mysql2/promise'
import postgres from 'postgres'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { childRun, scenario } from '../fixtures/child-run.ts'
import { FaultProxy } from '../fixtures/fault-proxy.ts'
import { isLong } from '../fixtures/loops.ts'
import { describeNeeding, freshMysql, freshPostgres } from '../fixtures/servers.ts'
import { failure, Observer, outcome, times, until, withOptions } from './support.ts'

const slack = 10

let manager: SessionManager
beforeEach(() => {
  manager = new SessionManager({ prepare: 'none' })
})
afterEach(() => manager.dispose({ grace: 0 }))

const sqlOf = (engine: Engine) => engine as Engine & { db: { execute(query: unknown): Promise<unknown> } }

/** Opens that many connections, and gives them back. */
async function fill(engine: Engine, count: number): Promise<void> {
  for (const held of await times(count, () => engine.connect())) await held.close()
}

const servers = { postgresql: freshPostgres, mysql: freshMysql } as const

for (const [need, fresh] of Object.entries(servers)) {
  describeNeeding(need === 'mysql' ? 'mysql' : 'postgresql', `idle connections to ${need}`, () => {
    const database = fresh()
    const withQuery = (query: string) => `${database.dburi}?${query}`

    it('are closed after idle_timeout, and new ones opened for who comes then', {
      tags: 'full',
    }, async () => {
      const engine = await manager.getEngine(withQuery('idle_timeout=3'))
      await fill(engine, 3)
      expect(engine.stats()).toMatchObject({ open: 3 })

      await until(() => engine.stats().open === 0)
      await using connection = await engine.connect()
      expect(connection.db).toBeDefined()
    })

    it('are closed at the age of max_lifetime', { tags: 'full' }, async () => {
      const engine = await manager.getEngine(withQuery('max_lifetime=1'))
      await fill(engine, 3)

      await until(() => engine.stats().open === 0)
    })

    it('are kept for ever with idleTimeout: 0, and a minute by default', { tags: 'full' }, async () => {
      const kept = await manager.getEngine(database.dburi, { idleTimeout: 0 })
      const usual = await manager.getEngine(database.dburi)
      await fill(kept, 2)
      await fill(usual, 2)
      await sleep(1_500)

      expect([kept.stats().open, usual.stats().open]).toEqual([2, 2])
    })

    it('are closed and checked out at the same time without an error', async () => {
      const engine = sqlOf(await manager.getEngine(withQuery('idle_timeout=0.02&pool_size=3&max_overflow=0')))
      let served = 0
      await times(4, async (worker) => {
        for (let turn = 0; turn < 30; turn++) {
          await sleep(15 + ((worker * 7 + turn) % 10))
          await engine.db.execute(sql`select 1`)
          served++
          expect(engine.stats().open).toBeLessThanOrEqual(3)
        }
      })

      expect(served).toBe(120)
      await until(() => engine.stats().open === 0)
    })

    it('that hang, all five of them, cost whoever comes one ping', { tags: 'full' }, async () => {
      await using proxy = await FaultProxy.before(database.dburi)
      const engine = sqlOf(await manager.getEngine(proxy.dburi))
      await fill(engine, 5)
      await sleep(1_050)
      proxy.silence()

      const { state, after } = await outcome(engine.db.execute(sql`select 1`), 20_000)
      expect(state).toBe('fulfilled')
      // Each ping takes a second to be given up.
      expect(after).toBeLessThan(isLong ? 1_900 : 4_900)
      await until(() => engine.stats().open === 1)
    })
  })
}

describeNeeding('postgresql', 'a pool of PostgreSQL', () => {
  const database = freshPostgres()

  it('keeps the connections that live when the server ends one of them', { tags: 'full' }, async () => {
    await using observer = new Observer(database.dburi)
    const application = 'dc-one-killed'
    const engine = await manager.getEngine(withOptions(database.dburi, { application_name: application }))
    await fill(engine, 5)
    const before = (await observer.backends(application)).map(({ pid }) => pid)
    await sleep(1_050)
    await observer.terminate(before[0] ?? 0)
    await fill(engine, 5)

    const after = (await observer.backends(application)).map(({ pid }) => pid)
    expect(before).toHaveLength(5)
    expect(after.filter((pid) => before.includes(pid))).toHaveLength(4)
  })

  it('keeps no process alive by its timers', { timeout: 120_000 }, async () => {
    const result = await childRun(scenario('idle-exit'), { arguments: [database.dburi] })

    expect(result).toMatchObject({ exitCode: 0, stderr: '', emitted: [{ open: 3 }] })
    expect(result.lingered).toBeLessThan(500 * slack)
  })

  describe('whose role may have two connections', () => {
    const role = `dc_few_${process.pid}`
    let admin: postgres.Sql
    let dburi: ReturnType<typeof withOptions>
    beforeEach(async () => {
      admin = postgres(database.dburi, { max: 1, onnotice: () => {} })
      await admin.unsafe(`create role ${role} login connection limit 2`)
      const parsed = new URL(database.dburi)
      parsed.username = role
      dburi = withOptions(parsed.href, {})
      return async () => {
        await manager.dispose({ grace: 0 })
        const isGone = async () =>
          (await admin`select from pg_stat_activity where usename = ${role}`).length === 0
        await until(isGone)
        await admin.unsafe(`drop role ${role}`)
        await admin.end()
      }
    })

    /** Somebody else has both connections, until the function is called. */
    async function crowd(): Promise<() => Promise<void>> {
      const other = postgres(dburi, { max: 2, onnotice: () => {} })
      await Promise.all([other`select pg_sleep(0.1)`, other`select pg_sleep(0.1)`])
      return () => other.end()
    }

    it('waits until others have gone, sessions and single statements alike', { tags: 'full' }, async () => {
      const leave = await crowd()
      const engine = await manager.getEngine(withOptions(dburi, { pool_timeout: '20' }))
      const waiting = Promise.all([
        outcome(engine.db.execute(sql`select 1`), 20_000),
        outcome(
          manager.session(withOptions(dburi, { pool_timeout: '20' }), (db) => db.execute(sql`select 1`)),
          20_000,
        ),
      ])
      await sleep(700)
      expect(engine.stats()).toMatchObject({ waiting: 2, checkedOut: 0 })
      await leave()

      expect((await waiting).map(({ state }) => state)).toEqual(['fulfilled', 'fulfilled'])
    })

    it('says after poolTimeout what the server said last', { tags: 'full' }, async () => {
      const leave = await crowd()
      const engine = await manager.getEngine(withOptions(dburi, { pool_timeout: '3' }))
      const started = performance.now()
      const error = await failure(engine.connect())
      expect(performance.now() - started).toBeGreaterThan(2_990)
      await leave()

      expect(error).toBeInstanceOf(PoolTimeoutError)
      expect(error).toHaveProperty('cause', expect.any(ConnectError))
      expect(error).toHaveProperty('cause.isServerBusy', true)
      expect(error).toHaveProperty('cause.cause.code', '53300')
    })

    it('serves 40 at once with the two it gets of five it may have', async () => {
      const engine = await manager.getEngine(withOptions(dburi, { pool_timeout: '20' }))
      const results = await times(40, async () => {
        await using connection = await engine.connect()
        return await connection.db.execute(sql`select pg_sleep(0.01)`)
      })

      expect(results).toHaveLength(40)
      // One more try may be under way.
      await until(() => engine.stats().open === 2)
    })

    it('does not keep waiting who is aborted, or whose engine is disposed of', async () => {
      const leave = await crowd()
      const engine = await manager.getEngine(dburi)
      const controller = new AbortController()
      const aborted = failure(engine.connect({ signal: controller.signal }))
      const closed = failure(engine.connect())
      await sleep(300)
      controller.abort()
      expect(await aborted).toHaveProperty('code', 'ABORTED')
      await engine.dispose()
      expect(await closed).toHaveProperty('code', 'CLOSED')
      await leave()
    })

    it('waits for the one of several hosts that is full, and not for those that refuse', {
      tags: 'full',
    }, async () => {
      const leave = await crowd()
      const { host, pathname } = new URL(dburi)
      const several = `postgresql://${role}@127.0.0.1:1,${host}${pathname}?pool_timeout=20`
      const engine = sqlOf(await manager.getEngine(several))
      const waiting = outcome(engine.db.execute(sql`select 1`), 20_000)
      await sleep(500)
      expect(engine.stats().waiting).toBe(1)
      await leave()

      expect(await waiting).toMatchObject({ state: 'fulfilled' })
    })
  })

  it('fails at once where the host refuses, or the database is unknown', async () => {
    const dburis = [
      'postgresql://postgres@127.0.0.1:1/postgres',
      database.dburi.replace(/\/\w+$/, '/no_such_database'),
    ]
    for (const dburi of dburis) {
      const engine: Engine = await manager.getEngine(dburi)
      const started = performance.now()
      expect(await failure(engine.connect())).toBeInstanceOf(ConnectError)
      // A pool waits for 30 s.
      expect(performance.now() - started).toBeLessThan(5_000)
    }
  })
})

describeNeeding('mysql', 'a pool of MySQL whose user may have two connections', () => {
  const database = freshMysql()
  const user = `dc_few_${process.pid}`
  let admin: Awaited<ReturnType<typeof createConnection>>
  let dburi: string
  beforeEach(async () => {
    admin = await createConnection(database.dburi)
    await admin.query(`create user ${user}@'%' identified by 'few' with max_user_connections 2`)
    await admin.query(`grant all on ${database.name}.* to ${user}@'%'`)
    const parsed = new URL(database.dburi)
    parsed.username = user
    parsed.password = 'few'
    dburi = parsed.href
    return async () => {
      await manager.dispose({ grace: 0 })
      // The server counts for the next test who has not gone.
      await until(async () => {
        const [rows] = await admin.query(
          `select id from information_schema.processlist where user = '${user}'`,
        )
        return Array.isArray(rows) && rows.length === 0
      })
      await admin.query(`drop user ${user}@'%'`)
      await admin.end()
    }
  })

  it('waits until others have gone', async () => {
    const others = [await createConnection(dburi), await createConnection(dburi)]
    const engine = sqlOf(await manager.getEngine(`${dburi}?pool_timeout=20`))
    const waiting = times(3, () => outcome(engine.db.execute(sql`select 1`), 20_000))
    await sleep(700)
    expect(engine.stats()).toMatchObject({ waiting: 3 })
    for (const other of others) await other.end()

    expect((await waiting).map(({ state }) => state)).toEqual(['fulfilled', 'fulfilled', 'fulfilled'])
  })

  it('says after poolTimeout what the server said last', async () => {
    const others = [await createConnection(dburi), await createConnection(dburi)]
    const engine: Engine = await manager.getEngine(`${dburi}?pool_timeout=3`)
    const error = await failure(engine.connect())
    for (const other of others) await other.end()

    expect(error).toBeInstanceOf(PoolTimeoutError)
    expect(error).toHaveProperty('cause.isServerBusy', true)
    expect(error).toHaveProperty('cause.cause.errno', 1226)
  })
})
