import { existsSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { ConnectError, SessionManager } from 'drizzle-celery'
import { integerGrid } from 'drizzle-major/columns'
import { sql } from 'drizzle-orm'
import { integer, jsonb, pgTable, text, timestamp } from 'drizzle-orm/pg-core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { describePostgres, freshPostgres } from '../../fixtures/servers.ts'
import { causeOf } from '../conformance.ts'

type PostgresDburi = `postgresql://${string}`

/** A server that does no more than this with whoever connects. */
async function serve(serveOne: (socket: Socket) => void) {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    serveOne(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const close = () => new Promise<void>((resolve) => server.close(() => resolve()))
  return { port: (server.address() as AddressInfo).port, [Symbol.asyncDispose]: close }
}

describePostgres('a server', (scheme) => {
  const database = freshPostgres({ scheme })
  let manager: SessionManager

  beforeEach(() => {
    manager = new SessionManager()
  })
  afterEach(() => manager.dispose({ grace: 0 }))

  /** The test's database with another authority or other arguments. */
  const at = (change: (dburi: URL) => void): PostgresDburi => {
    const dburi = new URL(database.dburi)
    dburi.protocol = scheme
    change(dburi)
    return dburi.href as PostgresDburi
  }
  const ask = async (dburi: PostgresDburi, question: string): Promise<unknown> => {
    const [row] = await (await manager.getEngine(dburi)).db.execute<{ answer: unknown }>(sql.raw(question))
    return row?.answer
  }

  it('gives arrays of built-in types as arrays', async () => {
    const texts = {
      'bit(2)': '10',
      varbit: '101',
      cidr: '10.0.0.0/8',
      inet: '10.0.0.1',
      interval: '01:00:00',
      line: '{1,2,3}',
      macaddr: '08:00:2b:01:02:03',
      macaddr8: '08:00:2b:01:02:03:04:05',
      point: '(1,2)',
      time: '10:00:00',
      timetz: '10:00:00+00',
      uuid: '00000000-0000-4000-8000-000000000000',
    }
    for (const [type, text] of Object.entries(texts)) {
      const answer = await ask(
        at(() => {}),
        `select array['${text}', null]::${type}[] as answer`,
      )
      expect(answer, type).toEqual([text, null])
    }
  })

  it('runs statements in order that wait for their turn while what they run from is given up', async () => {
    const engine = await manager.getEngine(at((dburi) => dburi.searchParams.set('pool_size', '1')))
    await engine.db.execute(sql`create table waiting (id serial, n int)`)
    const connection = await engine.connect()
    const { db } = connection
    const insert = (n: number) => db.execute(sql`insert into waiting (n) values (${n})`)
    for (const n of [0, 1, 2]) await insert(n)

    const change = db.execute(sql.raw('create table changed (n int)'))
    const all = [db.execute(sql`select pg_sleep(${0.1})`), insert(3), insert(4), change, insert(5)]
    expect(await Promise.allSettled(all)).toMatchObject(all.map(() => ({ status: 'fulfilled' })))
    await connection.close()

    const rows = await engine.db.execute<{ n: number }>(sql`select n from waiting order by id`)
    expect(rows.map(({ n }) => n)).toEqual([0, 1, 2, 3, 4, 5])
  })

  describe('connecting', () => {
    it('asks a password function once for each connection', async () => {
      let asked = 0
      const engine = await manager.getEngine(
        at(() => {}),
        { password: async () => `secret ${++asked}` },
      )
      const connections = await Promise.all([engine.connect(), engine.connect()])
      await engine.db.execute(sql`select 1`)
      await Promise.all(connections.map((connection) => connection.close()))
      ;(await engine.connect()).close()

      expect(asked).toBe(3)
    })

    it('tells of a password function that fails', async () => {
      const password = () => Promise.reject(new Error('vault is sealed'))
      const engine = await manager.getEngine(
        at(() => {}),
        { password },
      )

      await expect(engine.connect()).rejects.toThrow('vault is sealed')
    })

    it('goes on to the next host when one refuses', async () => {
      const dburi = at((url) => url.searchParams.append('host', `127.0.0.1:1,${url.host}`))

      expect(await ask(dburi, 'select 1 as answer')).toBe(1)
    })

    it('uses a server only if it is what target_session_attrs asks for', async () => {
      const primary = at((url) => url.searchParams.set('target_session_attrs', 'primary'))
      const anyway = at((url) => url.searchParams.set('target_session_attrs', 'prefer-standby'))
      const standby = at((url) => url.searchParams.set('target_session_attrs', 'standby'))

      expect(await ask(primary, 'select 1 as answer')).toBe(1)
      expect(await ask(anyway, 'select 1 as answer')).toBe(1)
      const error = await causeOf(ask(standby, 'select 1 as answer'))
      expect(error).toBeInstanceOf(ConnectError)
      expect(error).toHaveProperty('code', 'NO_SUITABLE_HOST')
    })

    const socket = '/var/run/postgresql'
    const noSocket = existsSync(`${socket}/.s.PGSQL.5432`)
      ? ''
      : ` (skipped: there is no socket in ${socket})`
    it.skipIf(noSocket)(`goes through a Unix socket${noSocket}`, async () => {
      const dburi = `${scheme}://root@/postgres?host=${socket}` as PostgresDburi

      expect(await ask(dburi, 'select inet_server_addr() is null as answer')).toBe(true)
    })

    it('names the server, the reason and no secret when the server refuses', async () => {
      const dburi = at((url) => {
        url.password = 'canary-7f3a9c'
        url.pathname = '/no_such_database'
      })
      const error = await causeOf(ask(dburi, 'select 1 as answer'))

      expect(error).toMatchObject({ code: 'CONNECT_FAILED', cause: { code: '3D000' } })
      expect(String(error)).toMatch(/127\.0\.0\.1:\d+ refuses the connection: .*no_such_database.*3D000/)
    })

    it('passes on what a server says before it is asked anything', async () => {
      const fields = ['SFATAL', 'VFATAL', 'C53200', 'Mcould not fork new process', ''].join('\0')
      const word = Buffer.from(`E\0\0\0\0${fields}\0`)
      word.writeUInt32BE(word.length - 1, 1)
      await using server = await serve((socket) => socket.resume().end(word))
      for (let attempt = 0; attempt < 5; attempt++) {
        const error = await causeOf(
          ask(`${scheme}://postgres@127.0.0.1:${server.port}/x` as PostgresDburi, 'select 1'),
        )
        expect(error).toMatchObject({ code: 'CONNECT_FAILED', cause: { code: '53200' } })
      }
    })

    it('sends the server parameters that may be set', async () => {
      const dburi = at((url) => {
        url.searchParams.set('application_name', 'it is me')
        url.searchParams.set('search_path', 'pg_catalog')
        url.searchParams.set('options', '-c statement_timeout=4321')
      })

      expect(await ask(dburi, "select current_setting('application_name') as answer")).toBe('it is me')
      expect(await ask(dburi, "select current_setting('search_path') as answer")).toBe('pg_catalog')
      expect(await ask(dburi, "select current_setting('statement_timeout') as answer")).toBe('4321ms')
    })

    it('is not led astray by environment variables of postgres.js', async () => {
      for (const name of ['PGMAX', 'PGSSL', 'PGPREPARE', 'PGDEBUG', 'PGIDLE_TIMEOUT']) process.env[name] = '1'
      try {
        expect(
          await ask(
            at(() => {}),
            'select 1 as answer',
          ),
        ).toBe(1)
      } finally {
        for (const name of ['PGMAX', 'PGSSL', 'PGPREPARE', 'PGDEBUG', 'PGIDLE_TIMEOUT'])
          delete process.env[name]
      }
    })
  })

  describe('values', () => {
    const notes = pgTable('notes', {
      id: integer().primaryKey(),
      tags: text().array(),
      grid: integerGrid('grid'),
      data: jsonb(),
      at: timestamp(),
    })

    it('come back as they were, through Drizzle columns and through plain SQL', async () => {
      const { db } = await manager.getEngine(at(() => {}))
      await db.execute(
        sql`create table notes (id int primary key, tags text[], grid int[][], data jsonb, at timestamp)`,
      )
      const note = {
        id: 1,
        tags: ['a', 'b c', '"', '\\', '{}', ''],
        grid: [
          [1, 2],
          [3, 4],
        ],
        data: { deep: [1, null, 'x'] },
        at: new Date('2026-03-08T02:30:00.123Z'),
      }
      await db.insert(notes).values(note)

      expect(await db.select().from(notes)).toEqual([note])
      expect([...(await db.execute(sql`select tags, grid, data from notes`))]).toEqual([
        { tags: note.tags, grid: note.grid, data: note.data },
      ])
      expect([
        ...(await db.execute(
          sql`select ${true} as yes, ${10n ** 17n} as big, ${sql.param([1, 2])}::int[] as list`,
        )),
      ]).toEqual([{ yes: true, big: '100000000000000000', list: [1, 2] }])
    })

    it('that cannot be sent are refused by position, and cost nobody else anything', async () => {
      const engine = await manager.getEngine(
        at(() => {}),
        { poolSize: 1, maxOverflow: 0 },
      )
      const select = (value: unknown) => engine.db.execute(sql`select ${sql.param(value)}::text as answer`)
      await select('prepared')
      const results = await Promise.allSettled([
        select('before'),
        causeOf(select(undefined)),
        causeOf(select(Symbol('no'))),
        causeOf(select(new Date(Number.NaN))),
        select('after'),
      ])

      expect(results.map((result) => result.status)).toEqual(Array(5).fill('fulfilled'))
      for (const refused of results.slice(1, 4)) {
        expect(refused).toHaveProperty('value.code', 'INVALID_PARAMETER')
        expect(String(Reflect.get(refused, 'value'))).toMatch(/parameter 1/)
      }
      expect(engine.stats().open).toBe(1)
    })

    it('are refused when there are more than postgres.js can send', async () => {
      const { db } = await manager.getEngine(at(() => {}))
      const many = sql`select array_length(array[${sql.join(
        Array.from({ length: 65_534 }, (_, index) => sql`${index}`),
        sql`,`,
      )}], 1)`

      expect(await causeOf(db.execute(many))).toHaveProperty('code', 'INVALID_PARAMETER')
    })
  })

  it('gives each statement its own rows, also behind one that failed amid its rows', async () => {
    const { db } = await manager.getEngine(at((url) => url.searchParams.set('pool_size', '1')))
    const half = () => db.execute(sql`select 1 / (3 - n) from generate_series(1, ${6}::int) n`)
    for (let round = 0; round < 2; round++) {
      const [failed, behind] = await Promise.all([
        causeOf(half()),
        db.execute(sql`select ${7}::int as n`).then((rows) => [...rows]),
      ])
      expect(failed).toHaveProperty('code', '22012')
      expect(behind).toEqual([{ n: 7 }])
      expect(await causeOf(half())).toHaveProperty('code', '22012')
      expect([...(await db.execute(sql.raw('select 1 n union all select 2; select 3 n')))]).toMatchObject([
        [{ n: 1 }, { n: 2 }],
        [{ n: 3 }],
      ])
    }
  })

  it.each(['copy copied from stdin', 'copy copied to stdout'])('refuses %s', async (text) => {
    const engine = await manager.getEngine(at((url) => url.searchParams.set('pool_size', '1')))
    await engine.db.execute(sql`create table if not exists copied as select generate_series(1, 10000) n`)
    await using session = (await manager.createSession(database.dburi as PostgresDburi)).sessionMaker()
    for (const db of [engine.db, session.db]) {
      expect(await causeOf(db.execute(sql.raw(text)))).toHaveProperty('code', 'INVALID_STATEMENT')
    }
    await session.rollback()
    expect([...(await session.db.execute(sql`select count(*)::int n from copied`))]).toEqual([{ n: 10_000 }])
  })

  it('runs several statements of one text', async () => {
    const { db } = await manager.getEngine(at(() => {}))
    await db.execute(
      sql.raw('create table a (id int); do $$ begin perform 1; end $$; insert into a values (7)'),
    )

    expect([...(await db.execute(sql`select id from a`))]).toEqual([{ id: 7 }])
  })
})
