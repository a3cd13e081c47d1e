import { AbortedError, ClosedError, PoolTimeoutError } from 'drizzle-celery'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import type { Poolable } from '../../src/engine/idle-stack.ts'
import { Pool } from '../../src/engine/pool.ts'
import type { Lease, PoolRules } from '../../src/engine/pool-rules.ts'

/** A connection that obeys the test. */
class FakeConnection implements Poolable {
  lost: Error | null = null
  tainted = false
  onLost: (() => void) | null = null
  pings = 0
  isClosed = false
  readonly #open: Set<FakeConnection>
  answersPings: boolean | 'never' = true

  constructor(open: Set<FakeConnection>) {
    this.#open = open
    open.add(this)
  }

  async ping(): Promise<void> {
    this.pings++
    if (this.answersPings === 'never') await new Promise(() => {})
    if (!this.answersPings) throw new Error('no answer')
  }

  async close(): Promise<void> {
    this.isClosed = true
    this.#open.delete(this)
  }

  discard(reason: Error): void {
    this.lose(reason)
  }

  lose(reason = new Error('broke')): void {
    if (this.lost !== null) return
    this.lost = reason
    this.#open.delete(this)
    this.onLost?.()
  }
}

const RULES: PoolRules = {
  keep: 2,
  limit: 3,
  timeout: 5,
  recycle: -1,
  idleTimeout: 0,
  prePing: true,
}

function makePool(
  rules: Partial<PoolRules> = {},
  connect?: (make: () => FakeConnection) => Promise<FakeConnection>,
) {
  const open = new Set<FakeConnection>()
  const made: FakeConnection[] = []
  let peak = 0
  const make = () => {
    const connection = new FakeConnection(open)
    made.push(connection)
    peak = Math.max(peak, open.size)
    return connection
  }
  const pool = new Pool<FakeConnection>(
    async () => {
      await Promise.resolve()
      return connect === undefined ? make() : connect(make)
    },
    { ...RULES, ...rules },
  )
  return { pool, open, made, peak: () => peak }
}

const tick = () => new Promise((resolve) => setImmediate(resolve))

