import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { PGlite } from '@electric-sql/pglite'
import { type Client, createClient } from '@libsql/client'
import { relationsOfAuthors } from 'drizzle-major/relational'
import { sql } from 'drizzle-orm'
import { drizzle as drizzleLibsql } from 'drizzle-orm/libsql'
import * as pg from 'drizzle-orm/pg-core'
import { drizzle as drizzlePglite } from 'drizzle-orm/pglite'
import { drizzle as drizzlePostgres } from 'drizzle-orm/postgres-js'
import * as sqlite from 'drizzle-orm/sqlite-core'
import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { resultModels as postgresqlModels } from '../../src/models/postgresql.ts'
import { resultModels as sqliteModels } from '../../src/models/sqlite.ts'
import { prepareModels } from '../../src/schema/prepare.ts'
import { askPostgres, postgresqlCatalogue, sqliteCatalogue } from '../fixtures/catalogue.ts'
import { celeryDdl } from '../fixtures/celery/peer.ts'
import { drizzleMajor } from '../fixtures/drizzle-major.ts'
import {
  countOf,
  POSTGRESQL_NAMES,
  preparePostgres,
  SQLITE_NAMES,
  schemaErrorOf,
} from '../fixtures/preparing.ts'
import { startRacers } from '../fixtures/racers.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const directory = mkdtempSync(join(tmpdir(), 'dc-prepare-'))
afterAll(() => rmSync(directory, { recursive: true }))

/** The statements of the migration that drizzle-kit generated. */
function generated(dialect: string): string[] {
  const folder = join(root, 'drizzle', dialect)
  return readdirSync(folder)
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .flatMap((file) => readFileSync(join(folder, file), 'utf8').split('--> statement-breakpoint'))
}

