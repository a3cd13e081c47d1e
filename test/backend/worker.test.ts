/** A real Celery worker runs tasks while Node awaits them. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { DatabaseBackend } from '../../src/backend/database-backend.ts'
import { AsyncResult, GroupResult } from '../../src/backend/results.ts'
import { PyDecimal, PyTuple } from '../../src/pickle/index.ts'
import { pythons } from '../fixtures/celery/backend-peer.ts'
import { CeleryWorker } from '../fixtures/celery/worker.ts'
import { createMysql, createPostgres, describeNeeding, type Need, python3 } from '../fixtures/servers.ts'

interface Place {
  /** What Celery has in `result_backend`, which we read too. */
  readonly dburi: string
  drop(): Promise<void>
}

interface Scenario {
  readonly needs: readonly Need[]
  /** What Python needs to reach the database, beside psycopg2. */
  readonly modules?: readonly string[]
  /** @default json, Celery's own default */
  readonly serializer?: 'json' | 'pickle'
  make(): Promise<Place>
}

const scenarios: Readonly<Record<string, Scenario>> = {
  PostgreSQL: { needs: ['python celery', 'postgresql'], make: postgresql },
  'PostgreSQL, exceptions pickled': {
    needs: ['python celery', 'postgresql'],
    serializer: 'pickle',
    make: postgresql,
  },
  MySQL: { needs: ['python celery mysql', 'mysql'], modules: ['pymysql'], make: mysql },
  SQLite: { needs: ['python celery'], make: sqlite },
}

for (const [name, scenario] of Object.entries(scenarios)) {
  describeNeeding([...scenario.needs, 'rabbitmq'], `a Celery worker, results in ${name}`, () => {
    const found = python3(...(scenario.modules ?? []))
    describe.each(pythons(found ?? ''))('%s', (python) => works(python, scenario))
  })
}

