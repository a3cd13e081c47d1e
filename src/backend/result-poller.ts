import { AbortedError, ClosedError, OptionError, ResultTimeoutError } from '../errors.ts'
import { LONGEST_TIMEOUT } from '../pool-options.ts'
import type { State } from './states.ts'

/** How long to wait for a task, and what stops the waiting. The task itself is not stopped. */
export interface WaitOptions {
  /** Seconds by the clock. @default for ever */
  readonly timeout?: number
  readonly signal?: AbortSignal
}

interface Waiter {
  done(state: State): void
  fail(error: Error): void
}

/** Milliseconds between two questions: as long as something happens, and at most. */
const SHORTEST = 20
const LONGEST = 500

/**
 * Asks for everybody who waits, with one question at a time for all of them. The questions become rarer while nothing
 * happens, from 20 ms down to Celery's half second.
 */
export class ResultPoller {
  readonly #ask: (taskIds: string[]) => Promise<ReadonlyMap<string, State>>
  readonly #waiting = new Map<string, Set<Waiter>>()
  readonly #listeners = new WeakMap<AbortSignal, Set<() => void>>()
  #timer: NodeJS.Timeout | undefined
  #isAsking = false
  #interval = SHORTEST
  #askedAt = Number.NEGATIVE_INFINITY
  #isClosed = false

  /** @param ask which of these tasks are done, and how */
  constructor(ask: (taskIds: string[]) => Promise<ReadonlyMap<string, State>>) {
    this.#ask = ask
  }

  /**
   * Resolves to the state of a task when it is done.
   * @throws ResultTimeoutError, AbortedError, ClosedError, OptionError, and what the asking throws
   */
  async wait(taskId: string, { timeout, signal }: WaitOptions = {}): Promise<State> {
    if (timeout !== undefined && !(timeout >= 0)) {
      throw new OptionError(
        'INVALID_OPTION',
        'timeout',
        'The option timeout must be a number of seconds from 0',
      )
    }
    if (this.#isClosed) throw new ClosedError('backend')
    if (signal?.aborted) throw aborted(taskId, signal)

    let timer: NodeJS.Timeout | undefined
    let letGo = () => {}
    try {
      return await new Promise<State>((done, fail) => {
        const waiter = { done, fail: (error: Error) => fail(error) }
        letGo = this.#add(taskId, waiter, signal)
        if (timeout !== undefined && timeout < LONGEST_TIMEOUT) {
          timer = setTimeout(() => fail(new ResultTimeoutError(taskId, timeout)), timeout * 1_000)
        }
        this.#hurry()
      })
    } finally {
      clearTimeout(timer)
      letGo()
      if (this.#waiting.size === 0) this.#rest()
    }
  }

  /** @returns what takes the waiter away again */
  #add(taskId: string, waiter: Waiter, signal: AbortSignal | undefined): () => void {
    const waiters = this.#waiting.get(taskId) ?? new Set()
    this.#waiting.set(taskId, waiters)
    waiters.add(waiter)
    const unlisten = signal && this.#listen(signal, () => waiter.fail(aborted(taskId, signal)))
    return () => {
      unlisten?.()
      waiters.delete(waiter)
      if (waiters.size === 0 && this.#waiting.get(taskId) === waiters) this.#waiting.delete(taskId)
    }
  }

  /** One listener for all who wait with a signal: Node warns of a leak from the eleventh. */
  #listen(signal: AbortSignal, onAbort: () => void): () => void {
    const known = this.#listeners.get(signal)
    const listeners = known ?? new Set()
    listeners.add(onAbort)
    if (known === undefined) {
      this.#listeners.set(signal, listeners)
      const onSignal = () => {
        for (const listener of listeners) listener()
      }
      signal.addEventListener('abort', onSignal, { once: true })
    }
    return () => listeners.delete(onAbort)
  }

  /** Tells everybody who waits that the backend is closed, and refuses who comes later. */
  close(): void {
    this.#isClosed = true
    this.#failAll(new ClosedError('backend'))
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
    try {
      const finished = await this.#ask([...this.#waiting.keys()])
      if (finished.size > 0) this.#interval = SHORTEST
      for (const [taskId, state] of finished)
        for (const { done } of this.#waiting.get(taskId) ?? []) done(state)
    } catch (error) {
      this.#failAll(error instanceof Error ? error : new Error(String(error)))
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

function aborted(taskId: string, signal: AbortSignal): AbortedError {
  return new AbortedError(`Stopped waiting for task ${taskId}: the signal was aborted`, {
    cause: signal.reason,
  })
}
