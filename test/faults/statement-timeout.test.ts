/** A statement that gets no answer ends in time, and the server is asked to stop. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type SessionFor, SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { childRun, scenario, startChild } from '../fixtures/child-run.ts'
import { FaultProxy } from '../fixtures/fault-proxy.ts'
import { isLong } from '../fixtures/loops.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'
import { startCheck } from '../fixtures/standard-check.ts'
import { codeFrom, codeOf, Observer, outcome, until, withOptions } from './support.ts'

/** Seconds, in which what is to be answered is answered on any machine. */
const LIMIT = isLong ? 1 : 3
/** Milliseconds that a busy machine may take beyond what a test expects. */
const slack = isLong ? 0 : 5_000

describeNeeding('postgresql', 'a statement that gets no answer', () => {
  const database = freshPostgres()
  const application = 'dc-statement-timeout'
  let observer: Observer
  let proxy: FaultProxy
  let manager: SessionManager

  beforeEach(async () => {
    observer = new Observer(database.dburi)
    proxy = await FaultProxy.before(database.dburi)
    manager = new SessionManager()
  })
  afterEach(async () => {
    await manager.dispose({ grace: 0 })
    await proxy.close()
    await observer[Symbol.asyncDispose]()
  })

  const dburi = () =>
    withOptions(proxy.dburi, { application_name: application, pool_size: '1', max_overflow: '0' })
  const working = async () =>
    (await observer.backends(application)).filter(({ state }) => state === 'active').length

  it('T10 ends after statementTimeout when the network falls silent, and the next one works at once', {
    tags: 'full',
  }, async () => {
    const engine = await manager.getEngine(dburi(), { statementTimeout: LIMIT })
    await engine.db.execute(sql`select 1`)

    const silent = outcome(engine.db.execute(sql`select pg_sleep(60)`), 10_000)
    await until(async () => (await working()) === 1)
    proxy.mode = 'blackhole'
    const { error, after } = await silent
    expect(codeOf(error)).toBe('STATEMENT_TIMEOUT')
    expect(after).toBeGreaterThan(LIMIT * 1_000 - 10)
    expect(after).toBeLessThan(LIMIT * 1_000 + 300 + slack)
    expect(engine.stats()).toMatchObject({ open: 0, running: 0 })

    await sleep(100)
    proxy.mode = 'pass'
    const next = await outcome(engine.db.execute(sql`select 1`), 10_000)
    expect(next.state).toBe('fulfilled')
    expect(next.after).toBeLessThan(200 + slack)
    const stopped = await until(async () => (await working()) === 0)
    expect(stopped).toBeLessThan(2_000 + slack)
  })

  it('T10 costs a session its transaction, and the session goes on after rollback', {
    tags: 'full',
  }, async () => {
    const { sessionMaker } = await manager.createSession(dburi(), { statementTimeout: LIMIT })
    await using session = sessionMaker()
    await session.db.execute(sql`create table timed (id int)`)

    const silent = outcome(session.db.execute(sql`select pg_sleep(60)`), 10_000)
    await until(async () => (await working()) === 1)
    proxy.mode = 'blackhole'
    const { error, after } = await silent
    proxy.mode = 'pass'
    expect(codeOf(error)).toBe('STATEMENT_TIMEOUT')
    expect(after).toBeLessThan(LIMIT * 1_000 + 300 + slack)

    expect(await codeFrom(session.db.execute(sql`select 1`))).toBe('PENDING_ROLLBACK')
    expect(await codeFrom(session.commit())).toBe('PENDING_ROLLBACK')
    await session.rollback()
    await session.db.execute(sql`create table timed (id int)`)
    await session.commit()
  })

  const steps = {
    'the first statement': (session) => session.db.execute(sql`select ${1}::int`),
    'the first statement of a transaction with options': async (session) => {
      await session.begin({ isolationLevel: 'serializable' })
      await session.db.execute(sql`select 1`)
    },
    commit: (session) => session.commit(),
    rollback: (session) => session.rollback(),
  } satisfies Record<string, (session: SessionFor<'postgresql://'>) => PromiseLike<unknown>>

  it.each(Object.entries(steps))('T10 %s ends in time as well', { tags: 'full' }, async (step, take) => {
    const { sessionMaker } = await manager.createSession(dburi(), { statementTimeout: LIMIT })
    await using session = sessionMaker()
    await session.db.execute(sql`select 1`)
    if (step.startsWith('the first statement')) await session.commit()

    proxy.mode = 'blackhole'
    const { error, after } = await outcome(take(session), 10_000)
    proxy.mode = 'pass'

    // What a silent server has not heard of is undone all the same once its connection is gone.
    expect(error === undefined ? null : codeOf(error)).toBe(step === 'rollback' ? null : 'STATEMENT_TIMEOUT')
    expect(after).toBeGreaterThan(LIMIT * 1_000 - 10)
    // A rollback by itself waits for 5 s.
    expect(after).toBeLessThan(step === 'rollback' ? 4_900 : LIMIT * 1_000 + 300 + slack)
    await session.rollback()
    await session.db.execute(sql`select 1`)
    await session.commit()
  })

  it('T10 a commit that gets no answer is stopped by the signal', { tags: 'full' }, async () => {
    const controller = new AbortController()
    const { sessionMaker } = await manager.createSession(dburi(), { signal: controller.signal })
    const session = sessionMaker()
    await session.db.execute(sql`select 1`)

    proxy.mode = 'blackhole'
    const committing = outcome(session.commit(), 10_000)
    await sleep(50)
    controller.abort()
    const { error, after } = await committing
    proxy.mode = 'pass'

    expect(codeOf(error)).toBe('ABORTED')
    expect(after).toBeLessThan(500 + slack)
    await session.close()
  })

  it('T10 is stopped on the server, and the statements beside it are not', { tags: 'full' }, async () => {
    const engine = await manager.getEngine(dburi(), { statementTimeout: LIMIT })
    await engine.db.execute(sql`select 1`)

    const codes = await Promise.all([
      codeFrom(engine.db.execute(sql`select 1`)),
      codeFrom(engine.db.execute(sql`select pg_sleep(60)`)),
      codeFrom(engine.db.execute(sql`select 1`)),
    ])

    expect(codes).toEqual([null, 'STATEMENT_TIMEOUT', null])
    expect(await until(async () => (await working()) === 0)).toBeLessThan(2_000 + slack)
  })

  it('T10 is stopped on the server when the caller aborts it', async () => {
    const controller = new AbortController()
    const { sessionMaker } = await manager.createSession(dburi(), { signal: controller.signal })
    const session = sessionMaker()

    const aborted = codeFrom(session.db.execute(sql`select pg_sleep(60)`))
    await until(async () => (await working()) === 1)
    controller.abort()

    expect(await aborted).toBe('ABORTED')
    expect(await until(async () => (await working()) === 0)).toBeLessThan(2_000 + slack)
    await session.close()
  })

  it('T10 leaves nothing open', async () => {
    const check = startCheck()
    const own = new SessionManager()
    const { db } = await own.getEngine(withOptions(database.dburi, {}), { statementTimeout: 0.1 })
    const code = await codeFrom(db.execute(sql`select pg_sleep(60)`))
    await own.dispose()

    expect(code).toBe('STATEMENT_TIMEOUT')
    await check.nothingLeftOpen()
  })

  it('T10 control: the driver alone waits for ever', { tags: 'full' }, async () => {
    await using child = await startChild(scenario('faults-naive'), {
      arguments: ['silent network', proxy.dburi],
    })
    const before = await child.call('ask', 20_000)
    proxy.mode = 'blackhole'

    expect([before, await child.call('ask', 1_500)]).toEqual(['fulfilled', 'pending'])
  })
})

it('a deadline on a database in the thread of the program is taken, with one warning in a process', async () => {
  const result = await childRun(scenario('deadline-in-thread'), { timeout: 60_000 })

  expect(result).toMatchObject({ exitCode: 0, stdout: '' })
  expect(result.emitted).toEqual([[], [{ one: 1 }], [{ two: 2 }], ['DRIZZLE_CELERY_STATEMENT_TIMEOUT']])
}, 90_000)
