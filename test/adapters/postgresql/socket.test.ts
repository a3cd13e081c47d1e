import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSecureContext, TLSSocket } from 'node:tls'
import { inspect } from 'node:util'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { postgresOptions } from '../../../src/adapters/postgresql/options.ts'
import {
  type ConnectSocketOptions,
  cancelRequest,
  connectSocket,
} from '../../../src/adapters/postgresql/socket.ts'
import { encryptionAttempts, type LoadedTls, loadTls } from '../../../src/adapters/postgresql/tls.ts'
import type { Dburi } from '../../../src/dburi/types.ts'
import { addressOf } from '../../../src/driver/socket.ts'
import { AbortedError, ConnectError, type ServerTarget } from '../../../src/errors.ts'
import { askPostgres } from '../../fixtures/catalogue.ts'
import { atMost } from '../../fixtures/loops.ts'
import { describeNeeding } from '../../fixtures/servers.ts'

const plain: ConnectSocketOptions = {
  encryption: 'plain',
  tls: null,
  // Beyond what answers may take: no test of answers is to meet it.
  connectTimeout: 20_000,
  keepAlive: 60_000,
}
const sslRequest = '0000000804d2162f'

const servers = new Set<Server>()
const sockets = new Set<Socket>()

/** A server that does as it is told with each connection; answers its port. */
function listen(onConnection: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    onConnection(socket)
  })
  servers.add(server)
  return new Promise((resolve) => {
    server.listen(0, () => {
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : 0)
    })
  })
}

function targetOf(port: number, host = '127.0.0.1'): ServerTarget {
  return { host, port }
}

function dburiOf(options: Dburi['options'], host = 'localhost'): Dburi {
  const names = { dialect: 'postgresql', driver: 'postgres-js', dbapi: null } as const
  return { ...names, host, port: null, user: 'ann', password: 'canary', database: 'x', options }
}

/** Connects as a dburi with these options says, one attempt after the other. */
async function connectAs(options: Dburi['options'], port: number, host = '127.0.0.1'): Promise<Socket> {
  const plan = postgresOptions(dburiOf(options, host), {})
  const [encryption = 'plain'] = encryptionAttempts({ host, port }, plan.tls)
  const tls = encryption === 'plain' ? null : await loadTls(plan.tls)
  return connectSocket({ host, port }, { encryption, tls, connectTimeout: 20_000, keepAlive: null })
}

async function errorOf(connecting: Promise<Socket>): Promise<ConnectError> {
  const error = await connecting.then(
    (socket) => socket.destroy(new Error('it connected')),
    (reason: unknown) => reason,
  )
  if (error instanceof ConnectError) return error
  throw error
}

const unverified: LoadedTls = {
  context: createSecureContext(),
  verify: 'nothing',
  sni: true,
  negotiation: 'postgres',
}
const required: ConnectSocketOptions = { ...plain, encryption: 'required', tls: unverified }

afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  sockets.clear()
  await Promise.all([...servers].map((server) => new Promise((resolve) => server.close(resolve))))
  servers.clear()
})