describe('a queue pool', () => {
  it('keeps poolSize connections and closes what is beyond when it is returned', async () => {
    const { pool, open } = makePool()
    const leases = await Promise.all([pool.checkout(), pool.checkout(), pool.checkout()])
    expect(pool.stats()).toMatchObject({ open: 3, checkedOut: 3, idle: 0 })

    for (const lease of leases) lease.release()
    await tick()

    expect(open.size).toBe(2)
    expect(pool.stats()).toMatchObject({ open: 2, checkedOut: 0, idle: 2 })
  })

  it('hands the same connection out again', async () => {
    const { pool, made } = makePool()
    for (let turn = 0; turn < 5; turn++) (await pool.checkout()).release()

    expect(made).toHaveLength(1)
    expect(made[0]?.pings).toBe(0)
  })

  it('counts a connection that was lost before it was there as one that failed', async () => {
    const { pool, made } = makePool({}, async (make) => {
      await tick()
      const connection = make()
      connection.lost = new Error('lost')
      return connection
    })

    await expect(pool.checkout()).rejects.toThrow('lost')
    expect(made).toHaveLength(1)
    expect(pool.stats()).toMatchObject({ open: 0, waiting: 0 })
  })

  it('never opens more than the limit, however many ask', async () => {
    const { pool, peak } = makePool()
    await Promise.all(
      Array.from({ length: 40 }, async () => {
        const lease = await pool.checkout()
        await tick()
        lease.release()
      }),
    )

    expect(peak()).toBe(3)
    expect(pool.stats()).toMatchObject({ checkedOut: 0, waiting: 0 })
  })

  it('serves waiters in the order in which they came', async () => {
    const { pool } = makePool({ keep: 1, limit: 1 })
    const held = await pool.checkout()
    const served: number[] = []
    const waiters = Array.from({ length: 100 }, (_, index) =>
      pool.checkout().then((lease) => {
        served.push(index)
        lease.release()
      }),
    )
    held.release()
    await Promise.all(waiters)

    expect(served).toEqual(Array.from({ length: 100 }, (_, index) => index))
  })

  it('rejects a waiter after poolTimeout with the numbers that explain it, and goes on', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      const { pool } = makePool({ limit: 1, keep: 1 })
      const held = await pool.checkout()
      const waiting = expect(pool.checkout()).rejects.toThrow(/within 5 s: 1 of 1 are checked out/)
      vi.advanceTimersByTime(4_999)
      expect(pool.stats().waiting).toBe(1)
      vi.advanceTimersByTime(1)
      await waiting
      held.release()

      await expect(pool.checkout()).resolves.toBeDefined()
      expect(pool.stats().waiting).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })

  it('tells a single statement at once that nothing can be opened, where no connection is kept', async () => {
    let connects = 0
    const rules = { keep: 0, limit: Number.POSITIVE_INFINITY, timeout: 0.2 }
    const { pool } = makePool(rules, async (make) => {
      if (++connects > 1) throw new Error('refused')
      return make()
    })
    const held = await pool.checkout()

    await expect(pool.share(tick)).rejects.toThrow('refused')
    expect(connects).toBe(2)
    held.release()
  })

  it('lets single statements go on with the connections that are kept when none can be opened for a holder', async () => {
    let isRefused = false
    const { pool } = makePool({}, async (make) => {
      if (isRefused) throw new Error('refused')
      return make()
    })
    const held = [await pool.checkout(), await pool.checkout()]
    isRefused = true
    const waiting = [pool.share(async () => 'done'), pool.share(async () => 'done')]

    await expect(pool.checkout()).rejects.toThrow('refused')
    for (const lease of held) lease.release()
    expect(await Promise.all(waiting)).toEqual(['done', 'done'])
  })

  it('serves others with what is idle while a connection is being opened for one of its own', async () => {
    let isHanging = false
    const { pool } = makePool({}, (make) =>
      isHanging ? new Promise<FakeConnection>(() => {}) : Promise.resolve(make()),
    )
    for (const lease of await Promise.all([pool.checkout(), pool.checkout()])) lease.release()
    isHanging = true
    const own = expect(pool.checkout({ ownConnection: true })).rejects.toThrow(ClosedError)

    expect(await pool.share(async () => 'done')).toBe('done')
    ;(await pool.checkout()).release()
    expect(pool.stats()).toMatchObject({ waiting: 1, idle: 2 })
    await pool.dispose(0)
    await own
  })

  it('counts who waits right when one gives up at the moment at which another could', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      let isRefused = false
      const { pool } = makePool({ prePing: false }, async (make) => {
        if (isRefused) throw new Error('refused')
        return make()
      })
      const [closing, idle, held] = await Promise.all([pool.checkout(), pool.checkout(), pool.checkout()])
      let closed = () => {}
      closing.connection.close = () => new Promise<void>((resolve) => (closed = resolve))
      closing.connection.tainted = true
      closing.release()
      idle.release()
      // The first one waits for the closing, and the second one behind it, although there is an idle one.
      const own = expect(pool.checkout({ ownConnection: true })).rejects.toThrow(PoolTimeoutError)
      const second = pool.checkout()
      vi.advanceTimersByTime(5_000)
      await own
      await second
      closed()
      isRefused = true
      await Promise.resolve()

      // One beyond those that are kept is opened at once for who wants to hold it.
      await expect(pool.checkout()).rejects.toThrow('refused')
      held.release()
    } finally {
      vi.useRealTimers()
    }
  })

  it('opens one more for a statement that waits, though the last try beyond those kept failed a moment ago', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      let isRefused = true
      const { pool } = makePool({ limit: 6 }, async (make) => {
        if (isRefused && pool.stats().open > 2) throw new Error('refused')
        return make()
      })
      const hang = () => new Promise<void>(() => {})
      for (let kept = 0; kept < 2; kept++) void pool.share(hang)
      await vi.advanceTimersByTimeAsync(0)
      const first = pool.share(async () => 'first')
      await vi.advanceTimersByTimeAsync(20)
      isRefused = false
      await pool.checkout()
      expect(await first).toBe('first')

      let isDone = false
      void pool.share(async () => {
        isDone = true
      })
      await vi.advanceTimersByTimeAsync(20)
      expect(isDone).toBe(true)
    } finally {
      vi.useRealTimers()
    }
  })

  it('tells a waiter that gets nothing of the connect that failed meanwhile', async () => {
    const refused = new Error('refused')
    const { pool } = makePool({ limit: 1, keep: 1, timeout: 0.1 }, async () => {
      await new Promise((resolve) => setTimeout(resolve, 60))
      throw refused
    })
    const results = await Promise.allSettled(Array.from({ length: 5 }, () => pool.checkout()))
    const errors = results.map((result) => (result.status === 'rejected' ? result.reason : undefined))
    const late = errors.filter((error) => error !== refused)

    expect(late.length).toBeGreaterThan(0)
    for (const error of late) {
      expect(error).toBeInstanceOf(PoolTimeoutError)
      expect(error).toMatchObject({ cause: refused, message: expect.stringMatching(/failed: see the cause/) })
    }
  })

  it('blames no connect that failed before, or was followed by a good one', async () => {
    let isRefusing = true
    const { pool } = makePool({ limit: 1, keep: 1, timeout: 0.02 }, async (make) => {
      if (isRefusing) throw new Error('refused')
      return make()
    })
    await expect(pool.checkout()).rejects.toThrow('refused')
    isRefusing = false
    await pool.checkout()

    const error = await pool.checkout().catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(PoolTimeoutError)
    expect(error).not.toHaveProperty('cause')
  })

  it('lets a waiter go whose signal is aborted, and never starts for one aborted before', async () => {
    const { pool, made } = makePool({ limit: 1, keep: 1 })
    const held = await pool.checkout()
    const controller = new AbortController()
    const waiting = pool.checkout({ signal: controller.signal })
    controller.abort('enough')

    await expect(waiting).rejects.toBeInstanceOf(AbortedError)
    await expect(pool.checkout({ signal: AbortSignal.abort() })).rejects.toBeInstanceOf(AbortedError)
    held.release()
    expect(pool.stats()).toMatchObject({ waiting: 0, checkedOut: 0 })
    expect(made).toHaveLength(1)
  })

  it('lets a waiter go who is told to, and nobody else when it is told late', async () => {
    const { pool } = makePool({ limit: 1, keep: 1 })
    const leaves: ((reason: Error) => void)[] = []
    const onWait = (leave: (reason: Error) => void) => void leaves.push(leave)
    ;(await pool.checkout()).release()
    const held = await pool.checkout({ onWait })
    expect(leaves).toEqual([])

    const leaving = pool.checkout({ onWait })
    const staying = pool.checkout({ onWait })
    leaves[0]?.(new Error('enough'))
    leaves[0]?.(new Error('again'))
    await expect(leaving).rejects.toThrow('enough')
    expect(pool.stats().waiting).toBe(1)
    held.release()
    leaves[1]?.(new Error('late'))

    await expect(staying).resolves.toBeDefined()
    expect(pool.stats()).toMatchObject({ waiting: 0, checkedOut: 1 })
  })

  it('gives a place back when a connect fails, and tells the one who asked', async () => {
    let attempt = 0
    const { pool, open } = makePool({}, async (make) => {
      if (attempt++ % 2 === 0) throw new Error('refused')
      return make()
    })
    const results = await Promise.allSettled(
      Array.from({ length: 200 }, async () => {
        const lease = await pool.checkout()
        await tick()
        if (Math.random() < 0.5) lease.connection.lose()
        lease.release()
      }),
    )
    await tick()

    expect(results.some(({ status }) => status === 'rejected')).toBe(true)
    expect(results.some(({ status }) => status === 'fulfilled')).toBe(true)
    const { totals, ...now } = pool.stats()
    expect(now).toEqual({ open: open.size, idle: open.size, checkedOut: 0, waiting: 0, running: 0 })
    expect(totals.opened - totals.closed).toBe(open.size)
  })

  it('is not held up by one connect that hangs', async () => {
    let isFirst = true
    const { pool } = makePool({ limit: 5 }, async (make) => {
      if (isFirst) {
        isFirst = false
        return new Promise(() => {})
      }
      return make()
    })
    const checkouts = Array.from({ length: 5 }, () => pool.checkout())

    await expect(Promise.all(checkouts.slice(0, 4))).resolves.toHaveLength(4)
    expect(pool.stats().waiting).toBe(1)
    const last = expect(checkouts[4]).rejects.toBeInstanceOf(ClosedError)
    await pool.dispose(0)
    await last
  })

  it('never hands on a connection that was lost while it was held', async () => {
    const { pool } = makePool()
    const first = await pool.checkout()
    first.connection.lose()
    expect(pool.stats()).toMatchObject({ open: 0, checkedOut: 0 })
    first.release()
    const second = await pool.checkout()

    expect(second.connection).not.toBe(first.connection)
    expect(pool.stats()).toMatchObject({ open: 1, checkedOut: 1 })
  })

  it('serves a waiter when a held connection is lost', async () => {
    const { pool } = makePool({ limit: 1, keep: 1 })
    const held = await pool.checkout()
    const waiting = pool.checkout()
    held.connection.lose()

    await expect(waiting).resolves.toBeDefined()
  })

  it('never hands on a tainted connection', async () => {
    const { pool, made } = makePool()
    const first = await pool.checkout()
    first.connection.tainted = true
    first.release()
    await tick()

    expect(made[0]?.isClosed).toBe(true)
    expect((await pool.checkout()).connection).toBe(made[1])
  })

  it('counts a second release for nothing', async () => {
    const { pool } = makePool()
    const first = await pool.checkout()
    first.release()
    const second = await pool.checkout()
    first.release()

    expect(second.connection).toBe(first.connection)
    expect(pool.stats()).toMatchObject({ checkedOut: 1, idle: 0 })
  })

  it('gives a connection of its own that nobody had and nobody gets, within the limit', async () => {
    const { pool, made, peak } = makePool()
    const before = await Promise.all([pool.checkout(), pool.checkout(), pool.checkout()])
    for (const lease of before) lease.release()
    await tick()
    const own = await pool.checkout({ ownConnection: true })
    expect(before.map((lease) => lease.connection)).not.toContain(own.connection)
    const others = await Promise.all([pool.checkout(), pool.checkout()])
    own.release()
    for (const other of others) other.release()
    await tick()

    expect(own.connection.isClosed).toBe(true)
    expect(peak()).toBe(3)
    expect(made.length).toBeGreaterThan(3)
  })
})

