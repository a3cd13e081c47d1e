/** T49 and T50: what breaks under a connection to MySQL or MariaDB costs its holder one typed error. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectionLostError, type Mysql2Handle, NotServingError, SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { createConnection } from 'mysql2/promise'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { unfitness } from '../../src/adapters/mysql2/errors.ts'
import { causeOf } from '../adapters/conformance.ts'
import { AckLog, readAcks } from '../fixtures/ack-log.ts'
import { FakeMysql, refusal } from '../fixtures/fake-mysql.ts'
import { FaultProxy } from '../fixtures/fault-proxy.ts'
import { atMost, loops } from '../fixtures/loops.ts'
import { type MariadbServer, openMariadbServer } from '../fixtures/mariadb-server.ts'
import { describeNeeding, freshMysql } from '../fixtures/servers.ts'
import { startCheck } from '../fixtures/standard-check.ts'
import { codeFrom, codeOf, failure, outcome, tally, until } from './support.ts'

type MysqlDburi = `mysql://${string}`

function withOptions(dburi: string, options: string): MysqlDburi {
  return `mysql://${dburi.replace(/^\w+:\/\//, '')}?${options}`
}

async function threadOf(db: Mysql2Handle): Promise<number> {
  const [rows] = await db.execute(sql`select connection_id() as id`)
  return Number(Reflect.get((rows as unknown as object[])[0] ?? {}, 'id'))
}

const insert = (db: Mysql2Handle, id: string) => db.execute(sql`insert into faults values (${id})`)

async function idsAt(dburi: string): Promise<string[]> {
  const connection = await createConnection(dburi)
  try {
    const [rows] = await connection.query('select id from faults order by id')
    return (rows as { id: string }[]).map(({ id }) => id)
  } finally {
    await connection.end()
  }
}

describeNeeding('mysql', 'T49 a lost connection to MySQL', () => {
  const database = freshMysql()
  let proxy: FaultProxy
  let manager: SessionManager

  beforeAll(async () => {
    const connection = await createConnection(database.dburi)
    await connection.query('create table faults (id varchar(50) primary key)')
    await connection.end()
  })
  beforeEach(async () => {
    proxy = await FaultProxy.before(database.dburi)
    manager = new SessionManager()
  })
  afterEach(async () => {
    await manager.dispose({ grace: 0 })
    await proxy.close()
    const connection = await createConnection(database.dburi)
    await connection.query('delete from faults')
    await connection.end()
  })

  const open = async () => {
    const dburi = withOptions(proxy.dburi, 'pool_size=1&max_overflow=0&pool_timeout=5')
    return await manager.createSession(dburi)
  }

  const faults: Record<string, (thread: number) => Promise<void>> = {
    async kill(thread) {
      const connection = await createConnection(database.dburi)
      await connection.query(`kill ${thread}`)
      await connection.end()
    },
    async rst() {
      proxy.kill('rst')
    },
    async fin() {
      proxy.kill('fin')
    },
  }

  describe.each(Object.keys(faults))('by %s', (fault) => {
    const strike = faults[fault] ?? fail

    it('while idle is replaced', async () => {
      const { engine } = await open()
      await strike(await threadOf(engine.db))
      await until(() => engine.stats().open === 0)

      await insert(engine.db, 'a')
      expect(await idsAt(database.dburi)).toEqual(['a'])
    })

    it('while a statement runs rejects it, and the next one works', async () => {
      const { engine } = await open()
      const thread = await threadOf(engine.db)
      const busy = codeFrom(engine.db.execute(sql`select sleep(10)`))
      await until(() => engine.stats().running === 1)
      await strike(thread)

      expect(await busy).toBe('CONNECTION_LOST')
      await insert(engine.db, 'a')
      expect(await idsAt(database.dburi)).toEqual(['a'])
    })

    it('in a transaction undoes it, refuses the rest, and spares the next holder', async () => {
      const { engine, sessionMaker } = await open()
      await using session = sessionMaker()
      await insert(session.db, 'undone')
      await session.db.execute(sql`set @mine = 1`)
      await strike(await threadOf(session.db))
      await until(() => engine.stats().checkedOut === 0)

      expect(await codeFrom(insert(session.db, 'late'))).toBe('PENDING_ROLLBACK')
      expect(await codeFrom(session.commit())).toBe('PENDING_ROLLBACK')
      await session.rollback()
      await using next = sessionMaker()
      const [rows] = await next.db.execute(sql`select @mine as mine`)
      expect(rows).toEqual([{ mine: null }])
      await insert(next.db, 'kept')
      await next.commit()
      expect(await idsAt(database.dburi)).toEqual(['kept'])
    })
  })

  it('settles what is under way when the network falls silent', async () => {
    const { engine, sessionMaker } = await open()
    await using session = sessionMaker()
    await insert(session.db, 'undone')
    proxy.mode = 'blackhole'
    const limited = await manager.createSession(withOptions(proxy.dburi, 'connectTimeout=200'), {
      statementTimeout: 0.2,
    })
    const connecting = await outcome(limited.engine.db.execute(sql`select 1`), 3_000)
    expect(codeOf(connecting.error)).toBe('CONNECT_TIMEOUT')

    const controller = new AbortController()
    await using aborted = (
      await manager.createSession(withOptions(proxy.dburi, 'connectTimeout=200'), {
        signal: controller.signal,
      })
    ).sessionMaker()
    const waiting = outcome(insert(aborted.db, 'never'), 3_000)
    controller.abort()
    expect(codeOf((await waiting).error)).toBe('ABORTED')

    const disposed = outcome(manager.dispose({ grace: 0.1 }), 5_000)
    expect((await disposed).state).toBe('fulfilled')
    expect(engine.stats().open).toBe(0)
    proxy.mode = 'pass'
    expect(await idsAt(database.dburi)).toEqual([])
  })

  it('tells an answer that was lost at commit from one that never was asked for', async () => {
    const { sessionMaker } = await open()
    for (const [pattern, forward] of [
      ['commit', true],
      ['commit', false],
    ] as const) {
      await using session = sessionMaker()
      await insert(session.db, `forwarded ${forward}`)
      proxy.resetOn(pattern, { forward })
      expect(await codeFrom(session.commit())).toBe('CONNECTION_LOST')
    }
    await until(async () => (await idsAt(database.dburi)).length === 1)

    expect(await idsAt(database.dburi)).toEqual(['forwarded true'])
  })

  it('leaves nothing open after all of it', async () => {
    const check = startCheck()
    const { engine } = await open()
    for (let round = 0; round < 5; round++) {
      await failure(
        Promise.all([engine.db.execute(sql`select sleep(5)`), sleep(50).then(() => proxy.kill('rst'))]),
      )
    }
    await manager.dispose()
    await check.nothingLeftOpen()
  })
})

describeNeeding('private mariadb', 'T50 a MariaDB that dies', () => {
  let server: MariadbServer
  let directory: string

  beforeAll(async () => {
    server = await openMariadbServer()
    directory = mkdtempSync(join(tmpdir(), 'dc-acks-'))
  }, 60_000)
  afterAll(async () => {
    await server?.close()
    rmSync(directory, { recursive: true })
  })

  it('loses nothing acknowledged of 100 writes a second, and serves again at once', {
    timeout: 180_000,
  }, async () => {
    const kills = loops(2, 20)
    const check = startCheck()
    const manager = new SessionManager()
    const { db } = await manager.getEngine(withOptions(server.dburi, 'pool_timeout=30'))
    await db.execute(sql`create table faults (id varchar(50) primary key)`)
    const log = new AckLog(join(directory, 'acks'))
    const errors: unknown[] = []
    const writes: Promise<void>[] = []
    let lastAck = 0
    let acks = 0
    const writer = setInterval(() => {
      const id = String(writes.length)
      const write = insert(db, id).then(
        () => {
          log.append(id)
          acks++
          lastAck = performance.now()
        },
        (error: unknown) => {
          errors.push(error)
        },
      )
      writes.push(Promise.resolve(write))
    }, 10)

    const pauses: number[] = []
    for (let kill = 0; kill < kills; kill++) {
      const enough = acks + 5
      await sleep(300 + Math.random() * 200)
      await until(() => acks > enough)
      await server.killHard()
      await server.start()
      const readyAt = performance.now()
      await until(() => lastAck > readyAt)
      pauses.push(lastAck - readyAt)
    }
    clearInterval(writer)
    await Promise.all(writes)
    log.close()
    await manager.dispose()

    const there = new Set(await idsAt(server.dburi))
    const acknowledged = readAcks(join(directory, 'acks'))
    const codes = tally(errors.map(codeOf))
    console.log(
      `T50: ${kills} kills, ${writes.length} writes, ${acknowledged.length} acknowledged, ` +
        `${there.size - acknowledged.length} ambiguous and there, errors ${JSON.stringify(codes)}, ` +
        `next acknowledged after ${pauses.map(Math.round)} ms`,
    )
    expect(acknowledged.filter((id) => !there.has(id))).toEqual([])
    expect(acknowledged.length).toBeGreaterThan(kills * 5)
    expect(
      Object.keys(codes).filter((code) => !['CONNECTION_LOST', 'CONNECT_FAILED'].includes(code)),
    ).toEqual([])
    expect(Math.max(...pauses)).toBeLessThan(atMost(1_000))
    await check.nothingLeftOpen()
  })
})

function fail(): never {
  throw new Error('There is no such fault')
}

describe('a Galera node that has lost its cluster', () => {
  const manager = new SessionManager({ models: { mysql: {} }, prepare: 'none' })
  afterAll(() => manager.dispose({ grace: 0 }))
  const wsrep = refusal(1047, '08S01', 'WSREP has not yet prepared node for application use')

  it('at a COMMIT it is not known whether the peers have it', async () => {
    const fake = await FakeMysql.open({ querying: (text) => (text === 'commit' ? wsrep : null) })

    const error = await causeOf(manager.session(fake.dburi, async (db) => void (await db.execute(sql`do 1`))))

    expect(error).toBeInstanceOf(ConnectionLostError)
    expect(error).toMatchObject({ cause: { errno: 1047 } })
    await fake.close()
  })

  it('at a statement nothing was done', async () => {
    const fake = await FakeMysql.open({ querying: (text) => (text === 'do 1' ? wsrep : null) })

    const error = await causeOf(manager.session(fake.dburi, async (db) => void (await db.execute(sql`do 1`))))

    expect(error).toBeInstanceOf(NotServingError)
    await fake.close()
  })

  it('a command that is really unknown is no such answer', () => {
    const error = Object.assign(new Error('Unknown command'), { errno: 1047, code: '', sqlState: '08S01' })

    expect(unfitness(error, false)).toBeNull()
  })
})
