import { setTimeout as sleep } from 'node:timers/promises'
import { TransactionConflictError } from '../../errors.ts'
import type { DatabaseFile } from './database-file.ts'
import { type Client, LOOK, NOT_WAITING, WAITING } from './driver.ts'
import { isContention } from './errors.ts'
import type { LibsqlLocation } from './options.ts'
import type { SerialQueue } from './serial-queue.ts'
import type { WriteMutex, Writer } from './write-mutex.ts'

/** The locks that a connection competes for, and how long it waits for them. */
export interface Contended {
  readonly client: Client
  readonly kind: LibsqlLocation['kind']
  /** Where it is kept, if that is a file here. */
  readonly file: DatabaseFile | null
  /** Guards writes to the file within this process; `null` for memory and servers. */
  readonly mutex: WriteMutex | null
  /** Milliseconds that others may hold the database before we give up. */
  readonly busyTimeout: number
}

/** How to retry what met a lock. */
export interface ResumingOptions {
  /** A script that probes the lock: it fails while others hold it, without effect. @default one that writes nothing but takes the write lock */
  readonly probe?: string
  /** What the error says was done when it gives up. @default nothing was */
  readonly outcome?: () => string
}

/**
 * Waits for others: for writers of this process by the mutex, for those of other processes by trying again.
 *
 * A local driver call is synchronous: while it waits for a lock the event loop stands still. So a statement waits there for
 * a few milliseconds once, what looks whether a lock is free not at all, and the rest of the waiting is done here. It ends
 * at one deadline, whatever it is for.
 */
export class LockRetry {
  readonly #queue: SerialQueue
  readonly #contended: Contended
  #waitsInDriver = true

  constructor(queue: SerialQueue, contended: Contended) {
    this.#queue = queue
    this.#contended = contended
  }

  /**
   * When to give up what was wanted at `askedAt`. What its connection was waited for counts, unless others got to write
   * meanwhile: then nothing stood still, and they were merely many.
   */
  deadline(askedAt = performance.now()): number {
    const { mutex, busyTimeout } = this.#contended
    return Math.max(askedAt, mutex?.movedAt ?? askedAt) + busyTimeout
  }

