import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createClient } from '@libsql/client'
import { sql } from 'drizzle-orm'
import { describe, expect, it, vi } from 'vitest'
import { type BackendOptions, DatabaseBackend } from '../../src/backend/database-backend.ts'
import { causes, type Dialect, type EngineFor, type SessionFor, SessionManager } from '../../src/index.ts'
import { askMysql, askPostgres } from '../fixtures/catalogue.ts'
import { celeryDdl } from '../fixtures/celery/peer.ts'
import { compiled, projectRoot } from '../fixtures/compile.ts'
import { drizzleMajor } from '../fixtures/drizzle-major.ts'
import { createMysql, createPostgres, describeNeeding, type Need } from '../fixtures/servers.ts'

/** `drizzle-kit push` as docs/drizzle-kit.md says: the files that its sections show, beside a schema of the user's. */

interface Place {
  readonly dburi: string
  drop(): Promise<void>
}

interface Kind {
  readonly needs: readonly Need[]
  /** The page's section. */
  readonly section: string
  open(): Promise<Place>
  /** Runs a statement. */
  ask(dburi: string, statement: string): Promise<readonly object[]>
  /** A table of the user's, as it is in the database. */
  readonly ownTable: string
  /** The same in `schema.ts`, with a column more. */
  readonly schema: string
  /** The names of all tables and sequences. */
  readonly names: string
}

const kinds = {
  postgresql: {
    needs: ['postgresql'],
    section: 'PostgreSQL',
    open: createPostgres,
    ask: async (dburi, statement) => (await askPostgres(dburi, statement)) as object[],
    ownTable: 'create table shelf (id integer)',
    schema: `import { integer, pgTable, text } from 'drizzle-orm/pg-core'
      export const shelf = pgTable('shelf', { id: integer('id'), note: text('note') })`,
    names: `select relnamespace::regnamespace || '.' || relname as name from pg_class
      where relkind in ('r', 'S') and relnamespace::regnamespace::text in ('public', 'celery')`,
  },
  mysql: {
    needs: ['mysql'],
    section: 'MySQL and MariaDB',
    open: createMysql,
    ask: askMysql,
    ownTable: 'create table shelf (id varchar(20))',
    schema: `import { mysqlTable, text, varchar } from 'drizzle-orm/mysql-core'
      export const shelf = mysqlTable('shelf', { id: varchar('id', { length: 20 }), note: text('note') })`,
    names: 'select table_name as name from information_schema.tables where table_schema = database()',
  },
  sqlite: {
    needs: [],
    section: 'SQLite',
    open: sqlite,
    ask: askSqlite,
    ownTable: 'create table shelf (id integer)',
    schema: `import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
      export const shelf = sqliteTable('shelf', { id: integer('id'), note: text('note') })`,
    names: "select name from sqlite_master where type = 'table' and name not like 'sqlite%'",
  },
} satisfies Record<Dialect, Kind>

const CELERYS = ['celery_taskmeta', 'celery_tasksetmeta']

// Each test starts drizzle-kit, which takes seconds on a busy machine.
vi.setConfig({ testTimeout: 120_000 })

for (const [dialect, kind] of Object.entries(kinds) as [Dialect, Kind][]) {
  describeNeeding(kind.needs, `drizzle-kit push on ${kind.section}`, () => {
    const open = () => opened(dialect, kind)

    it('keeps what it is told is not its own, each time', { tags: 'full' }, async () => {
      await using database = await open()
      await database.fill()
      const before = await database.names()
      expect(before).toEqual(expect.arrayContaining([expect.stringContaining('drizzle_celery_migrations')]))

      const outputs = [
        await database.push(blocksOf(kind.section)),
        await database.push(blocksOf(kind.section)),
      ]

      expect(await database.names()).toEqual(before)
      expect(await database.hasNote()).toBe(true)
      await database.expectResults()
      // What it did it did to the user's table.
      for (const output of outputs) expect(output).not.toMatch(/drop |truncate |celery_task|_id_sequence/i)
    })

    it('drops it otherwise, or asks', async () => {
      await using database = await open()
      await database.fill()
      const output = await database.push(withoutFilter(kind.section))

      const names = (await database.names()).join()
      if (drizzleMajor === '1.0') {
        for (const name of CELERYS) expect(output).toMatch(new RegExp(`data loss.*${name}`))
        await database.expectResults()
      } else {
        expect(names).toMatch(/^(public\.)?shelf$/)
      }
    })
  })
}

