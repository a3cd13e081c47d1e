import { isDeepStrictEqual } from 'node:util'
import { onAbort } from '../driver/deadline.ts'
import { AbortedError, ClosedError, toError } from '../errors.ts'
import { LONGEST_TIMEOUT } from '../options/pool.ts'
import { assertOption } from '../options/values.ts'
import { ResultTimeoutError } from './errors.ts'
import type { ListenerEvents } from './notify.ts'
import { READY_STATES, type TaskMeta } from './types.ts'

/** How long to wait for a task, and what stops the waiting. The task itself is not stopped. */
export interface WaitOptions {
  /** Seconds by the clock; 0 asks once. @default for ever */
  readonly timeout?: number | null | undefined
  readonly signal?: AbortSignal | undefined
}

/** What a poller works with. */
export interface PollerParts {
  /** The metas of the finished tasks among these. The signal is aborted when nobody waits any more. */
  finished(taskIds: string[], signal: AbortSignal): Promise<ReadonlyMap<string, TaskMeta>>
  /** The metas of those of these tasks that are not as their marks say; one without was not looked at yet. */
  changed(
    marks: ReadonlyMap<string, string | undefined>,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, MarkedMeta>>
  /** Whether an error of the two is temporary: then the waiters go on waiting. */
  mayPass(error: unknown): boolean
  /** Notifies of results as they are stored; runs from the first waiter to the last. */
  readonly listener: { start(events: ListenerEvents): void; stop(): void } | null
  /** Whether it also notifies of changes of tasks that are not done. */
  readonly notifiesChanges: boolean
}

/** A meta, and what its row looked like: another mark is another state or another value stored with it. */
export interface MarkedMeta {
  readonly meta: TaskMeta
  readonly mark: string
}

/** Who waits for a task, or watches it. */
interface Waiter {
  readonly isWatching: boolean
  /** Whether a poll that included it has been answered. */
  wasPolled: boolean
  /** Called when the task is done; with `isWatching` at every change. */
  take(meta: TaskMeta): void
  fail(error: Error): void
}

/** A task that somebody waits for. */
interface Task {
  readonly waiters: Set<Waiter>
  /** Of the last poll for those who watch. */
  mark: string | undefined
  latest: TaskMeta | undefined
}

/** Milliseconds between two polls: while results come, and at most. */
const SHORTEST = 20
const LONGEST = 500
/** Milliseconds between two polls while results are notified: a notification may be lost. */
const WHILE_LISTENING = 10_000
/** Seconds that the first poll may take, even if the timeout of a waiter is shorter. */
const FIRST_ANSWER = 1

/**
 * Polls for all waiters, with one query at a time. While no result comes, the interval grows from 20 ms to Celery's half
 * second. With a listener all tasks are polled once it listens; from then on only those that are new or notified, and all
 * of them every 10 s. Those who watch are polled for every half second unless the listener tells them.
 */
export class ResultPoller {
  readonly #parts: PollerParts
  readonly #tasks = new Map<string, Task>()
  /** Tasks to poll next, without the others: those that are new while the listener listens, and those notified. */
  readonly #urgent = new Set<string>()
  #isListening = false
  #timer: NodeJS.Timeout | undefined
  /** Aborts the running poll, when nobody waits any more. */
  #polling: AbortController | null = null
  #interval = SHORTEST
  #polledAt = Number.NEGATIVE_INFINITY
  /** How many watch. */
  #watching = 0
  /** When those who watch were last polled for, be it with all others. */
  #watchedAt = Number.NEGATIVE_INFINITY
  #isClosed = false

  constructor(parts: PollerParts) {
    this.#parts = parts
  }

  /**
   * Resolves to the meta of a task when it is done.
   * @throws ResultTimeoutError, AbortedError, ClosedError, OptionError, and the errors of `finished` that are not temporary
   */
  async wait(taskId: string, options: WaitOptions = {}): Promise<TaskMeta> {
    this.#check(taskId, options)
    let letGo = () => {}
    try {
      return await new Promise<TaskMeta>((take, fail) => {
        letGo = this.#add(taskId, { isWatching: false, wasPolled: false, take, fail }, options)
      })
    } finally {
      letGo()
    }
  }

  /**
   * Yields the meta of a task, then each change of its state and of what is stored with it, until it is done. Of changes that
   * come while the last one is being looked at only the newest is yielded.
   * @throws as `wait`
   */
  watch(taskId: string, options: WaitOptions = {}): AsyncGenerator<TaskMeta, void, undefined> {
    this.#check(taskId, options)
    return this.#changes(taskId, options)
  }

