import { inspect } from 'node:util'
import {
  ClosedError,
  causes,
  type LibsqlHandle,
  PoolTimeoutError,
  type PostgresJsHandle,
  type Session,
  SessionManager,
  StatementError,
  TransactionAbortedError,
} from 'drizzle-celery'
import type { ResultModels } from 'drizzle-celery/models/postgresql'
import { eq, sql } from 'drizzle-orm'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { sessionContext } from './conformance-context.ts'
import { insertingMany } from './conformance-insert.ts'
import { streaming } from './conformance-stream.ts'
import { rolledBack } from './conformance-testing.ts'

/** What an adapter's test file says about the databases it opens. */
export interface Subject {
  /** A new, empty database. */
  create(): Promise<{ dburi: string; drop(): Promise<void> }>
  /** One failed statement dooms its transaction, as on PostgreSQL. */
  readonly failureDooms: boolean
  /** Why this database lets a read-only transaction write, where it does. */
  readonly writesReadOnly?: string
  /** Parameters are `$1`, `$2` in SQL text. */
  readonly numbersParameters?: boolean
  /** Why parameters that have names are not tried, where the driver takes such. */
  readonly unnamedOnly?: string
  /** MySQL's kind: `on duplicate key update`, and no `returning`. */
  readonly upsertsByKey?: boolean
  /** Its driver gives all rows of a statement at once. */
  readonly streams?: false
  /** All sessions take turns on one connection. */
  readonly isStatic: boolean
}

/**
 * The queries of these tests read the same in every dialect, but no type of Drizzle's says so: they are written
 * against PostgreSQL's.
 */
type Db = PostgresJsHandle
type AnySession = Session<'postgresql', Db, ResultModels>

