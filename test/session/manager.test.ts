import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import {
  type Adapter,
  ClosedError,
  DburiError,
  OptionError,
  registerAdapter,
  SessionManager,
} from 'drizzle-celery'
import { libsql } from 'drizzle-celery/adapters/libsql'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from '../adapters/conformance.ts'

// What Celery's own suite asks of its SessionManager (celery-contract.md §6, 56 to 76) has its counterpart here, by number.

setFlagsFromString('--expose-gc')
const gc: () => void = runInNewContext('gc')

let directory: string
let dburi: `file:${string}`
let manager: SessionManager

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-test-'))
  dburi = `file:${join(directory, 'results.db')}`
  manager = new SessionManager()
})

afterEach(async () => {
  await manager.dispose({ grace: 0 })
  rmSync(directory, { recursive: true })
})

describe('pooled', () => {
  it('keeps connections between sessions by default, and none when it is false (56, 58)', async () => {
    await using unpooled = new SessionManager({ pooled: false })
    for (const each of [manager, unpooled]) await each.session(dburi, (db) => db.run(sql`select 1`))

    await eventually(() => expect(manager.stats().engines).toMatchObject([{ open: 1 }]))
    await eventually(() => expect(unpooled.stats().engines).toMatchObject([{ open: 0 }]))
  })

  it('takes pool options that a manager without a pool has no use for (58, 65)', async () => {
    await using unpooled = new SessionManager({ pooled: false })
    await unpooled.session(dburi, { poolSize: 3, maxOverflow: 1, poolRecycle: 5, poolPrePing: true }, (db) =>
      db.run(sql`select 1`),
    )

    await eventually(() => expect(unpooled.stats().engines).toMatchObject([{ open: 0 }]))
  })
})

describe('getEngine', () => {
  it('gives the same engine for the same dburi, however it is written (57)', async () => {
    const engine = await manager.getEngine(dburi)
    const spellings = [dburi, `db+sqlite:///${dburi.slice(5)}`, `sqlite:///${dburi.slice(5)}`]

    for (const spelling of spellings) expect(await manager.getEngine(spelling)).toBe(engine)
    expect(await manager.getEngine(dburi, {})).toBe(engine)
  })

  it('gives another engine for other options, and the same for the same ones (57)', async () => {
    const password = () => 'secret'
    const engine = await manager.getEngine(dburi, { poolSize: 2 })

    expect(await manager.getEngine(dburi, { poolSize: 2 })).toBe(engine)
    expect(await manager.getEngine(dburi, { poolSize: 3 })).not.toBe(engine)
    expect(await manager.getEngine(dburi)).not.toBe(engine)
    expect(await manager.getEngine(':memory:', { poolSize: 1, statementTimeout: 5 })).toBe(
      await manager.getEngine(':memory:', { statementTimeout: 5, poolSize: 1 }),
    )
    expect(await manager.getEngine('libsql://h', { password })).toBe(
      await manager.getEngine('libsql://h', { password }),
    )
    expect(await manager.getEngine('libsql://h', { password })).not.toBe(
      await manager.getEngine('libsql://h', { password: () => 'secret' }),
    )
  })

  it('shares one opening among concurrent callers', async () => {
    const engines = await Promise.all(Array.from({ length: 1_000 }, () => manager.getEngine(dburi)))

    expect(new Set(engines).size).toBe(1)
  })

  it('forgets an opening that failed', async () => {
    let attempts = 0
    await using failing = new SessionManager({
      engineCallback: () => {
        if (attempts++ === 0) throw new Error('not yet')
      },
    })
    const results = await Promise.allSettled([failing.getEngine(dburi), failing.getEngine(dburi)])

    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    await expect(failing.getEngine(dburi)).resolves.toBeDefined()
    expect(attempts).toBe(2)
  })

  it('refuses a dburi or an option it does not understand, and keeps nothing', async () => {
    // @ts-expect-error: the compiler says so too
    await expect(manager.getEngine('no dburi')).rejects.toBeInstanceOf(DburiError)
    // @ts-expect-error: here as well
    await expect(manager.getEngine('mssql://u@h/db')).rejects.toHaveProperty('code', 'UNSUPPORTED_DIALECT')
    await expect(manager.getEngine(dburi, { poolSize: 0 })).rejects.toHaveProperty('option', 'poolSize')
    await expect(manager.getEngine(`${dburi}?pool_size=many`)).rejects.toHaveProperty('option', 'pool_size')
    await expect(manager.getEngine(`${dburi}?no_such_thing=1`)).rejects.toBeInstanceOf(OptionError)
    await expect(manager.getEngine(dburi, { statementTimeout: -1 })).rejects.toBeInstanceOf(OptionError)

    expect(manager.stats().engines).toEqual([])
  })

  it('lets options given with it overrule those of the manager and of the dburi', async () => {
    const seen: number[] = []
    await using outer = new SessionManager({
      engineOptions: { poolTimeout: 0.05, poolSize: 1, maxOverflow: 0 },
    })
    for (const options of [{}, { poolSize: 2 }]) {
      const engine = await outer.getEngine(`${dburi}?pool_size=9`, options)
      const held = []
      for (;;) {
        const connection = await engine.connect().catch(() => null)
        if (connection === null) break
        held.push(connection)
      }
      seen.push(held.length)
      await Promise.all(held.map((connection) => connection.close()))
    }

    expect(seen).toEqual([1, 2])
  })
})

