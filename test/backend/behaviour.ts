/** What a backend does on every database. Numbers are those of Celery's own tests, as the contract lists them. */
import { isDeepStrictEqual } from 'node:util'
import { expect, it } from 'vitest'
import type { BackendOptions, DatabaseBackend } from '../../src/backend/database-backend.ts'
import { TaskError } from '../../src/backend/errors.ts'
import { toPlainJson } from '../../src/backend/plain-json.ts'
import { rowsOf } from '../../src/backend/statements/types.ts'
import type { Dialect } from '../../src/dburi/types.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { dataclass, PyException, PyFraction, standardClasses } from '../../src/pickle/index.ts'
import { until } from '../faults/support.ts'

export interface Behaves {
  readonly dialect: Dialect
  /** A backend on the suite's database; closed by whoever made it. */
  open(options?: BackendOptions): DatabaseBackend
}

let tasks = 0
/** An id nobody had before. */
export const newId = () => `task-${process.pid}-${tasks++}`

/** Rows of a statement, none of one that writes, past everything the backend does. */
export async function ask(backend: DatabaseBackend, dburi: string, sql: string): Promise<object[]> {
  const engine: Engine = await backend.manager.getEngine(dburi)
  const answer = await engine.run({ sql, params: [], asArrays: false })
  return Array.isArray(answer) || 'rows' in Object(answer) ? [...rowsOf(answer)] : []
}

const REQUEST = {
  task: 'proj.add',
  args: [1, 'ü'],
  kwargs: { y: 3 },
  hostname: 'celery@host',
  retries: 2,
  deliveryInfo: { routingKey: 'celery' },
}