describe('pre-ping', () => {
  const idleFor = async (milliseconds: number, run: (advance: () => void) => Promise<void>) => {
    const now = performance.now()
    const clock = vi.spyOn(performance, 'now').mockReturnValue(now)
    try {
      await run(() => clock.mockReturnValue(now + milliseconds))
    } finally {
      clock.mockRestore()
    }
  }

  it('asks a connection for a sign of life only if it was idle for more than a second', async () => {
    await idleFor(999, async (advance) => {
      const { pool, made } = makePool()
      ;(await pool.checkout()).release()
      advance()
      ;(await pool.checkout()).release()
      expect(made[0]?.pings).toBe(0)
    })
    await idleFor(1_001, async (advance) => {
      const { pool, made } = makePool()
      ;(await pool.checkout()).release()
      advance()
      ;(await pool.checkout()).release()
      ;(await pool.checkout()).release()
      expect(made[0]?.pings).toBe(1)
    })
  })

  it('replaces a connection that does not answer, without the caller noticing', async () => {
    await idleFor(1_001, async (advance) => {
      const { pool, made } = makePool()
      const leases = await Promise.all([pool.checkout(), pool.checkout()])
      for (const lease of leases) {
        lease.connection.answersPings = false
        lease.release()
      }
      advance()
      const lease = await pool.checkout()

      await tick()

      expect(lease.connection).toBe(made[2])
      expect(made.map(({ lost }) => lost !== null)).toEqual([true, true, false])
    })
  })

  it('replaces a connection that is older than poolRecycle', async () => {
    await idleFor(35_000, async (advance) => {
      const { pool, made } = makePool({ recycle: 30 })
      ;(await pool.checkout()).release()
      advance()
      const lease = await pool.checkout()

      expect(lease.connection).toBe(made[1])
      expect(made[0]).toMatchObject({ isClosed: true, pings: 0 })
    })
  })
})

