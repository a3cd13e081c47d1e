import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import {
  ConnectError,
  ConnectionLostError,
  causes,
  SessionManager,
  StatementTimeoutError,
} from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { FaultProxy } from '../../fixtures/fault-proxy.ts'
import { openPgServer, type PgServer, unprivilegedOwner } from '../../fixtures/pg-server.ts'
import { describeNeeding } from '../../fixtures/servers.ts'

/** TLS with real PostgreSQL servers: `postgres-socket.test.ts` asks a server of its own making, these ask PostgreSQL. */

const PASSWORD = 'canary-p4ss'

/** Who may come in how. The first line is for the observer, who is no client of ours. */
const HBA = `
host      all postgres  127.0.0.1/32 trust
hostssl   all ann       127.0.0.1/32 scram-sha-256
hostssl   all certified 127.0.0.1/32 cert
hostssl   all twofold   127.0.0.1/32 scram-sha-256 clientcert=verify-full
hostnossl all all       127.0.0.1/32 reject
`

interface TlsRow extends Record<string, unknown> {
  ssl: boolean
  version: string | null
  client: string | null
}

const MINE = sql`select ssl, version, client_dn as client from pg_stat_ssl where pid = pg_backend_pid()`

const hasOpenssl = spawnSync('openssl', ['version']).status === 0
const why = hasOpenssl ? '' : ' (skipped: openssl is not installed)'