export function behavesAsCelery({ open }: Behaves): void {
  it('30: a task without a row is PENDING', async () => {
    await using backend = open()

    expect(await backend.getState('xxx-does-not-exist')).toBe('PENDING')
    expect(await backend.getResult('xxx-does-not-exist')).toBeNull()
  })

  it('31: its meta echoes the id and holds nothing, and no row is made', async () => {
    await using backend = open()

    expect(await backend.getTaskMeta('xxx-does-not-exist')).toEqual({
      taskId: 'xxx-does-not-exist',
      status: 'PENDING',
      result: null,
      traceback: null,
      dateDone: null,
    })
    expect(await backend.taskResultExists('xxx-does-not-exist')).toBe(false)
  })

  it('32, 33, 34: a result exists once a task is done, well or not', async () => {
    await using backend = open()
    const [done, failed] = [newId(), newId()]

    expect(await backend.taskResultExists(done)).toBe(false)
    await backend.markAsDone(done, 42)
    await backend.markAsFailure(failed, new Error('x'))

    expect(await backend.taskResultExists(done)).toBe(true)
    expect(await backend.taskResultExists(failed)).toBe(true)
  })

  it('35: markAsDone turns PENDING into SUCCESS with its result', async () => {
    await using backend = open()
    const id = newId()

    expect([await backend.getState(id), await backend.getResult(id)]).toEqual(['PENDING', null])
    const before = Date.now()
    await backend.markAsDone(id, 42)

    const meta = await backend.getTaskMeta(id)
    expect(meta).toMatchObject({ status: 'SUCCESS', result: 42, traceback: null })
    expect(Math.abs(Number(meta.dateDone) - before)).toBeLessThan(60_000)
  })

  it('36: what JSON cannot hold survives', async () => {
    await using backend = open()
    const id = newId()
    const value = new Map<unknown, unknown>([[1, new Set([2n ** 70n])]])

    await backend.markAsDone(id, value)

    expect(await backend.getResult(id)).toEqual(value)
  })

  it('37: markAsStarted keeps what the worker says of itself', async () => {
    await using backend = open()
    const id = newId()

    await backend.markAsStarted(id, { pid: 17, hostname: 'celery@host' })

    expect(await backend.getTaskMeta(id)).toMatchObject({
      status: 'STARTED',
      result: { pid: 17, hostname: 'celery@host' },
      dateDone: null,
    })
  })

  it('38: markAsRevoked says why', async () => {
    await using backend = open()
    const id = newId()

    await backend.markAsRevoked(id, 'expired')

    expect(await backend.getState(id)).toBe('REVOKED')
    expect(await backend.getResult(id)).toMatchObject({
      excType: 'TaskRevokedError',
      excModule: 'celery.exceptions',
      excMessage: ['expired'],
    })
  })

  it.each([
    ['39: markAsRetry', 'RETRY'],
    ['40: markAsFailure', 'FAILURE'],
  ] as const)('%s keeps the exception and its traceback', async (_, state) => {
    await using backend = open()
    const id = newId()
    const error = new PyException('builtins', 'KeyError', ['foo'])

    const mark = state === 'RETRY' ? backend.markAsRetry : backend.markAsFailure
    await mark.call(backend, id, error, { traceback: 'Traceback: here' })

    const result = await backend.getResult(id)
    expect(await backend.getState(id)).toBe(state)
    expect(result).toBeInstanceOf(TaskError)
    expect(result).toMatchObject({ excType: 'KeyError', excModule: 'builtins', excMessage: ['foo'] })
    expect(await backend.getTraceback(id)).toBe('Traceback: here')
  })

  it('an Error stored as FAILURE brings its stack as traceback, a revoked one does not', async () => {
    await using backend = open()
    const [failed, revoked] = [newId(), newId()]

    await backend.markAsFailure(failed, new RangeError('too far'))
    await backend.storeResult(revoked, new Error('no'), 'REVOKED')

    expect(await backend.getTraceback(failed)).toContain('RangeError: too far\n    at ')
    expect(await backend.getTraceback(revoked)).toBeNull()
  })

  it('41: forget, after two stores, leaves nothing', async () => {
    await using backend = open({ resultCacheMax: 0 })
    const id = newId()
    await backend.markAsDone(id, { first: 1 })
    await backend.markAsDone(id, { second: 2 })
    expect(await backend.getResult(id)).toEqual({ second: 2 })

    await backend.forget(id)
    await backend.forget(id)

    expect(await backend.getResult(id)).toBeNull()
    expect(await backend.taskResultExists(id)).toBe(false)
  })

  it('44: a group is saved, restored and deleted; one that is not there is null', async () => {
    await using backend = open()
    const id = newId()
    const members = ['one', { id: 'two', parent: { id: 'one', parent: null } }]

    await backend.saveGroup(id, members)
    expect(await backend.restoreGroup(id)).toEqual({
      groupId: id,
      members: [
        { id: 'one', parent: null },
        { id: 'two', parent: { id: 'one', parent: null } },
      ],
    })
    await backend.saveGroup(id, ['three'])
    expect((await backend.restoreGroup(id))?.members).toEqual([{ id: 'three', parent: null }])
    await backend.deleteGroup(id)
    await backend.deleteGroup(id)

    expect(await backend.restoreGroup(id)).toBeNull()
    expect(await backend.restoreGroup('xxx-does-not-exist')).toBeNull()
  })

  it.each(['json', 'pickle'] as const)(
    '48 to 55: with %s the extended fields are read back',
    async (name) => {
      await using backend = open({ resultExtended: true, resultSerializer: name })
      const [id, without] = [newId(), newId()]

      await backend.storeResult(id, { fizz: 'buzz' }, 'SUCCESS', { request: REQUEST })
      await backend.storeResult(without, null, 'SUCCESS', { request: { task: 'proj.nothing' } })

      expect(await backend.getTaskMeta(id)).toMatchObject({
        result: { fizz: 'buzz' },
        name: 'proj.add',
        args: [1, 'ü'],
        kwargs: { y: 3 },
        worker: 'celery@host',
        retries: 2,
        queue: 'celery',
      })
      expect(await backend.getTaskMeta(without)).toMatchObject({
        status: 'SUCCESS',
        result: null,
        name: 'proj.nothing',
        args: null,
        kwargs: null,
        worker: null,
        retries: null,
        queue: null,
      })
    },
  )

  it('a store without a request clears the extended fields, unless they are to be preserved', async () => {
    await using clearing = open({ resultExtended: true })
    await using preserving = open({ resultExtended: true, preserveExtended: true })
    const [cleared, preserved] = [newId(), newId()]

    for (const [backend, id] of [
      [clearing, cleared],
      [preserving, preserved],
    ] as const) {
      await backend.storeResult(id, null, 'STARTED', { request: REQUEST })
      await backend.storeResult(id, 1, 'SUCCESS')
    }

    expect(await clearing.getTaskMeta(cleared)).toMatchObject({ result: 1, name: null, args: null })
    expect(await clearing.getTaskMeta(preserved)).toMatchObject({ result: 1, name: 'proj.add', retries: 2 })
  })

  it('arguments that are not given clear what was stored, unless it is to be preserved', async () => {
    await using clearing = open({ resultExtended: true })
    await using preserving = open({ resultExtended: true, preserveExtended: true })
    const [cleared, preserved] = [newId(), newId()]

    for (const [backend, id] of [
      [clearing, cleared],
      [preserving, preserved],
    ] as const) {
      await backend.storeResult(id, null, 'STARTED', { request: REQUEST })
      await backend.storeResult(id, 1, 'RETRY', { request: { task: 'proj.add', retries: 3 } })
      await backend.storeMany([{ taskId: id, result: 1, request: { task: 'proj.add', args: null } }])
    }

    expect(await clearing.getTaskMeta(cleared)).toMatchObject({ args: null, kwargs: null })
    expect(await preserving.getTaskMeta(preserved)).toMatchObject({
      args: [1, 'ü'],
      kwargs: { y: 3 },
      retries: 3,
    })
  })

  it('a writer without resultExtended leaves the extended columns alone', async () => {
    await using extended = open({ resultExtended: true })
    await using plain = open()
    const id = newId()
    await extended.storeResult(id, null, 'STARTED', { request: REQUEST })

    await plain.storeResult(id, 5, 'SUCCESS')

    expect(await plain.getTaskMeta(id)).not.toHaveProperty('name')
    expect(await extended.getTaskMeta(id)).toMatchObject({ result: 5, name: 'proj.add' })
  })
}