describeNeeding('postgresql', 'drizzle-kit push on PostgreSQL', () => {
  const kind: Kind = kinds.postgresql
  const open = () => opened('postgresql', kind)

  it.each(['PostgreSQL', 'PostgreSQL, with the models'])(
    "keeps tables that Celery made, and the sequences it draws from, as in '%s'",
    async (section) => {
      await using database = await open()
      for (const statement of celeryDdl('postgresql')) await kind.ask(database.dburi, statement)
      await database.fill()
      const before = await database.names()

      await database.push(blocksOf(section))

      expect(await database.names()).toEqual(before)
      expect(await database.hasNote()).toBe(true)
      await database.expectResults()
    },
  )

  it('keeps tables that this library made beside models that are re-exported', async () => {
    await using database = await open()
    await database.fill()
    const before = await database.names()

    await database.push(blocksOf('PostgreSQL, with the models'))

    expect(await database.names()).toEqual(before)
    expect(await database.hasNote()).toBe(true)
    await database.expectResults()
  })

  it('keeps tables in a schema of their own', async () => {
    const section = 'PostgreSQL, a schema of its own'
    // The option is the page's, and the test's.
    expect(blocksOf(section)['results.ts']).toContain(
      "databaseTableSchemas: { task: 'celery', group: 'celery' }",
    )
    await using database = await open()
    await kind.ask(database.dburi, 'create schema celery')
    const options = { databaseTableSchemas: { task: 'celery', group: 'celery' } }
    await database.fill(options)
    const before = await database.names()

    await database.push(blocksOf(section))

    expect(await database.names()).toEqual(before)
    expect(before).toContain('celery.celery_taskmeta')
    expect(await database.hasNote()).toBe(true)
    await database.expectResults(options)
  })

  it('drops the sequences of tables that Celery made where the schema lacks celery.ts', async () => {
    await using database = await open()
    for (const statement of celeryDdl('postgresql')) await kind.ask(database.dburi, statement)
    await database.fill()
    const { 'celery.ts': _, 'drizzle.config.ts': config = '' } = blocksOf(kind.section)

    await database.push({ 'drizzle.config.ts': config.replace(", './celery.ts'", '') })

    const names = await database.names()
    expect(names).toContain('public.celery_taskmeta')
    expect(names).not.toContain('public.task_id_sequence')
  })

  it('passes over the name of a package in silence', { tags: 'full' }, async () => {
    await using database = await open()
    await database.fill()
    const { 'drizzle.config.ts': config = '' } = blocksOf('PostgreSQL, with the models')
    const named = config.replace('./celery.ts', 'drizzle-celery/models/postgresql')
    expect(named).not.toBe(config)

    const output = await database.push({ 'drizzle.config.ts': named })

    expect(output).not.toContain('No schema files found')
    expect(output).toContain('celery_taskmeta')
    const alone = named.replace("'./schema.ts', ", '')
    expect(await database.push({ 'drizzle.config.ts': alone })).toContain('No schema files found')
  })
})

describe('a library that sends SET or PRAGMA as statements of its own', () => {
  // What `reset` of drizzle-seed sends, as far as it matters.
  const resets = {
    mysql: ['set foreign_key_checks = 0', 'truncate parent', 'truncate child', 'set foreign_key_checks = 1'],
    sqlite: [
      'pragma foreign_keys = off',
      'delete from parent',
      'delete from child',
      'pragma foreign_keys = on',
    ],
  }

  describeNeeding('mysql', 'on MySQL', () => {
    it('has its way in a session with autocommit only', () => resetting('mysql'))
  })
  it('has its way in a session with autocommit only, on SQLite', () => resetting('sqlite'))

  async function resetting(dialect: 'mysql' | 'sqlite'): Promise<void> {
    const { open, ask }: Kind = kinds[dialect]
    const { dburi, drop } = await open()
    await using manager = new SessionManager({ prepare: 'none' })
    try {
      await ask(dburi, 'create table parent (id integer primary key)')
      await ask(
        dburi,
        'create table child (id integer primary key, p integer, foreign key (p) references parent (id))',
      )
      await ask(dburi, 'insert into parent values (1)')
      await ask(dburi, 'insert into child values (1, 1)')
      const reset = async (handle: Handle) => {
        for (const statement of resets[dialect]) await execute(handle, statement)
      }
      const rows = async () =>
        Object.values((await ask(dburi, 'select count(*) as n from parent'))[0] ?? {})[0]

      const engine = await manager.getEngine(dburi)
      const refused = await reset(engine).catch((error: unknown) => causes(error))
      expect(String(refused)).toMatch(/foreign key/i)
      expect(await rows()).toBe(1)

      const session = await manager.sessionFactory(dburi, { autocommit: true })
      await reset(session)
      await session.close()
      expect(await rows()).toBe(0)
    } finally {
      await manager.dispose()
      await drop()
    }
  }
})

type Handle = EngineFor<string> | SessionFor<string>

async function execute(handle: Handle, statement: string): Promise<void> {
  if (handle.dialect === 'sqlite') await handle.db.run(sql.raw(statement))
  else if (handle.dialect === 'mysql') await handle.db.execute(sql.raw(statement))
  else await handle.db.execute(sql.raw(statement))
}

