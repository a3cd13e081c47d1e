import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { sql } from 'drizzle-orm'
import { afterEach, describe, expect, it } from 'vitest'
import { ConnectError, ConnectionLostError, causes, DrizzleCeleryError } from '../../../src/errors.ts'
import { Session } from '../../../src/session/session.ts'
import { openLibsql } from '../../fixtures/libsql-engine.ts'

/** libSQL servers that answer what no honest one would: each statement is settled by a typed error, and the process lives. */

const TOKEN = 'canary-token'
const LIMIT = 1_048_576

/** Servers that are left after the request timeout have a short one, which is still enough for an answer. */
const hasty = (dburi: string) => dburi.replace('request_timeout=20', 'request_timeout=3')

const opened: AsyncDisposable[] = []
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each[Symbol.asyncDispose]()
})

/** How the server answers a statement in which it reads "attack". */
type Attack = (response: ServerResponse, request: IncomingMessage) => void

interface Hostile {
  readonly dburi: string
  readonly port: number
  /** Requests, and bytes of its answers that found their way into the socket. */
  readonly requests: { readonly url: string; readonly body: string }[]
  sent: number
  attack: Attack
  /** What is beside the results of an honest answer. */
  head: object
}

const ROW = [{ type: 'integer', value: '1' }]
const RESULT = { cols: [{ name: 'n' }], rows: [ROW], affected_row_count: 0, last_insert_rowid: null }
const ok = (result: unknown) => ({ type: 'ok', response: { type: 'execute', result } })
const CLOSED = { type: 'ok', response: { type: 'close' } }

async function startHostile(): Promise<Hostile> {
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      hostile.requests.push({ url: request.url ?? '', body })
      if (body.includes('attack')) hostile.attack(response, request)
      else send(response, { ...hostile.head, results: honest(body) })
    })
    response.on('error', () => {})
  })
  server.on('clientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const hostile: Hostile = {
    dburi: `libsql://127.0.0.1:${port}?tls=0&request_timeout=20&authToken=${TOKEN}`,
    port,
    requests: [],
    sent: 0,
    attack: () => {},
    head: { baton: null, base_url: null },
  }
  opened.push({
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  })
  return hostile
}

function honest(body: string): object[] {
  const { requests } = JSON.parse(body) as { requests: { type: string; batch?: { steps: object[] } }[] }
  return requests.map(({ type, batch }) => {
    if (type === 'execute') return ok(RESULT)
    const none = { step_results: batch?.steps.map(() => RESULT), step_errors: batch?.steps.map(() => null) }
    return { type: 'ok', response: { type, ...(type === 'batch' && { result: none }) } }
  })
}

function send(response: ServerResponse, body: unknown, status = 200): void {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  response.writeHead(status, { 'content-type': 'application/json' }).end(text)
}

/** Sends the same bytes for as long as they are taken. */
function endlessly(server: Hostile, status = 200, piece = Buffer.alloc(65_536, 0x20)): Attack {
  return (response) => {
    response.writeHead(status, { 'content-type': 'application/json' })
    const more = () => {
      while (!response.destroyed) {
        server.sent += piece.length
        if (!response.write(piece)) return response.once('drain', more)
      }
      return undefined
    }
    more()
  }
}

async function open(dburi: string) {
  const engine = await openLibsql(dburi, { maxResponseBytes: LIMIT })
  opened.push({ [Symbol.asyncDispose]: () => engine.dispose({ grace: 0 }) })
  return engine
}

type Opened = Awaited<ReturnType<typeof open>>

/** The typed error with which an attack ends. */
async function attacked({ db }: Pick<Opened, 'db'>): Promise<DrizzleCeleryError> {
  const failed: unknown = await db.all(sql`select attack`).then(
    (rows) => new Error(`It got an answer: ${inspect(rows)}`),
    (error: unknown) => error,
  )
  const typed = causes(failed).find((error) => error instanceof DrizzleCeleryError)
  if (typed === undefined) throw failed
  expect(inspect(failed, { depth: 10, showHidden: true })).not.toContain(TOKEN)
  return typed
}

