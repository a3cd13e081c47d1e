import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { Connection } from '../../src/driver/types.ts'
import { Scope } from '../../src/engine/scope.ts'

/** Who waits for whom on one held connection. What scopes do on databases: conformance. */

describe('a level with an inner one open', () => {
  it('takes 2,000 transactions at once, one after the other, and wakes none of them for nothing', async () => {
    const { log, transaction } = await open()
    const timers = vi.spyOn(globalThis, 'setTimeout')

    await Promise.all(
      Array.from({ length: 2_000 }, async (_, index) => {
        const inner = await transaction.begin()
        await inner.run(statement(`${index}`))
        await inner.commit()
      }),
    )
    const count = timers.mock.calls.length
    timers.mockRestore()

    expect(log).toEqual(
      Array.from({ length: 2_000 }, (_, index) => [
        'savepoint dc_1',
        `${index}`,
        'release savepoint dc_1',
      ]).flat(),
    )
    // One for each time that one of them was woken would be two millions.
    expect(count).toBeLessThan(2_000)
  })

  it('does what has waited in the order in which it came', async () => {
    const { log, transaction } = await open()
    const inner = await transaction.begin()

    const waiting = [
      transaction.run(statement('first')),
      transaction.begin().then(async (second) => {
        await second.run(statement('in the second'))
        await second.rollback()
      }),
      transaction.run(statement('third')),
      transaction.commit(),
    ]
    const late = transaction.run(statement('late')).catch((error: unknown) => error)
    await inner.run(statement('in the inner one'))
    await inner.commit()
    await Promise.all(waiting)

    expect(log).toEqual([
      ...['savepoint dc_1', 'in the inner one', 'release savepoint dc_1', 'first'],
      ...['savepoint dc_1', 'in the second', 'rollback to savepoint dc_1', 'third', 'commit'],
    ])
    expect(await late).toHaveProperty('code', 'CLOSED')
  })

  it('refuses what has waited for one inner level for too long, and not for being behind many short ones', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const { log, transaction } = await open({ turnTimeout: 0.5 })
    const short = Array.from({ length: 10 }, async () => {
      const inner = await transaction.begin()
      await new Promise((resolve) => setTimeout(resolve, 100))
      await inner.commit()
    })
    const behind = transaction.run(statement('behind'))
    await vi.advanceTimersByTimeAsync(1_000)
    await Promise.all([...short, behind])
    const inner = await transaction.begin()

    const refusals = Promise.all(
      [transaction.run(statement('refused')), transaction.begin(), transaction.commit()].map((promise) =>
        promise.catch((error: unknown) => error),
      ),
    )
    await vi.advanceTimersByTimeAsync(500)
    const refused = await refusals
    await inner.commit()
    await transaction.run(statement('afterwards'))

    for (const error of refused) expect(error).toHaveProperty('code', 'NESTED_TRANSACTION_OPEN')
    expect(log.filter((sql) => !sql.includes('savepoint'))).toEqual(['behind', 'afterwards'])
  })
})

describe('a savepoint', () => {
  it('is set, released and gone back to by the methods of a connection that has them', async () => {
    const log: string[] = []
    const { transaction, log: texts } = await open({
      savepoint: async (name) => void log.push(`set ${name}`),
      release: async (name) => void log.push(`release ${name}`),
      rollbackTo: async (name) => void log.push(`back to ${name}`),
    })

    const outer = await transaction.begin()
    const inner = await outer.begin()
    await inner.rollback()
    await outer.commit()

    expect(log).toEqual(['set dc_1', 'set dc_2', 'back to dc_2', 'release dc_1'])
    expect(texts).toEqual([])
  })

  it('fails as its connection does', async () => {
    const { transaction } = await open({ savepoint: () => Promise.reject(new Error('refused')) })

    await expect(transaction.begin()).rejects.toThrow('refused')
  })
})

async function open({
  turnTimeout = 30,
  ...savepoints
}: { turnTimeout?: number } & Pick<Connection, 'savepoint' | 'release' | 'rollbackTo'> = {}) {
  const log: string[] = []
  const connection: Connection = {
    ...savepoints,
    lost: null,
    tainted: false,
    onLost: null,
    async run({ sql }) {
      log.push(sql)
    },
    async begin() {},
    async commit() {
      log.push('commit')
      return true
    },
    async rollback() {},
    async ping() {},
    discard() {},
    async close() {},
  }
  return { log, transaction: await Scope.autocommit(connection, { turnTimeout }).begin() }
}

function statement(sql: string) {
  return { sql, params: [], asArrays: false }
}