describe('connections that nobody uses', () => {
  const onFakeTime = async (run: () => Promise<void>) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      await run()
    } finally {
      vi.useRealTimers()
    }
  }
  const pass = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds)

  it('are closed when they were idle for idleTimeout, and not before', () =>
    onFakeTime(async () => {
      const { pool, open } = makePool({ keep: 3, idleTimeout: 60 })
      const leases = await Promise.all([pool.checkout(), pool.checkout(), pool.checkout()])
      for (const lease of leases) lease.release()
      await pass(59_999)
      expect(open.size).toBe(3)

      await pass(1)
      expect(open.size).toBe(0)
      expect(pool.stats()).toMatchObject({ open: 0, idle: 0 })
      await expect(pool.share(async () => 'served')).resolves.toBe('served')
    }))

  it('are those that a small load has no need of: the one returned last is taken first, also where it is pinged', () =>
    onFakeTime(async () => {
      const { pool, made, open } = makePool({ keep: 3, idleTimeout: 60 })
      for (const lease of await Promise.all([pool.checkout(), pool.checkout(), pool.checkout()]))
        lease.release()
      for (let second = 0; second < 70; second += 2) {
        await pool.share(async () => {})
        await pass(2_000)
      }

      expect([...open]).toEqual([made[2]])
    }))

  it('are closed at the age of poolRecycle, and those in use as soon as they are returned', () =>
    onFakeTime(async () => {
      const { pool, open } = makePool({ recycle: 30 })
      const [first, held] = await Promise.all([pool.checkout(), pool.checkout()])
      await pass(20_000)
      first.release()
      await pass(10_000)
      expect([...open]).toEqual([held.connection])

      held.release()
      await pass(1)
      expect(open.size).toBe(0)
    }))

  it('stay for ever where both are off, without a timer', () =>
    onFakeTime(async () => {
      const { pool, open } = makePool()
      ;(await pool.checkout()).release()

      expect(vi.getTimerCount()).toBe(0)
      expect(open.size).toBe(1)
    }))

  it('cost one timer, however often they are used', () =>
    onFakeTime(async () => {
      const { pool } = makePool({ idleTimeout: 60, recycle: 3_600 })
      for (let turn = 0; turn < 100; turn++) {
        await Promise.all([pool.share(async () => {}), pool.share(async () => {})])
        expect(vi.getTimerCount()).toBe(1)
      }

      await pool.dispose(1)
      expect(vi.getTimerCount()).toBe(0)
    }))
})

