/** What is set up on new connections by `onConnect`, on each database. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@libsql/client'
import {
  ClosedError,
  type ConnectError,
  type EngineOptions,
  OptionError,
  type PostgresJsHandle,
  SessionManager,
} from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isTransient } from '../../src/backend/retrying.ts'
import { askPostgres } from '../fixtures/catalogue.ts'
import { createMysql, createPostgres, describeNeeding } from '../fixtures/servers.ts'

type OnConnect = NonNullable<EngineOptions['onConnect']>

interface Subject {
  create(): Promise<{ dburi: string; drop(): Promise<unknown> }>
  /** There is one connection. */
  readonly isStatic: boolean
}

describeNeeding('postgresql', 'PostgreSQL', () => {
  onEach('postgres-js', { create: () => createPostgres(), isStatic: false })
  onEach('pg', { create: () => createPostgres({ scheme: 'postgresql+pg' }), isStatic: false })
})
describeNeeding('mysql', 'MySQL or MariaDB', () => onEach('mysql2', { create: createMysql, isStatic: false }))
onEach('pglite', { create: async () => ({ dburi: 'pglite:', drop: async () => {} }), isStatic: true })
onEach('libsql, in memory', {
  create: async () => ({ dburi: ':memory:', drop: async () => {} }),
  isStatic: true,
})
onEach('libsql, a file', {
  create: async () => {
    const directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-test-'))
    return { dburi: `file:${directory}/a.db`, drop: async () => rmSync(directory, { recursive: true }) }
  },
  isStatic: false,
})

/** Only a connection that was set up has the table. */
const SET_UP = 'create temporary table if not exists dc_set_up (n int)'
const setUp: OnConnect = ({ execute }) => void execute(SET_UP)

function onEach(name: string, { create, isStatic }: Subject): void {
  describe(`onConnect on ${name}`, () => {
    let dburi: string
    let drop: () => Promise<unknown>
    let manager: SessionManager

    beforeEach(async () => {
      ;({ dburi, drop } = await create())
      manager = new SessionManager({ prepare: 'none', engineOptions: { poolTimeout: 5 } })
    })

    afterEach(async () => {
      await manager.dispose({ grace: 0 })
      await drop()
    })

    const engineWith = (onConnect: OnConnect) => manager.getEngine(dburi, { onConnect })
    const look = async (db: unknown) =>
      (db as PostgresJsHandle).select({ n: sql<number>`count(*)`.mapWith(Number) }).from(sql`dc_set_up`)

    it('is called for each new connection before anybody gets it, and what it set stays', async () => {
      let calls = 0
      const onConnect: OnConnect = async ({ execute }) => {
        calls++
        await sleep(5)
        await execute(SET_UP)
      }
      const engine = await engineWith(onConnect)
      const together = isStatic ? 1 : 3
      // Held at the same time, so that none is there for another one.
      const held = await Promise.all(Array.from({ length: together }, () => engine.connect()))
      const seen = await Promise.all(held.map(({ db }) => look(db)))
      await Promise.all(held.map((each) => each.close()))
      await look(engine.db)
      await manager.session(dburi, { onConnect }, (db) => look(db))

      expect(seen).toEqual(Array(together).fill([{ n: 0 }]))
      expect(calls).toBe(together)
      expect(engine.stats()).toMatchObject({ open: together, checkedOut: 0 })
    })

    it('waits for what is not awaited in it, and refuses what comes later', async () => {
      let late: (() => Promise<unknown>) | undefined
      const engine = await engineWith(({ execute }) => {
        late = () => execute('select 1')
        void execute(SET_UP)
      })

      expect(await look(engine.db)).toEqual([{ n: 0 }])
      await expect(late?.()).rejects.toBeInstanceOf(ClosedError)
    })

    it('waits for what follows on what is not awaited, and fails with it', async () => {
      const chained =
        (sql: string): OnConnect =>
        ({ execute }) => {
          void execute(SET_UP)
            .then(() => execute('insert into dc_set_up values (1)'))
            .then(() => execute(sql))
            .catch(() => {})
        }

      const engine = await engineWith(chained('insert into dc_set_up values (2)'))
      expect(await look(engine.db)).toEqual([{ n: 2 }])
      await engine.dispose()
      const failing = await engineWith(chained('insert into no_such_table_anywhere values (2)'))
      await expect(failing.connect()).rejects.toMatchObject({ code: 'ON_CONNECT_FAILED' })
    })

    it('sends parameters', async () => {
      const texts: string[] = []
      const engine = await engineWith(async ({ dialect, execute }) => {
        const answer = await execute(
          dialect === 'postgresql' ? "select $1 || 'b' as c" : "select concat(?, 'b') as c",
          ['a'],
        )
        texts.push(JSON.stringify(answer))
        await execute(SET_UP)
      })
      await look(engine.db)

      expect(texts[0]).toContain('ab')
    })

    it('that throws has its connection closed, and rejects who waited with the cause; the next one may go well', async () => {
      const reason = new Error('not today')
      let isGood = false
      const engine = await engineWith((connection) => {
        if (!isGood) throw reason
        return setUp(connection)
      })

      const failure: unknown = await look(engine.db).catch((error) => rootOf(error))
      const inSession: unknown = await engine.connect().catch((error) => error)
      for (const error of [failure, inSession])
        expect(error).toMatchObject({ name: 'ConnectError', code: 'ON_CONNECT_FAILED', cause: reason })
      expect(engine.stats().open).toBe(0)

      isGood = true
      expect(await look(engine.db)).toEqual([{ n: 0 }])
    })

    it('whose statement fails rejects with what the database said', async () => {
      const engine = await engineWith(({ execute }) => void execute('select no_such_column_anywhere'))

      const failure: ConnectError = await engine.connect().catch((error) => error)

      expect(failure.code).toBe('ON_CONNECT_FAILED')
      expect(String(failure.cause)).toContain('no_such_column_anywhere')
    })

    it('counts by identity, and by an engineKey', async () => {
      const [one, same, other] = await Promise.all([
        engineWith(setUp),
        engineWith(setUp),
        engineWith(() => {}),
      ])
      const keyed = (engineKey: string) => manager.getEngine(dburi, { onConnect: () => {}, engineKey })

      expect(one).toBe(same)
      expect(one).not.toBe(other)
      expect(await keyed('a')).toBe(await keyed('a'))
      expect(await keyed('a')).not.toBe(await keyed('b'))
    })

    if (isStatic) return

    it('is called again for the connection that replaces one', async () => {
      const engine = await engineWith(setUp)
      const own = await engine.connect({ ownConnection: true })
      expect(await look(own.db)).toEqual([{ n: 0 }])
      await own.close()

      expect(await look(engine.db)).toEqual([{ n: 0 }])
    })
  })
}

