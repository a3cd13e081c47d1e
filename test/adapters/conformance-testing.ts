import { insertMany, type PostgresJsHandle, type Session, SessionManager } from 'drizzle-celery'
import type { ResultModels } from 'drizzle-celery/models/postgresql'
import { type TestSessions, testSessions } from 'drizzle-celery/testing'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Subject } from './conformance.ts'

/** As in the other tests of all dialects: no type of Drizzle's says that these queries read the same. */
type AnySession = Session<'postgresql', PostgresJsHandle, ResultModels>

/** What every adapter promises of tests that are rolled back. */
export function rolledBack(name: string, subject: Subject): void {
  describe(`${name}: tests that are rolled back`, () => {
    let dburi: string
    let drop: () => Promise<void>
    let manager: SessionManager
    let tests: TestSessions<AnySession>

    beforeAll(async () => {
      const created = await subject.create()
      dburi = created.dburi
      drop = created.drop
      manager = new SessionManager({ engineOptions: { poolTimeout: 5 } })
      tests = testSessions(manager, dburi) as unknown as TestSessions<AnySession>
    })
    beforeEach(() => tests.begin())
    afterEach(async () => {
      await tests.rollback()
      // Nothing of any test is left.
      expect(await manager.session(dburi, (_, session) => idsIn(session as unknown as AnySession))).toEqual(
        [],
      )
    })
    afterAll(async () => {
      await manager?.dispose({ grace: 0 })
      await drop?.()
    })

    const insertIn = (db: PostgresJsHandle, { task }: ResultModels, taskId: string) =>
      db.insert(task).values({ taskId, status: 'SUCCESS' })
    const idsIn = async ({ db, models }: Pick<AnySession, 'db' | 'models'>) =>
      (await db.select({ taskId: models.task.taskId }).from(models.task)).map(({ taskId }) => taskId).sort()
    const run = <Result>(work: (session: AnySession) => Promise<Result>, options = {}): Promise<Result> =>
      manager.session(dburi, options, (_, session) => work(session as unknown as AnySession))
    const shared = async () => (await manager.getEngine(dburi)).db as unknown as PostgresJsHandle

    it('keep for the test what sessions of the code under test commit, and undo what they do not', async () => {
      await run(({ db, models }) => insertIn(db, models, 'kept'))
      await run(async ({ db, models }) => {
        await insertIn(db, models, 'undone')
        throw new Error('changed my mind')
      }).catch(() => {})
      const session = (await manager.sessionFactory(dburi)) as unknown as AnySession
      await insertIn(session.db, session.models, 'by hand')
      await session.commit()
      await insertIn(session.db, session.models, 'not committed')
      await session.close()

      expect(await idsIn(tests.session)).toEqual(['by hand', 'kept'])
    })

    it('show the code what the test has written, also by the handle of the engine', async () => {
      const { db, models } = tests.session
      await insertIn(db, models, 'by the test')
      const engineDb = await shared()
      await insertIn(engineDb, models, 'by the engine')
      await engineDb.transaction((tx) =>
        insertIn(tx as unknown as PostgresJsHandle, models, 'in a transaction'),
      )
      await insertMany(engineDb, models.task, [{ taskId: 'many' }])

      expect(await run(idsIn)).toEqual(['by the engine', 'by the test', 'in a transaction', 'many'])
      expect(await idsIn({ db: engineDb, models })).toEqual(await run(idsIn))
      expect((await manager.getEngine(dburi)).stats().checkedOut).toBe(1)
    })

    it('go on after a statement of the code that fails', async () => {
      const { models } = tests.session
      const engineDb = await shared()
      await insertIn(engineDb, models, 'once')
      await expect(insertIn(engineDb, models, 'once').execute()).rejects.toThrow(Error)
      await expect(run(({ db }) => insertIn(db, models, 'once').execute())).rejects.toThrow(Error)

      expect(await idsIn(tests.session)).toEqual(['once'])
    })

    it('take sessions with options, inside each other and beside each other', async () => {
      const options = { isolationLevel: 'serializable', attempts: 2 } as const
      await run(async ({ db, models }) => {
        await insertIn(db, models, 'outer')
        await run((inner) => insertIn(inner.db, models, 'inner'))
        await run((joined) => insertIn(joined.db, models, 'joined'), { propagation: 'join' })
      }, options)
      const names = ['a', 'b', 'c']
      await Promise.all(names.map((id) => run(({ db, models }) => insertIn(db, models, id))))

      expect(await idsIn(tests.session)).toEqual([...names, 'inner', 'joined', 'outer'])
    })

    it('are one at a time, and have a session only while they run', async () => {
      expect(manager.current(dburi)).toBe(tests.session)
      await expect(tests.begin()).rejects.toMatchObject({ code: 'CLOSED' })
      await tests.rollback()
      await tests.rollback()
      expect(() => tests.session).toThrow(expect.objectContaining({ code: 'CLOSED' }))
    })
  })
}
