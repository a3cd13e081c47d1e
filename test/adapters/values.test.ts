import { causes, SessionManager } from 'drizzle-celery'
import { ledger, plainLedger } from 'drizzle-major/ledger'
import { type SQL, sql } from 'drizzle-orm'
import { jsonb, pgTable, timestamp } from 'drizzle-orm/pg-core'
import { drizzle } from 'drizzle-orm/postgres-js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { failure } from '../faults/support.ts'
import { drizzleMajor } from '../fixtures/drizzle-major.ts'
import { createMysql, createPostgres, describeNeeding, type TestDatabase } from '../fixtures/servers.ts'

/** Values at the edges, which have to come through right, or to be refused by a typed error. */

const manager = new SessionManager({ prepare: 'none' })
afterAll(() => manager.dispose({ grace: 0 }))

/** The names that objects have of their own, and one that they have not. */
const NAMES = ['__proto__', '__defineGetter__', '__lookupSetter__', 'constructor', 'toString', 'plain']

/** Asks for a row in the driver's own shape. */
type Ask = (statement: SQL | string, params?: unknown[]) => Promise<unknown>

function namesOfColumns(quote: string, ask: () => Ask, value: (literal: string) => string): void {
  const columns = NAMES.map((name) => `${value(name)} as ${quote}${name}${quote}`).join(', ')
  const ownRow = (values: (name: string) => unknown) => NAMES.map((name) => [name, values(name)])

  it.each([
    ['without parameters', `select ${columns}`, []],
    ['with parameters', `select ${columns} where 1 = ${'$1'}`, [1]],
  ])('gives columns by whatever name they have, %s', async (_, text, params) => {
    for (const _run of ['first', 'prepared']) {
      const row: unknown = await ask()(text, params)

      expect(Object.entries(row ?? {})).toEqual(ownRow((name) => ({ is: name })))
      expect(Object.prototype).not.toHaveProperty('is')
      // @ts-expect-error: nothing of it has become a prototype
      expect(Object.create(row).is).toBeUndefined()
    }
  })
}

for (const [name, need] of [
  ['PostgreSQL', 'postgresql'],
  ['PGlite', []],
] as const) {
  describeNeeding(need, name, () => {
    let database: TestDatabase | undefined
    let dburi = 'pglite:'
    const db = async () => (await manager.getEngine(dburi as 'pglite:')).db
    beforeAll(async () => {
      if (name === 'PostgreSQL') database = await createPostgres()
      dburi = database?.dburi ?? dburi
      // A PGlite takes a while to start.
      await (await db()).execute(sql`select 1`)
    })
    afterAll(async () => {
      await manager.invalidate(dburi)
      await database?.drop()
    })
    const textOf = async (expression: SQL) => {
      const [row] = Array.from(
        (await (await db()).execute(sql`select (${expression})::text as value`)) as never,
      )
      return Reflect.get(Object(row), 'value')
    }

    namesOfColumns(
      '"',
      () =>
        async (text, params = []) => {
          const engine = await manager.getEngine(dburi as 'pglite:')
          const rows = await engine.run({ sql: String(text), params, asArrays: false })
          return Array.isArray(rows) ? rows[0] : undefined
        },
      (literal) => `'{"is":"${literal}"}'::json`,
    )

    it('takes a bigint of any size, with all its digits', async () => {
      for (const value of [
        2n ** 63n - 1n,
        2n ** 63n,
        -(2n ** 63n),
        -(2n ** 63n) - 1n,
        2n ** 70n,
        10n ** 40n,
      ]) {
        expect(await textOf(sql`${value}::numeric`)).toBe(String(value))
        // Without a cast it is a number as well, and no text.
        expect(await textOf(sql`${value}`)).toBe(String(value))
        expect(await textOf(sql`pg_typeof(${value})`)).toMatch(/^(?:bigint|numeric)$/)
        expect(await textOf(sql`${sql.param([value])}::numeric[]`)).toBe(`{${value}}`)
      }
      await (await db()).execute(sql`create table if not exists wide (n numeric, i bigint)`)
      await (await db()).execute(sql`insert into wide (n) values (${2n ** 70n})`)
      expect(await textOf(sql`select count(*) from wide where n = ${2n ** 70n}`)).toBe('1')
      expect(await textOf(sql`select count(*) from wide where i = ${2n ** 70n}`)).toBe('0')
      const refused = await failure((await db()).execute(sql`insert into wide (i) values (${2n ** 70n})`))
      expect(causes(refused).at(-1)).toMatchObject({ code: '22003', message: 'bigint out of range' })
    })

    it.each([
      ['9999-12-31T23:59:59.999Z', '9999-12-31 23:59:59.999'],
      ['+010000-01-01T00:00:00.000Z', '10000-01-01 00:00:00'],
      ['+012000-02-29T12:00:00.123Z', '12000-02-29 12:00:00.123'],
      ['+275760-09-13T00:00:00.000Z', '275760-09-13 00:00:00'],
      ['0099-01-01T00:00:00.000Z', '0099-01-01 00:00:00'],
      ['0001-01-01T00:00:00.000Z', '0001-01-01 00:00:00'],
      ['0000-12-31T00:00:00.000Z', '0001-12-31 00:00:00 BC'],
      ['-000043-03-15T12:00:00.000Z', '0044-03-15 12:00:00 BC'],
      ['-004712-01-01T00:00:00.000Z', '4713-01-01 00:00:00 BC'],
    ])('takes a Date of any year: %s', async (iso, expected) => {
      const date = new Date(iso)

      expect(await textOf(sql`${date}::timestamp`)).toBe(expected)
      expect(await textOf(sql`${date}::timestamptz at time zone 'UTC'`)).toBe(expected)
      expect(await textOf(sql`(${sql.param([date, date])}::timestamp[])[2]`)).toBe(expected)
      expect(await textOf(sql`${date}::date`)).toBe(expected.replace(/ \S+/, ''))
    })

    it('refuses a Date from before 4713 BC by a typed error', async () => {
      const error = await failure(
        (await db()).execute(sql`select ${new Date('-005000-01-01T00:00:00.000Z')}::timestamp`),
      )

      expect(causes(error).at(-1)).toMatchObject({ code: '22008' })
    })
  })
}

