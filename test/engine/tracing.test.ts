/** What those who listen to the tracing channels are told, on each database. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { tracingChannel } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import { ConnectionLostError, type PostgresJsHandle, type Session, SessionManager } from 'drizzle-celery'
import { DatabaseBackend } from 'drizzle-celery/backend'
import type { ResultModels } from 'drizzle-celery/models/postgresql'
import { like, sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createMysql, createPostgres, describeNeeding } from '../fixtures/servers.ts'

const NAMES = ['connect', 'checkout', 'statement', 'transaction', 'session', 'prepare', 'store'] as const
type Name = (typeof NAMES)[number]
type Context = Record<string, unknown>

interface Seen {
  readonly name: Name
  readonly context: Context
}

const CANARY = 'canary-parameter'

/** Listens to all channels until it is stopped. */
function listen(names: readonly Name[] = NAMES) {
  const begun: Seen[] = []
  const ended: Seen[] = []
  const stops = names.map((name) => {
    const channel = tracingChannel<unknown, Context>(`drizzle-celery:${name}`)
    const handlers = {
      start: (context: Context) => void begun.push({ name, context }),
      end() {},
      asyncStart() {},
      asyncEnd: (context: Context) => void ended.push({ name, context }),
      error() {},
    }
    channel.subscribe(handlers)
    return () => channel.unsubscribe(handlers)
  })
  const of = (name: Name) => ended.flatMap((seen) => (seen.name === name ? [seen.context] : []))
  return { begun, ended, of, stop: () => stops.map((stop) => stop()) }
}

interface Subject {
  create(): Promise<{ dburi: string; drop(): Promise<unknown> }>
  readonly context: Context
  readonly noTable: string
  readonly placeholder: string
  /** Whether its driver gives rows one by one. @default true */
  readonly streams?: boolean
}

const inProcess = { serverAddress: null, serverPort: null }

describeNeeding('postgresql', 'PostgreSQL', () => {
  const { hostname, port } = new URL(process.env['POSTGRES_URL'] ?? 'postgresql://h:1')
  const subject = {
    context: { dialect: 'postgresql', serverAddress: hostname, serverPort: Number(port) },
    noTable: '42P01',
    placeholder: '$1',
  }
  seenOn('postgres-js', { ...subject, create: () => createPostgres() })
  seenOn('pg', { ...subject, create: () => createPostgres({ scheme: 'postgresql+pg' }) })
})
describeNeeding('mysql', 'MySQL', () => {
  const { hostname, port } = new URL(process.env['MYSQL_URL'] ?? 'mysql://h:1')
  seenOn('mysql2', {
    create: createMysql,
    context: { dialect: 'mysql', serverAddress: hostname, serverPort: Number(port || 3_306) },
    noTable: 'ER_NO_SUCH_TABLE',
    placeholder: '?',
  })
})
seenOn('libsql', {
  create: async () => ({ dburi: ':memory:', drop: async () => {} }),
  context: { dialect: 'sqlite', database: null, ...inProcess },
  noTable: 'SQLITE_ERROR',
  placeholder: '?',
  streams: false,
})
seenOn('pglite', {
  create: async () => ({ dburi: 'pglite:', drop: async () => {} }),
  context: { dialect: 'postgresql', database: null, ...inProcess },
  noTable: '42P01',
  placeholder: '$1',
})