describe('a server that misbehaves', () => {
  const silent = () => {}
  const fin = (socket: Socket) => socket.end()
  const rst = (socket: Socket) => socket.resetAndDestroy()
  const onRequest = (answer: (socket: Socket) => void) => (socket: Socket) =>
    socket.once('data', () => answer(socket))

  it.each<[string, (socket: Socket) => void, string]>([
    ['accepts, then FIN', fin, 'CONNECT_FAILED'],
    ['accepts, then RST', rst, 'CONNECT_FAILED'],
    ['reads the request for TLS, then FIN', onRequest(fin), 'CONNECT_FAILED'],
    ['reads the request for TLS, then RST', onRequest(rst), 'CONNECT_FAILED'],
    ['says N', onRequest((socket) => socket.write('N')), 'TLS_REFUSED'],
    ['says E', onRequest((socket) => socket.write('E')), 'CONNECT_FAILED'],
    [
      'sends an error message',
      onRequest((socket) => socket.write('E\0\0\0\u0008canary\0')),
      'CONNECT_FAILED',
    ],
    ['speaks HTTP', onRequest((socket) => socket.write('HTTP/1.1 400 Bad Request\r\n')), 'CONNECT_FAILED'],
    ['says S and more', onRequest((socket) => socket.write('SR\0\0\0\u0008')), 'CONNECT_FAILED'],
    ['says N and more', onRequest((socket) => socket.write('NR')), 'CONNECT_FAILED'],
    ['says S, then FIN', onRequest((socket) => socket.end('S')), 'TLS_FAILED'],
    [
      'says S, then RST',
      onRequest((socket) => socket.write('S', () => socket.resetAndDestroy())),
      'TLS_FAILED',
    ],
    [
      'says S, then text that is not TLS',
      onRequest((socket) => {
        socket.write('S')
        // Behind the client's hello, or it may come along with the S.
        socket.once('data', () => socket.write('R\0\0\0\u0008\0\0\0\0'))
      }),
      'TLS_FAILED',
    ],
  ])('%s: fails at once', async (_, onConnection, code) => {
    const port = await listen(onConnection)
    const started = performance.now()
    const error = await errorOf(connectSocket(targetOf(port), required))

    expect(error).toMatchObject({ code, host: '127.0.0.1', port, socket: null, name: 'ConnectError' })
    expect(error.message).toContain(`127.0.0.1:${port}`)
    expect(inspect(error)).not.toContain('canary')
    expect(performance.now() - started).toBeLessThan(atMost(1_000))
  })

  it.each<[string, (socket: Socket) => void]>([
    ['accepts, then is silent', silent],
    ['says S, then is silent', onRequest((socket) => socket.write('S'))],
  ])('%s: fails when the time is over', async (_, onConnection) => {
    const port = await listen(onConnection)
    const started = performance.now()
    const error = await errorOf(connectSocket(targetOf(port), { ...required, connectTimeout: 300 }))
    const took = performance.now() - started

    expect(error.code).toBe('CONNECT_TIMEOUT')
    expect(error.message).toContain(`127.0.0.1:${port}`)
    expect(took).toBeGreaterThan(290)
    expect(took).toBeLessThan(atMost(500))
  })

  it('does not keep the others waiting', async () => {
    const hanging = await listen(silent)
    const good = await listen(onRequest((socket) => socket.write('N')))
    let isOver = false
    const slow = errorOf(connectSocket(targetOf(hanging), required))
    void slow.then(() => (isOver = true))
    const four = Array.from({ length: 4 }, () =>
      connectSocket(targetOf(good), { ...required, encryption: 'if-offered' }),
    )

    for (const socket of await Promise.all(four)) socket.destroy()
    expect(isOver).toBe(false)
    for (const socket of sockets) socket.destroy()
    expect((await slow).code).toBe('CONNECT_FAILED')
  })

  it('that refuses is named with its cause', async () => {
    const port = await listen(silent)
    for (const server of servers) await new Promise((resolve) => server.close(resolve))
    const error = await errorOf(connectSocket(targetOf(port), plain))
    const both = await errorOf(connectSocket(targetOf(port, 'localhost'), plain))

    expect(error).toMatchObject({ code: 'CONNECT_FAILED', cause: { code: 'ECONNREFUSED' } })
    expect(both).toMatchObject({ code: 'CONNECT_FAILED', cause: { code: 'ECONNREFUSED' } })
    expect(both.message).toMatch(new RegExp(`localhost:${port}.*ECONNREFUSED`))
  })

  it('whose name nobody knows is named', async () => {
    const error = await errorOf(
      connectSocket(targetOf(5432, 'nonexistent.invalid'), { ...plain, connectTimeout: 20_000 }),
    )

    expect(error.code).toBe('CONNECT_FAILED')
    expect(error.message).toContain('nonexistent.invalid:5432')
    expect(error.cause).toMatchObject({ syscall: 'getaddrinfo' })
  })

  it('is named by its path when it is a socket', async () => {
    const error = await errorOf(connectSocket({ path: '/nonexistent/.s.PGSQL.5432' }, plain))

    expect(error).toMatchObject({
      code: 'CONNECT_FAILED',
      host: null,
      port: null,
      socket: '/nonexistent/.s.PGSQL.5432',
    })
    expect(error.message).toContain('/nonexistent/.s.PGSQL.5432')
  })

  it('leaves no socket open behind a failure', async () => {
    let accept: (socket: Socket) => void = silent
    const accepting = new Promise<Socket>((resolve) => {
      accept = resolve
    })
    const port = await listen((socket) => accept(socket))
    await errorOf(connectSocket(targetOf(port), { ...required, connectTimeout: 100 }))
    // The time may be over before this process has accepted what it connected.
    const accepted = await accepting

    await new Promise((resolve) =>
      accepted.destroyed ? resolve(null) : accepted.resume().once('close', resolve),
    )
    expect(accepted.destroyed).toBe(true)
  })
})