describeNeeding('mysql', 'MySQL', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createMysql()
  })
  afterAll(async () => {
    await manager.invalidate(database.dburi)
    await database.drop()
  })
  const engine = () => manager.getEngine(database.dburi as 'mysql://')

  namesOfColumns(
    '`',
    () =>
      async (text, params = []) => {
        const statement = String(text).replace('where 1 = $1', 'from dual where 1 = ?')
        const rows = await (await engine()).run({ sql: statement, params, asArrays: false })
        return Array.isArray(rows) ? rows[0] : undefined
      },
    (literal) => `json_object('is', '${literal}')`,
  )

  it('gives them from procedures too, and goes on with the connection', async () => {
    const { db } = await engine()
    await db.execute(
      sql.raw(
        "create procedure p() begin select 'a' as `__proto__`; select 'b' as `__proto__`, 1.5 as f; end",
      ),
    )
    const [results] = await db.execute(sql`call p()`)

    expect(
      Array.from(Object(results))
        .slice(0, 2)
        .map((rows) => Object.entries(Object(rows)[0])),
    ).toEqual([
      [['__proto__', 'a']],
      [
        ['__proto__', 'b'],
        ['f', '1.5'],
      ],
    ])
  })

  it('takes a Date of the years 0 to 9999, and refuses others by a typed error before anything is sent', async () => {
    const { db } = await engine()
    // Where the server would store zeros instead.
    await using connection = await (await engine()).connect()
    await connection.db.execute(sql`set sql_mode = ''`)
    await db.execute(sql`create table if not exists dates (at datetime(3))`)
    await connection.db.execute(sql`insert into dates values (${new Date('9999-12-31T23:59:59.999Z')})`)

    for (const iso of [
      '+010000-01-01T00:00:00.000Z',
      '+012000-01-01T00:00:00.000Z',
      '-000001-01-01T00:00:00.000Z',
    ]) {
      const error = await failure(connection.db.execute(sql`insert into dates values (${new Date(iso)})`))
      expect(causes(error).at(-1)).toMatchObject({ code: 'INVALID_PARAMETER' })
    }
    const [rows] = await db.execute(sql`select cast(at as char) as at from dates`)
    expect(rows).toEqual([{ at: '9999-12-31 23:59:59.999' }])
  })
})

describe('SQLite', () => {
  namesOfColumns(
    '"',
    () =>
      async (text, params = []) => {
        const engine = await manager.getEngine(':memory:')
        const statement = String(text).replace('$1', '?')
        const result: unknown = await engine.run({ sql: statement, params, asArrays: false })
        const row: unknown = Reflect.get(Object(result), 'rows')[0]
        return Object.fromEntries(
          Object.entries(Object(row)).map(([name, value]) => [name, JSON.parse(String(value))]),
        )
      },
    (literal) => `'{"is":"${literal}"}'`,
  )
})

describeNeeding('postgresql', 'what Drizzle does by itself', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createPostgres()
  })
  afterAll(async () => {
    await manager.invalidate(database.dburi)
    await database.drop()
  })
  const strange = pgTable('strange', {
    json: jsonb('json'),
    at: timestamp('at', { withTimezone: true }),
  })

  it('is what plain Drizzle does, as the page on values says', { tags: 'full' }, async () => {
    const told = new SessionManager({ models: { postgresql: { ...ledger, strange } } })
    const plain = drizzle(database.dburi, plainLedger)
    await using session = await told.sessionFactory(database.dburi as 'postgresql://')
    const { db } = session
    await db.insert(ledger.account).values({ id: 9007199254740993n })
    const entry = { id: 9007199254740993n, accountId: 9007199254740993n, amount: '12345678901234567890.12' }
    await db.insert(ledger.entry).values(entry)
    await db.execute(sql`insert into strange values
      ('"null"', '0001-01-01 00:00:00+00'), ('"[1, 2]"', '12000-01-01 00:00:00+00')`)
    await session.commit()
    const query = { with: { entries: true } } as const

    // Plain Drizzle 0.45 loses digits where this library reads the JSON.
    expect(await db.query.account.findMany(query)).toEqual([{ id: entry.id, entries: [entry] }])
    const [account] = await plain.query.account.findMany(query)
    expect(account?.entries[0]?.amount).toBe(drizzleMajor === '1.0' ? entry.amount : '12345678901234567000')
    // Without a relation nothing goes through JSON.
    expect(await db.select().from(ledger.entry)).toEqual([entry])
    const rows = await db.select().from(strange)
    expect(rows).toEqual(await plain.select().from(strange))
    expect(rows.map(({ at }) => at?.getUTCFullYear())).toEqual([2001, 12000])
    await plain.$client.end()
    await told.dispose()
  })
})
