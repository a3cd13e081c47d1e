/** What prepareModels does in a MySQL or MariaDB database; `mysql.test.ts` has what its statements make there. */
import { randomBytes } from 'node:crypto'
import { type SQL, sql } from 'drizzle-orm'
import * as my from 'drizzle-orm/mysql-core'
import { drizzle } from 'drizzle-orm/mysql2'
import { createConnection, createPool } from 'mysql2/promise'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ConnectError } from '../../src/errors.ts'
import { resultModels } from '../../src/models/mysql.ts'
import { drawing, mysqlSequence } from '../../src/models/mysql-sequence.ts'
import { mysqlDefinitions } from '../../src/schema/mysql/definitions.ts'
import { explanationOf } from '../../src/schema/mysql/errors.ts'
import type { MysqlTarget } from '../../src/schema/mysql/lock.ts'
import { prepareModels } from '../../src/schema/prepare.ts'
import { SessionManager } from '../../src/session/open-manager.ts'
import { askMysql, readMysqlCatalogue } from '../fixtures/catalogue.ts'
import { celeryDdl } from '../fixtures/celery/peer.ts'
import { countOf, MARIADB_NAMES, prepareMysql, schemaErrorOf } from '../fixtures/preparing.ts'
import { describeNeeding, freshMysql } from '../fixtures/servers.ts'

type Models = Record<string, unknown>

describe('an error of a MySQL server for a definition', () => {
  const said = (errno: number, sqlState: string) =>
    Object.assign(new Error('It says no'), { errno, sqlState, code: 'ER_X' })

  it.each([
    [1273, 'HY000'],
    [1368, 'HY000'],
    [3780, 'HY000'],
    [4161, 'HY000'],
    [8200, 'HY000'],
    [1101, '42000'],
    [1264, '22003'],
  ])('%i (%s) is a refusal', (errno, sqlState) => {
    const error = new Error('Failed query', { cause: said(errno, sqlState) })

    expect(explanationOf(error)).toEqual({ code: 'SCHEMA_REFUSED', reason: `It says no (${errno})` })
  })

  it.each([
    [1021, 'HY000'],
    [1030, 'HY000'],
    [1041, 'HY000'],
    [1041, 'HY001'],
    [1053, '08S01'],
    [1105, 'HY000'],
    [1180, 'HY000'],
    [1317, '70100'],
    [1614, 'XA102'],
    [1969, '70100'],
    [3169, 'HY000'],
    [4031, 'HY000'],
    [9001, 'HY000'],
  ])('%i (%s) is trouble, and stays what it is', (errno, sqlState) => {
    expect(explanationOf(said(errno, sqlState))).toBeUndefined()
  })

  it('is passed through if it refused or closed the connection', () => {
    for (const [errno, sqlState] of [
      [1045, '28000'],
      [1130, 'HY000'],
    ] as const) {
      const cause = said(errno, sqlState)
      const refused = new ConnectError('CONNECT_FAILED', { host: 'h', port: 1 }, 'No', { cause })
      expect(explanationOf(refused)).toBeUndefined()
    }
  })
})

