import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { sql } from 'drizzle-orm'
import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  ConnectError,
  ConnectionLostError,
  causes,
  PendingRollbackError,
  StatementTimeoutError,
  TransactionAbortedError,
} from '../../../src/errors.ts'
import { Session } from '../../../src/session/session.ts'
import { childRun, scenario } from '../../fixtures/child-run.ts'
import { FaultProxy } from '../../fixtures/fault-proxy.ts'
import { startHranaServer } from '../../fixtures/hrana-server.ts'
import { type HranaSocketServer, startHranaSocketServer } from '../../fixtures/hrana-socket-server.ts'
import { type OpenLibsqlOptions, openLibsql } from '../../fixtures/libsql-engine.ts'
import { eventually } from '../conformance.ts'

/** libSQL servers over HTTP and WebSockets when they refuse, break off, fall silent or roll back by themselves. */

const t = sqliteTable('t', { id: integer('id').primaryKey(), w: text('w') })

type Opened = Awaited<ReturnType<typeof openLibsql>>

let directory: string
let file: string
const opened: AsyncDisposable[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-remote-'))
  file = join(directory, 'remote.db')
})

afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each[Symbol.asyncDispose]()
  rmSync(directory, { recursive: true, force: true })
})

async function open(dburi: string, options?: OpenLibsqlOptions): Promise<Opened> {
  const engine = await openLibsql(dburi, options)
  opened.push({ [Symbol.asyncDispose]: () => engine.dispose({ grace: 0 }) })
  return engine
}

async function openWithTable(dburi: string, options?: OpenLibsqlOptions): Promise<Opened> {
  const engine = await open(dburi, options)
  await engine.db.run(sql`create table t (id integer primary key, w text)`)
  return engine
}

async function startSockets(
  options?: Parameters<typeof startHranaSocketServer>[1],
): Promise<HranaSocketServer> {
  const server = await startHranaSocketServer(file, options)
  opened.push(server)
  return server
}

/** What is in the table, read past all servers. */
async function kept(): Promise<unknown[]> {
  await using engine = await openLibsql(`file:${file}`)
  return (await engine.db.select().from(t)).map(({ w }) => w)
}

/** Lets this process notice what its own server has closed, however little of a core it gets. */
async function noticed(): Promise<void> {
  for (let round = 0; round < 20; round++) await new Promise((resolve) => setImmediate(resolve))
}

/** Lets Drizzle hand its statements on, which it does some microtasks after they are awaited. */
const handedOn = () => new Promise((resolve) => setImmediate(resolve))

async function failure(work: PromiseLike<unknown>): Promise<unknown> {
  const error = await work.then(
    () => new Error('It did not fail'),
    (reason: unknown) => reason,
  )
  return causes(error).find(
    (cause) => cause instanceof Error && cause.constructor.name !== 'DrizzleQueryError',
  )
}

describe.each([
  ['HTTP', startHranaServer],
  ['WebSockets', startHranaSocketServer],
] as const)('a server over %s that rolls back by itself', (_, start) => {
  async function opening(): Promise<Opened> {
    const server = await start(file)
    opened.push(server)
    return openWithTable(server.dburi)
  }

  it('gets nothing more of that transaction, neither at once nor later', async () => {
    const engine = await opening()
    await engine.db.insert(t).values({ id: 1, w: 'before' })
    const session = new Session(engine, {})
    await session.db.insert(t).values({ w: 'undone' })
    const results = await Promise.allSettled([
      session.db.run(sql`insert or rollback into t (id) values (1)`),
      session.db.insert(t).values({ w: 'sent along' }),
      session.db.insert(t).values({ w: 'sent along too' }),
    ])
    const later = await failure(session.db.insert(t).values({ w: 'sent later' }))

    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    expect(later).toMatchObject({ code: 'TRANSACTION_CLOSED' })
    expect(await failure(session.commit())).toBeInstanceOf(TransactionAbortedError)
    await session.rollback()
    await session.db.insert(t).values({ w: 'after' })
    await session.commit()
    await session.close()
    expect(await kept()).toEqual(['before', 'after'])
  })

  it('goes on with a transaction in which a statement merely failed', async () => {
    const engine = await opening()
    const session = new Session(engine, {})
    await session.db.insert(t).values({ id: 1, w: 'a' })
    expect(await failure(session.db.insert(t).values({ id: 1 }))).toMatchObject({ code: 'SQLITE_CONSTRAINT' })
    expect(await failure(session.db.run(sql`insert into nowhere values (1)`))).toBeInstanceOf(Error)
    await session.db.insert(t).values({ w: 'b' })
    await session.commit()
    await session.close()

    expect(await kept()).toEqual(['a', 'b'])
  })

  it('answers many statements of a session in their order', async () => {
    const engine = await opening()
    const session = new Session(engine, {})
    await Promise.all(Array.from({ length: 50 }, (_, at) => session.db.insert(t).values({ w: String(at) })))
    await session.commit()
    await session.close()

    expect(await kept()).toEqual(Array.from({ length: 50 }, (_, at) => String(at)))
  })
})

