/** What MySQL models become, with drizzle-kit and a real MariaDB as the judges. */
import { casingOption } from 'drizzle-major/cased'
import { mysqlByKit as kits } from 'drizzle-major/kit'
import { alikeMysql } from 'drizzle-major/kit-differences'
import { eq, sql } from 'drizzle-orm'
import * as my from 'drizzle-orm/mysql-core'
import { drizzle } from 'drizzle-orm/mysql2'
import fc from 'fast-check'
import { type Connection, createConnection } from 'mysql2/promise'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { drawing, mysqlSequence } from '../../src/models/mysql-sequence.ts'
import { statementsOf } from '../../src/schema/definition.ts'
import { SchemaError } from '../../src/schema/errors.ts'
import { ddl } from '../../src/schema/index.ts'
import { mysqlDefinitions } from '../../src/schema/mysql/definitions.ts'
import { catalogueType } from '../../src/schema/mysql/types.ts'
import type { Casing } from '../../src/schema/names.ts'
import { type MysqlCatalogue, readMysqlCatalogue } from '../fixtures/catalogue.ts'
import { drizzleMajor } from '../fixtures/drizzle-major.ts'
import { loops } from '../fixtures/loops.ts'
import * as app from '../fixtures/schemas/mysql-app.ts'
import { arbitraryRecipes, modelsOf } from '../fixtures/schemas/mysql-arbitrary.ts'
import * as wide from '../fixtures/schemas/mysql-wide.ts'
import { describeNeeding, freshMysql } from '../fixtures/servers.ts'

type Models = Record<string, unknown>

