/** Statements are prepared where that helps, never where it harms, and survive what makes them stale. */
import { connect, createServer } from 'node:net'
import { type PostgresJsHandle, SessionManager, TransactionAbortedError } from 'drizzle-celery'
import { eq, sql } from 'drizzle-orm'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest'
import { describePostgres, freshPostgres } from '../fixtures/servers.ts'
import { ask, codeFrom, failure, Observer, pidOf, times, until, withOptions } from './support.ts'

const people = pgTable('people', { id: integer('id').primaryKey(), age: text('age'), note: text('note') })

describePostgres('prepared statements', (scheme) => {
  const database = freshPostgres({ scheme })
  let observer: Observer
  let manager: SessionManager

  beforeEach(async () => {
    manager = new SessionManager()
    observer = new Observer(database.dburi)
    await observer.sql`drop table if exists people`
    await observer.sql`create table people (id int primary key, age int, note text)`
    await observer.sql`insert into people values (1, 36, 'a'), (2, 37, 'b')`
  })
  afterEach(async () => {
    await manager.dispose({ grace: 0 })
    await observer[Symbol.asyncDispose]()
  })

  const open = async (options: Record<string, string> = {}) => {
    const dburi = withOptions(database.dburi, { pool_size: '1', max_overflow: '0', ...options })
    return manager.createSession(dburi)
  }
  const notes = (db: Pick<PostgresJsHandle, 'select'>, id = 1) =>
    db.select({ note: people.note }).from(people).where(eq(people.id, id))
  const ages = (db: Pick<PostgresJsHandle, 'select'>) =>
    db.select({ age: people.age }).from(people).where(eq(people.id, 1))

  it('ordinary Drizzle queries are prepared, once for each text', async () => {
    const { engine, sessionMaker } = await open()
    for (const id of [1, 2, 1, 2]) await notes(engine.db, id)
    await using session = sessionMaker()
    await notes(session.db)
    await session.rollback()

    expect(await preparedOn(engine.db)).toBe(1)
  })

  it.each([{ prepare: 'false' }, { pgbouncer: 'true' }, { statement_cache_size: '0' }])(
    'nothing is prepared with %o',
    async (options) => {
      const { engine } = await open(options)
      for (const id of [1, 2, 1, 2]) await notes(engine.db, id)
      await engine.db.transaction((tx) => notes(tx))

      expect(await preparedOn(engine.db)).toBe(0)
    },
  )

  it('300 different texts leave 256 prepared statements, and all are answered', async () => {
    const { engine } = await open()
    const answers: unknown[] = []
    for (let round = 0; round < 2; round++) {
      await times(300, async (index) => {
        const [row] = await engine.db.execute<{ answer: number }>(
          sql`select ${sql.raw(String(index))} + ${round}::int as answer`,
        )
        answers.push(row?.answer)
      })
    }

    expect(answers.map(Number).sort((one, other) => one - other)).toEqual(
      [...Array(300).keys(), ...Array(300).keys()]
        .map((index, position) => index + (position < 300 ? 0 : 1))
        .sort((one, other) => one - other),
    )
    expect(await preparedOn(engine.db)).toBeLessThanOrEqual(256)
  })

  it('after 1,000 other texts a hot one is prepared, and the server has closed what went', async () => {
    const { engine } = await open()
    // Each is run twice: for a text that never comes again nothing goes.
    const twice = async (index: number) => {
      for (const round of [1, 2])
        await engine.db.execute(sql`select ${sql.raw(String(index))} + ${round}::int as answer`)
    }
    const pid = await pidOf(engine.db)
    for (let index = 0; index < 1_000; index++) await twice(index)

    expect(await isPrepared(engine.db, ' 999 ')).toBe(true)
    expect(await isPrepared(engine.db, ' 100 ')).toBe(false)
    for (const id of [1, 2]) await notes(engine.db, id)
    expect(await isPrepared(engine.db, '"note"')).toBe(true)
    expect(await preparedOn(engine.db)).toBeLessThanOrEqual(257)
    expect(await pidOf(engine.db)).toBe(pid)
  }, 120_000)

  it('a text that is run now and then stays prepared beside 1,000 that are run once', async () => {
    const { engine } = await open()
    await notes(engine.db)
    for (let index = 0; index < 1_000; index++) {
      await engine.db.execute(sql`select ${sql.raw(String(index))} + ${1}::int as answer`)
      if (index % 100 === 0) await notes(engine.db)
    }

    expect(await isPrepared(engine.db, '"note"')).toBe(true)
    expect(await preparedOn(engine.db)).toBeLessThanOrEqual(256)
  }, 120_000)

  it('a statement that another one takes the place of is answered first, pipelined or running', {
    tags: 'full',
  }, async () => {
    const engine = await manager.getEngine(
      withOptions(database.dburi, { pool_size: '1', max_overflow: '0' }),
      {
        statementCacheSize: 2,
      },
    )
    await using connection = await engine.connect()
    const ask = (text: string, value: number) =>
      connection.db.execute<{ answer: number }>(
        sql`select ${sql.raw(text)} + ${value}::int as answer, pg_sleep(${value === 0 ? 0.05 : 0})`,
      )
    for (const text of ['1', '2', '3', '1', '2', '3']) await ask(text, 1)

    // All of them travel at once, over two places for six texts.
    const asked = Array.from({ length: 120 }, (_, index) => ({ text: String(index % 6), value: index % 5 }))
    const answers = await Promise.all(asked.map(({ text, value }) => ask(text, value)))

    expect(answers.map(([row]) => Number(row?.answer))).toEqual(
      asked.map(({ text, value }) => Number(text) + value),
    )
    await ask('1', 1)
    expect(await preparedOn(connection.db)).toBeLessThanOrEqual(2)
  })

  it('a long transaction of many texts leaves few statements behind on the server, while it runs and after', async () => {
    const { sessionMaker } = await open()
    await using session = sessionMaker()
    for (let index = 0; index < 600; index++)
      for (const round of [1, 2])
        await session.db.execute(sql`select ${sql.raw(String(index))} + ${round}::int as answer`)
    const during = await preparedOn(session.db)
    await session.commit()
    await notes(session.db)
    await session.commit()

    expect(during).toBeGreaterThanOrEqual(256)
    expect(during).toBeLessThanOrEqual(256 + 17)
    expect(await preparedOn(session.db)).toBeLessThanOrEqual(257)
  }, 120_000)

  it('what took another one’s place is parsed anew after a schema change, and so is what comes back', async () => {
    const engine = await manager.getEngine(
      withOptions(database.dburi, { pool_size: '1', max_overflow: '0' }),
      {
        statementCacheSize: 2,
      },
    )
    const age = (label: string) =>
      engine.db.execute<{ age: unknown }>(
        sql`select age ${sql.raw(label)} from people where id = ${1}::int and ${'x'} = 'x'`,
      )
    for (const label of ['a', 'b', 'c', 'c', 'a', 'a']) await age(label)
    await engine.db.execute(sql.raw('alter table people alter column age type text'))

    for (const label of ['a', 'b', 'c', 'c', 'a', 'b'])
      expect(Object.values((await age(label))[0] ?? {})).toEqual(['36'])
  })

  it('nothing is prepared behind a port that poolers in transaction mode listen on', async () => {
    const server = new URL(database.dburi)
    const forwarder = createServer((client) => {
      const upstream = connect(Number(server.port || 5432), server.hostname)
      client.pipe(upstream).pipe(client)
      for (const socket of [client, upstream]) socket.on('error', () => {})
    })
    const port = await listenOnOneOf(forwarder, [6432, 6543])
    const behind = new URL(database.dburi)
    behind.port = String(port)
    const engine = await manager.getEngine(withOptions(behind.href, { pool_size: '1', max_overflow: '0' }))
    for (const id of [1, 2, 1]) await notes(engine.db, id)
    const prepared = await preparedOn(engine.db)
    await manager.dispose()
    await new Promise((resolve) => forwarder.close(resolve))

    expect(prepared).toBe(0)
  })

  const changes: Record<string, string> = {
    'ALTER COLUMN TYPE': 'alter table people alter column age type bigint',
    'ALTER COLUMN TYPE to another kind': `alter table people alter column age type text using age || ' years'`,
    'DEALLOCATE ALL': 'deallocate all',
    'DISCARD PLANS': 'discard plans',
  }

  it.each(Object.entries(changes))('after %s a statement of the engine is answered', async (_, change) => {
    const { engine } = await open()
    await ages(engine.db)
    const pid = await pidOf(engine.db)
    await engine.db.execute(sql.raw(change))

    const results = await times(3, async () => (await ages(engine.db))[0]?.age)

    expect(results.map((age) => String(age).replace(' years', ''))).toEqual(['36', '36', '36'])
    expect(await pidOf(engine.db)).toBe(pid)
  })

  it('after DROP COLUMN a statement that asks for all columns is answered', async () => {
    const { engine } = await open()
    const all = () => engine.db.execute(sql`select * from people where id = ${1}`)
    expect((await all())[0]).toEqual({ id: 1, age: 36, note: 'a' })
    await observer.sql`alter table people drop column age`

    expect((await all())[0]).toEqual({ id: 1, note: 'a' })
  })

  it.each(Object.entries(changes))(
    'after %s the first statement of a transaction is answered',
    async (_, change) => {
      const { engine, sessionMaker } = await open()
      await ages(engine.db)
      await engine.db.execute(sql.raw(change))

      await using session = sessionMaker()
      await session.begin({ isolationLevel: 'repeatable read' })
      const [row] = await ages(session.db)
      const level = await ask(session.db, `current_setting('transaction_isolation')`)
      await session.db.insert(people).values({ id: 3 })
      await session.commit()

      expect(String(row?.age).replace(' years', '')).toBe('36')
      expect(level).toBe('repeatable read')
      expect(await observer.sql`select from people where id = 3`).toHaveLength(1)
    },
  )

  it('a later statement that turns out stale costs its transaction, which works when it is run again', async () => {
    // However long this takes, what was parsed is not so old that it is parsed anew.
    vi.spyOn(performance, 'now').mockReturnValue(performance.now())
    onTestFinished(() => void vi.restoreAllMocks())
    const { engine, sessionMaker } = await open()
    await ages(engine.db)
    await observer.sql`alter table people alter column age type bigint`

    await using session = sessionMaker()
    await session.db.insert(people).values({ id: 4 })
    // Repeating it would need the insert repeated as well, which only the caller can do.
    expect(await codeFrom(ages(session.db))).toBe('SQLSTATE 0A000')
    expect(await failure(session.commit())).toBeInstanceOf(TransactionAbortedError)
    await session.rollback()

    await session.db.insert(people).values({ id: 4 })
    const [row] = await ages(session.db)
    await session.commit()

    expect(String(row?.age)).toBe('36')
    expect(await observer.sql`select from people where id = 4`).toHaveLength(1)
  })

  it('statements beside a stale one are answered, each with its own rows', async () => {
    const { engine } = await open()
    await ages(engine.db)
    await notes(engine.db)
    await observer.sql`alter table people alter column age type bigint`

    const results = await times(20, async (index) =>
      index % 2 === 0 ? (await ages(engine.db))[0]?.age : (await notes(engine.db, 2))[0]?.note,
    )

    expect(results.map(String)).toEqual(
      Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? '36' : 'b')),
    )
    await until(() => engine.stats().running === 0)
  })
})

async function preparedOn(db: Pick<PostgresJsHandle, 'execute'>): Promise<number> {
  return Number(await ask(db, 'select count(*)::int from pg_prepared_statements'))
}

/** Whether the connection of the handle has a statement prepared whose text has these letters. */
async function isPrepared(db: Pick<PostgresJsHandle, 'execute'>, letters: string): Promise<boolean> {
  return (
    (await ask(
      db,
      `select count(*)::int from pg_prepared_statements where statement like '%${letters}%'`,
    )) !== 0
  )
}

/** The first of the ports that is free. */
async function listenOnOneOf(
  server: ReturnType<typeof createServer>,
  ports: readonly number[],
): Promise<number> {
  for (const port of ports) {
    const isOurs = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (isOurs) return port
  }
  throw new Error(`None of the ports ${ports} is free`)
}
