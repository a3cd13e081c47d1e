import {
  causes,
  insertMany,
  OptionError,
  type PostgresJsHandle,
  type Session,
  SessionManager,
} from 'drizzle-celery'
import type { ResultModels } from 'drizzle-celery/models/postgresql'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loops } from '../fixtures/loops.ts'
import type { Subject } from './conformance.ts'

/** As in the other tests of all dialects: no type of Drizzle's says that these queries read the same. */
type AnySession = Session<'postgresql', PostgresJsHandle, ResultModels>

/** More than have room in one statement. */
const ROWS = loops(9_000, 1_000_000)

/** What every adapter promises of many rows that are inserted. */
export function insertingMany(name: string, subject: Subject): void {
  describe(`${name}: many rows`, () => {
    let dburi: string
    let drop: () => Promise<void>
    let manager: SessionManager

    beforeEach(async () => {
      const created = await subject.create()
      dburi = created.dburi
      drop = created.drop
      manager = new SessionManager({ engineOptions: { poolTimeout: 5 } })
    })

    afterEach(async () => {
      await manager.dispose({ grace: 0 })
      await drop()
    })

    const run = <Result>(work: (session: AnySession) => Promise<Result>): Promise<Result> =>
      manager.session(dburi, (_, session) => work(session as unknown as AnySession))
    const count = () => run(({ db, models }) => db.$count(models.task))
    async function* rows(many: number, from = 0) {
      for (let index = from; index < from + many; index++)
        yield { taskId: `task-${index}`, status: 'SUCCESS' }
    }

    it('come from an async iterable, in as few statements as the dialect allows', async () => {
      const progress: number[] = []
      const inserted = await run(({ db, models }) =>
        insertMany(db, models.task, rows(ROWS), {
          chunk: 1e9,
          onProgress: (many) => void progress.push(many),
        }),
      )

      expect(inserted).toBe(ROWS)
      expect(await count()).toBe(ROWS)
      expect(progress.length).toBeGreaterThan(1)
      expect(progress.at(-1)).toBe(ROWS)
    }, 600_000)

    it('are kept or undone together, in a transaction of their own on an engine', async () => {
      const { models } = await run(async (session) => session)
      const db = (await manager.getEngine(dburi)).db as unknown as PostgresJsHandle
      async function* failing() {
        yield* rows(50)
        throw new Error('changed my mind')
      }
      await expect(insertMany(db, models.task, failing(), { chunk: 20 })).rejects.toThrow('changed my mind')
      expect(await count()).toBe(0)
      const twice = [...(await listOf(rows(50))), ...(await listOf(rows(1)))]
      await expect(insertMany(db, models.task, twice, { chunk: 20 })).rejects.toThrow(Error)
      expect(await count()).toBe(0)

      expect(await insertMany(db, models.task, [])).toBe(0)
      expect(await insertMany(db, models.task, await listOf(rows(41)), { chunk: 20 })).toBe(41)
      expect(await count()).toBe(41)
    })

    if (subject.upsertsByKey !== true) {
      it('keep the conflict clause of the statement that is given', async () => {
        await run(async ({ db, models }) => {
          await insertMany(db, models.task, rows(30))
          await insertMany(db, models.task, rows(60), {
            chunk: 25,
            insert: (tx, chunk) => tx.insert(models.task).values(chunk).onConflictDoNothing(),
          })
        })

        expect(await count()).toBe(60)
      })
    }

    it('want a table, and a chunk that is a number of rows', async () => {
      await run(async ({ db, models }) => {
        await expect(insertMany(db, {} as ResultModels['task'], rows(1))).rejects.toThrow(OptionError)
        await expect(
          insertMany(db, models.task, rows(1), { chunk: 0 }).catch(causes),
        ).resolves.toContainEqual(expect.any(OptionError))
      })
    })
  })
}

async function listOf<Row>(rows: AsyncIterable<Row>): Promise<Row[]> {
  const list: Row[] = []
  for await (const row of rows) list.push(row)
  return list
}
