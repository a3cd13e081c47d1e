/** Servers that cannot be reached, or misbehave while a connection is opened: a typed error in time, and no storm. */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectError, type EngineConnection, SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { causeOf } from '../adapters/conformance.ts'
import { childRun, scenario } from '../fixtures/child-run.ts'
import { FaultProxy } from '../fixtures/fault-proxy.ts'
import { atMost, isLong, loops } from '../fixtures/loops.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'
import { type Check, expectNoSecret, startCheck } from '../fixtures/standard-check.ts'
import {
  codeOf,
  failure,
  outcome,
  type PostgresDburi,
  tally,
  times,
  until,
  withOptions,
  withPassword,
} from './support.ts'

const canary = 'canary-c0nn3ct'

describe('a server that misbehaves while a connection is opened', () => {
  let check: Check
  let manager: SessionManager
  let rogue: RogueServer | undefined

  beforeEach(() => {
    check = startCheck()
    manager = new SessionManager()
  })
  afterEach(async () => {
    await manager.dispose({ grace: 0 })
    await rogue?.close()
    rogue = undefined
    await check.nothingLeftOpen()
  })

  it('T07 a server that hangs up is given up at once, not stormed', { tags: 'full' }, async () => {
    rogue = await RogueServer.open((socket) => socket.end())
    const engine = await manager.getEngine(withOptions(rogue.dburi, { connect_timeout: '20' }))

    const { state, after, error } = await outcome(engine.db.execute(sql`select 1`), 15_000)
    await sleep(1_000)

    expect({ state, code: codeOf(error) }).toEqual({ state: 'rejected', code: 'CONNECT_FAILED' })
    expect(after).toBeLessThan(atMost(1_100))
    expect(rogue.received.length).toBeLessThanOrEqual(20)
    expect(engine.stats()).toMatchObject({ open: 0, waiting: 0 })
  })

  it('T07 a server that asks for the password and hangs up gets it once for each connection', async () => {
    rogue = await RogueServer.open((socket) => {
      socket.once('data', () => {
        socket.write(cleartextPasswordWanted)
        socket.once('data', () => socket.end())
      })
    })
    const dburi = withOptions(withPassword(rogue.dburi, canary), {
      connect_timeout: '20',
      sslmode: 'disable',
    })
    const engine = await manager.getEngine(dburi)

    const results = await times(5, () => outcome(engine.db.execute(sql`select 1`), 15_000))
    await sleep(500)

    expect(tally(results.map(({ error }) => codeOf(error)))).toEqual({ CONNECT_FAILED: 5 })
    const sent = rogue.received.map((text) => text.split(canary).length - 1)
    expect(sent.length).toBeLessThanOrEqual(5)
    expect(Math.max(...sent)).toBe(1)
    expectNoSecret([canary], ...results.map(({ error }) => error), engine, manager)
  })

  it('T07 control: the driver alone never settles and connects without end', { tags: 'full' }, async () => {
    rogue = await RogueServer.open((socket) => socket.end())

    const result = await childRun(scenario('faults-naive'), { arguments: ['closing server', rogue.dburi] })

    expect(result.emitted).toEqual(['pending'])
    expect(rogue.received.length).toBeGreaterThan(40)
  })

  describe('T08 says which server, in time and without the password:', () => {
    const misbehaviours: Record<string, { code: string; serve?: (socket: Socket) => void; host?: string }> = {
      'it accepts and says nothing': { code: 'CONNECT_TIMEOUT', serve: () => {} },
      'it answers the startup with silence': {
        code: 'CONNECT_TIMEOUT',
        serve: (socket) => socket.once('data', () => socket.write(authenticationOk)),
      },
      'it accepts and resets': { code: 'CONNECT_FAILED', serve: (socket) => socket.resetAndDestroy() },
      'it speaks another protocol': {
        code: 'CONNECT_FAILED',
        serve: (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
      },
      'nobody listens': { code: 'CONNECT_FAILED' },
      'its name is unknown': { code: 'CONNECT_FAILED', host: 'no-such-host.invalid' },
    }

    it.each(Object.entries(misbehaviours))('%s', { tags: 'full' }, async (_, { code, serve, host }) => {
      rogue = await RogueServer.open(serve ?? (() => {}))
      if (serve === undefined) await rogue.close()
      const parsed = new URL(withPassword(rogue.dburi, canary))
      if (host !== undefined) parsed.hostname = host
      // A second is short for whoever has to hear that the server hung up.
      const connect_timeout = code === 'CONNECT_TIMEOUT' ? '1' : '20'
      const dburi = withOptions(parsed.href, { connect_timeout })

      const started = performance.now()
      const errors = [
        await causeOf(manager.sessionFactory(dburi)),
        await causeOf(manager.getEngine(dburi).then(({ db }) => db.execute(sql`select 1`))),
      ]
      const each = (performance.now() - started) / errors.length

      for (const error of errors) {
        expect(error).toBeInstanceOf(ConnectError)
        expect(error).toMatchObject({ code, host: parsed.hostname, port: Number(parsed.port) })
        expect(String(error)).toContain(`${parsed.hostname}:${parsed.port}`)
      }
      expect(each).toBeLessThan(atMost(1_300))
      if (code === 'CONNECT_TIMEOUT') expect(each).toBeGreaterThan(990)
      expectNoSecret([canary], ...errors, manager)
    })
  })
})

describeNeeding('postgresql', 'a network that fails while connections are opened', () => {
  const database = freshPostgres()
  let check: Check
  let proxy: FaultProxy
  let manager: SessionManager

  beforeEach(async () => {
    check = startCheck()
    proxy = await FaultProxy.before(database.dburi)
    manager = new SessionManager()
  })
  afterEach(async () => {
    await manager.dispose({ grace: 0 })
    await proxy.close()
    await check.nothingLeftOpen()
  })

  const engineOf = (options: Record<string, string>) => manager.getEngine(withOptions(proxy.dburi, options))

  it('T15 connections that fail by halves cost no place in the pool', async () => {
    const attempts = loops(100, 1_000)
    const engine = await engineOf({
      pool_size: '3',
      max_overflow: '2',
      pool_timeout: '10',
      connect_timeout: '5',
    })
    const codes: (string | null)[] = []
    const flip = setInterval(() => {
      proxy.mode = Math.random() < 0.5 ? 'pass' : Math.random() < 0.5 ? 'close-on-accept' : 'reset-on-accept'
    }, 1)

    let next = 0
    await times(8, async () => {
      while (next++ < attempts) {
        let connection: EngineConnection<typeof engine.db> | undefined
        const error = await failure(
          engine.connect({ ownConnection: true }).then((opened) => {
            connection = opened
          }),
        )
        codes.push(codeOf(error))
        await connection?.close()
      }
    })
    clearInterval(flip)
    proxy.mode = 'pass'

    const counts = tally(codes)
    console.log(`T15: ${JSON.stringify(counts)} of ${attempts}`)
    expect(Object.keys(counts).sort()).toEqual(['CONNECT_FAILED', 'null'])
    expect(Math.min(...Object.values(counts))).toBeGreaterThan(attempts / 20)
    await until(() => engine.stats().open === 0)
    expect(engine.stats()).toMatchObject({ checkedOut: 0, waiting: 0, running: 0 })
    // All five places are still there, and no sixth.
    const held = await times(5, () => engine.connect())
    expect(engine.stats()).toMatchObject({ open: 5, checkedOut: 5 })
    const sixth = engine.connect()
    await sleep(50)
    expect(engine.stats()).toMatchObject({ open: 5, waiting: 1 })
    for (const connection of held) await connection.close()
    await (await sixth).close()
  })

  it('T16 one connection that hangs while it is opened holds up nobody else', async () => {
    const engine = await engineOf({ pool_size: '5', max_overflow: '0', connect_timeout: '25' })
    proxy.mode = 'hang-on-accept'
    const work = async () => {
      const connection = await engine.connect()
      await connection.db.execute(sql`select 1`)
      return connection
    }

    const started = performance.now()
    const first = work()
    await until(() => proxy.connections === 1)
    proxy.mode = 'pass'
    const all = [first, ...Array.from({ length: 4 }, work)]
    let done = 0
    for (const each of all) void each.then(() => done++)
    await until(() => done === 4)
    const after = performance.now() - started
    expect(after).toBeLessThan(isLong ? 200 : 15_000)

    // The fifth takes the first place that becomes free; it does not wait for the connection that hangs.
    const fast = await Promise.race(all)
    await fast.close()
    const opened = await Promise.all(all)
    expect(performance.now() - started).toBeLessThan(isLong ? 2_000 : 20_000)
    for (const connection of opened) await connection.close()
  })
})

/** `AuthenticationCleartextPassword` and `AuthenticationOk`. */
const cleartextPasswordWanted = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3])
const authenticationOk = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0])

/** A server that does what a test tells it, and remembers what it was sent. */
class RogueServer {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #received: string[] = []
  readonly #port: number

  private constructor(server: Server, serve: (socket: Socket) => void) {
    this.#server = server
    // A listening TCP server has an AddressInfo.
    this.#port = (server.address() as AddressInfo).port
    server.on('connection', (socket) => {
      const index = this.#received.push('') - 1
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
      socket.on('error', () => {})
      socket.on('data', (chunk) => {
        this.#received[index] += chunk.toString('latin1')
      })
      serve(socket)
    })
  }

  static async open(serve: (socket: Socket) => void): Promise<RogueServer> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new RogueServer(server, serve)
  }

  get dburi(): PostgresDburi {
    return `postgresql://somebody@127.0.0.1:${this.#port}/somewhere`
  }

  /** What each connection sent, in order of accepting. */
  get received(): readonly string[] {
    return this.#received
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
