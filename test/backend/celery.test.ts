/** The same tables used by real Celery and by us: what one writes the other reads. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fromCeleryConfig } from '../../src/backend/celery-config.ts'
import { type BackendOptions, DatabaseBackend } from '../../src/backend/database-backend.ts'
import { TaskError } from '../../src/backend/errors.ts'
import type { ListOptions } from '../../src/backend/list.ts'
import { AsyncResult } from '../../src/backend/results.ts'
import { PyException, PyObject, PyTuple } from '../../src/pickle/index.ts'
import { BackendPeer, type PythonMeta, pythons } from '../fixtures/celery/backend-peer.ts'
import { createMysql, createPostgres, describeNeeding, python3 } from '../fixtures/servers.ts'
import { ask, newId } from './behaviour.ts'

interface Place {
  /** As we open it. */
  readonly dburi: string
  /** As SQLAlchemy does. */
  readonly theirs: string
  drop(): Promise<void>
}

const places = {
  SQLite: async () => {
    const directory = mkdtempSync(join(tmpdir(), 'dc-celery-'))
    const path = join(directory, 'results.sqlite')
    const drop = async () => rmSync(directory, { recursive: true })
    return { dburi: `file:${path}`, theirs: `sqlite:///${path}?timeout=20`, drop }
  },
  PostgreSQL: async (timezone?: string) => {
    const database = await createPostgres({ timezone })
    return { dburi: database.dburi, theirs: database.dburi, drop: () => database.drop() }
  },
  MySQL: async () => {
    const { dburi, drop } = await createMysql()
    return { dburi, theirs: dburi.replace('mysql:', 'mysql+pymysql:'), drop }
  },
} satisfies Record<string, (timezone?: string) => Promise<Place>>

/** Without a number of times, Celery would try for ever. */
const ALWAYS_RETRY = { result_backend_always_retry: true, result_backend_max_retries: 10 }

describeNeeding(['python celery', 'postgresql'], 'with real Celery', () => {
  for (const python of pythons(python3() ?? '')) {
    sharesTablesOfBoth(python, 'SQLite')
    sharesTablesOfBoth(python, 'PostgreSQL')
  }
})

describeNeeding(['python celery mysql', 'mysql'], 'with real Celery', () => {
  for (const python of pythons(python3('pymysql') ?? '')) sharesTablesOfBoth(python, 'MySQL')
})

function sharesTablesOfBoth(python: string, name: keyof typeof places): void {
  describe.each(['Celery', 'this library'])(`${python}, ${name}, tables made by %s`, (maker) => {
    sharesTables(python, places[name], maker === 'Celery')
  })
  describe.each(['America/Los_Angeles', 'Asia/Kathmandu'])(`${python}, ${name}, in %s`, (zone) => {
    sharesDates(python, () => places[name](zone), zone)
  })
}

