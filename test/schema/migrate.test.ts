/** `prepare: 'migrate'`: the migrations that drizzle-kit generated, run at start by any number of processes. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createClient } from '@libsql/client'
import { SchemaError, SessionManager, type SessionManagerOptions } from 'drizzle-celery'
import { resultModels as postgresqlModels } from 'drizzle-celery/models/postgresql'
import { resultModels as sqliteModels } from 'drizzle-celery/models/sqlite'
import { prepareModels } from 'drizzle-celery/schema'
import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/libsql'
import { index, integer, pgTable, text } from 'drizzle-orm/pg-core'
import * as sqlite from 'drizzle-orm/sqlite-core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { askPostgres, postgresqlCatalogue } from '../fixtures/catalogue.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'

const generated = (dialect: string) => fileURLToPath(new URL(`../../drizzle/${dialect}`, import.meta.url))

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dc-migrate-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

type Steps = Readonly<Record<string, string>>

/** As drizzle-kit 0.x lays a folder out. */
function journalled(steps: Steps): string {
  const folder = mkdtempSync(join(directory, 'journalled-'))
  mkdirSync(join(folder, 'meta'))
  const entries = Object.keys(steps).map((tag, idx) => ({
    idx,
    version: '7',
    when: idx,
    tag,
    breakpoints: true,
  }))
  writeFileSync(join(folder, 'meta/_journal.json'), JSON.stringify({ version: '7', dialect: 'any', entries }))
  for (const [tag, statements] of Object.entries(steps)) writeFileSync(join(folder, `${tag}.sql`), statements)
  return folder
}

/** As drizzle-kit 1.0 does. */
function foldered(steps: Steps): string {
  const folder = mkdtempSync(join(directory, 'foldered-'))
  for (const [tag, statements] of Object.entries(steps)) {
    mkdirSync(join(folder, tag))
    writeFileSync(join(folder, tag, 'migration.sql'), statements)
  }
  return folder
}

const note = pgTable('note', { id: integer().primaryKey(), body: text() })
const FIRST =
  'CREATE TABLE "note" ("id" integer PRIMARY KEY);\n--> statement-breakpoint\nINSERT INTO "note" VALUES (1);'
const SECOND = 'ALTER TABLE "note" ADD COLUMN "body" text;'

