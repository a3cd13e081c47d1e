import { AbortListeners } from '../driver/deadline.ts'
import { AbortedError, ClosedError } from '../errors.ts'
import { LONGEST_TIMEOUT } from '../options/pool.ts'
import { assertOption } from '../options/values.ts'
import { ResultTimeoutError } from './errors.ts'
import type { ListenerEvents } from './notify.ts'
import type { TaskMeta } from './types.ts'

/** How long to wait for a task, and what stops the waiting. The task itself is not stopped. */
export interface WaitOptions {
  /** Seconds by the clock; 0 asks once. @default for ever */
  readonly timeout?: number | null
  readonly signal?: AbortSignal
}

/** Where a poller looks. */
export interface PollerParts {
  /** The metas of those of these tasks that are done. The signal says that nobody wants to know any more. */
  finished(taskIds: string[], signal: AbortSignal): Promise<ReadonlyMap<string, TaskMeta>>
  /** Whether what it throws may pass by itself: then who waits goes on waiting. */
  mayPass(error: unknown): boolean
  /** Hears of results as they are stored, from the first who waits to the last. */
  readonly listener: { start(events: ListenerEvents): void; stop(): void } | null
}

interface Waiter {
  /** Whether a question for it was answered. */
  isAsked: boolean
  done(meta: TaskMeta): void
  fail(error: Error): void
}

/** Milliseconds between two questions: as long as something happens, and at most. */
const SHORTEST = 20
const LONGEST = 500
/** Milliseconds between two questions while results are heard of: there may be some that nobody told. */
const HEARING = 10_000
/** Seconds that the first answer may take beyond a shorter timeout. */
const FIRST_ANSWER = 1

/**
 * Asks for everybody who waits, with one question at a time for all of them. The questions become rarer while nothing
 * happens, from 20 ms down to Celery's half second. With a listener everybody is asked for when it begins to hear, and
 * then, but for a look now and then, those only who are new or were heard of.
 */
export class ResultPoller {
  readonly #parts: PollerParts
  readonly #waiting = new Map<string, Set<Waiter>>()
  readonly #aborts = new AbortListeners()
  /** Those who are asked for next, without the others: they are new while it hears, or were heard of. */
  readonly #wanted = new Set<string>()
  #isHearing = false
  #timer: NodeJS.Timeout | undefined
  /** Of the question under way: ends it when nobody waits any more. */
  #asking: AbortController | null = null
  #interval = SHORTEST
  #askedAt = Number.NEGATIVE_INFINITY
  #isClosed = false

  constructor(parts: PollerParts) {
    this.#parts = parts
  }

