/** Waiting for results: what `AsyncResult` and `GroupResult` tell, and what it costs to wait. */
import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectError } from 'drizzle-celery'
import { AsyncResult, DatabaseBackend, GroupResult, TaskError } from 'drizzle-celery/backend'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

describe.each(['file::memory:', 'pglite:'])('on %s', (dburi) => {
  let backend: DatabaseBackend
  beforeEach(() => {
    backend = new DatabaseBackend(dburi, { resultExtended: true })
  })
  afterEach(() => backend.dispose())

  it('a result is waited for, and kept once it is there', async () => {
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

  it('a failure is thrown with what Python knows of it, or returned', async () => {
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

  it('10,000 who wait cost as many questions as ten', async () => {
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

    expect(asked[1]).toBeLessThanOrEqual(asked[0] ?? 0)
    expect(asked[0]).toBeLessThan(20)
    expect(reads).not.toHaveBeenCalled()
    expect(warned).not.toHaveBeenCalled()
  }, 60_000)

  it('a result that is there is given even if there is no time to wait', async () => {
    await backend.markAsDone('t-1', 1)

    expect(await new AsyncResult('t-1', backend).get({ timeout: 0 })).toBe(1)
    await expect(new AsyncResult('t-2', backend).get({ timeout: 0 })).rejects.toHaveProperty(
      'code',
      'RESULT_TIMEOUT',
    )
  })

  it('a result that is forgotten between two looks is waited for, not taken for null', async () => {
    const group = new GroupResult(
      'g',
      [new AsyncResult('a', backend), new AsyncResult('b', backend)],
      backend,
    )
    const joining = group.join()
    await backend.markAsDone('a', 'one')
    await sleep(700)
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

  it('who waits goes on waiting while the database cannot be asked, unless it never can', async () => {
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

  it('a group tells of all its members at once, and joins them in order', async () => {
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