describeNeeding('postgresql', "prepare: 'migrate' on PostgreSQL", () => {
  const database = freshPostgres()
  const ask = (statement: string) => askPostgres(database.dburi, statement)
  beforeEach(async () => {
    await ask('drop schema if exists drizzle cascade; drop schema public cascade; create schema public')
  })

  async function migrate(
    folder: string,
    options: Partial<SessionManagerOptions<{ postgresql: { note: typeof note } }>> & {
      baseline?: string
    } = {},
  ) {
    const { baseline, ...given } = options
    await using manager = new SessionManager({
      models: { postgresql: { note } },
      prepare: 'migrate',
      migrations: { postgresql: { folder, ...(baseline !== undefined && { baseline }) } },
      ...given,
    })
    return await manager.prepareModels(await manager.getEngine(database.dburi))
  }

  it.each([
    ['0.x', journalled],
    ['1.0', foldered],
  ])(
    'runs what a folder of drizzle-kit %s holds once, in order, and only what is new later',
    async (_, write) => {
      const first = await migrate(write({ '0000_first': FIRST }))
      const both = write({ '0000_first': FIRST, '0001_second': SECOND })
      const second = await migrate(both)
      const third = await migrate(both)

      expect(first).toMatchObject({
        created: ['note'],
        migrated: ['0000_first'],
        differences: [{ kind: 'missing column', table: 'note', column: 'body' }],
      })
      expect(second).toMatchObject({
        created: [],
        present: ['note'],
        migrated: ['0001_second'],
        differences: [],
      })
      expect(third).toMatchObject({ migrated: [], present: ['note'] })
      expect(await ask('select * from note')).toEqual([{ id: 1, body: null }])
    },
  )

  it('makes of drizzle/postgresql what prepareModels makes of the models', async () => {
    const models = { ...postgresqlModels() }
    await using manager = new SessionManager({
      models: { postgresql: models },
      prepare: 'migrate',
      migrations: { postgresql: { folder: generated('postgresql') } },
    })
    const report = await manager.prepareModels(await manager.getEngine(database.dburi))
    expect(report).toMatchObject({ missing: [], differences: [] })
    await ask('drop table drizzle_celery_migrations')
    const migrated = await postgresqlCatalogue(database.dburi)

    await ask('drop schema public cascade; create schema public')
    await using creating = new SessionManager({ models: { postgresql: models } })
    await creating.prepareModels(await creating.getEngine(database.dburi))

    expect(await postgresqlCatalogue(database.dburi)).toEqual(migrated)
  })

  it('runs each migration once, whatever the number of concurrent callers', async () => {
    const folder = journalled({ '0000_first': FIRST, '0001_second': SECOND })

    const reports = await Promise.all(Array.from({ length: 8 }, () => migrate(folder)))

    expect(reports.flatMap(({ migrated }) => migrated)).toEqual(['0000_first', '0001_second'])
    expect(await ask('select * from note')).toHaveLength(1)
  })

  it('leaves nothing half done when a migration fails, and names it', async () => {
    const folder = journalled({
      '0000_first': FIRST,
      '0001_second': `${SECOND}\n--> statement-breakpoint\nSELECT nonsense;`,
    })

    const error = await migrate(folder).catch((reason: unknown) => reason)

    expect(error).toBeInstanceOf(SchemaError)
    expect(error).toMatchObject({
      code: 'SCHEMA_MIGRATIONS',
      message: expect.stringMatching(/0001_second: column "nonsense" does not exist/),
    })
    expect(await ask(`select relname from pg_class where relnamespace = 'public'::regnamespace`)).toEqual([])
  })

  it('skips migrations up to the baseline', async () => {
    await ask(FIRST.replace('--> statement-breakpoint', ''))
    const folder = journalled({ '0000_first': FIRST, '0001_second': SECOND })

    await expect(migrate(folder)).rejects.toMatchObject({ message: expect.stringContaining('baseline') })
    const report = await migrate(folder, { baseline: '0000_first' })

    expect(report).toMatchObject({ migrated: ['0001_second'], differences: [] })
    await expect(migrate(journalled({ a: FIRST }), { baseline: 'b' })).rejects.toHaveProperty(
      'code',
      'SCHEMA_MIGRATIONS',
    )
  })

  it("is not misled by Drizzle's own journal, nor by one of its own from elsewhere", async () => {
    await ask(`create schema drizzle; create table drizzle.__drizzle_migrations (id serial, hash text, created_at bigint);
      insert into drizzle.__drizzle_migrations (hash, created_at) values ('other', 9999999999999)`)
    await migrate(journalled({ '0009_of_another_branch': 'CREATE TABLE "other" ("id" integer)' }))

    const report = await migrate(journalled({ '0000_first': FIRST, '0001_second': SECOND }))

    expect(report.migrated).toEqual(['0000_first', '0001_second'])
  })

  it('reports a migration that was edited after it ran', async () => {
    await migrate(journalled({ '0000_first': FIRST, '0001_second': SECOND }))
    const edited = journalled({ '0000_first': `${FIRST} -- edited`, '0001_second': SECOND })

    expect((await migrate(edited)).differences).toEqual([
      { kind: 'edited migration', migration: '0000_first' },
    ])
    await expect(migrate(edited, { onDifference: 'error' })).rejects.toMatchObject({
      code: 'SCHEMA_DIFFERENCE',
      message: expect.stringContaining('0000_first'),
    })
  })

  it.each([
    ['is not there', () => join(directory, 'nowhere')],
    ['is empty', () => foldered({})],
    [
      'has a journal that is no JSON',
      () => {
        const folder = journalled({})
        writeFileSync(join(folder, 'meta/_journal.json'), '{')
        return folder
      },
    ],
    [
      'lacks a file',
      () => {
        const folder = journalled({ '0000_first': FIRST })
        rmSync(join(folder, '0000_first.sql'))
        return folder
      },
    ],
  ])('refuses a folder that %s, before anything is run', async (_, folder) => {
    await expect(migrate(folder())).rejects.toHaveProperty('code', 'SCHEMA_MIGRATIONS')
    expect(await ask(`select relname from pg_class where relnamespace = 'public'::regnamespace`)).toEqual([])
  })

  it('recognises a migration that drizzle-kit renamed, or whose line ends changed', async () => {
    await migrate(journalled({ '0000_first': FIRST, '0001_second': SECOND }))
    const renamed = foldered({
      '20260101000000_first': FIRST.replaceAll('\n', '\r\n'),
      '20260102000000_second': SECOND,
    })

    expect(await migrate(renamed)).toMatchObject({ migrated: [], differences: [] })
  })

  it('skips statements that are only comments, and runs one that changes the search_path', async () => {
    const folder = journalled({
      '0000_custom': '-- Custom SQL migration file, put your code below! --',
      '0001_first': `select pg_catalog.set_config('search_path', '', false);\n--> statement-breakpoint
        ${FIRST.replaceAll('"note"', 'public.note')}`,
      '0002_second': SECOND.replace('"note"', 'public.note'),
    })

    expect((await migrate(folder)).migrated).toEqual(['0000_custom', '0001_first', '0002_second'])
  })

  it('waits for a long migration, also when the models differ', {
    tags: 'full',
    timeout: 30_000,
  }, async () => {
    const folder = journalled({ '0000_slow': `SELECT pg_sleep(6);\n--> statement-breakpoint\n${FIRST}` })
    const other = pgTable('other', { id: integer() })
    await using manager = new SessionManager({
      models: { postgresql: { note, other } },
      prepare: 'migrate',
      migrations: { postgresql: { folder } },
    })
    const engine = await manager.getEngine(database.dburi)

    const reports = await Promise.all([migrate(folder), manager.prepareModels(engine)])

    expect(reports.flatMap(({ migrated }) => migrated)).toEqual(['0000_slow'])
  })

  it('runs migrations for models that it could not create itself', async () => {
    const odd = pgTable('odd', { id: integer() }, ({ id }) => [index().on(sql`abs(${id})`)])
    await using manager = new SessionManager({
      models: { postgresql: { odd } },
      prepare: 'migrate',
      migrations: { postgresql: { folder: journalled({ '0000_odd': 'CREATE TABLE "odd" ("id" integer)' }) } },
    })

    const report = await manager.prepareModels(await manager.getEngine(database.dburi))

    expect(report.migrated).toEqual(['0000_odd'])
  })

  it('gives the statements to run when the role lacks the privileges', async () => {
    await ask('drop role if exists dc_migrator; create role dc_migrator login')
    await ask('revoke create on schema public from public; grant usage on schema public to dc_migrator')
    const dburi = new URL(database.dburi)
    dburi.username = 'dc_migrator'
    await using manager = new SessionManager({
      models: { postgresql: { note } },
      prepare: 'migrate',
      migrations: { postgresql: { folder: journalled({ '0000_first': FIRST }) } },
    })

    await expect(manager.prepareModels(await manager.getEngine(dburi.href))).rejects.toMatchObject({
      code: 'SCHEMA_PERMISSION',
      message: expect.stringContaining('drizzle_celery_migrations'),
    })
    await ask('drop owned by dc_migrator; drop role dc_migrator')
  })

  it.each([
    [{ folder: '' }, 'migrations'],
    [{ folder: './drizzle', table: '' }, 'migrations.table'],
  ])('refuses %o', async (migrations, option) => {
    await using manager = new SessionManager({ prepare: 'migrate', migrations: { postgresql: migrations } })
    const engine = await manager.getEngine(database.dburi)

    await expect(manager.prepareModels(engine)).rejects.toMatchObject({ code: 'INVALID_OPTION', option })
  })

  it('requires the folder', async () => {
    await using manager = new SessionManager({ prepare: 'migrate' })
    const engine = await manager.getEngine(database.dburi)

    await expect(manager.prepareModels(engine)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      option: 'migrations',
    })
  })
})

