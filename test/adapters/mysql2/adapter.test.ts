import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { inspect } from 'node:util'
import {
  ConnectError,
  causes,
  type Engine,
  type Mysql2Handle,
  OptionError,
  SessionManager,
} from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  datetime,
  float,
  int,
  json,
  mysqlTable,
  time,
  varchar,
} from 'drizzle-orm/mysql-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { childRun, scenario } from '../../fixtures/child-run.ts'
import { type MariadbServer, openMariadbServer } from '../../fixtures/mariadb-server.ts'
import { describeNeeding, freshMysql } from '../../fixtures/servers.ts'
import { causeOf, eventually } from '../conformance.ts'

/** What is MySQL's and MariaDB's own; what every adapter promises is in `conformance.ts`. */

type MysqlDburi = `mysql://${string}`

const things = mysqlTable('things', {
  id: int('id').primaryKey(),
  name: varchar('name', { length: 200 }),
  at: datetime('at', { fsp: 3 }),
  weight: float('weight'),
  data: json('data'),
  big: bigint('big', { mode: 'bigint' }),
  isGood: boolean('is_good'),
  clock: time('clock', { fsp: 3 }),
})

describeNeeding('mysql', 'MySQL or MariaDB', () => {
  const database = freshMysql()
  const dburi = (options = ''): MysqlDburi => `mysql://${database.dburi.replace(/^\w+:\/\//, '')}${options}`
  let manager: SessionManager<{ mysql: { things: typeof things } }>
  let engine: Engine<'mysql', Mysql2Handle>

  beforeEach(async () => {
    manager = new SessionManager({ models: { mysql: { things } } })
    engine = await manager.getEngine(dburi())
    await manager.prepareModels(engine)
    await engine.db.delete(things)
  })
  afterEach(() => manager.dispose({ grace: 0 }))

  const named = async (db: Mysql2Handle = engine.db) =>
    (await db.select({ name: things.name }).from(things).orderBy(things.id)).map(({ name }) => name)

  describe('values', () => {
    it.each(['prepared', 'as text'])('come back as they were, %s', async (how) => {
      const row = {
        id: 1,
        name: "a'b\\c\u{1f600}",
        at: new Date('2026-03-08T02:30:00.123Z'),
        weight: 3.14,
        data: { a: [1, null, 'x'] },
        big: 9_007_199_254_740_993n,
        isGood: true,
        clock: '10:11:12.500',
      }
      await engine.db.insert(things).values(row)
      const query = engine.db.select().from(things)
      const [read] = await (how === 'prepared' ? query.where(sql`id = ${1}`).limit(1) : query)

      expect({ ...read, clock: read?.clock?.padEnd(12, '0') }).toEqual(row)
    })

    it('of any kind can be parameters', async () => {
      const given = [1, -1.5, 2n ** 64n - 1n, 10n ** 30n, true, null, 'text', new Date(0), { a: 1 }]
      const [rows] = await engine.db.execute(
        sql`select ${given[0]} n, ${given[1]} f, ${given[2]} b, ${given[3]} d, ${given[4]} t, ${given[5]} z,
                   ${given[6]} s, ${given[7]} at, ${sql.param(given[8])} o, ${sql.param(new Uint8Array([0, 255]))} bytes`,
      )

      expect(rows).toEqual([
        {
          n: 1,
          f: -1.5,
          b: '18446744073709551615',
          d: `1${'0'.repeat(30)}`,
          t: 1,
          z: null,
          s: 'text',
          at: '1970-01-01 00:00:00.000',
          o: '{"a":1}',
          bytes: Buffer.from([0, 255]),
        },
      ])
    })

    it.each<[string, unknown, RegExp]>([
      ['undefined', undefined, /parameter 1: it is undefined/],
      ['a function', () => 1, /a function/],
      ['NaN', Number.NaN, /NaN/],
      ['half a surrogate pair', 'a\ud800', /surrogate/],
      ['an invalid Date', new Date(Number.NaN), /invalid Date/],
    ])('that MySQL does not know are refused: %s', async (_, value, message) => {
      const refusal = await causeOf(engine.db.execute(sql`select ${sql.param(value)}`))
      expect(refusal).toMatchObject({ code: 'INVALID_PARAMETER', message: expect.stringMatching(message) })
      expect(await named()).toEqual([])
    })

    it('that JSON does not know are refused, and harm nobody beside them', async () => {
      const { db } = await manager.getEngine(dburi('?pool_size=1&max_overflow=0'))
      const neighbour = db.execute(sql`select sleep(0.1) as slept`)
      expect(await causeOf(db.execute(sql`select ${sql.param({ a: 1n })}`))).toMatchObject({
        code: 'INVALID_PARAMETER',
      })
      expect(await neighbour).toMatchObject([[{ slept: 0 }], []])
    })

    it.each(['call several()', 'call several2(?)'])('come in several results: %s', async (call) => {
      await engine.db.execute(sql`
        create or replace procedure several() begin select 1 one; select cast(1.1 as float) few; end`)
      await engine.db.execute(sql`
        create or replace procedure several2(n int) begin select n one; select cast(1.1 as float) few; end`)
      const query = call.endsWith('(?)') ? sql`call several2(${1})` : sql.raw(call)
      const [results] = await engine.db.execute(query)
      expect(results).toMatchObject([[{ one: 1 }], [{ few: 1.1 }], { affectedRows: 0 }])
      expect(await named()).toEqual([])
    })

    it('of FLOAT columns have the decimals of their column', async () => {
      await engine.db.execute(sql`create or replace table floats (a float(10, 2), b float)`)
      await engine.db.execute(sql`insert into floats values (${123456.79}, ${0.1})`)
      const expected = [{ a: 123456.79, b: 0.1, c: 123456789 }]
      expect((await engine.db.execute(sql`select a, b, ${123456789} c from floats`))[0]).toEqual(expected)
      expect((await engine.db.execute(sql.raw(`select a, b, 123456789 c from floats`)))[0]).toEqual(expected)
    })

    it.each<[string, bigint, number]>([
      ['beyond what a number can count', 9_007_199_254_740_993n, 1],
      ['of several rows', 9_007_199_254_740_993n, 3],
      ['of rows that pass that limit', 9_007_199_254_740_990n, 4],
      ['at the end of what a signed column holds', 9_223_372_036_854_775_800n, 3],
    ])('are the ids of $returningId(), also %s', async (_, first, rows) => {
      const counted = mysqlTable('counted', {
        id: bigint('id', { mode: 'bigint', unsigned: true }).autoincrement().primaryKey(),
        v: int('v'),
      })
      await engine.db.execute(
        sql`create or replace table counted (id bigint unsigned auto_increment primary key, v int)`,
      )
      await engine.db.execute(sql.raw(`alter table counted auto_increment = ${first}`))
      const values = Array.from({ length: rows }, (_, v) => ({ v }))

      const ids = await engine.db.insert(counted).values(values).$returningId()
      const inTransaction = await engine.db.transaction((tx) =>
        tx.transaction((inner) => inner.insert(counted).values({ v: rows }).$returningId()),
      )

      const stored = await engine.db.select({ id: counted.id }).from(counted).orderBy(counted.v)
      expect([...ids, ...inTransaction].map(({ id }) => BigInt(id))).toEqual(stored.map(({ id }) => id))
      expect(stored[0]?.id).toBe(first)
    })

    it('are numbers in a header, as far as those go', async () => {
      await engine.db.execute(
        sql`create or replace table counted (id bigint auto_increment primary key, v int)`,
      )
      const counted = mysqlTable('counted', {
        id: bigint('id', { mode: 'number' }).autoincrement().primaryKey(),
        v: int('v'),
      })

      expect(
        await engine.db
          .insert(counted)
          .values([{ v: 1 }, { v: 2 }])
          .$returningId(),
      ).toEqual([{ id: 1 }, { id: 2 }])
      expect((await engine.db.insert(counted).values({ v: 3 }))[0]).toMatchObject({
        insertId: 3,
        affectedRows: 1,
      })
      await engine.db.execute(sql`alter table counted auto_increment = 9007199254740993`)
      expect((await engine.db.insert(counted).values({ v: 4 }))[0]).toMatchObject({
        insertId: '9007199254740993',
        affectedRows: 1,
      })
    })

    it('can be a limit', async () => {
      await engine.db.insert(things).values([{ id: 1 }, { id: 2 }, { id: 3 }])
      expect(await engine.db.select().from(things).limit(2).offset(1)).toHaveLength(2)
    })
  })

  describe('a transaction', () => {
    it('is not committed by a statement that would do so without a word', async () => {
      await using session = await manager.sessionFactory(dburi())
      await session.db.insert(things).values({ id: 1, name: 'undone' })
      for (const text of ['create table other (a int)', 'truncate things', '/*! drop table things */']) {
        expect(await causeOf(session.db.execute(sql.raw(text)))).toMatchObject({ code: 'INVALID_STATEMENT' })
      }
      await session.rollback()

      expect(await named()).toEqual([])
    })

    it('that a procedure commits is thrown away with its connection, and says so', async () => {
      await engine.db.execute(sql`create or replace procedure sly() begin commit; end`)
      await using session = await manager.sessionFactory(dburi())
      await session.db.insert(things).values({ id: 1, name: 'before' })
      expect(await causeOf(session.db.execute(sql`call sly()`))).toMatchObject({ code: 'INVALID_STATEMENT' })
      expect(await causeOf(session.db.insert(things).values({ id: 2, name: 'after' }))).toMatchObject({
        code: 'PENDING_ROLLBACK',
      })
      await session.rollback()

      expect(await named()).toEqual(['before'])
    })

    it('that a procedure commits is noticed, whatever a bundler calls the classes of mysql2', async () => {
      const mysql2 = createRequire(createRequire(import.meta.url).resolve('mysql2'))
      const header = mysql2('./lib/packets/resultset_header.js') as object
      const name = Object.getOwnPropertyDescriptor(header, 'name') ?? {}
      Object.defineProperty(header, 'name', { ...name, value: 'e' })
      try {
        await engine.db.execute(sql`create or replace procedure sly() begin commit; end`)
        const failing = engine.db.transaction(async (tx) => {
          await tx.insert(things).values({ id: 1, name: 'before' })
          await tx.execute(sql`call sly()`)
          await tx.insert(things).values({ id: 2, name: 'after' })
        })

        expect(await causeOf(failing)).toMatchObject({ code: 'INVALID_STATEMENT' })
        expect(await named()).toEqual(['before'])
      } finally {
        Object.defineProperty(header, 'name', name)
      }
    })

    it.each(['select 1 as serverStatus', 'select 0 as serverStatus'])(
      'is told from a row that looks like the word of the server: %s',
      async (text) => {
        await engine.db.execute(sql.raw(`create or replace procedure tell() begin ${text}; end`))
        await using session = await manager.sessionFactory(dburi())
        await session.db.insert(things).values({ id: 1, name: 'kept' })
        for (const statement of [text, `execute immediate '${text}'`, 'call tell()']) {
          await session.db.execute(sql.raw(statement))
          expect(await engine.db.execute(sql.raw(statement))).toHaveLength(2)
        }
        await session.commit()

        expect(await named()).toEqual(['kept'])
      },
    )

    it('that a statement begins behind our back is thrown away, too', async () => {
      await engine.db.execute(sql`create or replace procedure sly() begin start transaction; end`)
      expect(await causeOf(engine.db.execute(sql`call sly()`))).toMatchObject({ code: 'INVALID_STATEMENT' })
      await engine.db.insert(things).values({ id: 1, name: 'kept' })
      await manager.invalidate(dburi(), { grace: 0 })

      expect(await named((await manager.getEngine(dburi())).db)).toEqual(['kept'])
    })

    it.each([
      'check table things',
      `execute immediate 'check table things'`,
      `execute immediate 'analyze table things'`,
    ])('is not committed unseen by %s', async (text) => {
      await using session = await manager.sessionFactory(dburi())
      await session.db.insert(things).values({ id: 1, name: 'a' })
      expect(await causeOf(session.db.execute(sql.raw(text)))).toMatchObject({ code: 'INVALID_STATEMENT' })
      const late = await causeOf(session.db.insert(things).values({ id: 2, name: 'late' }))
      await session.rollback()

      // Refused before it ran, or told afterwards: never silent, and nothing runs outside.
      if (text.startsWith('check')) expect(await named()).toEqual([])
      else expect(late).toMatchObject({ code: 'PENDING_ROLLBACK' })
      expect(await named()).not.toContain('late')
    })

    it('takes what commits nothing', async () => {
      await using session = await manager.sessionFactory(dburi())
      await session.db.insert(things).values({ id: 1, name: 'undone' })
      for (const text of [
        'create  temporary\ntable temp (a int)',
        'create or replace temporary table temp (a int)',
        'drop  temporary table temp',
        'analyze format=json select 1',
        'show create table things',
        'set @x = 1',
      ]) {
        await session.db.execute(sql.raw(text))
      }
      await session.rollback()

      expect(await named()).toEqual([])
    })

    it('is over for a handle that outlived it, whatever it sends', async () => {
      const pool = await manager.getEngine(dburi('?pool_size=1&max_overflow=0&pool_timeout=10'))
      let leaked: Pick<Mysql2Handle, 'execute'> | undefined
      await pool.db.transaction(async (tx) => {
        leaked = tx
      })
      for (const text of ['begin', 'commit', 'select 1']) {
        expect(await causeOf(leaked?.execute(sql.raw(text)))).toMatchObject({ code: 'CLOSED' })
      }
      expect(pool.stats().checkedOut).toBe(0)
    })

    it('that a deadlock rolled back runs nothing more, and does not commit', async () => {
      await engine.db.insert(things).values([{ id: 1 }, { id: 2 }])
      await using one = await manager.sessionFactory(dburi())
      await using other = await manager.sessionFactory(dburi())
      const set = (db: Mysql2Handle, id: number, name: string) =>
        db.update(things).set({ name }).where(sql`id = ${id}`)
      await set(one.db, 1, 'one')
      await set(other.db, 2, 'other')
      const outcomes = await Promise.allSettled([set(one.db, 2, 'one'), set(other.db, 1, 'other')])
      const [victim, survivor] = outcomes[0].status === 'rejected' ? [one, other] : [other, one]
      const late = await causeOf(victim.db.insert(things).values({ id: 3, name: 'late' }))
      const commit = await causeOf(victim.commit())
      await survivor.commit()

      expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
      expect(late).toMatchObject({
        code: 'TRANSACTION_ABORTED',
        cause: { code: 'TRANSACTION_CONFLICT', cause: { errno: 1213 } },
      })
      expect(commit).toMatchObject({ code: 'TRANSACTION_ABORTED' })
      const name = survivor === one ? 'one' : 'other'
      expect(await named()).toEqual([name, name])
    })

    it('goes on after a statement that failed alone', async () => {
      await using session = await manager.sessionFactory(dburi())
      await session.db.insert(things).values({ id: 1, name: 'a' })
      expect(await causeOf(session.db.insert(things).values({ id: 1, name: 'b' }))).toMatchObject({
        errno: 1062,
      })
      await session.db.insert(things).values({ id: 2, name: 'c' })
      await session.commit()

      expect(await named()).toEqual(['a', 'c'])
    })

    it('begins as it is told to', async () => {
      await using session = await manager.sessionFactory(dburi())
      await session.begin({ isolationLevel: 'repeatable read', withConsistentSnapshot: true })
      await engine.db.insert(things).values({ id: 1, name: 'later' })
      expect(await named(session.db)).toEqual([])
      await session.rollback()

      await engine.db.transaction(
        async (tx) => {
          expect(await causeOf(tx.insert(things).values({ id: 2 }))).toMatchObject({ errno: 1792 })
        },
        { accessMode: 'read only', isolationLevel: 'serializable' },
      )
      const badLevel = engine.db.transaction(async () => {}, {
        isolationLevel: 'none; drop table things' as never,
      })
      expect(await causeOf(badLevel)).toBeInstanceOf(OptionError)
    })

    it('hands no variable, lock or temporary table on', async () => {
      const pool = '?pool_size=1&max_overflow=0'
      for (const text of [
        'set @left = 1',
        'create temporary table temp (a int)',
        'select get_lock("left", 0)',
      ]) {
        await using session = await manager.sessionFactory(dburi(pool))
        await session.db.execute(sql.raw(text))
        await session.commit()
      }
      const { db } = await manager.getEngine(dburi(pool))
      const [rows] = await db.execute(sql`select @left left_over, is_free_lock("left") free_lock`)

      expect(rows).toEqual([{ left_over: null, free_lock: 1 }])
      expect(await causeOf(db.execute(sql`select * from temp`))).toMatchObject({ errno: 1146 })
    })

    it.each(['select get_lock("mine", 0)', 'lock tables things read', 'FLUSH TABLES WITH READ LOCK'])(
      'refuses %s where nobody would hold the lock',
      async (text) => {
        expect(await causeOf(engine.db.execute(sql.raw(text)))).toMatchObject({
          code: 'INVALID_STATEMENT',
          message: expect.stringContaining('Run it in a session'),
        })
      },
    )
  })

  it.each([
    ['int', 'bigint', '1', '5000000000'],
    ['int', 'decimal(10,2)', '1', '1.25'],
    ['date', 'datetime', '2024-01-01', '2024-01-01 12:00:00'],
    ['datetime', 'datetime(6)', '2024-01-01', '2024-01-01 12:00:00.123456'],
    ['float', 'double', '0.5', '0.1'],
    ['varchar(3)', 'varchar(20)', 'abc', 'abcdef'],
    [`enum('a', 'b')`, `enum('b', 'c')`, 'b', 'c'],
  ])(
    'takes a value of the new type by a prepared statement when %s has become %s',
    async (from, to, before, behind) => {
      const { db } = await manager.getEngine(dburi('?pool_size=1&max_overflow=0'))
      const other = await manager.getEngine(dburi('?pool_size=1&max_overflow=1'))
      await other.db.execute(sql.raw('drop table if exists altered'))
      await other.db.execute(sql.raw(`create table altered (id int primary key, v ${from})`))
      await db.execute(sql`insert into altered values (${1}, ${before})`)
      await other.db.execute(sql.raw(`alter table altered modify v ${to}`))

      await db.execute(sql`insert into altered values (${2}, ${behind})`)

      await other.db.execute(sql.raw(`insert into altered values (3, '${behind}')`))
      const [rows] = await db.execute(sql`select count(distinct v) as kinds from altered where id > ${1}`)
      expect(rows).toEqual([{ kinds: 1 }])
    },
  )

  it('shows no value in an error, however short', async () => {
    await engine.db.insert(things).values({ id: 7, name: 'x' })
    const failures = await Promise.all([
      causeOf(engine.db.insert(things).values({ id: 7 })),
      causeOf(engine.db.insert(things).values({ id: 8, at: sql`${'zqz'}` })),
      causeOf(engine.db.insert(things).values({ id: 9, big: sql`${'zqz'}` })),
      causeOf(engine.db.insert(things).values({ id: 10, name: 'zqz'.repeat(100) })),
      causeOf(engine.db.execute(sql`select cast(${77} as unsigned) - cast(${88} as unsigned)`)),
    ])

    expect(failures.map((failure) => Reflect.get(failure as object, 'errno'))).toEqual([
      1062, 1292, 1366, 1406, 1690,
    ])
    expect(String(failures[0])).toBe("Error: Duplicate entry '[hidden]' for key 'PRIMARY'")
    for (const failure of failures) {
      expect(inspect(failure, { depth: 5, showHidden: true })).not.toContain('zqz')
    }
    expect(String(failures[4])).not.toMatch(/77|88/)
  })

  it('reads relations of Drizzle 0.45 on MariaDB, which has no lateral joins', async () => {
    await engine.db.insert(things).values({ id: 1, name: 'x' })
    await using session = await manager.sessionFactory(dburi())
    const handle = session.db as unknown as { query?: { things?: { findMany(): Promise<unknown[]> } } }
    if (handle.query?.things !== undefined) expect(await handle.query.things.findMany()).toHaveLength(1)
    expect(await named(session.db)).toEqual(['x'])
  })

  it('keeps as many statements prepared as it is told to', async () => {
    const few = await manager.getEngine(dburi('?pool_size=1&max_overflow=0'), { statementCacheSize: 2 })
    for (let column = 0; column < 6; column++) {
      await few.db.execute(sql`select ${1} as ${sql.raw(`c${column}`)}`)
    }
    const [rows] = await few.db.execute(sql.raw(`show session status like 'Com_stmt_close'`))
    expect(rows).toEqual([{ Variable_name: 'Com_stmt_close', Value: '4' }])
  })

  it('lets a process that is done exit by itself', async () => {
    const result = await childRun(scenario('mysql-exit'), { arguments: [dburi()] })
    expect(result).toMatchObject({ exitCode: 0, stderr: '', emitted: [1] })
  })

  it('stops the server, too, when a statement takes too long', async () => {
    await using session = await manager.sessionFactory(dburi(), { statementTimeout: 0.2 })
    const error = await causeOf(session.db.execute(sql`select sleep(30), 'told to stop'`))
    expect(error).toMatchObject({ code: 'STATEMENT_TIMEOUT' })
    await session.close()
    for (let left = 1, tries = 0; left > 0 && tries < 200; tries++) {
      const [rows] = await engine.db.execute(
        sql.raw(
          `select count(*) n from information_schema.processlist where info like '%told to stop%' and info not like '%processlist%'`,
        ),
      )
      left = Number(Reflect.get((rows as unknown as object[])[0] ?? {}, 'n'))
      if (tries === 199) expect(left).toBe(0)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect(await named()).toEqual([])
  })

  describe('connecting', () => {
    it.each<[string, string, RegExp]>([
      ['a wrong password', 'mysql://nobody:sesame@127.0.0.1/test', /Access denied/],
      ['an unknown database', 'mysql://root@127.0.0.1/no_such_database', /Unknown database/],
      ['nobody there', 'mysql://root@127.0.0.1:1/test', /ECONNREFUSED/],
      ['no such socket', 'mysql://root@/test?unix_socket=/nowhere.sock', /ENOENT/],
      ['a server without TLS', 'mysql://root@127.0.0.1/test?ssl_mode=REQUIRED', /has no TLS/],
    ])('says what is wrong: %s', async (_, wrong, message) => {
      const { port } = new URL(database.dburi)
      const to = wrong.replace('127.0.0.1/', `127.0.0.1:${port || 3306}/`) as MysqlDburi
      const { db } = await manager.getEngine(to)
      const error = await causeOf(db.execute(sql`select 1`))

      expect(error).toBeInstanceOf(ConnectError)
      expect(error).toMatchObject({ message: expect.stringMatching(message) })
      for (const cause of causes(error)) expect(inspect(cause)).not.toContain('sesame')
    })

    it('goes on to the next host', async () => {
      const { host } = new URL(database.dburi)
      const { db } = await manager.getEngine(dburi().replace(host, `127.0.0.1:1,${host}`) as MysqlDburi)
      expect(await db.execute(sql`select 1 as one`)).toMatchObject([[{ one: 1 }], []])
    })

    it('needs no database in the dburi', async () => {
      const { db } = await manager.getEngine(dburi().replace(`/${database.name}`, '') as MysqlDburi)
      const [rows] = await db.execute(sql`select database() as name`)
      expect(rows).toEqual([{ name: null }])
    })

    it('asks for the password each time, and gives up in time', async () => {
      const { db } = await manager.getEngine(dburi('?connectTimeout=100'), {
        password: () => new Promise(() => {}),
      })
      expect(await causeOf(db.execute(sql`select 1`))).toMatchObject({
        code: 'CONNECT_TIMEOUT',
        message: expect.stringContaining('password'),
      })
    })
  })
})

const hasOpenssl = spawnSync('openssl', ['version']).status === 0

describeNeeding('private mariadb', 'MariaDB with TLS', () => {
  describe.skipIf(!hasOpenssl)(
    hasOpenssl ? 'of its own' : 'of its own (skipped: openssl is not installed)',
    () => {
      let server: MariadbServer
      let manager: SessionManager
      let files: string

      beforeAll(async () => {
        server = await openMariadbServer({
          settings(directory) {
            files = join(directory, 'tls')
            mkdirSync(files)
            authority(files, 'ca')
            authority(files, 'other')
            certify(files, 'server', 'DNS:localhost')
            const file = (name: string) => join(files, `${name}.pem`)
            execFileSync('chmod', ['-R', 'a+rX', files])
            return [
              `--ssl-ca=${file('ca')}`,
              `--ssl-cert=${file('server')}`,
              `--ssl-key=${file('server-key')}`,
            ]
          },
        })
      }, 60_000)
      afterAll(() => server?.close())
      beforeEach(() => {
        manager = new SessionManager()
      })
      afterEach(() => manager.dispose({ grace: 0 }))

      const cipher = async (host: string, options: string) => {
        const dburi = `mysql://root@${host}:${server.port}/mysql?${options}` as const
        const { db } = await manager.getEngine(dburi)
        const [rows] = await db.execute(sql.raw(`show session status like 'Ssl_cipher'`))
        return String(Reflect.get((rows as unknown as object[])[0] ?? {}, 'Value')) !== ''
      }
      const ca = (name: string) => `ssl_ca=${join(files, `${name}.pem`)}`

      it.each<[string, string, boolean]>([
        ['127.0.0.1', '', false],
        ['127.0.0.1', 'ssl_mode=PREFERRED', true],
        ['127.0.0.1', 'ssl_mode=REQUIRED', true],
        ['127.0.0.1', 'ssl_mode=DISABLED', false],
      ])('%s with "%s" is encrypted: %s', async (host, options, isEncrypted) => {
        expect(await cipher(host, options)).toBe(isEncrypted)
      })

      it('trusts the CA it is given, and nobody else', async () => {
        expect(await cipher('127.0.0.1', `${ca('ca')}&ssl_mode=VERIFY_CA`)).toBe(true)
        expect(await cipher('localhost', `${ca('ca')}&ssl_mode=VERIFY_IDENTITY`)).toBe(true)
        expect(await causeOf(cipher('127.0.0.1', ca('other')))).toMatchObject({ code: 'TLS_FAILED' })
        expect(await causeOf(cipher('127.0.0.1', 'ssl=true'))).toMatchObject({ code: 'TLS_FAILED' })
      })

      it('checks the name of a host, also when that is an address', async () => {
        const options = `${ca('ca')}&ssl_mode=VERIFY_IDENTITY`
        expect(await causeOf(cipher('127.0.0.1', options))).toMatchObject({ code: 'TLS_FAILED' })
      })

      it('says which file cannot be read or understood', async () => {
        writeFileSync(join(files, 'nonsense.pem'), 'nonsense')
        for (const name of ['missing', 'nonsense']) {
          expect(await causeOf(cipher('127.0.0.1', ca(name)))).toMatchObject({
            code: 'INVALID_OPTION',
            option: 'ssl_ca',
          })
        }
      })

      it('lets a process that is done exit by itself', async () => {
        const dburi = `mysql://root@127.0.0.1:${server.port}/mysql?ssl_mode=REQUIRED`
        const result = await childRun(scenario('mysql-exit'), { arguments: [dburi] })
        expect(result).toMatchObject({ exitCode: 0, stderr: '', emitted: [1] })
      })

      it('speaks over the socket of the server', async () => {
        const { db } = await manager.getEngine(`mysql://root@/mysql?unix_socket=${server.socket}`)
        expect(await db.execute(sql`select 1 as one`)).toMatchObject([[{ one: 1 }], []])
        await eventually(() => expect(manager.stats().engines).toMatchObject([{ open: 1 }]))
      })
    },
  )
})

function openssl(directory: string, ...args: string[]): void {
  execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' })
}

function authority(directory: string, name: string): void {
  const key = ['-newkey', 'rsa:2048', '-nodes', '-keyout', `${name}-key.pem`]
  openssl(directory, 'req', '-x509', ...key, '-subj', `/CN=${name}`, '-days', '2', '-out', `${name}.pem`)
}

function certify(directory: string, name: string, altNames: string): void {
  const key = ['-newkey', 'rsa:2048', '-nodes', '-keyout', `${name}-key.pem`]
  openssl(directory, 'req', ...key, '-subj', `/CN=${name}`, '-out', `${name}.csr`)
  writeFileSync(join(directory, 'extensions'), `subjectAltName=${altNames}\n`)
  const by = ['-CA', 'ca.pem', '-CAkey', 'ca-key.pem', '-CAcreateserial', '-extfile', 'extensions']
  openssl(directory, 'x509', '-req', '-in', `${name}.csr`, ...by, '-days', '2', '-out', `${name}.pem`)
}
