/** A server that dies and comes back: nothing acknowledged is lost, and work goes on at once. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectError, ConnectionLostError, causes, SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { AckLog, readAcks } from '../fixtures/ack-log.ts'
import { FaultProxy } from '../fixtures/fault-proxy.ts'
import { atMost, isLong, loops } from '../fixtures/loops.ts'
import { openPgServer, type PgServer } from '../fixtures/pg-server.ts'
import { describeNeeding } from '../fixtures/servers.ts'
import { startCheck } from '../fixtures/standard-check.ts'
import { codeOf, Observer, tally, times, until, withOptions } from './support.ts'

const timeout = isLong ? 600_000 : 120_000

describeNeeding('private postgresql', 'a server that dies', () => {
  let server: PgServer
  let directory: string

  beforeEach(async () => {
    server = await openPgServer()
    directory = mkdtempSync(join(tmpdir(), 'dc-acks-'))
    await using observer = new Observer(server.dburi)
    await observer.sql`create table faults (id text primary key)`
  })
  afterEach(async () => {
    await server.close()
    rmSync(directory, { recursive: true })
  })

  it('T02 200 writes a second lose nothing acknowledged to kill -9 of the server', {
    tags: 'full',
    timeout,
  }, async () => {
    const kills = loops(2, 10)
    const check = startCheck()
    const manager = new SessionManager()
    const { db } = await manager.getEngine(withOptions(server.dburi, { pool_timeout: '30' }))
    const log = new AckLog(join(directory, 'acks'))
    const errors: unknown[] = []
    const writes: Promise<void>[] = []
    let lastAck = 0
    let acks = 0
    const begin = () => {
      const id = String(writes.length)
      const write = db.execute(sql`insert into faults values (${id})`).then(
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
    }
    const writer = setInterval(begin, 5)

    const pauses: number[] = []
    for (let kill = 0; kill < kills; kill++) {
      const enough = acks + 20
      await sleep(300 + Math.random() * 200)
      await until(() => acks > enough)
      // Under way when it happens.
      begin()
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

    await using observer = new Observer(server.dburi)
    const rows = await observer.sql<{ id: string }[]>`select id from faults`
    const there = new Set(rows.map(({ id }) => id))
    const acknowledged = readAcks(join(directory, 'acks'))
    const slowest = Math.max(...pauses)
    console.log(
      `T02: ${kills} kills, ${writes.length} writes, ${acknowledged.length} acknowledged, ` +
        `${there.size - acknowledged.length} ambiguous and there, errors ${JSON.stringify(tally(errors.map(codeOf)))}, ` +
        `next acknowledged after ${pauses.map(Math.round)} ms`,
    )
    expect(acknowledged.filter((id) => !there.has(id))).toEqual([])
    expect(acknowledged.length).toBeGreaterThan(kills * 20)
    // Not done, or perhaps done: the caller can tell by the type, without reading messages.
    expect(errors.filter((error) => !isRetryable(error) && !isAmbiguous(error))).toEqual([])
    expect(errors.some(isAmbiguous)).toBe(true)
    expect(slowest).toBeLessThan(atMost(1_000))
    await observer[Symbol.asyncDispose]()
    await check.nothingLeftOpen()
  })

  it('T21 work goes on as soon as the server is back, and the dead server is not stormed', {
    tags: 'full',
    timeout,
  }, async () => {
    const seconds = loops(2, 5)
    const proxy = await FaultProxy.before(server.dburi)
    const manager = new SessionManager()
    const { db } = await manager.getEngine(withOptions(proxy.dburi, {}))
    await db.execute(sql`select 1`)
    let isOver = false
    let lastSuccess = 0
    const failures: unknown[] = []
    const workers = times(4, async () => {
      while (!isOver) {
        try {
          await db.execute(sql`insert into faults values (gen_random_uuid())`)
          lastSuccess = performance.now()
          await sleep(20)
        } catch (error) {
          failures.push(error)
          // A caller that waits before it tries again; the pool waits for nobody.
          await sleep(100 + Math.random() * 20)
        }
      }
    })

    await sleep(200)
    await server.killHard()
    const before = proxy.connections
    await sleep(seconds * 1_000)
    const perSecond = (proxy.connections - before) / seconds
    await server.start()
    const readyAt = performance.now()
    await until(() => lastSuccess > readyAt)
    const pause = lastSuccess - readyAt
    isOver = true
    await workers
    await manager.dispose()
    await proxy.close()

    console.log(`T21: down ${seconds} s, ${perSecond} connects a second, back after ${Math.round(pause)} ms`)
    expect(perSecond).toBeLessThanOrEqual(40)
    expect(pause).toBeLessThan(atMost(500))
    expect(failures.filter((error) => !isRetryable(error) && !isAmbiguous(error))).toEqual([])
  })
})

/** Surely not done. */
function isRetryable(error: unknown): boolean {
  return causes(error).some((cause) => cause instanceof ConnectError)
}

/** Perhaps done. */
function isAmbiguous(error: unknown): boolean {
  return causes(error).some((cause) => cause instanceof ConnectionLostError)
}
