import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, createClient } from '@libsql/client'
import { drizzle as drizzleLibsql } from 'drizzle-orm/libsql'
import * as pg from 'drizzle-orm/pg-core'
import * as sqlite from 'drizzle-orm/sqlite-core'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { resultModels as postgresqlModels } from '../../src/models/postgresql.ts'
import { resultModels as sqliteModels } from '../../src/models/sqlite.ts'
import type { Difference, PreparedModels } from '../../src/schema/diff.ts'
import type { PrepareOptions } from '../../src/schema/options.ts'
import { prepareModels } from '../../src/schema/prepare.ts'
import { SessionManager } from '../../src/session/open-manager.ts'
import { until, withOptions } from '../faults/support.ts'
import { askPostgres, postgresqlCatalogue, sqliteCatalogue } from '../fixtures/catalogue.ts'
import { CeleryPeer, celeryDdl } from '../fixtures/celery/peer.ts'
import { isLong, loops } from '../fixtures/loops.ts'
import {
  countOf,
  POSTGRESQL_NAMES,
  type PreparingOptions,
  preparePostgres,
  SQLITE_NAMES,
  schemaErrorOf,
} from '../fixtures/preparing.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'

const timeout = isLong ? 600_000 : 120_000
const directory = mkdtempSync(join(tmpdir(), 'dc-upgrade-'))
afterAll(() => rmSync(directory, { recursive: true }))

/** The columns that `result_extended` fills: tables of Celery before 4.3 do not have them. */
const EXTENDED = ['name', 'args', 'kwargs', 'worker', 'retries', 'queue']

/** What Celery before 4.3 made; from then on to 5.6.2 it was `celeryDdl`, and since then there are two indexes more. */
function oldDdl(dialect: 'postgresql' | 'sqlite'): string[] {
  const line = new RegExp(`^\\s*(?:${EXTENDED.join('|')}) .*\\n`, 'gm')
  return celeryDdl(dialect).map((statement) => statement.replace(line, ''))
}

/** The indexes of Celery since 5.6.3. */
const INDEXES = SQLITE_NAMES.map((table) => `CREATE INDEX ix_${table}_date_done ON ${table} (date_done)`)

const missingIndexes: Difference[] = SQLITE_NAMES.map((table) => ({
  kind: 'missing index',
  table,
  index: `ix_${table}_date_done`,
}))

function missingColumns(types: readonly string[]): Difference[] {
  return EXTENDED.map((column, index) => ({
    kind: 'missing column',
    table: 'celery_taskmeta',
    column,
    expected: types[index] ?? '',
  }))
}

const ADDED = [
  ...EXTENDED.map((column) => `celery_taskmeta.${column}`),
  'ix_celery_taskmeta_date_done',
  'ix_celery_tasksetmeta_date_done',
]

/** The warnings of the process that say that a schema differs. */
async function warningsOf(work: () => Promise<unknown>): Promise<string[]> {
  const warnings: string[] = []
  const listen = (warning: Error) => {
    if ('code' in warning && warning.code === 'DRIZZLE_CELERY_SCHEMA_DIFFERENCE')
      warnings.push(warning.message)
  }
  process.on('warning', listen)
  try {
    await work()
    await new Promise((resolve) => setImmediate(resolve))
    return warnings
  } finally {
    process.off('warning', listen)
  }
}

