/** When who waits is asked for: the database and the ear are made up, so that time and failure obey. */

import { getEventListeners } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { AsyncResult, DatabaseBackend } from 'drizzle-celery/backend'
import { describe, expect, it } from 'vitest'
import type { ListenerEvents } from '../../src/backend/notify.ts'
import { withToJson } from '../../src/backend/plain-meta.ts'
import { ResultPoller } from '../../src/backend/poller.ts'
import { failure, until } from '../faults/support.ts'

const DONE = withToJson({
  taskId: 'a',
  status: 'SUCCESS',
  result: 1,
  traceback: null,
  dateDone: null,
  children: null,
})

/** A poller whose every question waits for its answer. */
function polled() {
  const questions: { ids: string[]; signal: AbortSignal; answer(...done: string[]): void }[] = []
  const calls: string[] = []
  let events: ListenerEvents | undefined
  const poller = new ResultPoller({
    finished: (ids, signal) =>
      new Promise((resolve) => {
        const answer = (...done: string[]) => resolve(new Map(done.map((id) => [id, DONE])))
        questions.push({ ids, signal, answer })
      }),
    changed: async () => new Map(),
    notifiesChanges: false,
    mayPass: () => true,
    listener: {
      start(given) {
        events = given
        calls.push('start')
      },
      stop: () => calls.push('stop'),
    },
  })
  const asked = async (count: number) => {
    await until(() => questions.length === count)
    const last = questions[count - 1]
    if (last === undefined) throw new Error('Nobody was asked for')
    return last
  }
  return { poller, questions, calls, asked, events: () => events as ListenerEvents }
}

it('waiters that share a signal leave nothing on it, in whatever order they go', async () => {
  const { poller, asked } = polled()
  const { signal } = new AbortController()
  const waiting = ['a', 'b', 'c'].map((id) => poller.wait(id, { signal }))
  expect(getEventListeners(signal, 'abort')).toHaveLength(1)
  for (const [at, id] of ['a', 'b', 'c'].entries()) (await asked(at + 1)).answer(id)
  await Promise.all(waiting)

  expect(getEventListeners(signal, 'abort')).toHaveLength(0)
})

describe('a poller with a listener', () => {
  it('polls for all waiters each time it begins to listen, again after a running poll', async () => {
    const { poller, asked, events } = polled()
    const waiting = poller.wait('a')
    events().onListening(true)
    ;(await asked(1)).answer()

    events().onListening(false)
    events().onListening(true)
    const early = await asked(2)
    events().onListening(false)
    events().onListening(true)
    early.answer()
    const late = await asked(3)

    expect(late.ids).toEqual(['a'])
    late.answer('a')
    expect(await waiting).toBe(DONE)
  })

  it('polls for notified tasks alone, once for all notified meanwhile', async () => {
    const { poller, questions, asked, events } = polled()
    const waiting = ['a', 'b', 'c', 'd'].map((id) => poller.wait(id))
    const first = await asked(1)
    events().onListening(true)
    first.answer()
    const everybody = await asked(2)
    for (const id of ['b', 'b', 'c', 'nobody waits for']) events().onResult(id)
    everybody.answer()

    const heard = await asked(3)
    expect(heard.ids).toEqual(['b', 'c'])
    heard.answer('b', 'c')
    await Promise.all(waiting.slice(1, 3))
    await sleep(700)
    expect(questions).toHaveLength(3)

    events().onListening(false)
    const deaf = await asked(4)
    expect(deaf.ids).toEqual(['a', 'd'])
    deaf.answer('a', 'd')
    await Promise.all(waiting)
  })

  it('polls for later waiters alone', async () => {
    const { poller, asked, events } = polled()
    const waiting = [poller.wait('a')]
    events().onListening(true)
    ;(await asked(1)).answer()

    waiting.push(poller.wait('b'))
    const question = await asked(2)

    expect(question.ids).toEqual(['b'])
    question.answer()
    events().onResult('a')
    events().onResult('b')
    ;(await asked(3)).answer('a', 'b')
    await Promise.all(waiting)
  })

  it('uses it from the first waiter to the last', async () => {
    const { poller, calls, asked } = polled()
    const waiting = [poller.wait('a'), poller.wait('b')]
    const question = await asked(1)
    expect(calls).toEqual(['start', 'start'])

    question.answer('a', 'b')
    await Promise.all(waiting)

    expect(calls).toEqual(['start', 'start', 'stop'])
    poller.wait('c').catch(() => {})
    expect(calls.at(-1)).toBe('start')
    poller.close()
    expect(calls.at(-1)).toBe('stop')
  })

  it('aborts its poll when the last waiter leaves, and polls again for the next one', async () => {
    const { poller, asked } = polled()
    const controller = new AbortController()
    const gone = failure(poller.wait('a', { signal: controller.signal }))
    const first = await asked(1)
    controller.abort()
    expect(await gone).toHaveProperty('code', 'ABORTED')
    expect(first.signal.aborted).toBe(true)

    const waiting = poller.wait('a')
    first.answer()
    const second = await asked(2)

    expect(second.signal.aborted).toBe(false)
    second.answer('a')
    expect(await waiting).toBe(DONE)
  })
})

it('a server that is down is not retried for a waiter that has left, with Celery’s endless retries', {
  tags: 'full',
}, async () => {
  let connects = 0
  const server = createServer((socket) => {
    connects++
    socket.destroy()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await using backend = new DatabaseBackend(`postgresql://nobody@127.0.0.1:${port}/nowhere`, {
    resultBackendMaxRetries: Number.POSITIVE_INFINITY,
    resultBackendMaxSleepBetweenRetriesMs: 20,
    databaseCreateTablesAtSetup: false,
  })

  const controller = new AbortController()
  const left = failure(new AsyncResult('a', backend).get({ signal: controller.signal }))
  await until(() => connects > 3, { within: 20_000 })
  controller.abort()
  expect(await left).toHaveProperty('code', 'ABORTED')
  // What was under way may still arrive.
  let before = 0
  await until(async () => {
    before = connects
    await sleep(500)
    return connects === before
  })
  await sleep(500)

  expect(connects).toBe(before)
  server.close()
})

it('a change is yielded once, also when its row was read before it was looked for', async () => {
  const looks: {
    marks: ReadonlyMap<string, string | undefined>
    answer(mark: string, status: string): void
  }[] = []
  const poller = new ResultPoller({
    finished: async () => new Map(),
    changed: (marks) =>
      new Promise((resolve) => {
        const answer = (mark: string, status: string) =>
          resolve(new Map([['a', { mark, meta: withToJson({ ...DONE, status }) }]]))
        looks.push({ marks, answer })
      }),
    notifiesChanges: false,
    mayPass: () => true,
    listener: null,
  })
  const seen: string[] = []
  const watching = (async () => {
    for await (const { status } of poller.watch('a')) seen.push(status)
  })()
  const answers = [
    ['none', 'PENDING'],
    ['first', 'STARTED'],
    ['second', 'STARTED'],
    ['third', 'SUCCESS'],
  ] as const
  for (const [at, [mark, status]] of answers.entries()) {
    await until(() => looks.length > at)
    looks[at]?.answer(mark, status)
  }
  await watching

  expect(seen).toEqual(['PENDING', 'STARTED', 'SUCCESS'])
  expect(looks.map(({ marks }) => marks.get('a'))).toEqual([undefined, 'none', 'first', 'second'])
})