describe('idle connections that died', () => {
  const idleOnes = async (count: number) => {
    const fakes = makePool({ keep: count, limit: count + 2 })
    const leases = await Promise.all(Array.from({ length: count }, () => fakes.pool.checkout()))
    for (const lease of leases) lease.release()
    return { ...fakes, idle: leases.map(({ connection }) => connection) }
  }

  it('hang all at once: whoever comes waits for one ping that hangs, not for all', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      const { pool, idle, made } = await idleOnes(5)
      for (const connection of idle) connection.answersPings = 'never'
      await vi.advanceTimersByTimeAsync(2_000)
      const served = pool.share(async (connection) => connection)
      await vi.advanceTimersByTimeAsync(1_000)
      expect(await served).toBe(made[5])

      await vi.advanceTimersByTimeAsync(1_000)
      expect(idle.every(({ lost }) => lost !== null)).toBe(true)
      expect(pool.stats()).toMatchObject({ open: 1, waiting: 0 })
    } finally {
      vi.useRealTimers()
    }
  })

  it('cost those their place only that are dead: the others are asked and kept', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      const { pool, idle } = await idleOnes(5)
      const [dead] = idle.slice(-1)
      if (dead) dead.answersPings = false
      await vi.advanceTimersByTimeAsync(2_000)
      await pool.share(async () => {})
      await vi.advanceTimersByTimeAsync(0)

      expect(idle.map(({ lost }) => lost !== null)).toEqual([false, false, false, false, true])
      expect(pool.stats()).toMatchObject({ open: 5, idle: 5 })
      expect(idle.map(({ pings }) => pings)).toEqual([1, 1, 1, 1, 1])
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('a server that lets nobody in for a moment', () => {
  class Busy extends Error {}
  const mayPass = (error: Error) => error instanceof Busy
  const crowded = (rules: Partial<PoolRules> = {}) => {
    const server = { room: 0, attempts: 0, asking: 0, mostAsking: 0 }
    const fakes = makePool({ mayPass, ...rules }, async (make) => {
      server.attempts++
      server.mostAsking = Math.max(server.mostAsking, ++server.asking)
      await Promise.resolve()
      server.asking--
      if (fakes.open.size >= server.room) throw new Busy('too many connections')
      return make()
    })
    return { ...fakes, server }
  }
  const onFakeTime = async (run: () => Promise<void>) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      await run()
    } finally {
      vi.useRealTimers()
    }
  }

  it('is asked again until it has room', () =>
    onFakeTime(async () => {
      const { pool, server } = crowded()
      const waiting = Promise.all([pool.checkout(), pool.share(async () => 'served')])
      await vi.advanceTimersByTimeAsync(3_000)
      expect(pool.stats().waiting).toBe(2)
      server.room = 2
      await vi.advanceTimersByTimeAsync(1_100)

      await expect(waiting).resolves.toHaveLength(2)
    }))

  it('is asked by one at a time, at distances that grow to a second', () =>
    onFakeTime(async () => {
      const random = vi.spyOn(Math, 'random').mockReturnValue(0.999_999)
      const { pool, server } = crowded({ keep: 0, limit: 50, timeout: 30 })
      const waiting = Promise.allSettled(Array.from({ length: 50 }, () => pool.checkout()))
      await vi.advanceTimersByTimeAsync(0)
      const atFirst = server.attempts
      server.mostAsking = 0
      await vi.advanceTimersByTimeAsync(10_000)
      random.mockRestore()

      expect(atFirst).toBe(50)
      expect(server.mostAsking).toBe(1)
      // 50, 100, 200, 400 and 800 ms, then a second each.
      expect(server.attempts - atFirst).toBe(13)
      await pool.dispose(0)
      await waiting
    }))

  it('is given up after poolTimeout, with its last word as the cause', () =>
    onFakeTime(async () => {
      const { pool } = crowded()
      const failures = Promise.all(
        [pool.checkout(), pool.share(async () => 'served')].map((work) =>
          work.catch((error: unknown) => error),
        ),
      )
      await vi.advanceTimersByTimeAsync(4_900)
      expect(pool.stats().waiting).toBe(2)
      await vi.advanceTimersByTimeAsync(100)

      for (const error of await failures) {
        expect(error).toBeInstanceOf(PoolTimeoutError)
        expect(error).toHaveProperty('cause', expect.any(Busy))
      }
    }))

  it('lets the connections that are there go round meanwhile', () =>
    onFakeTime(async () => {
      const { pool, server } = crowded({ keep: 5, limit: 10 })
      server.room = 2
      const held = [await pool.checkout(), await pool.checkout()]
      const waiting = Array.from({ length: 20 }, async () => {
        const lease = await pool.checkout()
        await lease.release()
      })
      await vi.advanceTimersByTimeAsync(2_000)
      for (const lease of held) lease.release()

      await Promise.all(waiting)
      expect(pool.stats()).toMatchObject({ open: 2, waiting: 0 })
    }))

  it('keeps nobody who is told to stop: by its signal or by dispose', () =>
    onFakeTime(async () => {
      const { pool } = crowded()
      const controller = new AbortController()
      const aborted = expect(pool.checkout({ signal: controller.signal })).rejects.toBeInstanceOf(
        AbortedError,
      )
      const closed = expect(pool.checkout()).rejects.toBeInstanceOf(ClosedError)
      await vi.advanceTimersByTimeAsync(1_000)
      controller.abort()
      await aborted
      await pool.dispose(1)
      await closed

      expect(vi.getTimerCount()).toBe(0)
    }))

  it('is not waited for when it refuses for another reason', () =>
    onFakeTime(async () => {
      let error: Error = new Busy('too many connections')
      const { pool } = makePool({ mayPass }, async () => {
        throw error
      })
      const waiting = expect(pool.checkout()).rejects.toThrow('wrong password')
      await vi.advanceTimersByTimeAsync(500)
      error = new Error('wrong password')
      await vi.advanceTimersByTimeAsync(1_000)
      await waiting
    }))
})

