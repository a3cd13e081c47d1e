/** How statements and sessions wait for a SQLite file that others have locked. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@libsql/client'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { causes, TransactionConflictError } from '../../../src/errors.ts'
import { Session } from '../../../src/session/session.ts'
import { openLibsql } from '../../fixtures/libsql-engine.ts'

type Engine = Awaited<ReturnType<typeof openLibsql>>

/** The class whose connections libSQL's client uses. */
const Database: { prototype: { exec(text: string): void } } = createRequire(
  createRequire(import.meta.url).resolve('@libsql/client'),
)('libsql')

let directory: string
let engines: Engine[]

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'libsql-waiting-'))
  engines = []
})

afterEach(async () => {
  await Promise.all(engines.map((engine) => engine.dispose({ grace: 0 })))
  rmSync(directory, { recursive: true, force: true })
})

const urlOf = (name: string) => `file:${join(directory, name)}`

async function open(name: string, query: string, options = {}): Promise<Engine> {
  const engine = await openLibsql(`${urlOf(name)}?${query}`, options)
  engines.push(engine)
  await engine.db.run(sql`create table if not exists t (x)`)
  return engine
}

/** Locks a file as another process would: by a connection that our mutex knows nothing of. */
async function lock(name: string): Promise<() => Promise<void>> {
  const other = createClient({ url: urlOf(name) })
  const transaction = await other.transaction('write')
  return async () => {
    await transaction.rollback()
    other.close()
  }
}

async function write(engine: Engine, hold = 0): Promise<void> {
  const session = new Session(engine, {})
  try {
    await session.db.run(sql`insert into t values (1)`)
    if (hold > 0) await sleep(hold)
    await session.commit()
  } finally {
    await session.close()
  }
}

const settled = (work: Promise<unknown>) =>
  work.then(
    () => ({ error: undefined, at: performance.now() }),
    (error: unknown) => ({ error, at: performance.now() }),
  )

describe('the event loop', () => {
  it('is not held up by looks at a lock: they do not wait in the driver', async () => {
    const engine = await open('a.db', 'timeout=60')
    const unlock = await lock('a.db')
    const writing = write(engine)
    await sleep(100)
    const took: number[] = []
    const { exec } = Database.prototype
    Database.prototype.exec = function (text) {
      const startedAt = performance.now()
      try {
        exec.call(this, text)
      } finally {
        if (text.includes('begin immediate')) took.push(performance.now() - startedAt)
      }
    }
    while (took.length < 50) await sleep(10)
    Database.prototype.exec = exec
    await unlock()
    await writing

    // One that waits takes the 5 ms that the driver has; others may be slow, but not all of them.
    expect(Math.min(...took)).toBeLessThan(4)
  })

  it('is asked for no more looks at locks by sixteen files than by two', { tags: 'full' }, async () => {
    const looks = async (files: number) => {
      const names = Array.from({ length: files }, (_, at) => `${files}-${at}.db`)
      const opened = await Promise.all(names.map((name) => open(name, 'timeout=60')))
      const unlocks = await Promise.all(names.map(lock))
      const writes = opened.map((engine) => write(engine))
      await sleep(300)
      const spy = vi.spyOn(Database.prototype, 'exec')
      // Not a time: a process that gets no core takes no looks either.
      for (let turn = 0; turn < 150; turn++) await sleep(10)
      const { length } = spy.mock.calls
      spy.mockRestore()
      await Promise.all(unlocks.map((unlock) => unlock()))
      await Promise.all(writes)
      return length
    }

    const [byTwo, bySixteen] = [await looks(2), await looks(16)]

    expect(byTwo).toBeGreaterThan(0)
    expect(bySixteen).toBeLessThan(byTwo * 3)
  })
})