describe('a token', () => {
  it.each(['http', 'ws'])('that is refused is a typed error without it, over %s', async (scheme) => {
    const server =
      scheme === 'ws' ? await startSockets({ authTokens: new Set(['right']) }) : await http('right')
    const engine = await open(server.dburi.replace('right', 'canary-token'))

    const error = await failure(engine.db.run(sql`select 1`))

    expect(error).toBeInstanceOf(ConnectError)
    expect(error).toMatchObject({ code: 'AUTH_REFUSED', host: '127.0.0.1' })
    for (const shown of [
      String(error),
      inspect(error, { depth: 10, showHidden: true }),
      inspect(engine.stats()),
    ])
      expect(shown).not.toContain('canary-token')
    expect(await failure(openWithTable(server.dburi))).toMatchObject({ message: 'It did not fail' })
  })

  it('that has expired is asked for again, over HTTP', async () => {
    const access = { authToken: 'first' }
    const server = await startHranaServer(file, access)
    opened.push(server)
    const tokens = ['first', 'second']
    const engine = await openWithTable(server.dburi.replace(/&.*/, ''), {
      password: async () => tokens.shift() ?? 'none',
    })
    access.authToken = 'second'

    expect(await failure(engine.db.insert(t).values({ w: 'refused' }))).toBeInstanceOf(ConnectionLostError)
    await engine.db.insert(t).values({ w: 'a' })

    expect(tokens).toEqual([])
    expect(await kept()).toEqual(['a'])
  })

  it('that has expired is asked for again, over WebSockets', async () => {
    const authTokens = new Set(['first'])
    const server = await startSockets({ authTokens })
    const tokens = ['first', 'second']
    const engine = await openWithTable(server.dburi.replace(/\?.*/, ''), {
      password: async () => tokens.shift() ?? 'none',
    })
    authTokens.clear()
    authTokens.add('second')
    server.dropSockets()
    await eventually(() => expect(server.openSockets).toBe(0))
    await handedOn()

    expect(await failure(engine.db.insert(t).values({ w: 'refused' }))).toBeInstanceOf(ConnectionLostError)
    await engine.db.insert(t).values({ w: 'a' })

    expect(tokens).toEqual([])
    expect(await kept()).toEqual(['a'])
  })

  async function http(authToken: string) {
    const server = await startHranaServer(file, { authToken })
    opened.push(server)
    return server
  }
})

