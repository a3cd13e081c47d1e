/** The modes of prepareModels on MySQL that go on from what is there: upgrade, check and migrate. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { sql } from 'drizzle-orm'
import * as my from 'drizzle-orm/mysql-core'
import { createConnection } from 'mysql2/promise'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { isWider } from '../../src/schema/mysql/columns.ts'
import { mysqlDefinitions } from '../../src/schema/mysql/definitions.ts'
import { askMysql, readMysqlCatalogue } from '../fixtures/catalogue.ts'
import { celeryDdl } from '../fixtures/celery/peer.ts'
import { countOf, MARIADB_NAMES, prepareMysql, schemaErrorOf } from '../fixtures/preparing.ts'
import { describeNeeding, freshMysql } from '../fixtures/servers.ts'

const directory = mkdtempSync(join(tmpdir(), 'dc-mysql-'))
afterAll(() => rmSync(directory, { recursive: true }))

describeNeeding('mysql', 'on MySQL', () => {
  const database = freshMysql()
  const ask = (text: string) => askMysql(database.dburi, text)
  const catalogue = () => readMysqlCatalogue(ask, database.name)
  const prepare = (options: Parameters<typeof prepareMysql>[1] = {}) => prepareMysql(database.dburi, options)
  beforeEach(async () => {
    const server = database.dburi.replace(database.name, 'mysql')
    await askMysql(server, `drop database ${database.name}`)
    await askMysql(server, `create database ${database.name}`)
  })

  describe('an upgrade', () => {
    it('adds columns, with what is theirs, and indexes, and keeps the rows', async () => {
      const owners = my.mysqlTable('owners', { id: my.int().primaryKey() })
      const pets = my.mysqlTable(
        'pets',
        {
          id: my.int().primaryKey(),
          name: my.varchar({ length: 20 }).notNull().default('?'),
          tag: my.varchar({ length: 36 }).unique('by tag').default(sql`(uuid())`),
          owner: my.int().references(() => owners.id, { onDelete: 'cascade' }),
          age: my.int(),
          twice: my.int().generatedAlwaysAs(sql`age * 2`),
        },
        (t) => [my.index('by age').on(t.age, t.name), my.check('aged', sql`${t.age} >= 0`)],
      )
      const models = { owners, pets }
      await prepare({ models })
      const expected = await catalogue()
      await ask('drop table pets')
      await ask('create table pets (id int primary key)')
      await ask('insert into pets values (1), (2)')

      const { report, statements } = await prepare({ models, prepare: 'upgrade', onDifference: 'error' })

      expect((await report).added).toEqual([
        'pets.name',
        'pets.tag',
        'pets.owner',
        'pets.age',
        'pets.twice',
        'by tag',
        'by age',
      ])
      expect(countOf(statements, /^alter/i)).toBe(7)
      expect(await catalogue()).toEqual(expected)
      expect(await ask('select id, name, age from pets')).toEqual([
        { id: 1, name: '?', age: null },
        { id: 2, name: '?', age: null },
      ])
      expect(await (await prepare({ models, prepare: 'upgrade' })).report).toMatchObject({
        added: [],
        differences: [],
      })
    })

    it('does not add columns that existing rows would violate', async () => {
      const other = my.mysqlTable('other', { id: my.int().primaryKey() })
      const table = my.mysqlTable(
        'table',
        {
          id: my.int(),
          key: my.int().autoincrement().primaryKey(),
          required: my.int().notNull(),
          same: my.int().default(1).unique('the same'),
          referring: my
            .int()
            .default(1)
            .references(() => other.id),
          one: my.int(),
          two: my.int(),
          custom: my.customType<{ data: number }>({ dataType: () => 'int not null' })(),
        },
        (t) => [my.check('both', sql`${t.one} < ${t.two}`), my.uniqueIndex('apart').on(t.id, t.same)],
      )
      await ask('create table `table` (id int)')
      await ask('insert into `table` values (1)')

      const { report } = await prepare({ models: { other, table }, prepare: 'upgrade' })

      expect(await report).toMatchObject({ created: ['other'], added: [] })
      expect((await report).differences.map((difference) => Object.values(difference).slice(0, 3))).toEqual([
        ...['key', 'required', 'same', 'referring', 'one', 'two', 'custom'].map((column) => [
          'missing column',
          'table',
          column,
        ]),
        ['missing index', 'table', 'the same'],
        ['missing index', 'table', 'apart'],
      ])
    })

    it('gives up on a table that others keep locked', async () => {
      const table = my.mysqlTable('kept', { id: my.int(), more: my.int() })
      await ask('create table kept (id int)')
      const other = await createConnection(database.dburi)
      await other.query('begin')
      await other.query('select * from kept')

      const { report } = await prepare({ models: { table }, prepare: 'upgrade' })
      const error = await schemaErrorOf(report)
      await other.query('rollback')
      await other.end()

      expect(error.code).toBe('SCHEMA_LOCK_TIMEOUT')
      expect((await (await prepare({ models: { table }, prepare: 'upgrade' })).report).added).toEqual([
        'kept.more',
      ])
    })

    describe('of tables that Celery made', () => {
      const bytes = Buffer.from(Array.from({ length: 1000 }, (_, at) => at % 256))
      beforeEach(async () => {
        for (const statement of celeryDdl('mariadb')) await ask(statement)
        await ask(`insert into celery_taskmeta (id, task_id, result, date_done, traceback, worker, queue) values
          (1, 'a', x'${bytes.toString('hex')}', '2026-01-02 03:04:05', 'ünïcødé', 'w', 'q')`)
        await ask(
          `alter table celery_taskmeta modify worker varchar(20) character set latin1 not null default 'w'`,
        )
        await ask('alter table celery_taskmeta modify queue varchar(20) character set latin1 not null')
      })

      it('makes columns wider only when it is asked to', async () => {
        const { report } = await prepare({ prepare: 'upgrade' })

        expect(await report).toMatchObject({ widened: [] })
        expect((await report).differences.map(({ kind }) => kind)).toContain('other type')
      })

      it('makes them as wide as the models have them, and keeps values, nullability and characters', async () => {
        const { report } = await prepare({ prepare: 'upgrade', widen: true })
        const again = await prepare({ prepare: 'upgrade', widen: true })
        const { columns = [] } = await catalogue()
        const rows = await ask(
          'select result, cast(date_done as char) as done, traceback, queue from celery_taskmeta',
        )
        const found = (name: string) =>
          columns.find((column) => column['owner'] === 'celery_taskmeta' && column['name'] === name)

        expect(await report).toMatchObject({
          created: [],
          widened: [
            'celery_taskmeta.result',
            'celery_taskmeta.date_done',
            'celery_taskmeta.traceback',
            'celery_taskmeta.args',
            'celery_taskmeta.kwargs',
            'celery_taskmeta.queue',
            'celery_tasksetmeta.result',
            'celery_tasksetmeta.date_done',
          ],
        })
        // With a default there is more to keep than we know how to write.
        const left = [
          {
            kind: 'other type',
            table: 'celery_taskmeta',
            column: 'worker',
            expected: 'varchar(155)',
            found: 'varchar(20)',
          },
        ]
        expect((await report).differences).toEqual(left)
        expect(await again.report).toMatchObject({ widened: [], differences: left })
        expect(rows).toEqual([
          { result: bytes, done: '2026-01-02 03:04:05.000000', traceback: 'ünïcødé', queue: 'q' },
        ])
        expect(found('result')).toMatchObject({ type: 'longblob', nullable: 'YES' })
        expect(found('queue')).toMatchObject({
          type: 'varchar(155)',
          nullable: 'NO',
          collation: expect.stringMatching(/^latin1/),
        })
      })
    })

    it('widens to larger types only', () => {
      const wider = [
        ['blob', 'longblob'],
        ['tinytext', 'text'],
        ['datetime', 'datetime(6)'],
        ['time(2)', 'time(3)'],
        ['varchar(50)', 'varchar(155)'],
      ] as const
      for (const [narrow, wide] of wider) {
        expect([narrow, wide, isWider(narrow, wide)]).toEqual([narrow, wide, true])
        expect([wide, narrow, isWider(wide, narrow)]).toEqual([wide, narrow, false])
      }
      for (const [one, other] of [
        ['blob', 'longtext'],
        ['varchar(5)', 'varbinary(9)'],
        ['datetime', 'timestamp(6)'],
        ['int', 'bigint'],
        ['blob', 'blob'],
      ] as const) {
        expect([one, other, isWider(one, other)]).toEqual([one, other, false])
      }
    })
  })

  it('a check reports what is missing and what differs, and changes nothing', async () => {
    await ask('create table celery_taskmeta (id bigint unsigned primary key)')
    const before = await catalogue()

    const { report } = await prepare({ prepare: 'check' })

    expect((await report).missing).toEqual(MARIADB_NAMES.filter((name) => name !== 'celery_taskmeta'))
    expect((await report).differences).toContainEqual({
      kind: 'other type',
      table: 'celery_taskmeta',
      column: 'id',
      expected: 'int',
      found: 'bigint(20) unsigned',
    })
    expect(await catalogue()).toEqual(before)
    const refused = await prepare({ prepare: 'check', onDifference: 'error' })
    expect(await schemaErrorOf(refused.report)).toMatchObject({ code: 'SCHEMA_DIFFERENCE' })
  })

  it('an option for columns to be widened is refused where nothing widens any', async () => {
    await expect((await prepare({ widen: true })).report).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })

  describe('migrations', () => {
    const note = my.mysqlTable('note', { id: my.int().primaryKey() })
    const first = mysqlDefinitions({ note }).flatMap((one) =>
      one.statements(undefined).map(({ text }) => text),
    )
    let folders = 0
    const layouts = {
      '0.x'(folder: string, migrations: Record<string, string>) {
        write(
          join(folder, 'meta/_journal.json'),
          JSON.stringify({ entries: Object.keys(migrations).map((tag) => ({ tag })) }),
        )
        for (const [tag, text] of Object.entries(migrations)) write(join(folder, `${tag}.sql`), text)
      },
      '1.0'(folder: string, migrations: Record<string, string>) {
        for (const [tag, text] of Object.entries(migrations)) write(join(folder, tag, 'migration.sql'), text)
      },
    }
    function write(file: string, text: string): void {
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, text)
    }
    const BREAK = '\n--> statement-breakpoint\n'
    const FIRST = { '0000_first': first.join(BREAK) }
    const SECOND = {
      '0001_second': ['ALTER TABLE `note` ADD `body` text;', "INSERT INTO note VALUES (1, 'a');"].join(BREAK),
    }
    function folderOf(layout: keyof typeof layouts, migrations: Record<string, string>): string {
      folders += 1
      const folder = join(directory, String(folders))
      layouts[layout](folder, migrations)
      return folder
    }
    const migrate = (folder: string, more = {}) =>
      prepare({ models: { note }, prepare: 'migrate', migrations: { folder, ...more } })

    it.each(['0.x', '1.0'] as const)(
      'of drizzle-kit %s run once each, whatever the number of callers',
      async (layout) => {
        const one = await migrate(folderOf(layout, FIRST))
        const folder = folderOf(layout, { ...FIRST, ...SECOND })
        const reports = await Promise.all(
          Array.from({ length: 8 }, async () => await (await migrate(folder)).report),
        )

        expect(await one.report).toMatchObject({ created: ['note'], migrated: ['0000_first'] })
        expect(reports.flatMap(({ migrated }) => migrated)).toEqual(['0001_second'])
        expect(await ask('select * from note')).toEqual([{ id: 1, body: 'a' }])
      },
    )

    it('that fail name the statement, and what was done before', async () => {
      const bad = {
        '0001_bad': ['INSERT INTO `note` VALUES (7);', 'INSERT INTO `nowhere` VALUES (8);'].join(BREAK),
      }
      const never = { '0002_never': 'CREATE TABLE never (id int);' }
      const folder = folderOf('0.x', { ...FIRST, ...bad, ...never })
      await migrate(folderOf('0.x', FIRST))

      const error = await schemaErrorOf((await migrate(folder)).report)
      const noted = await ask('select name from drizzle_celery_migrations')
      const hand = /INSERT INTO .*(?=;$)/.exec(error.message)?.[0] ?? ''
      await ask(hand)
      const after = await migrate(folder)

      expect(error).toMatchObject({
        code: 'SCHEMA_MIGRATIONS',
        statements: ['INSERT INTO `nowhere` VALUES (8);'],
      })
      expect(error.message).toContain('statement 2 of 2 of the migration 0001_bad')
      expect(error.message).toContain('Those before it were run and stay (1 to 1)')
      expect(await ask('select * from note')).toEqual([{ id: 7 }])
      expect(noted).toEqual([{ name: '0000_first' }])
      expect((await after.report).migrated).toEqual(['0002_never'])
    })

    it('go on from a baseline', async () => {
      await prepare({ models: { note } })

      const { report } = await migrate(folderOf('1.0', { ...FIRST, ...SECOND }), { baseline: '0000_first' })

      expect(await report).toMatchObject({ created: [], migrated: ['0001_second'] })
    })
  })
})
