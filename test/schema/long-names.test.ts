import { postgresqlByKit as kits } from 'drizzle-major/kit'
import { alikePostgresql } from 'drizzle-major/kit-differences'
import { sql } from 'drizzle-orm'
import * as pg from 'drizzle-orm/pg-core'
import { drizzle } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { statementsOf } from '../../src/schema/definition.ts'
import type { PrepareMode } from '../../src/schema/options.ts'
import { postgresqlDefinitions } from '../../src/schema/postgresql/definitions.ts'
import { prepareModels } from '../../src/schema/prepare.ts'
import { readPostgresqlCatalogue } from '../fixtures/catalogue.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'

type Models = Record<string, unknown>

/** More than 63 bytes, with characters of two bytes at the border. */
const long = (start: string) => `${start} ${'ü'.repeat(40)}`
/** What PostgreSQL makes of it. */
const truncated = (start: string) => `${start} ${'ü'.repeat(Math.floor((62 - start.length) / 2))}`

function everyKind() {
  const schema = pg.pgSchema(long('schema'))
  const mood = pg.pgEnum(long('mood'), ['glad'])
  const sequence = pg.pgSequence(long('sequence'))
  const parent = pg.pgTable(long('parent'), {
    id: pg
      .integer(long('id'))
      .primaryKey()
      .generatedAlwaysAsIdentity({ name: long('identity') }),
  })
  const child = pg.pgTable(
    long('child'),
    {
      one: pg.integer(long('one')).notNull(),
      other: pg.integer(long('other')).notNull(),
      unique: pg.text(long('unique')).unique(long('unique of one')),
      mood: mood(long('mood')).default('glad'),
      added: pg.text(long('added')),
    },
    (t) => [
      pg.primaryKey({ name: long('key'), columns: [t.one, t.other] }),
      pg.unique(long('unique of two')).on(t.other, t.unique),
      pg.check(long('check'), sql`${t.one} > 0`),
      pg.foreignKey({ name: long('foreign key'), columns: [t.one], foreignColumns: [parent.id] }),
      pg.index(long('index')).on(t.added),
      pg.pgPolicy(long('policy'), { for: 'select', using: sql`${t.one} > 0` }),
    ],
  )
  const inner = schema.table(long('inner'), { id: pg.integer(long('id')) })
  const view = pg.pgView(long('view')).as((qb) => qb.select().from(parent))
  const materialized = pg.pgMaterializedView(long('materialized')).as((qb) => qb.select().from(view))
  return { schema, mood, sequence, parent, child, inner, view, materialized }
}

