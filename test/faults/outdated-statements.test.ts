/** What the server fixed when it parsed a prepared statement never outlives what was altered since. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type PostgresJsHandle, SessionManager } from 'drizzle-celery'
import { prepareModels } from 'drizzle-celery/schema'
import { eq, sql } from 'drizzle-orm'
import { integer, pgEnum, pgTable, serial, text, timestamp } from 'drizzle-orm/pg-core'
import { drizzle } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PARSE_LIFETIME } from '../../src/adapters/postgresql/statement.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'
import { ask, codeFrom, Observer, times, withOptions } from './support.ts'

type Db = PostgresJsHandle

/** What a column was and becomes, a value it takes before, and one behind. */
interface Alteration {
  readonly from: string
  readonly to: string
  readonly before: string
  readonly behind: string
  /** @default ALTER COLUMN … TYPE with USING */
  readonly by?: readonly string[]
}

const ENUM_REBUILT = [
  'alter table altered alter v set data type text',
  'drop type mood',
  `create type mood as enum ('sad', 'glad')`,
  'alter table altered alter v set data type mood using v::mood',
]
const DOMAIN_REBUILT = [
  'alter table altered alter v set data type text',
  'drop domain short',
  'create domain short as varchar(20)',
  'alter table altered alter v set data type short',
]
const COMPOSITE_REBUILT = [
  'alter table altered alter v set data type text using v::text',
  'drop type pair',
  'create type pair as (a int, b text)',
  'alter table altered alter v set data type pair using v::pair',
]

const alterations: readonly Alteration[] = [
  { from: 'timestamp', to: 'timestamptz', before: '2024-06-01 12:00', behind: '2024-06-01 12:00:00+05' },
  { from: 'timestamptz', to: 'timestamp', before: '2024-06-01 12:00+05', behind: '2024-06-01 12:00:00+05' },
  { from: 'date', to: 'timestamp', before: '2024-01-01', behind: '2024-01-01 12:00:00' },
  { from: 'time', to: 'timetz', before: '12:00', behind: '12:00:00+05' },
  { from: 'real', to: 'double precision', before: '0.5', behind: '0.1' },
  { from: 'integer', to: 'bigint', before: '1', behind: '5000000000' },
  { from: 'integer', to: 'numeric', before: '1', behind: '1.25' },
  { from: 'text', to: 'integer', before: '1', behind: '2' },
  {
    from: 'text',
    to: 'uuid',
    before: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    behind: 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11',
  },
  { from: 'text', to: 'jsonb', before: '1', behind: '{"a":1,"a":2}' },
  { from: 'json', to: 'jsonb', before: '1', behind: '{"a":1,"a":2}' },
  { from: 'text', to: 'text[]', before: '{}', behind: '{a,"b c"}' },
  { from: 'varchar(3)', to: 'text', before: 'abc', behind: 'abcdef' },
  { from: 'char(3)', to: 'text', before: 'a', behind: 'a  ' },
  { from: 'numeric(5,2)', to: 'numeric(10,4)', before: '1', behind: '1.2345' },
  { from: 'timestamp(0)', to: 'timestamp(6)', before: '2024-06-01', behind: '2024-06-01 12:00:00.123456' },
  { from: 'mood', to: 'mood with other members', before: 'sad', behind: 'glad', by: ENUM_REBUILT },
  { from: 'short', to: 'short with other members', before: 'a', behind: 'abcdef', by: DOMAIN_REBUILT },
  { from: 'pair', to: 'pair with other members', before: '(1,2)', behind: '(1,two)', by: COMPOSITE_REBUILT },
]

const nameOf = ({ from, to }: Alteration) => `${from} to ${to}`
const statementsOf = ({
  to,
  by = [`alter table altered alter v type ${to} using v::text::${to}`],
}: Alteration) => by