/** What every adapter promises, written once. */
export function conformance(name: string, subject: Subject): void {
  sessionContext(name, subject)
  streaming(name, subject)
  insertingMany(name, subject)
  rolledBack(name, subject)

  describe(name, () => {
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

    const open = async (options = {}): Promise<AnySession> =>
      (await manager.sessionFactory(dburi, options)) as unknown as AnySession
    const shared = async (): Promise<Db> => (await manager.getEngine(dburi)).db as unknown as Db
    const insert = (session: AnySession, taskId: string) =>
      session.db.insert(session.models.task).values({ taskId, status: 'SUCCESS' })
    const idsIn = async (db: Db, models: ResultModels) =>
      (await db.select({ taskId: models.task.taskId }).from(models.task)).map(({ taskId }) => taskId).sort()
    const ids = async (options = {}) => {
      const session = await open({ ...options, autocommit: true })
      try {
        return await idsIn(session.db, session.models)
      } finally {
        await session.close()
      }
    }

    it('keeps what a session commits', async () => {
      const session = await open()
      await insert(session, 'a')
      await session.commit()
      await session.close()

      expect(await ids()).toEqual(['a'])
    })

    it('undoes what a session did not commit when it is closed', async () => {
      const session = await open()
      await insert(session, 'a')
      await session.close()

      expect(await ids()).toEqual([])
    })

    it('undoes what is rolled back, and goes on in a new transaction', async () => {
      const session = await open()
      await insert(session, 'a')
      await session.rollback()
      await insert(session, 'b')
      await session.commit()
      await session.close()

      expect(await ids()).toEqual(['b'])
    })

    it('takes a connection at the first statement and gives it back when the transaction ends', async () => {
      const session = await open()
      const { engine } = session
      expect(engine.stats().checkedOut).toBe(0)

      await insert(session, 'a')
      expect(engine.stats().checkedOut).toBe(1)

      await session.commit()
      expect(engine.stats().checkedOut).toBe(0)
      await session.close()
    })

    it('begins once for statements that come at the same time', async () => {
      const session = await open()
      await Promise.all(['a', 'b', 'c', 'd'].map((id) => insert(session, id)))
      expect(session.engine.stats().checkedOut).toBe(1)
      await session.commit()
      await session.close()

      expect(await ids()).toEqual(['a', 'b', 'c', 'd'])
    })

    it('commits a session given to manager.session() when it returns, and rolls back when it throws', async () => {
      await manager.session(dburi, async (_, session) => {
        await insert(session as unknown as AnySession, 'kept')
      })
      const failing = manager.session(dburi, async (_, session) => {
        await insert(session as unknown as AnySession, 'undone')
        throw new Error('changed my mind')
      })
      await expect(failing).rejects.toThrow('changed my mind')

      expect(await ids()).toEqual(['kept'])
    })

    it('makes db.transaction() of a session a savepoint', async () => {
      const session = await open()
      await insert(session, 'outer')
      await session.db.transaction(async (tx) => {
        await tx.insert(session.models.task).values({ taskId: 'inner' })
      })
      const failing = session.db.transaction(async (tx) => {
        await tx.insert(session.models.task).values({ taskId: 'undone' })
        await tx.transaction(async (deeper) => {
          await deeper.insert(session.models.task).values({ taskId: 'undone too' })
        })
        throw new Error('inner failure')
      })
      await expect(failing).rejects.toThrow('inner failure')
      expect(await idsIn(session.db, session.models)).toEqual(['inner', 'outer'])
      await session.commit()
      await session.close()

      expect(await ids()).toEqual(['inner', 'outer'])
    })

    it('undoes the savepoints of a session that is rolled back', async () => {
      const session = await open()
      await session.db.transaction(async (tx) => {
        await tx.insert(session.models.task).values({ taskId: 'inner' })
      })
      await session.rollback()
      await session.close()

      expect(await ids()).toEqual([])
    })

    it('keeps savepoints that are set at the same time apart', async () => {
      const session = await open()
      const results = await Promise.allSettled(
        ['a', 'b', 'c', 'd'].map((taskId) =>
          session.db.transaction(async (tx) => {
            await tx.insert(session.models.task).values({ taskId })
            if (taskId === 'b' || taskId === 'd') throw new Error(taskId)
          }),
        ),
      )
      await insert(session, 'e')
      await session.commit()
      await session.close()

      expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected'])
      expect(await ids()).toEqual(['a', 'c', 'e'])
    })

    it('lets no statement of the outer handle slip into a savepoint', async () => {
      const session = await open()
      await insert(session, 'first')
      const failing = session.db.transaction(async (tx) => {
        await tx.insert(session.models.task).values({ taskId: 'undone' })
        await new Promise((resolve) => setTimeout(resolve, 20))
        throw new Error('inner failure')
      })
      await new Promise((resolve) => setTimeout(resolve, 5))
      const outside = insert(session, 'outside')
      await expect(failing).rejects.toThrow('inner failure')
      await outside
      await session.commit()
      await session.close()

      expect(await ids()).toEqual(['first', 'outside'])
    })

    it('sets savepoints by methods of its connections, beside those that are written as text', async () => {
      const session = await open()
      const { connection, release } = await session.engine.checkout({})
      const run = (text: string) => connection.run({ sql: text, params: [], asArrays: false })
      const store = (taskId: string) =>
        run(`insert into celery_taskmeta (task_id, status) values ('${taskId}', 'SUCCESS')`)

      await connection.begin({})
      await connection.savepoint?.('first')
      await store('undone')
      await connection.savepoint?.('second')
      await store('undone too')
      await connection.rollbackTo?.('first')
      await store('kept')
      await connection.release?.('first')
      const gone = failureOf(connection.rollbackTo?.('first'))
      if (subject.failureDooms) {
        await gone
        expect(await connection.commit()).toBe(false)
        await connection.begin({})
        await store('kept')
      }
      await run('savepoint written')
      await store('undone by text')
      await run('rollback to savepoint written')
      await run('release savepoint written')
      await connection.commit()
      await release()
      await session.close()

      expect(await gone).toBeInstanceOf(Error)
      expect(await ids()).toEqual(['kept'])
    })

    it('refuses a handle whose transaction has ended', async () => {
      const session = await open()
      let kept: Pick<Db, 'insert'> | undefined
      await session.db.transaction(async (tx) => {
        kept = tx
        await tx.insert(session.models.task).values({ taskId: 'inner' })
      })
      await session.commit()
      const late = kept?.insert(session.models.task).values({ taskId: 'late' })

      expect(await causeOf(late)).toBeInstanceOf(ClosedError)
      await session.close()
      expect(await ids()).toEqual(['inner'])
    })

    it('lets a savepoint that outlives its session touch nobody', async () => {
      const session = await open()
      let fail = () => {}
      let inserted = () => {}
      const isInserted = new Promise<void>((resolve) => {
        inserted = resolve
      })
      const outliving = session.db.transaction(async (tx) => {
        await tx.insert(session.models.task).values({ taskId: 'undone' })
        inserted()
        await new Promise<void>((resolve) => {
          fail = resolve
        })
        throw new Error('late')
      })
      await isInserted
      await session.rollback()
      const next = await open()
      await next.db.transaction(async (tx) => {
        await tx.insert(next.models.task).values({ taskId: 'kept' })
        fail()
        await expect(outliving).rejects.toThrow('late')
      })
      await next.commit()
      await Promise.all([session.close(), next.close()])

      expect(await ids()).toEqual(['kept'])
    })

    it('rolls back a transaction left open on a connection that is closed', async () => {
      const { models, engine } = await open()
      const connection = await engine.connect()
      const db = connection.db as unknown as Db
      let end: (() => void) | undefined
      const left = db.transaction(async (tx) => {
        await tx.insert(models.task).values({ taskId: 'undone' })
        await new Promise<void>((resolve) => {
          end = resolve
        })
      })
      await eventually(() => expect(end).toBeDefined())
      await connection.close()
      const next = await open()
      await insert(next, 'kept')
      end?.()
      expect(await causeOf(left)).toBeInstanceOf(ClosedError)
      await next.commit()
      await next.close()

      expect(await ids()).toEqual(['kept'])
    })

    it('refuses the outer handle inside a savepoint instead of hanging', async () => {
      const session = await open({ poolTimeout: 0.2 })
      const misuse = session.db.transaction(async () => {
        await insert(session, 'through the outer handle')
      })
      const error = await causeOf(misuse)
      await session.close()

      expect(error).toBeInstanceOf(StatementError)
      expect(error).toHaveProperty('code', 'NESTED_TRANSACTION_OPEN')
    })

    it('refuses everything after close, and closes twice in peace', async () => {
      const session = await open()
      await insert(session, 'a')
      await session.close()
      await session.close()

      expect(await causeOf(insert(session, 'b'))).toBeInstanceOf(ClosedError)
      await expect(session.commit()).rejects.toBeInstanceOf(ClosedError)
      await expect(session.rollback()).rejects.toBeInstanceOf(ClosedError)
      await expect(session.begin()).rejects.toBeInstanceOf(ClosedError)
      expect(await ids()).toEqual([])
    })

    it('rolls back a session that goes out of scope', async () => {
      {
        await using session = await open()
        await insert(session, 'a')
      }
      expect(await ids()).toEqual([])
    })

    it.runIf(subject.failureDooms)(
      'rejects the commit of a transaction in which a statement failed',
      async () => {
        const session = await open()
        await insert(session, 'a')
        // Never sent, so it is not what the database rolled back for.
        await causeOf(session.db.execute(sql`select ${Symbol('x')}`))
        const failure = await causeOf(session.db.execute(sql`select no_such_column`))
        const commit = await causeOf(session.commit())

        expect(commit).toBeInstanceOf(TransactionAbortedError)
        expect(causes(commit)).toContainEqual(failure)
        expect(await causeOf(insert(session, 'b'))).toHaveProperty('code', 'PENDING_ROLLBACK')
        await expect(session.commit()).rejects.toHaveProperty('code', 'PENDING_ROLLBACK')

        await session.rollback()
        await insert(session, 'c')
        await session.commit()
        await session.close()
        expect(await ids()).toEqual(['c'])
      },
    )

    it('survives a statement that fails inside a savepoint', async () => {
      const session = await open()
      await insert(session, 'a')
      const failing = session.db.transaction(async (tx) => {
        await tx.insert(session.models.task).values({ taskId: 'a' })
      })
      expect(await causeOf(failing)).toBeInstanceOf(Error)
      await insert(session, 'b')
      await session.commit()
      await session.close()

      expect(await ids()).toEqual(['a', 'b'])
    })

    it('lets statements autocommit on the engine and in an autocommit session', async () => {
      const session = await open({ autocommit: true })
      await insert(session, 'by session')
      expect(session.inTransaction).toBe(false)
      await session.close()
      const db = await shared()
      await db.insert(session.models.task).values({ taskId: 'by engine' })

      expect(await ids()).toEqual(['by engine', 'by session'])
    })

    it('runs db.transaction() of the engine on a connection of its own', async () => {
      const { models } = await open()
      const db = await shared()
      await db.transaction(async (tx) => {
        await tx.insert(models.task).values({ taskId: 'kept' })
      })
      const failing = db.transaction(async (tx) => {
        await tx.insert(models.task).values({ taskId: 'undone' })
        throw new Error('no')
      })
      await expect(failing).rejects.toThrow('no')

      expect(await ids()).toEqual(['kept'])
      expect((await manager.getEngine(dburi)).stats().checkedOut).toBe(0)
    })

    it('serves a transaction and a write beside it in order', async () => {
      const { models } = await open()
      const db = await shared()
      let beside: Promise<unknown> | undefined
      await db.transaction(async (tx) => {
        await tx.insert(models.task).values({ taskId: 'inside' })
        beside = Promise.resolve(db.insert(models.task).values({ taskId: 'beside' }))
        await new Promise((resolve) => setTimeout(resolve, 10))
        await tx.insert(models.task).values({ taskId: 'inside too' })
      })
      await beside

      expect(await ids()).toEqual(['beside', 'inside', 'inside too'])
    })

    it('hands out a connection with a handle of its own', async () => {
      const { models } = await open()
      const engine = await manager.getEngine(dburi)
      const connection = await engine.connect()
      const db = connection.db as unknown as Db
      await db.insert(models.task).values({ taskId: 'a' })
      expect(engine.stats().checkedOut).toBe(1)
      await connection.close()
      await connection.close()

      expect(engine.stats().checkedOut).toBe(0)
      expect(await causeOf(db.insert(models.task).values({ taskId: 'b' }))).toBeInstanceOf(ClosedError)
    })

    it('loses no update of sessions that run at the same time', async () => {
      const setup = await open()
      await insert(setup, 'counter')
      await setup.db.update(setup.models.task).set({ retries: 0 })
      await setup.commit()
      await setup.close()
      await Promise.all(
        Array.from({ length: 20 }, () =>
          manager.session(dburi, async (_, given) => {
            const { db, models } = given as unknown as AnySession
            await db.update(models.task).set({ retries: sql`${models.task.retries} + 1` })
          }),
        ),
      )
      await using reader = await open({ autocommit: true })
      const { task } = reader.models
      const [row] = await reader.db.select().from(task).where(eq(task.taskId, 'counter'))

      expect(row?.retries).toBe(20)
    })

    it('updates on conflict', async () => {
      const session = await open()
      for (const status of ['STARTED', 'SUCCESS']) {
        const insert = session.db.insert(session.models.task).values({ taskId: 'a', status })
        await (subject.upsertsByKey
          ? byKey(insert).onDuplicateKeyUpdate({ set: { status } })
          : insert.onConflictDoUpdate({ target: session.models.task.taskId, set: { status } }))
      }
      const rows = await session.db.select().from(session.models.task)
      await session.close()

      expect(rows).toMatchObject([{ taskId: 'a', status: 'SUCCESS' }])
    })

    it('brings bytes, texts, numbers and times back as they were', async () => {
      const session = await open()
      const values = {
        taskId: 'ü\u{1f600}"\'\\',
        result: new Uint8Array([0, 1, 255, 128]),
        dateDone: new Date('2026-03-08T02:30:00.123Z'),
        retries: -2_147_483_648,
        traceback: 'a\nb\u2028c',
        args: null,
      }
      await session.db.insert(session.models.task).values(values)
      const [row] = await session.db.select().from(session.models.task)
      const update = session.db.update(session.models.task).set({ queue: 'q' })
      const returned = subject.upsertsByKey ? [] : await update.returning()
      await session.close()

      expect(row?.result).toBeInstanceOf(Uint8Array)
      for (const read of [row, ...returned]) {
        expect({ ...read, result: new Uint8Array(read?.result ?? []) }).toMatchObject(values)
      }
    })

    it('refuses SQL text that begins or ends a transaction, or holds a NUL', async () => {
      const session = await open()
      const db = await shared()
      for (const text of ['begin', 'COMMIT', ' /* x */ rollback', 'select 1; commit', 'select \0 1']) {
        expect(await causeOf(runText(db, text)), text).toHaveProperty('code', 'INVALID_STATEMENT')
        expect(await causeOf(runText(session.db, text)), text).toHaveProperty('code', 'INVALID_STATEMENT')
        await session.rollback()
      }
      await insert(session, 'a')
      await session.commit()
      await session.close()
      expect(await ids()).toEqual(['a'])
    })

    it('writes nothing into an argument of $client, which can be given again after a failure', async () => {
      await using session = await open()
      const calls = [(await shared()).$client, session.db.$client].flatMap((client) =>
        callsOf(client, subject),
      )
      for (const [index, call] of calls.entries()) {
        const [text, table] = [`precious ${index}`, `kept_${index}`]
        const args = [text]
        const insert = `insert into ${table} values (${subject.numbersParameters ? '$1' : '?'})`

        const failure = await failureOf(call(insert, args))
        await session.rollback()
        await runText(await shared(), `create table ${table} (v varchar(50))`)
        await call(insert, args)
        if (session.inTransaction) await session.commit()

        expect(failure).toBeInstanceOf(Error)
        expect(args).toEqual([text])
        expect(await column(await shared(), `select v from ${table}`)).toEqual([text])
      }
    })

    it('writes nothing into what a query of Drizzle is given, which can run again after a failure', async () => {
      await using session = await open()
      const { task } = session.models
      await insert(session, 'taken')
      await session.commit()
      const bytes = new Uint8Array([1, 2, 3])
      const row = Object.freeze({ taskId: 'taken', name: 'again', result: bytes as Buffer })
      const query = session.db.insert(task).values(row)
      const prepared = session.db
        .insert(task)
        .values({ taskId: sql.placeholder('id'), name: 'prepared' })
        .prepare('insert_task')
      const given = Object.freeze({ id: 'taken' })

      expect(await failureOf(query)).toBeInstanceOf(Error)
      await session.rollback()
      expect(await failureOf(prepared.execute(given))).toBeInstanceOf(Error)
      await session.rollback()
      await session.db.delete(task)
      await prepared.execute(given)
      await session.db.delete(task)
      await query
      const [read] = await session.db.select().from(task)

      expect(bytes).toEqual(new Uint8Array([1, 2, 3]))
      expect(read).toMatchObject({ taskId: 'taken', name: 'again' })
    })

    it('shows no bound parameter in an error', async () => {
      const canary = 'canary-7f3a9c'
      const session = await open()
      await insert(session, canary)
      await session.commit()
      const failures = [
        await failureOf(insert(session, canary)),
        await session
          .rollback()
          .then(() =>
            failureOf(shared().then((db) => db.insert(session.models.task).values({ taskId: canary }))),
          ),
      ]
      await session.close()

      for (const failure of failures) expectNoTrace(failure, canary)
    })

    const { writesReadOnly } = subject
    const title = 'refuses writes in a read-only transaction'
    it.skipIf(writesReadOnly)(writesReadOnly ? `${title} (skipped: ${writesReadOnly})` : title, async () => {
      const session = await open()
      await session.begin({ readOnly: true })
      expect(await idsIn(session.db, session.models)).toEqual([])
      const refusal = await causeOf(insert(session, 'a'))
      expect(refusal).toBeInstanceOf(Error)
      expect(String(refusal)).toMatch(/in a read.only transaction/i)
      await session.rollback()
      await insert(session, 'b')
      await session.commit()
      await session.close()

      expect(await ids()).toEqual(['b'])
    })

    const sessionTitle =
      'refuses writes in every transaction of a session that is readOnly, but in one begun otherwise'
    it.skipIf(writesReadOnly)(
      writesReadOnly ? `${sessionTitle} (skipped: ${writesReadOnly})` : sessionTitle,
      async () => {
        const session = await open({ readOnly: true, isolationLevel: 'serializable' })
        for (const end of ['commit', 'rollback'] as const) {
          expect(await idsIn(session.db, session.models)).toEqual([])
          await session[end]()
          const refusal = await causeOf(insert(session, 'a'))
          expect(String(refusal)).toMatch(/in a read.only transaction/i)
          await session.rollback()
        }
        await session.begin({ readOnly: false })
        await insert(session, 'b')
        await session.commit()
        const again = await causeOf(insert(session, 'a'))
        await session.close()

        expect(String(again)).toMatch(/in a read.only transaction/i)
        expect(await ids()).toEqual(['b'])
        await manager.session(dburi, { readOnly: true }, async (db, session) => {
          expect(await idsIn(db as unknown as Db, session.models as unknown as ResultModels)).toEqual(['b'])
        })
        const { sessionMaker } = await manager.createSession(dburi, { readOnly: true })
        const made = sessionMaker() as unknown as AnySession
        expect(String(await causeOf(insert(made, 'a')))).toMatch(/in a read.only transaction/i)
        await made.close()
        expect(manager.stats().engines).toHaveLength(1)
      },
    )

    it('tells the logger of a session of its own statements, and of no others', async () => {
      const told: string[][] = [[], []]
      const [mine, others] = await Promise.all(
        told.map((texts) => open({ logger: { logQuery: (text: string) => void texts.push(text) } })),
      )
      if (mine === undefined || others === undefined) throw new Error('There are two')
      for (const texts of told) texts.length = 0
      await idsIn(mine.db, mine.models)
      await mine.close()
      await idsIn(await shared(), mine.models)
      await others.close()

      expect(told.map((texts) => texts.filter((text) => /celery_taskmeta/.test(text)).length)).toEqual([1, 0])
      expect(manager.stats().engines).toHaveLength(1)
    })

    it('refuses options of a transaction that only other dialects have, before it connects', async () => {
      const { dialect } = await manager.getEngine(dburi)
      const foreign = [
        ...(dialect === 'postgresql' ? [] : ['deferrable']),
        ...(dialect === 'mysql' ? [] : ['withConsistentSnapshot']),
      ]
      for (const name of foreign) {
        const options = { [name]: true }
        const refusals = [
          await causeOf(manager.sessionFactory(dburi, options)),
          await causeOf(manager.createSession(dburi, options)),
          await causeOf(manager.session(dburi, options, async () => {})),
        ]
        for (const refusal of refusals) {
          expect(refusal).toMatchObject({ code: 'INVALID_OPTION', option: name })
          expect(String(refusal)).toContain(dialect)
        }
      }
      expect(manager.stats().engines).toMatchObject([{ open: 0 }])

      const session = await open()
      for (const name of foreign)
        expect(await causeOf(session.begin({ [name]: true }))).toMatchObject({
          code: 'INVALID_OPTION',
          option: name,
        })
      await insert(session, 'a')
      await session.commit()
      await session.close()
      expect(await ids()).toEqual(['a'])
    })

    it('refuses options of a transaction beside autocommit, where none would have them', async () => {
      const refusal = await causeOf(
        open({ autocommit: true, readOnly: true, isolationLevel: 'serializable' }),
      )

      expect(refusal).toMatchObject({ code: 'INVALID_OPTION', option: 'isolationLevel' })
      expect(String(refusal)).toContain('readOnly')
    })

    it('begins a transaction in an autocommit session that is told to', async () => {
      const session = await open({ autocommit: true })
      await session.begin()
      await insert(session, 'undone')
      expect(session.inTransaction).toBe(true)
      await session.rollback()
      await insert(session, 'kept')
      await session.close()

      expect(await ids()).toEqual(['kept'])
    })

    it('lets a statement under way finish before a connection is given back', async () => {
      const session = await open({ autocommit: true })
      await insert(session, 'first')
      const late = insert(session, 'late').then(() => 'done')
      // Drizzle hands a statement on some microtasks after it is awaited.
      await new Promise((resolve) => setImmediate(resolve))
      await session.close()

      expect(await late).toBe('done')
      expect(await ids()).toEqual(['first', 'late'])
    })

    it('refuses to begin twice', async () => {
      const session = await open()
      await session.begin({ isolationLevel: 'serializable' })
      await expect(session.begin()).rejects.toHaveProperty('code', 'IN_TRANSACTION')
      await insert(session, 'a')
      await session.commit()
      await session.close()

      expect(await ids()).toEqual(['a'])
    })

    it('commits once for those who commit at the same time, and goes on', async () => {
      const session = await open()
      await insert(session, 'a')
      const outcomes = await Promise.allSettled([session.commit(), session.commit(), session.commit()])
      await insert(session, 'b')
      await session.commit()
      await session.close()

      expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled'])
      expect(await ids()).toEqual(['a', 'b'])
    })

    it('lets one of those who begin at the same time begin, while a statement opens the session', async () => {
      const session = await open({ autocommit: true })
      const opening = idsIn(session.db, session.models)
      // Drizzle hands a statement on some microtasks after it is awaited.
      for (let tick = 0; tick < 8; tick++) await null
      const begins = await Promise.all([
        causeOf(session.begin()),
        causeOf(session.begin({ isolationLevel: 'serializable' })),
      ])
      await opening
      await insert(session, 'a')
      await session.rollback()
      await session.close()

      expect(begins).toEqual([undefined, expect.objectContaining({ code: 'IN_TRANSACTION' })])
      expect(await ids()).toEqual([])
    })

    it('refuses what is not the ending under way, and is not broken by it', async () => {
      const session = await open()
      await insert(session, 'a')
      const rollback = session.rollback()
      const commit = await causeOf(session.commit())
      await rollback
      await insert(session, 'b')
      const committed = session.commit()
      const begin = await causeOf(session.begin())
      const late = await causeOf(committed.then(() => session.rollback()))
      await session.close()

      expect([commit, begin, late]).toEqual([
        expect.objectContaining({ code: 'CLOSED' }),
        expect.objectContaining({ code: 'IN_TRANSACTION' }),
        undefined,
      ])
      expect(await ids()).toEqual(['b'])
    })

    it('warns of no leak when many statements of a session share its signal', async () => {
      const warnings: string[] = []
      const onWarning = ({ name }: Error) => warnings.push(name)
      process.on('warning', onWarning)
      const { signal } = new AbortController()
      const session = await open({ signal })
      await Promise.all(Array.from({ length: 20 }, () => idsIn(session.db, session.models)))
      await session.close()
      await new Promise((resolve) => setImmediate(resolve))
      process.off('warning', onWarning)

      expect(warnings).not.toContain('MaxListenersExceededWarning')
    })

    it('rejects who waits longer than poolTimeout, and serves the next one', async () => {
      const options = { poolSize: 1, maxOverflow: 0, poolTimeout: 0.1 }
      const holder = await open(options)
      await insert(holder, 'a')
      const waiter = await open(options)
      const error = await causeOf(insert(waiter, 'b'))
      await holder.commit()
      await insert(waiter, 'c')
      await waiter.commit()
      await Promise.all([holder.close(), waiter.close()])

      expect(error).toBeInstanceOf(PoolTimeoutError)
      expect(String(error)).toMatch(/1 of 1 are checked out/)
      expect(await ids(options)).toEqual(['a', 'c'])
    })

    it('stops waiting for a connection when the signal is aborted', async () => {
      const options = { poolSize: 1, maxOverflow: 0 }
      const holder = await open(options)
      await insert(holder, 'a')
      const controller = new AbortController()
      const waiter = await open({ ...options, signal: controller.signal })
      const waiting = causeOf(insert(waiter, 'b'))
      controller.abort(new Error('enough'))

      expect(await waiting).toHaveProperty('code', 'ABORTED')
      expect(holder.engine.stats().waiting).toBe(0)
      await holder.commit()
      await Promise.all([holder.close(), waiter.close()])
      expect(await ids(options)).toEqual(['a'])
    })

    it('stops waiting for a connection when its session is closed', async () => {
      const options = { poolSize: 1, maxOverflow: 0 }
      const holder = await open(options)
      await insert(holder, 'a')
      const waiter = await open(options)
      const waiting = causeOf(insert(waiter, 'b'))
      await eventually(() => expect(holder.engine.stats().waiting).toBe(1))
      await waiter.close()

      expect(await waiting).toBeInstanceOf(ClosedError)
      expect(holder.engine.stats()).toMatchObject({ waiting: 0, checkedOut: 1 })
      await holder.commit()
      await holder.close()
      expect(await ids(options)).toEqual(['a'])
    })

    it('gives a short-lived session a connection of its own', async () => {
      const session = await open({ shortLivedSessions: true })
      const { engine } = session
      // What prepared the models may still be closing.
      await eventually(() => expect(engine.stats().idle).toBe(engine.stats().open))
      const before = engine.stats().open
      await insert(session, 'a')
      await session.commit()
      await insert(session, 'b')
      await session.commit()
      expect(engine.stats().checkedOut).toBe(1)
      expect(engine.stats().open).toBe(subject.isStatic ? 1 : before + 1)
      await session.close()
      await eventually(() => expect(engine.stats().open).toBe(subject.isStatic ? 0 : before))

      expect(await ids()).toEqual(['a', 'b'])
    })

    it.runIf(subject.isStatic)(
      'tells who waits for its only connection how to do without another',
      async () => {
        const options = { poolTimeout: 0.2, poolSize: 10 }
        const { db } = (await manager.getEngine(dburi, options)) as unknown as { db: Db }
        const session = await open(options)
        await insert(session, 'a')
        const beside = await causeOf(db.select().from(session.models.task))
        await session.rollback()
        const within = await causeOf(db.transaction(() => db.select().from(session.models.task)))

        for (const error of [beside, within]) {
          expect(error).toBeInstanceOf(PoolTimeoutError)
          expect(String(error)).toContain('one connection, whatever poolSize says')
          expect(String(error)).toContain('the `db` of the session, the `tx` of the transaction')
        }

        await session.close()

        // It is no certain deadlock: whoever holds it may be about to end.
        const last = await open()
        await insert(last, 'b')
        const waiting = (await shared())
          .select()
          .from(last.models.task)
          .then((rows) => rows)
        await last.commit()
        expect(await waiting).toHaveLength(1)
        await last.close()
      },
    )

    it.runIf(!subject.isStatic)('keeps no connection when it is not pooled', async () => {
      await using unpooled = new SessionManager({ pooled: false })
      await unpooled.session(dburi, async (_, session) => {
        await insert(session as unknown as AnySession, 'a')
      })
      await eventually(() => expect(unpooled.stats().engines).toMatchObject([{ open: 0 }]))

      expect(await ids()).toEqual(['a'])
    })

    it('lets accepted work finish on dispose, and refuses what comes later', async () => {
      const session = await open()
      await insert(session, 'a')
      const disposed = manager.dispose({ grace: 5 })
      await session.commit()
      await session.close()
      await disposed

      await expect(manager.sessionFactory(dburi)).rejects.toBeInstanceOf(ClosedError)
      await expect(manager.getEngine(dburi)).rejects.toBeInstanceOf(ClosedError)
      expect(session.engine.stats()).toMatchObject({ open: 0, checkedOut: 0, waiting: 0 })
    })

    it('breaks what is still held when the grace of dispose is over', async () => {
      const session = await open()
      await insert(session, 'a')
      await manager.dispose({ grace: 0.05 })

      expect(await causeOf(insert(session, 'b'))).toBeInstanceOf(Error)
      await session.close()
      expect(session.engine.stats().open).toBe(0)
    })

    it('creates the models once for sessions that come at the same time', async () => {
      const sessions = await Promise.all(Array.from({ length: 20 }, () => open()))
      const engine = await manager.getEngine(dburi)
      const report = await manager.prepareModels(engine)
      await Promise.all(sessions.map((session) => session.close()))

      expect(new Set(sessions.map((session) => session.engine)).size).toBe(1)
      expect(report.created.length).toBeGreaterThan(0)
    })
  })
}