function seenOn(name: string, { create, context, noTable, placeholder, streams = true }: Subject): void {
  describe(`the tracing channels on ${name}`, () => {
    let dburi: string
    let drop: () => Promise<unknown>
    let manager: SessionManager
    let seen: ReturnType<typeof listen>

    let inserted = 0

    beforeAll(async () => {
      ;({ dburi, drop } = await create())
      manager = new SessionManager()
      await inSession(async () => {})
    })
    afterEach(() => seen.stop())
    afterAll(async () => {
      await manager.dispose({ grace: 0 })
      await drop()
    })

    const inSession = (
      work: (session: Session<'postgresql', PostgresJsHandle, ResultModels>) => Promise<unknown>,
      by = manager,
    ) => by.session(dburi, (_, session) => work(session as never))
    const insert = ({ db, models }: Session<'postgresql', PostgresJsHandle, ResultModels>) =>
      db.insert(models.task).values({ taskId: `${CANARY}-${inserted++}`, status: 'SUCCESS' })
    const shared = async () => (await manager.getEngine(dburi)).db as unknown as PostgresJsHandle

    it('tell of connecting, preparing, the session, its transaction and its statements, each with its database', async () => {
      await using fresh = new SessionManager()
      seen = listen()
      await inSession(async (session) => {
        await insert(session)
        await session.db.select().from(session.models.task)
      }, fresh)

      for (const each of ['connect', 'checkout', 'statement', 'transaction', 'prepare'] as const) {
        expect(seen.of(each)).not.toEqual([])
        for (const told of seen.of(each))
          expect(told).toMatchObject({
            ...context,
            durationMs: expect.any(Number),
            dburi: expect.any(String),
          })
      }
      expect(seen.of('session')).toMatchObject([{ durationMs: expect.any(Number) }])
      expect(seen.of('prepare')).toMatchObject([{ created: expect.any(Number) }])
      expect(seen.of('transaction').at(-1)).toMatchObject({ depth: 0, outcome: 'commit' })
      expect(seen.of('statement').slice(-2)).toMatchObject([
        { operation: 'INSERT', rows: 1, isParameterized: true, poolWaitMs: expect.any(Number) },
        { operation: 'SELECT', rows: 1, isParameterized: false },
      ])
      expect(seen.begun.length).toBe(seen.ended.length)
    })

    it('tell texts with placeholders, and never a parameter', async () => {
      seen = listen()
      await inSession(insert)
      const db = await shared()
      await Promise.resolve(db.select({ v: sql`${CANARY}` }).from(sql`no_such_table`)).catch(() => {})

      expect(seen.of('statement').at(-1)).toMatchObject({
        text: `select ${placeholder} from no_such_table`,
        errorCode: noTable,
        isServerError: true,
        error: expect.any(Error),
      })
      expect(inspect(seen.ended, { depth: 12, showHidden: true })).not.toContain(CANARY)
    })

    it('tell of savepoints and of what was rolled back', async () => {
      await inSession(insert)
      seen = listen(['transaction'])
      const undone = inSession(async ({ db }) => {
        await db.transaction(async (tx) => void (await tx.select({ v: sql`1` }).from(sql`(select 1) as t`)))
        throw new Error('changed my mind')
      })
      await expect(undone).rejects.toThrow('changed my mind')

      expect(seen.of('transaction')).toMatchObject([
        { depth: 1, outcome: 'commit' },
        { depth: 0, outcome: 'rollback', isolationLevel: null, readOnly: false },
      ])
    })

    it('tell of stores, without ids, states and results', async () => {
      const backend = new DatabaseBackend(dburi, { manager })
      await backend.storeResult('warm', null, 'SUCCESS')
      seen = listen()
      await backend.storeResult(CANARY, { secret: CANARY }, 'SUCCESS')

      expect(seen.of('store')).toMatchObject([{ ...context, count: 1 }])
      expect(inspect(seen.ended, { depth: 12 })).not.toContain(CANARY)
    })

    if (streams) {
      it('tell of a stream as of one statement, which lasts until its last row was fetched or the loop is left', async () => {
        await inSession(({ db, models }) =>
          db
            .insert(models.task)
            .values(Array.from({ length: 25 }, (_, index) => ({ taskId: `task-${index}` }))),
        )
        seen = listen(['statement'])
        await inSession(async (session) => {
          const { task } = session.models
          const query = () => session.db.select().from(task).where(like(task.taskId, 'task-%'))
          const endedAt: number[] = []
          for await (const _ of session.stream(query(), { batch: 10 }))
            endedAt.push(seen.of('statement').length)
          expect(endedAt[0]).toBe(0)
          expect(seen.of('statement')).toHaveLength(1)

          for await (const _ of session.stream(query(), { batch: 10 })) break
        })

        const told = { operation: 'SELECT', text: expect.stringMatching(/^select /) }
        // MySQL sends rows as they come, so that more may be there than were asked for.
        expect(seen.of('statement')).toMatchObject([
          { ...told, rows: 25 },
          { ...told, rows: expect.any(Number) },
        ])
      })

      it('tell why a stream failed', async () => {
        await inSession(insert)
        seen = listen(['statement'])
        const failing = inSession(async (session) => {
          const query = session.db.select({ v: sql`1` }).from(sql`no_such_table`)
          for await (const _ of session.stream(query));
        })
        await expect(failing).rejects.toThrow(Error)

        expect(seen.of('statement').at(-1)).toMatchObject({ errorCode: noTable, isServerError: true })
        expect(seen.begun.length).toBe(seen.ended.length)
      })
    }

    it('carry the context of who listens into the work', async () => {
      await inSession(insert)
      seen = listen([])
      const storage = new AsyncLocalStorage<string>()
      const { start } = tracingChannel('drizzle-celery:session')
      start.bindStore(storage, () => 'in the session')
      try {
        const inside = await inSession(async ({ db }) => {
          await db.select({ v: sql`1` }).from(sql`(select 1) as t`)
          return storage.getStore()
        })
        expect(inside).toBe('in the session')
        expect(storage.getStore()).toBeUndefined()
      } finally {
        start.unbindStore(storage)
      }
    })

    it('change nothing in what is answered or thrown', async () => {
      const db = await shared()
      const read = () => db.select({ v: sql`1` }).from(sql`(select 1) as t`)
      const fail = () => Promise.resolve(db.select({ v: sql`1` }).from(sql`nowhere`)).catch((error) => error)
      seen = listen([])
      const [rows, error] = [await read(), await fail()]
      seen = listen()

      expect(await read()).toEqual(rows)
      expect((await fail()).message).toBe(error.message)
    })
  })
}