describe('an engine that is disposed of', () => {
  it('is followed by another one, for later callers', async () => {
    const first = await manager.getEngine(dburi)
    await manager.session(dburi, (db, { models }) => db.insert(models.task).values({ taskId: 'a' }))
    await first.dispose()
    const again = await manager.getEngine(dburi)
    const count = await manager.session(dburi, (db, { models }) => db.$count(models.task))

    expect(again).not.toBe(first)
    expect(again.isDisposed).toBe(false)
    expect(count).toBe(1)
    expect(manager.stats().engines).toHaveLength(1)
  })

  it('is followed by another one at once, and waited for by dispose() of its manager', async () => {
    const first = await manager.getEngine(dburi)
    const held = await first.connect()
    const disposed = first.dispose({ grace: 5 })
    const again = await manager.getEngine(dburi)
    await again.db.run(sql`select 1`)
    const all = manager.dispose().then(() => first.stats().open)
    await held.close()

    expect(await all).toBe(0)
    await disposed
  })

  it('gives a session that is opened meanwhile the next one', async () => {
    await using disposing = new SessionManager({
      engineCallback: (engine) => {
        engines++
        if (engines < 3) void engine.dispose()
      },
    })
    let engines = 0
    await using session = await disposing.sessionFactory(dburi)

    expect(await session.db.$count(session.models.task)).toBe(0)
    expect(engines).toBe(3)
  })

  it('takes a database in memory with it', async () => {
    const create = sql`create table made (id int)`
    await using first = await manager.getEngine(':memory:')
    await first.db.run(create)
    await first.dispose()

    await expect((await manager.getEngine(':memory:')).db.run(create)).resolves.toBeDefined()
  })

  it('lets a PGlite directory be opened again', { tags: 'full', timeout: 90_000 }, async () => {
    const pglite = `pglite:${join(directory, 'pglite')}` as const
    const first = await manager.getEngine(pglite)
    await first.db.execute(sql`create table made (id int)`)
    const held = await first.connect()
    const disposed = first.dispose({ grace: 5 })
    const opening = manager.getEngine(pglite).then((engine) => engine.db.execute(sql`select * from made`))
    await held.close()

    expect(await opening).toHaveLength(0)
    await disposed
  })
})