describe('an AbortSignal', () => {
  it('that has fired opens nothing', async () => {
    let connections = 0
    const port = await listen(() => connections++)
    const connecting = connectSocket(targetOf(port), { ...plain, signal: AbortSignal.abort('enough') })

    await expect(connecting).rejects.toMatchObject({ name: 'AbortedError', code: 'ABORTED', cause: 'enough' })
    expect(connections).toBe(0)
  })

  it('destroys the socket whenever it fires, and is forgotten otherwise', async () => {
    const port = await listen((socket) => socket.resume())
    const controller = new AbortController()
    const added: string[] = []
    const { addEventListener, removeEventListener } = controller.signal
    controller.signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      added.push('added')
      addEventListener.apply(controller.signal, args)
    }
    controller.signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      added.pop()
      removeEventListener.apply(controller.signal, args)
    }
    const options = { ...required, signal: controller.signal }

    const good = await connectSocket(targetOf(port), { ...options, encryption: 'plain' })
    expect(added).toEqual([])
    const connecting = connectSocket(targetOf(port), options)
    setTimeout(() => controller.abort(new Error('enough')), 50)
    await expect(connecting).rejects.toBeInstanceOf(AbortedError)
    expect(added).toEqual([])
    expect(good.destroyed).toBe(false)

    good.destroy()
  })
})

describe('the socket that is handed over', () => {
  const listeners = (socket: Socket) => {
    const fresh = connect({ host: '127.0.0.1', port: 1 }).on('error', () => {})
    const own = new Map(fresh.eventNames().map((event) => [event, fresh.listenerCount(event)]))
    own.set('error', 0)
    fresh.destroy()
    return socket
      .eventNames()
      .filter((event) => socket.listenerCount(event) > (own.get(event) ?? 0))
      .map(String)
  }

  it.each<[string, ConnectSocketOptions, (socket: Socket, connected: Promise<unknown>) => void]>([
    ['plain', plain, (socket) => socket.write('hello')],
    [
      'after N',
      { ...required, encryption: 'if-offered' },
      (socket, connected) => {
        socket.once('data', () => {
          socket.write('N')
          // Not sooner: what comes along with the N is refused.
          void connected.then(() => socket.write('hello'))
        })
      },
    ],
  ])('%s: bears no listener, is open, and has every byte', async (_, options, onConnection) => {
    let isConnected: (value?: unknown) => void = () => {}
    const connected = new Promise((resolve) => {
      isConnected = resolve
    })
    const port = await listen((socket) => onConnection(socket, connected))
    const socket = await connectSocket(targetOf(port), options)
    isConnected()

    expect(listeners(socket)).toEqual([])
    expect(socket.readyState).toBe('open')
    await new Promise((resolve) => setTimeout(resolve, 50))
    const bytes = await new Promise((resolve) => socket.once('data', resolve))
    expect(String(bytes)).toBe('hello')

    socket.destroy()
  })

  it('leaves no timer behind', async () => {
    const port = await listen(() => {})
    const before = countTimers()
    const opened = await Promise.all(Array.from({ length: 20 }, () => connectSocket(targetOf(port), plain)))

    expect(countTimers()).toBeLessThan(before + 10)
    for (const socket of opened) socket.destroy()
  })
})