  /**
   * Resolves to the meta of a task when it is done.
   * @throws ResultTimeoutError, AbortedError, ClosedError, OptionError, and what the asking throws and will throw again
   */
  async wait(taskId: string, { timeout, signal }: WaitOptions = {}): Promise<TaskMeta> {
    assertOption(typeof taskId === 'string', 'taskId', 'a string')
    assertOption(
      timeout == null || (typeof timeout === 'number' && timeout >= 0),
      'timeout',
      'seconds from 0',
    )
    assertOption(signal === undefined || signal instanceof AbortSignal, 'signal', 'an AbortSignal')
    if (this.#isClosed) throw new ClosedError('backend')
    if (signal?.aborted) throw aborted(taskId, signal)

    let letGo = () => {}
    try {
      return await new Promise<TaskMeta>((done, fail) => {
        const waiter: Waiter = { isAsked: false, done, fail }
        letGo = this.#add(taskId, waiter, { timeout, signal: signal ?? null })
        if (this.#isHearing) this.#askFor(taskId)
        else this.#hurry()
      })
    } finally {
      letGo()
    }
  }

  /** Tells everybody who waits that the backend is closed, and refuses who comes later. */
  close(): void {
    this.#isClosed = true
    this.#failAll(new ClosedError('backend'))
  }

  /** Tells everybody who waits that there is no use in it. */
  fail(error: unknown): void {
    this.#failAll(error instanceof Error ? error : new Error(String(error)))
  }

  /** @returns what takes the waiter away again */
  #add(
    taskId: string,
    waiter: Waiter,
    { timeout, signal }: { timeout: number | null | undefined; signal: AbortSignal | null },
  ): () => void {
    const waiters = this.#waiting.get(taskId) ?? new Set()
    this.#waiting.set(taskId, waiters)
    waiters.add(waiter)
    this.#parts.listener?.start(this.#events)
    const stopTimer = timeout == null ? undefined : expire(waiter, new ResultTimeoutError(taskId, timeout))
    const unlisten = signal && this.#aborts.add(signal, () => waiter.fail(aborted(taskId, signal)))
    return () => {
      stopTimer?.()
      unlisten?.()
      waiters.delete(waiter)
      if (waiters.size === 0 && this.#waiting.get(taskId) === waiters) {
        this.#waiting.delete(taskId)
        this.#wanted.delete(taskId)
        if (this.#waiting.size === 0) this.#rest()
      }
    }
  }

  readonly #events: ListenerEvents = {
    onHearing: (isHearing) => {
      this.#isHearing = isHearing
      // What was stored before is not heard of, and what was not heard of is to be asked for soon.
      if (this.#waiting.size > 0) this.#hurry()
    },
    onResult: (taskId) => {
      if (this.#waiting.has(taskId)) this.#askFor(taskId)
    },
  }

  /** Asks for one alone: whatever else is stored will be heard of. */
  #askFor(taskId: string): void {
    this.#wanted.add(taskId)
    if (this.#asking === null) this.#schedule()
  }

  /** Somebody new is curious: the next question comes as soon as it may. */
  #hurry(): void {
    this.#interval = SHORTEST
    if (this.#asking === null) this.#schedule()
  }

  #schedule(): void {
    clearTimeout(this.#timer)
    const wait = this.#wanted.size > 0 ? 0 : this.#askedAt + this.#interval - performance.now()
    this.#timer = setTimeout(() => void this.#tick(), Math.max(0, wait))
  }

  #rest(): void {
    clearTimeout(this.#timer)
    this.#interval = SHORTEST
    this.#asking?.abort()
    this.#parts.listener?.stop()
  }

  async #tick(): Promise<void> {
    const asking = new AbortController()
    this.#asking = asking
    const asked = this.#next()
    try {
      const finished = await this.#parts.finished([...asked.keys()], asking.signal)
      if (finished.size > 0 && !this.#isHearing) this.#interval = SHORTEST
      for (const [taskId, waiters] of asked) {
        const meta = finished.get(taskId)
        if (meta !== undefined) this.#wanted.delete(taskId)
        for (const waiter of waiters) {
          waiter.isAsked = true
          if (meta !== undefined) waiter.done(meta)
        }
      }
    } catch (error) {
      // Whoever came after the last had left is asked for next.
      if (this.#parts.mayPass(error)) this.#interval = LONGEST
      else if (!asking.signal.aborted) this.fail(error)
    } finally {
      this.#asking = null
      if (this.#waiting.size > 0) this.#schedule()
    }
  }

  /** Those who are wanted, unless it is everybody's turn. */
  #next(): Map<string, Set<Waiter>> {
    const now = performance.now()
    const isDue = now - this.#askedAt >= this.#interval
    const wanted = isDue ? [] : [...this.#wanted]
    this.#wanted.clear()
    if (wanted.length > 0)
      return new Map(wanted.map((taskId) => [taskId, this.#waiting.get(taskId) ?? new Set()]))
    this.#askedAt = now
    // Who comes while the question is under way was not asked for, and makes the next one come soon.
    this.#interval = this.#isHearing ? HEARING : Math.min(this.#interval * 1.5, LONGEST)
    return new Map(this.#waiting)
  }

  #failAll(error: Error): void {
    for (const waiters of this.#waiting.values()) for (const { fail } of waiters) fail(error)
    this.#waiting.clear()
    this.#wanted.clear()
    this.#rest()
  }
}

/**
 * Lets a waiter fail when its time is over. One that came when the result was there is told so first, as Celery does.
 * @returns what stops the clock
 */
function expire(waiter: Waiter, error: ResultTimeoutError): () => void {
  const { timeout } = error
  if (timeout >= LONGEST_TIMEOUT) return () => {}
  const startedAt = performance.now()
  const check = () => {
    const isLate = performance.now() - startedAt >= FIRST_ANSWER * 1_000
    if (waiter.isAsked || isLate) waiter.fail(error)
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
