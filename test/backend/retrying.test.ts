import dns from 'node:dns'
import { createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { DatabaseBackend } from '../../src/backend/database-backend.ts'
import { AmbiguousOutcomeError, BackendStoreError } from '../../src/backend/errors.ts'
import { NotBegunError, type Operation, type RetryPolicy, retrying } from '../../src/backend/retrying.ts'
import {
  ConnectError,
  ConnectionLostError,
  NotServingError,
  PoolTimeoutError,
  StatementTimeoutError,
  TransactionConflictError,
} from '../../src/errors.ts'
import { SessionManager } from '../../src/session/open-manager.ts'
import { askPostgres } from '../fixtures/catalogue.ts'
import { type FaultMode, FaultProxy } from '../fixtures/fault-proxy.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'
import { newId } from './behaviour.ts'

const POLICY: RetryPolicy = { retries: 3, base: 0, max: 0, deadline: Number.POSITIVE_INFINITY }

const refused = () => new ConnectError('CONNECT_FAILED', { host: 'h', port: 1 }, 'refused')
const lost = () => new ConnectionLostError('lost')
const serverError = (code: string) => Object.assign(new Error('PostgreSQL says'), { code })
const conflict = (code: string) => new TransactionConflictError('undone', { cause: serverError(code) })

/** Attempts that fail with each of these errors in turn, and succeed then. */
function failing(errors: readonly (() => Error)[], rest: Omit<Operation<string>, 'attempt'> = {}) {
  const left = [...errors]
  const attempt = vi.fn(async (afterLoss: boolean) => {
    const next = left.shift()
    if (next !== undefined) throw next()
    return afterLoss ? 'after a loss' : 'done'
  })
  return { attempt, operation: { ...rest, attempt } }
}

const STORE = {
  writing: 'storing',
  exhausted: (cause: unknown, isUnknown: boolean) =>
    new BackendStoreError('t', 'SUCCESS', isUnknown, { cause }),
}

describe('retrying', () => {
  it('9 to 15, 23, 24: what may pass is tried again', async () => {
    for (const error of [
      refused,
      lost,
      () => new ConnectError('CONNECT_TIMEOUT', { host: 'h', port: 1 }, 'slow'),
      () => new TransactionConflictError('busy'),
      ...['40001', '40P01', '55P03', '53300', '08006', '57P01'].map((code) => () => serverError(code)),
    ]) {
      const { attempt, operation } = failing([error, error], STORE)

      await expect(retrying(operation, POLICY)).resolves.toMatch(/done|after a loss/)
      expect(attempt).toHaveBeenCalledTimes(3)
    }
  })

  it('what MySQL says may pass is tried again, the rest is thrown as it came', async () => {
    const says = (code: string, sqlState: string) => () =>
      Object.assign(new Error('MySQL says'), { code, sqlState, errno: 1 })
    const refusing = (code: string, sqlState: string) => () =>
      new ConnectError('CONNECT_FAILED', { host: 'h', port: 1 }, 'no', { cause: says(code, sqlState)() })

    for (const error of [
      says('ER_LOCK_DEADLOCK', '40001'),
      says('ER_LOCK_WAIT_TIMEOUT', 'HY000'),
      says('ER_CHECKREAD', 'HY000'),
      says('ER_SERVER_SHUTDOWN', '08S01'),
      refusing('ER_CON_COUNT_ERROR', '08004'),
    ]) {
      const { attempt, operation } = failing([error, error], STORE)
      await expect(retrying(operation, POLICY)).resolves.toMatch(/done|after a loss/)
      expect(attempt).toHaveBeenCalledTimes(3)
    }
    for (const error of [
      says('ER_NO_SUCH_TABLE', '42S02'),
      says('ER_DUP_ENTRY', '23000'),
      says('ER_DATA_TOO_LONG', '22001'),
      refusing('ER_ACCESS_DENIED_ERROR', '28000'),
      refusing('ER_BAD_DB_ERROR', '42000'),
    ]) {
      const { attempt, operation } = failing([error], STORE)
      await expect(retrying(operation, POLICY)).rejects.toThrow(/MySQL says|no/)
      expect(attempt).toHaveBeenCalledOnce()
    }
  })

  it('of several hosts one that may come back is enough, whichever comes last', async () => {
    const at = (code: 'CONNECT_FAILED' | 'NO_SUITABLE_HOST' | 'TLS_FAILED' | 'CONNECT_TIMEOUT') =>
      new ConnectError(code, { host: 'h', port: 1 }, 'no')
    const none = (...failures: ConnectError[]) =>
      new ConnectError(failures.at(-1)?.code ?? 'CONNECT_FAILED', { host: 'h', port: 1 }, 'none', {
        cause: new AggregateError(failures),
      })

    for (const error of [
      none(at('CONNECT_FAILED'), at('NO_SUITABLE_HOST')),
      none(at('NO_SUITABLE_HOST'), at('NO_SUITABLE_HOST')),
      none(at('CONNECT_TIMEOUT'), at('TLS_FAILED')),
      at('NO_SUITABLE_HOST'),
      new NotServingError('not me'),
      serverError('25006'),
    ]) {
      const { attempt, operation } = failing([() => error, () => error], STORE)
      await expect(retrying(operation, POLICY)).resolves.toBe('done')
      expect(attempt).toHaveBeenCalledTimes(3)
    }
    const { operation } = failing([() => none(at('TLS_FAILED'), at('TLS_FAILED'))], STORE)
    await expect(retrying(operation, POLICY)).rejects.toMatchObject({ code: 'TLS_FAILED' })
  })

  it('18, 23: what cannot help is thrown at once, as it came', async () => {
    for (const error of [
      new TypeError('a bug'),
      serverError('42P01'),
      serverError('23505'),
      new ConnectError('TLS_FAILED', { host: 'h', port: 1 }, 'no'),
      new ConnectError('CONNECT_FAILED', { host: 'h', port: 1 }, 'password', { cause: serverError('28P01') }),
    ]) {
      const { attempt, operation } = failing([() => error], STORE)

      await expect(retrying(operation, POLICY)).rejects.toBe(error)
      expect(attempt).toHaveBeenCalledOnce()
    }
  })

  it('16: after the last retry the error says what could not be done', async () => {
    const { attempt, operation } = failing([refused, refused, refused], STORE)

    const error = await retrying(operation, { ...POLICY, retries: 2 }).catch((reason: unknown) => reason)

    expect(attempt).toHaveBeenCalledTimes(3)
    expect(error).toBeInstanceOf(BackendStoreError)
    expect(error).toMatchObject({
      taskId: 't',
      state: 'SUCCESS',
      isOutcomeUnknown: false,
      cause: { code: 'CONNECT_FAILED' },
    })
  })

  it('19: without retries the original error is thrown', async () => {
    const { attempt, operation } = failing([refused], STORE)

    await expect(retrying(operation, { ...POLICY, retries: 0 })).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
    })
    expect(attempt).toHaveBeenCalledOnce()
  })

  it('a repeat is marked after a lost connection, and not after a refused one', async () => {
    expect(await retrying(failing([refused]).operation, POLICY)).toBe('done')
    expect(await retrying(failing([lost, refused]).operation, POLICY)).toBe('after a loss')
  })

  it('a write whose outcome is unknown and that is not repeated is an error of its own', async () => {
    const timeout = () => new StatementTimeoutError(1)
    const stopped = await retrying(failing([timeout], STORE).operation, POLICY).catch(
      (reason: unknown) => reason,
    )
    const once = await retrying(failing([lost], STORE).operation, { ...POLICY, retries: 0 }).catch(
      (reason: unknown) => reason,
    )
    const later = await retrying(failing([lost, () => serverError('42P01')], STORE).operation, POLICY).catch(
      (reason: unknown) => reason,
    )

    for (const error of [stopped, once, later]) expect(error).toBeInstanceOf(AmbiguousOutcomeError)
    expect(stopped).toMatchObject({ code: 'AMBIGUOUS_OUTCOME', cause: { code: 'STATEMENT_TIMEOUT' } })
  })

  it('an exhausted write says whether an attempt may have come through', async () => {
    const { operation } = failing([lost, refused, refused, refused], STORE)

    await expect(retrying(operation, POLICY)).rejects.toMatchObject({
      code: 'STORE_FAILED',
      isOutcomeUnknown: true,
      message: expect.stringContaining('may have been stored'),
    })
  })

  it('a read whose connection was lost is no ambiguous outcome', async () => {
    const { operation } = failing([lost])

    await expect(retrying(operation, { ...POLICY, retries: 0 })).rejects.toMatchObject({
      code: 'CONNECTION_LOST',
    })
  })

  it('a connection lost before the work began leaves nothing in doubt, and its error is thrown unchanged', async () => {
    const before = () => new NotBegunError(lost())

    expect(await retrying(failing([before], STORE).operation, POLICY)).toBe('done')
    await expect(
      retrying(failing([before, before], STORE).operation, { ...POLICY, retries: 1 }),
    ).rejects.toMatchObject({
      code: 'STORE_FAILED',
      isOutcomeUnknown: false,
      cause: { code: 'CONNECTION_LOST' },
    })
    const bug = new TypeError('a bug')
    await expect(retrying(failing([() => new NotBegunError(bug)], STORE).operation, POLICY)).rejects.toBe(bug)
  })

  it('whoever waits for a server looks for it every half second, also where connections to it were lost', async () => {
    const errors = Array.from({ length: 24 }, (_, number) => (number % 2 ? refused : lost))
    const { attempt, operation } = failing(errors, STORE)
    vi.useFakeTimers()
    // The longest waits there can be.
    vi.spyOn(Math, 'random').mockReturnValue(0.9999)
    try {
      const outcome = retrying(operation, { ...POLICY, retries: 100, base: 10, max: 10_000 })
      await vi.advanceTimersByTimeAsync(errors.length * 500)
      expect(attempt).toHaveBeenCalledTimes(errors.length + 1)
      expect(await outcome).toBe('after a loss')
    } finally {
      vi.restoreAllMocks()
      vi.useRealTimers()
    }
  })

  it('after the deadline nothing is tried again', async () => {
    const { attempt, operation } = failing([refused, refused], STORE)

    await expect(retrying(operation, { ...POLICY, deadline: 0 })).rejects.toMatchObject({
      code: 'STORE_FAILED',
    })
    expect(attempt).toHaveBeenCalledOnce()
  })

  it('no wait goes on beyond the deadline, and no attempt is begun after it', async () => {
    const { attempt, operation } = failing([refused, refused], STORE)
    const startedAt = performance.now()
    // The longest wait there can be, and a process that wakes a little late from it.
    vi.spyOn(Math, 'random').mockReturnValue(1.05)

    const policy = { retries: 3, base: 25_000, max: 25_000, deadline: 0.2 }
    await expect(retrying(operation, policy)).rejects.toMatchObject({ code: 'STORE_FAILED' })

    vi.restoreAllMocks()
    expect(attempt).toHaveBeenCalledOnce()
    expect(performance.now() - startedAt).toBeLessThan(15_000)
  })

  it('the waiting ends with the signal at once, and nothing is begun after it', async () => {
    const policy = { ...POLICY, base: 60_000, max: 60_000 }
    vi.spyOn(Math, 'random').mockReturnValue(0.9)
    const outcomes = []
    for (const error of [refused, lost]) {
      const controller = new AbortController()
      const { attempt, operation } = failing([error], { ...STORE, signal: controller.signal })
      const outcome = retrying(operation, policy).catch((reason: unknown) => reason)
      setTimeout(() => controller.abort(new Error('enough')), 20)
      outcomes.push(await outcome)
      expect(attempt).toHaveBeenCalledOnce()
    }
    const { attempt, operation } = failing([], { ...STORE, signal: AbortSignal.abort() })
    await expect(retrying(operation, policy)).rejects.toMatchObject({ code: 'ABORTED' })
    vi.restoreAllMocks()

    expect(attempt).not.toHaveBeenCalled()
    expect(outcomes).toMatchObject([
      { code: 'ABORTED', message: 'Stopped storing: the signal was aborted', cause: { message: 'enough' } },
      { code: 'AMBIGUOUS_OUTCOME', cause: { code: 'ABORTED' } },
    ])
  })

  it('no connection within poolTimeout is tried again where none could be opened, and not where all were in use', async () => {
    const crowd = new PoolTimeoutError('none', {
      cause: new ConnectError('CONNECT_FAILED', { host: 'h', port: 1 }, 'no', {
        cause: serverError('53300'),
      }),
    })

    expect(await retrying(failing([() => crowd], STORE).operation, POLICY)).toBe('done')
    const busy = new PoolTimeoutError('all in use')
    await expect(retrying(failing([() => busy], STORE).operation, POLICY)).rejects.toBe(busy)
  })

  it('what was rolled back is tried again for two seconds, and costs no retry', async () => {
    const rollbacks = Array.from(
      { length: 40 },
      (_, number) => () => conflict(number % 2 ? '40001' : '40P01'),
    )
    const { attempt, operation } = failing([...rollbacks, refused, refused, refused], STORE)
    const endless = vi.fn(async () => Promise.reject(conflict('40001')))
    const once = vi.fn(async () => Promise.reject(conflict('40001')))
    vi.useFakeTimers()
    const startedAt = performance.now()
    let took = 0

    try {
      const stored = retrying(operation, POLICY)
      const refusal = retrying({ ...STORE, attempt: endless }, { ...POLICY, base: 10, max: 50 })
        .catch((reason: unknown) => reason)
        .finally(() => {
          took = performance.now() - startedAt
        })
      await vi.advanceTimersByTimeAsync(10_000)
      expect(await stored).toBe('done')
      expect(await refusal).toMatchObject({ code: 'STORE_FAILED', isOutcomeUnknown: false })
    } finally {
      vi.useRealTimers()
    }
    expect(attempt).toHaveBeenCalledTimes(44)
    await expect(retrying({ ...STORE, attempt: once }, { ...POLICY, retries: 0 })).rejects.toMatchObject({
      code: 'TRANSACTION_CONFLICT',
      cause: { code: '40001' },
    })

    expect(took).toBeGreaterThan(1_900)
    expect(took).toBeLessThan(4_000)
    expect(once).toHaveBeenCalledOnce()
  })

  it('a lock timeout uses up a retry', async () => {
    for (const code of ['SQLITE_BUSY', 'ER_LOCK_WAIT_TIMEOUT']) {
      const { attempt, operation } = failing(
        Array(9).fill(() => conflict(code)),
        STORE,
      )

      await expect(retrying(operation, POLICY)).rejects.toMatchObject({ code: 'STORE_FAILED' })
      expect(attempt).toHaveBeenCalledTimes(4)
    }
  })
})