describe('one timeout for all that is waited for', () => {
  const TIMEOUT = 3
  /** What two waits one after the other take at the least. */
  const TWICE = 2 * TIMEOUT * 1_000

  it('the lock, the turn and the connection: twenty sessions give up together', {
    tags: 'full',
  }, async () => {
    const engine = await open('a.db', `timeout=${TIMEOUT}`, { poolSize: 5, maxOverflow: 10 })
    const unlock = await lock('a.db')

    const startedAt = performance.now()
    const ends = await Promise.all(Array.from({ length: 20 }, () => settled(write(engine))))
    await unlock()

    for (const { error } of ends) expect(causes(error)).toContainEqual(expect.any(TransactionConflictError))
    const last = Math.max(...ends.map(({ at }) => at)) - startedAt
    expect(last).toBeGreaterThan(TIMEOUT * 1_000 - 10)
    expect(last).toBeLessThan(TWICE)
  })

  it('the lock and the turn: twenty single statements give up together', { tags: 'full' }, async () => {
    const engine = await open('a.db', `timeout=${TIMEOUT}`)
    const unlock = await lock('a.db')

    const startedAt = performance.now()
    const ends = await Promise.all(
      Array.from({ length: 20 }, () => settled(engine.db.run(sql`insert into t values (1)`))),
    )
    await unlock()

    for (const { error } of ends) expect(error).toHaveProperty('cause', expect.any(TransactionConflictError))
    expect(Math.max(...ends.map(({ at }) => at)) - startedAt).toBeLessThan(TWICE)
  })

  it('a transaction of the engine and a session that autocommits count the wait for their connection', {
    tags: 'full',
  }, async () => {
    const engine = await open('a.db', `timeout=${TIMEOUT}`, { poolSize: 1, maxOverflow: 0 })
    const unlock = await lock('a.db')
    const autocommitting = new Session(engine, {}, { autocommit: true })

    const startedAt = performance.now()
    const ends = await Promise.all([
      settled(write(engine)),
      settled(engine.db.transaction((tx) => tx.run(sql`insert into t values (1)`))),
      settled(
        autocommitting.db
          .run(sql`insert into t values (1)`)
          .then(() => {})
          .finally(() => autocommitting.close()),
      ),
    ])
    await unlock()

    for (const { error } of ends) expect(causes(error)).toContainEqual(expect.any(TransactionConflictError))
    expect(Math.max(...ends.map(({ at }) => at)) - startedAt).toBeLessThan(TWICE)
  })

  it('does not count the wait for a connection while others write in turn', { tags: 'full' }, async () => {
    const engine = await open('a.db', 'timeout=3', { poolSize: 2, maxOverflow: 0 })

    const ends = await Promise.all(Array.from({ length: 8 }, () => settled(write(engine, 600))))

    expect(ends.map(({ error }) => error)).toEqual(ends.map(() => undefined))
  })
})

describe('a lock that is given free', () => {
  it.each(['delete', 'wal'])('lets sessions and statements in, and kept no reader out: %s', async (mode) => {
    await (await open('a.db', `journal_mode=${mode}`)).dispose()
    const engine = await open('a.db', 'timeout=30', { poolSize: 3, maxOverflow: 0 })
    const reading = new Session(engine, {})
    const unlock = await lock('a.db')

    const writing = [write(engine), engine.db.run(sql`insert into t values (1)`).then(() => {})]
    await reading.begin({ readOnly: true })
    expect(await reading.db.all(sql`select count(*) n from t`)).toEqual([{ n: 0 }])
    await reading.close()
    await sleep(50)
    await unlock()
    await Promise.all(writing)

    expect(await engine.db.all(sql`select count(*) n from t`)).toEqual([{ n: 2 }])
  })

  it('lets readers in that an exclusive lock kept out', async () => {
    const engine = await open('a.db', 'timeout=30')
    const other = createClient({ url: urlOf('a.db'), concurrency: 1 })
    const exclusive = await other.transaction('deferred')
    await exclusive.executeMultiple('rollback; begin exclusive')
    const session = new Session(engine, {})

    const answers = [
      engine.db.all(sql`select count(*) n from t`),
      session.begin({ readOnly: true }).then(() => session.db.all(sql`select count(*) n from t`)),
    ]
    expect(await Promise.race([Promise.any(answers), sleep(200, 'waiting')])).toBe('waiting')
    await exclusive.rollback()

    expect(await Promise.all(answers)).toEqual([[{ n: 0 }], [{ n: 0 }]])
    await session.close()
    other.close()
  })
})