describe('names that are too long for the database', () => {
  describeNeeding('postgresql', 'PostgreSQL', () => {
    const database = freshPostgres()
    const notices: string[] = []
    let client: postgres.Sql
    beforeAll(() => {
      const onnotice = ({ message = '' }: postgres.Notice) => void notices.push(message)
      client = postgres(database.dburi, { max: 1, onnotice, fetch_types: false })
    })
    afterAll(() => client.end())
    beforeEach(async () => {
      await client`set client_min_messages = warning`
      for (const schema of ['public', truncated('schema')]) {
        await client`drop schema if exists ${client(schema)} cascade`
      }
      await client`create schema public`
      await client`set client_min_messages = notice`
      notices.length = 0
    })

    const run = async (statements: readonly string[]) => {
      for (const statement of statements) await client.unsafe(statement)
    }
    const prepare = (models: Models, mode: PrepareMode = 'create') =>
      prepareModels({ dialect: 'postgresql', db: drizzle({ client }) }, models, {
        prepare: mode,
        onDifference: 'error',
      })
    const catalogue = async (schema = 'public') =>
      alikePostgresql(await readPostgresqlCatalogue((text) => client.unsafe(text), schema))

    it('are truncated as PostgreSQL does it, for every kind of object', async () => {
      const models = everyKind()
      await run(await kits(models))
      const expected = [await catalogue(), await catalogue(truncated('schema'))]
      expect(JSON.stringify(expected)).toContain(truncated('foreign key'))
      await run([`drop schema public cascade`, `drop schema "${truncated('schema')}" cascade`])
      await run(['create schema public'])
      notices.length = 0

      const { created } = await prepare(models)

      expect([await catalogue(), await catalogue(truncated('schema'))]).toEqual(expected)
      expect(created).toContain(`${truncated('schema')}.${truncated('inner')}`)
      expect(notices).toEqual([])
    })

    it.each(['check', 'create', 'upgrade'] as const)('are no difference to %s', async (mode) => {
      const models = everyKind()
      await run(await kits(models))

      const report = await prepare(models, mode)

      expect(report).toMatchObject({ created: [], added: [], missing: [], differences: [] })
      expect(report.present).toHaveLength(postgresqlDefinitions(models).length)
    })

    it('are found again once they were created, and added where they are missing', async () => {
      const models = everyKind()
      await prepare(models)
      expect(await prepare(models)).toMatchObject({ created: [], differences: [] })
      await run([`alter table "${truncated('child')}" drop column "${truncated('added')}"`])

      expect((await prepare(models, 'upgrade')).added).toEqual([
        `${truncated('child')}.${truncated('added')}`,
        truncated('index'),
      ])
      expect(await prepare(models, 'check')).toMatchObject({ missing: [], differences: [] })
    })

    it('of roles, and of policies for tables of others, are truncated as well', async () => {
      const name = `dc_long_${process.pid} ${'ü'.repeat(40)}`
      const role = pg.pgRole(name)
      const theirs = pg.pgTable(long('theirs'), { id: pg.integer('id') })
      const policy = pg.pgPolicy(long('policy'), { to: role }).link(theirs)
      await run(statementsOf(postgresqlDefinitions({ theirs })))
      try {
        expect((await prepare({ role, policy })).created).toHaveLength(2)
        expect((await prepare({ role, policy })).present).toEqual([
          expect.stringMatching(/^role dc_long_\d+ ü+$/),
          `policy ${truncated('policy')} on ${truncated('theirs')}`,
        ])
      } finally {
        const [{ role: stored = '' } = {}] =
          await client`select rolname as role from pg_roles where rolname like ${`dc_long_${process.pid}%`}`
        await client`drop table ${client(truncated('theirs'))}`
        await client`drop role ${client(stored)}`
      }
    })

    it.each([
      ['short', 'account', 'owner'],
      ['long', 'Suggestion'.repeat(4), 'document'.repeat(3)],
      ['longer', 'Suggestion'.repeat(5), 'document'.repeat(3)],
      ['as long as can be', `${'Suggestion'.repeat(5)}Suggest`, 'document'.repeat(7)],
      ['long and of two bytes a character', 'ü'.repeat(22), 'ö'.repeat(20)],
    ])('that nobody chose are those of drizzle-kit, for tables whose names are %s', async (_, one, other) => {
      const parent = pg.pgTable(
        one,
        { id: pg.integer().generatedAlwaysAsIdentity(), [other]: pg.integer() },
        (t) => [pg.primaryKey({ columns: [t.id] }), pg.unique().on(t.id, t[other] ?? t.id)],
      )
      const child = pg.pgTable(
        other,
        { [one]: pg.integer().unique(), id: pg.integer().references(() => parent.id), mine: pg.integer() },
        (t) => [
          pg.primaryKey({ columns: [t.id, t.mine] }),
          pg.unique().on(t.mine),
          pg.index().on(t.mine, t.id),
          pg.foreignKey({ columns: [t.mine, t.id], foreignColumns: [parent.id, parent[other] ?? parent.id] }),
        ],
      )
      await run(await kits({ parent, child }))
      const expected = await catalogue()
      await run(['drop schema public cascade', 'create schema public'])

      await prepare({ parent, child })

      expect(await catalogue()).toEqual(expected)
      expect(await prepare({ parent, child }, 'check')).toMatchObject({ missing: [], differences: [] })
    })

    it('work in statements of Drizzle', async () => {
      const models = everyKind()
      await prepare(models)
      const db = drizzle({ client })

      await db.insert(models.inner).values({ id: 7 })

      expect(await db.select().from(models.inner)).toEqual([{ id: 7 }])
    })

    it('cause one warning, once', async () => {
      const start = 'warned of'
      const table = pg.pgTable(long(start), { id: pg.integer('id') }, () => [pg.pgPolicy(long('policy'))])
      const warnings: Error[] = []
      const listen = (warning: Error) => {
        if ('code' in warning && warning.code === 'DRIZZLE_CELERY_TRUNCATED_NAME') warnings.push(warning)
      }
      process.on('warning', listen)
      try {
        await prepare({ table })
        await prepare({ table }, 'check')
        await new Promise((resolve) => setImmediate(resolve))
      } finally {
        process.off('warning', listen)
      }

      expect(warnings).toHaveLength(1)
      expect(warnings[0]?.message).toContain(`the table "${long(start)}" is called "${truncated(start)}"`)
      expect(warnings[0]?.message).toContain(
        `the policy "${long('policy')}" of ${truncated(start)} is called "${truncated('policy')}"`,
      )
    })
  })

  describe('are rejected if truncation makes two equal, as names of', () => {
    const id = pg.integer('id')
    const a = `${long('name')} a`
    const b = `${long('name')} b`
    it.each<[string, Models, string]>([
      ['tables', { a: pg.pgTable(a, { id }), b: pg.pgTable(b, { id }) }, 'Two models'],
      ['enums', { a: pg.pgEnum(a, ['x']), b: pg.pgEnum(b, ['x']) }, 'Two models'],
      [
        'a view and a sequence',
        { a: pg.pgSequence(a), b: pg.pgView(b).as((qb) => qb.select().from(pg.pgTable('t', { id }))) },
        'Two models',
      ],
      ['schemas', { a: pg.pgSchema(a), b: pg.pgSchema(b) }, 'Two models'],
      ['roles', { a: pg.pgRole(a), b: pg.pgRole(b) }, 'Two models'],
      ['columns', { t: pg.pgTable('t', { a: pg.integer(a), b: pg.integer(b) }) }, '"t": two of its columns'],
      [
        'a check and a unique',
        { t: pg.pgTable('t', { id: pg.integer('id').unique(a) }, (t) => [pg.check(b, sql`${t.id} > 0`)]) },
        '"t": two of its constraints',
      ],
      [
        'indexes of two tables',
        {
          t: pg.pgTable('t', { id }, (t) => [pg.index(a).on(t.id)]),
          u: pg.pgTable('u', { id }, (t) => [pg.index(b).on(t.id)]),
        },
        '"t" and "u": both have something',
      ],
      [
        'policies',
        { t: pg.pgTable('t', { id }, () => [pg.pgPolicy(a), pg.pgPolicy(b)]) },
        '"t": two of its policies',
      ],
    ])('%s', (_, models, whose) => {
      expect(() => postgresqlDefinitions(models)).toThrow(
        expect.objectContaining({
          code: 'SCHEMA_NAME_TAKEN',
          message: expect.stringMatching(
            new RegExp(`${whose}.*"${a}" and "${b}"\\. Give one of them a shorter name in its model`),
          ),
        }),
      )
    })
  })
})

