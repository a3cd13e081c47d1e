import { setTimeout as sleep } from 'node:timers/promises'
import { TransactionConflictError } from '../../errors.ts'
import type { Calls } from './calls.ts'
import type { DatabaseFile } from './database-file.ts'
import type { Client } from './driver.ts'
import { isContention } from './errors.ts'
import type { LibsqlPlace } from './options.ts'
import type { WriteMutex, Writer } from './write-mutex.ts'

/** What a connection shares with others, and how long it waits for them. */
export interface Contended {
  readonly client: Client
  readonly kind: LibsqlPlace['kind']
  /** Where it is kept, if that is a file here. */
  readonly file: DatabaseFile | null
  /** Whose turn it is to write to the file; `null` where nobody else can, or the server says. */
  readonly mutex: WriteMutex | null
  /** Milliseconds that others may hold the database before we give up. */
  readonly busyTimeout: number
}

/**
 * Waits for others: for writers of this process by the mutex, for those of other processes by trying again.
 *
 * A local driver call is synchronous: while it waits for a lock the event loop stands still. So it may wait for a few
 * milliseconds only, and the rest of the waiting is done here.
 */
export class Patience {
  readonly #calls: Calls
  readonly #contended: Contended

  constructor(calls: Calls, contended: Contended) {
    this.#calls = calls
    this.#contended = contended
  }

  /** Waits for our turn to write; the function it resolves to ends it. */
  turnToWrite(writer: Writer): Promise<() => void> {
    const { mutex, busyTimeout } = this.#contended
    if (mutex === null) return Promise.resolve(() => {})
    return mutex.acquire(writer, { timeout: busyTimeout, signal: this.#calls.signal })
  }

  /** Holds our turn to write while it runs. */
  async holding<Result>(work: () => Promise<Result>): Promise<Result> {
    const release = await this.turnToWrite({ what: 'statement', hasWritten: true })
    try {
      return await work()
    } finally {
      release()
    }
  }

  /** Tries until others let it, holding our turn to write. */
  inTurn<Result>(call: () => Promise<Result>, failure?: unknown): Promise<Result> {
    return this.holding(() => this.patiently(call, failure))
  }

  /**
   * Tries until others let it, up to the busy timeout. Only for what is surely not done when it meets a lock.
   * @param failure what it met at the first attempt, if there was one
   */
  async patiently<Result>(call: () => Promise<Result>, failure?: unknown): Promise<Result> {
    const deadline = this.deadline()
    let met = failure
    for (;;) {
      if (met !== undefined) await this.#waitForOthers(deadline, met)
      try {
        return await this.#calls.alone(call)
      } catch (error) {
        if (!isContention(error) || this.#calls.lost !== null) throw error
        met = error
      }
    }
  }

  /**
   * The same for what can go on where it met a lock: by `executeMultiple`, after which the SQLite connection need not be
   * replaced.
   * @param outcome what is said to be done and not done when it gives up
   */
  async resuming(call: () => Promise<void>, outcome: () => string): Promise<void> {
    const deadline = this.deadline()
    for (;;) {
      const met = await this.#calls.alone(() => call().then(() => null, contentionOf))
      if (met === null) return
      if (performance.now() >= deadline) throw this.tooLong(met, outcome())
      await this.pause(deadline, met)
    }
  }

  /** When to give up what begins to wait now. */
  deadline(): number {
    return performance.now() + this.#contended.busyTimeout
  }

  /** Short and of random length: whoever waited long is not to wait longer than who comes new. */
  async pause(deadline: number, met: unknown): Promise<void> {
    if (performance.now() >= deadline) throw this.tooLong(met)
    const milliseconds = SHORTEST_PAUSE + Math.random() * (LONGEST_PAUSE - SHORTEST_PAUSE)
    await sleep(milliseconds, undefined, { signal: this.#calls.signal }).catch(() => {})
    if (this.#calls.lost !== null) throw this.#calls.lostError()
  }

  tooLong(cause: unknown, outcome = NOTHING_DONE): TransactionConflictError {
    if (cause instanceof TransactionConflictError) return cause
    const { file, busyTimeout } = this.#contended
    const where = file === null ? 'The server' : `The database file ${file.path}`
    const howLong = file === null ? '' : ` for ${busyTimeout / 1_000} s (the timeout option of the dburi)`
    return new TransactionConflictError(`${where} was kept locked by others${howLong}. ${outcome}`, { cause })
  }

  /** Waits until nobody writes. Asking for the lock by `executeMultiple` does no harm, so it can be done often. */
  async #waitForOthers(deadline: number, met: unknown): Promise<void> {
    const { client, kind } = this.#contended
    let isLocked = true
    while (isLocked) {
      await this.pause(deadline, met)
      if (kind !== 'file') return
      isLocked = await this.#calls.alone(() => client.executeMultiple(PROBE).then(() => false, isContention))
    }
  }
}

function contentionOf(error: unknown): unknown {
  if (!isContention(error)) throw error
  return error
}

const NOTHING_DONE = 'Nothing was done: the whole transaction can be tried again.'
const PROBE = 'begin immediate; commit'

/** Bounds of the pauses between two attempts, in milliseconds. */
const SHORTEST_PAUSE = 1
const LONGEST_PAUSE = 4