/** The files that a section of the page shows, by the name in their first line. */
function blocksOf(section: string): Readonly<Record<string, string>> {
  const page = readFileSync(join(projectRoot, 'docs/drizzle-kit.md'), 'utf8')
  const text = page.split(/^#+ /m).find((part) => part.startsWith(`${section}\n`)) ?? ''
  const blocks = [...text.matchAll(/^```ts\n\/\/ (\S+)\n(.*?)^```$/gms)]
  const files = Object.fromEntries(blocks.map(([, name = '', code = '']) => [name, code]))
  if (files['drizzle.config.ts'] === undefined)
    throw new Error(`docs/drizzle-kit.md has no config in "${section}"`)
  return files
}

/** The same without what keeps Celery's tables. */
function withoutFilter(section: string): Readonly<Record<string, string>> {
  const config = (blocksOf(section)['drizzle.config.ts'] ?? '')
    .replace(/tablesFilter: \[.*?\],/s, '')
    .replace(", './celery.ts'", '')
  expect(config).not.toMatch(/celery/i)
  return { 'drizzle.config.ts': config }
}

interface Opened extends AsyncDisposable {
  readonly dburi: string
  /** Makes the user's table, Celery's with results where there are none, and the journal of migrations. */
  fill(options?: BackendOptions): Promise<void>
  /** The tables and sequences that are there. */
  names(): Promise<string[]>
  /** Whether the user's table has the column that only the schema file has. */
  hasNote(): Promise<boolean>
  /** That what `fill` stored is there, and that more can be stored. */
  expectResults(options?: BackendOptions): Promise<void>
  /** Runs `drizzle-kit push --force` beside these files; what it printed. */
  push(files: Readonly<Record<string, string>>): Promise<string>
}

async function opened(dialect: Dialect, { open, ask, ownTable, schema, names }: Kind): Promise<Opened> {
  const { dburi, drop } = await open()
  const withBackend = async (options: BackendOptions, work: (backend: DatabaseBackend) => Promise<void>) => {
    await using backend = new DatabaseBackend(dburi, options)
    await work(backend)
  }
  return {
    dburi,
    async fill(options = {}) {
      await ask(dburi, ownTable)
      await withBackend(options, async (backend) => {
        await backend.markAsDone('a task', { total: 129.5 })
        await backend.saveGroup('a group', ['a task'])
      })
      // Nothing runs: it is all there.
      const folder = join(projectRoot, 'drizzle', dialect)
      const migrations = { [dialect]: { folder, baseline: '0000_celery_results' } }
      await using manager = new SessionManager({ prepare: 'migrate', migrations })
      await manager.prepareModels(await manager.getEngine(dburi))
    },
    async names() {
      return (await ask(dburi, names)).map((row) => String(Object.values(row)[0])).sort()
    },
    async hasNote() {
      await ask(dburi, 'select id from shelf')
      return await ask(dburi, 'select note from shelf').then(
        () => true,
        () => false,
      )
    },
    async expectResults(options = {}) {
      // Whatever is gone is not to be made again here.
      await withBackend({ ...options, databaseCreateTablesAtSetup: false }, async (backend) => {
        expect(await backend.getResult('a task')).toEqual({ total: 129.5 })
        expect(await backend.restoreGroup('a group')).toMatchObject({ members: [{ id: 'a task' }] })
        await backend.markAsDone('another task', 2)
        expect(await backend.getResult('another task')).toBe(2)
      })
    },
    push: (files) => push(dburi, { 'schema.ts': schema, ...files }),
    [Symbol.asyncDispose]: drop,
  }
}

async function push(dburi: string, files: Readonly<Record<string, string>>): Promise<string> {
  // Inside the project, so that drizzle-kit, drizzle-orm and the drivers are found.
  const cache = join(projectRoot, 'node_modules/.cache')
  mkdirSync(cache, { recursive: true })
  const directory = mkdtempSync(join(cache, 'drizzle-kit-'))
  try {
    mkdirSync(join(directory, 'node_modules'))
    const source = dirname(await compiled(join(projectRoot, 'src/index.ts')))
    symlinkSync(dirname(source), join(directory, 'node_modules/drizzle-celery'))
    writeFileSync(join(directory, 'package.json'), JSON.stringify({ type: 'module' }))
    // drizzle-kit 1.0 would follow the paths of this project's.
    writeFileSync(join(directory, 'tsconfig.json'), '{}')
    for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text)
    const kit = fileURLToPath(new URL('bin.cjs', import.meta.resolve('drizzle-kit')))
    return await new Promise((resolve) => {
      const env = { ...process.env, DATABASE_URL: dburi }
      const options = { cwd: directory, env, timeout: 60_000 }
      // How it ends is for the test to see in the database, and in what it printed.
      const child = execFile(
        process.execPath,
        [kit, 'push', '--force', '--verbose'],
        options,
        (_, stdout, stderr) => resolve(stdout + stderr),
      )
      child.stdin?.end()
    })
  } finally {
    rmSync(directory, { recursive: true })
  }
}

async function sqlite(): Promise<Place> {
  const directory = mkdtempSync(join(tmpdir(), 'dc-drizzle-kit-'))
  return {
    dburi: `file:${join(directory, 'shop.db')}`,
    drop: async () => rmSync(directory, { recursive: true }),
  }
}

async function askSqlite(dburi: string, statement: string): Promise<readonly object[]> {
  const client = createClient({ url: dburi })
  try {
    return (await client.execute(statement)).rows
  } finally {
    client.close()
  }
}
