/** What was acknowledged stays, what was undone is gone, and everything settles, whatever breaks. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { childRun, scenario } from '../fixtures/child-run.ts'
import { FaultProxy } from '../fixtures/fault-proxy.ts'
import { isLong, loops } from '../fixtures/loops.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'
import { Observer } from './support.ts'

/** What may come of an operation when anything may break; each says by its type whether to try again. */
const expected = [
  'CONNECTION_LOST',
  'PENDING_ROLLBACK',
  'STATEMENT_TIMEOUT',
  'CONNECT_FAILED',
  'CONNECT_TIMEOUT',
  'POOL_TIMEOUT',
]

interface Account {
  readonly operations: number
  readonly acknowledged: number
  readonly aborted: number
  readonly errors: Readonly<Record<string, number>>
}

describeNeeding('postgresql', 'chaos', () => {
  const database = freshPostgres()
  let observer: Observer
  let proxy: FaultProxy

  beforeEach(async () => {
    observer = new Observer(database.dburi)
    await observer.sql`create table faults (id text primary key)`
    proxy = await FaultProxy.before(database.dburi)
  })
  afterEach(async () => {
    await proxy.close()
    await observer[Symbol.asyncDispose]()
  })

  it('T01 24 workers lose nothing acknowledged while connections break every 0.1 to 0.25 s', {
    tags: 'full',
    timeout: isLong ? 600_000 : 150_000,
  }, async () => {
    const seconds = loops(6, 25)
    const faults: Record<string, () => unknown> = {
      rst: () => proxy.kill('rst'),
      fin: () => proxy.kill('fin'),
      terminate: () => observer.sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'drizzle-celery' and datname = current_database() order by random() limit 3`,
      blackhole: async () => {
        proxy.mode = 'blackhole'
        await sleep(between(100, 250))
        proxy.mode = 'pass'
      },
    }
    let isOver = false
    const run = childRun(scenario('faults-chaos'), {
      arguments: [proxy.dburi, database.dburi, String(seconds)],
      timeout: (seconds + 100) * 1_000,
    }).finally(() => {
      isOver = true
    })
    let injected = 0
    for (const names = Object.keys(faults); !isOver; injected++) {
      await faults[names[injected % names.length] ?? '']?.()
      await sleep(between(100, 250))
    }

    const { exitCode, stdout, stderr, emitted } = await run
    const account = emitted[0] as Account
    console.log(`T01: ${injected} faults in ${seconds} s, ${JSON.stringify(account)}`)
    expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 0, stdout: '', stderr: '' })
    expect(account).toMatchObject({ lost: 0, abortedPresent: 0, halves: 0, unsettled: 0, left: 0 })
    expect(Object.keys(account.errors).filter((code) => !expected.includes(code))).toEqual([])
    // So that the figures above mean something: work was done, and it was disturbed.
    expect(account.operations).toBeGreaterThan(seconds * 8)
    expect(account.acknowledged).toBeGreaterThan(seconds * 4)
    expect(account.errors).toHaveProperty('CONNECTION_LOST')
  })
})

function between(least: number, most: number): number {
  return least + Math.random() * (most - least)
}