describeNeeding('postgresql', 'onConnect on a PostgreSQL server', () => {
  it('has no more time than connecting has', { tags: 'full' }, async () => {
    await using database = await createPostgres()
    await using manager = new SessionManager({ prepare: 'none' })
    const hang = { onConnect: ({ execute }) => void execute('select pg_sleep(60)') } satisfies EngineOptions
    const engine = await manager.getEngine(`${database.dburi}?connect_timeout=4`, hang)

    await expect(engine.connect()).rejects.toMatchObject({ code: 'CONNECT_TIMEOUT', message: /onConnect/ })
    expect(engine.stats().open).toBe(0)
  })

  it('whose connection is lost meanwhile is no fault of the program: it may pass', async () => {
    await using database = await createPostgres()
    await using manager = new SessionManager({ prepare: 'none' })
    const engine = await manager.getEngine(database.dburi, {
      onConnect: async ({ execute }) => {
        await execute('select pg_terminate_backend(pg_backend_pid())')
      },
    })

    const error: unknown = await engine.connect().catch((reason: unknown) => reason)

    expect(error).toMatchObject({ code: 'CONNECT_FAILED', message: expect.stringMatching(/lost.*onConnect/) })
    expect(isTransient(error)).toBe(true)
  })

  it('whose connection is lost after its last statement is not opened again and again', async () => {
    await using database = await createPostgres()
    await using manager = new SessionManager({ prepare: 'none', engineOptions: { poolTimeout: 1 } })
    let calls = 0
    const engine = await manager.getEngine(database.dburi, {
      onConnect: async ({ execute }) => {
        calls++
        const [row] = Object(await execute('select pg_backend_pid() as pid'))
        await askPostgres(database.dburi, `select pg_terminate_backend(${Number(row.pid)}, 10000)`)
        // The server has closed it by now; in a few rounds the process has seen that.
        for (let round = 0; round < 20; round++) await setImmediate()
      },
    })

    const error: unknown = await engine.connect().catch((reason: unknown) => reason)

    expect(error).toMatchObject({ code: 'CONNECT_FAILED', message: expect.stringMatching(/lost.*onConnect/) })
    expect(calls).toBe(1)
  })

  it('names the server where it fails', async () => {
    await using database = await createPostgres()
    await using manager = new SessionManager({ prepare: 'none' })
    const { hostname, port } = new URL(database.dburi)
    const engine = await manager.getEngine(database.dburi, {
      onConnect() {
        throw new Error('no')
      },
    })

    await expect(engine.connect()).rejects.toMatchObject({ host: hostname, port: Number(port) })
  })

  it('still has statements prepared where it set the search path', async () => {
    await using database = await createPostgres()
    await using manager = new SessionManager({ prepare: 'none' })
    const engine = await manager.getEngine(database.dburi, {
      onConnect: ({ execute }) => void execute('set search_path to pg_catalog'),
    })
    await using connection = await engine.connect()
    const db = connection.db as PostgresJsHandle
    for (const each of [1, 2]) await db.execute(sql`select ${each}::int`)

    const [row] = await db.execute(
      sql`select count(*)::int as n from pg_prepared_statements where statement like 'select $1::int%'`,
    )
    expect(row).toEqual({ n: 1 })
  })
})

