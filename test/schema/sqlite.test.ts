/** The SQLite half of prepareModels: what models become, with drizzle-kit and a real database as the judges. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, createClient } from '@libsql/client'
import { casedTables, casingOption } from 'drizzle-major/cased'
import { sqliteByKit } from 'drizzle-major/kit'
import { alikeSqlite } from 'drizzle-major/kit-differences'
import { eq, inArray, type SQL, sql } from 'drizzle-orm'
import { toCamelCase, toSnakeCase } from 'drizzle-orm/casing'
import { drizzle } from 'drizzle-orm/libsql'
import * as s from 'drizzle-orm/sqlite-core'
import fc from 'fast-check'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { type Definition, inStages, statementsOf } from '../../src/schema/definition.ts'
import { SchemaError } from '../../src/schema/errors.ts'
import { type Casing, columnName } from '../../src/schema/names.ts'
import { prepareModels } from '../../src/schema/prepare.ts'
import { sqliteDefinitions } from '../../src/schema/sqlite/definitions.ts'
import { sqliteCatalogue as wholeCatalogue } from '../fixtures/catalogue.ts'
import { loops } from '../fixtures/loops.ts'
import { arbitraryRecipes, modelsOf } from '../fixtures/schemas/sqlite-arbitrary.ts'
import * as shop from '../fixtures/schemas/sqlite-shop.ts'
import * as wide from '../fixtures/schemas/sqlite-wide.ts'

type Models = Record<string, unknown>

const directory = mkdtempSync(join(tmpdir(), 'dc-sqlite-'))
afterAll(() => rmSync(directory, { recursive: true }))

const clients: Client[] = []
afterEach(() => {
  for (const client of clients.splice(0)) client.close()
})

function open(url = ':memory:'): Client {
  const client = createClient({ url })
  clients.push(client)
  return client
}

/** A database made by prepareModels. */
async function prepared(models: Models, client = open()): Promise<Client> {
  await prepareModels({ dialect: 'sqlite', db: drizzle({ client }) }, models)
  return client
}

/** A database made by running statements one after the other. */
async function made(statements: readonly string[], client = open()): Promise<Client> {
  for (const statement of statements) await client.execute(statement)
  return client
}

const sqliteCatalogue = async (client: Client) => alikeSqlite(await wholeCatalogue(client))

function scriptOf(models: Models, casing?: Casing): string[] {
  return statementsOf(sqliteDefinitions(models, casing))
}

async function typesAgree(models: Models, client: Client, casing?: Casing): Promise<void> {
  for (const { kind, name, columns } of sqliteDefinitions(models, casing)) {
    if (kind !== 'table') continue
    const { rows } = await client.execute({
      sql: 'select name, type from pragma_table_xinfo(?)',
      args: [name],
    })
    const catalogue = rows.map((row) => ({ name: row['name'], type: String(row['type']).toUpperCase() }))
    expect(columns.map(({ name, type }) => ({ name, type }))).toEqual(catalogue)
  }
}

function refusal(models: Models): SchemaError {
  try {
    sqliteDefinitions(models)
  } catch (error) {
    if (error instanceof SchemaError) return error
    throw error
  }
  throw new Error('The models were not refused')
}

function definitionOf(table: s.SQLiteTable): Definition {
  const [definition] = sqliteDefinitions({ table })
  if (definition === undefined) throw new Error('There is no definition')
  return definition
}