describeNeeding('mysql', 'prepareModels on MySQL', () => {
  const database = freshMysql()
  const ask = (text: string) => askMysql(database.dburi, text)
  const catalogue = () => readMysqlCatalogue(ask, database.name)
  const prepare = (options: Parameters<typeof prepareMysql>[1] = {}) => prepareMysql(database.dburi, options)
  beforeEach(async () => {
    await askMysql(database.dburi.replace(database.name, 'mysql'), `drop database ${database.name}`)
    await askMysql(database.dburi.replace(database.name, 'mysql'), `create database ${database.name}`)
  })

  it('creates what is missing and reports it', async () => {
    const first = await prepare()
    const second = await prepare()

    expect(await first.report).toEqual({
      created: MARIADB_NAMES,
      added: [],
      widened: [],
      present: [],
      missing: [],
      differences: [],
      migrated: [],
      milliseconds: expect.any(Number),
    })
    expect(await second.report).toMatchObject({ created: [], present: MARIADB_NAMES, differences: [] })
  })

  it('runs one query when everything exists, and takes no lock', async () => {
    await prepare()

    const { statements } = await prepare()

    expect(statements).toHaveLength(1)
    expect(statements[0]).toMatch(/^select 'server' as part/)
  })

  it('works through an engine as well, and leaves no lock on its connection', async () => {
    await using manager = new SessionManager({ engineOptions: { poolSize: 1, maxOverflow: 0 } })
    const engine = await manager.getEngine(database.dburi)
    if (engine.dialect !== 'mysql') throw new Error('No engine of MySQL')

    const report = await prepareModels(engine, { ...resultModels() })
    const again = await prepareModels(engine, { ...resultModels() })
    await ask('drop table celery_tasksetmeta')
    // Waits for the lock if that of the engine's connection was not let go.
    const other = await prepare()

    expect(report.created).toEqual(MARIADB_NAMES)
    expect(again).toMatchObject({ created: [], present: MARIADB_NAMES })
    expect((await other.report).created).toEqual(['celery_tasksetmeta'])
  })

  it('leaves tables of Celery as they are, whose rows then get ids from the same sequence', async () => {
    for (const statement of celeryDdl('mariadb')) await ask(statement)
    const before = await catalogue()

    const { report } = await prepare()

    expect(await report).toMatchObject({ created: [], present: MARIADB_NAMES })
    expect((await report).differences).toContainEqual({
      kind: 'other type',
      table: 'celery_taskmeta',
      column: 'result',
      expected: 'longblob',
      found: 'blob',
    })
    expect((await report).differences.map(({ kind }) => kind)).not.toContain('missing column')
    expect(await catalogue()).toEqual(before)
  })

  describe('tables with a cycle of foreign keys', () => {
    const hens = my.mysqlTable('hens', {
      id: my.int().primaryKey(),
      egg: my.int().references((): my.AnyMySqlColumn => eggs.id),
    })
    const eggs = my.mysqlTable('eggs', {
      id: my.int().primaryKey(),
      hen: my.int().references(() => hens.id),
      twin: my.int().references((): my.AnyMySqlColumn => eggs.id),
    })
    const models = { hens, eggs }

    it('get them all, at whatever statement an earlier process was killed', async () => {
      await prepare({ models })
      const expected = await catalogue()
      const statements = mysqlDefinitions(models, undefined, 'mariadb').flatMap((definition) =>
        definition.statements(undefined),
      )
      expect(expected['references']).toHaveLength(3)
      expect(statements.map(({ stage }) => stage)).toEqual(['table', 'foreign key', 'table'])

      for (const done of [['table'], ['table', 'table'], []]) {
        const connection = await createConnection(database.dburi)
        await connection.query('set foreign_key_checks = 0')
        await connection.query('drop table if exists hens, eggs')
        await connection.end()
        const tables = statements.filter(({ stage }) => stage === 'table')
        for (const [at] of done.entries()) await ask(tables[at]?.text ?? '')

        const { report } = await prepare({ models })

        expect((await report).created.length + (await report).present.length).toBe(2)
        expect((await report).created.length).toBeGreaterThan(0)
        expect(await catalogue()).toEqual(expected)
        expect(await (await prepare({ models })).report).toMatchObject({ created: [], missing: [] })
      }
    })

    it('are reported as missing until the foreign keys exist', async () => {
      const [eggs] = mysqlDefinitions(models, undefined, 'mariadb')
      await ask(eggs?.statements(undefined)[0]?.text ?? '')

      const { report } = await prepare({ models, prepare: 'check' })

      expect((await report).missing).toEqual(['eggs', 'hens'])
    })
  })

  it('an error lists what a failed attempt created and left', async () => {
    const first = my.mysqlTable('first', { id: my.int().primaryKey() })
    const bad = my.mysqlTable('worse', {
      id: my.int().primaryKey(),
      at: my.customType({ dataType: () => 'nonsense' })(),
    })

    const { report } = await prepare({ models: { first, bad } })
    const error = await schemaErrorOf(report)

    expect(error.code).toBe('SCHEMA_REFUSED')
    expect(error.message).toContain('Done before and kept: first')
    expect(await ask('show tables')).toHaveLength(1)
  })

  it.each<[string, Models, number]>([
    [
      'a collation it does not have',
      {
        x: my.mysqlTable('x', {
          id: my
            .customType({ dataType: () => 'varchar(9) collate utf8mb4_0900_as_cs' })()
            .primaryKey(),
        }),
      },
      1273,
    ],
    [
      'a check option on a view that cannot be written',
      (() => {
        const users = my.mysqlTable('users', { id: my.int().primaryKey() })
        const algorithm = my.mysqlView('users_view').algorithm('temptable').withCheckOption('cascaded')
        return { users, view: algorithm.as((query) => query.select().from(users)) }
      })(),
      1368,
    ],
    [
      'what it cannot parse',
      {
        x: my.mysqlTable('x', {
          id: my
            .customType({ dataType: () => 'int comment "x" references' })()
            .primaryKey(),
        }),
      },
      1064,
    ],
  ])('throws what the server refuses once, with what is missing: %s', async (_, models, errno) => {
    const first = my.mysqlTable('first', { id: my.int().primaryKey() })

    const { report, statements } = await prepare({ models: { first, ...models } })
    const error = await schemaErrorOf(report)

    expect(error).toMatchObject({ code: 'SCHEMA_REFUSED' })
    expect(error.message).toContain(`(${errno})`)
    expect(error.message).toContain('Done before and kept: first')
    expect(error.statements?.join()).toMatch(/create/i)
    expect(countOf(statements, /get_lock/)).toBe(1)
  })

  it('creates tables in other databases, and the databases that are exported', async () => {
    const name = `dc_test_${randomBytes(6).toString('hex')}`
    const other = my.mysqlSchema(name)
    const table = other.table('table', { id: my.int().primaryKey(), here: my.int() }, (t) => [
      my.index('i').on(t.here),
    ])
    const view = other.view('view').as((qb) => qb.select({ id: table.id }).from(table))

    const absent = await schemaErrorOf((await prepare({ models: { table } })).report)
    const { report } = await prepare({ models: { other, table, view } })
    const again = await prepare({ models: { other, table, view } })
    const upgrade = other.table('table', { id: my.int().primaryKey(), here: my.int(), there: my.int() })
    const upgraded = await prepare({ models: { upgrade }, prepare: 'upgrade' })
    await ask(`drop database ${name}`)

    expect(absent).toMatchObject({ code: 'SCHEMA_MISSING_SCHEMA', message: expect.stringContaining(name) })
    expect((await report).created).toEqual([`schema ${name}`, `${name}.table`, `${name}.view`])
    expect(await again.report).toMatchObject({ created: [], differences: [] })
    expect((await upgraded.report).added).toEqual([`${name}.table.there`])
  })

  it('reports a name that belongs to another kind of object', async () => {
    await ask('create sequence taken')
    await ask('create table counted (id int)')
    const taken = my.mysqlTable('taken', { id: my.int() })
    const counting = my.mysqlTable('counting', { id: my.int().primaryKey() })
    drawing(counting.id, mysqlSequence('counted'))

    for (const models of [{ taken }, { counting }] satisfies Models[]) {
      expect(await schemaErrorOf((await prepare({ models })).report)).toMatchObject({
        code: 'SCHEMA_NAME_TAKEN',
      })
    }
  })

  it('an index over an expression is refused for MariaDB before anything is done', async () => {
    const first = my.mysqlTable('first', { id: my.int() })
    const second = my.mysqlTable('second', { id: my.int() }, (t) => [my.index('i').on(sql`(${t.id} + 1)`)])
    const isMariadb = /MariaDB/.test(String((await ask('select version() as v'))[0]?.['v']))

    const { report } = await prepare({ models: { first, second } })

    if (!isMariadb) return expect((await report).created).toEqual(['first', 'second'])
    expect(await schemaErrorOf(report)).toMatchObject({ code: 'SCHEMA_UNSUPPORTED' })
    expect(await ask('show tables')).toEqual([])
  })

  describe('for a user', () => {
    const user = `dc_${randomBytes(6).toString('hex')}`
    const asUser = () => {
      const dburi = new URL(database.dburi)
      dburi.username = user
      dburi.password = 'secret'
      return dburi.href
    }
    beforeEach(() => ask(`create or replace user ${user}@'%' identified by 'secret'`))
    afterEach(() => ask(`drop user if exists ${user}@'%'`))
    const pattern = () => `\`${database.name.replaceAll('_', '\\_')}\``

    it('who may not create: one error, with the grant that helps', async () => {
      await ask(`grant select on ${pattern()}.* to ${user}@'%'`)

      const { report, statements } = await prepareMysql(asUser())
      const error = await schemaErrorOf(report)
      await ask(error.grant ?? '')
      const after = await prepareMysql(asUser())

      expect(error).toMatchObject({ code: 'SCHEMA_PERMISSION', statements: expect.any(Array) })
      expect(error.statements).toHaveLength(4)
      expect(error.message).not.toContain('secret')
      expect(countOf(statements, /^create/i)).toBe(1)
      expect((await after.report).created).toEqual(MARIADB_NAMES)
    })

    it('who may only read: works when everything exists', async () => {
      await prepare()
      await ask(`grant select on ${pattern()}.* to ${user}@'%'`)

      const { report } = await prepareMysql(asUser())

      expect(await report).toMatchObject({ created: [], present: MARIADB_NAMES })
    })
  })

  it('a read-only connection is reported', async () => {
    const connection = await createConnection(database.dburi)
    await connection.query('set session transaction read only')
    const report = prepareModels(
      { dialect: 'mysql', db: drizzle({ client: connection }) },
      { ...resultModels() },
    )

    const error = await schemaErrorOf(report)
    await connection.end()

    expect(error.code).toBe('SCHEMA_READ_ONLY')
  })

  it('a connection without a database is reported', async () => {
    const dburi = new URL(database.dburi)
    dburi.pathname = '/'

    const error = await schemaErrorOf((await prepareMysql(dburi.href)).report)

    expect(error.code).toBe('SCHEMA_MISSING_SCHEMA')
  })

  describe('the lock', () => {
    /** A handle whose GET_LOCK answers as it is told. */
    function answering(pool: ReturnType<typeof createPool>, answer: () => Promise<unknown>): MysqlTarget {
      const db = drizzle({ client: pool })
      const text = (query: SQL) => new my.MySqlDialect().sqlToQuery(query).sql
      return {
        db: {
          execute: (query) => db.execute(query),
          transaction: (run) =>
            db.transaction((tx) =>
              run({ execute: (query) => (/get_lock/.test(text(query)) ? answer() : tx.execute(query)) }),
            ),
        },
      }
    }

    it.each([
      ['NULL', async () => [[{ answer: null }]]],
      [
        'an error',
        async () => {
          throw Object.assign(new Error('FUNCTION get_lock does not exist'), {
            errno: 1305,
            sqlState: '42000',
          })
        },
      ],
    ])('is done without when the server answers %s', async (_, answer) => {
      const pool = createPool(database.dburi)
      const target = { dialect: 'mysql', ...answering(pool, answer) } as const

      const reports = await Promise.all(
        Array.from({ length: 6 }, () => prepareModels(target, { ...resultModels() })),
      )
      await pool.end()

      expect(reports.flatMap(({ created }) => created).sort()).toEqual([...MARIADB_NAMES].sort())
      for (const { created, present } of reports) {
        expect([...created, ...present].sort()).toEqual([...MARIADB_NAMES].sort())
      }
    })

    it('belongs to one database: others are prepared meanwhile', async () => {
      const other = `dc_test_${randomBytes(6).toString('hex')}`
      await ask(`create database ${other}`)
      const pool = createPool(database.dburi)
      let report: unknown
      const target = answering(pool, async () => {
        report = await (await prepareMysql(database.dburi.replace(database.name, other))).report
        return [[{ answer: '1' }]]
      })

      await prepareModels({ dialect: 'mysql', ...target }, { ...resultModels() })
      await pool.end()
      await ask(`drop database ${other}`)

      expect(report).toMatchObject({ created: MARIADB_NAMES })
    })
  })
})