describeNeeding('postgresql', 'a backend whose connections break', () => {
  const database = freshPostgres()
  afterEach(() => vi.restoreAllMocks())

  /** Ends every session of the backend under test, and waits for that. */
  const breakAll = () =>
    askPostgres(
      database.dburi,
      `select pg_terminate_backend(pid, 5000) from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid() and application_name = 'under test'`,
    )

  it('stores and reads on as if nothing had been, 100 at once', async () => {
    await using backend = new DatabaseBackend(`${database.dburi}?application_name=under%20test`)
    const prefix = newId()
    await backend.getState('x')
    let isOver = false
    const breaking = (async () => {
      while (!isOver) await breakAll()
    })()

    const ids = Array.from({ length: 100 }, (_, number) => `${prefix}-${number}`)
    try {
      for (let round = 0; round < 5; round++) {
        const outcomes = await Promise.allSettled(ids.map((id) => backend.markAsDone(id, round)))
        for (const outcome of outcomes) {
          if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'STORE_FAILED' })
        }
      }
    } finally {
      isOver = true
      await breaking
    }
    for (const id of ids) await backend.markAsDone(id, 'last')

    const metas = await backend.getMany(ids)
    expect([...metas.values()].every(({ result }) => result === 'last')).toBe(true)
    const [row] = await askPostgres(
      database.dburi,
      `select count(*)::int as rows from celery_taskmeta where task_id like '${prefix}%'`,
    )
    expect(row).toEqual({ rows: 100 })
  })

  it.each<[string, FaultMode]>([
    ['refuses and breaks connections', 'rst'],
    ['accepts and hangs up', 'fin'],
  ])(
    'outlasts a server that %s for seconds: no store fails, each row is there once',
    { tags: 'full', timeout: 60_000 },
    async (_, mode) => {
      await using proxy = await FaultProxy.before(database.dburi)
      await using backend = new DatabaseBackend(proxy.dburi)
      await using direct = new DatabaseBackend(database.dburi)
      const prefix = newId()
      await backend.getState('x')
      const stores: Promise<boolean>[] = []
      const reads: Promise<unknown>[] = []
      const store = (number: number) => stores.push(backend.markAsDone(`${prefix}-${number}`, number))

      for (let number = 0; number < 20; number++) store(number)
      proxy.mode = mode
      const many = backend.storeMany([{ taskId: `${prefix}-many`, result: 'many' }])
      for (let number = 20; number < 60; number++) {
        store(number)
        reads.push(backend.getResult(`${prefix}-${number - 20}`))
        await sleep(60)
      }
      proxy.mode = 'pass'
      const outcomes = await Promise.allSettled([...stores, ...reads, many])

      expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([])
      const metas = await direct.getMany(stores.map((_, number) => `${prefix}-${number}`))
      expect([...metas.values()].map(({ result }) => result)).toEqual(stores.map((_, number) => number))
      const [row] = await askPostgres(
        database.dburi,
        `select count(*)::int as rows from celery_taskmeta where task_id like '${prefix}%'`,
      )
      expect(row).toEqual({ rows: 61 })
    },
  )

  it('outlasts a crowd that leaves its role no connection', { tags: 'full', timeout: 60_000 }, async () => {
    const role = `crowd_${process.pid}`
    await askPostgres(database.dburi, `create role ${role} login connection limit 1`)
    await askPostgres(
      database.dburi,
      `grant all on schema public to ${role}; grant all on all sequences in schema public to ${role}`,
    )
    const uri = new URL(database.dburi)
    uri.username = role
    try {
      await using manager = new SessionManager({ models: { postgresql: {} } })
      const other = await manager.getEngine(uri.href as 'postgresql://')
      const held = await other.connect()
      await held.db.execute(sql`select 1`)
      // Not before: it connects when it is made, to create its tables.
      await using backend = new DatabaseBackend(uri.href, {
        databaseTableNames: { task: `tasks_${role}`, group: `groups_${role}` },
      })
      const stores = Array.from({ length: 10 }, (_, number) => backend.markAsDone(`t-${number}`, number))
      await sleep(2_500)
      await held.close()
      await other.dispose()
      const outcomes = await Promise.allSettled(stores)

      expect(outcomes).toEqual(stores.map(() => ({ status: 'fulfilled', value: true })))
      expect(await backend.counts()).toEqual({ SUCCESS: 10 })
    } finally {
      await askPostgres(database.dburi, `drop owned by ${role}; drop role ${role}`)
    }
  })

  it('stops waiting for a server that is down by a signal, and when it is disposed of', async () => {
    await using proxy = await FaultProxy.before(database.dburi)
    const options = {
      resultBackendBaseSleepBetweenRetriesMs: 600_000,
      resultBackendMaxSleepBetweenRetriesMs: 600_000,
    }
    const manager = new SessionManager()
    const backend = new DatabaseBackend(proxy.dburi, { ...options, manager })
    await backend.getState('x')
    proxy.mode = 'rst'
    await expect(
      (await manager.getEngine(proxy.dburi as 'postgresql://')).db.execute(sql`select 1`),
    ).rejects.toThrow()
    vi.spyOn(Math, 'random').mockReturnValue(0.9)
    const controller = new AbortController()
    const { signal } = controller
    const outcomes = Promise.allSettled([
      backend.markAsDone('a', 1, { signal }),
      backend.getResult('a', { signal }),
      backend.storeMany([{ taskId: 'a', result: 1 }], { signal }),
      backend.markAsDone('b', 1),
      backend.getState('b'),
    ])
    await sleep(300)
    controller.abort()
    await sleep(50)
    await backend.dispose()
    const codes = (await outcomes).map((outcome) => outcome.status === 'rejected' && outcome.reason.code)
    await manager.dispose()

    expect(codes).toEqual(['ABORTED', 'ABORTED', 'ABORTED', 'CLOSED', 'CLOSED'])
  })

  const { lookup } = dns
  /** Looking a name up fails for these reasons, one after the other, and leads to this machine then. */
  function failLookups(...codes: string[]): void {
    vi.spyOn(dns, 'lookup').mockImplementation(((name: string, options: object, callback: () => void) => {
      const code = codes.shift()
      if (code === undefined) return lookup('127.0.0.1', options, callback)
      process.nextTick(callback, Object.assign(new Error(`getaddrinfo ${code} ${name}`), { code }))
    }) as typeof dns.lookup)
  }
  const byName = () => `${database.dburi.replace('127.0.0.1', 'db.test')}?application_name=under%20test`

  it('a host that is unknown from the start is told at once: it is misspelt', async () => {
    failLookups('ENOTFOUND', 'ENOTFOUND')
    await using backend = new DatabaseBackend(byName())

    const outcomes: PromiseSettledResult<unknown>[] = await Promise.allSettled([
      backend.markAsDone(newId(), 1),
    ])
    outcomes.push(...(await Promise.allSettled([backend.getState(newId())])))

    expect(outcomes).toMatchObject([
      { status: 'rejected', reason: { code: 'CONNECT_FAILED', cause: { code: 'ENOTFOUND' } } },
      { status: 'rejected', reason: { code: 'CONNECT_FAILED', cause: { code: 'ENOTFOUND' } } },
    ])
    expect(await backend.markAsDone(newId(), 1)).toBe(true)
  })

  it('a host that was there is waited for while its name is not, and so is a name that cannot be asked for', async () => {
    failLookups('EAI_AGAIN', 'EAI_AGAIN')
    await using backend = new DatabaseBackend(byName())
    expect(await backend.markAsDone(newId(), 1)).toBe(true)

    // As containers do that are started anew: their name is gone meanwhile.
    failLookups('ENOTFOUND', 'ENOTFOUND', 'EAI_AGAIN')
    await breakAll()

    expect(await backend.markAsDone(newId(), 2)).toBe(true)
  })

  it('a repeat of STARTED does not turn back a task that was finished meanwhile', async () => {
    await using manager = new SessionManager()
    await using backend = new DatabaseBackend(database.dburi, { manager })
    await using other = new DatabaseBackend(database.dburi, { manager })
    const id = newId()
    await backend.getState(id)
    const engine = await manager.getEngine(database.dburi as `postgresql://${string}`)
    const run = engine.run.bind(engine)
    vi.spyOn(engine, 'run').mockImplementationOnce(async (statement) => {
      await run(statement)
      await other.markAsDone(id, 'finished')
      throw lost()
    })

    const isStored = await backend.markAsStarted(id)

    expect(isStored).toBe(false)
    expect(await backend.getResult(id)).toBe('finished')
  })

  it('a repeat of many turns back none that was finished, and stores those that finish', async () => {
    await using manager = new SessionManager()
    await using backend = new DatabaseBackend(database.dburi, { manager })
    await using other = new DatabaseBackend(database.dburi, { manager })
    const [started, done] = [newId(), newId()]
    await backend.getState(started)
    const engine = await manager.getEngine(database.dburi as `postgresql://${string}`)
    vi.spyOn(engine, 'run').mockImplementationOnce(async () => {
      for (const id of [started, done]) await other.markAsDone(id, 'finished')
      throw lost()
    })

    const written = await backend.storeMany([
      { taskId: started, result: null, state: 'STARTED' },
      { taskId: done, result: 'finished anew' },
    ])

    expect(written).toBe(1)
    expect(await backend.getResult(started)).toBe('finished')
    expect(await backend.getResult(done)).toBe('finished anew')
  })

  it.each(['repeatable read', 'serializable'])(
    '90 stores of one task from three backends all succeed, at %s',
    async (isolation) => {
      const dburi = `${database.dburi}?default_transaction_isolation=${encodeURIComponent(isolation)}`
      const backends = Array.from({ length: 3 }, () => new DatabaseBackend(dburi))
      const id = newId()
      await Promise.all(backends.map((backend) => backend.getState(id)))

      const outcomes = await Promise.allSettled(
        Array.from({ length: 90 }, (_, number) => backends[number % 3]?.markAsDone(id, number)),
      )

      for (const backend of backends) await backend.dispose()
      expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([])
    },
  )

  it('a protected store whose answer was lost is recognised as its own', async () => {
    await using manager = new SessionManager()
    await using backend = new DatabaseBackend(database.dburi, { manager, protectReady: true })
    const id = newId()
    await backend.getState(id)
    const engine = await manager.getEngine(database.dburi as `postgresql://${string}`)
    const run = engine.run.bind(engine)
    vi.spyOn(engine, 'run').mockImplementationOnce(async (statement) => {
      await run(statement)
      throw lost()
    })

    expect(await backend.markAsDone(id, { mine: true })).toBe(true)
    expect(await backend.markAsDone(id, { mine: false })).toBe(false)
  })

  it('concurrent storeMany of the same tasks all succeed', async () => {
    await using backend = new DatabaseBackend(database.dburi)
    const prefix = newId()
    const results = (round: number) =>
      Array.from({ length: 300 }, (_, number) => ({ taskId: `${prefix}-${number}`, result: round }))

    const written = await Promise.all(
      Array.from({ length: 8 }, (_, round) =>
        backend.storeMany(round % 2 ? results(round) : results(round).reverse()),
      ),
    )

    expect(written).toEqual(Array(8).fill(300))
  })
})

describe('a server that falls silent', () => {
  it('ends a store after the attempts there are, with the cause', async () => {
    const sockets: Socket[] = []
    const server = createServer((socket) => {
      sockets.push(socket)
      socket.destroy()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : 0
    await using backend = new DatabaseBackend(`postgresql://u:canary@127.0.0.1:${port}/x`, {
      databaseCreateTablesAtSetup: false,
      resultBackendMaxRetries: 2,
    })

    const error = await backend.markAsDone('t-1', 'secret result').catch((reason: unknown) => reason)

    server.close()
    expect(error).toMatchObject({ name: 'BackendStoreError', taskId: 't-1', state: 'SUCCESS' })
    expect(sockets.length).toBeGreaterThanOrEqual(3)
    expect(String(error)).not.toMatch(/canary|secret/)
  })
})