async function expectEnd(engine: Opened, code: string): Promise<void> {
  const error = await attacked(engine)

  expect(error).toMatchObject({ code })
  expect(error.message).toMatch(/unknown|may or may not have taken effect/)
  // Its connection was thrown away, and a new one serves.
  expect(engine.stats()).toMatchObject({ open: 0 })
  expect(await engine.db.all(sql`select 1 as n`)).toEqual([{ n: 1 }])
}

it.each(['0', '-1', 'soon', '86401'])('request_timeout=%s is refused', async (value) => {
  const opening = openLibsql(`http://127.0.0.1:1?request_timeout=${value}`)

  await expect(opening).rejects.toMatchObject({ code: 'INVALID_OPTION', option: 'request_timeout' })
})

it('request_timeout is refused where there is no server', async () => {
  await expect(openLibsql('file:x.db?requestTimeout=1')).rejects.toMatchObject({ option: 'requestTimeout' })
})

describe('a hostile server over HTTP', () => {
  it('that never answers is left after the request timeout', { tags: 'full' }, async () => {
    const server = await startHostile()

    await expectEnd(await open(hasty(server.dburi)), 'STATEMENT_TIMEOUT')
  })

  it('that drips its answer is left after the request timeout', { tags: 'full' }, async () => {
    const server = await startHostile()
    server.attack = (response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      const drip = setInterval(() => response.write(' '), 20)
      response.on('close', () => clearInterval(drip))
    }

    await expectEnd(await open(hasty(server.dburi)), 'STATEMENT_TIMEOUT')
  })

  it('whose answer never ends is left at maxResponseBytes', async () => {
    const server = await startHostile()
    server.attack = endlessly(server)

    await expectEnd(await open(server.dburi), 'RESPONSE_TOO_LARGE')
    // Beyond what was read there is what the sockets hold.
    expect(server.sent).toBeLessThan(32 * LIMIT)
  })

  it('that answered too much is still asked for what was written before', async () => {
    const server = await startHostile()
    server.head = { ...server.head, replication_index: '7' }
    const engine = await open(server.dburi)
    await engine.db.all(sql`select 1 as n`)
    server.attack = endlessly(server)

    await expectEnd(engine, 'RESPONSE_TOO_LARGE')

    const attack = server.requests.findIndex(({ body }) => body.includes('attack'))
    const next = server.requests.slice(attack + 1).find(({ body }) => body.includes('select 1'))
    expect(next?.body).toContain('"replication_index":"7"')
  })

  it('that announces too much is left before any of it comes', async () => {
    const server = await startHostile()
    server.attack = (response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 2 ** 30 })
      response.write('{')
    }

    await expectEnd(await open(server.dburi), 'RESPONSE_TOO_LARGE')
  })

  it('whose error never ends is left after the first of it', async () => {
    const server = await startHostile()
    server.attack = endlessly(server, 500, Buffer.alloc(65_536, 'x'))

    await expectEnd(await open(server.dburi), 'CONNECTION_LOST')
    expect(server.sent).toBeLessThan(32 * LIMIT)
  })

  it('whose headers never end is left', async () => {
    const server = await startHostile()
    server.attack = ({ socket }) => {
      socket?.write('HTTP/1.1 200 OK\r\n')
      const more = setInterval(() => socket?.write(`x-${Math.random()}: ${'y'.repeat(4_096)}\r\n`), 1)
      socket?.on('error', () => {})
      socket?.on('close', () => clearInterval(more))
    }

    await expectEnd(await open(server.dburi), 'CONNECTION_LOST')
  })

  const answer = (result: unknown, rest: unknown[] = [CLOSED]) => ({
    baton: null,
    base_url: null,
    results: [ok(result), ...rest],
  })
  it.each<[string, unknown]>([
    ['no JSON', 'certainly not'],
    ['half an answer', JSON.stringify(answer(RESULT)).slice(0, -5)],
    ['null', null],
    ['a list', []],
    ['a deep list', `${'['.repeat(200_000)}${']'.repeat(200_000)}`],
    ['a deep result', `{"results":[${'{"response":'.repeat(50_000)}1${'}'.repeat(50_000)}]}`],
    ['no results', { baton: null, base_url: null, results: [] }],
    ['too many results', answer(RESULT, [CLOSED, CLOSED])],
    ['results of another kind', { baton: null, base_url: null, results: [CLOSED, CLOSED] }],
    ['a baton that is a number', { ...answer(RESULT), baton: 5 }],
    ['rows that are no list', answer({ ...RESULT, rows: {} })],
    ['rows without columns', answer({ ...RESULT, cols: [] })],
    ['columns without values', answer({ ...RESULT, rows: [[]] })],
    ['more values than columns', answer({ ...RESULT, rows: [[...ROW, ...ROW]] })],
    ['a value of no type', answer({ ...RESULT, rows: [[{ type: 'nonsense' }]] })],
    ['an integer that is a word', answer({ ...RESULT, rows: [[{ type: 'integer', value: 'one' }]] })],
    [
      'an integer beyond 64 bits',
      answer({ ...RESULT, rows: [[{ type: 'integer', value: '9'.repeat(400) }]] }),
    ],
    ['a blob that is a number', answer({ ...RESULT, rows: [[{ type: 'blob', base64: 5 }]] })],
    ['a count that is a word', answer({ ...RESULT, affected_row_count: 'many' })],
    ['a rowid that is a word', answer({ ...RESULT, last_insert_rowid: 'first' })],
  ])('that answers %s loses the connection', async (_, body) => {
    const server = await startHostile()
    server.attack = (response) => send(response, body)

    await expectEnd(await open(server.dburi), 'CONNECTION_LOST')
  })

  it('whose error is null loses the connection', async () => {
    const server = await startHostile()
    server.attack = (response) => send(response, null, 400)

    await expectEnd(await open(server.dburi), 'CONNECTION_LOST')
  })

  it.each([301, 302, 303, 307, 308])('that redirects (%i) is not followed', async (status) => {
    const [server, stranger] = [await startHostile(), await startHostile()]
    server.attack = (response) => {
      response.writeHead(status, { location: `http://127.0.0.1:${stranger.port}/v2/pipeline` }).end()
    }

    await expectEnd(await open(server.dburi), 'CONNECTION_LOST')
    expect(stranger.requests).toEqual([])
  })

  it('that redirects whoever connects is a typed error of connecting', async () => {
    const [server, stranger] = [await startHostile(), await startHostile()]
    const proxy = createServer((_, response) => {
      response.writeHead(307, { location: `http://127.0.0.1:${stranger.port}/v2/pipeline` }).end()
    })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    const { port } = proxy.address() as AddressInfo
    const engine = await open(server.dburi.replace(String(server.port), String(port)))

    const error = await attacked(engine)
    proxy.closeAllConnections()
    proxy.close()
    expect(error).toBeInstanceOf(ConnectError)
    expect(error.message).toContain('redirects')
    expect(stranger.requests).toEqual([])
  })

  it('that names another address for the next request does not get it sent there', async () => {
    const [server, stranger] = [await startHostile(), await startHostile()]
    const engine = await open(server.dburi)
    server.head = { baton: 'b', base_url: `http://127.0.0.1:${stranger.port}/` }
    const session = new Session(engine, {})
    await session.db.all(sql`select 1 as n`)

    const failed: unknown = await session.db.all(sql`select secret`).catch((error: unknown) => error)
    await session.close()
    const lost = causes(failed).find((error) => error instanceof ConnectionLostError)
    expect(lost?.message).toContain('another host')
    expect(stranger.requests).toEqual([])
  })

  it('may name its own address for the next request', async () => {
    const server = await startHostile()
    const engine = await open(server.dburi)
    server.head = { baton: 'b', base_url: `http://127.0.0.1:${server.port}/elsewhere/` }
    const session = new Session(engine, {})
    await session.db.all(sql`select 1 as n`)
    await session.db.all(sql`select 2 as n`)
    await session.close()

    expect(server.requests.map(({ url }) => url)).toContain('/elsewhere/v2/pipeline')
  })
})

