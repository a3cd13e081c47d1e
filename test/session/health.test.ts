/** What probes and monitoring are told: pings, the health of a manager, and the totals of a pool. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Engine, OptionError, SessionManager } from 'drizzle-celery'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FaultProxy } from '../fixtures/fault-proxy.ts'
import { createMysql, createPostgres, describeNeeding, type TestDatabase } from '../fixtures/servers.ts'

const onServers = (suite: (create: () => Promise<TestDatabase>) => void) => {
  describeNeeding('postgresql', 'of PostgreSQL', () => suite(() => createPostgres()))
  describeNeeding('postgresql', 'of PostgreSQL by pg', () =>
    suite(() => createPostgres({ scheme: 'postgresql+pg' })),
  )
  describeNeeding('mysql', 'of MySQL', () => suite(createMysql))
}

describe('ping()', () => {
  onServers((create) => {
    let database: TestDatabase
    let proxy: FaultProxy
    let manager: SessionManager
    let engine: Engine

    beforeEach(async () => {
      database = await create()
      proxy = await FaultProxy.before(database.dburi)
      // A connection that was idle for a second would be pinged before it is handed out, within the timeout of what is tested.
      const engineOptions = { poolSize: 1, maxOverflow: 0, poolPrePing: false }
      manager = new SessionManager({ prepare: 'none', engineOptions })
      engine = await manager.getEngine(proxy.dburi)
    })

    afterEach(async () => {
      await manager.dispose({ grace: 0 })
      await proxy[Symbol.asyncDispose]()
      await database.drop()
    })

    it('tells how long the answer took, and gives the connection back', async () => {
      expect(await engine.ping()).toBeGreaterThan(0)
      expect(engine.stats()).toMatchObject({ open: 1, checkedOut: 0, totals: { opened: 1, timeouts: 0 } })
    })

    it('of a server that fell silent ends with the timeout, and throws the connection away', async () => {
      await engine.ping()
      proxy.mode = 'blackhole'

      await expect(engine.ping({ timeout: 0.2 })).rejects.toMatchObject({ code: 'STATEMENT_TIMEOUT' })
      expect(engine.stats()).toMatchObject({ open: 0, totals: { opened: 1, closed: 1 } })

      proxy.mode = 'pass'
      await engine.ping()
    })

    it('waits for a connection no longer than the timeout', async () => {
      await using held = await engine.connect()

      const ping = engine.ping({ timeout: 0.1 })
      expect(engine.stats().waiting).toBe(1)
      await expect(ping).rejects.toMatchObject({ code: 'POOL_TIMEOUT', message: /ping got no connection/ })
      expect(engine.stats()).toMatchObject({ waiting: 0, checkedOut: 1 })
      await held.close()
      await engine.ping()
    })

    it('ends with its signal', async () => {
      await using _held = await engine.connect()
      const ping = engine.ping({ signal: AbortSignal.timeout(20) })

      await expect(ping).rejects.toMatchObject({ code: 'ABORTED' })
      expect(engine.stats().waiting).toBe(0)
    })

    it('says why there is no server', async () => {
      proxy.mode = 'reset-on-accept'

      await expect(engine.ping()).rejects.toMatchObject({ name: 'ConnectError' })
    })
  })

  it.each(['pglite:', ':memory:'])('is answered by %s', async (dburi) => {
    await using manager = new SessionManager({ prepare: 'none' })
    const engine = await manager.getEngine(dburi)

    // PGlite has to start in that time.
    expect(await engine.ping({ timeout: 25 })).toBeGreaterThan(0)
  })

  it('refuses a wrong timeout', async () => {
    await using manager = new SessionManager({ prepare: 'none' })
    const engine = await manager.getEngine(':memory:')

    await expect(engine.ping({ timeout: 0 })).rejects.toBeInstanceOf(OptionError)
  })
})

describe('health()', () => {
  it('of a manager without engines is good, and of one that is disposed of it is not', async () => {
    const manager = new SessionManager()
    expect(await manager.health()).toEqual({ isHealthy: true, engines: [] })
    await manager.dispose()
    expect(await manager.health()).toEqual({ isHealthy: false, engines: [] })
  })

  it('tells of each engine, and shows no password', async () => {
    await using manager = new SessionManager({ prepare: 'none' })
    await manager.getEngine(':memory:')
    await manager.getEngine('postgresql://ann:canary@127.0.0.1:1/none')

    const health = await manager.health({ timeout: 20 })

    expect(health.isHealthy).toBe(false)
    expect(health.engines).toMatchObject([
      { dialect: 'sqlite', isHealthy: true, error: null },
      { dialect: 'postgresql', isHealthy: false, error: { code: 'CONNECT_FAILED' } },
    ])
    expect(JSON.stringify(health)).not.toContain('canary')
  })
})

describe('the totals of stats()', () => {
  onServers((create) => {
    it('count what was opened, closed, waited for and not had', { tags: 'full' }, async () => {
      await using database = await create()
      await using manager = new SessionManager({
        prepare: 'none',
        engineOptions: { poolSize: 1, maxOverflow: 0, poolTimeout: 2 },
      })
      const engine = await manager.getEngine(database.dburi)
      expect(engine.stats().totals).toEqual({ opened: 0, closed: 0, timeouts: 0, waits: 0, waitedMs: 0 })

      const held = await engine.connect()
      const late = engine.connect().catch((error) => error)
      expect(engine.stats().waiting).toBe(1)
      await late
      expect(engine.stats().totals).toMatchObject({ opened: 1, closed: 0, timeouts: 1, waits: 2 })
      expect(engine.stats().totals.waitedMs).toBeGreaterThanOrEqual(1_990)

      const waiting = engine.connect()
      await held.close()
      await (await waiting).close()
      const own = await engine.connect({ ownConnection: true })
      await own.close()
      expect(engine.stats().totals).toMatchObject({ opened: 2, closed: 2, timeouts: 1, waits: 4 })
    })
  })

  it('are never without a waiter while somebody waits for a connection', async () => {
    await using manager = new SessionManager({ prepare: 'none' })
    const engine = await manager.getEngine('pglite:')
    const held = await engine.connect()
    const ping = engine.ping()
    const connection = engine.connect()
    const statement = engine.db.execute('select 1').then()
    await sleep(1)

    expect(engine.stats()).toMatchObject({ waiting: 3 })

    await held.close()
    await ping
    await (await connection).close()
    await statement
    expect(engine.stats()).toMatchObject({ waiting: 0, totals: { waits: 4 } })
  })
})
