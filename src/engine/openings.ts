import { setMaxListeners } from 'node:events'
import { backoffMilliseconds } from '../retry.ts'

/** Milliseconds between two attempts while the server lets nobody in; see `backoffMilliseconds`. */
const BACKOFF = { base: 50, max: 1_000 }

interface Losable {
  readonly lost: Error | null
}

/** A connect that failed, which no other followed that went well. */
interface Failure {
  readonly error: Error
  readonly at: number
  /** The server is expected to let us in later. */
  readonly mayPass: boolean
}

/**
 * The connections of a pool that are being opened. While the server lets nobody in for a reason that passes, one is
 * tried at a time, at growing intervals: waiters go on waiting.
 */
export class Openings<C extends Losable> {
  readonly #connect: (signal: AbortSignal) => Promise<C>
  readonly #mayPass: (error: Error) => boolean
  readonly #stop = new AbortController()
  #count = 0
  #opened = 0
  #failure: Failure | null = null
  /** Attempts in a row, each some time after the one before, that failed for a reason that passes. */
  #rounds = 0
  #notBefore = Number.NEGATIVE_INFINITY

  constructor(connect: (signal: AbortSignal) => Promise<C>, mayPass: (error: Error) => boolean) {
    this.#connect = connect
    this.#mayPass = mayPass
    // As many connections as the limit of the pool allows may be opening at once.
    setMaxListeners(0, this.#stop.signal)
  }

  get count(): number {
    return this.#count
  }

  /** How many have ended with a connection. */
  get opened(): number {
    return this.#opened
  }

  /** The last one, if it failed. */
  get failure(): Failure | null {
    return this.#failure
  }

  /** When the next one may be begun, by `performance.now()`; `Infinity` until the one that is tried has ended. */
  get notBefore(): number {
    return this.#rounds > 0 && this.#count > 0 ? Number.POSITIVE_INFINITY : this.#notBefore
  }

  /** Begins one. When it ends it is not counted any more, and one of the two is called. */
  begin(onOpened: (connection: C) => void, onFailed: (error: Error) => void): void {
    this.#count++
    const opening = this.#connect(this.#stop.signal).then((connection) => {
      // The pool would drop it and begin the next one at once, for as long as somebody waits.
      if (connection.lost !== null) throw connection.lost
      return connection
    })
    opening.then(
      (connection) => {
        this.#count--
        this.#opened++
        this.#failure = null
        this.#tryAtOnce()
        onOpened(connection)
      },
      (error: Error) => {
        this.#count--
        this.#failed(error)
        onFailed(error)
      },
    )
  }

  /** Breaks off all of them. */
  stop(reason: Error): void {
    this.#stop.abort(reason)
  }

  #failed(error: Error): void {
    const at = performance.now()
    const mayPass = this.#mayPass(error)
    this.#failure = { error, at, mayPass }
    if (!mayPass) this.#tryAtOnce()
    // Openings that began together count as one attempt.
    else if (at >= this.#notBefore) this.#notBefore = at + backoffMilliseconds(this.#rounds++, BACKOFF)
  }

  #tryAtOnce(): void {
    this.#rounds = 0
    this.#notBefore = Number.NEGATIVE_INFINITY
  }
}