  /** Takes the write mutex; the function it resolves to releases it. */
  turnToWrite(deadline: number, writer: Writer): Promise<() => void> {
    const { mutex, busyTimeout } = this.#contended
    if (mutex === null) return Promise.resolve(() => {})
    return mutex.acquire(writer, { deadline, timeout: busyTimeout, signal: this.#queue.signal })
  }

  /** Runs while holding the write mutex. */
  async holding<Result>(deadline: number, work: () => Promise<Result>): Promise<Result> {
    const release = await this.turnToWrite(deadline, { what: 'statement', hasWritten: true })
    try {
      const result = await work()
      this.#contended.mutex?.moved()
      return result
    } finally {
      release()
    }
  }

  /** Retries SQLITE_BUSY while holding the write mutex. */
  inTurn<Result>(deadline: number, call: () => Promise<Result>, failure?: unknown): Promise<Result> {
    return this.holding(deadline, () => this.retryingBusy(deadline, call, failure))
  }

  /** Retries SQLITE_BUSY of a read. @param failure the error of the first attempt */
  reading<Result>(deadline: number, call: () => Promise<Result>, failure: unknown): Promise<Result> {
    return this.retryingBusy(deadline, call, failure, LOOK.sql)
  }

  /**
   * Retries SQLITE_BUSY. Only for work that certainly had no effect when it met the lock.
   * @param failure the error of the first attempt, if there was one
   * @param probe fails as long as others would not let it
   */
  async retryingBusy<Result>(
    deadline: number,
    call: () => Promise<Result>,
    failure?: unknown,
    probe = PROBE,
  ): Promise<Result> {
    let met = failure
    for (;;) {
      if (met !== undefined) await this.#untilFree(deadline, met, { probe })
      try {
        return await this.#queue.alone(call)
      } catch (error) {
        if (!isContention(error) || this.#queue.lost !== null) throw error
        met = error
      }
    }
  }

  /**
   * The same for what can go on where it met a lock: by `executeMultiple`, after which the SQLite connection need not be
   * replaced.
   */
  async resuming<Result>(
    deadline: number,
    call: () => Promise<Result>,
    options: ResumingOptions = {},
  ): Promise<Result> {
    for (;;) {
      const answer = await this.#queue.alone(() => call().then((result) => ({ result }), contentionOf))
      if ('result' in answer) return answer.result
      await this.#untilFree(deadline, answer.met, options)
    }
  }

  /**
   * @param outcome as in `ResumingOptions`
   * @throws TransactionConflictError at the deadline, for what was met; what the connection was lost for
   */
  async pause(
    lock: 'passing' | 'kept',
    deadline: number,
    met: unknown,
    outcome?: () => string,
  ): Promise<void> {
    if (performance.now() >= deadline) throw this.tooLong(met, outcome?.())
    await pause(lock, deadline, this.#queue.signal)
    if (this.#queue.lost !== null) throw this.#queue.lostError()
  }

  /**
   * Looks until nobody holds what was met. While the file is being written to, the lock passes from hand to hand, and
   * who does not wait in the driver loses it to those who do. Else somebody keeps it, and waiting there is in vain.
   */
  async #untilFree(deadline: number, met: unknown, options: ResumingOptions): Promise<void> {
    const { kind, file } = this.#contended
    const { probe = PROBE, outcome } = options
    let isKept = false
    let seen: string | undefined
    let seenAt = 0
    try {
      for (let isLocked = true; isLocked; ) {
        await this.pause(isKept ? 'kept' : 'passing', deadline, met, outcome)
        if (kind !== 'file') return
        const version = file?.version()
        const now = performance.now()
        if (version !== seen) [seen, seenAt] = [version, now]
        isKept = now - seenAt > KEPT_AFTER
        isLocked = await this.#look(probe, !isKept)
      }
    } finally {
      if (!this.#waitsInDriver && this.#queue.lost === null) await this.#look('', true)
    }
  }

  /** Whether a script meets a lock. How it waits is set where it changes: to set it for each look takes as long as the look. */
  #look(script: string, waitsInDriver: boolean): Promise<boolean> {
    return this.#queue.alone(() => {
      const setting =
        waitsInDriver === this.#waitsInDriver ? '' : `${waitsInDriver ? WAITING : NOT_WAITING}; `
      this.#waitsInDriver = waitsInDriver
      return this.#contended.client.executeMultiple(setting + script).then(() => false, isContention)
    })
  }

  tooLong(cause: unknown, outcome = NOTHING_DONE): TransactionConflictError {
    if (cause instanceof TransactionConflictError) return cause
    const { file, busyTimeout } = this.#contended
    const where = file === null ? 'The server' : `The database file ${file.path}`
    const howLong =
      file === null
        ? ''
        : ` for ${busyTimeout / 1_000} s (the timeout option of the dburi, counted from when a connection was asked for)`
    return new TransactionConflictError(`${where} was kept locked by others${howLong}. ${outcome}`, { cause })
  }
}

function contentionOf(error: unknown): { readonly met: unknown } {
  if (!isContention(error)) throw error
  return { met: error }
}

const NOTHING_DONE = 'Nothing was done: the whole transaction can be tried again.'
/** Milliseconds without a write after which a lock counts as kept: well above what a commit and its turn take. */
const KEPT_AFTER = 50
const PROBE = 'begin immediate; commit'

/**
 * Milliseconds from one look at a lock to the next on average, over all waiters. With the timer and all around it a look takes
 * 0.3 to 0.6 ms of a core, so that those at locks that are kept take less than a tenth.
 */
const SPACING = { passing: 2.5, kept: 8 }

/** How many pause now, whatever file they wait for. */
let pausing = 0

/**
 * Pauses between two looks at a lock that others hold; longer the more wait in this process, so that the looks of all together
 * take a small share of a core. Of random length: who waits beside one that takes and leaves the lock in a rhythm is
 * not always to look in between. Ends at the deadline at the latest, and when the signal aborts.
 */
async function pause(lock: keyof typeof SPACING, deadline: number, signal: AbortSignal): Promise<void> {
  pausing++
  const milliseconds = SPACING[lock] * pausing * (0.5 + Math.random())
  const rest = Math.max(0, deadline - performance.now())
  await sleep(Math.min(milliseconds, rest), undefined, { signal }).catch(() => {})
  pausing--
}