describe('statementTimeout', () => {
  it('opens no other database: the same options give the same engine everywhere', async () => {
    const options = { statementTimeout: 5, poolSize: 2 }
    const engine = await manager.getEngine(':memory:', options)
    const plain = await manager.getEngine(':memory:', { poolSize: 2 })
    await engine.db.run(sql`create table made (id int)`)
    const session = await manager.sessionFactory(':memory:', options)
    const { engine: made, sessionMaker } = await manager.createSession(':memory:', options)
    const other = sessionMaker()

    expect([session.engine, made, other.engine]).toEqual([engine, engine, engine])
    for (const { db } of [plain, made, session]) expect(await db.all(sql`select * from made`)).toEqual([])
    await Promise.all([session.close(), other.close()])
    expect(manager.stats().engines).toEqual([engine.stats()])
  })

  it('makes no engine of a session, nor another one of the same deadline', async () => {
    const engines = []
    for (const options of [{ statementTimeout: 1 }, { statementTimeout: 2 }, {}, { statementTimeout: 1 }]) {
      await using session = await manager.sessionFactory(dburi, options)
      engines.push(session.engine)
    }
    const [first, second, plain, again] = engines

    expect(again).toBe(first)
    expect(plain).toBe(await manager.getEngine(dburi))
    expect([first, second, plain].map((engine) => engine?.limits.statementTimeout)).toEqual([1, 2, undefined])
    expect(manager.stats().engines).toHaveLength(1)
  })

  it('prepares the models once, and disposes of all engines of a database together', async () => {
    const options = { statementTimeout: 5 }
    const engine = await manager.getEngine(dburi, options)
    const report = await manager.prepareModels(engine)
    await using session = await manager.sessionFactory(dburi, { statementTimeout: 3 })
    await session.close()

    expect(await manager.prepareModels(await manager.getEngine(dburi))).toBe(report)
    await engine.dispose()
    expect((await manager.getEngine(dburi, options)).isDisposed).toBe(false)
  })
})

describe('createSession', () => {
  it('gives the engine and a maker of sessions on it (62)', async () => {
    const { engine, sessionMaker } = await manager.createSession(dburi)
    const [one, other] = [sessionMaker(), sessionMaker()]

    expect(engine).toBe(await manager.getEngine(dburi))
    expect(one).not.toBe(other)
    expect(one.engine).toBe(engine)
    await Promise.all([one.close(), other.close()])
  })

  it('gives short-lived sessions on the same engine, each with a connection of its own (62)', async () => {
    const { engine, sessionMaker } = await manager.createSession(dburi, { shortLivedSessions: true })
    expect(engine).toBe(await manager.getEngine(dburi))
    const sessions = [sessionMaker(), sessionMaker()]
    for (const session of sessions) {
      await session.begin({ readOnly: true })
      await session.db.run(sql`select 1`)
    }
    expect(engine.stats()).toMatchObject({ open: 2, checkedOut: 2 })
    await Promise.all(sessions.map((session) => session.close()))

    await eventually(() => expect(engine.stats()).toMatchObject({ open: 0, checkedOut: 0 }))
  })
})

describe('prepareModels', () => {
  it('prepares each database once, however many sessions are opened at the same time', async () => {
    const other = `file:${join(directory, 'other.db')}` as const
    const sessions = await Promise.all(
      [dburi, other, dburi, other].map((each) => manager.sessionFactory(each)),
    )
    const reports = await Promise.all(
      [dburi, other].map(async (each) => manager.prepareModels(await manager.getEngine(each))),
    )

    expect(reports[0]).not.toBe(reports[1])
    for (const { created } of reports) expect(created).toEqual(['celery_taskmeta', 'celery_tasksetmeta'])
    expect(await manager.prepareModels(await manager.getEngine(dburi))).toBe(reports[0])
    await Promise.all(sessions.map((session) => session.close()))
  })

  it('is tried again after it failed', async () => {
    const missing = `file:${join(directory, 'missing/results.db')}` as const
    await expect(manager.sessionFactory(missing)).rejects.toThrow()
    await expect(manager.sessionFactory(missing)).rejects.toThrow()
  })

  it('refuses a dialect for which there are no models', async () => {
    await using postgresqlOnly = new SessionManager({ models: { postgresql: {} } })

    // @ts-expect-error: the compiler says so too
    await expect(postgresqlOnly.sessionFactory(dburi)).rejects.toHaveProperty('code', 'NO_MODELS')
  })
})