/** Rejections come wrapped by Drizzle: what lies beneath, or `undefined` where nothing was rejected. */
export async function causeOf(promise: PromiseLike<unknown> | undefined): Promise<unknown> {
  const failure = await failureOf(promise)
  return failure instanceof Error && failure.constructor.name === 'DrizzleQueryError'
    ? failure.cause
    : failure
}

async function failureOf(promise: PromiseLike<unknown> | undefined): Promise<unknown> {
  try {
    await promise
    return undefined
  } catch (error) {
    return error
  }
}

export async function eventually(assertion: () => void): Promise<void> {
  for (let attempt = 0; attempt < 1_000; attempt++) {
    try {
      assertion()
      return
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  assertion()
}

/** Drizzle's insert on MySQL. */
function byKey(insert: object): { onDuplicateKeyUpdate(config: { set: object }): PromiseLike<unknown> } {
  return insert as ReturnType<typeof byKey>
}

function runText(db: Db, text: string): PromiseLike<unknown> {
  const runner = db as unknown as { run?(query: unknown): PromiseLike<unknown> }
  return runner.run === undefined ? db.execute(sql.raw(text)) : runner.run(sql.raw(text))
}

type Call = (sql: string, args: readonly unknown[]) => PromiseLike<unknown>

/** The ways in which `$client`, whatever its driver, is given parameters. */
function callsOf($client: object, { unnamedOnly }: Subject): Call[] {
  const client = $client as Record<string, (...args: unknown[]) => Promise<never>>
  const { unsafe, query, execute, begin, transaction } = client
  if (unsafe && begin) {
    const inside = (sql: string, args: readonly unknown[]) => (tx: { unsafe: typeof unsafe }) =>
      tx.unsafe(sql, args)
    return [unsafe, (sql, args) => begin(inside(sql, args))]
  }
  if (query && execute) return [execute, query, (sql, values) => query({ sql, values })]
  if (query && transaction) {
    return [query, (sql, args) => transaction((tx: { query: typeof query }) => tx.query(sql, args))]
  }
  if (query) return [query, (text, values) => query({ text, values })]
  const libsql = $client as LibsqlHandle['$client']
  const byName: Call = (sql, [v]) => libsql.execute(sql.replace('?', ':v'), Object.freeze({ v: String(v) }))
  return [
    ...(unnamedOnly === undefined ? [byName] : []),
    (sql, args) => libsql.execute({ sql, args: args as string[] }),
    (sql, args) => libsql.execute(sql, args as string[]),
    (sql, args) => libsql.batch([{ sql, args: args as string[] }]),
    async (sql, args) => {
      const transaction = await libsql.transaction('write')
      try {
        await transaction.execute({ sql, args: args as string[] })
        await transaction.commit()
      } finally {
        transaction.close()
      }
    },
  ]
}

async function column(db: Db, text: string): Promise<unknown[]> {
  const answer: unknown = await runText(db, text)
  const rows = Reflect.get(Object(answer), 'rows') ?? answer
  const list = Array.isArray(rows[0]) ? rows[0] : rows
  return [...list].map((row: object) => Object.values(row)[0])
}

function expectNoTrace(failure: unknown, canary: string): void {
  expect(failure).toBeInstanceOf(Error)
  for (const shown of everyText(failure)) expect(shown).not.toContain(canary)
}

function everyText(value: unknown): string[] {
  const stacks = causes(value).map((cause) =>
    cause instanceof Error ? `${cause.message}\n${cause.stack}` : '',
  )
  return [
    String(value),
    inspect(value, { depth: 10, showHidden: true }),
    JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? String(part) : part)) ?? '',
    ...stacks,
  ]
}