describeNeeding('postgresql', 'tables of older Celery on PostgreSQL', () => {
  const database = freshPostgres()
  const ask = (text: string) => askPostgres(database.dburi, text)
  const catalogue = () => postgresqlCatalogue(database.dburi)
  const prepare = (options?: PreparingOptions) => preparePostgres(database.dburi, options)
  const reportOf = async (options?: PreparingOptions) => await (await prepare(options)).report
  const empty = () => ask('drop schema public cascade; create schema public')
  const DIFFERENCES = [
    ...missingColumns([
      'character varying(155)',
      'bytea',
      'bytea',
      'character varying(155)',
      'integer',
      'character varying(155)',
    ]),
    ...missingIndexes,
  ]
  async function run(statements: readonly string[]): Promise<void> {
    for (const statement of statements) await ask(statement)
  }
  beforeEach(async () => {
    await empty()
  })

  it('are reported column by column and index by index, and left as they are', async () => {
    await run(oldDdl('postgresql'))
    const before = await catalogue()

    const { report, statements } = await prepare()

    expect(await report).toMatchObject({ created: [], added: [], present: POSTGRESQL_NAMES, missing: [] })
    expect((await report).differences).toEqual(DIFFERENCES)
    expect(statements).toHaveLength(1)
    expect(await catalogue()).toEqual(before)
  })

  it('of Celery 4.3 to 5.6.2 lack the indexes alone', async () => {
    await run(celeryDdl('postgresql'))

    expect((await reportOf()).differences).toEqual(missingIndexes)
  })

  it('of Celery 5.6.3 lack nothing, and neither do those with the column that 5.3.2 added', async () => {
    await run([...celeryDdl('postgresql'), ...INDEXES])
    expect((await reportOf()).differences).toEqual([])

    await ask('alter table celery_taskmeta add column children bytea')

    expect((await reportOf()).differences).toEqual([])
  })

  it('are refused by onDifference: "error", which names each column and changes nothing', async () => {
    await run(oldDdl('postgresql').slice(0, 2))
    const before = await catalogue()

    const { report, statements } = await prepare({ onDifference: 'error' })
    const error = await schemaErrorOf(report)

    expect(error.code).toBe('SCHEMA_DIFFERENCE')
    for (const column of EXTENDED)
      expect(error.message).toContain(`celery_taskmeta has no column "${column}"`)
    expect(error.message).toContain('celery_taskmeta has no index "ix_celery_taskmeta_date_done"')
    expect(error.message).toContain("prepare: 'upgrade'")
    expect(countOf(statements, /^(?!select)/i)).toBe(0)
    // Neither is what was missing created beside them.
    expect(await catalogue()).toEqual(before)
  })

  it('are warned of once by onDifference: "warn", also when there is something to create', async () => {
    await run(oldDdl('postgresql'))

    const first = await warningsOf(() => reportOf({ onDifference: 'warn' }))
    await ask('drop table celery_tasksetmeta')
    const second = await warningsOf(() => reportOf({ onDifference: 'warn' }))
    const none = await warningsOf(() => reportOf({ onDifference: 'ignore' }))

    expect(first).toEqual([expect.stringContaining('celery_taskmeta has no column "queue"')])
    expect(second).toEqual([expect.stringContaining('celery_taskmeta has no column "queue"')])
    expect(none).toEqual([])
  })

  it('get what is missing by an upgrade, nothing else, and keep their rows', async () => {
    await run([...celeryDdl('postgresql'), ...INDEXES])
    const expected = await catalogue()
    await empty()
    await run(oldDdl('postgresql'))
    await ask(`insert into celery_taskmeta (id, task_id, status) values (7, 'a', 'SUCCESS')`)

    const first = await prepare({ prepare: 'upgrade', onDifference: 'error' })
    const second = await prepare({ prepare: 'upgrade', onDifference: 'error' })

    expect(await first.report).toMatchObject({
      created: [],
      added: ADDED,
      present: POSTGRESQL_NAMES,
      differences: [],
    })
    expect(countOf(first.statements, /^(?:alter|create)/i)).toBe(ADDED.length)
    expect(await catalogue()).toEqual(expected)
    expect(await ask('select * from celery_taskmeta')).toEqual([
      {
        id: 7,
        task_id: 'a',
        status: 'SUCCESS',
        result: null,
        date_done: null,
        traceback: null,
        ...emptyColumns,
      },
    ])
    expect(await second.report).toMatchObject({ created: [], added: [], differences: [] })
    expect(second.statements).toHaveLength(1)
  })

  it('are upgraded once, whatever the number of concurrent callers', async () => {
    await run(oldDdl('postgresql'))

    const reports = await Promise.all(Array.from({ length: 8 }, () => reportOf({ prepare: 'upgrade' })))

    expect(reports.flatMap(({ added }) => added)).toEqual(ADDED)
    expect(reports.flatMap(({ differences }) => differences)).toEqual([])
  })

  it('are upgraded once, also by calls whose models are not the same, which take other locks', async () => {
    const models = { ...postgresqlModels() }
    const more = { ...models, notes: pg.pgTable('notes', { id: pg.integer('id') }) }
    for (let round = 0; round < loops(5, 20, 2); round++) {
      await empty()
      await run(oldDdl('postgresql'))

      const callers = Array.from({ length: 8 }, (_, index) =>
        reportOf({ prepare: 'upgrade', models: index % 2 === 0 ? models : more }),
      )
      const reports = await Promise.all(callers)

      expect(reports.flatMap(({ added }) => added).sort()).toEqual([...ADDED].sort())
      expect((await reportOf({ models: more })).differences).toEqual([])
    }
  })

  it('are upgraded and completed by one call', async () => {
    await run(oldDdl('postgresql').slice(0, 2))

    expect(await reportOf({ prepare: 'upgrade' })).toMatchObject({
      created: ['taskset_id_sequence', 'celery_tasksetmeta'],
      added: ADDED.slice(0, -1),
      present: ['task_id_sequence', 'celery_taskmeta'],
    })
    expect((await reportOf()).differences).toEqual([])
  })

  it('are compared by a check, which lists what is missing and creates nothing', async () => {
    const nothing = await catalogue()

    const bare = await prepare({ prepare: 'check' })

    expect(await bare.report).toMatchObject({
      created: [],
      present: [],
      missing: POSTGRESQL_NAMES,
      differences: [],
    })
    expect(countOf(bare.statements, /^(?!select)/i)).toBe(0)
    expect(await catalogue()).toEqual(nothing)

    await run(oldDdl('postgresql').slice(0, 2))
    const before = await catalogue()
    const half = await reportOf({ prepare: 'check' })
    const { report } = await prepare({ prepare: 'check', onDifference: 'error' })

    expect(half.missing).toEqual(['taskset_id_sequence', 'celery_tasksetmeta'])
    expect(half.differences).toEqual(DIFFERENCES.slice(0, -1))
    expect((await schemaErrorOf(report)).message).toContain('there is no celery_tasksetmeta')
    expect(await catalogue()).toEqual(before)
  })

  it('keep a type that differs from their model, and get no column that rows would violate, also by an upgrade', async () => {
    const model = pg.pgTable('things', {
      id: pg.integer('id'),
      size: pg.integer('size'),
      must: pg.text('must').notNull(),
      may: pg.text('may').notNull().default('x'),
    })
    await ask('create table things (id integer, size text)')
    await ask(`insert into things values (1, 'big')`)

    const report = await reportOf({ models: { model }, prepare: 'upgrade' })
    const { report: refused } = await prepare({
      models: { model },
      prepare: 'upgrade',
      onDifference: 'error',
    })

    expect(report.added).toEqual(['things.may'])
    expect(report.differences).toEqual([
      { kind: 'other type', table: 'things', column: 'size', expected: 'integer', found: 'text' },
      { kind: 'missing column', table: 'things', column: 'must', expected: 'text' },
    ])
    expect((await schemaErrorOf(refused)).message).toContain('things.size is text, its model says integer')
    expect(await ask('select * from things')).toEqual([{ id: 1, size: 'big', may: 'x' }])
  })

  it('owned by another role are not upgraded: the error has the statements', async () => {
    const role = `dc_upgrade_role_${process.pid}`
    await run(oldDdl('postgresql'))
    await ask(
      `drop role if exists ${role}; create role ${role}; grant usage, create on schema public to ${role}`,
    )
    const before = await catalogue()

    const { report, statements } = await prepare({ prepare: 'upgrade', connection: { role } })
    const error = await schemaErrorOf(report)
    await ask(`drop owned by ${role}; drop role ${role}`)

    expect(error.code).toBe('SCHEMA_PERMISSION')
    expect(countOf(statements, /^begin/i)).toBe(1)
    expect(await catalogue()).toEqual(before)
    await run(error.statements)
    expect((await reportOf()).differences).toEqual([])
  })

  it.each(['create', 'check', 'upgrade'] as const)(
    'that lack nothing are fine for %s by a role that may create nothing',
    async (mode) => {
      const role = `dc_upgrade_reader_${process.pid}`
      await reportOf()
      await ask(`drop role if exists ${role}; create role ${role}; grant usage on schema public to ${role}`)
      const privilege = `select has_schema_privilege('${role}', 'public', 'CREATE') as may`
      const may = await ask(privilege)

      const { report, statements } = await prepare({
        prepare: mode,
        onDifference: 'error',
        connection: { role },
      })
      await ask(`drop owned by ${role}; drop role ${role}`)

      expect(may).toEqual([{ may: false }])
      expect(await report).toMatchObject({ created: [], added: [], missing: [], differences: [] })
      expect(statements).toHaveLength(1)
    },
  )

  it('with an index of a wanted name on another table are not upgraded, and the error says why', async () => {
    await run(celeryDdl('postgresql'))
    await ask('create table other (id integer); create index ix_celery_taskmeta_date_done on other (id)')

    const { report } = await prepare({ prepare: 'upgrade' })
    const error = await schemaErrorOf(report)

    expect(error.message).toContain('"ix_celery_taskmeta_date_done" already exists')
    expect((await reportOf()).differences).toEqual(missingIndexes)
  })

  describeNeeding('python celery', 'while Celery’s workers write', () => {
    const rounds = loops(5, 40, 2)

    it(`are upgraded ${rounds} times without a failed write or a lost row`, { timeout }, async () => {
      await run(oldDdl('postgresql'))
      const url = database.dburi.replace('postgresql:', 'postgresql+psycopg2:')
      await using manager = new SessionManager()
      const engine = await manager.getEngine(withOptions(database.dburi, {}))
      const models = { ...postgresqlModels() }

      const stored = await whileWriting(url, tasks, async () => {
        for (let round = 0; round < rounds; round++) {
          if (round > 0) await ask(DOWNGRADE.join(';'))
          const report = await prepareModels(engine, models, { prepare: 'upgrade' })
          expect(report.added).toEqual(ADDED)
          await moreThan(tasks)
        }
      })

      expect(stored.failures).toEqual([])
      const rows = `select count(*)::int as rows, count(distinct task_id)::int as tasks,
        count(*) filter (where status = 'SUCCESS' and result is not null)::int as done from celery_taskmeta`
      expect(await ask(rows)).toEqual([{ rows: stored.stored, tasks: stored.stored, done: stored.stored }])
      expect((await reportOf()).differences).toEqual([])
      if (isLong) console.log(`PostgreSQL: ${rounds} upgrades during ${stored.stored} tasks`)
    })

    async function tasks(): Promise<number> {
      const [row] = await ask('select count(*)::int as n from celery_taskmeta')
      return (row as { n: number }).n
    }
  })
})

