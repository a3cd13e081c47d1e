import {
  AbortedError,
  causes,
  OptionError,
  type PostgresJsHandle,
  type Session,
  SessionManager,
  StatementError,
} from 'drizzle-celery'
import type { ResultModels } from 'drizzle-celery/models/postgresql'
import { asc, gt, sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Subject } from './conformance.ts'

/** As in the other tests of all dialects: no type of Drizzle's says that these queries read the same. */
type AnySession = Session<'postgresql', PostgresJsHandle, ResultModels>

const ROWS = 60

/** What every adapter promises of rows that are streamed. */
export function streaming(name: string, subject: Subject): void {
  describe(`${name}: streams`, () => {
    let dburi: string
    let drop: () => Promise<void>
    let manager: SessionManager
    let models: ResultModels

    beforeAll(async () => {
      const created = await subject.create()
      dburi = created.dburi
      drop = created.drop
      manager = new SessionManager({ engineOptions: { poolTimeout: 5 } })
      models = await run(async ({ db, models }) => {
        const rows = Array.from({ length: ROWS }, (_, index) => ({
          taskId: `task-${index}`,
          status: index % 2 === 0 ? 'SUCCESS' : 'FAILURE',
          dateDone: new Date(Date.UTC(2026, 0, 1, 0, index)),
        }))
        for (const row of rows) await db.insert(models.task).values(row)
        return models
      })
    })

    afterAll(async () => {
      await manager?.dispose({ grace: 0 })
      await drop?.()
    })

    const run = <Result>(work: (session: AnySession) => Promise<Result>, options = {}): Promise<Result> =>
      manager.session(dburi, options, (_, session) => work(session as unknown as AnySession))
    const engine = async () => {
      const opened = await manager.getEngine(dburi)
      return Object.assign(opened, { shared: opened.db as unknown as PostgresJsHandle })
    }
    const all = (db: PostgresJsHandle) => db.select().from(models.task).orderBy(asc(models.task.id))
    const collect = async <Row>(rows: AsyncIterable<Row>) => {
      const collected: Row[] = []
      for await (const row of rows) collected.push(row)
      return collected
    }

    if (subject.streams === false) {
      it('are refused, where the driver gives all rows of a statement at once', async () => {
        await run(async (session) => {
          const refused = collect(session.stream(all(session.db)))
          await expect(refused.catch(causes)).resolves.toContainEqual(expect.any(StatementError))
          expect((await all(session.db)).length).toBe(ROWS)
        })
      })
      return
    }

    it.each([1, 7, ROWS, 500])('give the rows that the query gives, %i at a time', async (batch) => {
      await run(async (session) => {
        const expected = await all(session.db)
        expect(await collect(session.stream(all(session.db), { batch }))).toEqual(expected)
      })
    })

    it('map rows as Drizzle does: parts, joins, expressions, parameters', async () => {
      const { task } = models
      const query = (db: PostgresJsHandle) =>
        db
          .select({ id: task.id, nested: { done: task.dateDone, upper: sql<string>`upper(${task.status})` } })
          .from(task)
          .where(gt(task.id, 3))
          .orderBy(asc(task.id))
      await run(async (session) => {
        const expected = await query(session.db)
        expect(expected[0]?.nested.done).toBeInstanceOf(Date)
        expect(await collect(session.stream(query(session.db), { batch: 10 }))).toEqual(expected)
      })
    })

    it('give nothing where there is nothing', async () => {
      await run(async (session) => {
        const none = session.db.select().from(models.task).where(gt(models.task.id, 1_000_000))
        expect(await collect(session.stream(none))).toEqual([])
      })
    })

    it('see what their session has written, and leave its transaction as it was when the loop is left', async () => {
      await expect(
        run(async (session) => {
          await session.db.insert(models.task).values({ taskId: 'mine', status: 'SUCCESS' })
          for await (const row of session.stream(all(session.db), { batch: 5 })) {
            if (row.taskId === 'task-7') break
          }
          expect((await all(session.db)).at(-1)?.taskId).toBe('mine')
          expect((await collect(session.stream(all(session.db)))).at(-1)?.taskId).toBe('mine')
          throw new Error('changed my mind')
        }),
      ).rejects.toThrow('changed my mind')

      expect((await collect((await engine()).stream(all((await engine()).shared)))).length).toBe(ROWS)
    })

    it('hold one connection of an engine, and give it back at the end and when the loop is left', async () => {
      const opened = await engine()
      for await (const row of opened.stream(all(opened.shared), { batch: 5 })) {
        expect(opened.stats().checkedOut).toBe(1)
        if (row.taskId === 'task-7') break
      }
      expect(opened.stats()).toMatchObject({ checkedOut: 0, waiting: 0 })
      expect((await collect(opened.stream(all(opened.shared), { batch: 5 }))).length).toBe(ROWS)
      expect(opened.stats()).toMatchObject({ checkedOut: 0, waiting: 0 })
    })

    it('give the connection back when the loop throws', async () => {
      const opened = await engine()
      const failing = async () => {
        for await (const row of opened.stream(all(opened.shared), { batch: 5 }))
          if (row.taskId === 'task-7') throw new Error('changed my mind')
      }

      await expect(failing()).rejects.toThrow('changed my mind')
      expect(opened.stats()).toMatchObject({ checkedOut: 0 })
    })

    it('fail as the query does when they are refused', async () => {
      const wrong = (db: PostgresJsHandle) => db.select({ no: sql`no_such_column` }).from(models.task)
      const last = (error: unknown) => String(causes(error).at(-1))
      const plain = await run(({ db }) => wrong(db)).catch(last)
      const streamed = await run((session) => collect(session.stream(wrong(session.db)))).catch(last)

      expect(streamed).toContain('no_such_column')
      expect(streamed).toBe(plain)
    })

    it('stop at a signal', async () => {
      const controller = new AbortController()
      const opened = await engine()
      const { signal } = controller
      const rows = opened.with({ signal, statementTimeout: 20 }).stream(all(opened.shared), { batch: 5 })
      await rows.next()
      controller.abort(new Error('gone'))

      await expect(collect(rows).catch(causes)).resolves.toContainEqual(expect.any(AbortedError))
      await expect.poll(() => opened.stats().checkedOut).toBe(0)
    })

    it('are logged once, with the text of their query', async () => {
      const texts: string[] = []
      const logger = { logQuery: (text: string) => void texts.push(text) }
      await run(
        async (session) => {
          await collect(session.stream(all(session.db), { batch: 5 }))
          expect(texts).toEqual([all(session.db).toSQL().sql])
        },
        { logger },
      )
    })

    it('refuse what is no select, and a batch that is no number of rows', async () => {
      await run(async (session) => {
        const written = session.db.insert(models.task).values({ taskId: 'x' }) as never
        const wrong = [written, Promise.resolve([]), session.db.execute(sql`select 1`) as never]
        for (const each of wrong) {
          const refused = collect(session.stream(each))
          await expect(refused.catch(causes)).resolves.toContainEqual(expect.any(StatementError))
        }
        expect(() => session.stream(all(session.db), { batch: 0 })).toThrow(OptionError)
      })
    })

    it('want a transaction', async () => {
      await run(
        async (session) => {
          const refused = collect(session.stream(all(session.db)))
          await expect(refused.catch(causes)).resolves.toContainEqual(expect.any(StatementError))
          await session.begin()
          expect((await collect(session.stream(all(session.db)))).length).toBe(ROWS)
        },
        { autocommit: true },
      )
    })
  })
}