/** Both have the same settings; on PostgreSQL the zone is that of sessions, too. */
function sharesDates(python: string, make: () => Promise<Place>, timezone: string): void {
  const settings = { timezone, result_expires: 3_600 }
  let place: Place
  let peer: BackendPeer
  let backend: DatabaseBackend
  beforeAll(async () => {
    place = await make()
    peer = new BackendPeer(python)
    await peer.ready()
    const celeryVersion = String(await peer.ask({ command: 'version' }))
    backend = new DatabaseBackend(place.dburi, { ...fromCeleryConfig(settings), celeryVersion })
  })
  afterAll(async () => {
    await backend.dispose()
    peer[Symbol.dispose]()
    await place.drop()
  })
  const request = () => ({ dburi: place.theirs, settings })
  const mark = (id: string, how = 'done') =>
    peer.ask({ command: 'mark', how, python: `{'how': '${how}'}`, id, ...request() })

  it('dates go both ways, are in one order, and are fresh to both', async () => {
    const taskIds = Array.from({ length: 4 }, newId)
    const [theirs = '', ours = '', theirSecond = '', ourSecond = ''] = taskIds
    const begun = new Date()
    await mark(theirs)
    await backend.markAsDone(ours, 1)
    await peer.ask({ command: 'saveGroup', id: theirs, members: taskIds, ...request() })
    await backend.saveGroup(ours, taskIds)
    await sleep(1_100)
    await mark(theirSecond)
    await backend.storeMany([{ taskId: ourSecond, result: 1 }])

    const metas = await backend.getMany(taskIds)
    const found = await Promise.all(taskIds.map((id) => peer.meta(place.theirs, id, settings)))
    const stored = found.map(({ dateDone }) => Date.parse(`${dateDone}Z`))
    const listed = async (options: ListOptions) =>
      (await backend.list(options)).items.map(({ taskId }) => taskId)
    const recent = await listed({ since: new Date(begun.getTime() - 1_000) })
    const ordered = await listed({ orderBy: 'dateDone', order: 'asc' })
    const deleted = await backend.cleanup()
    const groups = await Promise.all([theirs, ours].map((id) => backend.restoreGroup(id)))
    await peer.ask({ command: 'cleanup', ...request() })
    const states = await Promise.all(taskIds.map((id) => backend.getState(id)))

    for (const { dateDone } of metas.values()) {
      expect(Math.abs(Number(dateDone) - begun.getTime())).toBeLessThan(60_000)
    }
    expect(Math.max(...stored) - Math.min(...stored)).toBeLessThan(60_000)
    expect(recent.sort()).toEqual([...taskIds].sort())
    expect(ordered.slice(0, 2).sort()).toEqual([theirs, ours].sort())
    expect(ordered.slice(2).sort()).toEqual([theirSecond, ourSecond].sort())
    expect(deleted).toEqual({ tasks: 0, groups: 0 })
    expect(groups.map((group) => group?.members.length)).toEqual([4, 4])
    // East of UTC, Celery up to 5.4 takes what it has just stored in UTC for old.
    expect(new Set(states).size).toBe(1)
  })

  it('each cleans up what the other did long ago', async () => {
    const [theirs, ours] = [newId(), newId()]
    for (const [id, clean] of [
      [theirs, () => backend.cleanup()],
      [ours, () => peer.ask({ command: 'cleanup', ...request() })],
    ] as const) {
      await mark(theirs)
      await backend.markAsDone(ours, 1)
      const longAgo = "set date_done = '2024-01-01 00:00:00.000000'"
      await ask(backend, place.dburi, `update celery_taskmeta ${longAgo} where task_id = '${id}'`)

      await clean()

      expect(await backend.getState(id)).toBe('PENDING')
    }
  })

  it('a task that goes on has no date, whatever it has in the table', async () => {
    const id = newId()
    for (const state of ['STARTED', 'PROGRESS']) await mark(id, state)

    const found = await peer.meta(place.theirs, id, settings)
    const { items } = await backend.list({ orderBy: 'dateDone' })

    expect(found.dateDone).not.toBeNull()
    expect(await backend.getTaskMeta(id)).toMatchObject({ status: 'PROGRESS', dateDone: null })
    expect(items.map(({ taskId }) => taskId)).not.toContain(id)
  })
}