describe('a hostile server over WebSockets', () => {
  it.each<[string, string, (socket: Socket, id: number) => void]>([
    ['never answers', 'STATEMENT_TIMEOUT', () => {}],
    [
      'never ends its answer',
      'STATEMENT_TIMEOUT',
      (socket) => {
        const more = setInterval(() => socket.send(Buffer.alloc(64), { fin: false }), 10)
        socket.on('close', () => clearInterval(more))
      },
    ],
    [
      'answers more than 100 MiB',
      'CONNECTION_LOST',
      (socket) => {
        const piece = Buffer.alloc(4_194_304, 0x20)
        const more = (error?: Error): void => {
          if (error == null) socket.send(piece, { fin: false }, more)
        }
        more()
      },
    ],
    ['answers bytes', 'CONNECTION_LOST', (socket) => socket.send(Buffer.from('{}'))],
    ['answers no JSON', 'CONNECTION_LOST', (socket) => socket.send('certainly not')],
    ['answers a deep list', 'CONNECTION_LOST', (socket) => socket.send('['.repeat(200_000))],
    ['says hello again', 'CONNECTION_LOST', (socket) => socket.send('{"type":"hello_ok"}')],
    ['answers what was not asked', 'CONNECTION_LOST', (socket) => reply(socket, 4_711, RESULT)],
    [
      'answers rows without columns',
      'CONNECTION_LOST',
      (socket, id) => reply(socket, id, { ...RESULT, cols: [] }),
    ],
    ['answers no result', 'CONNECTION_LOST', (socket, id) => reply(socket, id, null)],
  ])('that %s ends with %s', { tags: 'full' }, async (_, code, attack) => {
    const dburi = await startSockets(attack)

    await expectEnd(await open(code === 'STATEMENT_TIMEOUT' ? hasty(dburi) : dburi), code)
  })
})

