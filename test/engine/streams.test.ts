import { setTimeout } from 'node:timers/promises'
import {
  ConnectionLostError,
  causes,
  SessionManager,
  StatementError,
  StatementTimeoutError,
} from 'drizzle-celery'
import * as relational from 'drizzle-major/relational'
import { asc, type SQL, sql } from 'drizzle-orm'
import { bigint as mysqlBigint, mysqlTable } from 'drizzle-orm/mysql-core'
import { bigint, pgTable } from 'drizzle-orm/pg-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { childRun, scenario } from '../fixtures/child-run.ts'
import { isLong, loops } from '../fixtures/loops.ts'
import {
  createMysql,
  describeNeeding,
  describePostgres,
  freshMysql,
  freshPostgres,
} from '../fixtures/servers.ts'

const MANY = loops(300_000, 10_000_000)

describePostgres('PostgreSQL', (scheme) => {
  describe('streams', () => {
    const database = freshPostgres({ scheme })
    const { postgresqlModels } = relational
    const manager = new SessionManager({ models: { postgresql: postgresqlModels } })
    const number = pgTable('number', { n: bigint({ mode: 'number' }).notNull() })
    afterAll(() => manager.dispose({ grace: 0 }))
    beforeAll(async () => {
      const { db } = await manager.getEngine(database.dburi as 'postgresql:')
      await db.execute(sql`create table number as select n from generate_series(1, 5000) as n`)
    })

    it('give relational queries as Drizzle does', async () => {
      await manager.session(database.dburi as 'postgresql:', async (db, session) => {
        const { author, book } = postgresqlModels
        await db.insert(author).values([{ fullName: 'Ann' }, { fullName: 'Bob' }])
        await db.insert(book).values([{ authorId: 1 }, { authorId: 2 }, { authorId: 1 }])
        const query = () => db.query.author.findMany({ with: { books: true } })
        const rows = []
        for await (const row of session.stream(query(), { batch: 1 })) rows.push(row)

        expect(rows).toEqual(await query())
        expect(rows[0]?.books.length).toBeGreaterThan(0)
      })
    })

    it('give the first rows before the last are made, and fail where the query does', async () => {
      await manager.session(database.dburi as 'postgresql:', async (_, session) => {
        const ratio = session.db.select({ ratio: sql<number>`1 / (2000 - ${number.n})` }).from(number)
        let seen = 0
        const read = async () => {
          for await (const _ of session.stream(ratio, { batch: 100 })) seen++
        }
        const error = await read().catch(causes)

        expect(seen).toBe(1_900)
        expect(error).toContainEqual(expect.objectContaining({ code: '22012' }))
        await session.rollback()
        await session.db.select().from(number).limit(1)
      })
    })

    it('run beside each other and beside other statements of their session', async () => {
      await manager.session(database.dburi as 'postgresql:', async (db, session) => {
        const query = () => db.select().from(number).orderBy(asc(number.n))
        const [one, other] = [session.stream(query(), { batch: 50 }), session.stream(query(), { batch: 7 })]
        for (let n = 1; n <= 200; n++) {
          expect((await one.next()).value).toEqual({ n })
          expect((await other.next()).value).toEqual({ n })
          await db.transaction((tx) => tx.select().from(number).limit(1))
        }
        await one.return()
        await other.return()
      })
    })

    it('end with the transaction they are in', async () => {
      await manager.session(database.dburi as 'postgresql:', async (db, session) => {
        const rows = session.stream(db.select().from(number), { batch: 5 })
        await rows.next()
        await session.commit()
        const rest = async () => {
          for await (const _ of rows);
        }

        await expect(rest().catch(causes)).resolves.toContainEqual(
          expect.objectContaining({ code: 'CLOSED' }),
        )
        expect(session.engine.stats().checkedOut).toBe(0)
      })
    })
  })
})

