import { stopAfter } from '../../driver/deadline.ts'
import { AbortedError, TransactionConflictError } from '../../errors.ts'

/** Who holds a mutex, or waits for it. */
export interface Writer {
  readonly what: 'transaction' | 'statement'
  /** A transaction may have the turn to write and only read, so far. */
  hasWritten: boolean
}

/** How long to wait for a mutex, and what ends the waiting before. */
export interface TurnOptions {
  /** When to give up, by `performance.now()`. */
  readonly deadline: number
  /** How long the whole waiting may take, in milliseconds, as it is said when it was too long. */
  readonly timeout: number
  readonly signal: AbortSignal
}

/**
 * Whose turn it is to write to one SQLite file: one writer at a time, in the order in which they came. SQLite has such
 * a lock, but waiting for that one stops the event loop, and with it the holder that lives in the same process.
 */
export class WriteMutex {
  #held: { readonly writer: Writer; readonly since: number } | null = null
  #movedAt = Number.NEGATIVE_INFINITY
  readonly #waiters: (() => void)[] = []

  /** When somebody last could write, by `performance.now()`. */
  get movedAt(): number {
    return this.#movedAt
  }

  /** Who has the turn can write. */
  moved(): void {
    this.#movedAt = performance.now()
  }

  /** Whether a writer would have to wait. */
  get isHeld(): boolean {
    return this.#held !== null
  }

  /**
   * Waits for the turn; the function it resolves to ends it, and does nothing when called again.
   * @throws TransactionConflictError after the deadline; AbortedError
   */
  acquire(writer: Writer, options: TurnOptions): Promise<() => void> {
    return this.#held === null ? Promise.resolve(this.#turn(writer)) : this.#wait(writer, options)
  }

  #wait(writer: Writer, { deadline, timeout, signal }: TurnOptions): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const waiter = () => {
        over()
        resolve(this.#turn(writer))
      }
      this.#waiters.push(waiter)
      const over = stopAfter(Math.max(0, deadline - performance.now()), signal, (isAborted) => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
        if (isAborted) reject(new AbortedError('Stopped waiting to write', { cause: signal.reason }))
        else reject(this.#tooLong(timeout))
      })
    })
  }

  #turn(writer: Writer): () => void {
    this.#held = { writer, since: performance.now() }
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      const next = this.#waiters.shift()
      if (next === undefined) this.#held = null
      else next()
    }
  }

  #tooLong(milliseconds: number): TransactionConflictError {
    const { what, hasWritten } = this.#held?.writer ?? { what: 'transaction', hasWritten: true }
    const seconds = ((performance.now() - (this.#held?.since ?? 0)) / 1_000).toFixed(1)
    const soFar = hasWritten ? '' : ', and has only read so far'
    const instead = hasWritten
      ? ''
      : 'Open sessions that only read with `readOnly: true`: they keep nobody from writing. '
    return new TransactionConflictError(
      `Waited ${milliseconds / 1_000} s (the timeout option of the dburi) for the turn to write to the database file: a ` +
        `${what} of this process has had it for ${seconds} s${soFar}. Nothing was done. ${instead}Commit or close that ` +
        'session first, or raise the timeout.',
    )
  }
}