describeNeeding('postgresql', 'two things of one table that its model calls the same', () => {
  const database = freshPostgres()
  let client: postgres.Sql
  beforeAll(() => {
    client = postgres(database.dburi, { max: 1, onnotice: () => {}, fetch_types: false })
  })
  afterAll(() => client.end())
  beforeEach(() => client.unsafe('drop table if exists t, parent').simple())

  const prepare = (models: Models, mode: PrepareMode) =>
    prepareModels({ dialect: 'postgresql', db: drizzle({ client }) }, models, { prepare: mode })
  const id = pg.integer('id')
  const twins: readonly [string, pg.PgTable][] = [
    [
      'constraints',
      pg.pgTable('t', { id }, (t) => [pg.check('x', sql`${t.id} > 0`), pg.check('x', sql`${t.id} < 9`)]),
    ],
    ['columns', pg.pgTable('t', { a: pg.timestamp('x'), b: pg.timestamp('x', { mode: 'string' }) })],
    ['policies', pg.pgTable('t', { id }, () => [pg.pgPolicy('x'), pg.pgPolicy('x')])],
  ]

  it.each(twins)(
    'are rejected before any statement runs, if the table would be created: %s',
    async (what, t) => {
      const other = pg.pgTable('parent', { id })
      const refusal = {
        code: 'SCHEMA_NAME_TAKEN',
        message: `Cannot prepare "t": two of its ${what} are called "x"`,
      }

      await expect(prepare({ other, t }, 'create')).rejects.toMatchObject(refusal)
      expect(() => statementsOf(postgresqlDefinitions({ other, t }))).toThrow(
        expect.objectContaining(refusal),
      )
      expect(await client`select to_regclass('t') as t, to_regclass('parent') as parent`).toEqual([
        { t: null, parent: null },
      ])
    },
  )

  it.each(twins)('are accepted if the table exists: %s', async (_, t) => {
    await client`create table t (id integer, x timestamp)`

    for (const mode of ['check', 'create', 'upgrade'] as const) {
      expect(await prepare({ t }, mode)).toMatchObject({ present: ['t'], missing: [], differences: [] })
    }
  })

  it('of one foreign key declared twice: the last declaration counts', async () => {
    const parent = pg.pgTable('parent', { id: pg.integer('id').primaryKey() })
    const t = pg.pgTable('t', { id: pg.integer('id').references(() => parent.id) }, (t) => [
      pg.foreignKey({ columns: [t.id], foreignColumns: [parent.id] }).onDelete('cascade'),
    ])

    await prepare({ parent, t }, 'create')

    const keys = await client`select confdeltype as rule from pg_constraint where conrelid = 't'::regclass`
    expect(keys).toEqual([{ rule: 'c' }])
  })
})