function works(python: string, { make, serializer = 'json' }: Scenario): void {
  let place: Place
  let worker: CeleryWorker
  let backend: DatabaseBackend
  beforeAll(async () => {
    place = await make()
    worker = new CeleryWorker({
      python,
      backend: place.dburi,
      broker: process.env['AMQP_URL'] ?? '',
      queue: `dc_test_${randomUUID()}`,
      settings: { result_serializer: serializer, result_accept_content: [serializer] },
    })
    backend = new DatabaseBackend(place.dburi, { resultExtended: true, resultSerializer: serializer })
    await worker.ready()
  })
  afterAll(async () => {
    await worker[Symbol.asyncDispose]()
    await backend.dispose()
    await place.drop()
  })

  const send = async (task: string, args: unknown[] = [], options: object = {}) =>
    new AsyncResult(await worker.send(task, args, options), backend)
  /** Long enough for a busy machine. */
  const timeout = 25

  it('gives a wait for a task its return value, and its meta', async () => {
    const result = await send('shop.values')

    expect(await result.get({ timeout })).toEqual({
      pair: PyTuple.of(1, 2),
      price: new PyDecimal('129.50'),
      none: null,
      text: 'é',
    })
    expect(await result.name).toBe('shop.values')
    expect(await result.worker).toMatch(/^celery@/)
    expect(await result.dateDone).toBeInstanceOf(Date)
  })

  it('rejects with the exception that Python raised, and its traceback', async () => {
    const result = await send('shop.order', ['chair'])

    await expect(result.get({ timeout })).rejects.toMatchObject({
      code: 'TASK_FAILED',
      excType: 'OutOfStock',
      excModule: 'worker_tasks',
      excMessage: ['chair', 3],
      traceback: expect.stringMatching(/^Traceback .*raise OutOfStock\(article, 3\)/s),
    })
    expect(await result.state).toBe('FAILURE')
  })

  it.each([
    ['takes more arguments than it passes on', 'more', 'CardRefused', ['amex: expired']],
    ['takes arguments by name only', 'named', 'NotFound', ['chair', 404]],
    ['holds what cannot be pickled', 'held', 'Interrupted', ['half', 1.5, null]],
    ['has no arguments', 'empty', 'Interrupted', []],
  ])('knows the class of an exception that %s, also while the task is retried', async (_what, ...wrapped) => {
    const [kind, excType, excMessage] = wrapped
    const known = { excType, excModule: 'worker_tasks', excMessage }
    const gate = worker.gate(kind)

    const failed = await send('shop.wrapped', [kind])
    await expect(failed.get({ timeout })).rejects.toMatchObject(known)

    const retried = await send('shop.insist', [gate.path, kind])
    await seen(retried, 'RETRY')
    const reason = await retried.result
    gate.open()
    await retried.get({ timeout })
    expect(reason).toMatchObject(known)
  })

  it('gives the class of an exception, whatever its arguments are', async () => {
    const failed = await send('shop.wrapped', ['argument'])

    await expect(failed.get({ timeout })).rejects.toMatchObject({
      excType: 'Interrupted',
      excModule: 'worker_tasks',
    })
  })

  it('sees a task that has begun', async () => {
    const gate = worker.gate('hold')
    const result = await send('shop.hold', [gate.path])

    await seen(result, 'STARTED')
    expect(await result.info).toMatchObject({ hostname: expect.stringMatching(/^celery@/) })
    expect(await result.ready()).toBe(false)

    gate.open()
    expect(await result.get({ timeout })).toBe('let go')
  })

  it('sees why a task is run again, and then its result', async () => {
    const gate = worker.gate('insist')
    const result = await send('shop.insist', [gate.path])

    await seen(result, 'RETRY')
    expect(await result.result).toMatchObject({ excType: 'ConnectionError', excMessage: ['not yet'] })
    expect(await result.traceback).toContain('Retry')

    gate.open()
    expect(await result.get({ timeout })).toBe(1)
    expect(await result.retries).toBe(1)
  })

  it('rejects with the last reason when a task was retried in vain', async () => {
    const result = await send('shop.give_up')

    await expect(result.get({ timeout })).rejects.toMatchObject({
      excType: 'OutOfStock',
      excMessage: ['never'],
    })
  })

  it('rejects when a task is revoked, here because it came too late', async () => {
    const result = await send('shop.add', [1, 2], { expires: -1 })

    await expect(result.get({ timeout })).rejects.toMatchObject({
      excType: 'TaskRevokedError',
      excModule: 'celery.exceptions',
      excMessage: ['expired'],
    })
    expect(await result.state).toBe('REVOKED')
  })

  it('never hears of tasks whose results are ignored', async () => {
    const silent = await send('shop.silent', [], { ignore_result: true })
    // It begins after them, one at a time.
    const last = await send('shop.add', [1, 2])

    expect(await last.get({ timeout })).toBe(3)
    expect(await backend.taskResultExists(silent.id)).toBe(false)
    await expect(silent.get({ timeout: 0 })).rejects.toMatchObject({ code: 'RESULT_TIMEOUT' })
  })

  it('hears of them where the message overrules the task, as each does that Python sends by name', async () => {
    const silent = await send('shop.silent')

    expect(await (await send('shop.add', [1, 2])).get({ timeout })).toBe(3)
    const state = (await worker.messagesDecide()) ? 'SUCCESS' : 'PENDING'
    expect(await silent.state).toBe(state)
  })

  it('leaves a task that ignores itself where it was', async () => {
    const ignored = await send('shop.ignore')

    expect(await (await send('shop.add', [1, 2])).get({ timeout })).toBe(3)
    expect(await ignored.state).toBe('STARTED')
  })

  it('gathers the results of a group, in order', async () => {
    const id = await worker.sendGroup([1, 2, 3, 4].map((number) => [number, 10] as const))
    const group = await GroupResult.restore(id, backend)

    expect(await group?.join({ timeout })).toEqual([11, 12, 13, 14])
    expect(await group?.successful()).toBe(true)
  })

  it("gathers a chord's header, and its body's result", async () => {
    const { group, body } = await worker.sendChord([[1, 1], [2, 2]]) // biome-ignore format: two pairs
    const header = await GroupResult.restore(group, backend)

    expect(await header?.join({ timeout })).toEqual([2, 4])
    expect(await new AsyncResult(body, backend).get({ timeout })).toBe(6)
  })

  it('serves many concurrent waits', async () => {
    const results = await Promise.all(
      [1, 2, 3, 4, 5, 6, 7, 8].map((number) => send('shop.add', [number, number])),
    )

    expect(await Promise.all(results.map((result) => result.get({ timeout })))).toEqual([
      2, 4, 6, 8, 10, 12, 14, 16,
    ])
  })
}

async function seen(result: AsyncResult, state: string): Promise<void> {
  await vi.waitFor(async () => expect(await result.state).toBe(state), { timeout: 25_000, interval: 20 })
}

async function postgresql(): Promise<Place> {
  const { dburi, drop } = await createPostgres()
  return { dburi: dburi.replace(/^postgres(ql)?:/, 'db+postgresql+psycopg2:'), drop }
}

async function mysql(): Promise<Place> {
  const { dburi, drop } = await createMysql()
  return { dburi: dburi.replace(/^mysql:/, 'db+mysql+pymysql:'), drop }
}

async function sqlite(): Promise<Place> {
  const directory = mkdtempSync(join(tmpdir(), 'dc-worker-results-'))
  const drop = async () => rmSync(directory, { recursive: true })
  return { dburi: `db+sqlite:///${join(directory, 'results.sqlite')}`, drop }
}
