/** How it ends: disposed of, by itself, by a signal, or forgotten. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Child, type ChildOptions, childRun, scenario } from '../fixtures/child-run.ts'
import { FaultProxy } from '../fixtures/fault-proxy.ts'
import { atMost, isLong } from '../fixtures/loops.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'
import { Observer, until, withOptions } from './support.ts'

/** What is waited for in vain takes 20 s: a time limit that nothing here is to reach. */
const slack = isLong ? 1 : 50

describeNeeding('postgresql', 'the end', () => {
  const database = freshPostgres()
  let observer: Observer

  beforeEach(async () => {
    observer = new Observer(database.dburi)
    await observer.sql`create table if not exists faults (id text primary key)`
  })
  afterEach(() => observer[Symbol.asyncDispose]())

  const run = (name: string, args: readonly string[], options: ChildOptions = {}) =>
    childRun(scenario(name), { arguments: args, ...options })

  it('T26 dispose() ends within its grace, tells everybody by type, and leaves nothing open', {
    tags: 'full',
    timeout: isLong ? 600_000 : 120_000,
  }, async () => {
    await using proxy = await FaultProxy.before(database.dburi)
    proxy.mode = 'hang-on-accept'

    const result = await run('faults-dispose', [database.dburi, proxy.dburi], { timeout: 100_000 })

    expect(result).toMatchObject({ exitCode: 0, stdout: '', stderr: '' })
    const closed = 'CLOSED'
    expect(result.emitted.map((each) => ({ ...(each as object), elapsed: 0 }))).toEqual([
      { name: 'idle', elapsed: 0, codes: {} },
      { name: 'work that ends in time', elapsed: 0, codes: { statement: null, commit: null, single: null } },
      // Under way when the grace was over: perhaps done. All that is refused below is surely not.
      {
        name: 'work that does not',
        elapsed: 0,
        codes: { statement: 'CONNECTION_LOST', single: 'CONNECTION_LOST' },
      },
      { name: 'queued waiters', elapsed: 0, codes: { lease: closed, single: closed } },
      {
        name: 'a session that nobody closes',
        elapsed: 0,
        codes: { statement: 'PENDING_ROLLBACK', commit: 'PENDING_ROLLBACK', close: null },
      },
      { name: 'a connection being opened', elapsed: 0, codes: { single: closed } },
      { name: 'an engine being opened', elapsed: 0, codes: { single: closed } },
      { name: 'twice, one after the other', elapsed: 0, codes: {} },
      { name: 'by three callers at once', elapsed: 0, codes: {} },
      {
        name: 'used afterwards',
        elapsed: 0,
        codes: {
          getEngine: closed,
          sessionFactory: closed,
          createSession: closed,
          session: closed,
          single: closed,
          transaction: closed,
          connect: closed,
          ownConnection: closed,
        },
      },
    ])

    const elapsed = Object.fromEntries(
      (result.emitted as Disposal[]).map((each) => [each.name, each.elapsed]),
    )
    console.log(`T26: ${JSON.stringify(elapsed)}, lingered ${Math.round(result.lingered ?? -1)} ms`)
    // Whatever is still held when the grace of 300 ms is over ends it then.
    for (const name of ['work that does not', 'queued waiters', 'a session that nobody closes']) {
      expect(elapsed[name]).toBeGreaterThanOrEqual(295)
      expect(elapsed[name]).toBeLessThan(300 + 100 * slack)
    }
    // Nothing is waited for that nobody uses.
    for (const name of ['idle', 'a connection being opened', 'an engine being opened', 'used afterwards']) {
      expect(elapsed[name]).toBeLessThan(100 * slack)
    }
    expect(elapsed['work that ends in time']).toBeLessThan(400 + 100 * slack)
    expect(result.lingered).toBeLessThan(200 * slack)
  })

  describe('T27 without dispose() the process ends by itself', () => {
    it.each([
      ['after single statements', []],
      ['after a session', []],
      ['with a session left open in its transaction', []],
      ['with a statement timeout', []],
      ['after a connection that failed', ['CONNECT_FAILED']],
      ['with work under way', ['answered']],
    ])('%s', { tags: 'full' }, async (state, emitted) => {
      const dburi = withOptions(database.dburi, { application_name: 'dc-exit' })

      const result = await run('faults-exit', [state, dburi])

      expect(result).toMatchObject({ exitCode: 0, stdout: '', stderr: '', emitted })
      expect(result.lingered).toBeLessThan(200 * slack)
      await until(async () => (await observer.backends('dc-exit')).length === 0)
    })
  })

  it('T27 control: with the driver alone it never ends', { tags: 'full' }, async () => {
    const dburi = withOptions(database.dburi, { application_name: 'dc-never-ended' })
    const child = await Child.spawn(scenario('faults-naive'), { arguments: ['never ended', dburi] })
    child.end()
    await until(async () => (await observer.backends('dc-never-ended')).length === 1, { within: 25_000 })
    const state = await Promise.race([child.exited.then(() => 'ended'), sleep(1_500, 'alive')])
    await child[Symbol.asyncDispose]()

    expect(state).toBe('alive')
  })

  it('T27 a handler of SIGTERM that disposes lets accepted work finish, and leaves no backend', {
    tags: 'full',
    timeout: 90_000,
  }, async () => {
    const dburi = withOptions(database.dburi, { application_name: 'dc-sigterm' })
    const child = await Child.spawn(scenario('faults-exit'), {
      arguments: ['at SIGTERM', dburi],
      timeout: 60_000,
    })
    child.end()
    const sleeping = async () =>
      (await observer.backends('dc-sigterm')).filter(({ query }) => query.includes('pg_sleep')).length
    await until(async () => (await sleeping()) === 2, { within: 25_000 })

    const started = performance.now()
    child.kill('SIGTERM')
    const result = await child.exited
    const drained = performance.now() - started

    expect(result).toMatchObject({ exitCode: 0, signal: null, stderr: '' })
    expect([...result.emitted].sort()).toEqual(['committed', 'drained', 'ready', 'single'])
    expect(result.emitted.at(-1)).toBe('drained')
    // The grace is 20 s.
    expect(drained).toBeLessThan(12_000)
    expect(result.lingered).toBeLessThan(200 * slack)
    await until(async () => (await observer.backends('dc-sigterm')).length === 0)
    expect(await observer.sql`select to_regclass('terminated') is not null as kept`).toEqual([{ kept: true }])
  })

  it.each([
    { what: 'session', code: 'DRIZZLE_CELERY_UNCLOSED_SESSION', rows: 0, where: 'forgetOne' },
    {
      what: 'work',
      code: 'DRIZZLE_CELERY_UNCLOSED_WORK',
      rows: 0,
      where: 'The work of a session on postgres',
    },
    { what: 'connection', code: 'DRIZZLE_CELERY_UNCLOSED_CONNECTION', rows: 1, where: 'forgetOne' },
    { what: 'stream', code: 'DRIZZLE_CELERY_UNCLOSED_STREAM', rows: 1, where: 'forgetOne' },
  ])(
    'a $what that is forgotten warns once where it was made, and its connection comes back',
    { tags: 'full', timeout: isLong ? 600_000 : 90_000 },
    async ({ what, code, rows, where }) => {
      const result = await run('faults-forgotten', [database.dburi, what], {
        nodeFlags: ['--expose-gc'],
        timeout: 80_000,
      })

      expect(result).toMatchObject({ exitCode: 0, stdout: '' })
      const [found] = result.emitted as [Collection]
      console.log(`forgotten: the ${what}'s connection was back after ${found.after} ms`)
      expect(found).toMatchObject({ held: 1, rows, isIdle: true, stats: { checkedOut: 0, waiting: 0 } })
      expect(found.after).toBeLessThan(atMost(2_000))
      expect(found.warnings).toEqual([{ code, message: expect.stringContaining(where) }])
      // Whoever has the handle has what it belongs to.
      expect(found.answers).toEqual([1, 2])
      // T75: what was bound is nobody's business.
      expect(result.stderr).not.toContain('canary-f0rg0tten')
    },
  )
})

it('what is forgotten is let go also when fake timers hold the timer of the watch', async () => {
  const result = await childRun(scenario('unclosed-fake-timers'), {
    nodeFlags: ['--expose-gc', '--no-warnings'],
  })
  expect(result).toMatchObject({ exitCode: 0 })
  expect(result.emitted[0]).toBeGreaterThan(1_500)
})

interface Disposal {
  readonly name: string
  readonly elapsed: number
}

interface Collection {
  readonly after: number
  readonly warnings: { readonly message: string }[]
  readonly answers: unknown[]
}
