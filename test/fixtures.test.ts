/** The fixtures that could lie: a fault that does not happen makes every test behind it green. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@libsql/client'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { AckLog, readAcks } from './fixtures/ack-log.ts'
import { childRun, scenario, startChild } from './fixtures/child-run.ts'
import { FaultProxy } from './fixtures/fault-proxy.ts'
import { type HranaServer, startHranaServer } from './fixtures/hrana-server.ts'
import { openPgServer } from './fixtures/pg-server.ts'
import { describeNeeding, freshPostgres } from './fixtures/servers.ts'
import { expectNoSecret, startCheck } from './fixtures/standard-check.ts'

describe('FaultProxy', () => {
  let echo: Echo
  let proxy: FaultProxy

  beforeEach(async () => {
    echo = await startEcho()
    proxy = await FaultProxy.before(`tcp://user:pass@127.0.0.1:${echo.port}/name?key=1`)
  })
  afterEach(async () => {
    await proxy.close()
    await echo.close()
  })

  it('keeps all of the dburi but its server', () => {
    expect(proxy.dburi).toBe(`tcp://user:pass@127.0.0.1:${proxy.port}/name?key=1`)
  })

  it('passes bytes both ways, in order and unharmed', async () => {
    const client = await Client.open(proxy)
    const sent = Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => index % 251))

    client.socket.write(sent)

    await until(() => client.received.length === sent.length)
    expect(client.received.equals(sent)).toBe(true)
  })

  it('passes on a half-closed connection', async () => {
    const client = await Client.open(proxy)

    client.socket.end('last words')

    await until(() => client.end === 'fin')
    expect(client.text).toBe('last words')
    await until(() => proxy.open === 0 && echo.sockets.size === 0)
  })

  it('counts connections and remembers what each client sent', async () => {
    const one = await Client.open(proxy)
    const other = await Client.open(proxy)
    one.socket.write('secret')
    other.socket.write('another')
    await until(() => one.text === 'secret' && other.text === 'another')

    expect(proxy.connections).toBe(2)
    expect(proxy.open).toBe(2)
    expect(proxy.received.map(String)).toEqual(['secret', 'another'])
  })

  it('delays each way by the time asked for, and keeps the order', async () => {
    const client = await Client.open(proxy)
    proxy.mode = { delay: 50 }
    const start = performance.now()

    client.socket.write('one ')
    await sleep(20)
    client.socket.write('two')
    await until(() => client.text === 'one two')

    expect(performance.now() - start).toBeGreaterThanOrEqual(115)
  })

  it('swallows both ways as a blackhole and delivers afterwards', async () => {
    const client = await Client.open(proxy)
    client.socket.write('before ')
    await until(() => client.text === 'before ')

    proxy.mode = 'blackhole'
    client.socket.write('within')
    echo.say(' and from the server')
    await sleep(60)
    expect(client.text).toBe('before ')
    expect(client.end).toBe(null)
    expect(echo.text).toBe('before ')

    proxy.mode = 'pass'
    await until(() => client.text.includes('within') && client.text.includes('from the server'))
    expect(echo.text).toBe('before within')
  })

  it('tells the server after a blackhole which clients went away', async () => {
    const gone = await Client.open(proxy)
    gone.socket.write('x')
    await until(() => gone.text === 'x')
    proxy.mode = 'blackhole'

    gone.socket.resetAndDestroy()
    await sleep(60)
    expect(echo.sockets.size).toBe(1)

    proxy.mode = 'pass'
    await until(() => echo.sockets.size === 0)
  })

  it.each(['fin', 'rst'] as const)('ends what is open and what is opened: %s', async (how) => {
    const open = await Client.open(proxy)
    open.socket.write('x')
    await until(() => open.text === 'x')

    proxy.mode = how
    const late = await Client.open(proxy)

    await until(() => open.end !== null && late.end !== null)
    expect([open.end, late.end]).toEqual([how, how])
    await until(() => echo.sockets.size === 0)
    expect(echo.ends).toEqual([how])
  })

  it.each([
    ['close-on-accept', 'fin'],
    ['reset-on-accept', 'rst'],
  ] as const)('refuses only what is new: %s', async (mode, end) => {
    const open = await Client.open(proxy)

    proxy.mode = mode
    const late = await Client.open(proxy)
    await until(() => late.end !== null)
    open.socket.write('still here')
    await until(() => open.text === 'still here')

    expect(late.end).toBe(end)
    expect(proxy.connections).toBe(2)
  })

  it('accepts, listens and never answers: hang-on-accept', async () => {
    proxy.mode = 'hang-on-accept'

    const client = await Client.open(proxy)
    client.socket.write('hello')
    await until(() => String(proxy.received[0]) === 'hello')
    proxy.mode = 'pass'
    await sleep(60)

    expect(client.end).toBe(null)
    expect(echo.sockets.size).toBe(0)
  })

  it('kills what is open and goes on passing', async () => {
    const open = await Client.open(proxy)
    open.socket.write('x')
    await until(() => open.text === 'x')

    proxy.kill('rst')
    const late = await Client.open(proxy)
    late.socket.write('y')

    await until(() => late.text === 'y')
    expect(open.end).toBe('rst')
  })

  it.each([
    [false, 'a'],
    [true, 'acommit'],
  ])('resets at a word of the client, forwarding it: %s', async (forward, heard) => {
    const client = await Client.open(proxy)
    client.socket.write('a')
    await until(() => client.text === 'a')

    proxy.resetOn('commit', { forward })
    client.socket.write('commit')
    await until(() => client.end === 'rst' && echo.sockets.size === 0)

    expect(echo.text).toBe(heard)
  })

  it('passes on that nobody listens behind it', async () => {
    await echo.close()

    const client = await Client.open(proxy)

    await until(() => client.end === 'rst')
  })

  it('closes twice, leaving nothing open', async () => {
    const check = startCheck()
    const short = await FaultProxy.before(`tcp://127.0.0.1:${echo.port}`)
    const client = await Client.open(short)
    client.socket.write('x')
    await until(() => client.text === 'x')

    await short.close()
    await short.close()

    await check.nothingLeftOpen(20_000)
    expect(client.end).toBe('rst')
  })
})

describe('AckLog', () => {
  it('reads back what was appended, without a torn last line', () => {
    const directory = mkdtempSync(join(tmpdir(), 'dc-acks-'))
    const file = join(directory, 'acks')
    const log = new AckLog(file)

    log.append('one')
    log.append('two', 'three')
    log.close()
    writeFileSync(file, 'fo', { flag: 'a' })

    expect(readAcks(file)).toEqual(['one', 'two', 'three'])
    expect(readAcks(join(directory, 'none'))).toEqual([])
    rmSync(directory, { recursive: true })
  })

  it('refuses keys that would read back as others', () => {
    const log = new AckLog('/dev/null')

    expect(() => log.append('two\nlines')).toThrow('one non-empty line')
    expect(() => log.append('')).toThrow('one non-empty line')
    log.close()
  })
})

describe('childRun', () => {
  it('collects values, text and the exit', async () => {
    const options = { arguments: ['emit', 'x'], env: { ECHO: 'y' }, nodeFlags: ['--expose-gc'] }

    const result = await childRun(scenario('echo'), options)

    expect(result).toEqual({
      exitCode: 0,
      signal: null,
      timedOut: false,
      emitted: [{ argument: 'x', env: 'y', gc: 'function' }],
      stdout: 'a line of its own\n',
      stderr: '',
      lingered: null,
    })
  })

  it('measures how long a child lives on after its work', async () => {
    const result = await childRun(scenario('echo'), { arguments: ['linger', '300'] })

    expect(result.lingered).toBeGreaterThanOrEqual(299)
    expect(result.lingered).toBeLessThan(30_000)
  })

  it('lets an unhandled rejection end the child, and shows where it came from', async () => {
    const result = await childRun(scenario('echo'), { arguments: ['reject'] })

    expect(result.exitCode).toBe(1)
    expect(result.stderr).toContain('nobody catches this')
    expect(result.stderr).toContain('scenarios/echo.ts')
  })

  it('kills a child that hangs', async () => {
    const result = await childRun(scenario('echo'), { arguments: ['hang'], timeout: 500 })

    expect(result).toMatchObject({ timedOut: true, signal: 'SIGKILL', exitCode: null })
  })

  it('serves commands side by side until it is told to end', { tags: 'full' }, async () => {
    const child = await startChild(scenario('echo'), { arguments: ['serve'] })

    const order: string[] = []
    const note = (value: unknown) => order.push(String(value))
    await Promise.all([child.call('later', 1_000).then(note), child.call('double', 21).then(note)])
    await expect(child.call('fail')).rejects.toThrow('as asked')
    child.end()

    expect(order).toEqual(['42', 'later'])
    expect(await child.exited).toMatchObject({ exitCode: 0, stderr: '' })
  })

  it('rejects what is asked of a child that is killed', async () => {
    const child = await startChild(scenario('echo'), { arguments: ['serve'] })

    const answer = child.call('later', 10_000)
    child.kill()

    await expect(answer).rejects.toThrow('SIGKILL')
    // Its deadline is a timer too.
    await child.exited
  })
})

describe('the standard check', () => {
  it('finds a timer and a socket, unref or not', async () => {
    const echo = await startEcho()
    // One of the runner's own that ended meanwhile would hide ours.
    await until(() => !process.getActiveResourcesInfo().includes('Timeout'))
    const check = startCheck()
    const timer = setTimeout(() => {}, 60_000)
    const socket = connect(echo.port, '127.0.0.1').unref()
    await until(() => echo.sockets.size === 1)

    await expect(check.nothingLeftOpen(50)).rejects.toThrow(/Left open:.*Timeout/)
    clearTimeout(timer)
    await expect(check.nothingLeftOpen(50)).rejects.toThrow(/Left open:.*socket/)
    socket.destroy()
    await echo.close()
    await check.nothingLeftOpen(20_000)
  })

  it('finds a secret wherever a value can show it', () => {
    const secret = 's3cr:et/"x'
    const hidden = Object.defineProperty({}, 'password', { value: secret })
    const cause = new Error('outer', { cause: new Error(`inner ${secret}`) })
    const values = [secret, `pg://u:${encodeURIComponent(secret)}@h`, { deep: [{ secret }] }, hidden, cause]

    for (const value of values) expect(() => expectNoSecret([secret], value)).toThrow('Secret 1 is shown by')
    expect(() => expectNoSecret([secret], 'harmless', new Error('x'), null, () => {})).not.toThrow()
  })

  it('does not repeat the secret it found', () => {
    expect(() => expectNoSecret(['canary'], 'a canary')).not.toThrow('canary')
  })
})

describe('the remote libSQL server', () => {
  let directory: string
  let server: HranaServer

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'dc-hrana-'))
  })
  afterAll(() => rmSync(directory, { recursive: true, force: true }))
  beforeEach(async () => {
    server = await startHranaServer(join(directory, `${Math.random()}.db`))
  })
  afterEach(() => server.close())

  it('carries every type of value there and back', async () => {
    await using client = open(server.dburi)
    await client.execute('create table t (i, r, s, b, n)')
    const blob = new Uint8Array([0, 255, 1])

    await client.execute({
      sql: 'insert into t values (?, ?, ?, ?, ?)',
      args: [9007199254740991n, 1.5, 'ü', blob, null],
    })
    const { rows, columns } = await client.execute('select *, typeof(i), typeof(r) from t')

    expect(columns.slice(0, 5)).toEqual(['i', 'r', 's', 'b', 'n'])
    expect(Object.values(rows[0] ?? {}).slice(0, 2)).toEqual([9007199254740991, 1.5])
    expect(rows[0]).toMatchObject({ s: 'ü', n: null, 'typeof(i)': 'integer', 'typeof(r)': 'real' })
    expect(new Uint8Array(rows[0]?.['b'] as ArrayBuffer)).toEqual(blob)
  })

  it('reports counts and ids, with RETURNING too', async () => {
    await using client = open(server.dburi)
    await client.execute('create table t (id integer primary key, s text)')

    const inserted = await client.execute({ sql: 'insert into t (s) values (:a), (:a)', args: { a: 'x' } })
    const updated = await client.execute("update t set s = 'y' returning id")
    const selected = await client.execute('select * from t')

    expect([inserted.rowsAffected, inserted.lastInsertRowid]).toEqual([2, 2n])
    expect([updated.rowsAffected, updated.rows.length]).toEqual([2, 2])
    expect(selected.rowsAffected).toBe(0)
  })

  it('isolates transactions and rolls them back', async () => {
    await using client = open(server.dburi)
    await client.execute('create table t (s)')

    const transaction = await client.transaction('write')
    await transaction.execute("insert into t values ('a')")
    const outside = await client.execute('select * from t')
    await transaction.rollback()

    expect(outside.rows).toEqual([])
    expect((await client.execute('select * from t')).rows).toEqual([])
  })

  it('makes writers wait for each other and loses none', async () => {
    await using client = open(server.dburi)
    await client.execute('create table t (s)')
    const transaction = await client.transaction('write')
    await transaction.execute("insert into t values ('first')")

    const waiting = Array.from({ length: 20 }, (_, index) =>
      client.execute(`insert into t values (${index})`),
    )
    await sleep(50)
    await transaction.commit()
    await Promise.all(waiting)

    expect((await client.execute('select count(*) as n from t')).rows[0]).toMatchObject({ n: 21 })
  })

  it('undoes a batch that fails', async () => {
    await using client = open(server.dburi)
    await client.execute('create table t (id integer primary key)')

    const batch = client.batch(['insert into t values (1)', 'insert into t values (1)'], 'write')

    await expect(batch).rejects.toMatchObject({ code: 'SQLITE_CONSTRAINT' })
    expect((await client.execute('select * from t')).rows).toEqual([])
    await client.executeMultiple('insert into t values (2); insert into t values (3)')
    expect((await client.execute('select * from t')).rows).toHaveLength(2)
  })

  it('fails as sqld does', async () => {
    await using client = open(server.dburi)

    await expect(client.execute('select * from nope')).rejects.toMatchObject({
      code: 'SQL_INPUT_ERROR',
      message: expect.stringContaining('no such table: nope'),
    })
  })

  it('forgets streams, and closes those that clients close', async () => {
    await using client = open(server.dburi)
    await client.execute('create table t (s)')
    const transaction = await client.transaction('write')
    await transaction.execute("insert into t values ('lost')")
    expect(server.openStreams).toBe(1)

    server.expireStreams()

    await expect(transaction.execute('select 1')).rejects.toMatchObject({ code: 'STREAM_EXPIRED' })
    expect((await client.execute('select * from t')).rows).toEqual([])
    expect(server.openStreams).toBe(0)
    expect(server.requests.at(-1)?.types).toEqual(['execute', 'close'])
  })

  it('wants its token', async () => {
    await using guarded = await startHranaServer(join(directory, 'guarded.db'), { authToken: 'a token' })
    await using client = open(guarded.dburi)
    await using stranger = open(guarded.dburi.replace('token', 'guess'))

    await client.execute('select 1')

    await expect(stranger.execute('select 1')).rejects.toThrow()
    expect(guarded.requests.map((request) => request.authorization)).toEqual(['Bearer a token'])
  })
})

describeNeeding('private postgresql', 'openPgServer', () => {
  it('keeps what was committed when all of it is killed, and can be started again', async () => {
    await using server = await openPgServer({ settings: { max_connections: 12 } })
    const sql = postgres(server.dburi, { max: 1, onnotice: () => {} })
    await sql`create table t (id int)`
    await sql`insert into t values (1)`
    expect(await sql`show fsync`).toEqual([{ fsync: 'on' }])
    expect(await sql`show max_connections`).toEqual([{ max_connections: '12' }])

    await server.killHard()
    await expect(sql`select 1`).rejects.toThrow()
    await server.start()

    expect(server.log).toContain('automatic recovery in progress')
    expect(await sql`select id from t`).toEqual([{ id: 1 }])
    await sql.end()
  })

  it('stops at once, restarts, and breaks connections in both', { tags: 'full' }, async () => {
    await using server = await openPgServer()
    const sql = postgres(server.dburi, { max: 1, onnotice: () => {} })
    const pid = async () => (await sql`select pg_backend_pid() as pid`)[0]?.['pid']
    const first = await pid()

    await server.stopImmediate()
    await expect(sql`select 1`).rejects.toThrow()
    await server.start()
    const second = await pid()
    await server.restart()
    const third = await pid()

    expect(new Set([first, second, third]).size).toBe(3)
    await sql.end()
  })
})

describeNeeding('postgresql', 'freshPostgres', () => {
  const database = freshPostgres()

  it('gives a database of its own, with nothing in it', async () => {
    const sql = postgres(database.dburi, { max: 1 })

    const [row] =
      await sql`select current_database() as name, (select count(*)::int from pg_tables where schemaname = 'public') as tables`
    await sql.end()

    expect(row).toEqual({ name: database.name, tables: 0 })
  })

  it('can be reached through a fault proxy', async () => {
    await using proxy = await FaultProxy.before(database.dburi)
    const sql = postgres(proxy.dburi, { max: 1 })
    await sql`select 1`

    proxy.kill('rst')

    await expect(sql`select 1`).rejects.toMatchObject({ code: 'ECONNRESET' })
    await sql.end({ timeout: 0 })
    const another = postgres(proxy.dburi, { max: 1 })
    expect(await another`select 1 as one`).toEqual([{ one: 1 }])
    await another.end()
  })
})

interface Echo {
  readonly port: number
  readonly sockets: Set<Socket>
  /** All it heard. */
  readonly text: string
  /** How its connections ended, from its side. */
  readonly ends: ('fin' | 'rst')[]
  say(text: string): void
  close(): Promise<void>
}

