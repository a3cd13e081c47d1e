import { setMaxListeners } from 'node:events'
import { unlessStopped } from '../../driver/deadline.ts'
import { owesRound, round } from '../../driver/event-loop.ts'
import { Fifo } from '../../driver/fifo.ts'
import { ConnectionLostError, DrizzleCeleryError } from '../../errors.ts'
import { isContention } from './errors.ts'

/** What is to be known of the client that is called. */
export interface SerialQueueOptions {
  /** Its calls are synchronous: they are over when they return. */
  readonly isLocal: boolean
  /** Milliseconds that a server has for its answers to one call. */
  readonly requestTimeout: number
  /** A call met a lock. No other call is made before this returns. */
  onContention(error: unknown): void
  /** A server did not answer in time. */
  onSilence(): void
}

/**
 * The calls to one client: one at a time, and none once the connection is lost. Between synchronous ones the event loop
 * gets a round now and then, so that the rest of the process is served meanwhile.
 */
export class SerialQueue {
  readonly #options: SerialQueueOptions
  readonly #stop = new AbortController()
  /** Calls that wait for the one under way. */
  readonly #queue = new Fifo<() => void>()
  #isCalling = false
  #lost: Error | null = null

  constructor(options: SerialQueueOptions) {
    this.#options = options
    // Any number of statements may wait for their turn.
    setMaxListeners(0, this.#stop.signal)
  }

  /** Why no call can be made any more; `null` while it can. */
  get lost(): Error | null {
    return this.#lost
  }

  /** Aborted when the connection is lost. */
  get signal(): AbortSignal {
    return this.#stop.signal
  }

  /** Loses the connection: what waits or is under way is rejected. */
  stop(reason: Error): void {
    this.#lost = reason
    this.#stop.abort(reason)
    for (let go = this.#queue.shift(); go !== undefined; go = this.#queue.shift()) go()
  }

  /** What to throw where the connection is lost. */
  lostError(): Error {
    const reason = this.#lost
    if (reason instanceof DrizzleCeleryError) return reason
    return new ConnectionLostError(
      'The connection to the libSQL database was lost. A statement that was under way may or may not have taken effect.',
      { cause: reason },
    )
  }

  /** One call at a time, so that no other one comes between a lock that was met and the new SQLite connection. */
  alone<Result>(call: () => Promise<Result>): Promise<Result> {
    if (!this.#isCalling) return this.#callInTurn(call)
    return new Promise<void>((go) => this.#queue.push(go)).then(() => this.#callInTurn(call))
  }

  /** To be awaited between the parts of a long call. @throws what the connection was lost for meanwhile */
  async pause(): Promise<void> {
    if (!this.#options.isLocal) return
    while (owesRound()) await round()
    if (this.#lost !== null) throw this.lostError()
  }

  /** What a server is asked may never be answered; a local call is over at once. */
  #answered<Result>(answer: Promise<Result>): Promise<Result> {
    const { isLocal, requestTimeout, onSilence } = this.#options
    if (isLocal) return answer
    return unlessStopped(answer, requestTimeout, this.signal, (isAborted) => {
      if (!isAborted) onSilence()
      return this.lostError()
    })
  }

  #callInTurn<Result>(call: () => Promise<Result>): Promise<Result> {
    this.#isCalling = true
    if (!this.#options.isLocal || !owesRound()) return this.#callNow(call)
    return round().then(() => this.#callInTurn(call))
  }

  #callNow<Result>(call: () => Promise<Result>): Promise<Result> {
    if (this.#lost !== null) {
      this.#called()
      return Promise.reject(this.lostError())
    }
    return this.#answered(call()).then(
      (result) => {
        this.#called()
        return result
      },
      (error: unknown) => {
        if (isContention(error)) this.#options.onContention(error)
        this.#called()
        throw error
      },
    )
  }

  #called(): void {
    const next = this.#queue.shift()
    if (next === undefined) this.#isCalling = false
    else next()
  }
}
