import { setTimeout as sleep } from 'node:timers/promises'
import type { ListedTask } from '../backend/list.ts'
import { PageError } from './errors.ts'
import { type Filters, matches } from './filters.ts'
import { taskRow } from './list.ts'
import { numberOf, type Site } from './page.ts'

/** Rows of each list that are looked at each time: a change further down is not seen. */
const LOOKED_AT = 200
/** Seconds between two counts, between two signs of life, and for which one connection is kept: then the browser comes anew. */
const COUNT_EVERY = 10
const SIGN_EVERY = 15
const KEPT_FOR = 3_600
/** Bytes that may wait for a slow reader. */
const MOST_WAITING = 1_000_000

/** A browser that listens. */
interface Listener {
  send(event: string, data: unknown): void
}

interface ListListener extends Listener {
  readonly filters: Filters
  /** Whether it was told that from now on it hears of each change. */
  isReady: boolean
}

/** The newest tasks, and which of them each list begins with. */
interface Looked {
  readonly tasks: readonly ListedTask[]
  readonly stored: ReadonlySet<string>
  readonly done: ReadonlySet<string>
}

/**
 * Tells browsers of changes, by Server-Sent Events. As long as any of them shows a list, one look at the database serves all of
 * them; the watched tasks are those of the backend's own poller.
 */
export class LiveHub {
  readonly #site: Site
  readonly #listeners = new Set<ListListener>()
  /** Held as long as they are answered: the signal of a request that was collected never aborts. */
  readonly #streams = new Set<Request>()
  #looking: Promise<void> | null = null

  constructor(site: Site) {
    this.#site = site
  }

  /** Changes of the list with these filters. @throws PageError where too many listen */
  list(filters: Filters, request: Request): Response {
    return this.#stream(request, (send, ended) => {
      const listener = { filters, send, isReady: false }
      this.#listeners.add(listener)
      ended.addEventListener('abort', () => this.#listeners.delete(listener))
      this.#looking ??= this.#look().finally(() => {
        this.#looking = null
      })
    })
  }

  /** Says `changed` at each change of a task until it is done. @throws PageError where too many listen */
  task(taskId: string, request: Request): Response {
    return this.#stream(request, (send, ended) => {
      const tell = async () => {
        for await (const { status } of this.#site.backend.watch(taskId, { signal: ended }))
          send('changed', { status })
        send('done', {})
      }
      tell().catch((error: unknown) => {
        if (!ended.aborted) this.#fail(error, [{ send }])
      })
    })
  }

  #stream(request: Request, begin: (send: Listener['send'], ended: AbortSignal) => void): Response {
    const { maxStreams } = this.#site.options
    if (this.#streams.size >= maxStreams) {
      throw new PageError(503, 'Too many listen', 'The page is looked at again from time to time.', {
        'retry-after': '60',
      })
    }
    this.#streams.add(request)
    const end = new AbortController()
    const ended = end.signal
    request.signal.addEventListener('abort', () => end.abort())
    const signs = setInterval(() => write(': \n\n'), SIGN_EVERY * 1_000).unref()
    const term = setTimeout(() => end.abort(), KEPT_FOR * 1_000).unref()
    let write = (_: string) => {}
    const body = new ReadableStream<Uint8Array>(
      {
        start(controller) {
          write = (text) => {
            if (ended.aborted) return
            // Who reads nothing is let go, and comes again.
            if ((controller.desiredSize ?? 0) <= 0) end.abort()
            else controller.enqueue(Buffer.from(text))
          }
          ended.addEventListener('abort', () => {
            try {
              controller.close()
            } catch {
              // The reader closed it.
            }
          })
        },
        cancel: () => end.abort(),
      },
      { highWaterMark: MOST_WAITING, size: ({ length }) => length },
    )
    ended.addEventListener('abort', () => {
      clearInterval(signs)
      clearTimeout(term)
      this.#streams.delete(request)
    })
    write('retry: 5000\n\n')
    begin((event, data) => write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`), ended)
    if (request.signal.aborted) end.abort()
    return new Response(body, {
      headers: {
        'content-type': 'text/event-stream; charset=utf-8',
        // Or a proxy keeps the events to itself.
        'cache-control': 'no-store, no-transform',
        'x-accel-buffering': 'no',
      },
    })
  }

  /** Runs as long as a list has listeners. */
  async #look(): Promise<void> {
    const { options } = this.#site
    let known: ReadonlyMap<string, string> | null = null
    let countedAt = Number.NEGATIVE_INFINITY
    while (this.#listeners.size > 0) {
      try {
        const looked = await this.#newest()
        const { tasks } = looked
        const before = known
        const isNews = (task: ListedTask) => before !== null && before.get(task.taskId) !== fingerprint(task)
        this.#tell(tasks.filter(isNews), looked)
        known = new Map(tasks.map((task) => [task.taskId, fingerprint(task)]))
        this.#greet()
        if (performance.now() - countedAt > COUNT_EVERY * 1_000) {
          countedAt = performance.now()
          this.#count()
        }
      } catch (error) {
        this.#fail(error, this.#listeners)
        await sleep(5_000, undefined, { ref: false })
      }
      await sleep(options.liveInterval * 1_000, undefined, { ref: false })
    }
  }

  /** Between a page and the first look, tasks may have changed: a new listener loads the page once more. */
  #greet(): void {
    for (const listener of this.#listeners) {
      if (!listener.isReady) listener.send('ready', {})
      listener.isReady = true
    }
  }

  /** The oldest first, so that the newest comes to stand above them. */
  async #newest(): Promise<Looked> {
    const { backend } = this.#site
    const done = (await backend.list({ orderBy: 'dateDone', limit: LOOKED_AT })).items
    const stored = (await backend.list({ limit: LOOKED_AT })).items
    const idsOf = (tasks: readonly ListedTask[]) => new Set(tasks.map(({ taskId }) => taskId))
    const tasks = new Map([...stored, ...done].reverse().map((task) => [task.taskId, task]))
    return { tasks: [...tasks.values()], stored: idsOf(stored), done: idsOf(done) }
  }

  /** What no longer belongs to a list is sent without its row; what would stand further down is not put in at the top. */
  #tell(tasks: readonly ListedTask[], looked: Looked): void {
    if (tasks.length === 0) return
    const rows = new Map(tasks.map((task) => [task.taskId, String(taskRow(this.#site, task))]))
    for (const { filters, send } of this.#listeners) {
      const news = tasks.map((task) => ({
        id: task.taskId,
        row: matches(filters, task) ? rows.get(task.taskId) : null,
        isNewest: looked[filters.sort].has(task.taskId),
      }))
      send('tasks', news)
    }
  }

  /** Nobody waits for it. */
  #count(): void {
    this.#site.backend
      .recentCounts()
      .then(({ counts }) => {
        const written = Object.fromEntries(
          Object.entries(counts).map(([state, tasks]) => [state, numberOf(tasks)]),
        )
        for (const { send } of this.#listeners) send('counts', written)
      })
      .catch(() => {})
  }

  #fail(error: unknown, listeners: Iterable<Listener>): void {
    this.#site.options.onError(error)
    for (const { send } of listeners) send('trouble', {})
  }
}

function fingerprint({ status, retries, dateDone }: ListedTask): string {
  return `${status} ${retries} ${dateDone?.getTime()}`
}