describe('the scheme', () => {
  it('libsql: with tls=0 means HTTP, and ws: means WebSockets', async () => {
    const [web, sockets] = [await startHranaServer(file), await startSockets()]
    opened.push(web)
    const [overHttp, overSockets] = [await openWithTable(web.dburi), await open(sockets.dburi)]
    await overSockets.db.insert(t).values({ w: 'a' })

    expect(new URL(web.dburi).protocol).toBe('libsql:')
    expect([overHttp.db.$client.protocol, overSockets.db.$client.protocol]).toEqual(['http', 'ws'])
    expect(web.requests.map(({ path }) => path)).toContain('/v2/pipeline')
    expect(sockets.types).toContain('hello')
    expect(await overHttp.db.select().from(t)).toEqual([{ id: 1, w: 'a' }])
  })

  const openssl = spawnSync('openssl', ['version']).status === 0
  describe.skipIf(!openssl)(
    `wss:${openssl ? '' : ' (skipped: openssl is not installed)'}`,
    {
      timeout: 60_000,
    },
    () => {
      it.each([
        ['a CA that is trusted', 'ca.pem', 'localhost', [[{ w: 'a' }]]],
        ['a CA that is not', null, 'localhost', [{ code: 'CONNECT_FAILED', host: 'localhost' }]],
        ['the name of another', 'ca.pem', 'another.test', [{ code: 'CONNECT_FAILED', host: 'localhost' }]],
      ])('with %s', async (_, ca, name, expected) => {
        certify(name)
        const tls = {
          cert: readFileSync(join(directory, 'server.pem')),
          key: readFileSync(join(directory, 'server.key')),
        }
        const server = await startSockets({ tls, authTokens: new Set(['canary-token']) })

        const result = await childRun(scenario('libsql-remote'), {
          arguments: [server.dburi],
          env: { NODE_EXTRA_CA_CERTS: ca === null ? undefined : join(directory, ca) },
        })

        expect(result).toMatchObject({ exitCode: 0, signal: null, emitted: expected })
        expect(result.stdout + result.stderr).not.toContain('canary-token')
        expect(server.hellos > 0).toBe(Array.isArray(expected[0]))
      })

      /** A CA, and a server's certificate for this name by it. */
      function certify(name: string): void {
        const run = (...args: string[]) => execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' })
        const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
        run(
          'req',
          '-x509',
          ...key,
          '-keyout',
          'ca.key',
          '-out',
          'ca.pem',
          '-days',
          '2',
          '-subj',
          '/CN=test CA',
        )
        run('req', ...key, '-keyout', 'server.key', '-out', 'server.csr', '-subj', `/CN=${name}`)
        writeFileSync(join(directory, 'names'), `subjectAltName=DNS:${name}`)
        const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'names']
        run('x509', '-req', '-in', 'server.csr', ...by, '-out', 'server.pem')
      }
    },
  )
})