export function keepsItsPromises({ dialect, open }: Behaves): void {
  it('a result that cannot be decoded hides neither the state nor the rest', async () => {
    await using backend = open({ wire: 'serializer', resultSerializer: UNREADABLE })
    const id = newId()
    await backend.storeResult(id, { secret: 'canary' }, 'SUCCESS')

    const meta = await backend.getTaskMeta(id)
    expect(await backend.getState(id)).toBe('SUCCESS')
    expect([meta.status, meta.traceback]).toEqual(['SUCCESS', null])
    expect(() => meta.result).toThrow(expect.objectContaining({ code: 'RESULT_UNREADABLE' }))
    expect(() => meta.result).not.toThrow(/canary/)
    await expect(backend.getResult(id)).rejects.toMatchObject({ code: 'RESULT_UNREADABLE' })
    expect((await backend.getMany([id])).get(id)?.status).toBe('SUCCESS')
  })

  it('protectReady leaves a finished task as it is, and says so', async () => {
    await using backend = open({ protectReady: true })
    const id = newId()

    expect(await backend.storeResult(id, null, 'STARTED')).toBe(true)
    expect(await backend.storeResult(id, 'first', 'SUCCESS')).toBe(true)
    expect(await backend.storeResult(id, 'second', 'SUCCESS')).toBe(false)
    expect(await backend.storeResult(id, null, 'STARTED')).toBe(false)
    expect(await backend.storeResult(id, 'first', 'SUCCESS')).toBe(true)
    expect(await backend.storeMany([{ taskId: id, result: 'third' }])).toBe(0)

    expect(await backend.getResult(id)).toBe('first')
  })

  it('the last write wins without it, and an unfinished state has no date', async () => {
    await using backend = open()
    const id = newId()

    for (const state of ['SUCCESS', 'RETRY', 'RETRY', 'PROGRESS', 'STARTED']) {
      await backend.storeResult(id, 'x', state)
      const { status, dateDone } = await backend.getTaskMeta(id)
      expect([status, dateDone === null]).toEqual([state, state !== 'SUCCESS'])
    }
  })

  it('64 writers of one new task make one row, and none of them fails', async () => {
    await using backend = open()
    const id = newId()

    const stored = await Promise.all(
      Array.from({ length: 64 }, (_, number) => backend.storeResult(id, number, 'SUCCESS')),
    )

    expect(stored).toEqual(Array(64).fill(true))
    expect(await backend.getResult(id)).toBeTypeOf('number')
  })

  it('storeMany stores thousands at once, of one task the last; getMany and finished find them', async () => {
    await using backend = open({ resultExtended: true })
    const prefix = newId()
    const results = Array.from({ length: 2_345 }, (_, number) => ({
      taskId: `${prefix}-${number}`,
      result: number === 7 ? null : { number, bytes: Buffer.from([0, 255, number % 256]) },
      state: number % 3 === 0 ? 'STARTED' : 'SUCCESS',
      request: { ...REQUEST, retries: number },
      traceback: number === 8 ? 'a "quoted" \\ line\n' : null,
    }))

    const written = await backend.storeMany([...results, { taskId: `${prefix}-1`, result: 'again' }])

    const ids = results.map(({ taskId }) => taskId)
    const metas = await backend.getMany([...ids, 'xxx-does-not-exist'])
    expect(written).toBe(2_345)
    expect(metas.size).toBe(2_346)
    expect([...metas.keys()]).toEqual([...ids, 'xxx-does-not-exist'])
    expect(metas.get('xxx-does-not-exist')?.status).toBe('PENDING')
    expect(metas.get(`${prefix}-1`)).toMatchObject({ result: 'again', name: null })
    expect(metas.get(`${prefix}-7`)).toMatchObject({ status: 'SUCCESS', result: null, retries: 7 })
    expect(metas.get(`${prefix}-8`)).toMatchObject({
      result: { number: 8 },
      traceback: 'a "quoted" \\ line\n',
    })
    expect(metas.get(`${prefix}-2344`)).toMatchObject({
      args: [1, 'ü'],
      kwargs: { y: 3 },
      worker: 'celery@host',
    })
    const finished = await backend.finished([...ids, 'xxx-does-not-exist'])
    expect(finished.size).toBe(results.filter(({ state }) => state === 'SUCCESS').length)
    expect(finished.get(`${prefix}-1`)).toBe('SUCCESS')
    expect(await backend.storeMany(results)).toBe(2_345)
    expect(await backend.storeMany([])).toBe(0)
  })

  it('storeMany stores nothing when one of its values cannot be written', async () => {
    await using backend = open()
    const [good, bad] = [newId(), newId()]

    const stored = backend.storeMany([
      { taskId: good, result: 1 },
      { taskId: bad, result: () => {} },
    ])

    await expect(stored).rejects.toMatchObject({ code: 'PICKLE_UNENCODABLE' })
    expect(await backend.taskResultExists(good)).toBe(false)
  })

  it('list goes through all tasks page by page, also while some are stored', async () => {
    await using backend = open({ resultExtended: true })
    const [name, worker] = [newId(), newId()]
    const stored = Array.from({ length: 25 }, (_, number) => `${name}-${number}`)
    for (const [number, id] of stored.entries()) {
      const state = number % 5 === 0 ? 'STARTED' : 'SUCCESS'
      await backend.storeResult(id, number, state, { request: { task: name, hostname: worker } })
    }

    const listed = async (options: Parameters<DatabaseBackend['list']>[0]) => {
      const ids: string[] = []
      let cursor: string | null = null
      do {
        const page: Awaited<ReturnType<DatabaseBackend['list']>> = await backend.list({
          ...options,
          name,
          cursor,
          limit: 4,
        })
        ids.push(...page.items.map(({ taskId }) => taskId))
        cursor = page.cursor
        await backend.storeResult(newId(), 0, 'SUCCESS')
      } while (cursor !== null)
      return ids
    }

    const done = stored.filter((_, number) => number % 5 !== 0)
    expect(await listed({})).toEqual([...stored].reverse())
    expect(await listed({ order: 'asc', worker })).toEqual(stored)
    expect(await listed({ orderBy: 'dateDone' })).toEqual([...done].reverse())
    expect(await listed({ orderBy: 'dateDone', order: 'asc', state: ['SUCCESS'] })).toEqual(done)
    expect(await listed({ state: 'STARTED', order: 'asc' })).toEqual(
      stored.filter((id) => !done.includes(id)),
    )
    expect(await listed({ since: new Date(Date.now() + 60_000) })).toEqual([])
    expect(
      await listed({ since: new Date(Date.now() - 60_000), until: new Date(Date.now() + 60_000) }),
    ).toHaveLength(20)
    const page = await backend.list({ name, limit: 1 })
    expect(page.items).toEqual([
      {
        taskId: stored[24],
        status: 'SUCCESS',
        dateDone: expect.any(Date),
        name,
        worker,
        retries: null,
        queue: null,
      },
    ])
    await expect(backend.list({ cursor: 'nonsense' })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    await expect(backend.list({ cursor: page.cursor, orderBy: 'dateDone' })).rejects.toThrow(/cursor/)
    await expect(backend.list({ limit: 0 })).rejects.toThrow(/limit/)
  })

  it('list refuses unknown options, and cursors that no page has', async () => {
    await using backend = open()
    const wrong: Record<string, unknown>[] = [
      { orderBy: 'name' },
      { order: 'DESC' },
      { pageSize: 5 },
      { name: 5 },
      { worker: 'nul\0' },
      { state: ['SUCCESS', null] },
      { since: '2024-01-01' },
      { since: new Date(Number.NaN) },
      { until: new Date(8.64e15) },
      { until: new Date(-8.64e15) },
      { cursor: 5 },
    ]
    for (const options of wrong) {
      await expect(backend.list(options), JSON.stringify(options)).rejects.toMatchObject({
        name: 'OptionError',
      })
    }

    const cursorAt = (...place: unknown[]) => Buffer.from(JSON.stringify(place)).toString('base64url')
    const nowhere = [
      ['id', 1.5],
      ['id', '1'],
      ['id', 1e300],
      ['dateDone', 1, null],
      ['dateDone', 1, 'nul\0'],
      ['dateDone', 1, ['2024-01-01']],
    ]
    const notOnServers = [
      ['id', 3_000_000_000],
      ...[
        'yesterday',
        '2024-02-30 10:00:00',
        '2023-02-29 10:00:00',
        '2024-13-01 10:00:00',
        '0000-01-01 00:00:00',
      ].map((date) => ['dateDone', 1, date]),
      ...['2024-01-01 24:00:01', '999999-01-01 00:00:00', '4713-01-01 00:00:00 BC'].map((date) => [
        'dateDone',
        1,
        date,
      ]),
      ['dateDone', 1, 1_700_000_000],
    ]
    for (const place of [...nowhere, ...(dialect === 'sqlite' ? [] : notOnServers)]) {
      const orderBy = place[0] === 'id' ? 'id' : 'dateDone'
      await expect(
        backend.list({ orderBy, cursor: cursorAt(...place) }),
        String(place),
      ).rejects.toMatchObject({
        name: 'OptionError',
        option: 'cursor',
      })
    }
    const onLeapDay = cursorAt('dateDone', 1, '2024-02-29 23:59:59.999999')
    expect(
      await backend.list({ orderBy: 'dateDone', order: 'asc', cursor: onLeapDay, limit: 1 }),
    ).toBeDefined()
  })

  it('counts gives the number of tasks in each state', async () => {
    await using backend = open()
    const before = await backend.counts()

    await backend.storeResult(newId(), 0, '__proto__')
    await backend.storeResult(newId(), 0, 'REVOKED')

    const after = await backend.counts()
    expect(Object.entries(after)).toContainEqual(['__proto__', 1])
    expect(after['REVOKED']).toBe((before['REVOKED'] ?? 0) + 1)
    expect((await backend.recentCounts({ maxAge: 0 })).counts).toEqual(after)
  })

  it('countDone tells apart what a collation takes for the same', async () => {
    await using backend = open({ resultExtended: true })
    const [since, name] = [new Date(Date.now() - 60_000), newId()]
    const tasks = [name, name.toUpperCase(), `${name} `, name].map((task, at) => ({
      taskId: newId(),
      result: 0,
      request: { ...REQUEST, task, hostname: at === 3 ? 'CELERY@HOST' : REQUEST.hostname },
    }))
    await backend.storeMany(tasks)

    const { counts } = await backend.countDone({ since, until: new Date(Date.now() + 60_000) })
    const ours = counts.filter((count) => count.name?.trim().toLowerCase() === name)
    expect(ours.map((count) => `${count.name}, ${count.worker}, ${count.tasks}`).sort()).toEqual(
      tasks.map(({ request }) => `${request.task}, ${request.hostname}, 1`).sort(),
    )
  })

  it('42, 45: cleanup deletes what expired, batch by batch, and nothing else', { tags: 'full' }, async () => {
    await using lasting = open()
    // What other tests left would take hundreds of the small batches below.
    await using emptying = open({ resultExpires: 0.001, manager: lasting.manager })
    await emptying.cleanup()
    await lasting.storeMany(Array.from({ length: 25 }, () => ({ taskId: newId(), result: 0 })))
    await lasting.saveGroup(newId(), ['a'])
    const [started, fresh] = [newId(), newId()]
    await lasting.storeResult(started, 0, 'STARTED')
    const { tasks: none } = await lasting.cleanup()
    // Seconds; the fresh one must not expire while a busy machine deletes the others.
    const resultExpires = 4
    await new Promise((resolve) => setTimeout(resolve, resultExpires * 1_000 + 100))
    await lasting.storeResult(fresh, 0, 'SUCCESS')
    const total = Object.values(await lasting.counts()).reduce((sum, tasks) => sum + tasks, 0)
    await using backend = open({ resultExpires, manager: lasting.manager })

    const progress: number[] = []
    const deleted = await backend.cleanup({ batchSize: 10, onProgress: ({ tasks }) => progress.push(tasks) })

    const left = Object.values(await lasting.counts()).reduce((sum, tasks) => sum + tasks, 0)
    expect(none).toBe(0)
    expect(deleted.tasks).toBe(total - left)
    expect(deleted.tasks).toBeGreaterThanOrEqual(25)
    expect(deleted.groups).toBeGreaterThanOrEqual(1)
    expect(progress.slice(0, 2)).toEqual([10, 20])
    expect([await backend.getState(started), await backend.getState(fresh)]).toEqual(['STARTED', 'SUCCESS'])
    await using never = open({ resultExpires: null, manager: lasting.manager })
    expect(await never.cleanup()).toEqual({ tasks: 0, groups: 0 })
    await expect(backend.cleanup({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' })
    await expect(backend.cleanup({ batchSize: 0 })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })

  it('the cache answers for what succeeded, as far as resultCacheMax reaches', async () => {
    await using backend = open({ resultCacheMax: 2 })
    await using writer = open({ manager: backend.manager })
    const [one, two, three, failed] = [newId(), newId(), newId(), newId()]
    for (const id of [one, two, three]) await backend.markAsDone(id, id)
    await backend.markAsFailure(failed, new Error('x'))
    for (const id of [one, two, three, failed]) await backend.getTaskMeta(id)

    for (const id of [one, two, three, failed]) await writer.storeResult(id, 'new', 'PROGRESS')

    expect((await backend.getTaskMeta(one)).status).toBe('PROGRESS')
    expect((await backend.getTaskMeta(two)).status).toBe('SUCCESS')
    expect(await backend.getState(three)).toBe('SUCCESS')
    expect((await backend.getTaskMeta(failed)).status).toBe('PROGRESS')
    await backend.storeResult(three, 'own', 'RETRY')
    expect((await backend.getTaskMeta(three)).status).toBe('RETRY')
  })

  it('classes of the program are stored and read, as results and as arguments', async () => {
    class Order {
      total = 3
      price = new PyFraction(1n, 3n)
    }
    const classes = { ...standardClasses, ...dataclass('shop.Order', { as: Order }) }
    await using backend = open({ pickle: { classes }, resultExtended: true, resultSerializer: 'pickle' })
    await using other = open({ resultExtended: true, resultSerializer: 'pickle' })
    const id = newId()
    await backend.markAsDone(id, [new Order()], { request: { args: [new Order()] } })

    const { result, args } = await backend.getTaskMeta(id)
    expect(result).toStrictEqual([new Order()])
    expect(args).toStrictEqual([new Order()])
    const plain = await other.getTaskMeta(id)
    expect(plain.result).toMatchObject([{ module: 'shop', name: 'Order', state: { total: 3 } }])
    expect(toPlainJson(plain.result)).toEqual([{ total: 3, price: [1, 3] }])
    expect(() => open({ pickle: { classes: { 'shop.Order': 1 as never } } })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', option: 'classes.shop.Order' }),
    )
  })

  it('watch yields each change of state and of what is stored with it, until the task is done', async () => {
    await using backend = open()
    const id = newId()
    const seen: unknown[] = []
    const step = async (status: string, value: unknown) => {
      await backend.storeResult(id, value, status)
      await until(() => isDeepStrictEqual(seen.at(-1), [status, value]))
    }
    const watching = (async () => {
      for await (const { status, result } of backend.watch(id)) seen.push([status, result])
    })()
    await until(() => seen.length === 1)

    await step('STARTED', { pid: 1 })
    // Of one size: only the bytes tell them apart.
    for (const done of [1, 2, 3]) await step('PROGRESS', { done, total: 3 })
    await backend.markAsRetry(id, new TypeError('later'))
    await until(() => seen.length === 6)
    await backend.markAsFailure(id, new TypeError('no'))
    await watching

    const states = seen.map((entry) => (entry as [string])[0])
    expect(states).toEqual(['PENDING', 'STARTED', 'PROGRESS', 'PROGRESS', 'PROGRESS', 'RETRY', 'FAILURE'])
    expect(seen.slice(0, 3)).toEqual([
      ['PENDING', null],
      ['STARTED', { pid: 1 }],
      ['PROGRESS', { done: 1, total: 3 }],
    ])
  })

  it('ids that no row can have are PENDING, and are not stored', async () => {
    await using backend = open()

    for (const id of ['nul\0', '\ud83d']) {
      expect(await backend.getState(id)).toBe('PENDING')
      expect((await backend.getTaskMeta(id)).status).toBe('PENDING')
      expect((await backend.getMany([id])).get(id)?.status).toBe('PENDING')
      expect(await backend.finished([id])).toEqual(new Map())
      expect(await backend.restoreGroup(id)).toBeNull()
      await backend.forget(id)
      await backend.deleteGroup(id)
      await expect(backend.markAsDone(id, 1)).rejects.toMatchObject({ code: 'INVALID_PARAMETER' })
      await expect(backend.saveGroup(id, [])).rejects.toMatchObject({ code: 'INVALID_PARAMETER' })
    }
    await expect(backend.storeResult(newId(), 1, 'x'.repeat(51))).rejects.toMatchObject({
      code: 'INVALID_PARAMETER',
    })
  })

  it('what no row can mean is refused, and nothing is stored', async () => {
    await using backend = open({ resultExtended: true })
    const id = newId()
    const refused: [taskId: unknown, state: unknown, request?: object][] = [
      ['', 'SUCCESS'],
      [undefined, 'SUCCESS'],
      [5, 'SUCCESS'],
      [5n, 'SUCCESS'],
      [id, undefined],
      [id, null],
      [id, ''],
      [id, 7],
      [id, 'SUCCESS', { retries: 1.5 }],
      [id, 'SUCCESS', { retries: 2 ** 31 }],
      [id, 'SUCCESS', { retries: '1' }],
      [id, 'SUCCESS', { task: 5 }],
    ]
    for (const [taskId, state, request = {}] of refused) {
      const stored = backend.storeResult(taskId as string, 1, state as string, { request })
      await expect(stored, `${String(taskId)} ${String(state)}`).rejects.toMatchObject({
        name: 'StatementError',
        code: 'INVALID_PARAMETER',
      })
    }
    await expect(backend.storeMany([{ taskId: '', result: 1 }])).rejects.toMatchObject({
      code: 'INVALID_PARAMETER',
    })
    expect(await backend.taskResultExists(id)).toBe(false)
  })

  it('1, 2: a store that fails leaves no connection checked out', async () => {
    await using backend = open()
    await backend.getState('x')

    await expect(backend.storeResult('x', () => {}, 'SUCCESS')).rejects.toThrow()

    expect(backend.manager.stats().engines).toMatchObject([{ checkedOut: 0, running: 0, waiting: 0 }])
  })
}

const UNREADABLE = {
  name: 'mine',
  contentType: 'application/x-mine',
  encode: (value: unknown) => Buffer.from(JSON.stringify(value)),
  decode(bytes: Uint8Array): unknown {
    throw new Error(Buffer.from(bytes).toString())
  },
}