async function startEcho(): Promise<Echo> {
  const sockets = new Set<Socket>()
  const ends: Echo['ends'] = []
  let text = ''
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.on('data', (chunk) => {
      if (chunk.length < 1_000) text += chunk
      socket.write(chunk)
    })
    socket.on('error', () => {})
    socket.on('close', (hadError) => {
      sockets.delete(socket)
      ends.push(hadError ? 'rst' : 'fin')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    port,
    sockets,
    get text() {
      return text
    },
    ends,
    say: (words) => sockets.forEach((socket) => void socket.write(words)),
    close: async () => {
      for (const socket of sockets) socket.destroy()
      if (server.listening) await new Promise((resolve) => server.close(resolve))
    },
  }
}

class Client {
  readonly socket: Socket
  end: 'fin' | 'rst' | null = null
  readonly #chunks: Buffer[] = []

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => this.#chunks.push(chunk))
    socket.on('error', () => {})
    socket.on('end', () => {
      this.end ??= 'fin'
    })
    socket.on('close', (hadError) => {
      if (hadError) this.end = 'rst'
    })
  }

  static async open(proxy: FaultProxy): Promise<Client> {
    const client = new Client(connect(proxy.port, '127.0.0.1'))
    // A proxy that resets at once may do so before this side has noticed the connection.
    await new Promise((resolve) => client.socket.once('connect', resolve).once('close', resolve))
    return client
  }

  get received(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  get text(): string {
    return String(this.received)
  }
}

function open(dburi: string) {
  const client = createClient({ url: dburi })
  return Object.assign(client, { [Symbol.asyncDispose]: async () => client.close() })
}

async function until(condition: () => boolean, timeout = 20_000): Promise<void> {
  const deadline = performance.now() + timeout
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`Not within ${timeout} ms: ${condition}`)
    await sleep(5)
  }
}