describe('a WebSocket', () => {
  it.each(['close', 'reset'] as const)(
    'that ends (%s) within a transaction undoes all of it',
    async (how) => {
      const server = await startSockets()
      const engine = await openWithTable(server.dburi)
      const session = new Session(engine, {})
      await session.db.insert(t).values({ w: 'undone' })
      server.dropSockets(how)

      const lost = await failure(session.db.insert(t).values({ w: 'never' }))
      expect(lost).toBeInstanceOf(ConnectionLostError)
      expect(await failure(session.db.insert(t).values({ w: 'neither' }))).toBeInstanceOf(
        PendingRollbackError,
      )
      expect(await failure(session.commit())).toBeInstanceOf(PendingRollbackError)
      await session.rollback()
      await session.db.insert(t).values({ w: 'again' })
      await session.commit()
      await session.close()

      expect(await kept()).toEqual(['again'])
      await eventually(() => expect(server.openStreams).toBe(0))
      expect(engine.stats()).toMatchObject({ checkedOut: 0 })
    },
  )

  it.each(['close', 'reset'] as const)('that ends (%s) settles every statement under way', async (how) => {
    const server = await startSockets()
    const engine = await openWithTable(server.dburi)
    const holder = new Session(engine, {})
    await holder.db.insert(t).values({ w: 'held' })
    // They wait at the server for the lock that `holder` has.
    const waiting = [
      failure(engine.db.insert(t).values({ w: 'statement' })),
      failure(engine.db.transaction((tx) => tx.insert(t).values({ w: 'transaction' }))),
    ]
    await eventually(() => expect(server.openStreams).toBe(3))
    server.dropSockets(how)

    for (const error of await Promise.all(waiting)) expect(error).toBeInstanceOf(ConnectionLostError)
    expect(await failure(holder.commit())).toBeInstanceOf(Error)
    await holder.close()
    expect(await kept()).toEqual([])
    await engine.db.insert(t).values({ w: 'after' })
    expect(await kept()).toEqual(['after'])
  })

  it('that ends at the commit leaves its outcome open, and says so', async () => {
    const server = await startSockets()
    await using proxy = await FaultProxy.before(server.dburi)
    const engine = await openWithTable(proxy.dburi)
    const session = new Session(engine, {})
    await session.db.insert(t).values({ w: 'a' })
    // Masked by the protocol, a commit cannot be told from other messages: it is what comes next.
    proxy.mode = 'blackhole'
    const committing = failure(session.commit())
    await handedOn()
    proxy.kill('rst')
    proxy.mode = 'pass'

    const error = await committing
    expect(error).toBeInstanceOf(ConnectionLostError)
    expect(String(error)).toContain('may or may not have taken effect')
    await session.close()
    await engine.db.insert(t).values({ w: 'b' })
    expect(await kept()).toEqual(['b'])
  })

  it('that ends while nobody uses it is made anew for whoever comes next', async () => {
    const server = await startSockets()
    const engine = await openWithTable(server.dburi)
    for (const how of ['close', 'reset'] as const) {
      server.dropSockets(how)
      await eventually(() => expect(server.openSockets).toBe(0))
      await noticed()
      await engine.db.insert(t).values({ w: 'statement' })
      server.dropSockets(how)
      await eventually(() => expect(server.openSockets).toBe(0))
      await noticed()
      await engine.db.transaction((tx) => tx.insert(t).values({ w: 'transaction' }))
    }

    expect(await kept()).toEqual(['statement', 'transaction', 'statement', 'transaction'])
  })

  it('whose server cannot be reached any more is a typed error, until it can', async () => {
    const server = await startSockets()
    const proxy = await FaultProxy.before(server.dburi)
    opened.push(proxy)
    const engine = await openWithTable(proxy.dburi)
    proxy.mode = 'rst'

    for (let time = 0; time < 3; time++) {
      const error = await failure(engine.db.insert(t).values({ w: 'never' }))
      expect([error instanceof ConnectionLostError, error instanceof ConnectError]).toContain(true)
    }
    proxy.mode = 'pass'
    await engine.db.insert(t).values({ w: 'a' })

    expect(await kept()).toEqual(['a'])
  })

  it('whose server falls silent keeps nobody waiting beyond the statement timeout', async () => {
    const server = await startSockets()
    const proxy = await FaultProxy.before(server.dburi)
    opened.push(proxy)
    const engine = await openWithTable(proxy.dburi)
    const session = new Session(engine, {})
    await session.db.insert(t).values({ w: 'undone' })
    // A second connection, beside the one that the session holds.
    await engine.db.select().from(t)
    proxy.mode = 'blackhole'

    const [inSession, alone] = await Promise.all([
      failure(session.with({ statementTimeout: 0.3 }).db.insert(t).values({ w: 'never' })),
      failure(engine.with({ statementTimeout: 0.3 }).db.select().from(t)),
    ])
    expect(inSession).toBeInstanceOf(StatementTimeoutError)
    expect(alone).toBeInstanceOf(StatementTimeoutError)
    expect(await failure(session.commit())).toBeInstanceOf(PendingRollbackError)
    await session.close()
    await engine.dispose({ grace: 0.2 })
    expect(engine.stats()).toMatchObject({ open: 0, checkedOut: 0 })

    proxy.kill('rst')
    await eventually(() => expect(server.openStreams).toBe(0))
    expect(await kept()).toEqual([])
  })

  it('does what libSQL promises of a client', async () => {
    const server = await startSockets()
    const { db } = await openWithTable(server.dburi)
    const { $client } = db
    await $client.batch(["insert into t (w) values ('a')", ['insert into t (w) values (:w)', { w: 'b' }]])
    await $client.executeMultiple("insert into t (w) values ('c'); insert into t (w) values ('d;')")
    await $client.migrate(['alter table t add column n integer', "update t set n = 1 where w = 'a'"])
    await db.batch([db.insert(t).values({ w: 'e' }), db.insert(t).values({ w: 'f' })])
    const bytes = Buffer.from([0, 255])

    expect(await db.all(sql`select w, n from t where n = 1`)).toEqual([{ w: 'a', n: 1 }])
    const [row] = await db.all<{ bytes: ArrayBuffer }>(
      sql`select 9007199254740993 as big, ${bytes} as bytes, 1.5 as half`,
    )
    expect({ ...row, bytes: [...new Uint8Array(row?.bytes ?? [])] }).toEqual({
      big: 9007199254740993n,
      bytes: [...bytes],
      half: 1.5,
    })
    expect(await kept()).toEqual(['a', 'b', 'c', 'd;', 'e', 'f'])
  })

  it('shows no parameter in an error', async () => {
    const server = await startSockets()
    const engine = await openWithTable(server.dburi)
    const error: unknown = await engine.db
      .run(sql`insert into t (id) values (${'canary-f00d'})`)
      .then(null, (reason: unknown) => reason)

    expect(error).toBeInstanceOf(Error)
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('canary-f00d')
  })
})