describeNeeding('postgresql', 'prepareModels on PostgreSQL', () => {
  const database = freshPostgres()
  const ask = (text: string) => askPostgres(database.dburi, text)
  const catalogue = (schema?: string) => postgresqlCatalogue(database.dburi, schema)
  beforeEach(async () => {
    await ask('drop schema public cascade; create schema public; drop schema if exists app cascade')
  })

  const prepare = (models?: Record<string, unknown>, connection?: Record<string, string>) =>
    preparePostgres(database.dburi, { ...(models && { models }), ...(connection && { connection }) })

  it('creates what is missing and reports it', async () => {
    const report = await (await prepare()).report

    expect(report).toEqual({
      created: POSTGRESQL_NAMES,
      added: [],
      widened: [],
      present: [],
      missing: [],
      differences: [],
      migrated: [],
      milliseconds: expect.any(Number),
    })
    expect(await (await prepare()).report).toMatchObject({ created: [], present: POSTGRESQL_NAMES })
  })

  it('makes the database that drizzle-kit’s migration makes', async () => {
    for (const statement of generated('postgresql')) await ask(statement)
    const expected = await catalogue()
    await ask('drop schema public cascade; create schema public')

    await (await prepare()).report

    expect(await catalogue()).toEqual(expected)
  })

  it('runs one query when everything exists, without a lock or a notice', async () => {
    await prepare()

    const { report, statements, notices } = await prepare()

    expect((await report).created).toEqual([])
    expect(statements).toHaveLength(1)
    expect(statements[0]).toMatch(/^select/)
    expect(statements[0]).not.toMatch(/lock/i)
    expect(notices).toEqual([])
  })

  it('leaves tables of Celery’s as they are', async () => {
    for (const statement of celeryDdl('postgresql')) await ask(statement)
    const before = await catalogue()

    const { report, statements } = await prepare()

    expect((await report).created).toEqual([])
    expect(statements).toHaveLength(1)
    expect(await catalogue()).toEqual(before)
  })

  it('creates a sequence that an existing table lacks', async () => {
    for (const statement of celeryDdl('postgresql')) await ask(statement)
    await ask('drop sequence taskset_id_sequence')

    expect((await (await prepare()).report).created).toEqual(['taskset_id_sequence'])
  })

  it('puts a second set of tables beside the first', async () => {
    await prepare()

    const { report } = await prepare({ ...postgresqlModels({ tableNames: { task: 'jobs', group: 'sets' } }) })

    expect(await report).toMatchObject({
      created: ['jobs', 'sets'],
      present: ['task_id_sequence', 'taskset_id_sequence'],
    })
  })

  it('finds tables in every schema of the search_path, and creates them in the first', async () => {
    await ask('create schema app')
    await prepare()

    const behind = await prepare(undefined, { search_path: 'app,public' })
    const alone = await prepare(undefined, { search_path: 'app' })

    expect((await behind.report).created).toEqual([])
    expect((await alone.report).created).toEqual(POSTGRESQL_NAMES)
    const columns = await ask(
      `select pg_get_expr(adbin, adrelid) as "default" from pg_attrdef where adrelid = 'app.celery_taskmeta'::regclass`,
    )
    expect(columns).toEqual([{ default: `nextval('app.task_id_sequence'::regclass)` }])
  })

  it('is not misled by a temporary table or by an operator in another schema', async () => {
    await ask(`create function public.always(text, text) returns bool language sql as 'select true'`)
    await ask('create operator public.= (leftarg = text, rightarg = text, function = public.always)')
    const client = postgres(database.dburi, { max: 1, connection: { search_path: 'public,pg_catalog' } })
    await client.unsafe('create temp table celery_taskmeta (id int)')

    const report = await prepareModels(
      { dialect: 'postgresql', db: drizzlePostgres({ client }) },
      { ...postgresqlModels() },
    )
    await client.end()

    expect(report.created).toEqual(POSTGRESQL_NAMES)
  })

  it('introspects under read committed, whatever the database’s default', async () => {
    const { report, statements } = await prepare(undefined, { default_transaction_isolation: 'serializable' })

    expect((await report).created).toEqual(POSTGRESQL_NAMES)
    expect(countOf(statements, /isolation level read committed/i)).toBe(1)
  })

  describe('with a role that may not create', () => {
    const role = `dc_models_role_${process.pid}`
    beforeEach(async () => {
      await ask(`drop role if exists ${role}; create role ${role}`)
      await ask(`grant usage on schema public to ${role}`)
      return async () => {
        await ask(`drop owned by ${role}; drop role ${role}`)
      }
    })

    it('works when the tables are there', async () => {
      await prepare()

      const { report, statements } = await prepare(undefined, { role })

      expect((await report).created).toEqual([])
      expect(statements).toHaveLength(1)
    })

    it('throws one error with the DDL and the GRANT, and does not retry', async () => {
      const { report, statements } = await prepare(undefined, { role })
      const error = await schemaErrorOf(report)

      expect(error.code).toBe('SCHEMA_PERMISSION')
      expect(error.grant).toBe(`GRANT USAGE, CREATE ON SCHEMA "public" TO "${role}"`)
      expect(error.message).toContain(error.grant)
      expect(error.message).toContain('CREATE TABLE "public"."celery_taskmeta"')
      expect(error.cause).toBeDefined()
      expect(countOf(statements, /^begin/i)).toBe(1)

      await ask(error.grant ?? '')
      expect((await (await prepare(undefined, { role })).report).created).toEqual(POSTGRESQL_NAMES)
    })

    it('gives statements that another role can run', async () => {
      const { report } = await prepare(undefined, { role })
      const { statements } = await schemaErrorOf(report)

      for (const statement of statements) await ask(statement)

      expect((await (await prepare(undefined, { role })).report).created).toEqual([])
    })

    it('says so when the role has no USAGE on the schema', async () => {
      await prepare()
      await ask(`revoke usage on schema public from ${role}`)

      const named = await prepare(
        { ...postgresqlModels({ schemas: { task: 'public', group: 'public' } }) },
        { role },
      )
      const unnamed = await prepare(undefined, { role })

      for (const { report, statements } of [named, unnamed]) {
        const error = await schemaErrorOf(report)
        expect(error.code).toBe('SCHEMA_PERMISSION')
        expect(error.grant).toContain(`ON SCHEMA "public" TO "${role}"`)
        expect(countOf(statements, /^begin/i)).toBeLessThanOrEqual(1)
      }
    })
  })

  it('says that the connection is read-only', async () => {
    const { report, statements } = await prepare(undefined, { default_transaction_read_only: 'on' })
    const error = await schemaErrorOf(report)

    expect(error.code).toBe('SCHEMA_READ_ONLY')
    expect(error.statements[0]).toBe('CREATE SEQUENCE "public"."task_id_sequence"')
    // Tried again twice: of several hosts another one may take writes.
    expect(countOf(statements, /^begin/i)).toBe(3)
  })

  it('never creates a schema, and gives the statement', async () => {
    const named = await prepare({ ...postgresqlModels({ schemas: { task: 'app', group: 'app' } }) })
    const unnamed = await prepare(undefined, { search_path: 'app' })

    for (const { report, statements } of [named, unnamed]) {
      const error = await schemaErrorOf(report)
      expect(error.code).toBe('SCHEMA_MISSING_SCHEMA')
      expect(error.statements[0]).toBe('CREATE SCHEMA "app"')
      expect(countOf(statements, /^(?!select)/i)).toBe(0)
    }
  })

  it('says that a name belongs to another kind of object', async () => {
    await ask('create sequence celery_taskmeta')

    const { report, statements } = await prepare()

    expect(await schemaErrorOf(report)).toMatchObject({ code: 'SCHEMA_NAME_TAKEN' })
    expect(statements).toHaveLength(1)
  })

  it('accepts a view in the place of a table', async () => {
    await prepare()
    await ask('create schema app; create table app.tasks (id int)')
    await ask('drop table celery_taskmeta; create view celery_taskmeta as select * from app.tasks')

    expect((await (await prepare()).report).created).toEqual([])
  })

  it('throws the server’s error unchanged, at once', async () => {
    const broken = pg.pgTable('broken', { id: pg.integer('id').default(sql.raw('no_such_function()')) })

    const { report, statements } = await prepare({ broken })
    const error = await schemaErrorOf(report)

    expect(error.code).toBe('SCHEMA_REFUSED')
    expect(error.message).toContain('no_such_function() does not exist')
    expect(countOf(statements, /^create/i)).toBe(1)
  })

  it('throws an error of a server limit unchanged, at once', async () => {
    const columns = Object.fromEntries(
      Array.from({ length: 1_601 }, (_, n) => [`c${n}`, pg.integer(`c${n}`)]),
    )
    const wide = pg.pgTable('wide', columns)

    const { report, statements } = await prepare({ wide })

    expect(await schemaErrorOf(report)).toMatchObject({ code: 'SCHEMA_REFUSED', cause: expect.anything() })
    expect(countOf(statements, /^create/i)).toBe(1)
  })

  /** Somebody who creates the first thing, or all of it, takes no lock of ours, and waits before the end. */
  async function celeryInside(
    statements: string[],
  ): Promise<{ end(how: 'commit' | 'rollback'): Promise<void> }> {
    const client = postgres(database.dburi, { max: 1 })
    await client.unsafe('begin')
    for (const statement of statements) await client.unsafe(statement)
    return {
      end: async (how) => {
        await client.unsafe(how)
        await client.end()
      },
    }
  }

  it('gives up on a lock after 5 s, and leaves nothing behind', {
    tags: 'full',
    timeout: 60_000,
  }, async () => {
    const celery = await celeryInside(celeryDdl('postgresql').slice(0, 1))

    const { report, statements } = await prepare()
    const error = await schemaErrorOf(report)
    await celery.end('rollback')

    expect(error.code).toBe('SCHEMA_LOCK_TIMEOUT')
    expect(countOf(statements, /^begin/i)).toBe(1)
    expect(await ask(`select relname from pg_class where relnamespace = 'public'::regnamespace`)).toEqual([])
  })

  it('tries again when another session without our lock was faster', { timeout: 60_000 }, async () => {
    const celery = await celeryInside(celeryDdl('postgresql'))

    const preparing = prepare()
    // It waits for the name that the other transaction has taken and not yet committed.
    const blocked = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    await expect.poll(() => ask(blocked)).toHaveLength(1)
    await celery.end('commit')
    const { report, statements } = await preparing

    expect(await report).toMatchObject({ created: [], present: POSTGRESQL_NAMES })
    expect(countOf(statements, /^begin/i)).toBe(1)
  })
})