describe('single statements', () => {
  it('take turns on the connections that are kept, one at a time on each', async () => {
    // Time stands still: who waits for long has one more opened.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      const { pool, made } = makePool()
      const running = new Map<FakeConnection, number>()
      let most = 0
      await Promise.all(
        Array.from({ length: 64 }, () =>
          pool.share(async (connection) => {
            const count = (running.get(connection) ?? 0) + 1
            running.set(connection, count)
            most = Math.max(most, count)
            await tick()
            running.set(connection, count - 1)
          }),
        ),
      )

      expect(made).toHaveLength(2)
      expect(running.size).toBe(2)
      expect(most).toBe(1)
    } finally {
      vi.useRealTimers()
    }
  })

  it('have one more connection opened when those that are kept stay in use', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      const { pool, made } = makePool()
      const slow = [pool.share(() => new Promise(() => {})), pool.share(() => new Promise(() => {}))]
      await tick()
      const quick = pool.share(async (connection) => connection)
      await tick()
      expect(made).toHaveLength(2)
      expect(pool.stats()).toMatchObject({ running: 2, waiting: 1 })

      vi.advanceTimersByTime(10)
      expect(await quick).toBe(made[2])
      expect(slow).toHaveLength(2)
    } finally {
      vi.useRealTimers()
    }
  })

  it('go on waiting where no more connections can be opened, and try again a second later', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      let attempts = 0
      const { pool, made } = makePool({}, async (make) => {
        if (++attempts === 3) throw new Error('too many clients')
        return make()
      })
      const finish: (() => void)[] = []
      const held = () => pool.share(() => new Promise<void>((resolve) => finish.push(resolve)))
      const slow = [held(), held()]
      await tick()
      const quick = pool.share(async (connection) => connection)
      vi.advanceTimersByTime(10)
      await tick()
      expect(attempts).toBe(3)
      expect(pool.stats()).toMatchObject({ open: 2, waiting: 1 })
      vi.advanceTimersByTime(990)
      await tick()
      expect(attempts).toBe(3)

      vi.advanceTimersByTime(11)
      expect(await quick).toBe(made[2])
      for (const resolve of finish) resolve()
      await Promise.all(slow)
    } finally {
      vi.useRealTimers()
    }
  })

  it('never run on a connection that somebody holds', async () => {
    const { pool } = makePool()
    const lease = await pool.checkout()
    const used = await Promise.all(
      Array.from({ length: 20 }, () => pool.share(async (connection) => connection)),
    )

    expect(used).not.toContain(lease.connection)
  })

  it('wait when all connections are held, and do not starve who wants to hold one', async () => {
    const { pool } = makePool({ limit: 1, keep: 1 })
    const order: string[] = []
    const held = await pool.checkout()
    const first = pool.share(async () => order.push('statement 1'))
    const lease = pool.checkout().then((granted) => {
      order.push('holder')
      return granted
    })
    const second = pool.share(async () => order.push('statement 2'))
    held.release()
    await first
    ;(await lease).release()
    await second

    expect(order).toEqual(['statement 1', 'holder', 'statement 2'])
  })

  it('pass their failure on and free the connection', async () => {
    const { pool } = makePool()
    await expect(pool.share(() => Promise.reject(new Error('no')))).rejects.toThrow('no')

    expect(pool.stats()).toMatchObject({ running: 0, idle: 1 })
  })
})