describe('the tracing channels', () => {
  it('tell why no connection was opened, and who got none', async () => {
    await using manager = new SessionManager({ prepare: 'none' })
    const seen = listen()
    const engine = await manager.getEngine('postgresql://ann:canary@127.0.0.1:1/none')
    await engine.connect().catch(() => {})
    seen.stop()

    const failure = { errorCode: 'ECONNREFUSED', serverAddress: '127.0.0.1', serverPort: 1, database: 'none' }
    expect(seen.of('connect')).toMatchObject([failure])
    expect(seen.of('checkout')).toMatchObject([{ ...failure, holder: 'lease' }])
    expect(inspect(seen.ended, { depth: 12 })).not.toContain('canary')
  })

  it('tell of the wait for a connection', async () => {
    await using manager = new SessionManager({ prepare: 'none', engineOptions: { poolTimeout: 0.05 } })
    const engine = await manager.getEngine(':memory:')
    await using _held = await engine.connect()
    const seen = listen()
    await Promise.resolve(engine.db.run('select 1')).catch(() => {})
    seen.stop()

    expect(seen.of('checkout')).toMatchObject([
      { holder: 'statement', errorCode: 'POOL_TIMEOUT', isServerError: false },
    ])
    expect(seen.of('statement')).toEqual([])
  })

  it('name an error of this library by its code', async () => {
    const seen = listen()
    await using manager = new SessionManager({ prepare: 'none' })
    const lost = new ConnectionLostError('gone')
    await manager.session(':memory:', async () => Promise.reject(lost)).catch(() => {})
    seen.stop()

    expect(seen.of('session')).toMatchObject([
      { error: lost, errorCode: 'CONNECTION_LOST', isServerError: false },
    ])
  })
})
