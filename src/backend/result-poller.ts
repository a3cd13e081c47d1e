import { AbortedError, ClosedError, ResultTimeoutError } from '../errors.ts'
import { refuseUnless } from '../option-text.ts'
import { LONGEST_TIMEOUT } from '../pool-options.ts'
import type { TaskMeta } from './task-meta.ts'

/** How long to wait for a task, and what stops the waiting. The task itself is not stopped. */
export interface WaitOptions {
  /** Seconds by the clock; 0 asks once. @default for ever */
  readonly timeout?: number | null
  readonly signal?: AbortSignal
}

/** Where a poller looks. */
export interface PollerParts {
  /** The metas of those of these tasks that are done. */
  finished(taskIds: string[]): Promise<ReadonlyMap<string, TaskMeta>>
  /** Whether what it throws may pass by itself: then who waits goes on waiting. */
  mayPass(error: unknown): boolean
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
/** Seconds that the first answer may take beyond a shorter timeout. */
const FIRST_ANSWER = 1

/**
 * Asks for everybody who waits, with one question at a time for all of them. The questions become rarer while nothing
 * happens, from 20 ms down to Celery's half second.
 */
export class ResultPoller {
  readonly #parts: PollerParts
  readonly #waiting = new Map<string, Set<Waiter>>()
  readonly #aborts = new Map<AbortSignal, Set<() => void>>()
  #timer: NodeJS.Timeout | undefined
  #isAsking = false
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
    refuseUnless(typeof taskId === 'string', 'taskId', 'a string')
    refuseUnless(
      timeout == null || (typeof timeout === 'number' && timeout >= 0),
      'timeout',
      'seconds from 0',
    )
    refuseUnless(signal === undefined || signal instanceof AbortSignal, 'signal', 'an AbortSignal')
    if (this.#isClosed) throw new ClosedError('backend')
    if (signal?.aborted) throw aborted(taskId, signal)

    let letGo = () => {}
    try {
      return await new Promise<TaskMeta>((done, fail) => {
        const waiter: Waiter = { isAsked: false, done, fail }
        letGo = this.#add(taskId, waiter, { timeout, signal: signal ?? null })
        this.#hurry()
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

  /** @returns what takes the waiter away again */
  #add(
    taskId: string,
    waiter: Waiter,
    { timeout, signal }: { timeout: number | null | undefined; signal: AbortSignal | null },
  ): () => void {
    const waiters = this.#waiting.get(taskId) ?? new Set()
    this.#waiting.set(taskId, waiters)
    waiters.add(waiter)
    const stopTimer = timeout == null ? undefined : expire(waiter, new ResultTimeoutError(taskId, timeout))
    const unlisten = signal && this.#listen(signal, () => waiter.fail(aborted(taskId, signal)))
    return () => {
      stopTimer?.()
      unlisten?.()
      waiters.delete(waiter)
      if (waiters.size === 0 && this.#waiting.get(taskId) === waiters) this.#waiting.delete(taskId)
      if (this.#waiting.size === 0) this.#rest()
    }
  }

  /** One listener for all who wait with a signal: Node warns of a leak from the eleventh. */
  #listen(signal: AbortSignal, onAbort: () => void): () => void {
    const onAborts = this.#aborts.get(signal) ?? new Set()
    const onSignal = () => {
      for (const each of onAborts) each()
    }
    if (onAborts.size === 0) signal.addEventListener('abort', onSignal)
    this.#aborts.set(signal, onAborts.add(onAbort))
    return () => {
      onAborts.delete(onAbort)
      if (onAborts.size > 0) return
      this.#aborts.delete(signal)
      signal.removeEventListener('abort', onSignal)
    }
  }

  /** Somebody new is curious: the next question comes as soon as it may. */
  #hurry(): void {
    this.#interval = SHORTEST
    if (!this.#isAsking) this.#schedule()
  }

  #schedule(): void {
    clearTimeout(this.#timer)
    const wait = this.#askedAt + this.#interval - performance.now()
    this.#timer = setTimeout(() => void this.#tick(), Math.max(0, wait))
  }

  #rest(): void {
    clearTimeout(this.#timer)
    this.#interval = SHORTEST
  }

  async #tick(): Promise<void> {
    this.#isAsking = true
    this.#askedAt = performance.now()
    // Who comes while the question is under way was not asked for, and makes the next one come soon.
    this.#interval = Math.min(this.#interval * 1.5, LONGEST)
    const asked = new Map(this.#waiting)
    try {
      const finished = await this.#parts.finished([...asked.keys()])
      if (finished.size > 0) this.#interval = SHORTEST
      for (const [taskId, waiters] of asked) {
        const meta = finished.get(taskId)
        for (const waiter of waiters) {
          waiter.isAsked = true
          if (meta !== undefined) waiter.done(meta)
        }
      }
    } catch (error) {
      if (this.#parts.mayPass(error)) this.#interval = LONGEST
      else this.#failAll(error instanceof Error ? error : new Error(String(error)))
    } finally {
      this.#isAsking = false
      if (this.#waiting.size > 0) this.#schedule()
    }
  }

  #failAll(error: Error): void {
    for (const waiters of this.#waiting.values()) for (const { fail } of waiters) fail(error)
    this.#waiting.clear()
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
