/**
 * MySQL and MariaDB that fail over while programs work: which answers end a connection, and where the next one goes.
 *
 * @module-tag full
 */
import { type ConnectError, NotServingError, OptionError, SessionManager } from 'drizzle-celery'
import { DatabaseBackend } from 'drizzle-celery/backend'
import { sql } from 'drizzle-orm'
import { createConnection } from 'mysql2/promise'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { causeOf } from '../adapters/conformance.ts'
import { openHaproxy } from '../fixtures/haproxy.ts'
import { type MariadbServer, openMariadbServer } from '../fixtures/mariadb-server.ts'
import { describeNeeding } from '../fixtures/servers.ts'
import { nameFor } from '../fixtures/several-addresses.ts'

let manager: SessionManager<{ mysql: Record<never, never> }>
beforeEach(() => {
  manager = new SessionManager({ models: { mysql: {} }, prepare: 'none' })
})
afterEach(() => manager.dispose({ grace: 0 }))

describeNeeding('private mariadb', 'two servers of MariaDB', () => {
  let first: MariadbServer
  let second: MariadbServer
  const at = (servers: readonly { readonly port: number }[], attrs?: string) =>
    `mysql://app@${servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}/app${attrs ? `?target_session_attrs=${attrs}` : ''}` as const
  const administer = async (server: MariadbServer, ...texts: readonly string[]) => {
    const connection = await createConnection({ socketPath: server.socket, user: 'root' })
    for (const text of texts) await connection.query(text)
    await connection.end()
  }
  const portOf = async (dburi: `mysql://${string}`) => {
    const engine = await manager.getEngine(dburi)
    const [rows] = await engine.db.execute(sql`select @@port as port`)
    return Reflect.get(Object(Array.isArray(rows) ? rows[0] : rows), 'port')
  }

  beforeAll(async () => {
    ;[first, second] = await Promise.all([openMariadbServer(), openMariadbServer()])
    for (const server of [first, second]) {
      await administer(
        server,
        'create database app',
        "create user app@'%'",
        "grant all on app.* to app@'%'",
        'create table app.notes (id int)',
      )
    }
  }, 120_000)
  afterAll(async () => {
    await Promise.all([first?.close(), second?.close()])
  })
  afterEach(async () => {
    for (const server of [first, second])
      await administer(server, 'set global read_only = 0', 'truncate app.notes')
  })

  it.each([undefined, 'any', 'primary', 'read-write'])(
    'a first host that takes no writes any more is left for the second (target_session_attrs=%s)',
    async (attrs) => {
      await using backend = new DatabaseBackend(at([first, second], attrs))
      await using other = new DatabaseBackend(at([second]))
      await other.storeResult('there', 1, 'SUCCESS')
      await Promise.all([1, 2, 3].map((n) => backend.storeResult(`first-${attrs}-${n}`, n, 'SUCCESS')))

      await administer(first, 'set global read_only = 1')
      await Promise.all([1, 2, 3, 4, 5].map((n) => backend.storeResult(`second-${attrs}-${n}`, n, 'SUCCESS')))
      await using another = new DatabaseBackend(at([first, second], attrs))
      await another.storeResult(`third-${attrs}`, 1, 'SUCCESS')

      expect(await other.getState(`first-${attrs}-1`)).toBe('PENDING')
      expect(await other.getState(`second-${attrs}-5`)).toBe('SUCCESS')
      expect(await other.getState(`third-${attrs}`)).toBe('SUCCESS')
    },
  )

  describeNeeding('haproxy', 'behind HAProxy', () => {
    it('stores outlast a switchover, whose old primary goes on and takes no writes', async () => {
      const takesWrites = (server: MariadbServer) => async () => {
        const connection = await createConnection({ socketPath: server.socket, user: 'root' })
        const [rows] = await connection.query('select @@read_only as it')
        await connection.end()
        return JSON.stringify(rows) === '[{"it":0}]'
      }
      await using other = new DatabaseBackend(at([second]))
      await other.storeResult('there', 1, 'SUCCESS')
      await administer(second, 'set global read_only = 1')
      await using proxy = await openHaproxy(
        [first, second].map((server) => ({ port: server.port, isFit: takesWrites(server) })),
      )
      await using backend = new DatabaseBackend(at([proxy]))
      const store = (what: string) =>
        Promise.all([1, 2, 3, 4, 5].map((n) => backend.storeResult(`${what}-${n}`, n, 'SUCCESS')))
      await store('before')

      await administer(first, 'set global read_only = 1')
      const meanwhile = store('meanwhile')
      await administer(second, 'set global read_only = 0')
      await meanwhile
      await store('after')

      expect(await other.getState('before-1')).toBe('PENDING')
      expect(await other.getState('meanwhile-5')).toBe('SUCCESS')
      expect(await other.getState('after-5')).toBe('SUCCESS')
    })
  })

  it('a session is told so, nothing of it is kept, and the next one works', async () => {
    const write = () =>
      manager.session(at([first, second]), async (db) => {
        await db.execute(sql`insert into notes values (1)`)
        if (!isReadOnly) {
          await administer(first, 'set global read_only = 1')
          isReadOnly = true
        }
        await db.execute(sql`insert into notes values (2)`)
      })
    let isReadOnly = false

    const error = await causeOf(write())
    await write()

    expect(error).toBeInstanceOf(NotServingError)
    expect(error).toMatchObject({ code: 'NOT_SERVING', cause: { errno: 1290 } })
    const rows = await (await manager.getEngine(at([second]))).db.execute(
      sql`select id from notes order by id`,
    )
    expect(JSON.stringify(rows)).toContain('[{"id":1},{"id":2}]')
    const old = await (await manager.getEngine(at([first]))).db.execute(sql`select id from notes`)
    expect(JSON.stringify(old)).not.toContain('"id":')
  })

  it('a host is chosen as target_session_attrs asks', async () => {
    await administer(second, 'set global read_only = 1')
    const hosts = [first, second]

    for (const attrs of ['any', 'primary', 'read-write'])
      expect(await portOf(at(hosts, attrs))).toBe(first.port)
    for (const attrs of ['standby', 'read-only', 'prefer-standby']) {
      expect(await portOf(at(hosts, attrs))).toBe(second.port)
    }
    expect(await portOf(at([first], 'prefer-standby'))).toBe(first.port)
    expect(await causeOf(portOf(at([first], 'standby')))).toMatchObject({
      code: 'NO_SUITABLE_HOST',
      port: first.port,
    })
    const wrong: unknown = await causeOf(portOf(at(hosts, 'master')))
    expect(wrong).toBeInstanceOf(OptionError)
    expect(wrong).toMatchObject({ option: 'target_session_attrs' })
  })

  it('a server that was asked for as one that only reads is not left for refusing a write', async () => {
    await administer(second, 'set global read_only = 1')
    const engine = await manager.getEngine(at([first, second], 'standby'), { poolSize: 1, maxOverflow: 0 })
    const id = async () => JSON.stringify(await engine.db.execute(sql`select connection_id() as id`))
    const before = await id()

    const error = await causeOf(engine.db.execute(sql`insert into notes values (1)`))
    const within = await engine.db.transaction(async (tx) => {
      const refused = await causeOf(tx.execute(sql`insert into notes values (1)`))
      await tx.execute(sql`select 1`)
      return refused
    })

    expect([error, within]).toMatchObject([{ errno: 1290 }, { errno: 1290 }])
    expect(await id()).toBe(before)
  })

  it('the ping of a connection that was idle looks again', async () => {
    const dburi = at([first, second], 'primary')
    expect(await portOf(dburi)).toBe(first.port)

    await administer(first, 'set global read_only = 1')
    await new Promise((resolve) => setTimeout(resolve, 1_100))

    expect(await portOf(dburi)).toBe(second.port)
  })

  it('a name with several addresses stands for several servers', async () => {
    await administer(first, 'set global read_only = 1')
    await using name = await nameFor([first.port, second.port])
    const dburi = `mysql://app@${name.host}:${name.port}/app` as const

    expect(await portOf(`${dburi}?target_session_attrs=primary`)).toBe(second.port)
    await using backend = new DatabaseBackend(dburi)
    await backend.storeResult('by any address', 1, 'SUCCESS')
    await using there = new DatabaseBackend(at([second]))
    expect(await there.getState('by any address')).toBe('SUCCESS')
  })

  it.each([
    [1047, '08S01', 'WSREP has not yet prepared node for application use', 'NOT_SERVING'],
    [1836, 'HY000', 'Running in read-only mode', 'NOT_SERVING'],
    [1290, 'HY000', 'The server is running with the --super-read-only option', 'NOT_SERVING'],
    [1053, '08S01', 'Server shutdown in progress', 'CONNECTION_LOST'],
    [3100, 'HY000', "Error on observer while running replication hook 'before_commit'.", 'CONNECTION_LOST'],
    [
      1180,
      'HY000',
      'Got error while appending (provider status: Not connected to Primary Component)',
      'CONNECTION_LOST',
    ],
  ])('%i ends the connection, and new ones pass its server over', async (errno, state, message, code) => {
    const engine = await manager.getEngine(at([first, second]))
    const raise = `signal sqlstate '${state}' set mysql_errno = ${errno}, message_text = '${message.replaceAll("'", "''")}'`

    const error = await causeOf(engine.db.execute(sql.raw(raise)))

    expect(error).toMatchObject({ code, cause: { errno } })
    expect(await portOf(at([first, second]))).toBe(second.port)
  })

  it('another error of an option that prevents a statement costs no connection', async () => {
    const engine = await manager.getEngine(at([first, second]))
    const raise =
      "signal sqlstate 'HY000' set mysql_errno = 1290, message_text = 'running with the --secure-file-priv option'"

    expect(await causeOf(engine.db.execute(sql.raw(raise)))).toMatchObject({ errno: 1290 })
    expect(await portOf(at([first, second]))).toBe(first.port)
  })

  it('tells of all hosts, none of which will do', async () => {
    await administer(first, 'set global read_only = 1')
    await administer(second, 'set global read_only = 1')

    const error = (await causeOf(portOf(at([first, second], 'primary')))) as ConnectError

    expect(error.code).toBe('NO_SUITABLE_HOST')
    for (const { port } of [first, second])
      expect(error.message).toContain(`127.0.0.1:${port}: it is not what`)
  })
})
