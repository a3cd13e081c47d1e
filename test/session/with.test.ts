import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import {
  AbortedError,
  causes,
  PendingRollbackError,
  SessionManager,
  StatementTimeoutError,
} from 'drizzle-celery'
import { type SQL, sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FaultProxy } from '../fixtures/fault-proxy.ts'
import { createMysql, createPostgres, describeNeeding } from '../fixtures/servers.ts'

interface Runs {
  execute(query: SQL): PromiseLike<unknown>
  transaction(work: (tx: Runs) => Promise<unknown>): Promise<unknown>
}

/** The first that a session is asked for. */
const FIRST: Readonly<Record<string, (db: Runs) => PromiseLike<unknown>>> = {
  'a statement': (db) => db.execute(sql`select 1`),
  'a nested transaction': (db) => db.transaction(async (tx) => tx.execute(sql`select 1`)),
}

/** Whatever it is wrapped in. */
const rejection = (work: PromiseLike<unknown>, kind: new (...args: never[]) => Error) =>
  expect(Promise.resolve(work).catch((error: unknown) => causes(error))).resolves.toContainEqual(
    expect.any(kind),
  )

const servers = [
  ['postgresql', 'PostgreSQL', () => createPostgres(), sql`select pg_sleep(20)`],
  [
    'postgresql',
    'PostgreSQL by pg',
    () => createPostgres({ scheme: 'postgresql+pg' }),
    sql`select pg_sleep(20)`,
  ],
  ['mysql', 'MySQL or MariaDB', createMysql, sql`select sleep(20)`],
] as const

for (const [dialect, title, create, sleep] of servers) {
  describeNeeding(dialect, title, () => {
    describe('statements with a signal or a deadline of their own', () => {
      it('are stopped in a session, which then wants a rollback and goes on', async () => {
        await using database = await create()
        await using manager = new SessionManager()
        const session = await manager.sessionFactory(database.dburi)
        const { signal, abort } = controllable()
        const running = (session.with({ signal }).db as Runs).execute(sleep)
        const stopped = rejection(running, AbortedError)
        await setTimeout(100)
        abort()

        await stopped
        await expect(session.commit()).rejects.toThrow(PendingRollbackError)
        await session.rollback()
        await rejection(
          (session.with({ statementTimeout: 0.05 }).db as Runs).execute(sleep),
          StatementTimeoutError,
        )
        await session.rollback()
        await (session.db as unknown as Runs).execute(sql`select 1`)
        await session.close()
      })

      it.each(Object.entries(FIRST))(
        'are given up at their deadline where BEGIN gets no answer, and the session goes on: %s',
        async (_first, work) => {
          await using database = await create()
          await using proxy = await FaultProxy.before(database.dburi)
          // A ping before BEGIN would have a deadline of its own.
          const engineOptions = { poolPrePing: false }
          await using manager = new SessionManager({ prepare: 'none', engineOptions })
          const session = await manager.sessionFactory(proxy.dburi)
          await (session.db as unknown as Runs).execute(sql`select 1`)
          await session.commit()
          proxy.mode = 'blackhole'
          await rejection(work(session.with({ statementTimeout: 0.05 }).db as Runs), StatementTimeoutError)
          proxy.mode = 'pass'
          await session.rollback()

          await (session.db as unknown as Runs).execute(sql`select 1`)
          await session.close()
        },
      )

      it('are stopped on an engine, whose others go on', async () => {
        await using database = await create()
        await using manager = new SessionManager()
        const engine = await manager.getEngine(database.dburi)
        const { signal, abort } = controllable()
        const stopped = rejection((engine.with({ signal }).db as Runs).execute(sleep), AbortedError)
        await rejection(
          (engine.with({ statementTimeout: 0.05 }).db as Runs).execute(sleep),
          StatementTimeoutError,
        )
        abort()

        await stopped
        await (engine.db as unknown as Runs).execute(sql`select 1`)
      })

      it('leave the queue of the pool when their signal is aborted', async () => {
        await using database = await create()
        await using manager = new SessionManager()
        const engine = await manager.getEngine(database.dburi, { poolSize: 1, maxOverflow: 0 })
        const connection = await engine.connect()
        const { signal, abort } = controllable()
        const waiting = rejection((engine.with({ signal }).db as Runs).execute(sql`select 1`), AbortedError)
        await expect.poll(() => engine.stats().waiting).toBe(1)
        abort()

        await waiting
        expect(engine.stats().waiting).toBe(0)
        await connection.close()
      })
    })
  })
}

describe('on a SQLite file, statements with a signal or a deadline of their own', () => {
  let directory: string
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-test-'))
  })
  afterAll(() => rmSync(directory, { recursive: true }))

  it('end the BEGIN that they share with others only for themselves', async () => {
    const dburi = `file:${join(directory, 'shared.db')}` as const
    await using writer = new SessionManager()
    await using manager = new SessionManager({ prepare: 'none' })
    const holds = await writer.sessionFactory(dburi)
    await holds.db.insert(holds.models.task).values({ taskId: 'held' })
    const session = await manager.sessionFactory(dburi)
    const write = sql`update celery_taskmeta set status = 'SUCCESS'`
    const hasty = session.with({ statementTimeout: 0.05 }).db.run(write).then()
    const others = [session.db.run(write).then(), session.with({ statementTimeout: 60 }).db.run(write).then()]

    await rejection(hasty, StatementTimeoutError)
    await holds.commit()
    await Promise.all(others)
    await session.commit()
    await session.close()
    await holds.close()
  })

  it('wait no longer for the lock of another writer in a transaction of a session that autocommits', async () => {
    const dburi = `file:${join(directory, 'autocommit.db')}` as const
    await using writer = new SessionManager()
    await using manager = new SessionManager({ prepare: 'none' })
    const holds = await writer.sessionFactory(dburi)
    await holds.db.insert(holds.models.task).values({ taskId: 'held' })
    const session = await manager.sessionFactory(dburi, { autocommit: true })
    const { db } = session.with({ statementTimeout: 0.05 })

    await rejection(
      db.transaction((tx) => tx.run(sql`update celery_taskmeta set status = 'SUCCESS'`).then()),
      StatementTimeoutError,
    )
    await session.close()
    await holds.close()
  })

  it('wait no longer for the lock of another writer, and others go on', { tags: 'full' }, async () => {
    const dburi = `file:${join(directory, 'locked.db')}` as const
    await using writer = new SessionManager()
    await using manager = new SessionManager()
    const engine = await manager.getEngine(dburi)
    await manager.prepareModels(engine)
    const holds = await writer.sessionFactory(dburi)
    await holds.db.insert(holds.models.task).values({ taskId: 'held' })

    const write = sql`update celery_taskmeta set status = 'SUCCESS'`
    const ends = [
      [() => ({ statementTimeout: 0.05 }), StatementTimeoutError],
      [() => ({ signal: AbortSignal.timeout(50) }), AbortedError],
    ] as const
    for (const [options, kind] of ends) {
      await rejection(engine.with(options()).db.run(write), kind)
      const session = await manager.sessionFactory(dburi)
      await rejection(session.with(options()).db.run(write), kind)
      await session.close()
    }
    await holds.commit()

    expect(await engine.db.run(write)).toMatchObject({ rowsAffected: 1 })
    await holds.close()
  })
})

function controllable(): { signal: AbortSignal; abort(): void } {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort(new Error('changed my mind')) }
}