describe("prepare: 'migrate' on libSQL", () => {
  const parent = sqlite.sqliteTable('parent', {
    id: sqlite.integer().primaryKey(),
    name: sqlite.text().notNull(),
  })
  const child = sqlite.sqliteTable('child', {
    id: sqlite.integer().primaryKey(),
    parentId: sqlite.integer().references(() => parent.id, { onDelete: 'cascade' }),
  })
  const FAMILY = [
    'CREATE TABLE `parent` (`id` integer PRIMARY KEY NOT NULL, `name` text);',
    'CREATE TABLE `child` (`id` integer PRIMARY KEY NOT NULL, `parentId` integer REFERENCES `parent`(`id`) ON DELETE cascade);',
    "INSERT INTO `parent` VALUES (1, 'p');",
    'INSERT INTO `child` VALUES (1, 1);',
  ].join('\n--> statement-breakpoint\n')
  const REBUILD = [
    'PRAGMA foreign_keys=OFF;',
    'CREATE TABLE `__new_parent` (`id` integer PRIMARY KEY NOT NULL, `name` text NOT NULL);',
    'INSERT INTO `__new_parent`("id", "name") SELECT "id", "name" FROM `parent`;',
    'DROP TABLE `parent`;',
    'ALTER TABLE `__new_parent` RENAME TO `parent`;',
    'PRAGMA foreign_keys=ON;',
  ].join('--> statement-breakpoint\n')

  it.each(['file', 'memory'])(
    'rebuilds a table without losing the rows that refer to it (%s)',
    async (place) => {
      const dburi = place === 'memory' ? ':memory:' : `file:${join(directory, 'family.db')}`
      const steps = { '0000_family': FAMILY }
      await using manager = new SessionManager({
        models: { sqlite: { parent, child } },
        prepare: 'migrate',
        migrations: { sqlite: { folder: journalled(steps) } },
      })
      await manager.prepareModels(await manager.getEngine(dburi))
      const engine = await manager.getEngine(dburi)

      const report = await manager.prepareModels(engine, {
        migrations: { folder: journalled({ ...steps, '0001_rebuild': REBUILD }) },
      })

      expect(report).toMatchObject({ migrated: ['0001_rebuild'], differences: [], missing: [] })
      await manager.session(dburi, async (db) => {
        if (!('all' in db)) throw new Error('not SQLite')
        expect(await db.all(sql`select id from child`)).toEqual([{ id: 1 }])
        // Foreign keys are as they were.
        await db.run(sql`delete from parent`)
        expect(await db.all(sql`select id from child`)).toEqual([])
      })
    },
  )

  it('refuses a migration that leaves rows behind which refer to nothing', async () => {
    const folder = journalled({
      '0000_family': FAMILY,
      '0001_orphans': 'PRAGMA foreign_keys=OFF;--> statement-breakpoint\nDELETE FROM `parent`;',
    })
    const dburi = `file:${join(directory, 'orphans.db')}`
    await using manager = new SessionManager({
      models: { sqlite: { parent, child } },
      prepare: 'migrate',
      migrations: { sqlite: { folder } },
    })

    await expect(manager.prepareModels(await manager.getEngine(dburi))).rejects.toMatchObject({
      code: 'SCHEMA_MIGRATIONS',
      message: expect.stringContaining('rows of child would refer to rows that are gone'),
    })
  })

  it('rebuilds no table twice: a rebuild that ran long ago needs no connection of its own', async () => {
    const client = createClient({ url: ':memory:' })
    const target = { dialect: 'sqlite', db: drizzle({ client }) } as const
    const steps = { '0000_family': FAMILY, '0001_rebuild': REBUILD }
    const options = (folder: string) =>
      ({ prepare: 'migrate', migrations: { folder, baseline: '0001_rebuild' } }) as const
    await prepareModels(target, {}, options(journalled(steps)))

    const added = journalled({ ...steps, '0002_more': 'CREATE TABLE `more` (`id` integer)' })
    expect((await prepareModels(target, {}, options(added))).migrated).toEqual(['0002_more'])

    const two = journalled({
      ...steps,
      '0002_more': 'CREATE TABLE `more` (`id` integer)',
      '0003_two': 'SELECT 1; SELECT 2',
    })
    await expect(prepareModels(target, {}, options(two))).rejects.toHaveProperty('code', 'SCHEMA_MIGRATIONS')
    client.close()
  })

  it('makes of drizzle/sqlite what the models say', async () => {
    await using manager = new SessionManager({
      models: { sqlite: sqliteModels() },
      prepare: 'migrate',
      migrations: { sqlite: { folder: generated('sqlite') } },
    })

    const report = await manager.prepareModels(
      await manager.getEngine(`file:${join(directory, 'results.db')}`),
    )

    expect(report).toMatchObject({ missing: [], differences: [], migrated: [expect.any(String)] })
  })
})
