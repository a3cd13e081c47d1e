import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type PostgresJsHandle, SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { integer, pgTable } from 'drizzle-orm/pg-core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { codeFrom, Observer, pidOf, withOptions } from '../../faults/support.ts'
import { describePostgres, freshPostgres } from '../../fixtures/servers.ts'

/** On PostgreSQL a transaction's first statement takes BEGIN along. */

const numbers = pgTable('numbers', { n: integer('n').primaryKey() })

describePostgres('BEGIN', (scheme) => {
  const database = freshPostgres({ scheme })
  let observer: Observer
  let relay: Relay
  let manager: SessionManager

  beforeEach(async () => {
    observer = new Observer(database.dburi)
    await observer.sql`create table numbers (n int primary key)`
    relay = await Relay.before(database.dburi)
    manager = new SessionManager()
  })
  afterEach(async () => {
    await manager.dispose({ grace: 0 })
    await relay.close()
    await observer.sql`drop table numbers`
    await observer[Symbol.asyncDispose]()
  })

  // One connection, and no packets of its pings.
  const single = { pool_size: '1', max_overflow: '0', pool_pre_ping: 'false' }
  const engineOf = (options: Record<string, string> = {}) =>
    manager.getEngine(withOptions(relay.dburi, { ...single, ...options }))
  const sessionOf = async (options: Record<string, string> = {}) => {
    const dburi = withOptions(relay.dburi, { ...single, ...options })
    return (await manager.createSession(dburi)).sessionMaker()
  }
  const there = async () => (await observer.sql`select n from numbers order by n`).map(({ n }) => Number(n))

  it('costs no round trip of its own', async () => {
    for (const n of [1, 2]) {
      const before = relay.packets
      await using session = await sessionOf()
      await session.db.insert(numbers).values({ n })
      await session.commit()
      // The statement and COMMIT; the first time there is a connection to be opened as well.
      if (n === 2) expect(relay.packets - before).toBe(2)
    }
    expect(await there()).toEqual([1, 2])
  })

  it.each([
    ['prepared', {}],
    ['unprepared', { pgbouncer: 'true' }],
  ])(
    'and a statement that is %s and new cost one round trip, and so does the statement alone',
    async (_, options) => {
      const engine = await engineOf(options)
      await engine.db.execute(sql`select 1`)
      const before = relay.packets
      await engine.db.insert(numbers).values({ n: 1 })
      await engine.db.transaction((tx) => tx.insert(numbers).values([{ n: 2 }, { n: 3 }]))

      expect(relay.packets - before).toBe(1 + 2)
      expect(await there()).toEqual([1, 2, 3])
    },
  )

  const options = { isolationLevel: 'serializable', readOnly: true, deferrable: true } as const
  it.each([
    ['the session', { ofSession: options, ofBegin: {} }],
    ['begin()', { ofSession: {}, ofBegin: options }],
  ])(
    'costs no round trip with options of %s, which hold from the first statement on',
    async (_, { ofSession, ofBegin }) => {
      const dburi = withOptions(relay.dburi, single)
      const { engine, sessionMaker } = await manager.createSession(dburi, ofSession)
      await engine.db.execute(sql`select 1`)
      await using session = sessionMaker()
      const before = relay.packets
      await session.begin(ofBegin)
      const [row] = await session.db.execute(
        sql`select current_setting('transaction_isolation') i, current_setting('transaction_read_only') r, current_setting('transaction_deferrable') d, ${1}::int`,
      )
      await session.commit()

      expect(row).toMatchObject({ i: 'serializable', r: 'on', d: 'on' })
      expect(relay.packets - before).toBe(2)
      expect(
        await codeFrom(
          session.db
            .insert(numbers)
            .values({ n: 1 })
            .then(() => session.commit()),
        ),
      ).toBe('isolationLevel' in ofSession ? 'SQLSTATE 25006' : null)
    },
  )

  it('is not sent for a transaction without statements', async () => {
    const engine = await engineOf()
    await engine.db.execute(sql`select 1`)
    const before = relay.packets
    await engine.db.transaction(async () => {})
    await expect(engine.db.transaction(async (tx) => tx.rollback())).rejects.toThrow()
    await using session = await sessionOf()
    await session.begin()
    await session.commit()
    await session.begin()
    await session.rollback()
    expect(relay.packets - before).toBe(0)
  })

  it.each([
    ['prepared', {}],
    ['unprepared', { pgbouncer: 'true' }],
  ])('leaves the results of a %s statement as they are', async (_, options) => {
    await observer.sql`insert into numbers values (1), (2)`
    const firsts = [
      async (db: Db) => db.select().from(numbers).where(sql`${numbers.n} >= ${1}`).orderBy(numbers.n),
      async (db: Db) => [...(await db.execute(sql`select n from numbers where n > ${0} order by n`))],
      async (db: Db) => [...(await db.execute(sql`select n from numbers order by n`))],
      async (db: Db) =>
        db
          .insert(numbers)
          .values([{ n: 3 }, { n: 4 }])
          .returning(),
      async (db: Db) => countOf(await db.insert(numbers).values([{ n: 3 }, { n: 4 }])),
      async (db: Db) => countOf(await db.execute(sql`delete from numbers where n > ${9}`)),
    ]
    const found = []
    for (const first of firsts) {
      for (const _ of ['the first time', 'and once more']) {
        await using session = await sessionOf(options)
        found.push(await first(session.db))
      }
    }
    const rows = [{ n: 1 }, { n: 2 }]
    const added = [{ n: 3 }, { n: 4 }]
    expect(found).toEqual([rows, rows, rows, rows, rows, rows, added, added, 2, 2, 0, 0])
    expect(await there()).toEqual([1, 2])
  })

  it('stands when the first statement fails', async () => {
    await observer.sql`insert into numbers values (1)`
    await using session = await sessionOf()
    const pid = await pidOf(session.db)
    await session.commit()

    for (const n of [1, 1]) {
      expect(await codeFrom(session.db.insert(numbers).values({ n }))).toBe('SQLSTATE 23505')
      expect(await codeFrom(session.db.insert(numbers).values({ n: 2 }))).toBe('SQLSTATE 25P02')
      expect(await codeFrom(session.commit())).toBe('TRANSACTION_ABORTED')
      await session.rollback()
    }
    expect(await there()).toEqual([1])
    expect(await pidOf(session.db), 'the connection was kept').toBe(pid)
  })

  it('leaves an empty statement be', async () => {
    await using session = await sessionOf()
    expect([...(await session.db.execute(sql`/* ${true} */`))]).toEqual([])
    await session.db.insert(numbers).values({ n: 1 })
    await session.commit()
    expect(await there()).toEqual([1])
  })

  it('lets what waits for it go in order, before whoever was first goes on', async () => {
    const engine = await engineOf()
    const { connection, release } = await engine.checkout({})
    const run = (sql: string, ...params: number[]) => connection.run({ sql, params, asArrays: true })
    await run('create table ordered (at serial, n int)')
    const insert = (n: number) => run('insert into ordered (n) values ($1)', n)
    await connection.begin({})
    let last: Promise<unknown> | undefined
    const first = insert(1).then(() => {
      last = insert(5)
    })
    await Promise.all([first, insert(2), run('insert into ordered (n) values (3)'), insert(4)])
    await last
    await connection.commit()
    expect(await run('select array_agg(n order by at) from ordered')).toEqual([[[1, 2, 3, 4, 5]]])
    await run('drop table ordered')
    release()
  })

  it.each(['commit', 'rollback'] as const)(
    'sends no statement behind the %s of a transaction that is begun anew',
    async (end) => {
      const select = sql`select * from numbers where n > ${0}`
      const engine = await engineOf()
      await engine.db.transaction((tx) => tx.execute(select))
      await observer.sql`alter table numbers add column x int`
      relay.delay = 100
      const failed = new Error('rolled back')
      const work = engine.db.transaction(async (tx) => {
        start(tx.execute(select))
        await sleep(150)
        start(tx.execute(sql`insert into numbers values (${1})`))
        await sleep(100)
        start(tx.execute(sql`insert into numbers values (${2})`))
        if (end === 'rollback') throw failed
      })
      const how = await work.then(
        () => 'commit',
        (error: unknown) => (error === failed ? 'rollback' : error),
      )
      expect(how).toBe(end)
      relay.delay = 0
      expect(await there()).toEqual(end === 'commit' ? [1, 2] : [])
    },
  )

  it('overtakes nothing that is on its way', async () => {
    const engine = await engineOf()
    const { connection, release } = await engine.checkout({})
    const insert = (n: number) =>
      connection.run({ sql: 'insert into numbers values ($1)', params: [n], asArrays: false })
    await insert(0)
    const before = insert(1)
    await connection.begin({})
    await Promise.all([before, insert(2)])
    await connection.rollback()
    release()
    expect(await there()).toEqual([0, 1])
  })

  describe('that the server refuses', () => {
    const warm = async () => {
      await using session = await sessionOf()
      await session.db.insert(numbers).values({ n: 0 })
      await session.commit()
    }

    it.each([
      ['carried', (db: Db) => db.insert(numbers).values({ n: 1 }), 'SQLSTATE 25P01'],
      ['sent alone', (db: Db) => db.execute(sql`insert into numbers values (1)`), 'CONNECTION_LOST'],
    ])('takes along no statement when it is %s', async (_, first, code) => {
      await warm()
      await using session = await sessionOf()
      relay.refusesBegin = true
      const codes = await Promise.all([
        codeFrom(first(session.db)),
        codeFrom(session.db.insert(numbers).values({ n: 2 })),
        codeFrom(session.db.execute(sql`insert into numbers values (3)`)),
      ])
      expect(codes).toEqual([code, 'CONNECTION_LOST', 'CONNECTION_LOST'])
      expect(await codeFrom(session.db.insert(numbers).values({ n: 4 }))).toBe('PENDING_ROLLBACK')
      expect(await codeFrom(session.commit())).toBe('PENDING_ROLLBACK')

      relay.refusesBegin = false
      await session.rollback()
      await session.db.insert(numbers).values({ n: 5 })
      await session.commit()
      expect(await there()).toEqual([0, 5])
    })
  })
})