describe('engineCallback', () => {
  it('is called with each engine that is opened, once, and before its models are prepared (66, 68, 72, 75, 76)', async () => {
    const events: string[] = []
    await using called = new SessionManager({
      engineCallback: async (engine) => {
        await Promise.resolve()
        events.push(engine.dialect, `open ${engine.stats().open}`)
      },
    })
    await called.sessionFactory(dburi)
    await called.sessionFactory(dburi)

    expect(events).toEqual(['sqlite', 'open 0'])
  })

  it('is called without a pool, too, and again after invalidate (73, 74)', async () => {
    let calls = 0
    await using called = new SessionManager({ pooled: false, engineCallback: () => void calls++ })
    await called.getEngine(dburi)
    await called.getEngine(dburi)
    expect(calls).toBe(1)
    await called.invalidate(dburi)
    await called.getEngine(dburi)

    expect(calls).toBe(2)
  })
})

describe('invalidate', () => {
  it('forgets and disposes of the engines of a dburi, whatever their options (59, 61)', async () => {
    const engines = [await manager.getEngine(dburi), await manager.getEngine(dburi, { poolSize: 2 })]
    const other = await manager.getEngine(':memory:')
    await manager.invalidate(`db+sqlite:///${dburi.slice(5)}`)

    expect(engines.map((engine) => engine.isDisposed)).toEqual([true, true])
    expect(other.isDisposed).toBe(false)
    expect(await manager.getEngine(dburi)).not.toBe(engines[0])
  })

  it('does nothing for a dburi that is not known (60)', async () => {
    await manager.invalidate(dburi)
  })

  it('lets current users finish, and prepares the new one again', async () => {
    const session = await manager.sessionFactory(dburi)
    await session.db.insert(session.models.task).values({ taskId: 'a' })
    const invalidated = manager.invalidate(dburi)
    await session.commit()
    await session.close()
    await invalidated
    const report = await manager.prepareModels(await manager.getEngine(dburi))

    expect(report.present).toEqual(['celery_taskmeta', 'celery_tasksetmeta'])
    const again = await manager.sessionFactory(dburi)
    expect(await again.db.select().from(again.models.task)).toHaveLength(1)
    await again.close()
  })
})

describe('prepareModels with options', () => {
  it('runs again, and leaves the manager’s own preparation to sessions', async () => {
    const engine = await manager.getEngine(dburi)

    const checked = await manager.prepareModels(engine, { prepare: 'check' })
    const count = await manager.session(dburi, async (db, { models }) => db.$count(models.task))

    expect(checked).toMatchObject({ created: [], missing: ['celery_taskmeta', 'celery_tasksetmeta'] })
    expect(count).toBe(0)
  })

  it("keeps to the manager's options where it is given none", async () => {
    await using idle = new SessionManager({ prepare: 'none' })
    const engine = await idle.getEngine(dburi)

    const report = await idle.prepareModels(engine, { prepare: undefined, onDifference: 'error' })

    expect(report).toMatchObject({ created: [], missing: [], present: [] })
  })
})