// ws is what libSQL's client itself uses: asked for in its name, npm need not place it where we see it.
const requireAsClient = createRequire(createRequire(import.meta.url).resolve('@libsql/client'))
const requireAsHrana = createRequire(requireAsClient.resolve('@libsql/hrana-client'))
const requireAsSocket = createRequire(requireAsHrana.resolve('@libsql/isomorphic-ws'))

interface Socket {
  send(data: string | Buffer, options?: { fin: boolean }, sent?: (error?: Error) => unknown): void
  on(event: 'message' | 'close' | 'error', listener: (data: unknown) => void): void
}

function reply(socket: Socket, id: number, result: unknown): void {
  const response = { type: 'execute', result }
  socket.send(JSON.stringify({ type: 'response_ok', request_id: id, response }))
}

async function startSockets(attack: (socket: Socket, id: number) => void): Promise<string> {
  const server = createServer()
  const { WebSocketServer } = requireAsSocket('ws')
  const sockets = new WebSocketServer({ server, handleProtocols: () => 'hrana2' })
  const texts = new Map<number, string>()
  sockets.on('connection', (socket: Socket) => {
    socket.on('error', () => {})
    socket.on('message', (data) => {
      const message = JSON.parse(String(data))
      if (message.type === 'hello') return socket.send('{"type":"hello_ok"}')
      const { request, request_id: id } = message
      if (request.type === 'store_sql') texts.set(request.sql_id, request.sql)
      const text = request.stmt?.sql ?? texts.get(request.stmt?.sql_id) ?? ''
      if (request.type === 'execute' && text.includes('attack')) return attack(socket, id)
      if (request.type === 'execute') return reply(socket, id, RESULT)
      const response = { type: request.type }
      return socket.send(JSON.stringify({ type: 'response_ok', request_id: id, response }))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  opened.push({
    async [Symbol.asyncDispose]() {
      for (const socket of sockets.clients) socket.terminate()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  })
  const { port } = server.address() as AddressInfo
  return `ws://127.0.0.1:${port}?request_timeout=20`
}
