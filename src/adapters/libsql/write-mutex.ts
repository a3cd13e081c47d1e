import { AbortedError, TransactionConflictError } from '../../errors.ts'

/** How long to wait for a mutex, and what ends the waiting before. */
export interface WaitOptions {
  /** Milliseconds. */
  readonly timeout: number
  readonly signal: AbortSignal
}

/**
 * Whose turn it is to write to one SQLite file: one writer at a time, in the order in which they came. SQLite has such
 * a lock, but whoever waits for that one stops the event loop, and with it the holder that lives in the same process.
 */
export class WriteMutex {
  #isHeld = false
  readonly #waiters: (() => void)[] = []

  /** Whether a writer would have to wait. */
  get isHeld(): boolean {
    return this.#isHeld
  }

  /**
   * Waits for the turn; the function it resolves to ends it, and does nothing when called again.
   * @throws TransactionConflictError after the timeout; AbortedError
   */
  acquire(options: WaitOptions): Promise<() => void> {
    if (this.#isHeld) return this.#wait(options)
    this.#isHeld = true
    return Promise.resolve(this.#turn())
  }

  #wait({ timeout, signal }: WaitOptions): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
      }
      const waiter = () => {
        settle()
        resolve(this.#turn())
      }
      const leave = (error: Error) => {
        settle()
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
        reject(error)
      }
      const onAbort = () => leave(new AbortedError('Stopped waiting to write', { cause: signal.reason }))
      const timer = setTimeout(() => leave(tooLong(timeout)), timeout)
      signal.addEventListener('abort', onAbort)
      this.#waiters.push(waiter)
    })
  }

  #turn(): () => void {
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      const next = this.#waiters.shift()
      if (next === undefined) this.#isHeld = false
      else next()
    }
  }
}

function tooLong(milliseconds: number): TransactionConflictError {
  return new TransactionConflictError(
    `Another transaction of this process wrote to the database file for longer than ${milliseconds / 1_000} s. ` +
      'Nothing was done. Commit or close that session first, or raise the timeout option of the dburi.',
  )
}