const emptyColumns = Object.fromEntries(EXTENDED.map((column) => [column, null]))

/** Makes the tables old again. */
const DOWNGRADE = [
  ...EXTENDED.map((column) => `alter table celery_taskmeta drop column ${column}`),
  ...SQLITE_NAMES.map((table) => `drop index ix_${table}_date_done`),
]

describe('tables of older Celery on SQLite', () => {
  let files = 0
  let path = ''
  let client: Client
  beforeEach(() => {
    files += 1
    path = join(directory, `${files}.sqlite`)
    client = createClient({ url: `file:${path}` })
    return () => client.close()
  })
  const DIFFERENCES = [
    ...missingColumns(['VARCHAR(155)', 'BLOB', 'BLOB', 'VARCHAR(155)', 'INTEGER', 'VARCHAR(155)']),
    ...missingIndexes,
  ]

  async function prepare(
    options: PrepareOptions = {},
    models: Record<string, unknown> = { ...sqliteModels() },
  ): Promise<{ report: Promise<PreparedModels>; statements: string[] }> {
    const statements: string[] = []
    const db = drizzleLibsql({ client, logger: { logQuery: (text) => statements.push(text) } })
    const report = prepareModels({ dialect: 'sqlite', db }, models, options)
    await report.catch(() => {})
    return { report, statements }
  }
  const reportOf = async (options?: PrepareOptions) => await (await prepare(options)).report

  /** All but the texts of the tables, in which a column that was added stands behind the constraints. */
  async function shape(of: Client = client): Promise<unknown> {
    const { columns, indexes, foreignKeys } = (await sqliteCatalogue(of)) as Record<string, unknown>
    return { columns, indexes, foreignKeys }
  }

  it('are reported column by column and index by index, and left as they are', async () => {
    await client.batch(oldDdl('sqlite'), 'write')
    const before = await sqliteCatalogue(client)

    const { report, statements } = await prepare()

    expect(await report).toMatchObject({ created: [], added: [], present: SQLITE_NAMES, missing: [] })
    expect((await report).differences).toEqual(DIFFERENCES)
    expect(statements).toHaveLength(1)
    expect(await sqliteCatalogue(client)).toEqual(before)
  })

  it('of Celery 4.3 to 5.6.2 lack the indexes alone, those of 5.6.3 nothing', async () => {
    await client.batch(celeryDdl('sqlite'), 'write')
    expect((await reportOf()).differences).toEqual(missingIndexes)

    await client.batch([...INDEXES, 'alter table celery_taskmeta add column children BLOB'], 'write')
    expect((await reportOf()).differences).toEqual([])
  })

  it('are refused by onDifference: "error", which names each column and changes nothing', async () => {
    await client.batch(oldDdl('sqlite').slice(0, 1), 'write')
    const before = await sqliteCatalogue(client)

    const { report, statements } = await prepare({ onDifference: 'error' })
    const error = await schemaErrorOf(report)

    expect(error.code).toBe('SCHEMA_DIFFERENCE')
    for (const column of EXTENDED)
      expect(error.message).toContain(`celery_taskmeta has no column "${column}"`)
    expect(statements).toHaveLength(1)
    expect(await sqliteCatalogue(client)).toEqual(before)
  })

  it('are warned of once by onDifference: "warn", also when there is something to create', async () => {
    await client.batch(oldDdl('sqlite').slice(0, 1), 'write')

    const warnings = await warningsOf(() => reportOf({ onDifference: 'warn' }))

    expect(warnings).toEqual([expect.stringContaining('celery_taskmeta has no column "queue"')])
  })

  it('get what is missing by an upgrade, nothing else, and keep their rows', async () => {
    const fresh = createClient({ url: ':memory:' })
    await fresh.batch([...celeryDdl('sqlite'), ...INDEXES], 'write')
    await client.batch(oldDdl('sqlite'), 'write')
    await client.execute(`insert into celery_taskmeta (id, task_id, status) values (7, 'a', 'SUCCESS')`)

    const first = await prepare({ prepare: 'upgrade', onDifference: 'error' })
    const second = await prepare({ prepare: 'upgrade', onDifference: 'error' })

    expect(await first.report).toMatchObject({ created: [], added: ADDED, differences: [] })
    expect(countOf(first.statements, /^(?:alter|create)/i)).toBe(ADDED.length)
    expect(await shape()).toEqual(await shape(fresh))
    const { rows } = await client.execute('select * from celery_taskmeta')
    expect({ ...rows[0] }).toEqual(
      expect.objectContaining({ id: 7, task_id: 'a', status: 'SUCCESS', ...emptyColumns }),
    )
    expect(await second.report).toMatchObject({ created: [], added: [], differences: [] })
    expect(second.statements).toHaveLength(1)
    fresh.close()
  })

  it('are upgraded and completed by one call', async () => {
    await client.batch(oldDdl('sqlite').slice(0, 1), 'write')

    expect(await reportOf({ prepare: 'upgrade' })).toMatchObject({
      created: ['celery_tasksetmeta'],
      added: ADDED.slice(0, -1),
      present: ['celery_taskmeta'],
    })
    expect((await reportOf()).differences).toEqual([])
  })

  it('are compared by a check, which lists what is missing and creates nothing', async () => {
    const bare = await prepare({ prepare: 'check' })

    expect(await bare.report).toMatchObject({ created: [], present: [], missing: SQLITE_NAMES })
    expect(bare.statements).toHaveLength(1)

    await client.batch(oldDdl('sqlite').slice(0, 1), 'write')
    const before = await sqliteCatalogue(client)
    const half = await reportOf({ prepare: 'check' })

    expect(half.missing).toEqual(['celery_tasksetmeta'])
    expect(half.differences).toEqual(DIFFERENCES.slice(0, -1))
    expect(await sqliteCatalogue(client)).toEqual(before)
  })

  it('keep a type that differs from their model, and get no column that rows would violate, also by an upgrade', async () => {
    const model = sqlite.sqliteTable('things', {
      id: sqlite.integer('id'),
      size: sqlite.integer('size'),
      must: sqlite.text('must').notNull(),
      may: sqlite.text('may').notNull().default('x'),
    })
    await client.batch(
      ['create table things (id integer, size text)', `insert into things values (1, 'big')`],
      'write',
    )

    const report = await (await prepare({ prepare: 'upgrade' }, { model })).report

    expect(report.added).toEqual(['things.may'])
    expect(report.differences).toEqual([
      { kind: 'other type', table: 'things', column: 'size', expected: 'INTEGER', found: 'TEXT' },
      { kind: 'missing column', table: 'things', column: 'must', expected: 'TEXT' },
    ])
    const { rows } = await client.execute('select * from things')
    expect({ ...rows[0] }).toEqual({ id: 1, size: 'big', may: 'x' })
  })

  it('with an index of a wanted name on another table are not upgraded, and the error says why', async () => {
    await client.batch(
      [
        ...celeryDdl('sqlite'),
        'create table other (id integer)',
        'create index ix_celery_taskmeta_date_done on other (id)',
      ],
      'write',
    )

    const { report } = await prepare({ prepare: 'upgrade' })

    expect((await schemaErrorOf(report)).message).toContain(
      'index ix_celery_taskmeta_date_done already exists',
    )
    expect((await reportOf()).differences).toEqual(missingIndexes)
  })

  it('that migrations left behind their models are refused by an error that does not hide that these ran', async () => {
    const folder = mkdtempSync(join(directory, 'migrations-'))
    mkdirSync(join(folder, '20260101000000_first'))
    const statements = oldDdl('sqlite').join('\n--> statement-breakpoint\n')
    writeFileSync(join(folder, '20260101000000_first/migration.sql'), statements)

    const { report } = await prepare({ prepare: 'migrate', migrations: { folder }, onDifference: 'error' })
    const { message } = await schemaErrorOf(report)

    expect(message).toContain('celery_taskmeta has no column "queue"')
    expect(message).toContain('The migrations ran')
    expect(message).not.toContain('Nothing was changed')
  })

  describeNeeding('python celery', 'while Celery’s workers write', () => {
    const rounds = loops(5, 40, 2)

    it(`are upgraded ${rounds} times without a failed write or a lost row`, { timeout }, async () => {
      await client.batch(oldDdl('sqlite'), 'write')
      await client.execute('pragma busy_timeout = 20000')
      await using manager = new SessionManager()
      const engine = await manager.getEngine(`file:${path}` as const)
      const models = { ...sqliteModels() }

      const stored = await whileWriting(`sqlite:///${path}`, tasks, async () => {
        for (let round = 0; round < rounds; round++) {
          if (round > 0) await client.batch(DOWNGRADE.toReversed(), 'write')
          const report = await prepareModels(engine, models, { prepare: 'upgrade' })
          expect(report.added).toEqual(ADDED)
          await moreThan(tasks)
        }
      })

      expect(stored.failures).toEqual([])
      const { rows } = await client.execute(
        `select count(*) as "rows", count(distinct task_id) as tasks,
         count(*) filter (where status = 'SUCCESS' and result is not null) as done from celery_taskmeta`,
      )
      expect({ ...rows[0] }).toEqual(
        expect.objectContaining({ rows: stored.stored, tasks: stored.stored, done: stored.stored }),
      )
      expect((await reportOf()).differences).toEqual([])
      if (isLong) console.log(`SQLite: ${rounds} upgrades during ${stored.stored} tasks`)
    })

    async function tasks(): Promise<number> {
      const { rows } = await client.execute('select count(*) as n from celery_taskmeta')
      return Number(rows[0]?.['n'])
    }
  })
})

/** Two workers of real Celery write results that are not extended, as workers with such tables have to. */
async function whileWriting(
  dburi: string,
  tasks: () => Promise<number>,
  work: () => Promise<void>,
): Promise<{ stored: number; failures: string[] }> {
  using first = new CeleryPeer()
  using second = new CeleryPeer()
  await Promise.all([first.ready(), second.ready()])
  const writers = [first, second].map((peer, index) =>
    peer.storeMany(dburi, `${index}-`, { result_extended: false }),
  )
  await moreThan(tasks)
  await work()
  const results = await Promise.all(writers.map((writer) => writer.stop()))
  return {
    stored: results.reduce((sum, { stored }) => sum + stored, 0),
    failures: results.flatMap(({ failures }) => failures),
  }
}

/** Waits until more tasks have results than now. */
async function moreThan(tasks: () => Promise<number>): Promise<void> {
  const before = await tasks()
  await until(async () => (await tasks()) > before + 4, { within: 20_000 })
}