type Db = PostgresJsHandle

/** Drizzle sends nothing before it is asked how it went. */
function start(query: PromiseLike<unknown>): void {
  void Promise.allSettled([query])
}

/** Where postgres.js puts it on 0.45 and on 1.0, whose types do not say so. */
function countOf(result: object): unknown {
  return Reflect.get(result, 'count')
}

/** Passes everything on, counts what the clients send, and can make the server refuse BEGIN. */
class Relay {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly dburi: string
  packets = 0
  refusesBegin = false
  /** Milliseconds by which answers come later. */
  delay = 0

  private constructor(server: Server, dburi: string) {
    this.#server = server
    this.dburi = dburi
  }

  static async before(dburi: string): Promise<Relay> {
    const target = new URL(dburi)
    const server = createServer({ noDelay: true })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { hostname: host, port } = target
    target.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
    const relay = new Relay(server, target.href)
    server.on('connection', (client) => {
      const upstream = connect({ host, port: Number(port || 5432), noDelay: true })
      for (const socket of [client, upstream]) {
        relay.#sockets.add(socket)
        socket.on('error', () => {})
      }
      upstream.on('data', (bytes) => {
        if (relay.delay === 0) client.write(bytes)
        else setTimeout(() => client.write(bytes), relay.delay)
      })
      upstream.on('close', () => client.destroy())
      client.on('close', () => upstream.destroy())
      client.on('data', (bytes) => {
        relay.packets++
        upstream.write(relay.refusesBegin ? withRefusedBegin(bytes) : bytes)
      })
    })
    return relay
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

/** LOCK TABLE is refused outside of a transaction. */
function withRefusedBegin(bytes: Buffer): Buffer {
  const text = bytes.toString('latin1')
  const refused = text
    .replace('P\0\0\0\x0d\0begin\0', 'P\0\0\0\x1b\0lock table pg_class\0')
    .replace('Q\0\0\0\x0abegin\0', 'Q\0\0\0\x18lock table pg_class\0')
  return Buffer.from(refused, 'latin1')
}