describe('dispose', () => {
  it('rejects waiters, lets holders finish, and closes everything', async () => {
    const { pool, open } = makePool({ limit: 1, keep: 1 })
    const held = await pool.checkout()
    const waiting = expect(pool.checkout()).rejects.toBeInstanceOf(ClosedError)
    const disposed = pool.dispose(5)
    await waiting
    expect(open.size).toBe(1)
    held.release()
    await disposed

    expect(open.size).toBe(0)
    expect(pool.dispose(5)).toBe(pool.dispose(1))
    await expect(pool.checkout()).rejects.toBeInstanceOf(ClosedError)
    await expect(pool.share(async () => 1)).rejects.toBeInstanceOf(ClosedError)
  })

  it('breaks what is held when the grace is over', async () => {
    const { pool, open } = makePool()
    const held = await pool.checkout()
    await pool.dispose(0.01)

    expect(held.connection.lost).toBeInstanceOf(ClosedError)
    expect(open.size).toBe(0)
  })

  it('closes a connection that arrives too late', async () => {
    let arrive = () => {}
    const { pool, open } = makePool({}, (make) => new Promise((resolve) => (arrive = () => resolve(make()))))
    const waiting = expect(pool.checkout()).rejects.toBeInstanceOf(ClosedError)
    await tick()
    const disposed = pool.dispose(5)
    arrive()
    await Promise.all([waiting, disposed])

    expect(open.size).toBe(0)
  })
})

it('a pool that keeps nothing opens and closes a connection for each use', async () => {
  const { pool, made, open } = makePool({ keep: 0, limit: Number.POSITIVE_INFINITY })
  for (let turn = 0; turn < 3; turn++) (await pool.checkout()).release()
  await pool.share(async () => {})
  await tick()

  expect(made).toHaveLength(4)
  expect(open.size).toBe(0)
})

it('counters stay right and nobody is forgotten, whatever happens in whatever order', async () => {
  const action = fc.constantFrom(
    'checkout',
    'own',
    'share',
    'release',
    'lose',
    'taint',
    'fail connect',
    'turn',
  )
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 60 }), async (actions) => {
      let failing = 0
      const { pool, open, peak } = makePool({}, async (make) => {
        if (failing > 0) {
          failing--
          throw new Error('refused')
        }
        return make()
      })
      const leases: Lease<FakeConnection>[] = []
      const pending: Promise<unknown>[] = []
      const take = (checkout: Promise<Lease<FakeConnection>>) =>
        pending.push(checkout.then((lease) => leases.push(lease)).catch((error: unknown) => error))
      for (const next of actions) {
        if (next === 'checkout') take(pool.checkout())
        if (next === 'own') take(pool.checkout({ ownConnection: true }))
        if (next === 'share') pending.push(pool.share(tick).catch((error: unknown) => error))
        if (next === 'release') leases.shift()?.release()
        if (next === 'lose') leases[0]?.connection.lose()
        if (next === 'taint' && leases[0] !== undefined) leases[0].connection.tainted = true
        if (next === 'fail connect') failing++
        if (next === 'turn') await tick()
        expect(pool.stats().open).toBeLessThanOrEqual(RULES.limit)
      }
      failing = 0
      for (let turn = 0; turn < 200 && pool.stats().waiting > 0; turn++) {
        leases.shift()?.release()
        await tick()
      }
      const failures = await Promise.all(pending)
      for (const lease of leases) lease.release()
      await tick()

      expect(failures.filter((failure) => failure instanceof PoolTimeoutError)).toEqual([])
      expect(peak()).toBeLessThanOrEqual(RULES.limit)
      const { totals, ...now } = pool.stats()
      expect(totals.opened - totals.closed).toBe(open.size)
      expect(totals.timeouts).toBe(0)
      expect(now).toEqual({
        open: open.size,
        idle: open.size,
        checkedOut: 0,
        waiting: 0,
        running: 0,
      })
      expect(open.size).toBeLessThanOrEqual(RULES.keep)
      await pool.dispose(1)
      expect(open.size).toBe(0)
    }),
    { numRuns: 300 },
  )
})

