import { SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import pg from 'pg'
import postgres from 'postgres'
import type { Connection } from '../src/driver/types.ts'
import { Pool } from '../src/engine/pool.ts'
import { report } from './report.ts'

const WAITERS = 100_000
/** So many are opened; what a thousand would take is said. */
const CONNECTIONS = 50

/** What waiting costs, and what open connections take. */
export async function pool(): Promise<void> {
  await waiters()
  const server = process.env['POSTGRES_URL']
  if (server === undefined) console.log('  heap of connections not measured: POSTGRES_URL is not set')
  else await connections(server)
}

/** In the pool itself, which knows nothing of databases. */
async function waiters(): Promise<void> {
  const open = async (): Promise<Connection> => ({
    lost: null,
    tainted: false,
    onLost: null,
    run: async () => [],
    begin: async () => {},
    commit: async () => true,
    rollback: async () => {},
    ping: async () => {},
    discard: () => {},
    close: async () => {},
  })
  const connections = new Pool(open, {
    keep: 5,
    limit: 15,
    pipeline: 1,
    timeout: 600,
    recycle: -1,
    idleTimeout: 0,
    prePing: true,
  })
  const before = process.cpuUsage()
  const waiting = Array.from({ length: WAITERS }, () => connections.checkout())
  report(`${WAITERS} who wait in the pool, processor time to queue them`, cpuSince(before), 's', {
    most: 0.5,
  })
  const queued = process.cpuUsage()
  await Promise.all(waiting.map(async (lease) => (await lease).release()))
  report('the same, to serve them all', cpuSince(queued), 's')
}

function cpuSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1_000_000
}

async function connections(server: string): Promise<void> {
  const many = (open: () => Promise<() => Promise<unknown>>) => async () => {
    const closes = await Promise.all(Array.from({ length: CONNECTIONS }, open))
    return () => Promise.all(closes.map((close) => close()))
  }
  const kinds: Record<string, () => Promise<() => Promise<unknown>>> = {
    'node-postgres': many(async () => {
      const client = new pg.Client({ connectionString: server })
      await client.connect()
      await client.query({ name: 'one', text: 'select $1::int', values: ['1'] })
      return () => client.end()
    }),
    'this library': async () => {
      const manager = new SessionManager({ engineOptions: { poolSize: CONNECTIONS, maxOverflow: 0 } })
      const engine = await manager.getEngine(server as `postgresql://${string}`)
      const held = await Promise.all(Array.from({ length: CONNECTIONS }, () => engine.connect()))
      for (const { db } of held) await db.execute(sql`select ${'1'}::int`)
      await Promise.all(held.map((connection) => connection.close()))
      return () => manager.dispose()
    },
    // Last: it keeps some of what it had for a while after `end()`, which the next ones would be credited with.
    'postgres.js': many(async () => {
      const client = postgres(server, { max: 1, fetch_types: false })
      await client.unsafe('select $1::int', ['1'], { prepare: true })
      return () => client.end()
    }),
  }
  for (const [name, open] of Object.entries(kinds)) {
    // What is made once for all of them is there then.
    await (await open())()
    const before = await heapUsed()
    const close = await open()
    const each = ((await heapUsed()) - before) / CONNECTIONS
    await close()
    report(
      `heap of 1,000 open connections, ${name} (${CONNECTIONS} times ${1_000 / CONNECTIONS})`,
      (each * 1_000) / 2 ** 20,
      'MiB',
    )
  }
}

async function heapUsed(): Promise<number> {
  for (let turn = 0; turn < 5; turn++) {
    globalThis.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return process.memoryUsage().heapUsed
}