/** PGlite needs seconds to start: the tests that have no wish but a PostgreSQL share one, each with tables of its own. */
const pglite = new PGlite()
const pgliteDb = drizzlePglite({ client: pglite })
beforeAll(() => pglite.waitReady, 120_000)
afterAll(() => pglite.close())

describe('prepareModels on libSQL', () => {
  let files = 0
  let path = ''
  let client: Client
  beforeEach(() => {
    files += 1
    path = join(directory, `${files}.sqlite`)
    client = createClient({ url: `file:${path}` })
    return () => client.close()
  })
  const names = SQLITE_NAMES

  /** Prepares, and tells the statements that went through Drizzle. */
  async function prepare(models: Record<string, unknown> = { ...sqliteModels() }, of = client) {
    const statements: string[] = []
    const db = drizzleLibsql({ client: of, logger: { logQuery: (text) => statements.push(text) } })
    const report = prepareModels({ dialect: 'sqlite', db }, models)
    await report.catch(() => {})
    return { report, statements }
  }

  it('creates what is missing, and runs one query when nothing is', async () => {
    const cold = await prepare()
    const warm = await prepare()

    expect(await cold.report).toMatchObject({ created: names, present: [], differences: [] })
    expect(await warm.report).toMatchObject({ created: [], present: names })
    expect(warm.statements).toHaveLength(1)
  })

  it('makes the database that drizzle-kit’s migration makes', async () => {
    const migrated = createClient({ url: ':memory:' })
    await migrated.batch(generated('sqlite'), 'write')

    await prepare()

    expect(await sqliteCatalogue(client)).toEqual(await sqliteCatalogue(migrated))
    migrated.close()
  })

  it('leaves tables of Celery’s as they are', async () => {
    await client.batch(celeryDdl('sqlite'), 'write')
    const before = await sqliteCatalogue(client)

    expect((await (await prepare()).report).created).toEqual([])
    expect(await sqliteCatalogue(client)).toEqual(before)
  })

  it('finds a table whatever the case of its name, as SQLite does', async () => {
    await client.execute('create table "Celery_TaskMeta" (id integer)')

    expect((await (await prepare()).report).created).toEqual(['celery_tasksetmeta'])
  })

  it('works in memory', async () => {
    const memory = createClient({ url: ':memory:' })

    expect((await (await prepare(undefined, memory)).report).created).toEqual(names)
    expect((await (await prepare(undefined, memory)).report).created).toEqual([])
    memory.close()
  })

  it('says that a name is taken by an index', async () => {
    await client.batch(
      ['create table other (id integer)', 'create index celery_taskmeta on other (id)'],
      'write',
    )

    expect(await schemaErrorOf((await prepare()).report)).toMatchObject({ code: 'SCHEMA_NAME_TAKEN' })
  })

  it('throws the database’s error at once, and leaves nothing behind', async () => {
    const fine = sqlite.sqliteTable('fine', { id: sqlite.integer('id') })
    const broken = sqlite.sqliteTable('sqlite_broken', { id: sqlite.integer('id') })

    const { report, statements } = await prepare({ fine, broken })
    const error = await schemaErrorOf(report)

    expect(error.code).toBe('SCHEMA_REFUSED')
    expect(error.statements).toHaveLength(2)
    expect(statements.filter((text) => text.includes('sqlite_broken'))).toHaveLength(1)
    expect((await client.execute('select name from sqlite_master')).rows).toEqual([])
  })

  it('gives up on a database that stays locked, and works when it is free', {
    tags: 'full',
    timeout: 60_000,
  }, async () => {
    const holder = createClient({ url: `file:${path}` })
    const held = await holder.transaction('write')
    const children = await startRacers(1, `file:${path}`)

    await expect(children.prepare()).rejects.toThrow('others kept the database locked')
    await held.rollback()
    const [report] = await children.prepare()

    expect(report?.created).toEqual(names)
    holder.close()
    await children[Symbol.asyncDispose]()
  })
})