describe('maxEngines', () => {
  it('disposes of the least recently used engine that nobody uses', async () => {
    await using few = new SessionManager({ maxEngines: 2 })
    const at = (name: string) => `file:${join(directory, name)}` as const
    const busy = await few.sessionFactory(at('busy'))
    const second = await few.getEngine(at('second'))
    const third = await few.getEngine(at('third'))

    expect(busy.engine.isDisposed).toBe(false)
    expect(second.isDisposed).toBe(true)
    expect(third.isDisposed).toBe(false)
    expect(few.stats().engines).toHaveLength(2)
    await busy.close()
    await few.getEngine(at('fourth'))
    expect(busy.engine.isDisposed).toBe(true)
  })

  it('disposes of an engine whose only session was never used and is collected, without a warning', {
    tags: 'full',
  }, async () => {
    const warnings: Error[] = []
    const onWarning = (warning: Error) => warnings.push(warning)
    process.on('warning', onWarning)
    await using few = new SessionManager({ maxEngines: 1 })
    const engine = await few.getEngine(`file:${join(directory, 'forgotten')}`)
    await (async () => {
      await few.sessionFactory(`file:${join(directory, 'forgotten')}`)
    })()
    // What is young is held for a second.
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    await eventually(() => {
      gc()
      expect(engine.isIdle).toBe(true)
    })
    await few.getEngine(`file:${join(directory, 'next')}`)
    process.off('warning', onWarning)

    expect(engine.isDisposed).toBe(true)
    expect(warnings).toEqual([])
  })

  it('leaves an engine alone while a session on it is being made', async () => {
    await using few = new SessionManager({ maxEngines: 1 })
    await few.getEngine(`file:${join(directory, 'made')}`)

    const making = few.sessionFactory(`file:${join(directory, 'made')}`)
    await few.getEngine(`file:${join(directory, 'other')}`)
    await using session = await making

    expect(await session.db.$count(session.models.task)).toBe(0)
  })
})

describe('dispose', () => {
  it('closes every engine once, also those that are being opened, and refuses what comes later', async () => {
    const opening = manager.getEngine(dburi)
    const disposed = manager.dispose()
    expect(manager.dispose()).toBe(disposed)
    await disposed

    expect((await opening).isDisposed).toBe(true)
    await expect(manager.getEngine(dburi)).rejects.toBeInstanceOf(ClosedError)
    await expect(manager.sessionFactory(dburi)).rejects.toBeInstanceOf(ClosedError)
    await expect(manager.session(dburi, async () => {})).rejects.toBeInstanceOf(ClosedError)
    expect((await opening).stats().open).toBe(0)
  })
})

describe('registerAdapter', () => {
  it("opens a third party's scheme, and refuses one that is taken", async () => {
    const adapter: Adapter = { dialect: 'sqlite', open: (_, options) => libsql.open(memory, options) }
    registerAdapter('thirdparty', { dialect: 'sqlite', load: async () => adapter })
    const session = await manager.sessionFactory('thirdparty://host/database' as string)

    expect(session.dialect).toBe('sqlite')
    await session.close()
    for (const taken of ['thirdparty', 'postgresql', 'file']) {
      expect(() => registerAdapter(taken, { dialect: 'sqlite', load: async () => adapter })).toThrow(
        /has one already/,
      )
    }
  })

  const memory = {
    ...({ dialect: 'sqlite', driver: 'libsql', dbapi: null, host: null, port: null } as const),
    ...({ user: null, password: null, database: ':memory:', options: {}, memory: true } as const),
  }
})

it('shows no secret of its dburis', async () => {
  const canary = 'canary-7f3a9c'
  const engine = await manager.getEngine(`libsql://host?authToken=${canary}`)
  const session = (await manager.createSession(`libsql://host?authToken=${canary}`)).sessionMaker()
  for (const shown of [manager, engine, engine.db, session, session.db, manager.stats()]) {
    expect(inspect(shown, { depth: 10, showHidden: true })).not.toContain(canary)
  }
  for (const shown of [manager, engine, session, manager.stats()])
    expect(JSON.stringify(shown)).not.toContain(canary)
  await session.close()
})

it('opens sessions where a program has put another class in the place of Promise', async () => {
  const { Promise: known } = globalThis
  // As zone.js and bluebird do: what an async function returns is none of it.
  globalThis.Promise = class extends known<unknown> {} as PromiseConstructor
  try {
    const inTransaction = await manager.session(dburi, async (db, session) => {
      await db.run(sql`select 1`)
      return session.inTransaction
    })

    expect(inTransaction).toBe(true)
  } finally {
    globalThis.Promise = known
  }
})
