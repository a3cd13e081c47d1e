import { setTimeout } from 'node:timers/promises'
import {
  AbortedError,
  causes,
  PendingRollbackError,
  SessionManager,
  StatementTimeoutError,
} from 'drizzle-celery'
import { type SQL, sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { createMysql, createPostgres, describeNeeding } from '../fixtures/servers.ts'

interface Runs {
  execute(query: SQL): PromiseLike<unknown>
}

/** Whatever it is wrapped in. */
const rejection = (work: PromiseLike<unknown>, kind: new (...args: never[]) => Error) =>
  expect(Promise.resolve(work).catch((error: unknown) => causes(error))).resolves.toContainEqual(
    expect.any(kind),
  )

const servers = [
  ['postgresql', 'PostgreSQL', createPostgres, sql`select pg_sleep(20)`],
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

function controllable(): { signal: AbortSignal; abort(): void } {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort(new Error('changed my mind')) }
}