describe('models that cannot be expressed yet', () => {
  const parent = pg.pgTable('parent', { id: pg.integer('id').primaryKey() })
  const refused: Record<string, [string, unknown]> = {
    rule: ['a policy of no table', pg.pgPolicy('rule')],
    mood: ['a value with a NUL character', pg.pgEnum('mood', ['glad', 's\0d'])],
    counter: [
      '"increment" of its sequence is no whole number',
      pg.pgSequence('counter', { increment: 'two' }),
    ],
    elsewhere: ['a table of another dialect', sqlite.sqliteTable('elsewhere', { id: sqlite.integer('id') })],
    checked: [
      'its check "c" holds a value that cannot be written down',
      pg.pgTable('checked', { id: pg.integer('id') }, (t) => [
        pg.check('c', sql`${t.id} > ${sql.placeholder('least')}`),
      ]),
    ],
    seen: [
      'its query holds a value that cannot be written down',
      pg.pgView('seen').as((qb) =>
        qb
          .select()
          .from(parent)
          .where(sql`${() => 1} = 1`),
      ),
    ],
    unnamed: [
      'an index over an expression that bears no name',
      pg.pgTable('unnamed', { id: pg.integer('id') }, (t) => [pg.index().on(sql`abs(${t.id})`)]),
    ],
    tuned: [
      'its parameter "fillfactor" is neither a word nor a number',
      pg.pgTable('tuned', { id: pg.integer('id') }, (t) => [
        pg.index('i').on(t.id).with({ fillfactor: '70); select (1' }),
      ]),
    ],
    listed: [
      'the default of its column "tags" cannot be written down',
      pg.pgTable('listed', { tags: pg.text('tags').default('a\0b') }),
    ],
  }

  const untouched = {
    execute: () => Promise.reject(new Error('A statement was sent')),
    transaction: () => Promise.reject(new Error('A transaction was begun')),
  }

  it.each(Object.entries(refused))(
    'refuse %s by name before any statement',
    async (name, [reason, model]) => {
      const error = await schemaErrorOf(
        prepareModels({ dialect: 'postgresql', db: untouched }, { parent, [name]: model }),
      )

      expect(error.code).toBe('SCHEMA_UNSUPPORTED')
      expect(error.message).toContain(`"${name}"`)
      expect(error.message).toContain(reason)
      expect(error.message).toContain('migrations')
    },
  )

  it.each([
    ['a NUL', 'a\0b'],
    ['nothing', ''],
  ])('refuse a name of %s before any statement', async (_, name) => {
    const inTable = { table: pg.pgTable(name, { id: pg.integer('id') }) }
    const inColumn = { table: pg.pgTable('fine', { id: pg.integer(name) }) }
    const inSequence = { sequence: pg.pgSequence(name) }

    for (const models of [inTable, inSequence, ...(name === '' ? [] : [inColumn])]) {
      const error = await schemaErrorOf(prepareModels({ dialect: 'postgresql', db: untouched }, models))
      expect(error.code).toBe('SCHEMA_INVALID_NAME')
    }
  })

  it('ignore relations and everything else that is no model', async () => {
    const models = {
      relations: relationsOfAuthors,
      helper: () => 1,
      text: 'text',
      nothing: null,
      ...{ timestamps: { at: pg.timestamp('at') } },
    }

    expect(await prepareModels({ dialect: 'postgresql', db: untouched }, models)).toMatchObject({
      created: [],
      present: [],
    })
  })

  it('reject two models of one name, and accept one model exported twice', async () => {
    const first = pg.pgTable('named_twice', { id: pg.integer('id') })
    const twin = pg.pgTable('named_twice', { id: pg.integer('id') })
    const target = { dialect: 'postgresql', db: pgliteDb } as const

    expect(await schemaErrorOf(prepareModels(target, { first, twin }))).toMatchObject({
      code: 'SCHEMA_NAME_TAKEN',
    })
    expect(await prepareModels(target, { first, again: first })).toMatchObject({ created: ['named_twice'] })
  })
})