describe('beside drizzle-kit', () => {
  it.each(['memory', 'file'])('everything there is makes the same database, in a %s', async (where) => {
    const expected = await made(await sqliteByKit(wide))

    const actual = await prepared(
      wide,
      open(where === 'file' ? `file:${join(directory, 'wide.db')}` : ':memory:'),
    )

    expect(await sqliteCatalogue(actual)).toEqual(await sqliteCatalogue(expected))
    await typesAgree(wide, actual)
  })

  it('schemas made at random make the same databases', { tags: 'full', timeout: 300_000 }, async () => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31)
    console.log(`SQLite schemas of seed ${seed}`)

    await fc.assert(
      fc.asyncProperty(arbitraryRecipes(), async (recipes) => {
        const models = modelsOf(recipes)
        const expected = await made(await sqliteByKit(models))
        const actual = await prepared(models)

        expect(await sqliteCatalogue(actual)).toEqual(await sqliteCatalogue(expected))
        await typesAgree(models, actual)
        for (const client of clients.splice(0)) client.close()
      }),
      { seed, numRuns: loops(200, 2000, 60) },
    )
  })

  it.each([undefined, 'snake_case', 'camelCase'] as const)(
    'keys become the same names with casing %s',
    async (casing) => {
      const { sqliteTable } = casedTables(casing)
      const option = casingOption(casing)
      const owners = sqliteTable(
        'owners',
        { ownerId: s.integer().primaryKey(), first_name: s.text().notNull(), lastName: s.text('LastName') },
        (t) => [s.unique().on(t.first_name, t.lastName)],
      )
      const pets = sqliteTable(
        'pets',
        {
          petName: s.text().unique(),
          ownerId: s.integer().references(() => owners.ownerId),
          bornIn: s.integer(),
          twiceBorn: s.integer().generatedAlwaysAs((): SQL => sql`${pets.bornIn} * 2`),
        },
        (t) => [
          s.primaryKey({ columns: [t.petName, t.ownerId] }),
          s.foreignKey({
            columns: [t.petName, t.ownerId],
            foreignColumns: [owners.first_name, owners.ownerId],
          }),
          s.index('pets_by_birth').on(t.bornIn, sql`${t.ownerId} desc`).where(sql`${t.bornIn} > 1`),
          s.check('born', sql`${t.bornIn} > 1900`),
        ],
      )
      const models = { owners, pets }
      const expected = await made(await sqliteByKit(models, option))

      const actual = await made(scriptOf(models, option))

      expect(await sqliteCatalogue(actual)).toEqual(await sqliteCatalogue(expected))
      await typesAgree(models, actual, option)
    },
  )

  it('a casing makes of a key what Drizzle makes of it', () => {
    const conversions = { snake_case: toSnakeCase, camelCase: toCamelCase }
    const key = fc.oneof(fc.string(), fc.stringMatching(/^[a-zA-Z0-9_'’ ]{0,20}$/))

    fc.assert(
      fc.property(key, fc.constantFrom('snake_case', 'camelCase'), (name, casing) => {
        expect(columnName({ name, keyAsName: true }, casing)).toBe(conversions[casing](name))
        expect(columnName({ name, keyAsName: false }, casing)).toBe(name)
      }),
    )
  })

  it('an alias is a table, with indexes called as those of its table', async () => {
    const pets = s.sqliteTable(
      'pets',
      {
        id: s.integer('id').primaryKey(),
        name: s.text('name').unique(),
        parent: s.integer('parent').references((): s.AnySQLiteColumn => pets.id),
      },
      (t) => [s.index('by_parent').on(t.parent), s.check('not itself', sql`${t.parent} <> ${t.id}`)],
    )
    const models = { alias: s.alias(pets, 'others') }
    const expected = await made(await sqliteByKit(models))

    const actual = await prepared(models)

    expect(await sqliteCatalogue(actual)).toEqual(await sqliteCatalogue(expected))
    expect(refusal({ pets, ...models })).toMatchObject({ code: 'SCHEMA_NAME_TAKEN' })
  })

  it('a type in quotes is what is in them', async () => {
    const types = [
      '"weird type"',
      "'not null'",
      '`ti``ck`',
      '[text default 1]',
      '"a""b" collate nocase',
      'varchar ( 3 )',
    ]
    const columns = Object.fromEntries(
      types.map((type) => [type, s.customType<{ data: string }>({ dataType: () => type })(`of ${type}`)]),
    )
    const table = s.sqliteTable('table', columns)
    const odd = s.sqliteTable('odd', {
      odd: s.customType<{ data: string }>({ dataType: () => 'text /* ? */' })('odd'),
    })

    await typesAgree({ table }, await prepared({ table }))
    expect(definitionOf(odd).columns.map(({ type }) => type)).toEqual([undefined])
  })

  it('the names that were chosen for keys are kept, which drizzle-kit drops', () => {
    const [text] = definitionOf(wide.places).statements(undefined)

    expect(text?.text).toContain('CONSTRAINT `chosen name` PRIMARY KEY(`book_id`, `room`)')
    expect(text?.text).toContain('CONSTRAINT `of the parent` FOREIGN KEY (`parent_book`,`room`)')
  })
})

describe('a schema such as Drizzle tests itself with', () => {
  it.each(['memory', 'file'])('is created and used in a %s', async (where) => {
    const client = open(where === 'file' ? `file:${join(directory, 'shop.db')}` : ':memory:')
    const db = drizzle({ client })

    await prepared(shop, client)
    await typesAgree(shop, client)
    await db.insert(shop.customers).values({ name: 'Ann', json: ['a'] })
    await db.insert(shop.cities).values([{ name: 'Ghent' }, { name: 'Paris' }])
    await db.insert(shop.people).values([
      { name: 'Bo', cityId: 1 },
      { name: 'Cy', cityId: 2 },
    ])
    await db.insert(shop.updated).values({ name: 'Di' })
    const [customer] = await db.select().from(shop.customers)

    expect(customer).toMatchObject({ id: 1, name: 'Ann', verified: false, json: ['a'] })
    expect(Math.abs((customer?.createdAt.getTime() ?? 0) - Date.now())).toBeLessThan(60_000)
    expect(await db.select().from(shop.inGhent)).toEqual([{ id: 1, name: 'Bo', cityId: 1 }])
    expect(await db.select().from(shop.inGhentRaw)).toEqual([{ id: 1, name: 'Bo', cityId: 1 }])
    expect(await db.select().from(shop.byCity)).toEqual([
      { id: 1, name: 'Ghent', count: 1 },
      { id: 2, name: 'Paris', count: 1 },
    ])
    await db.insert(shop.members).values({ name: 'Flo' })
    expect(await db.select().from(shop.membersAndPosts)).toMatchObject([
      { name: 'Flo', content: null, others: 1 },
    ])
    expect(await db.select({ counter: shop.updated.counter }).from(shop.updated)).toEqual([{ counter: 1 }])
    await expect(db.insert(shop.people).values({ name: 'Ed', cityId: 9 })).rejects.toThrow()
  })

  it('makes the database that drizzle-kit makes, but for a default that drizzle-kit cannot write', async () => {
    const { customers: _, ...models } = shop
    const expected = await made(await sqliteByKit(models))

    expect(await sqliteCatalogue(await prepared(models))).toEqual(await sqliteCatalogue(expected))
    await expect(made(await sqliteByKit(shop))).rejects.toThrow('near "(": syntax error')
  })

  it('exists completely at the second call, views included', async () => {
    const client = await prepared(shop)

    const report = await prepareModels({ dialect: 'sqlite', db: drizzle({ client }) }, shop)

    expect(report.created).toEqual([])
    expect(report.present).toEqual(expect.arrayContaining(['shop_carts', 'in_ghent', 'by_city']))
  })

  it('is a complete script', async () => {
    for (const models of [shop, wide]) {
      const client = await made(scriptOf(models))

      expect(await sqliteCatalogue(client)).toEqual(await sqliteCatalogue(await prepared(models)))
    }
  })
})

describe('where drizzle-kit writes SQL that fails or means something else', () => {
  it('quotes in every name and value are escaped', async () => {
    const odd = s.sqliteTable(
      'a `tick` "quote"',
      {
        id: s.integer('`id"').primaryKey(),
        list: s.text('x`,"y; z').default("'`"),
        json: s.text('j', { mode: 'json' }).default({ a: "it's" }),
        parent: s.integer('pa`rent').references((): s.AnySQLiteColumn => odd.id),
      },
      (t) => [
        s.check('a "check", `really`; yes', sql`${t.list} <> 'x'`),
        s.index('an `index", of; it').on(t.list, t.parent).where(sql`${t.list} <> ';'`),
        s.unique('a `unique"').on(t.list),
      ],
    )
    const seen = s.sqliteView('a `view"').as((qb) => qb.select().from(odd).where(eq(odd.list, "`'")))

    const client = await prepared({ seen, odd })
    const db = drizzle({ client })
    await db.insert(odd).values({})

    expect(await db.select().from(odd)).toEqual([{ id: 1, list: "'`", json: { a: "it's" }, parent: null }])
    expect(await db.select().from(seen)).toEqual([])
    await expect(db.insert(odd).values({ list: 'x' })).rejects.toThrow()
    const { rows } = await client.execute(`select name from sqlite_master where name like 'a%' order by 1`)
    expect(rows.map(({ name }) => name)).toEqual([
      'a `tick` "quote"',
      'a `unique"',
      'a `view"',
      'an `index", of; it',
    ])
  })

  it('defaults are read as the values that the model says', async () => {
    const bytes = s.customType<{ data: number[]; driverData: Uint8Array }>({
      dataType: () => 'blob',
      toDriver: (numbers) => Uint8Array.from(numbers),
      fromDriver: (value) => [...new Uint8Array(value)],
    })
    const upper = s.customType<{ data: string }>({
      dataType: () => 'text',
      toDriver: (value) => sql`upper(${value})`,
    })
    const at = new Date('2026-01-02T03:04:05.678Z')
    const values = s.sqliteTable('values', {
      id: s.integer('id').primaryKey(),
      timestamp: s.integer('timestamp', { mode: 'timestamp' }).default(at),
      timestampMs: s.integer('timestamp_ms', { mode: 'timestamp_ms' }).default(at),
      buffer: s.blob('buffer', { mode: 'buffer' }).default(Buffer.from([0, 255, 39])),
      blobBigint: s.blob('blob_bigint', { mode: 'bigint' }).default(2n ** 70n),
      numericBigint: s.numeric('numeric_bigint', { mode: 'bigint' }).default(2n ** 60n + 1n),
      blobJson: s.blob('blob_json', { mode: 'json' }).default("it's"),
      textJson: s.text('text_json', { mode: 'json' }).default('text'),
      jsonFlag: s.text('json_flag', { mode: 'json' }).default(true),
      slash: s.text('slash').default('\\'),
      jsonNumber: s.text('json_number', { mode: 'json' }).default(5),
      nothing: s.text('nothing').$type<string | null>().default(null),
      bytes: bytes('bytes').default([1, 2]),
      upper: upper('upper').default('loud'),
      bare: s.integer('bare').default(sql`1 + 1`),
      call: s.text('call').default(sql`lower('A') || ')'`),
      two: s.text('two').default(sql`('a') || ('b')`),
      parameter: s.text('parameter').default(sql`${'p'}`),
    })
    const db = drizzle({ client: await prepared({ values }) })

    await db.insert(values).values({})

    expect(await db.select().from(values)).toEqual([
      {
        id: 1,
        timestamp: new Date('2026-01-02T03:04:05.000Z'),
        timestampMs: at,
        buffer: Buffer.from([0, 255, 39]),
        blobBigint: 2n ** 70n,
        numericBigint: 2n ** 60n + 1n,
        blobJson: "it's",
        textJson: 'text',
        jsonFlag: true,
        slash: '\\',
        jsonNumber: 5,
        nothing: null,
        bytes: [1, 2],
        upper: 'LOUD',
        bare: 2,
        call: 'a)',
        two: 'ab',
        parameter: 'p',
      },
    ])
  })

  it('values in expressions are written down', async () => {
    const at = new Date(1_700_000_000_000)
    const things = s.sqliteTable(
      'things',
      {
        id: s.integer('id').primaryKey(),
        kind: s.text('kind'),
        at: s.integer('at', { mode: 'timestamp' }),
        data: s.blob('data', { mode: 'buffer' }),
        label: s.text('label').generatedAlwaysAs((): SQL => sql`coalesce(${things.kind}, ${'none; at all'})`),
      },
      (t) => [
        s.check('kinds', inArray(t.kind, ["it's", 'b'])),
        s.check('bytes', sql`${t.data} <> ${Buffer.from([1])} and ${t.id} < ${10n ** 12n}`),
        s.check('minus', sql`${t.id} -${-1} > 0`),
        s.index('recent').on(sql`coalesce(${t.kind}, ${'x'}, ${t.label})`, t.at).where(eq(t.at, at)),
      ],
    )
    const recent = s.sqliteView('recent_things').as((qb) =>
      qb
        .select({ id: things.id })
        .from(things)
        .where(sql`${eq(things.at, at)} and ${things.id} < ${2n ** 40n}`),
    )
    const db = drizzle({ client: await prepared({ things, recent }) })

    await db.insert(things).values([{ kind: "it's", at }, { kind: 'b' }, {}])

    expect(await db.select().from(recent)).toEqual([{ id: 1 }])
    expect(await db.select({ label: things.label }).from(things)).toEqual([
      { label: "it's" },
      { label: 'b' },
      { label: 'none; at all' },
    ])
    await expect(db.insert(things).values({ kind: 'c' })).rejects.toThrow()
    await expect(db.insert(things).values({ data: Buffer.from([1]) })).rejects.toThrow()
  })

  it('a view selects the columns by the names that the casing gives them', async () => {
    const { sqliteTable } = casedTables('snake_case')
    const staff = sqliteTable('staff', { staffId: s.integer().primaryKey(), firstName: s.text() })
    const teams = sqliteTable('teams', { teamName: s.text(), leadId: s.integer() })
    const upper = sql<string>`upper(${staff.firstName})`.as('upperName')
    const plain = s
      .sqliteView('plain')
      .as((qb) => qb.select().from(staff).where(eq(staff.firstName, 'firstName')))
    const joined = s
      .sqliteView('joined')
      .as((qb) =>
        qb
          .select({ teamName: teams.teamName, upper })
          .from(teams)
          .innerJoin(staff, eq(staff.staffId, teams.leadId)),
      )
    const nested = s.sqliteView('nested').as((qb) => {
      const inner = qb.select({ firstName: staff.firstName, upper }).from(staff).as('inner')
      return qb.select({ firstName: inner.firstName, upper: inner.upper }).from(inner)
    })
    const counted = s.sqliteView('counted').as((qb) => {
      const firsts = qb.$with('firsts').as(qb.select({ firstName: staff.firstName }).from(staff))
      return qb
        .with(firsts)
        .select({ count: sql<number>`count(*)`.as('count') })
        .from(firsts)
        .where(sql`${firsts.firstName} = 'firstName'`)
    })
    const models = { staff, teams, plain, joined, nested, counted }

    const casing = casingOption('snake_case')
    const client = await made(scriptOf(models, casing))
    const db = drizzle({ client, ...(casing && { casing }) })
    await db.insert(staff).values({ firstName: 'firstName' })
    await db.insert(teams).values({ teamName: 'A', leadId: 1 })

    expect(await db.select().from(plain)).toEqual([{ staffId: 1, firstName: 'firstName' }])
    expect((await client.execute('select * from joined')).rows).toMatchObject([
      { team_name: 'A', upperName: 'FIRSTNAME' },
    ])
    expect((await client.execute('select * from nested')).rows).toMatchObject([
      { first_name: 'firstName', upperName: 'FIRSTNAME' },
    ])
    expect(await db.select().from(counted)).toEqual([{ count: 1 }])
  })
})

describe('views', () => {
  const base = s.sqliteTable('base', { id: s.integer('id').primaryKey() })

  it('come after what they read, also when only their text says so', () => {
    const first = s.sqliteView('first').as((qb) => qb.select().from(base))
    const second = s.sqliteView('second', { id: s.integer('id') }).as(sql`select id from first`)
    const third = s.sqliteView('third').as((qb) => qb.select().from(second))

    const names = sqliteDefinitions({ third, second, first, base }).map(({ name }) => name)

    expect(names).toEqual(['base', 'first', 'second', 'third'])
  })

  it('come after what they read, beside tables and columns whose names have theirs within', async () => {
    const table = s.sqliteTable('my notes', { notes: s.integer('notes').primaryKey() })
    const below = s.sqliteView('below').as((qb) => qb.select().from(table))
    const notes = s.sqliteView('notes').as((qb) => qb.select().from(below))
    const client = open()

    await prepareModels({ dialect: 'sqlite', db: drizzle({ client }) }, { table, below, notes })

    const { rows } = await client.execute("select name from sqlite_master where type = 'view' order by rowid")
    expect(rows.map(({ name }) => name)).toEqual(['below', 'notes'])
  })

  it.each([
    'select id from a, "first" f',
    'select id from main.first',
    'select id from [first]',
    'select id from (`first`)',
    'select id from a where id in first',
  ])('come after what they read, however it is written: %s', (query) => {
    const first = s.sqliteView('first', { id: s.integer('id') }).as(sql`select 1 as id`)
    const a = s.sqliteView('a', { id: s.integer('id') }).as(sql.raw(query))
    const other = s.sqliteView('b', { id: s.integer('id') }).as(sql.raw(query))

    const names = sqliteDefinitions({ a, other, first }).map(({ name }) => name)

    expect(names.indexOf('first')).toBeLessThan(names.indexOf('b'))
  })

  it('marked as existing are not created', async () => {
    const theirs = s.sqliteView('theirs', { id: s.integer('id') }).existing()
    const client = open()

    const report = await prepareModels({ dialect: 'sqlite', db: drizzle({ client }) }, { base, theirs })

    expect(report).toMatchObject({ created: ['base'], present: [] })
  })

  it('are accepted under the name of a table, but a table under the name of a view is not', async () => {
    const client = await made(['create table seen (id integer)', 'create view base as select 1 as id'])
    const seen = s.sqliteView('seen').as((qb) => qb.select().from(base))
    const db = drizzle({ client })

    await expect(prepareModels({ dialect: 'sqlite', db }, { base, seen })).rejects.toMatchObject({
      code: 'SCHEMA_NAME_TAKEN',
      message: 'Cannot create the view seen: a table there has that name',
    })
    expect(await prepareModels({ dialect: 'sqlite', db }, { base })).toMatchObject({ created: [] })
  })
})

describe('an added column', () => {
  const parent = s.sqliteTable('parent', { id: s.integer('id').primaryKey() })
  const custom = (type: string) => s.customType<{ data: string }>({ dataType: () => type })
  const grown = s.sqliteTable(
    'grown',
    {
      id: s.integer('id').primaryKey(),
      a: s.integer('a'),
      nullable: s.text('nullable'),
      number: s.integer('number').default(-3).notNull(),
      flag: s.integer('flag', { mode: 'boolean' }).default(true).notNull(),
      word: s.text('word').default("it's").notNull(),
      bytes: s.blob('bytes', { mode: 'buffer' }).default(Buffer.from([1])),
      json: s.text('json', { mode: 'json' }).default({}).notNull(),
      constant: s.real('constant').default(sql`(-1.5e3)`),
      hex: s.integer('hex').default(sql`((0x1F))`).notNull(),
      none: s.text('none').default(sql`(NULL)`),
      unique: s.text('unique').unique(),
      collated: custom('text collate nocase')('collated'),
      parentId: s.integer('parent_id').references(() => parent.id, { onDelete: 'cascade' }),
      otherParent: s.integer('other_parent').default(sql`null`),
      checked: s.integer('checked').default(1),
      virtual: s.integer('virtual').generatedAlwaysAs(sql`id + 1`, { mode: 'virtual' }).notNull(),
    },
    (t) => [
      s.check('own check', sql`${t.checked} > 0`),
      s.foreignKey({ name: 'to the parent', columns: [t.otherParent], foreignColumns: [parent.id] }),
    ],
  )
  const old = ['create table parent (id integer primary key)', 'insert into parent values (1)']
  const oldGrown = [
    ...old,
    'create table grown (id integer primary key not null, a integer)',
    'insert into grown values (1, 2)',
  ]

  it('has its default in existing rows, and its constraints for new ones', async () => {
    const client = await made(oldGrown)
    const { columns, indexes } = definitionOf(grown)

    const additions = columns.slice(2).map(({ add }) => add(undefined))
    expect(additions).not.toContain(undefined)
    await made(inStages(additions.flatMap((statements) => statements ?? [])), client)
    for (const { create } of indexes) await client.execute(create(undefined))

    const db = drizzle({ client })
    expect(await db.select().from(grown)).toMatchObject([
      {
        id: 1,
        a: 2,
        number: -3,
        flag: true,
        word: "it's",
        json: {},
        constant: -1500,
        hex: 31,
        none: null,
        virtual: 2,
      },
    ])
    await expect(db.insert(grown).values({ parentId: 2 })).rejects.toThrow()
    await expect(db.insert(grown).values({ otherParent: 2 })).rejects.toThrow()
    await expect(db.insert(grown).values({ checked: 0 })).rejects.toThrow()
    const whole = await prepared({ parent, grown })
    for (const pragma of ['table_xinfo', 'foreign_key_list', 'index_list']) {
      const ask = `select * from pragma_${pragma}('grown')`
      const ignoringOrder = async (of: Client) =>
        new Set((await of.execute(ask)).rows.map((row) => JSON.stringify(row)))
      expect(await ignoringOrder(client)).toEqual(await ignoringOrder(whole))
    }
  })

  it('is added before the generated column that reads it', async () => {
    const read = s.sqliteTable('read', {
      id: s.integer('id').primaryKey(),
      doubled: s.integer('doubled').generatedAlwaysAs((): SQL => sql`${read.number} * 2`),
      number: s.integer('number').default(4),
    })
    const client = await made(['create table read (id integer primary key)', 'insert into read values (1)'])

    const additions = definitionOf(read)
      .columns.slice(1)
      .flatMap(({ add }) => add(undefined) ?? [])
    await made(inStages(additions), client)

    expect(additions.map(({ stage }) => stage)).toEqual(['generated column', 'column'])
    expect(await drizzle({ client }).select().from(read)).toEqual([{ id: 1, doubled: 8, number: 4 }])
  })

  const shy = s.sqliteTable('shy', {
    id: s.integer('id').primaryKey(),
    required: s.text('required').notNull(),
    requiredNull: s.text('required_null').default(sql`(null)`).notNull(),
    now: s.text('now').default(sql`CURRENT_TIMESTAMP`),
    epoch: s.integer('epoch').default(sql`(strftime('%s', 'now'))`),
    sum: s.integer('sum').default(sql`(1 + 1)`),
    call: s.text('call').default(sql`lower('A')`),
    stored: s.integer('stored').generatedAlwaysAs(sql`1`, { mode: 'stored' }),
    referring: s
      .integer('referring')
      .default(1)
      .references(() => parent.id),
  })

  it.each(definitionOf(shy).columns.map(({ name, add }) => [name, add] as const))(
    'is impossible where SQLite refuses it: %s',
    async (name, add) => {
      const client = await made([...old, 'create table shy (a integer)', 'insert into shy values (1)'])
      const [create] = definitionOf(shy).statements(undefined)
      const line = create?.text.split('\n\t').find((part) => part.startsWith(`\`${name}\``))
      const references = name === 'referring' ? ' references parent(id)' : ''

      expect(add(undefined)).toBeUndefined()
      expect(line).toBeDefined()
      await expect(
        client.execute(`alter table shy add column ${line?.replace(/,$/, '')}${references}`),
      ).rejects.toThrow(/cannot add/i)
    },
  )

  it('is not added if every row would get the same value in a unique column', () => {
    const same = () => s.text().default('same')
    const columns = { a: same().unique(), b: same(), c: same(), d: s.text().unique(), e: same(), f: same() }
    const table = s.sqliteTable('table', columns, (t) => [
      s.unique().on(t.b),
      s.uniqueIndex('own').on(t.c),
      s.uniqueIndex('partial').on(t.e).where(sql`a is null`),
      s.unique().on(t.e, t.f),
    ])

    const refused = definitionOf(table).columns.filter(({ add }) => add(undefined) === undefined)
    expect(refused.map(({ name }) => name)).toEqual(['a', 'b', 'c'])
  })

  it('is not added if a constraint over several columns would be missing', () => {
    const shared = s.sqliteTable(
      'shared',
      {
        a: s.integer('a'),
        b: s.integer('b'),
        c: s.integer('c'),
        d: s.integer('d'),
        e: s.integer('e'),
        f: custom('text not null')('f'),
      },
      (t) => [
        s.primaryKey({ columns: [t.a, t.b] }),
        s.check('both', sql`c > d`),
        s.foreignKey({ columns: [t.e, t.a], foreignColumns: [t.a, t.b] }),
      ],
    )

    expect(definitionOf(shared).columns.map(({ add }) => add(undefined))).toEqual(Array(6).fill(undefined))
  })
})

describe('an index', () => {
  it('lists its columns, also those in its expressions', () => {
    const table = s.sqliteTable('table', { a: s.text('a').unique(), b: s.text('b'), c: s.text('c') }, (t) => [
      s.index('plain').on(t.b, t.a),
      s
        .index('expressions')
        .on(sql`lower(${t.a})`)
        .where(inArray(t.c, ['b'])),
    ])

    expect(definitionOf(table).indexes.map(({ name, columns }) => [name, columns])).toEqual([
      ['table_a_unique', ['a']],
      ['plain', ['b', 'a']],
      ['expressions', ['a', 'c']],
    ])
  })

  it('is created on a table that lacks it', async () => {
    const whole = await prepared(wide)
    const client = await prepared(wide)
    const indexes = sqliteDefinitions(wide).flatMap((definition) => definition.indexes)
    const quoted = indexes.map(({ name }) => `"${name.replaceAll('"', '""')}"`)
    for (const name of quoted) await client.execute(`drop index ${name}`)

    for (const { create } of indexes) await client.execute(create(undefined))

    expect(indexes.length).toBeGreaterThan(8)
    expect(await sqliteCatalogue(client)).toEqual(await sqliteCatalogue(whole))
  })

  it('and an equal unique are one; a different one of its name is rejected', () => {
    const columns = { a: s.text('a').unique('twice'), b: s.text('b') }
    const same = s.sqliteTable('same', columns, (t) => [s.uniqueIndex('twice').on(t.a)])
    const other = s.sqliteTable('other', columns, (t) => [s.index('twice').on(t.b)])

    expect(definitionOf(same).indexes.map(({ name }) => name)).toEqual(['twice'])
    expect(refusal({ other })).toMatchObject({ code: 'SCHEMA_NAME_TAKEN' })
  })

  it('cannot have the name of another table, view or index, whatever its case', () => {
    const one = s.sqliteTable('one', { a: s.text('a') }, (t) => [s.index('Taken').on(t.a)])
    const two = s.sqliteTable('two', { a: s.text('a') }, (t) => [s.index('taken').on(t.a)])
    const three = s.sqliteTable('ONE', { a: s.text('a') })

    for (const models of [
      { one, two },
      { one, three },
    ]) {
      expect(refusal(models)).toMatchObject({ code: 'SCHEMA_NAME_TAKEN' })
    }
  })
})

describe('what SQLite cannot express is rejected by name', () => {
  const id = s.integer('id')
  const day = s.customType<{ data: Date }>({ dataType: () => 'text' })
  const refused: Record<string, [string, unknown]> = {
    'a default that speaks of a column': [
      'the default of its column "b" speaks of "id"',
      s.sqliteTable('bad', { id, b: s.integer('b').default(sql`${sql.identifier('id')} + 1`) }),
    ],
    'a default of no type that SQLite has': [
      'the default of its column "day" is no plain value',
      s.sqliteTable('bad', { day: day('day').default(new Date(0)) }),
    ],
    'a default with a NUL': [
      'the default of its column "text" is no plain value',
      s.sqliteTable('bad', { text: s.text('text').default('a\0b') }),
    ],
    'a default that is no JSON': [
      'the default of its column "json" cannot be converted (TypeError: ',
      s.sqliteTable('bad', { json: s.text('json', { mode: 'json' }).default({ big: 1n }) }),
    ],
    'a default that is no number': [
      'the default of its column "real" is no plain value',
      s.sqliteTable('bad', { real: s.real('real').default(Number.NaN) }),
    ],
    'a check with a value that has no literal': [
      'its check "c" holds a value that cannot be written down',
      s.sqliteTable('bad', { id }, (t) => [s.check('c', sql`${t.id} > ${new Date(0)}`)]),
    ],
    'a view with a placeholder': [
      'its query holds a value that cannot be written down',
      s.sqliteView('bad', { id }).as(sql`select ${sql.placeholder('p')} as id`),
    ],
    'two primary keys': [
      'it has more than one primary key',
      s.sqliteTable('bad', { id: s.integer('id').primaryKey(), b: s.text('b') }, (t) => [
        s.primaryKey({ columns: [t.id, t.b] }),
      ]),
    ],
    'a table without columns': ['it has no columns', s.sqliteTable('bad', {})],
  }

  it.each(Object.entries(refused))('%s', (_, [reason, model]) => {
    const error = refusal({ model })

    expect(error.code).toBe('SCHEMA_UNSUPPORTED')
    expect(error.message).toContain('"bad"')
    expect(error.message).toContain(reason)
  })

  it.each(['', 'a\0b'])('a name that no statement can carry: %j', (name) => {
    const column = s.integer('a')
    const table = s.sqliteTable(name, { column })
    const check = s.sqliteTable('fine', { column }, () => [s.check(name, sql`true`)])
    const index = s.sqliteTable('fine', { column }, (t) => [s.index(name).on(t.column)])

    for (const model of [table, check, index]) {
      expect(refusal({ model })).toMatchObject({ code: 'SCHEMA_INVALID_NAME' })
    }
  })
})