function countTimers(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length
}

describe('cancelRequest', () => {
  it('sends sixteen bytes and waits for the server to hang up', async () => {
    const received: Buffer[] = []
    const port = await listen((socket) =>
      socket.on('data', (bytes) => {
        received.push(bytes)
        setTimeout(() => socket.end(), 50)
      }),
    )
    const started = performance.now()
    await cancelRequest(() => connectSocket(targetOf(port), plain), { pid: 258, secret: 0xfffffffe })

    expect(performance.now() - started).toBeGreaterThan(45)
    // It waits no longer than a second, in which this process may not have come to read.
    await expect.poll(() => Buffer.concat(received).toString('hex')).toBe('0000001004d2162e00000102fffffffe')
  })

  it('gives up after a second, and never rejects', { tags: 'full' }, async () => {
    const silent = await listen((socket) => socket.resume())
    const resetting = await listen((socket) => socket.resetAndDestroy())
    const backend = { pid: 1, secret: 2 }
    const started = performance.now()

    await cancelRequest(() => connectSocket(targetOf(silent), plain), backend)
    expect(performance.now() - started).toBeGreaterThan(900)
    expect(performance.now() - started).toBeLessThan(atMost(1_500))
    await cancelRequest(() => connectSocket(targetOf(resetting), plain), backend)
    await cancelRequest(() => Promise.reject(new Error('no way')), backend)
  })
})

describe('addressOf', () => {
  it.each<[ServerTarget, string]>([
    [{ host: 'a', port: 1 }, 'a:1'],
    [{ host: '::1', port: 1 }, '[::1]:1'],
    [{ path: '/run/pg/.s.PGSQL.5432' }, '/run/pg/.s.PGSQL.5432'],
  ])('%j is %s', (endpoint, address) => {
    expect(addressOf(endpoint)).toBe(address)
  })
})

const hasOpenssl = spawnSync('openssl', ['version']).status === 0

