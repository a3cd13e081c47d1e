/** Waiting for results: what `AsyncResult` and `GroupResult` tell, and what it costs to wait. */
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { ConnectError, SessionManager } from 'drizzle-celery'
import {
  AsyncResult,
  DatabaseBackend,
  GroupResult,
  resultFromTuple,
  type StandardSchema,
  TaskError,
} from 'drizzle-celery/backend'
import { testSessions } from 'drizzle-celery/testing'
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { until } from '../faults/support.ts'

describe.each(['file::memory:', 'pglite:'])('on %s', (dburi) => {
  const manager = new SessionManager()
  const tests = testSessions(manager, dburi)
  let backend: DatabaseBackend
  beforeEach(async () => {
    await tests.begin()
    backend = new DatabaseBackend(dburi, { manager, resultExtended: true })
  })
  afterEach(async () => {
    await backend.dispose()
    await tests.rollback()
  })
  afterAll(() => manager.dispose())

  it('a result is waited for, and kept once it is there', { tags: 'full' }, async () => {
    const result = new AsyncResult('t-1', backend)
    expect([await result.state, await result.ready(), await result.result]).toEqual(['PENDING', false, null])

    const waiting = result.get()
    await sleep(50)
    await backend.markAsStarted('t-1')
    await backend.markAsDone('t-1', { sum: 3 }, { request: { name: 'add', args: [1, 2], retries: 1 } })

    expect(await waiting).toEqual({ sum: 3 })
    await backend.forget('t-1')
    expect(await result.state).toBe('SUCCESS')
    expect([await result.name, await result.args, await result.retries]).toEqual(['add', [1, 2], 1])
    expect(await result.dateDone).toBeInstanceOf(Date)
    expect([await result.successful(), await result.failed()]).toEqual([true, false])
    await result.forget()
    expect(await result.state).toBe('PENDING')
  })

  it('a failure is thrown with all that Python stored of it, or returned', { tags: 'full' }, async () => {
    await backend.markAsFailure('t-1', new TypeError('no number'), { traceback: 'Traceback (most recent …' })
    const result = new AsyncResult('t-1', backend)

    const error = await result.get().catch((reason: unknown) => reason)

    expect(error).toBeInstanceOf(TaskError)
    expect(error).toMatchObject({
      taskId: 't-1',
      excType: 'TypeError',
      excModule: 'builtins',
      excMessage: ['no number'],
      traceback: 'Traceback (most recent …',
    })
    expect(await result.get({ propagate: false })).toBeInstanceOf(TaskError)
    expect(await result.info).toBeInstanceOf(TaskError)
    expect(await result.failed()).toBe(true)
  })

  it('waiting ends by the clock, by a signal, and with the backend', async () => {
    const result = new AsyncResult('never', backend)
    const controller = new AbortController()
    const waiting = [
      result.get({ timeout: 0.1 }),
      result.get({ signal: controller.signal }),
      result.get(),
      result.get({ timeout: 3_000_000 }),
    ].map((promise) => promise.catch((error: { code?: string }) => error.code))

    setTimeout(() => controller.abort(), 150)
    expect(await Promise.all(waiting.slice(0, 2))).toEqual(['RESULT_TIMEOUT', 'ABORTED'])
    await backend.dispose()
    expect(await Promise.all(waiting.slice(2))).toEqual(['CLOSED', 'CLOSED'])
    await expect(result.get({ timeout: -1 })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })

  it('10,000 waits cost as many queries as ten', { tags: 'full', timeout: 60_000 }, async () => {
    const warned = vi.spyOn(process, 'emitWarning')
    await backend.counts()
    const questions = vi.spyOn(backend, 'finished')
    const controller = new AbortController()

    const asked: number[] = []
    const reads = vi.spyOn(backend, 'getTaskMeta')
    for (const waiting of [10, 10_000]) {
      const results = Array.from({ length: waiting }, (_, at) => new AsyncResult(`${waiting}-${at}`, backend))
      const before = questions.mock.calls.length
      const all = Promise.allSettled(results.map((result) => result.get({ signal: controller.signal })))
      await sleep(1_000)
      asked.push(questions.mock.calls.length - before)
      await backend.storeMany(results.map(({ id }) => ({ taskId: id, result: id })))
      expect((await all).every(({ status }) => status === 'fulfilled')).toBe(true)
    }

    expectAlike(asked)
    expect(reads).not.toHaveBeenCalled()
    expect(warned).not.toHaveBeenCalled()
  })

  it('10,000 who watch cost as many queries as ten, and are told of all that changes', {
    tags: 'full',
    timeout: 60_000,
  }, async () => {
    await backend.counts()
    const engine = await backend.manager.getEngine(dburi)
    const statements = vi.spyOn(engine, 'run')

    const asked: number[] = []
    for (const watching of [10, 10_000]) {
      const ids = Array.from({ length: watching }, (_, at) => `${watching}-${at}`)
      const seen = new Map<string, unknown[]>(ids.map((id) => [id, []]))
      const all = ids.map(async (id) => {
        for await (const { status, result } of backend.watch(id)) seen.get(id)?.push(`${status} ${result}`)
      })
      await until(() => [...seen.values()].every(({ length }) => length === 1), { within: 20_000 })
      const before = statements.mock.calls.length
      await sleep(1_500)
      asked.push(statements.mock.calls.length - before)
      await backend.storeMany(ids.map((taskId) => ({ taskId, result: taskId, state: 'PROGRESS' })))
      await until(() => [...seen.values()].every(({ length }) => length === 2), { within: 20_000 })
      await backend.storeMany(ids.map((taskId) => ({ taskId, result: taskId })))
      await Promise.all(all)
      expect([...seen]).toEqual(ids.map((id) => [id, ['PENDING null', `PROGRESS ${id}`, `SUCCESS ${id}`]]))
    }

    expectAlike(asked)
  })

  it('get tells of updates, and ends with what onUpdate throws', async () => {
    const seen: string[] = []
    const result = new AsyncResult<{ sum: number }>('t-1', backend)
    const waiting = result.get({ onUpdate: ({ status }) => seen.push(status) })
    await until(() => seen.length === 1)
    await backend.markAsStarted('t-1')
    await until(() => seen.length === 2)
    await backend.markAsDone('t-1', { sum: 3 })

    expect((await waiting).sum).toBe(3)
    expect(seen).toEqual(['PENDING', 'STARTED'])
    const onUpdate = () => {
      throw new RangeError('full')
    }
    await expect(new AsyncResult('t-2', backend).get({ onUpdate })).rejects.toThrow(RangeError)
  })

  it('watching ends by the clock, by a signal, with the backend and with the loop', async () => {
    const controller = new AbortController()
    const end = async (watching: AsyncIterable<unknown>) => {
      for await (const _ of watching);
    }
    const ends = [
      end(backend.watch('never', { timeout: 0.1 })),
      end(backend.watch('never', { signal: controller.signal })),
      end(backend.watch('never')),
    ].map((promise) => promise.catch((error: { code?: string }) => error.code))
    for await (const { status } of backend.watch('never')) if (status === 'PENDING') break

    setTimeout(() => controller.abort(), 150)
    expect(await Promise.all(ends.slice(0, 2))).toEqual(['RESULT_TIMEOUT', 'ABORTED'])
    await backend.dispose()
    expect(await ends[2]).toBe('CLOSED')
    expect(() => backend.watch('never')).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  })

  it('who begins to watch later has the latest at once, and who waits beside is answered, too', async () => {
    const seen: string[][] = [[], []]
    const watch = async (at: number) => {
      for await (const { status } of backend.watch('t-1')) seen[at]?.push(status)
    }
    const first = watch(0)
    await until(() => seen[0]?.length === 1)
    await backend.markAsStarted('t-1')
    await until(() => seen[0]?.length === 2)
    const second = watch(1)
    const waiting = new AsyncResult('t-1', backend).get()
    await until(() => seen[1]?.length === 1)
    await backend.markAsDone('t-1', 5)

    expect(await waiting).toBe(5)
    await Promise.all([first, second])
    expect(seen).toEqual([
      ['PENDING', 'STARTED', 'SUCCESS'],
      ['STARTED', 'SUCCESS'],
    ])
  })

  it('parse makes the result what a schema says, and its failure shows where, never what', async () => {
    const schema: StandardSchema<{ total: number }> = {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: (value) => {
          const { total } = Object(value)
          if (typeof total === 'number') return { value: { total } }
          const message = `no number: ${total}`
          return {
            issues: [
              { message, path: ['total', { key: 0 }] },
              { message, path: ['other'] },
            ],
          }
        },
      },
    }
    await backend.markAsDone('good', { total: 3, other: 1 })
    await backend.markAsDone('bad', { total: 'secret' })
    await backend.markAsFailure('failed', new TypeError('no'))

    const total: number = (await new AsyncResult('good', backend, { parse: schema }).get()).total
    expect(total).toBe(3)
    expect(await new AsyncResult('good', backend).get({ parse: schema })).toEqual({ total: 3 })
    const group = new GroupResult('g', [new AsyncResult('good', backend)], backend, { parse: schema })
    expect(await group.join()).toEqual([{ total: 3 }])
    const error = await new AsyncResult('bad', backend, { parse: schema }).get().catch((reason) => reason)
    expect(error).toMatchObject({ code: 'RESULT_INVALID', path: '$.total[0]' })
    expect(inspect(error)).not.toContain('secret')
    const failed = new AsyncResult('failed', backend, { parse: schema })
    expect(await failed.get({ propagate: false })).toBeInstanceOf(TaskError)
    expect(() => new AsyncResult('x', backend, { parse: {} as never })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', option: 'parse' }),
    )
  })

  it('what a task returns as a result is one here, with parents and members', async () => {
    const tuple = [['child', [['before', null], null]], null]
    await backend.markAsDone('json', tuple)
    await backend.saveGroup('saved', ['a', { id: 'b', parent: 'before' }])
    // What Celery pickles of a GroupResult is what it saves.
    const engine = await backend.manager.getEngine(dburi)
    const copy = `insert into celery_taskmeta (${dburi === 'pglite:' ? 'id, ' : ''}task_id, status, result)
      select ${dburi === 'pglite:' ? "nextval('task_id_sequence'), " : ''}'pickled', 'SUCCESS', result from celery_tasksetmeta`
    await engine.run({ sql: copy, params: [], asArrays: false })
    await backend.storeMany(['a', 'b', 'child', 'before'].map((taskId) => ({ taskId, result: taskId })))

    const child = resultFromTuple(await new AsyncResult('json', backend).get(), backend)
    expect(child).toBeInstanceOf(AsyncResult)
    expect(child).toMatchObject({ id: 'child', parent: { id: 'before' } })
    const group = await new AsyncResult('pickled', backend).get()
    expect(group).toBeInstanceOf(GroupResult)
    expect(await (group as GroupResult).join()).toEqual(['a', 'b'])
    for (const other of [null, 'child', ['child'], [['child']], { id: 'child' }]) {
      expect(resultFromTuple(other, backend)).toBeNull()
    }
    await (group as GroupResult).forget()
    expect(await backend.getState('before')).toBe('PENDING')
    expect(await backend.getState('child')).toBe('SUCCESS')
  })

  it('a result that is there is given even if there is no time to wait', async () => {
    await backend.markAsDone('t-1', 1)

    expect(await new AsyncResult('t-1', backend).get({ timeout: 0 })).toBe(1)
    await expect(new AsyncResult('t-2', backend).get({ timeout: 0 })).rejects.toHaveProperty(
      'code',
      'RESULT_TIMEOUT',
    )
  })

  it('a result that is deleted between two reads is waited for, not taken for null', async () => {
    const group = new GroupResult(
      'g',
      [new AsyncResult('a', backend), new AsyncResult('b', backend)],
      backend,
    )
    const joining = group.join()
    await backend.markAsDone('a', 'one')
    // Of one task all who wait are told at once.
    await new AsyncResult('a', backend).get()
    await backend.forget('a')
    await backend.markAsDone('b', 'two')

    expect(await joining).toEqual(['one', 'two'])
    const readers = Array.from({ length: 3 }, () => new AsyncResult('c', backend))
    const reading = readers.map(async (reader) => {
      const value = await reader.get({ timeout: 1 }).catch((error: { code?: string }) => error.code)
      await reader.forget()
      return value
    })
    await backend.markAsDone('c', 'three')
    for (const value of await Promise.all(reading)) expect(['three', 'RESULT_TIMEOUT']).toContain(value)
  })

  it('a wait goes on while the database is down, and rejects when it can never be reached', async () => {
    await backend.counts()
    const finished = vi.spyOn(backend, 'finished')
    finished.mockRejectedValueOnce(
      new ConnectError('CONNECT_FAILED', { host: 'h', port: 1 }, 'gone for a while'),
    )
    const waiting = new AsyncResult('t-1', backend).get()
    await backend.markAsDone('t-1', 1)
    expect(await waiting).toBe(1)

    finished.mockRejectedValueOnce(new Error('no such table'))
    await expect(new AsyncResult('t-2', backend).get()).rejects.toThrow('no such table')
  })

  it.each([
    ['an id that is none', undefined, {}],
    ['a signal that is none', 't-1', { signal: new AbortController() }],
    ['a timeout that is none', 't-1', { timeout: '3' }],
  ])('%s is refused, and troubles nobody else', async (_, id, options) => {
    const innocent = new AsyncResult('innocent', backend).get({ timeout: 30 })
    // What a program in JavaScript may give.
    const { id: taskId, options: given } = { id, options } as unknown as { id: string; options: object }

    await expect(new AsyncResult(taskId, backend).get(given)).rejects.toHaveProperty('code', 'INVALID_OPTION')
    await backend.markAsDone('innocent', 1)
    expect(await innocent).toBe(1)
  })

  it('a parent that has failed is the first to throw', async () => {
    await backend.markAsFailure('parent', new Error('first'))
    const child = new AsyncResult('child', backend, { parent: new AsyncResult('parent', backend) })

    await expect(child.get({ timeout: 5 })).rejects.toMatchObject({ taskId: 'parent' })
  })

  it('saving a group reads nothing of its members', async () => {
    const read = vi.spyOn(backend, 'getTaskMeta')
    const group = new GroupResult('g', [new AsyncResult('a', backend)], backend)

    await group.save()

    expect(read).not.toHaveBeenCalled()
  })

  it('a group reads all its members at once, and joins them in order', async () => {
    const inner = new GroupResult('inner', [new AsyncResult('c', backend)], backend)
    const group = new GroupResult(
      'g',
      [new AsyncResult('a', backend), new AsyncResult('b', backend), inner],
      backend,
    )
    await group.save()
    await backend.storeMany([
      { taskId: 'b', result: 2 },
      { taskId: 'c', result: 3 },
    ])
    const questions = vi.spyOn(backend, 'finished')

    expect([await group.completedCount(), await group.ready(), await group.waiting()]).toEqual([
      2,
      false,
      true,
    ])
    expect(questions).toHaveBeenCalledTimes(3)
    const joining = group.join()
    await backend.markAsDone('a', 1)
    expect(await joining).toEqual([1, 2, [3]])
    expect([await group.successful(), await group.failed()]).toEqual([true, false])

    const restored = await GroupResult.restore('g', backend)
    expect(restored?.results.map(({ id }) => id)).toEqual(['a', 'b', 'inner'])
    expect(await restored?.get()).toEqual([1, 2, [3]])
    await group.delete()
    expect(await GroupResult.restore('g', backend)).toBe(null)
    await group.forget()
    expect(await group.completedCount()).toBe(0)
  })

  it('a group is not waited for any longer once a member has failed', async () => {
    const group = new GroupResult(
      'g',
      [new AsyncResult('slow', backend), new AsyncResult('bad', backend)],
      backend,
    )
    const joining = group.join()
    await backend.markAsFailure('bad', new RangeError('too big'))

    await expect(joining).rejects.toMatchObject({ code: 'TASK_FAILED', taskId: 'bad', excType: 'ValueError' })
    await backend.markAsDone('slow', 1)
    expect(await group.join({ propagate: false })).toMatchObject([1, { code: 'TASK_FAILED' }])
  })
})

/** Queries for ten who wait, and for many: a handful for either. One or two more are a matter of when this process ran. */
function expectAlike([few = 0, many = 0]: readonly number[]): void {
  expect(Math.max(few, many)).toBeLessThan(20)
  expect(many).toBeLessThanOrEqual(few + 4)
}
