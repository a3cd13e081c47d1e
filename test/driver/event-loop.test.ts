import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { DatabaseBackend } from '../../src/backend/database-backend.ts'
import { owesRound, round } from '../../src/driver/event-loop.ts'
import { AbortedError } from '../../src/errors.ts'
import { SessionManager } from '../../src/index.ts'

/** Loops of statements, and of work of our own, let the event loop have its rounds. */

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'drizzle-celery-loop-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

const opened: AsyncDisposable[] = []
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each[Symbol.asyncDispose]()
})

/** How often timers fire while some work is done that never leaves the thread. */
async function timersDuring(work: () => Promise<unknown>): Promise<number> {
  let fired = 0
  const timer = setInterval(() => fired++, 1)
  try {
    await work()
    return fired
  } finally {
    clearInterval(timer)
  }
}

let files = 0

describe.each([
  ['a file', () => `file:${join(directory, `${++files}.db`)}` as const],
  ['a database in memory', () => 'sqlite://' as const],
])('on %s of SQLite', (_, dburi) => {
  const backend = (resultExpires: number) => {
    const made = new DatabaseBackend(dburi(), { resultExpires, resultExtended: true })
    opened.push(made)
    return made
  }
  const results = (count: number) =>
    Array.from({ length: count }, (_, at) => ({ taskId: `t-${at}`, result: { at, text: 'x'.repeat(100) } }))

  it('a loop of statements of the program lets timers fire', async () => {
    const manager = new SessionManager()
    opened.push(manager)
    const engine = await manager.getEngine(dburi())
    const loop = async () => {
      for (let time = 0; time < 3_000; time++) await engine.db.all(sql`select ${time}`)
    }

    expect(await timersDuring(loop)).toBeGreaterThan(2)
  })

  it('a session of many statements lets timers fire, and keeps their order', async () => {
    const manager = new SessionManager()
    opened.push(manager)
    const uri = dburi()
    await manager.session(uri, async (db) => db.run(sql`create table t (id integer primary key, w integer)`))
    const loop = () =>
      manager.session(uri, async (db) => {
        const all = Array.from({ length: 3_000 }, (_, w) => db.run(sql`insert into t (w) values (${w})`))
        await Promise.all(all)
      })
    const fired = await timersDuring(loop)

    const [row] = await manager.session(uri, async (db) =>
      db.all<{ count: number; strays: number }>(
        sql`select count(*) as count, count(*) filter (where w <> id - 1) as strays from t`,
      ),
    )
    expect(row).toEqual({ count: 3_000, strays: 0 })
    expect(fired).toBeGreaterThan(2)
  })

  it('storeMany lets timers fire while it encodes, and while it stores', async () => {
    const storing = backend(3600)
    await storing.counts()

    expect(await timersDuring(() => storing.storeMany(results(10_000)))).toBeGreaterThan(5)
  })

  it('storeMany stores what it was given, though the array is emptied meanwhile', async () => {
    const storing = backend(3600)
    await storing.counts()
    const given = results(5_000)
    const stored = storing.storeMany(given)
    given.length = 0

    expect(await stored).toBe(5_000)
  })

  it('getMany lets timers fire', async () => {
    const reading = backend(3600)
    const all = results(10_000)
    await reading.storeMany(all)

    const ids = all.map(({ taskId }) => taskId)
    expect(await timersDuring(() => reading.getMany(ids))).toBeGreaterThan(2)
  })

  it('cleanup lets timers fire, and hears its signal between two batches', { tags: 'full' }, async () => {
    const cleaning = backend(1)
    await cleaning.storeMany(results(20_000))
    await new Promise((resolve) => setTimeout(resolve, 1_200))
    const stop = new AbortController()
    const timer = setTimeout(() => stop.abort(), 1)
    // Small batches: whatever the machine, all of them take longer than the loop waits for its round.
    const batchSize = 20

    const stopped = await cleaning
      .cleanup({ batchSize, signal: stop.signal })
      .catch((error: unknown) => error)
    clearTimeout(timer)
    expect(stopped).toBeInstanceOf(AbortedError)
    const left = (await cleaning.counts())['SUCCESS'] ?? 0
    expect(left).toBeGreaterThan(0)

    // How far the first one came depends on the machine.
    await cleaning.storeMany(results(20_000))
    await new Promise((resolve) => setTimeout(resolve, 1_200))
    const deleted: number[] = []
    const fired = await timersDuring(() =>
      cleaning.cleanup({ batchSize, onProgress: ({ tasks }) => deleted.push(tasks) }),
    )
    expect(deleted.at(-1)).toBeGreaterThanOrEqual(20_000)
    expect(await cleaning.counts()).toEqual({})
    expect(fired).toBeGreaterThan(2)
  })
})

it('whoever waits for a round shares it with the others, and all go on in the order they came', async () => {
  await round()
  const until = performance.now() + 20
  expect(owesRound()).toBe(false)
  while (performance.now() < until);
  expect(owesRound()).toBe(true)
  const order: string[] = []
  setTimeout(() => order.push('timer'), 0)
  await Promise.all(['a', 'b', 'c'].map((name) => round().then(() => order.push(name))))

  expect(order.filter((name) => name !== 'timer')).toEqual(['a', 'b', 'c'])
  expect(owesRound()).toBe(false)
})
