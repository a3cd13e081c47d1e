import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@libsql/client'
import { type SessionManager as Manager, SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { median } from './measure.ts'
import { report } from './report.ts'

const MILLISECONDS = 2_000
const ROUNDS = 5

/** What is left of the event loop, and of PostgreSQL beside it, while writers wait for SQLite files that others have locked. */
export async function locked(): Promise<void> {
  const manager = new SessionManager()
  try {
    for (const files of [1, 8]) {
      await loopBeside(manager, files)
      const { POSTGRES_URL } = process.env
      if (POSTGRES_URL !== undefined) await serverBeside(manager, files, POSTGRES_URL)
    }
  } finally {
    await manager.dispose()
  }
}

async function loopBeside(manager: Manager, files: number): Promise<void> {
  const idle = await loop()
  const unlock = await waitForFiles(manager, files)
  const waiting = await loop()
  await unlock()
  const who = `beside ${files} locked SQLite file${files === 1 ? '' : 's'}`
  report(`processor time ${who}, of a core`, waiting.processor - idle.processor, '%', { most: 10 })
  report(`delay of the event loop ${who}, p99 (with none: ${idle.delay.toFixed(2)} ms)`, waiting.delay, 'ms')
}

async function serverBeside(manager: Manager, files: number, dburi: string): Promise<void> {
  const engine = await manager.getEngine(dburi as 'postgresql://')
  const latencies = async () => {
    const took: number[] = []
    const end = performance.now() + MILLISECONDS
    while (performance.now() < end) {
      const startedAt = performance.now()
      await engine.db.execute(sql`select 1`)
      took.push(performance.now() - startedAt)
      await sleep(2)
    }
    return took.sort((one, other) => one - other)[Math.floor(took.length * 0.99)] ?? Number.NaN
  }
  await latencies()
  const ratios: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const before = await latencies()
    const unlock = await waitForFiles(manager, files)
    const beside = await latencies()
    await unlock()
    ratios.push(beside / ((before + (await latencies())) / 2))
  }
  const what = `PostgreSQL beside ${files} of them, p99 against its own alone`
  report(what, median(ratios), '×', { most: 2 })
}

/** Has a writer wait for each of so many files that another connection has locked; the function it resolves to ends it. */
async function waitForFiles(manager: Manager, files: number): Promise<() => Promise<void>> {
  const directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-bench-'))
  const each = Array.from({ length: files }, async (_, at) => {
    const dburi = `file:${join(directory, `${at}.db`)}` as const
    const engine = await manager.getEngine(`${dburi}?timeout=600`)
    await engine.db.run(sql`create table t (x)`)
    const other = createClient({ url: dburi })
    const transaction = await other.transaction('write')
    const writing = engine.db.run(sql`insert into t values (1)`).then(() => {})
    return async () => {
      await transaction.rollback()
      other.close()
      await writing
      await engine.dispose()
    }
  })
  const ends = await Promise.all(each)
  return async () => {
    await Promise.all(ends.map((end) => end()))
    rmSync(directory, { recursive: true })
  }
}

async function loop(): Promise<{ processor: number; delay: number }> {
  const delays = monitorEventLoopDelay({ resolution: 1 })
  await sleep(100)
  delays.enable()
  const startedAt = process.cpuUsage()
  await sleep(MILLISECONDS)
  const { user, system } = process.cpuUsage(startedAt)
  delays.disable()
  return { processor: (user + system) / (10 * MILLISECONDS), delay: delays.percentile(99) / 1e6 }
}