describe('tables of one’s own', () => {
  const now = new Date('2026-01-02T03:04:05.678Z')

  it('are created on PostgreSQL with keys, uniques, indexes and defaults', async () => {
    const things = pg.pgTable(
      "th'ings",
      {
        a: pg.integer('a').notNull(),
        b: pg.text('b').default("it's").notNull().unique(),
        c: pg.boolean('c').default(false),
        d: pg.timestamp('d').default(now),
        e: pg.jsonb('e').default({ x: "'" }),
        f: pg.text('f').array(),
        g: pg.serial('g'),
        h: pg.timestamp('h').defaultNow(),
      },
      (t) => [
        pg.primaryKey({ columns: [t.a, t.b] }),
        pg.unique('both').on(t.b, t.c),
        pg.uniqueIndex('things_g').on(t.g),
      ],
    )
    const db = pgliteDb

    await prepareModels({ dialect: 'postgresql', db }, { things })
    await db.insert(things).values({ a: 1 })

    const [row] = await db.select().from(things)
    expect(row).toMatchObject({ a: 1, b: "it's", c: false, d: now, e: { x: "'" }, f: null, g: 1 })
    await expect(db.insert(things).values({ a: 1 })).rejects.toThrow()
  })

  it('are created on SQLite with keys, uniques, indexes and defaults', async () => {
    const things = sqlite.sqliteTable(
      'th"ings',
      {
        a: sqlite.integer('a').notNull(),
        b: sqlite.text('b').default("it's").notNull().unique(),
        c: sqlite.integer('c', { mode: 'boolean' }).default(true),
        d: sqlite.integer('d').default(sql`(1 + 1)`),
      },
      (t) => [sqlite.primaryKey({ columns: [t.a, t.b] }), sqlite.index('things_c').on(t.c)],
    )
    const client = createClient({ url: ':memory:' })
    const db = drizzleLibsql({ client })

    await prepareModels({ dialect: 'sqlite', db }, { things })
    await db.insert(things).values({ a: 1 })

    expect(await db.select().from(things)).toEqual([{ a: 1, b: "it's", c: true, d: 2 }])
    await expect(db.insert(things).values({ a: 2 })).rejects.toThrow()
    client.close()
  })
})

