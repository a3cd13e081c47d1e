/** Waiting for results: what `AsyncResult` and `GroupResult` tell, and what it costs to wait. */
import { setTimeout as sleep } from 'node:timers/promises'
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
    expect(warned).not.toHaveBeenCalled()
  }, 60_000)

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
    const questions = vi.spyOn(backend, 'getMany')

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