it('nobody waits beside an idle connection, the limit holds and everybody is told, whatever servers and networks do', async () => {
  const action = fc.constantFrom(
    ...['checkout', 'checkout', 'share', 'share', 'slow statement', 'release', 'lose'],
    ...['a ping hangs', 'a ping fails', 'busy', 'refusing', 'open again', 'connects hang', 'turn'],
    ...['half a second', 'two seconds', 'a minute'],
  )
  const rules = { keep: 3, limit: 5, idleTimeout: 45, recycle: 100 }
  class Busy extends Error {}

  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 60 }), async (actions) => {
        // A program that failed leaves its own behind.
        vi.clearAllTimers()
        let refusal: Error | null = null
        let connectsTake = 0
        const { pool, open, peak } = makePool(
          { ...rules, mayPass: (error) => error instanceof Busy },
          async (make) => {
            if (connectsTake > 0) await new Promise((resolve) => setTimeout(resolve, connectsTake))
            if (refusal !== null) throw refusal
            return make()
          },
        )
        const leases: Lease<FakeConnection>[] = []
        const pending = new Set<Promise<unknown>>()
        const track = (work: Promise<unknown>) => {
          const settled = work.catch(() => {}).finally(() => pending.delete(settled))
          pending.add(settled)
        }
        const pass = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds)
        const idleOne = () =>
          [...open].findLast(({ lost, answersPings }) => lost === null && answersPings === true)
        const steps: Record<string, () => unknown> = {
          checkout: () => track(pool.checkout().then((lease) => leases.push(lease))),
          share: () => track(pool.share(tick)),
          'slow statement': () =>
            track(pool.share(() => new Promise((resolve) => setTimeout(resolve, 3_000)))),
          release: () => leases.shift()?.release(),
          lose: () => [...open][0]?.lose(),
          'a ping hangs': () => {
            const connection = idleOne()
            if (connection) connection.answersPings = 'never'
          },
          'a ping fails': () => {
            const connection = idleOne()
            if (connection) connection.answersPings = false
          },
          busy: () => {
            refusal = new Busy()
          },
          refusing: () => {
            refusal = new Error('refused')
          },
          'open again': () => {
            refusal = null
            connectsTake = 0
          },
          'connects hang': () => {
            connectsTake = 4_000
          },
          turn: tick,
          'half a second': () => pass(500),
          'two seconds': () => pass(2_000),
          'a minute': () => pass(60_000),
        }
        for (const next of actions) {
          await steps[next]?.()
          await pass(0)
          const { waiting } = pool.stats()
          const isThereOne = [...pool.members].some(
            (member) =>
              'status' in member &&
              member.status === 'idle' &&
              'aliveAt' in member &&
              performance.now() - Number(member.aliveAt) <= 1_000 &&
              'openedAt' in member &&
              performance.now() - Number(member.openedAt) <= rules.recycle * 1_000,
          )
          expect(waiting > 0 && isThereOne).toBe(false)
          expect(pool.stats().open).toBeLessThanOrEqual(rules.limit)
        }

        refusal = null
        connectsTake = 0
        for (let turn = 0; turn < 100 && pending.size > 0; turn++) {
          for (const lease of leases.splice(0)) lease.release()
          await pass(500)
          await tick()
        }
        for (const lease of leases) lease.release()
        // Connects and pings that nobody waits for any more.
        await pass(4_000)

        expect(pending.size).toBe(0)
        expect(peak()).toBeLessThanOrEqual(rules.limit)
        expect(pool.stats()).toMatchObject({ checkedOut: 0, waiting: 0, running: 0, open: open.size })
        await pass(46_000)
        expect(open.size).toBe(0)
        await pool.dispose(1)
        expect(vi.getTimerCount()).toBe(0)
      }),
      { numRuns: 300 },
    )
  } finally {
    vi.useRealTimers()
  }
})