describeNeeding('postgresql', 'a prepared statement', () => {
  const database = freshPostgres()
  let observer: Observer
  let manager: SessionManager
  let directory: string
  let isLater: () => void
  let functions = 0

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'dc-outdated-'))
    manager = new SessionManager()
    observer = new Observer(database.dburi)
    for (const made of [
      'drop schema public cascade',
      'create schema public',
      `create type mood as enum ('sad', 'glad', 'mad')`,
      'create domain short as varchar(3)',
      'create type pair as (a int, b int)',
    ])
      await observer.sql.unsafe(made)
    // It goes only where a test says so: what was parsed just now is not old because the machine is slow.
    // Whole, so that what is added is neither more nor less by a rounding.
    let now = Math.ceil(performance.now())
    vi.spyOn(performance, 'now').mockImplementation(() => now)
    isLater = () => {
      now += PARSE_LIFETIME
    }
  })
  afterEach(async () => {
    vi.restoreAllMocks()
    await manager.dispose({ grace: 0 })
    await observer[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true })
  })

  const one = (options: Record<string, string> = {}) =>
    withOptions(database.dburi, { pool_size: '1', max_overflow: '0', ...options })
  const insert = (db: Pick<Db, 'execute'>, value: string) =>
    db.execute(sql`insert into altered (v) values (${value})`)
  const update = (db: Pick<Db, 'execute'>, value: string) =>
    db.execute(sql`update altered set v = ${value} where id < 0`)
  const stored = async () =>
    (await observer.sql.unsafe('select v::text from altered order by id')).map(({ v }) => v)

  const columnType = () =>
    observer.sql`select atttypid, atttypmod from pg_attribute where attrelid = 'altered'::regclass and attname = 'v'`

  /** Whoever alters a table. */
  const authors: Record<string, (statements: readonly string[]) => Promise<unknown>> = {
    async 'engine.db'(statements) {
      const { db } = await manager.getEngine(one())
      for (const statement of statements) await db.execute(sql.raw(statement))
    },
    async 'several statements in one text'(statements) {
      const { db } = await manager.getEngine(one())
      await db.execute(sql.raw(statements.join(';')))
    },
    async 'a session of the same engine'(statements) {
      await manager.session(one(), async (db: Db) => {
        for (const statement of statements) await db.execute(sql.raw(statement))
      })
    },
    async 'another engine by another name'(statements) {
      const engine = await manager.getEngine(one({ application_name: 'another' }))
      await engine.db.transaction(async (tx) => {
        for (const statement of statements) await tx.execute(sql.raw(statement))
      })
    },
    async DO(statements) {
      const { db } = await manager.getEngine(one())
      await db.execute(sql.raw(`do $$ begin ${statements.join(';')}; end $$`))
    },
    async 'a procedure'(statements) {
      const { db } = await manager.getEngine(one())
      await observer.sql.unsafe(
        `create procedure migrate() language plpgsql as $$ begin ${statements.join(';')}; end $$`,
      )
      await db.execute(sql.raw('call migrate()'))
    },
    async 'a function'(statements) {
      const { db } = await manager.getEngine(one())
      // A name for each, since calls of one and the same text count only a few times.
      const name = `migrate_${functions++}`
      await observer.sql.unsafe(
        `create function ${name}(version int) returns void language plpgsql as $$ begin ${statements.join(';')}; end $$`,
      )
      await db.execute(sql`select ${sql.raw(name)}(${1})`)
    },
    async 'a migration'(statements) {
      await using migrating = new SessionManager({
        models: { postgresql: {} },
        prepare: 'migrate',
        migrations: { postgresql: { folder: folderWith(statements) } },
      })
      await migrating.prepareModels(await migrating.getEngine(one()))
    },
    async 'a migration over a client of somebody else'(statements) {
      const client = postgres(database.dburi, { max: 1, onnotice: () => {} })
      await prepareModels(
        { dialect: 'postgresql', db: drizzle({ client }) },
        {},
        { prepare: 'migrate', migrations: { folder: folderWith(statements) } },
      )
      await client.end()
    },
    async 'somebody else, a while ago'(statements) {
      for (const statement of statements) await observer.sql.unsafe(statement)
      isLater()
    },
  }

  function folderWith(statements: readonly string[]): string {
    mkdirSync(join(directory, 'meta'), { recursive: true })
    const entries = [{ idx: 0, version: '7', when: 0, tag: '0000_altered', breakpoints: true }]
    writeFileSync(
      join(directory, 'meta/_journal.json'),
      JSON.stringify({ version: '7', dialect: 'postgresql', entries }),
    )
    writeFileSync(join(directory, '0000_altered.sql'), statements.join(';\n--> statement-breakpoint\n'))
    return directory
  }

  const [first = '', ...others] = Object.keys(authors)
  describe(`altered by ${first}`, () => alteredBy(first))
  describe.each(others)('altered by %s', { tags: 'full' }, alteredBy)

  function alteredBy(author: string): void {
    it.each(alterations.map((alteration) => [nameOf(alteration), alteration] as const))(
      'from %s is right at once',
      async (_, alteration) => {
        const { from, before, behind } = alteration
        await observer.sql.unsafe(`create table altered (id serial, v ${from})`)
        const engine = await manager.getEngine(one())
        const other = await manager.getEngine(one({ application_name: 'other' }))
        await using held = await other.connect()
        const { sessionMaker } = await manager.createSession(one())
        const inSession = async (value: string) => {
          await using session = sessionMaker()
          await update(session.db, value)
          await insert(session.db, value)
          await session.commit()
        }
        const everywhere = async (value: string) => {
          for (const db of [engine.db, held.db]) await insert(db, value)
          await inSession(value)
        }
        await everywhere(before)
        await everywhere(before)

        const was = await columnType()
        await authors[author]?.(statementsOf(alteration))
        expect(await columnType()).not.toEqual(was)
        await observer.sql.unsafe('truncate altered')
        await everywhere(behind)
        // What the server makes of it that has nothing prepared.
        await observer.sql.unsafe(`insert into altered (v) values ('${behind}')`)

        const [first, ...others] = (await stored()).reverse()
        expect(others).toEqual([first, first, first])
      },
    )
  }

  it.each([
    ['integer', 'bigint', '5000000000'],
    ['integer', 'numeric', '1.25'],
    ['mood', 'mood with other members', 'sad'],
  ])('from %s to %s that fails is run again where nothing is lost by that', async (from, to, value) => {
    await observer.sql.unsafe(`create table altered (id serial, v ${from})`)
    const engine = await manager.getEngine(one())
    const { sessionMaker } = await manager.createSession(one())
    const inTransaction = async (fill?: (db: Db) => Promise<unknown>) => {
      await using session = sessionMaker()
      await fill?.(session.db)
      await insert(session.db, value)
      await session.commit()
    }
    const first = from === 'mood' ? 'sad' : '1'
    await insert(engine.db, first)
    await update(engine.db, first)
    for (const statement of statementsOf({
      from,
      to,
      before: '',
      behind: '',
      ...(from === 'mood' && { by: ENUM_REBUILT }),
    }))
      await observer.sql.unsafe(statement)

    // In a transaction that has begun only the next try is right.
    expect(
      await codeFrom(inTransaction((db) => db.execute(sql`insert into altered default values`))),
    ).toMatch(/SQLSTATE (22003|22P02|XX000)/)
    await inTransaction((db) => db.execute(sql`insert into altered default values`))
    await inTransaction()
    await update(engine.db, value)

    expect(await stored()).toEqual([first, null, value, value])
  })

  it('is run again as the first of its transaction', async () => {
    await observer.sql.unsafe('create table altered (id serial, v integer)')
    const engine = await manager.getEngine(one())
    await insert(engine.db, '1')
    await observer.sql.unsafe('alter table altered alter v type bigint')

    await engine.db.transaction(async (tx) => {
      await insert(tx, '5000000000')
      await insert(tx, '2')
    })

    expect(await stored()).toEqual(['1', '5000000000', '2'])
  })

  it('with a wrong value is run again once in a while only, and fails with the same error', async () => {
    await observer.sql.unsafe('create sequence attempts')
    const engine = await manager.getEngine(one())
    const divide = (by: number) => engine.db.execute(sql`select nextval('attempts') / ${by}::int as quotient`)
    const attempts = async () =>
      Number((await observer.sql.unsafe('select last_value from attempts'))[0]?.['last_value'])
    await divide(1)
    const before = await attempts()
    const codes = new Set<string | null>()
    for (let round = 0; round < 20; round++) codes.add(await codeFrom(divide(0)))

    expect(codes).toEqual(new Set(['SQLSTATE 22012']))
    expect((await attempts()) - before).toBe(21)
    isLater()
    await divide(1)
    await codeFrom(divide(0))
    expect((await attempts()) - before).toBe(24)
  })

  it('leaves nothing on the server when it is parsed anew', async () => {
    await observer.sql.unsafe('create table altered (id serial, v text)')
    const engine = await manager.getEngine(one())
    const kept = () => ask(engine.db, 'select count(*)::int from pg_prepared_statements')
    for (let round = 0; round < 10; round++) {
      isLater()
      await times(20, () => insert(engine.db, 'alone'))
      await engine.db.execute(sql.raw(`comment on table altered is 'round ${round}'`))
      await engine.db
        .transaction(async (tx) => {
          await insert(tx, 'in a transaction')
          isLater()
          await insert(tx, 'in a transaction')
          await codeFrom(tx.execute(sql`insert into altered (v) values (${'a'}::int)`))
        })
        .catch(() => {})
    }

    expect(await kept()).toBeLessThanOrEqual(2)
    expect(engine.stats()).toMatchObject({ open: 1, running: 0 })
  })

  it('is parsed by one of many that run it at once, and the connection stays', async () => {
    await observer.sql.unsafe('create table altered (id serial, v real)')
    const engine = await manager.getEngine(one())
    await insert(engine.db, '0.5')
    await engine.db.execute(sql.raw('alter table altered alter v type double precision'))

    await times(50, () => insert(engine.db, '0.1'))

    expect(new Set((await stored()).slice(1))).toEqual(new Set(['0.1']))
    expect(await ask(engine.db, 'select count(*)::int from pg_prepared_statements')).toBe(1)
  })

  it('sent right behind what alters its column is right', async () => {
    await observer.sql.unsafe('create table altered (id serial, v real)')
    await manager.session(one(), async (db: Db) => {
      await insert(db, '0.5')
      await Promise.all([
        db.execute(sql.raw('alter table altered alter v type double precision')),
        insert(db, '0.1'),
      ])
    })

    expect(await stored()).toEqual(['0.5', '0.1'])
  })

  describe('of a function that has got another of its name', () => {
    const pick = (db: Pick<Db, 'execute'>) =>
      db.execute<{ taken: string }>(sql`select pick(${'5'}) as taken from (values (1)) one`)
    const taken = async (db: Pick<Db, 'execute'>) => (await pick(db))[0]?.taken
    const create = (type: string) =>
      sql.raw(`create function pick(${type}) returns text language sql as $$ select '${type}' $$`)
    beforeEach(() =>
      observer.sql.unsafe(
        `create function pick(integer) returns text language sql as $$ select 'integer' $$`,
      ),
    )

    it('calls the new one when that is committed', async () => {
      const engine = await manager.getEngine(one())
      const other = await manager.getEngine(one({ application_name: 'other' }))
      expect(await taken(other.db)).toBe('integer')

      await engine.db.transaction(async (tx) => {
        await tx.execute(create('text'))
        expect([await taken(tx), await taken(other.db)]).toEqual(['text', 'integer'])
      })

      expect([await taken(engine.db), await taken(other.db)]).toEqual(['text', 'text'])
    })

    it('calls the old one when that is rolled back', async () => {
      const engine = await manager.getEngine(one())
      await engine.db.transaction(async (tx) => {
        await tx.execute(sql`select 1`)
        await tx
          .transaction(async (inner) => {
            await inner.execute(create('text'))
            expect(await taken(inner)).toBe('text')
            inner.rollback()
          })
          .catch(() => {})
        expect(await taken(tx)).toBe('integer')
      })
      await engine.db
        .transaction(async (tx) => {
          await tx.execute(create('text'))
          expect(await taken(tx)).toBe('text')
          tx.rollback()
        })
        .catch(() => {})

      expect(await taken(engine.db)).toBe('integer')
    })
  })

  it.each([
    ['set local search_path', (schema: string) => sql.raw(`set local search_path to ${schema}`)],
    ['set_config', (schema: string) => sql`select set_config('search_path', ${schema}, true)`],
    ['SET', (schema: string) => sql.raw(`set search_path to ${schema}`)],
  ])('means the tables that %s leads to', async (_, moveTo) => {
    await observer.sql.unsafe('drop schema if exists one cascade; drop schema if exists two cascade')
    for (const [schema, type] of [
      ['one', 'real'],
      ['two', 'double precision'],
    ])
      await observer.sql.unsafe(
        `create schema ${schema}; create table ${schema}.altered (id serial, v ${type})`,
      )
    const tenant = (schema: string) =>
      manager.session(one(), async (db: Db) => {
        await db.execute(moveTo(schema))
        await insert(db, '0.1')
      })

    for (const schema of ['one', 'two', 'one', 'two']) await tenant(schema)

    expect(await observer.sql.unsafe('select v::text from two.altered')).toEqual([{ v: '0.1' }, { v: '0.1' }])
  })

  it('fits a temporary table that each transaction makes anew, on one and the same connection', async () => {
    const engine = await manager.getEngine(one())
    const stage = (type: string, value: string) =>
      engine.db.transaction(async (tx) => {
        await tx.execute(sql.raw(`create temp table altered (v ${type}) on commit drop`))
        await insert(tx, value)
        return [await ask(tx, 'select v::text from altered'), await ask(tx, 'pg_backend_pid()')]
      })

    const [first, firstPid] = await stage('real', '0.5')
    const [second, secondPid] = await stage('double precision', '0.1')

    expect([first, second]).toEqual(['0.5', '0.1'])
    expect(secondPid).toBe(firstPid)
  })

  describe('of a Drizzle table that is dropped and made anew', () => {
    const at = pgTable('altered', {
      id: serial().primaryKey(),
      at: timestamp({ mode: 'string', precision: 6 }),
    })
    const atZone = pgTable('altered', {
      id: serial().primaryKey(),
      at: timestamp({ mode: 'string', precision: 6, withTimezone: true }),
    })
    const ways: Record<string, (work: (db: Db) => Promise<void>) => Promise<unknown>> = {
      'engine.db': async (work) => work((await manager.getEngine(one())).db),
      'a session': (work) => manager.session(one(), work),
      'an autocommit session': (work) => manager.session(one(), { autocommit: true }, work),
    }

    it.each(Object.keys(ways))('keeps the zone of a timestamp by %s', async (way) => {
      await ways[way]?.(async (db) => {
        await db.execute(sql.raw('create table altered (id serial primary key, at timestamp(6))'))
        await db.insert(at).values({ at: '2022-01-01 00:00:00.123456' })
        const prepared = db
          .insert(atZone)
          .values({ at: sql.placeholder('at') })
          .prepare('kept')
        await prepared.execute({ at: '2022-01-01 00:00:00.123456' })
        await db.execute(sql.raw('drop table altered'))
        await db.execute(
          sql.raw('create table altered (id serial primary key, at timestamp(6) with time zone)'),
        )

        await db.insert(atZone).values({ at: '2022-01-01 00:00:00.123456-0200' })
        await prepared.execute({ at: '2022-01-01 00:00:00.123456-0300' })
        const rows = await db.execute(
          sql`select (at at time zone 'utc')::text as utc from altered order by id`,
        )
        expect([...rows]).toEqual([
          { utc: '2022-01-01 02:00:00.123456' },
          { utc: '2022-01-01 03:00:00.123456' },
        ])
      })
    })

    it.each(Object.keys(ways))('finds the members of an enum by %s', async (way) => {
      const letters = pgEnum('letters', ['a', 'b'])
      const table = pgTable('altered', { id: integer().primaryKey(), letter: letters(), note: text() })
      await ways[way]?.(async (db) => {
        for (const id of [1, 2]) {
          await db.execute(sql.raw(`create type letters as enum ('a', 'b')`))
          await db.execute(
            sql.raw('create table altered (id integer primary key, letter letters, note text)'),
          )
          await db.insert(table).values({ id, letter: 'a', note: 'x' })
          expect(await db.select({ id: table.id }).from(table).where(eq(table.letter, 'a'))).toEqual([{ id }])
          await db.execute(sql.raw('drop table altered'))
          await db.execute(sql.raw('drop type letters'))
        }
      })
    })
  })
})