  async *#changes(taskId: string, options: WaitOptions): AsyncGenerator<TaskMeta, void, undefined> {
    const news: { meta?: TaskMeta | undefined; error?: Error } = {}
    let letGo = () => {}
    let wake = () => {}
    const waiter: Waiter = {
      isWatching: true,
      wasPolled: false,
      take(meta) {
        news.meta = meta
        if (READY_STATES.has(meta.status)) letGo()
        wake()
      },
      fail(error) {
        news.error = error
        wake()
      },
    }
    letGo = this.#add(taskId, waiter, options)
    try {
      for (;;) {
        const { meta, error } = news
        news.meta = undefined
        if (meta !== undefined) yield meta
        if (meta !== undefined && READY_STATES.has(meta.status)) return
        if (meta !== undefined) continue
        if (error !== undefined) throw error
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    } finally {
      letGo()
    }
  }

  /** Rejects all waiters, and those to come, with a `ClosedError`. */
  close(): void {
    this.#isClosed = true
    this.#failAll(new ClosedError('backend'))
  }

  /** Rejects all waiters: waiting longer does not help. */
  fail(error: unknown): void {
    this.#failAll(toError(error))
  }

  #check(taskId: string, { timeout, signal }: WaitOptions): void {
    assertOption(typeof taskId === 'string', 'taskId', 'a string')
    assertOption(
      timeout == null || (typeof timeout === 'number' && timeout >= 0),
      'timeout',
      'seconds from 0',
    )
    assertOption(signal === undefined || signal instanceof AbortSignal, 'signal', 'an AbortSignal')
    if (this.#isClosed) throw new ClosedError('backend')
    if (signal?.aborted) throw aborted(taskId, signal)
  }

