/** The pool keeps its limits and its order on a real server. */
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolTimeoutError, SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest'
import { FaultProxy } from '../fixtures/fault-proxy.ts'
import { atMost, isLong, loops } from '../fixtures/loops.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'
import { type Check, startCheck } from '../fixtures/standard-check.ts'
import { Observer, outcome, pidOf, tally, times, until, withOptions } from './support.ts'

describeNeeding('postgresql', 'a pool on a real server', () => {
  const database = freshPostgres()
  let check: Check
  let observer: Observer
  let manager: SessionManager

  beforeEach(() => {
    check = startCheck()
    observer = new Observer(database.dburi)
    manager = new SessionManager()
  })
  afterEach(async () => {
    await manager.dispose({ grace: 0 })
    await observer[Symbol.asyncDispose]()
    await check.nothingLeftOpen()
  })

  const engineOf = (options: Record<string, string>) =>
    manager.getEngine(withOptions(database.dburi, options))

  it('T11 50 waiters of an exhausted pool are told so in time, and the next one is served', {
    tags: 'full',
  }, async () => {
    const engine = await engineOf({ pool_size: '3', max_overflow: '2', pool_timeout: '3' })
    const held = await times(5, () => engine.connect())

    const waiting = times(50, () => outcome(engine.connect(), 10_000))
    expect(engine.stats()).toMatchObject({ open: 5, checkedOut: 5, waiting: 50 })
    const results = await waiting

    expect(results.every(({ error }) => error instanceof PoolTimeoutError)).toBe(true)
    expect(String(results[0]?.error)).toMatch(/within 3 s: 5 of 5 are checked out/)
    const waits = results.map(({ after }) => after)
    expect(Math.min(...waits)).toBeGreaterThan(2_990)
    expect(Math.max(...waits)).toBeLessThan(3_000 + atMost(500))
    expect(engine.stats().waiting).toBe(0)

    const late = engine.connect()
    await held[0]?.close()
    const served = await late
    expect(await pidOf(served.db)).toBeGreaterThan(0)
    for (const connection of [...held, served]) await connection.close()
  })

  it('T13 100 waiters are served in the order in which they came, and none starves', async () => {
    const engine = await engineOf({ pool_size: '4', max_overflow: '0' })
    await times(4, async () => (await engine.connect()).close())
    const order: number[] = []
    const waits: number[] = []
    const started = performance.now()

    await times(100, async (index) => {
      const connection = await engine.connect()
      order.push(index)
      waits.push(performance.now() - started)
      await connection.db.execute(sql`select pg_sleep(0.005)`)
      await connection.close()
    })

    expect(order).toEqual(Array.from({ length: 100 }, (_, index) => index))
    const mean = waits.reduce((sum, wait) => sum + wait, 0) / waits.length
    if (isLong) expect(Math.max(...waits)).toBeLessThan(2 * mean + 50)
  })

  it.each([
    { maxOverflow: 0, limit: 5 },
    { maxOverflow: 5, limit: 10 },
    { maxOverflow: -1, limit: 40 },
  ])(
    'T14 the server never sees more than $limit backends with overflow $maxOverflow',
    async ({ maxOverflow, limit }) => {
      const application = `dc-limit-${maxOverflow}`
      const engine = await engineOf({
        pool_size: '5',
        max_overflow: String(maxOverflow),
        application_name: application,
        pool_timeout: '60',
      })
      const deadline = performance.now() + 20_000
      let isOver = false
      let peak = 0
      const watching = (async () => {
        while (!isOver) peak = Math.max(peak, (await observer.backends(application)).length)
      })()

      await times(40, async (task) => {
        // A server under load shows few moments: enough work for it to be seen at its limit.
        const isEnough = (round: number) =>
          round >= loops(4, 10) && (peak >= Math.min(limit, 5) || performance.now() > deadline)
        for (let round = 0; !isEnough(round); round++) {
          // Sessions, single statements and transactions share one limit.
          if (task % 4 === 0) await engine.db.execute(sql`select pg_sleep(0.002)`)
          else if (task % 4 === 1)
            await engine.db.transaction((tx) => tx.execute(sql`select pg_sleep(0.002)`))
          else {
            await using connection = await engine.connect({ ownConnection: task % 4 === 2 })
            await connection.db.execute(sql`select pg_sleep(0.002)`)
          }
        }
      })
      isOver = true
      await watching

      console.log(`T14: overflow ${maxOverflow}, at most ${peak} backends`)
      expect(peak).toBeLessThanOrEqual(limit)
      expect(peak).toBeGreaterThanOrEqual(Math.min(limit, 5))
      await until(() => engine.stats().open <= 5)
      expect(engine.stats()).toMatchObject({ checkedOut: 0, waiting: 0, running: 0 })
    },
  )

  it('T14 control: what is held is what the server counts', async () => {
    const application = 'dc-limit-control'
    const unpooled = await engineOf({ pool_size: '40', application_name: application })
    const held = await times(20, () => unpooled.connect())

    expect(await observer.backends(application)).toHaveLength(20)
    for (const connection of held) await connection.close()
  })

  it('T18 idle connections that were killed cost the next 20 checkouts nothing', {
    tags: 'full',
  }, async () => {
    const application = 'dc-pre-ping'
    const engine = await engineOf({ pool_size: '3', max_overflow: '0', application_name: application })
    const held = await times(3, () => engine.connect())
    for (const connection of held) await connection.close()

    await sleep(1_050)
    const backends = await observer.backends(application)
    await Promise.all(backends.map(({ pid }) => observer.terminate(pid)))
    const results = await times(20, async () => {
      await using connection = await engine.connect()
      return await outcome(connection.db.execute(sql`select 1`), 5_000)
    })

    expect(backends).toHaveLength(3)
    expect(tally(results.map(({ state }) => state))).toEqual({ fulfilled: 20 })
  })

  it('T18 a connection is pinged once when it was idle for a second, and not before', async () => {
    const proxy = await FaultProxy.before(database.dburi)
    const engine = await manager.getEngine(withOptions(proxy.dburi, { pool_size: '1', max_overflow: '0' }))
    const use = async () => {
      await using connection = await engine.connect()
      await connection.db.execute(sql`select 2`)
    }
    // Opening a connection ends with a ping of its own.
    const pings = () =>
      (proxy.received
        .map(String)
        .join('')
        .match(/select 1/g)?.length ?? 0) - proxy.connections

    // No second goes by unless the test says so.
    let clock = performance.now()
    const now = vi.spyOn(performance, 'now').mockImplementation(() => clock)
    onTestFinished(() => now.mockRestore())
    for (let round = 0; round < 20; round++) await use()
    expect(pings()).toBe(0)

    for (let round = 1; round <= loops(1, 3); round++) {
      clock += 1_050
      await times(5, use)
      expect(pings()).toBe(round)
    }
    expect(proxy.connections).toBe(1)
    now.mockRestore()
    await manager.dispose()
    await proxy.close()
  })

  it('T18 a connection that answers no ping is replaced before anybody gets it', {
    tags: 'full',
  }, async () => {
    const proxy = await FaultProxy.before(database.dburi)
    const engine = await manager.getEngine(withOptions(proxy.dburi, { pool_size: '1', max_overflow: '0' }))
    await engine.db.execute(sql`select 2`)

    // What is open stays silent for ever, what comes is served: as behind a firewall that forgot a connection.
    await sleep(1_050)
    proxy.mode = 'blackhole'
    const next = outcome(engine.db.execute(sql`select 2`), 10_000)
    await until(() => engine.stats().open === 1 && proxy.connections >= 2, { within: 9_000 })
    proxy.mode = 'pass'
    const { state, after } = await next

    expect(state).toBe('fulfilled')
    if (isLong) expect(after).toBeLessThan(1_500)
    await manager.dispose()
    await proxy.close()
  })
})