describeNeeding('mysql', 'MySQL or MariaDB', () => {
  describe('streams', () => {
    const database = freshMysql()
    const manager = new SessionManager({ models: { mysql: {} } })
    const number = mysqlTable('number', { n: mysqlBigint({ mode: 'number' }).notNull() })
    const dburi = () => database.dburi as 'mysql:'
    afterAll(() => manager.dispose({ grace: 0 }))
    beforeAll(async () => {
      const { db } = await manager.getEngine(dburi())
      await db.execute(sql`create table number (n bigint not null primary key)`)
      const digits = Array.from({ length: 1_000 }, (_, index) => `(${index})`).join(', ')
      await db.execute(sql.raw(`create table digit (d int not null)`))
      await db.execute(sql.raw(`insert into digit values ${digits}`))
      await db.execute(
        sql`insert into number select a.d * 1000 + b.d + 1 from digit a, digit b where a.d < 200`,
      )
    })

    it('end their query when the loop is left, and nothing of the transaction', async () => {
      await manager.session(dburi(), async (db, session) => {
        await db.execute(sql`insert into digit values (-1)`)
        const pid = async () => JSON.stringify((await db.execute(sql`select connection_id() as id`))[0])
        const before = await pid()
        for await (const { n } of session.stream(db.select().from(number).orderBy(asc(number.n))))
          if (n === 3) break

        expect(await pid()).toBe(before)
        expect(JSON.stringify(await db.execute(sql`select d from digit where d < 0`))).toContain('-1')
      })
      const { db } = await manager.getEngine(dburi())
      expect(JSON.stringify(await db.execute(sql`select d from digit where d < 0`))).toContain('-1')
    })

    it('refuse other statements of their session by name, while their rows come', async () => {
      await manager.session(dburi(), async (db, session) => {
        for await (const _ of session.stream(db.select().from(number))) {
          const refused = db.select().from(number).limit(1).execute()
          await expect(refused.catch(causes)).resolves.toContainEqual(expect.any(StatementError))
          await expect(refused.catch(causes)).resolves.toContainEqual(
            expect.objectContaining({ code: 'STREAM_OPEN' }),
          )
          break
        }
        expect(await db.select().from(number).limit(1)).toHaveLength(1)
      })
    })

    it('end with the transaction they are in, by commit, rollback or close', async () => {
      for (const how of ['commit', 'rollback', 'close'] as const) {
        const session = await manager.sessionFactory(dburi())
        const rows = session.stream(session.db.select().from(number))
        await rows.next()
        await session[how]()
        const rest = async () => {
          for await (const _ of rows);
        }

        await expect(rest().catch(causes)).resolves.toContainEqual(
          expect.objectContaining({ code: 'CLOSED' }),
        )
        expect(session.engine.stats().checkedOut).toBe(0)
        await session.close()
      }
    })

    it('fail where the query does, with the transaction left open', async () => {
      await manager.session(dburi(), async (db, session) => {
        const query = db.select({ n: sql`cast(2000 - ${number.n} as unsigned) + ~0 - 1` }).from(number)
        const read = async () => {
          for await (const _ of session.stream(query, { batch: 100 }));
        }

        await expect(read().catch(causes)).resolves.toContainEqual(
          expect.objectContaining({ code: 'ER_DATA_OUT_OF_RANGE' }),
        )
        expect(await db.select().from(number).limit(1)).toHaveLength(1)
      })
    })

    it('tell of a connection that is lost', async () => {
      await using own = await createMysql()
      await using others = new SessionManager({ models: { mysql: {} } })
      const engine = await others.getEngine(own.dburi as 'mysql:')
      const session = await others.sessionFactory(own.dburi as 'mysql:')
      const [[id]] = (await session.db.execute(sql`select connection_id() as id`)) as unknown as [
        [{ id: number }],
      ]
      const rows = session.stream(
        session.db
          .select({ n: sql<number>`n`, long: sql`repeat('x', 1000)` })
          .from(sql`${sql.identifier(database.name)}.number`),
      )
      await rows.next()
      await engine.db.execute(sql.raw(`kill ${id.id}`))
      const rest = async () => {
        for await (const _ of rows);
      }

      await expect(rest().catch(causes)).resolves.toContainEqual(expect.any(ConnectionLostError))
      await session.close()
      expect(engine.stats().checkedOut).toBe(0)
    })

    it('have a deadline for each batch, and none for the time between', { tags: 'full' }, async () => {
      const engine = await manager.getEngine(dburi())
      const slow = (seconds: SQL) => engine.db.select({ n: number.n, s: sql`sleep(${seconds})` }).from(number)
      const limited = (statementTimeout: number) => engine.with({ statementTimeout })
      const rows = limited(3).stream(engine.db.select().from(number), { batch: 10 })
      await rows.next()
      await setTimeout(3_100)
      for (let n = 0; n < 2_000; n++) await rows.next()
      await rows.return()
      const read = async () => {
        for await (const _ of limited(0.3).stream(slow(sql`1`)));
      }

      await expect(read().catch(causes)).resolves.toContainEqual(expect.any(StatementTimeoutError))
      await expect.poll(() => engine.stats().checkedOut).toBe(0)
    })

    it('are what iterator() of Drizzle reads, in a session and on an engine', async () => {
      const engine = await manager.getEngine(dburi())
      let seen = 0
      for await (const { n } of await engine.db
        .select()
        .from(number)
        .orderBy(asc(number.n))
        .prepare()
        .iterator()) {
        expect(n).toBe(++seen)
        if (seen === 250) break
      }
      await expect.poll(() => engine.stats().checkedOut).toBe(0)
      let last = 0
      const some = engine.db.select().from(number).where(sql`${number.n} <= 250`).orderBy(asc(number.n))
      for await (const { n } of await some.prepare().iterator()) last = n
      expect(last).toBe(250)
      await manager.session(dburi(), async (db) => {
        const few = db.select().from(number).where(sql`${number.n} <= 20`).orderBy(asc(number.n))
        for await (const { n } of await few.prepare().iterator()) last = n
        expect(last).toBe(20)
        expect(await db.select().from(number).limit(1)).toHaveLength(1)
      })
    })
  })
})

describe(`${MANY} rows`, () => {
  const run = async (dburi: string) => {
    const result = await childRun(scenario('stream-many'), {
      arguments: [dburi, String(MANY)],
      // A few times less than the rows take.
      nodeFlags: ['--max-old-space-size=60'],
      timeout: isLong ? 600_000 : 60_000,
    })
    expect(result).toMatchObject({ exitCode: 0, emitted: [MANY] })
  }
  const timeout = isLong ? 700_000 : 90_000

  // By the same cursors as on PostgreSQL, and by far more slowly.
  if (isLong) it('fit in 60 MB of heap on PGlite', () => run('pglite:'), timeout)
  describePostgres('PostgreSQL', (scheme) => {
    const database = freshPostgres({ scheme })
    it('fit in 60 MB of heap', { tags: 'full', timeout }, () => run(database.dburi))
  })
  describeNeeding('mysql', 'MySQL or MariaDB', () => {
    const database = freshMysql()
    it('fit in 60 MB of heap', { tags: 'full', timeout }, () => run(database.dburi))
  })
})