  /** @returns a function that removes the waiter */
  #add(taskId: string, waiter: Waiter, { timeout, signal }: WaitOptions): () => void {
    const task = this.#tasks.get(taskId) ?? { waiters: new Set(), mark: undefined, latest: undefined }
    this.#tasks.set(taskId, task)
    task.waiters.add(waiter)
    if (waiter.isWatching) this.#watching++
    this.#parts.listener?.start(this.#events)
    const stopTimer = timeout == null ? undefined : expire(waiter, new ResultTimeoutError(taskId, timeout))
    const unlisten = signal && onAbort(signal, () => waiter.fail(aborted(taskId, signal)))
    // Others who watch have it already, and the next poll tells of changes only.
    if (task.latest !== undefined && waiter.isWatching) waiter.take(task.latest)
    if (this.#isListening) this.#pollSoon(taskId)
    else this.#hurry()
    return () => {
      stopTimer?.()
      unlisten?.()
      if (!task.waiters.delete(waiter)) return
      if (waiter.isWatching) this.#watching--
      // Nobody keeps it up to date any more.
      if (!hasWatcher(task)) Object.assign(task, { mark: undefined, latest: undefined })
      if (task.waiters.size === 0 && this.#tasks.get(taskId) === task) {
        this.#tasks.delete(taskId)
        this.#urgent.delete(taskId)
        if (this.#tasks.size === 0) this.#rest()
      }
    }
  }

  readonly #events: ListenerEvents = {
    onListening: (isListening) => {
      this.#isListening = isListening
      // Results stored before it listened were not notified, nor are those stored after it stops.
      if (this.#tasks.size > 0) this.#hurry()
    },
    onResult: (taskId) => {
      if (this.#tasks.has(taskId)) this.#pollSoon(taskId)
    },
  }

  /** Polls for this task without the others, which will be notified. */
  #pollSoon(taskId: string): void {
    this.#urgent.add(taskId)
    if (this.#polling === null) this.#schedule()
  }

  /** Polls as soon as the shortest interval allows. */
  #hurry(): void {
    this.#interval = SHORTEST
    if (this.#polling === null) this.#schedule()
  }

  #schedule(): void {
    clearTimeout(this.#timer)
    const allAt = this.#polledAt + this.#interval
    const at = this.#urgent.size > 0 ? 0 : Math.min(allAt, this.#watchesAt())
    this.#timer = setTimeout(() => void this.#tick(), Math.max(0, at - performance.now()))
  }

  /** When those who watch are to be polled for without the others, because no listener tells them. */
  #watchesAt(): number {
    const isNeeded = this.#isListening && !this.#parts.notifiesChanges && this.#watching > 0
    return isNeeded ? this.#watchedAt + LONGEST : Number.POSITIVE_INFINITY
  }

  #rest(): void {
    clearTimeout(this.#timer)
    this.#interval = SHORTEST
    this.#polling?.abort()
    this.#parts.listener?.stop()
  }

  async #tick(): Promise<void> {
    const polling = new AbortController()
    this.#polling = polling
    const polled = this.#next()
    try {
      const metas = await this.#news(polled, polling.signal)
      const isAnyReady = [...metas.values()].some(({ status }) => READY_STATES.has(status))
      if (isAnyReady && !this.#isListening) this.#interval = SHORTEST
      for (const [taskId, task] of polled) {
        const meta = metas.get(taskId)
        const isReady = meta !== undefined && READY_STATES.has(meta.status)
        if (isReady) this.#urgent.delete(taskId)
        for (const waiter of [...task.waiters]) {
          waiter.wasPolled = true
          if (meta !== undefined) give(waiter, meta)
        }
      }
    } catch (error) {
      // An aborted poll is no failure: those who have come since are polled next.
      if (this.#parts.mayPass(error)) this.#interval = LONGEST
      else if (!polling.signal.aborted) this.fail(error)
    } finally {
      this.#polling = null
      if (this.#tasks.size > 0) this.#schedule()
    }
  }

  /** Which of these tasks are done, and which of those that somebody watches have changed. */
  async #news(
    polled: ReadonlyMap<string, Task>,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, TaskMeta>> {
    const finished = await this.#parts.finished([...polled.keys()], signal)
    const watched = [...polled].filter(([taskId, task]) => hasWatcher(task) && !finished.has(taskId))
    if (watched.length === 0) return finished

    const metas = new Map(finished)
    const marks = new Map(watched.map(([taskId, { mark }]) => [taskId, mark]))
    for (const [taskId, { meta, mark }] of await this.#parts.changed(marks, signal)) {
      const task = polled.get(taskId)
      if (task === undefined) continue
      // The row may have changed between its mark and its meta, which then comes once more with the next mark.
      if (!isDeepStrictEqual(task.latest, meta)) metas.set(taskId, meta)
      Object.assign(task, { mark, latest: meta })
    }
    return metas
  }

  /** The urgent tasks and those that are due to be watched, or all of them when the interval is over. */
  #next(): Map<string, Task> {
    const now = performance.now()
    if (now - this.#polledAt < this.#interval) {
      const isWatchDue = now >= this.#watchesAt()
      const watched = isWatchDue ? [...this.#tasks].filter(([, task]) => hasWatcher(task)) : []
      if (isWatchDue) this.#watchedAt = now
      const some = new Map(watched)
      for (const taskId of this.#urgent) {
        const task = this.#tasks.get(taskId)
        if (task !== undefined) some.set(taskId, task)
      }
      this.#urgent.clear()
      if (some.size > 0) return some
    }
    this.#urgent.clear()
    this.#polledAt = now
    this.#watchedAt = now
    // Set before the answer: a waiter that comes meanwhile is not in this poll, and resets the interval.
    this.#interval = this.#isListening ? WHILE_LISTENING : Math.min(this.#interval * 1.5, LONGEST)
    return new Map(this.#tasks)
  }

  #failAll(error: Error): void {
    for (const { waiters } of this.#tasks.values()) for (const { fail } of waiters) fail(error)
    this.#tasks.clear()
    this.#urgent.clear()
    this.#rest()
  }
}

function hasWatcher({ waiters }: Task): boolean {
  for (const { isWatching } of waiters) if (isWatching) return true
  return false
}

function give(waiter: Waiter, meta: TaskMeta): void {
  if (waiter.isWatching || READY_STATES.has(meta.status)) waiter.take(meta)
}

/**
 * Rejects a waiter after its timeout, but not before one poll has been answered: a result that is there already wins, as in
 * Celery.
 * @returns a function that stops the timer
 */
function expire(waiter: Waiter, error: ResultTimeoutError): () => void {
  const { timeout } = error
  if (timeout >= LONGEST_TIMEOUT) return () => {}
  const startedAt = performance.now()
  const check = () => {
    const isLate = performance.now() - startedAt >= FIRST_ANSWER * 1_000
    if (waiter.wasPolled || isLate) waiter.fail(error)
    else timer = setTimeout(check, 10)
  }
  let timer = setTimeout(check, timeout * 1_000)
  return () => clearTimeout(timer)
}

function aborted(taskId: string, signal: AbortSignal): AbortedError {
  return new AbortedError(`Stopped waiting for task ${taskId}: the signal was aborted`, {
    cause: signal.reason,
  })
}