describe.skipIf(!hasOpenssl)(`TLS with a real server${why}`, { timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'postgres-tls-'))
  const file = (name: string) => join(folder, name)
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

  function makeAuthority(name: string): void {
    const made = ['-keyout', `${name}.key`, '-out', `${name}.pem`, '-days', '2']
    openssl('req', '-x509', ...newKey, '-subj', `/CN=${name}`, ...made)
  }

  function makeCertificate(name: string, names: string): void {
    openssl('req', ...newKey, '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`)
    writeFileSync(file(`${name}.ext`), `subjectAltName=${names}\n`)
    const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2']
    openssl('x509', '-req', '-in', `${name}.csr`, ...by, '-extfile', `${name}.ext`, '-out', `${name}.pem`)
  }

  beforeAll(() => {
    makeAuthority('ca')
    makeAuthority('otherca')
    makeCertificate('server', 'DNS:localhost')
    makeCertificate('certified', 'DNS:certified')
    makeCertificate('twofold', 'DNS:twofold')
    // The server reads its key only when nobody else can; it may be another user than we are.
    const { uid, gid } = unprivilegedOwner() ?? {}
    for (const name of ['.', ...readdirSync(folder)]) {
      if (name.endsWith('.key')) chmodSync(file(name), 0o600)
      if (uid !== undefined && gid !== undefined) chownSync(file(name), uid, gid)
    }
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  describe.each([
    ['debian', 'postgresql'],
    ['embedded', 'postgresql'],
    ['embedded', 'postgresql+pg'],
  ] as const)('of %s, by %s:', (prefer, scheme) => {
    describeNeeding('private postgresql', 'PostgreSQL', () => {
      let server: PgServer
      let observer: postgres.Sql
      let managers: SessionManager[] = []

      beforeAll(async () => {
        server = await openPgServer({ prefer })
        observer = postgres(server.dburi, { max: 1, onnotice: () => {} })
        const settings = {
          ssl: 'on',
          ssl_cert_file: file('server.pem'),
          ssl_key_file: file('server.key'),
          ssl_ca_file: file('ca.pem'),
        }
        for (const [name, value] of Object.entries(settings))
          await observer.unsafe(`alter system set ${name} = '${value}'`)
        for (const user of ['ann', 'certified', 'twofold'])
          await observer.unsafe(`create role ${user} login password '${PASSWORD}'`)
        writeFileSync(join(server.data, 'pg_hba.conf'), HBA)
        await observer`select pg_reload_conf()`
        while ((await observer`show ssl`)[0]?.['ssl'] !== 'on') await new Promise(setImmediate)
      }, 60_000)
      afterAll(async () => {
        await observer.end()
        await server.close()
      })
      afterEach(async () => {
        for (const manager of managers) await manager.dispose({ grace: 0 })
        managers = []
      })

      interface Place {
        user?: string
        password?: string
        host?: string
        port?: number
      }

      function dburi(options: Record<string, string>, place: Place = {}): `postgresql://${string}` {
        const { user = 'ann', password = PASSWORD, host = 'localhost', port = server.port } = place
        const rest = `${user}:${password}@${host}:${port}/postgres?${new URLSearchParams(options)}`
        // The handle of pg is another type, but has all that is used here.
        return `${scheme}://${rest}` as `postgresql://${string}`
      }

      async function open(options: Record<string, string>, place?: Place) {
        const manager = new SessionManager()
        managers.push(manager)
        return manager.getEngine(dburi(options, place))
      }

      /** What the server knows of the TLS of a connection that is opened like this. */
      async function tls(options: Record<string, string>, place?: Place): Promise<TlsRow | undefined> {
        const { db } = await open(options, place)
        return (await db.execute<TlsRow>(MINE))[0]
      }

      /** Why none is opened. It shows no password. */
      async function refusal(options: Record<string, string>, place?: Place): Promise<ConnectError> {
        const error: unknown = await tls(options, place).then(
          (row) => new Error(`It connected: ${inspect(row)}`),
          (reason: unknown) => reason,
        )
        expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(PASSWORD)
        const refused = causes(error).find((cause) => cause instanceof ConnectError)
        if (refused instanceof ConnectError) return refused
        throw error
      }

      const ca = () => ({ sslrootcert: file('ca.pem') })
      const otherCa = () => ({ sslrootcert: file('otherca.pem') })
      const client = (name: string) => ({ sslcert: file(`${name}.pem`), sslkey: file(`${name}.key`) })

      const knowsDirect = () => /PostgreSQL\) (?:1[7-9]|[2-9]\d)/.test(server.version)

      it.each(['allow', 'prefer', 'require'])(
        'is spoken with sslmode=%s, whoever signed',
        async (sslmode) => {
          expect(await tls({ sslmode })).toEqual({ ssl: true, version: 'TLSv1.3', client: null })
        },
      )

      it.each(['require', 'verify-ca', 'verify-full'])(
        'is spoken with sslmode=%s and its CA',
        async (sslmode) => {
          expect(await tls({ sslmode, ...ca() })).toMatchObject({ ssl: true })
        },
      )

      it.each(['require', 'verify-ca', 'verify-full'])(
        'is refused with sslmode=%s and another CA',
        async (sslmode) => {
          const error = await refusal({ sslmode, ...otherCa() })

          expect(error).toMatchObject({ code: 'TLS_FAILED', host: 'localhost', port: server.port })
        },
      )

      it.each(['verify-ca', 'verify-full'])('is refused with sslmode=%s and no CA named', async (sslmode) => {
        expect((await refusal({ sslmode })).message).toContain('sslrootcert')
      })

      it('is refused by verify-full alone for a name that is not in the certificate', async () => {
        const place = { host: '127.0.0.1' }

        expect(await tls({ sslmode: 'verify-ca', ...ca() }, place)).toMatchObject({ ssl: true })
        expect(await refusal({ sslmode: 'verify-full', ...ca() }, place)).toMatchObject({
          code: 'TLS_FAILED',
        })
      })

      it('is what a server may insist on: sslmode=disable is told so', async () => {
        const error = await refusal({ sslmode: 'disable' })

        expect(error.code).toBe('CONNECT_FAILED')
        expect(error.message).toContain('28000')
      })

      it('has the version that is asked for', async () => {
        expect(await tls({ sslmode: 'require', ssl_max_protocol_version: 'TLSv1.2' })).toMatchObject({
          version: 'TLSv1.2',
        })
        expect(await tls({ sslmode: 'require', ssl_min_protocol_version: 'TLSv1.3' })).toMatchObject({
          version: 'TLSv1.3',
        })
      })

      it('lets a password in by SCRAM, and no wrong one', async () => {
        const wrong = await refusal({ sslmode: 'require' }, { password: `${PASSWORD}-wrong` })

        expect(wrong.message).toContain('28P01')
        expect(await tls({ sslmode: 'require', channel_binding: 'prefer' })).toMatchObject({ ssl: true })
      })

      it('shows a client certificate, which must bear the name of the user', async () => {
        const options = { sslmode: 'verify-full', ...ca() }
        const certified = { user: 'certified', password: '' }

        expect(await tls({ ...options, ...client('certified') }, certified)).toMatchObject({
          ssl: true,
          client: '/CN=certified',
        })
        expect((await refusal({ ...options, ...client('twofold') }, certified)).message).toContain('28000')
        expect((await refusal(options, certified)).message).toContain('28000')
      })

      it('asks for a certificate and a password where the server wants both', async () => {
        const options = { sslmode: 'verify-full', ...ca() }

        expect(await tls({ ...options, ...client('twofold') }, { user: 'twofold' })).toMatchObject({
          client: '/CN=twofold',
        })
        expect(await refusal(options, { user: 'twofold' })).toMatchObject({ code: 'CONNECT_FAILED' })
        expect(
          (await refusal({ ...options, ...client('twofold') }, { user: 'twofold', password: 'wrong' }))
            .message,
        ).toContain('28P01')
      })

      it('is begun at once with sslnegotiation=direct, where the server knows of it', async () => {
        await using proxy = await FaultProxy.before(`tcp://localhost:${server.port}`)
        const options = { sslmode: 'verify-full', sslnegotiation: 'direct', ...ca() }

        if (knowsDirect()) {
          expect(await tls(options, { port: proxy.port })).toMatchObject({ ssl: true })
        } else {
          expect(await refusal(options, { port: proxy.port })).toMatchObject({ code: 'TLS_FAILED' })
        }
        // A handshake record of TLS.
        expect(proxy.received.map((bytes) => bytes[0])).toEqual([0x16])
      })

      it('is on every connection: of single statements, of sessions and short-lived ones', async () => {
        const options = { sslmode: 'verify-full', application_name: 'every', ...ca() }
        const engine = await open(options)
        const held = await Promise.all(Array.from({ length: 4 }, () => engine.connect()))
        await Promise.all(held.map(({ db }) => db.execute(sql`select 1`)))
        await Promise.all(Array.from({ length: 20 }, () => engine.db.execute(sql`select 1`)))

        const rows = await observer`
          select ssl, count(*)::int from pg_stat_ssl join pg_stat_activity using (pid)
          where application_name = 'every' group by ssl`
        await Promise.all(held.map((each) => each.close()))

        expect(rows).toHaveLength(1)
        expect(rows[0]).toMatchObject({ ssl: true })
        expect(rows[0]?.['count']).toBeGreaterThan(4)
      })

      it.for(['postgres', 'direct'])(
        'carries requests to cancel, too: sslnegotiation=%s',
        { tags: 'full' },
        async (how, { skip }) => {
          skip(how === 'direct' && !knowsDirect(), 'the server is older than PostgreSQL 17')
          await using proxy = await FaultProxy.before(`tcp://localhost:${server.port}`)
          const application_name = `cancel-${how}`
          const options = { sslmode: 'verify-full', sslnegotiation: how, application_name, ...ca() }
          const engine = await open(options, { port: proxy.port })
          await engine.ping({ timeout: 20 })

          const error: unknown = await engine
            .with({ statementTimeout: 1 })
            .db.execute(sql`select pg_sleep(60)`)
            .then(null, (reason) => reason)
          expect(causes(error).some((cause) => cause instanceof StatementTimeoutError)).toBe(true)
          await asleepNoMore(application_name)

          const first = how === 'direct' ? '16' : '0000000804d2162f'
          expect(proxy.received.length).toBeGreaterThan(1)
          for (const bytes of proxy.received) expect(bytes.toString('hex').startsWith(first)).toBe(true)
          expect(await engine.db.execute(sql`select 1 as one`)).toMatchObject([{ one: 1 }])
        },
      )

      /** Waits until no backend of this application sleeps. */
      async function asleepNoMore(application: string): Promise<void> {
        for (;;) {
          const rows = await observer`
            select from pg_stat_activity
            where application_name = ${application} and state = 'active' and query like '%pg_sleep%'`
          if (rows.length === 0) return
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
      }

      it('carries large values both ways, many at once', async () => {
        const { db } = await open({ sslmode: 'verify-full', ...ca() })
        const text = 'äöü'.repeat(300_000)

        const results = await Promise.all(
          Array.from({ length: 8 }, () => db.execute<{ back: string }>(sql`select ${text}::text as back`)),
        )

        expect(results.every(([row]) => row?.back === text)).toBe(true)
      })

      it('that breaks within a transaction is a lost connection, and nothing escapes', async () => {
        await observer`create table if not exists notes (note text)`
        await observer`grant all on notes to ann`
        await using proxy = await FaultProxy.before(`tcp://localhost:${server.port}`)
        const engine = await open({ sslmode: 'verify-full', ...ca() }, { port: proxy.port })
        for (const how of ['fin', 'rst'] as const) {
          const failed: unknown = await engine.db
            .transaction(async (tx) => {
              await tx.execute(sql`insert into notes values ('undone')`)
              proxy.kill(how)
              await tx.execute(sql`insert into notes values ('never')`)
            })
            .then(null, (reason: unknown) => reason)
          expect(causes(failed).some((cause) => cause instanceof ConnectionLostError)).toBe(true)
        }
        await engine.db.execute(sql`insert into notes values ('after')`)

        expect([...(await observer`select note from notes`)]).toEqual([{ note: 'after' }])
      })
    })
  })
})