// drizzle/ is generated by drizzle-kit 0.31; that of 1.0 lays its folders out in another way.
describe.skipIf(drizzleMajor !== '0.45')('drizzle-kit generate, of drizzle-orm 0.45', () => {
  it.each(['postgresql', 'sqlite'])(
    'has nothing to add to drizzle/%s',
    { timeout: 60_000 },
    async (dialect) => {
      const copy = join(directory, dialect)
      for (const part of ['drizzle', 'src/models', 'drizzle.config.ts', 'package.json']) {
        cpSync(join(root, part), join(copy, part), { recursive: true })
      }
      symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
      const kit = join(root, 'node_modules/drizzle-kit/bin.cjs')
      const before = readdirSync(join(copy, 'drizzle'), { recursive: true })

      const { stdout } = await promisify(execFile)(process.execPath, [kit, 'generate'], {
        cwd: copy,
        env: { ...process.env, DIALECT: dialect },
      })

      expect(stdout).toContain('No schema changes')
      expect(readdirSync(join(copy, 'drizzle'), { recursive: true })).toEqual(before)
    },
  )
})

it('the code contains no DROP or the like, and alters only by adding', () => {
  const folder = join(root, 'src/schema')
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  )

  for (const file of files) {
    const text = readFileSync(join(folder, file), 'utf8')
    // A claim that is given back is a row of the journal.
    const rest =
      file === 'journal.ts' ? text.replaceAll(/\bdelete from \$\{(?:this\.#table|quoteBy)/gi, '') : text
    expect(rest).not.toMatch(/\b(?:drop|truncate|delete from|rename)\b/i)
    // As a right it stands in quotes. What widens is asked for.
    const alters = [...text.matchAll(/(?<!')\balter\b.*/gi)].map(([line]) => line)
    const allowed = file.endsWith('mysql/columns.ts')
      ? / MODIFY COLUMN /
      : / ADD (?:COLUMN |CONSTRAINT |\$\{parts)| ENABLE ROW LEVEL SECURITY/
    expect(alters.filter((line) => !allowed.test(line))).toEqual([])
  }
})