function sharesTables(python: string, make: () => Promise<Place>, isTheirs: boolean): void {
  let place: Place
  let peer: BackendPeer
  const opened: DatabaseBackend[] = []
  beforeAll(async () => {
    place = await make()
    peer = new BackendPeer(python)
    await peer.ready()
    if (isTheirs) await peer.meta(place.theirs, 'makes the tables')
    else await open().getState('makes the tables')
  })
  afterAll(async () => {
    for (const backend of opened) await backend.dispose()
    peer[Symbol.dispose]()
    await place.drop()
  })

  const open = (options?: BackendOptions) => {
    const backend = new DatabaseBackend(place.dburi, options)
    opened.push(backend)
    return backend
  }
  const mark = (id: string, how: string, value: string, more: object = {}) =>
    peer.ask({ command: 'mark', dburi: place.theirs, id, how, python: value, ...more })
  const meta = (id: string, settings?: object): Promise<PythonMeta> => peer.meta(place.theirs, id, settings)

  const JSON_MODE = { result_serializer: 'json' }
  const PICKLE_MODE = { result_serializer: 'pickle', accept_content: ['json', 'pickle'] }
  const modes = [
    { serializer: 'json', settings: JSON_MODE },
    { serializer: 'pickle', settings: PICKLE_MODE },
  ] as const

  it.each(modes)(
    'Node reads each state that Python writes with $serializer',
    async ({ serializer, settings }) => {
      const backend = open({ resultSerializer: serializer })
      const ids = Array.from({ length: 6 }, newId)
      const [done, nothing, failed, retried, revoked, progress] = ids as [
        string,
        string,
        string,
        string,
        string,
        string,
      ]
      await mark(done, 'done', "{'a': (1, 2.5), 'b': {3}, 'c': Decimal('1.50'), 'd': 'ü😀'}", { settings })
      await mark(nothing, 'done', 'None', { settings })
      await mark(failed, 'failure', "KeyError('foo', 7)", {
        settings,
        traceback: 'Traceback (most recent call last)',
      })
      await mark(retried, 'retry', "ValueError('again')", { settings, traceback: 'Traceback …' })
      await mark(revoked, 'revoked', "'expired'", { settings })
      await mark(progress, 'PROGRESS', "{'done': 3}", { settings })

      const metas = await backend.getMany(ids)

      expect(metas.get(done)?.result).toMatchObject({ a: PyTuple.of(1, 2.5), b: new Set([3]), d: 'ü😀' })
      expect(String(Object(metas.get(done)?.result)['c'])).toBe('1.50')
      expect(metas.get(nothing)).toMatchObject({ status: 'SUCCESS', result: null })
      expect(await backend.getResult(failed)).toMatchObject({
        excType: 'KeyError',
        excModule: 'builtins',
        excMessage: ['foo', 7],
      })
      expect(await backend.getTraceback(failed)).toBe('Traceback (most recent call last)')
      expect(metas.get(retried)?.status).toBe('RETRY')
      expect(await backend.getResult(retried)).toMatchObject({ excType: 'ValueError', excMessage: ['again'] })
      expect(await backend.getResult(revoked)).toMatchObject({
        excType: 'TaskRevokedError',
        excModule: 'celery.exceptions',
        excMessage: ['expired'],
      })
      expect(metas.get(progress)).toMatchObject({ status: 'PROGRESS', result: { done: 3 } })
      expect(Math.abs(Date.now() - Number(metas.get(done)?.dateDone))).toBeLessThan(60_000)
    },
  )

  it.each(modes)(
    'Python reads each state that Node writes for $serializer',
    async ({ serializer, settings }) => {
      const backend = open({ resultSerializer: serializer })
      const ids = Array.from({ length: 7 }, newId)
      const [done, nothing, failed, own, retried, revoked, started] = ids as [
        string,
        string,
        string,
        string,
        string,
        string,
        string,
      ]
      await backend.markAsDone(done, { a: PyTuple.of(1, 2.5), b: new Set([3]), d: 'ü😀', e: [null, true] })
      await backend.markAsDone(nothing, null)
      await backend.markAsFailure(failed, new RangeError('too far'))
      await backend.markAsFailure(own, new PyException('builtins', 'KeyError', ['foo']))
      await backend.markAsRetry(retried, new Error('again'), { traceback: 'Traceback: x' })
      await backend.markAsRevoked(revoked, 'expired')
      await backend.markAsStarted(started, { pid: 7, hostname: 'celery@node' })

      expect(await meta(done, settings)).toMatchObject({
        status: 'SUCCESS',
        repr: "{'a': (1, 2.5), 'b': {3}, 'd': 'ü😀', 'e': [None, True]}",
        dateDone: expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/),
      })
      expect(await meta(nothing, settings)).toMatchObject({ status: 'SUCCESS', repr: 'None' })
      expect(await meta(failed, settings)).toMatchObject({
        status: 'FAILURE',
        repr: "ValueError('too far')",
        module: 'builtins',
        traceback: expect.stringContaining('RangeError: too far'),
      })
      expect(await meta(own, settings)).toMatchObject({ repr: "KeyError('foo')" })
      expect(await meta(retried, settings)).toMatchObject({
        status: 'RETRY',
        repr: "Exception('again')",
        traceback: 'Traceback: x',
      })
      expect(await meta(revoked, settings)).toMatchObject({
        status: 'REVOKED',
        repr: "TaskRevokedError('expired')",
      })
      expect(await meta(started, settings)).toMatchObject({
        status: 'STARTED',
        repr: "{'pid': 7, 'hostname': 'celery@node'}",
        dateDone: null,
      })
      expect(await meta('xxx-does-not-exist')).toMatchObject({ status: 'PENDING', repr: 'None' })
    },
  )

  it.each(modes)(
    'Python reads what Node throws and is no error, and a task revoked for no reason, with $serializer',
    async ({ serializer, settings }) => {
      const backend = open({ resultSerializer: serializer })
      const [revoked, theirs] = [newId(), newId()]

      for (const state of ['FAILURE', 'RETRY', 'REVOKED']) {
        for (const [thrown, repr] of [
          ['out of stock', "Exception('out of stock')"],
          ['', "Exception('')"],
          [7, 'Exception(7)'],
          [[1, 'x'], "Exception([1, 'x'])"],
          [{ sku: 7 }, "Exception({'sku': 7})"],
          [{ exc_type: 'KeyError', exc_message: ['k'], exc_module: 'builtins' }, "KeyError('k')"],
        ] as const) {
          const id = newId()
          await backend.storeResult(id, thrown, state)
          expect(await meta(id, settings)).toMatchObject({ status: state, repr })
          expect(await backend.getResult(id)).toBeInstanceOf(TaskError)
        }
      }
      await backend.markAsRevoked(revoked)
      await mark(theirs, 'revoked', "''", { settings })
      const [ours, own] = [await meta(revoked, settings), await meta(theirs, settings)]

      expect(ours.repr).toBe("TaskRevokedError('')")
      expect(ours.repr).toBe(own.repr)
    },
  )

  it.each(modes)('the extended fields go both ways with $serializer', async ({ serializer, settings }) => {
    const extended = { ...settings, result_extended: true }
    const backend = open({ resultSerializer: serializer, resultExtended: true })
    const [fromPython, fromNode] = [newId(), newId()]
    const request = { args: [1, 'ü'], kwargs: { y: null }, hostname: 'celery@py', retries: 2 }
    await mark(fromPython, 'done', '1', {
      settings: extended,
      request: { ...request, task: 'proj.add', task_name: 'proj.add', delivery_info: { routing_key: 'q.x' } },
    })
    await backend.storeResult(fromNode, 1, 'SUCCESS', {
      request: { ...request, task: 'proj.add', hostname: 'celery@node', deliveryInfo: { routingKey: 'q.x' } },
    })

    expect(await backend.getTaskMeta(fromPython)).toMatchObject({
      args: [1, 'ü'],
      kwargs: { y: null },
      worker: 'celery@py',
      retries: 2,
      queue: 'q.x',
    })
    expect((await meta(fromNode, extended)).extended).toEqual({
      name: "'proj.add'",
      args: "[1, 'ü']",
      kwargs: "{'y': None}",
      worker: "'celery@node'",
      retries: '2',
      queue: "'q.x'",
    })
  })

  it('a pickled exception is read with the pickle serializer', async () => {
    const id = newId()
    await mark(id, 'failure', "ZeroDivisionError('division by zero')", { settings: PICKLE_MODE })

    const error = await open({ resultSerializer: 'pickle' }).getResult(id)

    expect(error).toBeInstanceOf(TaskError)
    expect(error).toMatchObject({ excType: 'ZeroDivisionError', excMessage: ['division by zero'] })
  })

  // What a worker does first, up to Celery 5.3 only where it pickles exceptions: celery/app/trace.py.
  it.each(modes)(
    'an exception that Celery could not pickle is the one that was raised, with $serializer',
    async ({ serializer, settings }) => {
      const backend = open({ resultSerializer: serializer })
      const [failed, retried, held] = [newId(), newId(), newId()]
      await mark(failed, 'failure', "get_pickleable_exception(OutOfStock('chair', 3))", { settings })
      await mark(retried, 'retry', "get_pickleable_exception(OutOfStock('desk', 0))", { settings })
      await mark(held, 'failure', "get_pickleable_exception(OutOfStock('lamp', 1, Basket()))", {
        settings,
      })

      const known = { excType: 'OutOfStock', excModule: '__main__' }
      expect(await backend.getResult(failed)).toMatchObject({ ...known, excMessage: ['chair: 3 left'] })
      expect(await backend.getResult(retried)).toMatchObject({ ...known, excMessage: ['desk: 0 left'] })
      const other = await new AsyncResult(held, backend).get().catch((error: unknown) => error)
      expect(other).toMatchObject(known)
      // JSON has no word for the basket, and Celery takes the text of all arguments together.
      if (serializer === 'json') {
        expect(other).toMatchObject({ excMessage: ["('lamp: 1 left', <a basket>)"] })
        expect(Object(other).message).toBe(
          `The task ${held} failed: OutOfStock: ('lamp: 1 left', <a basket>)`,
        )
      }
    },
  )

  it('an instance of an unknown class is read as data', async () => {
    const id = newId()
    await mark(id, 'done', "Ignore('x')")

    const result = await open().getResult(id)

    expect(result instanceof PyObject || result instanceof PyException).toBe(true)
  })

  it('groups go both ways, and ours hold no database URL', async () => {
    const backend = open()
    const [byApp, byClass, ours] = [newId(), newId(), newId()]
    const members = ['m-1', 'm-2']
    for (const [id, isByApp] of [
      [byApp, true],
      [byClass, false],
    ] as const) {
      await peer.ask({ command: 'saveGroup', dburi: place.theirs, id, members, byApp: isByApp })
    }
    await backend.saveGroup(ours, members)

    const saved = { members: members.map((id) => ({ id, parent: null })) }
    expect(await backend.restoreGroup(byApp)).toEqual({ groupId: byApp, ...saved })
    expect(await backend.restoreGroup(byClass)).toEqual({ groupId: byClass, ...saved })
    expect(await peer.ask({ command: 'restoreGroup', dburi: place.theirs, id: ours })).toEqual({
      id: ours,
      members,
    })
  })

  it('writers of both kinds on one task leave one row, which both read', async () => {
    const backend = open()
    const id = newId()

    const settings = (await retriesStores()) ? {} : ALWAYS_RETRY
    const theirs = peer.ask({ command: 'race', dburi: place.theirs, id, times: 40, settings })
    const isOurs = async () => {
      for (let number = 0; number < 40; number++) await backend.markAsDone(id, { node: number })
    }
    const [failures] = await Promise.all([theirs, isOurs(), isOurs()])

    const result = await backend.getResult(id)
    expect(failures).toEqual([])
    expect(result).toEqual(expect.objectContaining('node' in Object(result) ? { node: 39 } : { python: 39 }))
    expect((await meta(id)).repr).toBe(`{'${Object.keys(Object(result))[0]}': 39}`)
    expect((await backend.list({ limit: 10_000 })).items.filter(({ taskId }) => taskId === id)).toHaveLength(
      1,
    )
  })

  /** Every release up to 5.6 does; what is to be 5.7 only when told. */
  const retriesStores = () => peer.ask({ command: 'retries' }) as Promise<boolean>

  it.each([
    { how: 'as it is', settings: {} },
    { how: 'told to try again', settings: ALWAYS_RETRY },
  ])('Celery, $how, that finds no row and then one of ours', async ({ settings }) => {
    const backend = open()
    const id = newId()
    const isSafe = settings === ALWAYS_RETRY || (await retriesStores())

    const meet = { command: 'meet', dburi: place.theirs, id, python: "'by Python'", settings }
    expect(await peer.ask(meet)).toBe('about to insert')
    await backend.markAsStarted(id, { pid: 7 })
    const failure = await peer.ask({ command: 'goes on' })

    expect(failure).toBe(isSafe ? null : 'IntegrityError')
    expect(await backend.getTaskMeta(id)).toMatchObject(
      isSafe ? { status: 'SUCCESS', result: 'by Python' } : { status: 'STARTED', result: { pid: 7 } },
    )
  })

  it('each cleans up what the other wrote, by the same clock', async () => {
    const expiry = { result_expires: 1 }
    const backend = open()
    const [theirs, ours] = [newId(), newId()]
    await mark(theirs, 'done', '1')
    await backend.markAsDone(ours, 1)
    await backend.saveGroup(ours, [ours])
    await peer.ask({ command: 'cleanup', dburi: place.theirs })
    await open({ resultExpires: 3_600 }).cleanup()
    expect([await backend.taskResultExists(theirs), await backend.taskResultExists(ours)]).toEqual([
      true,
      true,
    ])
    await new Promise((resolve) => setTimeout(resolve, 1_200))

    await peer.ask({ command: 'cleanup', dburi: place.theirs, settings: expiry })
    expect(await backend.taskResultExists(ours)).toBe(false)
    expect(await backend.restoreGroup(ours)).toBeNull()

    await mark(theirs, 'done', '1')
    await peer.ask({ command: 'saveGroup', dburi: place.theirs, id: theirs, members: [] })
    await new Promise((resolve) => setTimeout(resolve, 1_200))
    const deleted = await open({ resultExpires: 1 }).cleanup()
    expect(deleted.tasks).toBeGreaterThanOrEqual(1)
    expect(deleted.groups).toBe(1)
    expect(await meta(theirs)).toMatchObject({ status: 'PENDING' })
  })
}