describeNeeding('mysql', 'the DDL of MySQL models', () => {
  const database = freshMysql()
  let connection: Connection
  beforeAll(async () => {
    connection = await createConnection({ uri: database.dburi, supportBigNumbers: true })
  })
  afterAll(() => connection.end())

  async function ask(text: string): Promise<Record<string, unknown>[]> {
    const [rows] = await connection.query(text)
    return Array.isArray(rows) ? (rows as Record<string, unknown>[]) : []
  }
  async function empty(): Promise<void> {
    await ask(`drop database ${database.name}`)
    await ask(`create database ${database.name}`)
    await ask(`use ${database.name}`)
  }
  beforeEach(empty)

  async function run(statements: readonly string[]): Promise<void> {
    for (const statement of statements) {
      await ask(statement).catch((error: unknown) => {
        throw new Error(`Refused: ${statement}`, { cause: error })
      })
    }
  }

  const catalogue = async () => alikeMysql(await readMysqlCatalogue(ask, database.name))
  const ours = (models: Models, casing?: Casing) => statementsOf(mysqlDefinitions(models, casing, 'mariadb'))

  async function expectSame(models: Models, casing?: Casing): Promise<void> {
    await run(await kits(models, casing))
    const expected = await catalogue()
    await empty()
    await run(ours(models, casing))
    expect(await catalogue()).toEqual(expected)
  }

  /** What the statements make, or the number of the error with which the server refuses one of them. */
  async function made(statements: readonly string[]): Promise<MysqlCatalogue | { refused: unknown }> {
    for (const statement of statements) {
      const refused = await ask(statement).then(
        () => undefined,
        (error: { errno: number }) => ({ refused: error.errno }),
      )
      if (refused !== undefined) return refused
    }
    return await catalogue()
  }

  /** That each column's type is the one that the catalogue says. */
  async function expectTypes(models: Models, casing?: Casing): Promise<void> {
    const { columns: found = [] } = await catalogue()
    for (const { kind, name, columns } of mysqlDefinitions(models, casing, 'mariadb')) {
      if (kind !== 'table') continue
      const types = found.filter(({ owner }) => owner === name).map(({ name, type }) => [name, typeOf(type)])
      expect(columns.map(({ name, type }) => [name, type === 'json' ? 'longtext' : type])).toEqual(types)
    }
  }
  const typeOf = (type: unknown) => catalogueType(String(type))

  it('makes of a wide schema what drizzle-kit makes of it', async () => {
    await expectSame(wide)

    await expectTypes(wide)
    const { tables = [], columns = [], views = [], references = [] } = await catalogue()
    expect([tables.length, columns.length > 80, views.length, references.length]).toEqual([12, true, 4, 8])
  })

  // Under 1.0 the tables themselves are cased.
  const casings = ['snake_case', 'camelCase', undefined] as const
  it.each(drizzleMajor === '1.0' ? casings.slice(0, 1) : casings)(
    'makes of an application’s schema what drizzle-kit makes of it, with casing %s',
    async (casing) => {
      // Its raw SQL speaks of columns in snake_case.
      const { posts: _, postTags: __, ...plain } = app
      const models = casing === 'snake_case' ? app : plain
      await expectSame(models, casingOption(casing))
      await expectTypes(models, casingOption(casing))
    },
  )

  /** A real application's, those around the limit of drizzle-kit 1.0, and one whose table leaves no room for a hash. */
  const longKeys: [string, string, string][] = [
    ['custom_widget_secret', 'custom_widget_definition', 'definitionId'],
    ['x'.repeat(28), 'y'.repeat(20), 'other'],
    ['x'.repeat(29), 'y'.repeat(20), 'other'],
    ['x'.repeat(44), 'y'.repeat(20), 'other'],
    ['x'.repeat(45), 'y'.repeat(20), 'other'],
  ]
  it.each(longKeys)(
    'calls a foreign key of %s as drizzle-kit does, however long that is',
    async (...names) => {
      const [table, target, column] = names
      const parent = my.mysqlTable(target, { id: my.int().primaryKey() })
      const child = my.mysqlTable(table, { [column]: my.int().references(() => parent.id) })
      const models = { parent, child }
      const isTooLong = `${table}_${column}_${target}_id_fk`.length > 64

      if (drizzleMajor === '1.0' || !isTooLong) return await expectSame(models)
      // Neither can: drizzle-kit 0.31 leaves it to the server to say so.
      expect(await made(await kits(models))).toEqual({ refused: 1059 })
      expect(() => ours(models)).toThrow(`Cannot prepare "${table}": cannot use the name`)
    },
  )

  it('makes of schemas made at random what drizzle-kit makes of them', { timeout: 900_000 }, async () => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31)
    console.log(`MySQL schemas of seed ${seed}`)
    let compared = 0

    await fc.assert(
      fc.asyncProperty(arbitraryRecipes(), async (recipes) => {
        const models = modelsOf(recipes)
        await empty()
        const expected = await made(await kits(models))
        await empty()
        const actual = await made(ours(models))

        expect(actual).toEqual(expected)
        if ('refused' in expected) return
        compared += 1
        await expectTypes(models)
      }),
      { seed, numRuns: loops(40, 600, 20) },
    )
    expect(compared).toBeGreaterThan(loops(30, 500, 14))
  })

  describe('where drizzle-kit writes SQL that fails or means something else', () => {
    const db = () => drizzle({ client: connection })

    it('quotes in names and values are escaped, also backslashes, whatever the sql_mode', async () => {
      const odd = my.mysqlTable(
        'a `tick` "quote" \\',
        {
          id: my.int('`id').primaryKey(),
          text: my.varchar('x`,"y; z\\', { length: 20 }).default("'`\\n"),
          enum: my.mysqlEnum('e', ["it's", 'a,b', 'c)', 'd\\']).default('d\\'),
          json: my.json('j').default({ a: "it's \\ " }),
          parent: my.int('pa`rent').references((): my.AnyMySqlColumn => odd.id),
        },
        (t) => [
          my.check('a `check', sql`${t.text} <> ${'\\'}`),
          my.index('an `index').on(t.text, t.parent),
          my.unique('a `unique').on(t.text),
        ],
      )
      const view = my.mysqlView('a `view').as((qb) => qb.select().from(odd).where(eq(odd.text, "'`\\n")))

      for (const mode of ['NO_BACKSLASH_ESCAPES', 'ANSI_QUOTES', '']) {
        await empty()
        await ask(`set sql_mode = '${mode}'`)
        await run(ours({ view, odd }))
        await ask(`set sql_mode = ''`)
        await db().insert(odd).values({ id: 1 })

        const row = { id: 1, text: "'`\\n", enum: 'd\\', json: { a: "it's \\ " }, parent: null }
        // A MariaDB has JSON as text.
        const rows = (await db().select().from(odd)).map(({ json, ...rest }) => ({
          ...rest,
          json: parsed(json),
        }))
        expect(rows).toEqual([row])
        expect(await db().select({ id: view.id }).from(view)).toEqual([{ id: 1 }])
        await expectTypes({ odd })
        await expect(db().insert(odd).values({ id: 2, text: '\\' })).rejects.toThrow()
      }
    })
    const parsed = (json: unknown): unknown => (typeof json === 'string' ? JSON.parse(json) : json)

    it('defaults are read as the values that the model says', async () => {
      const at = new Date('2026-01-02T03:04:05.678Z')
      const table = my.mysqlTable('values', {
        id: my.serial('id'),
        bigint: my.bigint('bigint', { mode: 'bigint' }).default(2n ** 62n + 1n),
        none: my.text('none').$type<string | null>().default(null),
        long: my.longtext('long').default("it's"),
        call: my.varchar('call', { length: 9 }).default(sql`lower('A')`),
        two: my.varchar('two', { length: 9 }).default(sql`concat(('a'), ${'b'})`),
        seconds: my.datetime('seconds').default(at),
        millis: my.timestamp('millis', { fsp: 3 }).default(at).onUpdateNow(),
        bytes: my
          .customType<{ data: Uint8Array }>({ dataType: () => 'blob' })('bytes')
          .default(Buffer.from([0, 39])),
      })
      await run(ours({ table }))
      await ask("set time_zone = '+00:00'")
      await db().insert(table).values({})

      expect(await db().select().from(table)).toEqual([
        {
          id: 1,
          bigint: 2n ** 62n + 1n,
          none: null,
          long: "it's",
          call: 'a',
          two: 'ab',
          seconds: new Date('2026-01-02T03:04:05Z'),
          millis: at,
          bytes: Buffer.from([0, 39]),
        },
      ])
      await expectTypes({ table })
    })

    it('a generated column that is NOT NULL is made, without it on MariaDB', async () => {
      const table = my.mysqlTable('t', {
        a: my.int().notNull(),
        b: my.int().notNull().generatedAlwaysAs(sql`a + 1`, { mode: 'stored' }),
      })

      expect(((await made(await kits({ table }))) as { refused: unknown }).refused).toBe(1064)
      await run(ours({ table }))
      expect(mysqlDefinitions({ table })[0]?.statements(undefined)[0]?.text).toContain('STORED NOT NULL')
    })

    it('a time can be that of the row’s last change', async () => {
      const table = my.mysqlTable('t', {
        at: my.datetime({ fsp: 3 }).default(sql`CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)`),
        on: my.timestamp({ fsp: 2 }).onUpdateNow(),
      })

      await run(ours({ table }))

      const { columns = [] } = await catalogue()
      expect(columns.map(({ value, extra }) => [value, extra])).toEqual([
        ['current_timestamp(3)', 'on update current_timestamp(3)'],
        ['NULL', 'on update current_timestamp(2)'],
      ])
    })

    it('foreign keys have their actions, in a circle, too', async () => {
      const one = my.mysqlTable('one', {
        id: my.int().primaryKey(),
        self: my.int().references((): my.AnyMySqlColumn => one.id, { onDelete: 'set null' }),
        two: my.int().references((): my.AnyMySqlColumn => two.id, { onDelete: 'cascade' }),
      })
      const two = my.mysqlTable('two', {
        id: my.int().primaryKey(),
        one: my.int().references(() => one.id, { onUpdate: 'cascade' }),
      })

      await run(ours({ one, two }))

      const { references = [] } = await readMysqlCatalogue(ask, database.name)
      expect(references.map(({ part, on_update, on_delete }) => [part, on_update, on_delete])).toEqual([
        ['self', 'NO ACTION', 'SET NULL'],
        ['two', 'NO ACTION', 'CASCADE'],
        ['one', 'CASCADE', 'NO ACTION'],
      ])
    })

    it('views are created after the views that they read', async () => {
      const table = my.mysqlTable('t', { id: my.int() })
      const below = my.mysqlView('z`below').as((qb) => qb.select().from(table))
      const above = my.mysqlView('above').as((qb) => qb.select({ id: below.id }).from(below))

      await run(ours({ above, below, table }))

      expect((await catalogue())['views']).toHaveLength(2)
    })

    it('views are created after what they read, beside tables and columns whose names have theirs within', async () => {
      const table = my.mysqlTable('my notes', { notes: my.int().primaryKey() })
      const below = my.mysqlView('below').as((qb) => qb.select().from(table))
      const notes = my.mysqlView('notes').as((qb) => qb.select({ id: below.notes }).from(below))

      await run(ours({ table, below, notes }))

      expect((await catalogue())['views']).toHaveLength(2)
    })

    it('of an index its method, algorithm and lock are heeded, and an expression is in parentheses', () => {
      const table = my.mysqlTable('t', { id: my.int(), name: my.varchar({ length: 9 }) }, (t) => [
        my.index('plain').on(t.id).using('hash').algorithm('inplace').lock('none'),
        my.uniqueIndex('over').on(sql`lower(${t.name}) desc`, sql`(${t.id} + 1)`),
      ])
      const [definition] = mysqlDefinitions({ table })

      const [create] = definition?.statements(undefined) ?? []
      expect(create?.text).toContain('INDEX `plain` USING HASH (`id`)')
      expect(create?.text).toContain('UNIQUE INDEX `over` ((lower(`name`)) desc, (`id` + 1))')
      expect(definition?.indexes.map((index) => [index.columns, index.create(undefined)])).toEqual([
        [['id'], 'ALTER TABLE `t` ADD INDEX `plain` USING HASH (`id`), ALGORITHM = INPLACE, LOCK = NONE'],
        [['name', 'id'], expect.stringMatching(/^ALTER TABLE `t` ADD UNIQUE INDEX `over`/)],
      ])
    })
  })

  it('is a complete script, for either server', () => {
    const table = my.mysqlTable('t', { id: my.int('id').autoincrement().primaryKey() })
    drawing(table.id, mysqlSequence('s'))

    expect(ddl({ table }, 'mysql')).toEqual([
      'CREATE TABLE `t` (\n  `id` int AUTO_INCREMENT NOT NULL,\n  PRIMARY KEY (`id`)\n)',
    ])
    expect(ddl({ table }, 'mysql', { flavor: 'mariadb' })).toEqual([
      'CREATE SEQUENCE `s`',
      'CREATE TABLE `t` (\n  `id` int NOT NULL DEFAULT nextval(`s`),\n  PRIMARY KEY (`id`)\n)',
    ])
  })
})

