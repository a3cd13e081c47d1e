/** Changes are told as they come, to many at the cost of one. */
import { expect, it, onTestFinished, vi } from 'vitest'
import type { DatabaseBackend } from '../../src/backend/database-backend.ts'
import { History } from '../../src/web/history.ts'
import { type ResultsAppOptions, resultsApp } from '../../src/web/index.ts'
import { inMemory, ORIGIN, TOKEN } from './serving.ts'

interface Told {
  readonly event: string
  readonly data: unknown
}

/** Listens as a browser does. */
async function listening(app: (request: Request) => Promise<Response>, path: string) {
  const end = new AbortController()
  const headers = { authorization: `Bearer ${TOKEN}` }
  const response = await app(new Request(`${ORIGIN}${path}`, { headers, signal: end.signal }))
  const told: Told[] = []
  const reading = (async () => {
    let text = ''
    const decoder = new TextDecoder()
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk, { stream: true })
      const messages = text.split('\n\n')
      text = messages.pop() ?? ''
      for (const message of messages) {
        const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(message) ?? []
        if (event !== undefined) told.push({ event, data: JSON.parse(data ?? '') })
      }
    }
  })()
  return {
    status: response.status,
    told,
    tasks: () =>
      told.flatMap(({ event, data }) =>
        event === 'tasks' ? (data as { id: string; row: string | null }[]) : [],
      ),
    async [Symbol.asyncDispose]() {
      end.abort()
      await reading
    },
  }
}

function quick(backend: DatabaseBackend, options: Partial<ResultsAppOptions> = {}) {
  return resultsApp(backend, { token: TOKEN, liveInterval: 0.05, ...options })
}

it('tells each who watches a list of what belongs to it, by one look at a time for all', async () => {
  await using backend = inMemory()
  await backend.storeResult('before', 1, 'SUCCESS')
  const app = quick(backend)
  const list = vi.spyOn(backend, 'list')
  await using all = await listening(app, '/live')
  await using failures = await listening(app, '/live?state=FAILURE')
  const others = await Promise.all(Array.from({ length: 20 }, () => listening(app, '/live')))
  await expect.poll(() => list.mock.calls.length).toBeGreaterThan(3)

  await backend.markAsStarted('new')
  await expect.poll(() => all.tasks().map(({ id }) => id)).toContain('new')
  await backend.markAsFailure('new', new Error('x'))
  await expect.poll(() => failures.tasks().find(({ row }) => row != null)?.row).toContain('FAILURE')
  expect(failures.tasks()[0]).toMatchObject({ id: 'new', row: null })
  for (const { told } of [all, failures, ...others])
    expect(told.filter(({ event }) => event === 'ready')).toHaveLength(1)
  expect(all.tasks().map(({ id }) => id)).not.toContain('before')
  expect(others.every(({ told }) => told.some(({ event }) => event === 'tasks'))).toBe(true)

  for (const other of others) await other[Symbol.asyncDispose]()
  await all[Symbol.asyncDispose]()
  await failures[Symbol.asyncDispose]()
  const concurrent = list.mock.calls.length
  // Nobody watches: one look may be under way.
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect(list.mock.calls.length - concurrent).toBeLessThanOrEqual(2)
})

it('tells each change of a task, and that it is done', async () => {
  await using backend = inMemory()
  await backend.storeResult('t', { done: 1 }, 'PROGRESS')
  await using stream = await listening(quick(backend), '/live/task?id=t')
  await expect.poll(() => stream.told.length).toBeGreaterThan(0)
  await backend.storeResult('t', { done: 2 }, 'PROGRESS')
  await expect.poll(() => stream.told.length).toBeGreaterThan(1)
  await backend.markAsDone('t', 3)

  await expect.poll(() => stream.told.at(-1)?.event).toBe('done')
  expect(JSON.stringify(stream.told)).not.toContain('"done":')
})

it('lets only so many listen, and as many again when they left', async () => {
  await using backend = inMemory()
  const app = quick(backend, { maxStreams: 2 })
  const first = await listening(app, '/live')
  await using second = await listening(app, '/live')
  const third = await listening(app, '/live/task?id=t')
  expect([first.status, second.status, third.status]).toEqual([200, 200, 503])
  await first[Symbol.asyncDispose]()

  await using fourth = await listening(app, '/live')
  expect(fourth.status).toBe(200)
})

it('says when the database does not answer, and goes on when it does, though onError throws', {
  tags: 'full',
}, async () => {
  await using backend = inMemory()
  const warned = vi.spyOn(process, 'emitWarning').mockReturnValue()
  const onError = vi.fn(() => {
    throw new Error('a bug of the program')
  })
  const list = vi.spyOn(backend, 'list').mockRejectedValueOnce(new Error('away'))
  await using stream = await listening(quick(backend, { onError }), '/live')

  await expect.poll(() => stream.told.map(({ event }) => event)).toContain('trouble')
  expect(onError).toHaveBeenCalledOnce()
  await expect.poll(() => list.mock.calls.length).toBeGreaterThan(2)
  expect(warned).toHaveBeenCalledOnce()
  warned.mockRestore()
})

it('charts count each part of the time once for all who look, and only the newest again', async () => {
  // The parts begin with each half hour of the clock.
  const now = Date.parse('2026-11-29T12:10:00Z')
  vi.useFakeTimers({ toFake: ['Date'], now })
  onTestFinished(() => void vi.useRealTimers())
  const asked: number[] = []
  const history = new History(async ({ since }) => {
    asked.push(since.getTime())
    return { counts: [{ status: 'SUCCESS', name: 'n', worker: 'w', tasks: 2 }], isCut: false }
  })
  expect(history.of('24h').countedAt).toBeNull()
  await Promise.all([history.refresh('24h'), history.refresh('24h'), history.refresh('24h')])
  await history.refresh('24h')

  expect(asked).toHaveLength(48)
  expect(asked).toEqual([...new Set(asked)].sort((one, other) => other - one))
  const { steps, countedAt } = history.of('24h')
  expect(steps.map(({ counts }) => counts?.[0]?.tasks)).toEqual(Array(48).fill(2))
  expect(countedAt).toEqual(new Date(now))

  vi.setSystemTime(now + 1_800_000)
  await history.refresh('24h')
  expect(asked.slice(48)).toEqual(['2026-11-29T12:30:00Z', '2026-11-29T12:00:00Z'].map(Date.parse))
})