describe('onConnect where a connection is no session', () => {
  it.each([
    ['postgresql://h:6543/d', /pooler in transaction mode.*alter role/],
    ['postgresql://ep-1-pooler.eu.aws.neon.tech/d', /pgbouncer=false/],
    ['postgresql+pg://h/d?pgbouncer=true', /set local/],
    ['libsql://h.turso.io', /session of its own/],
    ['file:none.db?syncUrl=libsql://h.turso.io', /session of its own/],
  ])('is refused by name: %s', async (dburi, reason) => {
    await using manager = new SessionManager()
    const failure: OptionError = await manager
      .getEngine(dburi, { onConnect: () => {} })
      .catch((error) => error)

    expect(failure).toBeInstanceOf(OptionError)
    expect(failure).toMatchObject({ code: 'REFUSED_OPTION', option: 'onConnect' })
    expect(failure.message).toMatch(reason)
  })

  it('is taken where the dburi says that there is none', async () => {
    await using manager = new SessionManager()

    await manager.getEngine('postgresql://h:6543/d?pgbouncer=false', { onConnect: () => {} })
  })
})

describe('onConnect on a SQLite file', () => {
  it('is done again for the SQLite connection that replaces one which met a lock', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-test-'))
    await using manager = new SessionManager({ prepare: 'none' })
    const open = () =>
      manager.getEngine(`file:${directory}/a.db?timeout=5&synchronous=off`, {
        onConnect: async ({ execute }) => {
          await execute('pragma cache_size=-4321')
          await execute('create temp table tenant (name text)')
          await execute('insert into tenant values (?)', ['ulm'])
        },
        engineKey: 'a',
      })
    const engine = await open()
    await engine.db.run(sql`create table t (n integer)`)
    // By the driver itself, since writers of one process take turns; and a read, since writers look before they begin.
    const other = createClient({ url: `file:${directory}/a.db` })
    await other.execute('pragma locking_mode=exclusive')
    await other.execute('insert into t values (1)')

    // Drizzle's own begins when it is awaited.
    const waiting = Promise.resolve(engine.db.all(sql`select n from t`))
    await sleep(100)
    await other.execute('pragma locking_mode=normal')
    await other.execute('select n from t')
    other.close()
    expect(await waiting).toEqual([{ n: 1 }])

    expect(await engine.db.get(sql`pragma cache_size`)).toEqual({ cache_size: -4321 })
    expect(await engine.db.get(sql`pragma synchronous`)).toEqual({ synchronous: 0 })
    expect(await engine.db.all(sql`select name from tenant`)).toEqual([{ name: 'ulm' }])
    rmSync(directory, { recursive: true })
  })
})

function rootOf(error: unknown): ConnectError {
  const { cause } = error as Error
  return (cause ?? error) as ConnectError
}
