/** More pools than a server has room for, as many processes make them: everybody has his turn within `poolTimeout`. */
import { setTimeout as sleep } from 'node:timers/promises'
import { SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { isLong, loops } from '../fixtures/loops.ts'
import { openMariadbServer } from '../fixtures/mariadb-server.ts'
import { openPgServer } from '../fixtures/pg-server.ts'
import { describeNeeding } from '../fixtures/servers.ts'
import { codeOf, times } from './support.ts'

/** Each opens two connections; the server takes a quarter of them. By `LONG=1` these are 200 pools and 100 connections. */
const POOLS = loops(40, 200)
const CONNECTIONS = POOLS / 2
const timeout = isLong ? 600_000 : 180_000

describeNeeding('private postgresql', 'a crowd at PostgreSQL', () => {
  it('has no operation fail', { tags: 'full', timeout }, async () => {
    await using server = await openPgServer({ settings: { max_connections: String(CONNECTIONS) } })

    expect(await crowd(server.dburi)).toEqual({})
  })
})

describeNeeding('private mariadb', 'a crowd at MariaDB', () => {
  it('has no operation fail', { timeout }, async () => {
    // Who finds the server's queue of connects full, by default of 70 here, waits for the kernel: up to a minute.
    const settings = [`--max-connections=${CONNECTIONS}`, `--back-log=${2 * POOLS}`]
    await using server = await openMariadbServer({ settings: () => settings })

    expect(await crowd(server.dburi)).toEqual({})
  })
})

/**
 * What operations reject with, and how often, where each pool is closed when its ten are done. All connect in the same turn of
 * one event loop, as no 200 processes do: how long that takes says nothing of the crowd.
 */
async function crowd(server: string): Promise<Record<string, number>> {
  const failures: Record<string, number> = {}
  const dburi = `${server}?connect_timeout=60`
  await times(POOLS, async () => {
    const options = { poolSize: 2, maxOverflow: 0, poolTimeout: 60 }
    await using manager = new SessionManager({ prepare: 'none', engineOptions: options })
    const operations = Array.from({ length: 10 }, () =>
      manager.session(dburi as 'postgresql://', async (db) => {
        await db.execute(sql`select 1`)
        await sleep(5)
      }),
    )
    for (const outcome of await Promise.allSettled(operations)) {
      if (outcome.status === 'fulfilled') continue
      const code = String(codeOf(outcome.reason))
      failures[code] = (failures[code] ?? 0) + 1
    }
  })
  return failures
}