describe.skipIf(!hasOpenssl)(`TLS${hasOpenssl ? '' : ' (skipped: openssl is not installed)'}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'postgres-socket-'))
  const file = (name: string) => join(folder, name)
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })

  function makeAuthority(name: string): void {
    const names = ['-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.pem`]
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', ...names)
  }

  function makeCertificate(name: string, authority: string, altNames: string, days = '2'): void {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`]
    openssl('req', ...key, '-subj', `/CN=${name}`, '-out', `${name}.csr`)
    writeFileSync(file(`${name}.ext`), `subjectAltName=${altNames}\n`)
    const signer = ['-CA', `${authority}.pem`, '-CAkey', `${authority}.key`, '-CAcreateserial']
    const request = ['-req', '-in', `${name}.csr`, '-extfile', `${name}.ext`, '-days', days]
    openssl('x509', ...request, ...signer, '-out', `${name}.pem`)
  }

  beforeAll(() => {
    makeAuthority('ca')
    makeAuthority('otherca')
    makeCertificate('right', 'ca', 'DNS:localhost,IP:127.0.0.1')
    makeCertificate('dnsonly', 'ca', 'DNS:localhost')
    makeCertificate('iponly', 'ca', 'IP:127.0.0.1')
    makeCertificate('wrongname', 'ca', 'DNS:elsewhere.example')
    makeCertificate('wrongca', 'otherca', 'DNS:localhost,IP:127.0.0.1')
    makeCertificate('expired', 'ca', 'DNS:localhost,IP:127.0.0.1', '-1')
    makeCertificate('client', 'ca', 'DNS:client')
    openssl(
      'pkcs8',
      '-topk8',
      '-in',
      'client.key',
      '-out',
      'client-locked.key',
      '-passout',
      'pass:canary-key',
    )
  })

  afterAll(() => rmSync(folder, { recursive: true }))

  interface Seen {
    /** What came before TLS, in hexadecimal. */
    clear: string
    servername: string | false | null
    protocol: string | null
    clientName: string | null
  }

  /** A server with this certificate; `none` has no TLS. It greets with `hello` once TLS is up. */
  async function serve(
    name: string,
    extra: { direct?: true; alpn?: string[] } = {},
  ): Promise<{ port: number; seen: Seen }> {
    const seen: Seen = { clear: '', servername: null, protocol: null, clientName: null }
    const port = await listen((socket) => {
      if (extra.direct) return secure(socket)
      socket.on('data', (bytes) => {
        seen.clear += bytes.toString('hex')
      })
      socket.once('data', () => {
        socket.removeAllListeners('data')
        if (name === 'none') {
          socket.on('data', (bytes) => {
            seen.clear += bytes.toString('hex')
          })
          socket.write('N')
          return
        }
        socket.write('S')
        secure(socket)
      })
    })
    return { port, seen }

    function secure(socket: Socket): void {
      const secured = new TLSSocket(socket, {
        isServer: true,
        cert: readFileSync(file(`${name}.pem`)),
        key: readFileSync(file(`${name}.key`)),
        ca: readFileSync(file('ca.pem')),
        requestCert: true,
        rejectUnauthorized: false,
        ...(extra.alpn && { ALPNProtocols: extra.alpn }),
        SNICallback: (servername, done) => {
          seen.servername = servername
          done(null)
        },
      })
      secured.on('error', () => {})
      secured.on('secure', () => {
        seen.protocol = secured.getProtocol()
        const subject: unknown = secured.getPeerCertificate().subject?.CN
        seen.clientName = typeof subject === 'string' ? subject : null
        secured.write('hello')
      })
    }
  }

  const certificates = ['right', 'dnsonly', 'iponly', 'wrongname', 'wrongca', 'expired', 'none'] as const
  const modes: Record<string, Dburi['options']> = {
    'no sslmode': {},
    disable: { sslmode: 'disable' },
    'allow, first attempt': { sslmode: 'allow' },
    prefer: { sslmode: 'prefer' },
    require: { sslmode: 'require' },
    'require with a CA': { sslmode: 'require', sslrootcert: 'ca.pem' },
    'verify-ca': { sslmode: 'verify-ca', sslrootcert: 'ca.pem' },
    'verify-full': { sslmode: 'verify-full', sslrootcert: 'ca.pem' },
    'verify-full, public CAs': { sslrootcert: 'system' },
    'channel_binding=require': { sslmode: 'require', channel_binding: 'require', sslrootcert: 'ca.pem' },
  }
  /** What each mode makes of each certificate: `tls`, `plain`, or why it fails. The same for a name and an address … */
  const table: Record<string, readonly string[]> = {
    //                          right  dnsonly iponly wrongname wrongca expired none
    'no sslmode': ['plain', 'plain', 'plain', 'plain', 'plain', 'plain', 'plain'],
    disable: ['plain', 'plain', 'plain', 'plain', 'plain', 'plain', 'plain'],
    'allow, first attempt': ['plain', 'plain', 'plain', 'plain', 'plain', 'plain', 'plain'],
    prefer: ['tls', 'tls', 'tls', 'tls', 'tls', 'tls', 'plain'],
    require: ['tls', 'tls', 'tls', 'tls', 'tls', 'tls', 'refused'],
    'require with a CA': ['tls', 'tls', 'tls', 'tls', 'ca', 'expired', 'refused'],
    'verify-ca': ['tls', 'tls', 'tls', 'tls', 'ca', 'expired', 'refused'],
    'verify-full': ['tls', 'name', 'name', 'name', 'ca', 'expired', 'refused'],
    'verify-full, public CAs': ['ca', 'ca', 'ca', 'ca', 'ca', 'expired', 'refused'],
    'channel_binding=require': ['tls', 'name', 'name', 'name', 'ca', 'expired', 'refused'],
  }
  /** … apart from the certificate that is for the other of the two. */
  const fitting: Record<string, string> = { localhost: 'dnsonly', '127.0.0.1': 'iponly' }

  const rows = Object.keys(modes).flatMap((mode) =>
    ['localhost', '127.0.0.1'].flatMap((host) =>
      certificates.map((certificate, column): [string, string, string, string] => {
        const expected = table[mode]?.[column] ?? ''
        return [
          mode,
          host,
          certificate,
          expected === 'name' && fitting[host] === certificate ? 'tls' : expected,
        ]
      }),
    ),
  )

  it.each(rows)('%s at %s with the certificate %s: %s', async (mode, host, certificate, expected) => {
    const { port, seen } = await serve(certificate)
    const options = { ...modes[mode] }
    if (options['sslrootcert'] === 'ca.pem') options['sslrootcert'] = file('ca.pem')
    const outcome = await outcomeOf(connectAs(options, port, host))

    expect(outcome).toBe(expected)
    // Nothing but the request for TLS goes over the wire unencrypted, from require up.
    if (expected !== 'plain') expect(seen.clear).toBe(sslRequest)
  })

  const reasons: Record<string, string> = {
    ERR_TLS_CERT_ALTNAME_INVALID: 'name',
    UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'ca',
    SELF_SIGNED_CERT_IN_CHAIN: 'ca',
    CERT_HAS_EXPIRED: 'expired',
  }

  async function outcomeOf(connecting: Promise<Socket>): Promise<string> {
    try {
      const socket = await connecting
      socket.destroy()
      return socket instanceof TLSSocket ? 'tls' : 'plain'
    } catch (error) {
      if (!(error instanceof ConnectError)) throw error
      if (error.code === 'TLS_REFUSED') return 'refused'
      const { cause } = error
      const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
      return `${error.code === 'TLS_FAILED' ? '' : `${error.code} `}${reasons[code] ?? code}`
    }
  }

  it('says what to do when the CA is unknown', async () => {
    const { port } = await serve('right')
    const error = await errorOf(connectAs({ sslmode: 'verify-full' }, port))

    expect(error.message).toContain('sslrootcert')
  })

  it('hands over a socket without listeners of ours, with every byte', async () => {
    const { port } = await serve('right')
    const socket = await connectAs({ sslmode: 'require' }, port)

    const events = ['error', 'data', 'readable', 'secureConnect', 'connect']
    const heard = events.filter((event) => socket.listenerCount(event) > 0)
    socket.on('error', () => {})

    expect(heard).toEqual([])
    expect(socket.readyState).toBe('open')
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(String(await new Promise((resolve) => socket.once('data', resolve)))).toBe('hello')

    socket.destroy()
  })

  it('closes the connection with the socket', async () => {
    const { port } = await serve('right')
    const socket = await connectAs({ sslmode: 'require' }, port)
    const [accepted] = sockets
    const closed = new Promise((resolve) => accepted?.once('close', resolve))

    socket.destroy()
    await closed
  })

  it.each<[string, Dburi['options'], string, string | null]>([
    ['a name', {}, 'localhost', 'localhost'],
    ['an address', {}, '127.0.0.1', null],
    ['sslsni=0', { sslsni: '0' }, 'localhost', null],
  ])('names the server to itself (SNI): %s', async (_, options, host, servername) => {
    const { port, seen } = await serve('right')
    const socket = await connectAs({ sslmode: 'require', ...options }, port, host)
    socket.destroy()

    expect(seen.servername).toBe(servername)
  })

  it('keeps to the protocol versions asked for', async () => {
    const { port, seen } = await serve('right')
    const socket = await connectAs({ sslmode: 'require', ssl_max_protocol_version: 'TLSv1.2' }, port)
    await new Promise((resolve) => socket.once('data', resolve))
    socket.destroy()

    expect(seen.protocol).toBe('TLSv1.2')
  })

  it.each([
    ['a key', 'client.key', {}],
    ['a locked key', 'client-locked.key', { sslpassword: 'canary-key' }],
  ])('shows the client certificate, with %s', async (_, key, more) => {
    const { port, seen } = await serve('right')
    const options = { sslmode: 'require', sslcert: file('client.pem'), sslkey: file(key), ...more }
    const socket = await connectAs(options, port)
    await new Promise((resolve) => socket.once('data', resolve))
    socket.destroy()

    expect(seen.clientName).toBe('client')
  })

  it('speaks direct TLS to a server that says it is PostgreSQL, and to no other', async () => {
    const options = { sslmode: 'require', sslnegotiation: 'direct' }
    const good = await serve('right', { direct: true, alpn: ['postgresql'] })
    const mute = await serve('right', { direct: true })

    expect(await outcomeOf(connectAs(options, good.port))).toBe('tls')
    expect((await errorOf(connectAs(options, mute.port))).code).toBe('TLS_FAILED')
  })

  it.each<[string, () => Dburi['options'], string]>([
    ['no file', () => ({ sslrootcert: file('nothing.pem') }), 'sslrootcert'],
    ['no certificate', () => ({ sslrootcert: file('ca.key') }), 'sslrootcert'],
    ['no list of revoked certificates', () => ({ sslcrl: file('ca.pem') }), 'sslcrl'],
    [
      "another certificate's key",
      () => ({ sslcert: file('client.pem'), sslkey: file('right.key') }),
      'sslcert',
    ],
    ['a locked key', () => ({ sslcert: file('client.pem'), sslkey: file('client-locked.key') }), 'sslcert'],
    [
      'a wrong password',
      () => ({ sslcert: file('client.pem'), sslkey: file('client-locked.key'), sslpassword: 'canary' }),
      'sslcert',
    ],
  ])('says which option names %s', async (_, options, option) => {
    const plan = postgresOptions(dburiOf({ sslmode: 'require', ...options() }), {})
    const error: unknown = await loadTls(plan.tls).catch((reason: unknown) => reason)

    expect(error).toMatchObject({ code: 'INVALID_OPTION', option })
    expect(inspect(error, { showHidden: true, depth: 5 })).not.toContain('canary')
  })

  it('survives garbage that comes along with the end of the handshake', async () => {
    const { port: behind } = await serve('right', { direct: true })
    const port = await listen((socket) => {
      const upstream = connect(behind, '127.0.0.1').on('error', () => {})
      sockets.add(upstream)
      let flights = 0
      socket.once('data', () => {
        socket.on('data', (bytes) => {
          flights++
          upstream.write(bytes)
        })
        socket.write('S')
      })
      // After the client's second flight the server finishes the handshake of TLS 1.2.
      const garbage = Buffer.from('garbage')
      upstream.on('data', (bytes) => socket.write(flights < 2 ? bytes : Buffer.concat([bytes, garbage])))
    })
    const options = { sslmode: 'require', ssl_max_protocol_version: 'TLSv1.2' }

    for (let round = 0; round < 10; round++) {
      expect((await errorOf(connectAs(options, port))).code).toBe('TLS_FAILED')
    }
  })

  describeNeeding('postgresql', 'with a real server behind a terminator', () => {
    it('postgres.js runs on the socket it is given, and cannot get a second one', async () => {
      const { hostname, port: serverPort } = new URL(process.env['POSTGRES_URL'] ?? '')
      const port = await listen((socket) =>
        socket.once('data', () => {
          socket.write('S')
          const secured = new TLSSocket(socket, {
            isServer: true,
            cert: readFileSync(file('right.pem')),
            key: readFileSync(file('right.key')),
          })
          const upstream = connect(Number(serverPort || 5432), hostname)
          sockets.add(upstream)
          secured.on('error', () => {})
          upstream.on('error', () => {})
          secured.pipe(upstream).pipe(secured)
        }),
      )
      const options = { sslmode: 'verify-full', sslrootcert: file('ca.pem') }
      await runsOn(() => connectAs(options, port, 'localhost'))
    })
  })
})

/** Lets postgres.js work on one socket, then breaks it. */
async function runsOn(open: () => Promise<Socket>): Promise<void> {
  const url = new URL(process.env['POSTGRES_URL'] ?? '')
  let opened: Socket | null = null
  const socketOption = {
    socket: async () => {
      if (opened !== null) throw new Error('one socket is enough')
      opened = await open()
      return opened
    },
  }
  const sql = postgres({
    ...socketOption,
    host: 'unused',
    user: decodeURIComponent(url.username),
    pass: decodeURIComponent(url.password),
    database: url.pathname.slice(1),
    ssl: false,
    max: 1,
    fetch_types: false,
    backoff: () => 0,
  })

  const rows = await sql.unsafe("select repeat('x', 200000) as x, $1::text as y", ['z'])
  expect(rows[0]).toEqual({ x: 'x'.repeat(200_000), y: 'z' })
  const lost = sql.unsafe('select pg_sleep(10)').catch((error: unknown) => error)
  await new Promise((resolve) => setTimeout(resolve, 100))
  destroy(opened)
  expect(await lost).toMatchObject({ code: 'CONNECTION_CLOSED' })
  await expect(sql.unsafe('select 1').execute()).rejects.toThrow('one socket is enough')
  await sql.end({ timeout: 0 })
}

function destroy(socket: Socket | null): void {
  socket?.destroy()
}

describeNeeding('postgresql', 'with a real server', () => {
  const endpoint = () => {
    const { hostname, port } = new URL(process.env['POSTGRES_URL'] ?? '')
    return { host: hostname, port: Number(port || 5432) }
  }

  it('postgres.js runs on the socket it is given, and cannot get a second one', async () => {
    await runsOn(() => connectSocket(endpoint(), plain))
  })

  it('cancels a statement', async () => {
    const sql = postgres(process.env['POSTGRES_URL'] ?? '', { max: 1, fetch_types: false })
    const first = await sql.unsafe('select 1')
    const sleeping = sql.unsafe('select pg_sleep(60)').catch((error: unknown) => error)
    const state: unknown = Reflect.get(first, 'state')
    const { pid, secret } = state as { pid: number; secret: number } // postgres.js types it as a string
    // A server that does not run it yet has nothing to cancel.
    const asleep = `select from pg_stat_activity where pid = ${pid} and wait_event = 'PgSleep'`
    while ((await askPostgres(process.env['POSTGRES_URL'] ?? '', asleep)).length === 0);

    await cancelRequest(() => connectSocket(endpoint(), plain), { pid, secret })
    expect(await sleeping).toMatchObject({ code: '57014' })
    await sql.end()
  })

  it('the server takes the startup parameters as they were judged', async () => {
    const url = new URL(process.env['POSTGRES_URL'] ?? '')
    const options = {
      search_path: 'celery, public',
      statement_timeout: '77777',
      options: '-c lock_timeout=5s -c timezone=UTC',
      application_name: 'judged',
    }
    const { startup } = postgresOptions(dburiOf(options), {})
    const sql = postgres(url.href, { max: 1, fetch_types: false, connection: startup })
    const [row] = await sql.unsafe(
      "select current_setting('search_path') a, current_setting('statement_timeout') b, " +
        "current_setting('lock_timeout') c, current_setting('timezone') d, current_setting('application_name') e, " +
        'current_user f',
    )
    await sql.end()

    const user = decodeURIComponent(url.username)
    expect(row).toEqual({ a: 'celery, public', b: '77777ms', c: '5s', d: 'UTC', e: 'judged', f: user })
  })
})