describe('what MySQL cannot express is rejected by name', () => {
  const id = my.int('id')
  const inOther = my.mysqlSchema('other')
  const here = my.mysqlTable('here', { id: my.int('id').primaryKey() })
  const refused: Record<string, [string, unknown]> = {
    'a table without columns': ['it has no columns', my.mysqlTable('bad', {})],
    'two primary keys': [
      'it has more than one primary key',
      my.mysqlTable('bad', { id: my.int('id').primaryKey(), b: my.int('b') }, (t) => [
        my.primaryKey({ columns: [t.id, t.b] }),
      ]),
    ],
    'a default that is no number': [
      'the default of its column "d" cannot be written down',
      my.mysqlTable('bad', { d: my.double('d').default(Number.NaN) }),
    ],
    'a default that is no JSON': [
      'the default of its column "j" is no JSON',
      my.mysqlTable('bad', { j: my.json('j').default({ big: 1n }) }),
    ],
    'a check with a value that has no literal': [
      'its check "c" holds a value that cannot be written down',
      my.mysqlTable('bad', { id }, (t) => [my.check('c', sql`${t.id} > ${new Date(0)}`)]),
    ],
    'a view with a placeholder': [
      'its query holds a value that cannot be written down',
      my.mysqlView('bad', { id }).as(sql`select ${sql.placeholder('p')} as id`),
    ],
    'a foreign key that sets a default': [
      'is to set a default',
      my.mysqlTable('bad', { id: my.int('id').references(() => here.id, { onDelete: 'set default' }) }),
    ],
    'a foreign key out of a database that is named into one that is not': [
      'whose model names no database',
      inOther.table('bad', { id: my.int('id').references(() => here.id) }),
    ],
  }

  it.each(Object.entries(refused))('%s', (_, [reason, model]) => {
    const error = refusal({ model })

    expect(error.code).toBe('SCHEMA_UNSUPPORTED')
    expect(error.message).toContain('"bad"')
    expect(error.message).toContain(reason)
  })

  it.each(['', 'a\0b', 'x'.repeat(65), 'party 🎉', 'ends with '])('a name that is none: %j', (name) => {
    const column = my.int('a')
    const table = my.mysqlTable(name, { column })
    const index = my.mysqlTable('fine', { column }, (t) => [my.index(name).on(t.column)])
    const check = my.mysqlTable('fine', { column }, () => [my.check(name, sql`true`)])

    for (const model of [table, index, check]) expect(refusal({ model }).code).toBe('SCHEMA_INVALID_NAME')
  })

  it('a name that is too long, with its owner and advice', () => {
    const name = 'x'.repeat(65)
    const check = my.mysqlTable('fine', { a: my.int('a') }, () => [my.check(name, sql`true`)])
    const key = my.mysqlTable('fine', { a: my.int('a') }, (t) => [
      my.foreignKey({ name, columns: [t.a], foreignColumns: [here.id] }),
    ])

    for (const model of [check, key]) {
      expect(refusal({ model }).message).toBe(
        `Cannot prepare "fine": cannot use the name "${name}": it has 65 characters and the database keeps 64. ` +
          'Give it a shorter name in its model',
      )
    }
  })

  it('names that are taken, whatever their case', () => {
    const twins = my.mysqlTable('t', { a: my.int('a'), b: my.int('b') }, (t) => [
      my.index('i').on(t.a),
      my.index('I').on(t.b),
    ])
    const one = my.mysqlTable('one', { a: my.int('a') }, (t) => [
      my.foreignKey({ name: 'f', columns: [t.a], foreignColumns: [here.id] }),
    ])
    const two = my.mysqlTable('two', { a: my.int('a') }, (t) => [
      my.foreignKey({ name: 'F', columns: [t.a], foreignColumns: [here.id] }),
    ])

    for (const models of [
      { twins },
      { one, two },
      { one, again: my.mysqlTable('one', { b: my.int('b') }) },
    ] satisfies Models[]) {
      expect(refusal(models).code).toBe('SCHEMA_NAME_TAKEN')
    }
  })

  function refusal(models: Models): SchemaError {
    try {
      mysqlDefinitions(models)
    } catch (error) {
      if (error instanceof SchemaError) return error
      throw error
    }
    throw new Error('The models were not refused')
  }
})
