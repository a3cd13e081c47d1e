import { setTimeout } from 'node:timers/promises'
import {
  AbortedError,
  DrizzleCeleryError,
  OptionError,
  PendingRollbackError,
  type PostgresJsHandle,
  type Session,
  SessionManager,
  type SessionWorkOptions,
} from 'drizzle-celery'
import type { ResultModels } from 'drizzle-celery/models/postgresql'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Subject } from './conformance.ts'

/** As in the other tests of all dialects: no type of Drizzle's says that these queries read the same. */
type AnySession = Session<'postgresql', PostgresJsHandle, ResultModels>

/** What every adapter promises of sessions that are found by the code they call. */
export function sessionContext(name: string, subject: Subject): void {
  describe(`${name}: sessions inside sessions`, () => {
    let dburi: string
    let drop: () => Promise<void>
    let manager: SessionManager

    beforeEach(async () => {
      const created = await subject.create()
      dburi = created.dburi
      drop = created.drop
      manager = new SessionManager({ engineOptions: { poolTimeout: 5 }, propagation: 'join' })
    })

    afterEach(async () => {
      await manager.dispose({ grace: 0 })
      await drop()
    })

    const run = <Result>(
      work: (session: AnySession) => Promise<Result>,
      options: SessionWorkOptions = {},
    ): Promise<Result> =>
      manager.session(dburi, options, (_, session) => work(session as unknown as AnySession))
    const current = () => manager.current(dburi) as unknown as AnySession
    const insert = (session: AnySession, taskId: string) =>
      session.db.insert(session.models.task).values({ taskId, status: 'SUCCESS' })
    const idsIn = async ({ db, models }: AnySession) =>
      (await db.select({ taskId: models.task.taskId }).from(models.task)).map(({ taskId }) => taskId).sort()
    const ids = () => run(idsIn, { readOnly: true })

    it('finds the session of the work around it, through timers and promises', async () => {
      await run(async (session) => {
        const insertCurrent = async (id: string) => {
          await setTimeout(1)
          expect(current()).toBe(session)
          await insert(current(), id)
        }
        await Promise.all([insertCurrent('a'), insertCurrent('b')])
        expect(await idsIn(session)).toEqual(['a', 'b'])
      })

      expect(await ids()).toEqual(['a', 'b'])
    })

    it('has no current session outside of work, nor behind its end', async () => {
      let late: Promise<unknown> = Promise.resolve()
      await run(async () => {
        late = setTimeout(20).then(() => current())
        late.catch(() => {})
      })

      expect(() => current()).toThrow(expect.objectContaining({ code: 'NO_SESSION' }))
      await expect(late).rejects.toThrow(DrizzleCeleryError)
    })

    it('joins the session it is in, and is kept or undone with it', async () => {
      await run(async (session) => {
        await insert(session, 'outer')
        await run(async (joined) => {
          expect(joined).toBe(session)
          await insert(joined, 'inner')
        })
        expect(session.inTransaction).toBe(true)
      })
      const failing = run(async (session) => {
        await run((joined) => insert(joined, 'undone'))
        await insert(session, 'undone too')
        throw new Error('changed my mind')
      })
      await expect(failing).rejects.toThrow('changed my mind')

      expect(await ids()).toEqual(['inner', 'outer'])
    })

    it('rolls all back when what has joined fails, also where its error is caught', async () => {
      const failing = run(async (session) => {
        await insert(session, 'outer')
        await run(async (joined) => {
          await insert(joined, 'inner')
          throw new Error('no such city')
        }).catch(() => {})
        await insert(session, 'behind')
      })

      const error = await failing.catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(PendingRollbackError)
      expect(error).toMatchObject({ cause: { message: 'no such city' } })
      expect(await ids()).toEqual([])
    })

    it('goes on after a rollback of its own, whatever has failed before', async () => {
      await run(async (session) => {
        await run(() => Promise.reject(new Error('no such city'))).catch(() => {})
        await expect(session.commit()).rejects.toThrow(PendingRollbackError)
        await session.rollback()
        await insert(session, 'kept')
      })

      expect(await ids()).toEqual(['kept'])
    })

    it('sets a savepoint for a nested session: what fails in it is undone alone', async () => {
      await run(async (session) => {
        await insert(session, 'outer')
        await run(
          async (nested) => {
            expect(nested).not.toBe(session)
            expect(current()).toBe(nested)
            await insert(nested, 'nested')
          },
          { propagation: 'nested' },
        )
        const failing = run(
          async (nested) => {
            await insert(nested, 'undone')
            throw new Error('changed my mind')
          },
          { propagation: 'nested' },
        )
        await expect(failing).rejects.toThrow('changed my mind')
        expect(current()).toBe(session)
        expect(await idsIn(session)).toEqual(['nested', 'outer'])
      })

      expect(await ids()).toEqual(['nested', 'outer'])
    })

    it('undoes a nested session that has committed with the one it is in', async () => {
      const failing = run(async () => {
        await run(
          async (nested) => {
            await insert(nested, 'a')
            await nested.commit()
            await insert(nested, 'b')
            await nested.rollback()
            expect(await idsIn(nested)).toEqual(['a'])
          },
          { propagation: 'nested' },
        )
        throw new Error('changed my mind')
      })
      await expect(failing).rejects.toThrow('changed my mind')

      expect(await ids()).toEqual([])
    })

    it('lets branches of a session take turns, each seeing what the others have done', async () => {
      await run(async (session) => {
        const names = ['a', 'b', 'c', 'd']
        await Promise.all(
          names.map((id, index) =>
            run((inner) => insert(inner, id), { propagation: index % 2 === 0 ? 'join' : 'nested' }),
          ),
        )
        expect(await idsIn(session)).toEqual(names)
        expect(session.engine.stats().checkedOut).toBe(1)
      })

      expect(await ids()).toEqual(['a', 'b', 'c', 'd'])
    })

    it.each(['join', 'nested'] as const)(
      'refuses options that the session around it has otherwise (%s)',
      async (propagation) => {
        const asked: SessionWorkOptions[] = [
          { isolationLevel: 'serializable' },
          { readOnly: true },
          { attempts: 2 },
          { autocommit: true },
          { shortLivedSessions: true },
        ]
        await run(async () => {
          for (const options of asked) {
            const refused = run(async () => {}, { ...options, propagation })
            await expect(refused).rejects.toThrow(OptionError)
            await expect(refused).rejects.toMatchObject({ option: Object.keys(options)[0] })
          }
        })
      },
    )

    it('takes the same options as the session around it', async () => {
      const options = { isolationLevel: 'serializable' } as const
      await run(async (session) => {
        await run((joined) => insert(joined, 'a'), options)
        await run((nested) => insert(nested, 'b'), { ...options, propagation: 'nested' })
        expect(await idsIn(session)).toEqual(['a', 'b'])
      }, options)
    })

    if (!subject.isStatic) {
      it('opens a session of its own by default', async () => {
        await run(async (session) => {
          await run(
            async (other) => {
              expect(other).not.toBe(session)
              expect(other.engine.stats().checkedOut).toBe(0)
              expect(await idsIn(other)).toEqual([])
            },
            { propagation: 'new', readOnly: true },
          )
          expect(current()).toBe(session)
        })
      })
    }

    it('gives single statements a signal, and sends none whose signal is aborted', async () => {
      await run(async (session) => {
        const gone = session.with({ signal: AbortSignal.abort(new Error('gone')) }).db
        const refused = gone.insert(session.models.task).values({ taskId: 'unsent' }).execute()
        const error = await refused.catch((reason: unknown) => reason)
        expect(error).toMatchObject({ cause: expect.any(AbortedError) })

        const { db } = session.with({ signal: new AbortController().signal, statementTimeout: 20 })
        await db.insert(session.models.task).values({ taskId: 'sent', status: 'SUCCESS' })
        await db.transaction((tx) => tx.insert(session.models.task).values({ taskId: 'too' }))
        expect(await idsIn(session)).toEqual(['sent', 'too'])
      })

      expect(await ids()).toEqual(['sent', 'too'])
    })

    it('gives single statements of an engine a signal, for their wait as well', async () => {
      const engine = await manager.getEngine(dburi)
      const controller = new AbortController()
      const { models } = await run(async (session) => session)
      const db = engine.with({ signal: controller.signal }).db as unknown as PostgresJsHandle
      await db.insert(models.task).values({ taskId: 'sent', status: 'SUCCESS' })
      controller.abort(new Error('gone'))

      const refused = db.insert(models.task).values({ taskId: 'unsent' }).execute()
      const error = await refused.catch((reason: unknown) => reason)
      expect(error).toMatchObject({ cause: expect.any(AbortedError) })
      expect(await ids()).toEqual(['sent'])
    })

    it('ends the wait of a single statement at its signal: for a connection, and for its turn in a session', async () => {
      const engine = await manager.getEngine(dburi, subject.isStatic ? {} : { poolSize: 1, maxOverflow: 0 })
      const one = (db: PostgresJsHandle) =>
        db.select({ one: sql<number>`one` }).from(sql`(select 1 as one) as ones`)
      const stopped = async (start: (signal: AbortSignal) => PostgresJsHandle) => {
        const controller = new AbortController()
        const error = one(start(controller.signal)).catch((reason: unknown) => reason)
        await setTimeout(20)
        controller.abort(new Error('gone'))
        expect(await error).toMatchObject({ cause: expect.any(AbortedError) })
      }

      const held = await engine.connect()
      await stopped((signal) => engine.with({ signal }).db as unknown as PostgresJsHandle)
      expect(engine.stats()).toMatchObject({ waiting: 0, checkedOut: 1 })
      await held.close()
      await run(async (session) => {
        await insert(session, 'kept')
        await session.db.transaction(async (tx) => {
          await one(tx as unknown as PostgresJsHandle)
          await stopped((signal) => session.with({ signal }).db)
        })
        expect(await idsIn(session)).toEqual(['kept'])
      })

      expect(await ids()).toEqual(['kept'])
    })
  })
}
