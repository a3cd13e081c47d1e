import { AbortListeners } from '../driver/deadline.ts'
import {
  AbortedError,
  ConnectError,
  ConnectionLostError,
  PoolTimeoutError,
  StatementTimeoutError,
  TransactionConflictError,
  textOf,
} from '../errors.ts'
import { backoffMilliseconds } from '../retry.ts'
import { AmbiguousOutcomeError } from './errors.ts'

/** How often and for how long what failed is tried again. */
export interface RetryPolicy {
  /** Attempts after the first; 0 for none. What was rolled back is tried again for `ROLLBACK_BUDGET`, if at all. */
  readonly retries: number
  /** Milliseconds that bound the first wait; each later bound is twice the one before. */
  readonly base: number
  /** Milliseconds that bound every wait. */
  readonly max: number
  /** Seconds after the first attempt from when on none is begun, and no wait goes on. */
  readonly deadline: number
}

/** One piece of work that may be tried again. */
export interface Operation<Result> {
  /**
   * Does it. All that comes here may be done twice: reads, deletes, and upserts, which write the same again. What a repeat
   * after a lost connection must not do is turn back what somebody else did meanwhile: `afterLoss` says so.
   */
  attempt(afterLoss: boolean): Promise<Result>
  /** What an ambiguous outcome is told of: `storing the result of task …`. Reads have none. */
  readonly writing?: string
  /**
   * Ends the waiting, with an `AbortedError`: no attempt is begun any more. One under way is not interrupted, and its
   * outcome counts.
   */
  readonly signal?: AbortSignal | undefined
  /** Ends the waiting for another attempt, which then says by itself that nothing can be done any more. */
  readonly closed?: AbortSignal
  /** The error when all attempts are used up. @default the last attempt's error */
  exhausted?(error: unknown, isOutcomeUnknown: boolean): Error
}

/**
 * Does something, and again where that is safe and can help: when no connection could be opened, when others held the
 * database, when a transaction lost against another, and when the connection broke under way. What cannot help (a
 * statement the database refuses) is thrown at once, as it came.
 *
 * What the server rolled back for the sake of another transaction certainly has not happened: it is tried again for
 * `ROLLBACK_BUDGET` at least, however often, and does not count as one of the `retries`; with `retries: 0` that is none, too.
 *
 * A write whose outcome is not known and that is not tried again is an `AmbiguousOutcomeError`: one that met the
 * `statementTimeout` may still be running, and one with `retries: 0` was not to be repeated.
 */
export async function retrying<Result>(operation: Operation<Result>, policy: RetryPolicy): Promise<Result> {
  const { attempt, writing, signal, closed, exhausted } = operation
  const budget = new RetryBudget(policy)
  let wasLost = false
  try {
    for (;;) {
      if (signal?.aborted) throw aborted(signal, writing)
      try {
        return await attempt(wasLost)
      } catch (error) {
        wasLost ||= isLoss(error)
        if (!isTransient(error) || !(await budget.outlasts(error, [signal, closed]))) throw error
      }
    }
  } catch (failure) {
    const isOutcomeUnknown = writing !== undefined && (wasLost || isLoss(failure) || isStopped(failure))
    const error = failure instanceof NotBegunError ? failure.cause : failure
    const wasRetried = policy.retries > 0 && isTransient(failure)
    if (wasRetried && exhausted !== undefined) throw exhausted(error, isOutcomeUnknown)
    if (isOutcomeUnknown) throw new AmbiguousOutcomeError(writing, { cause: error })
    throw error
  }
}

const aborts = new AbortListeners()

/** Sleeps so many milliseconds, or until one of the signals is aborted. */
async function sleepUntil(milliseconds: number, ends: readonly (AbortSignal | undefined)[]): Promise<void> {
  const unlistens: (() => void)[] = []
  let timer: NodeJS.Timeout | undefined
  await new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds)
    for (const end of ends) {
      if (end?.aborted) resolve()
      else if (end !== undefined) unlistens.push(aborts.add(end, resolve))
    }
  })
  clearTimeout(timer)
  for (const unlisten of unlistens) unlisten()
}

function aborted(signal: AbortSignal, writing = 'reading'): AbortedError {
  return new AbortedError(`Stopped ${writing}: the signal was aborted`, { cause: signal.reason })
}

/** Milliseconds from the first rollback on in which what was rolled back is tried again. */
const ROLLBACK_BUDGET = 2_000
/** Milliseconds that bound a wait after a rollback: the other transaction is mostly done by then. */
const ROLLBACK_WAIT = 100

/** How often one operation has failed, and whether it may be tried again. */
class RetryBudget {
  readonly #policy: RetryPolicy
  readonly #startedAt = performance.now()
  #failures = 0
  #rollbacks = 0
  #rolledBackAt: number | null = null

  constructor(policy: RetryPolicy) {
    this.#policy = policy
  }

  /** Waits as long as is due after this failure; false when there is no trying again. */
  async outlasts(error: unknown, ends: readonly (AbortSignal | undefined)[]): Promise<boolean> {
    const left = this.#left()
    const bounds = isRollback(error) ? this.#afterRollback() : this.#afterFailure()
    if (bounds === null || left <= 0) return false
    const { failures, max } = bounds
    const wait = backoffMilliseconds(failures, { base: this.#policy.base, max: Math.min(max, left) })
    await sleepUntil(wait, ends)
    // A busy process wakes late.
    return this.#left() > 0 || ends.some((end) => end?.aborted)
  }

  #afterFailure(): { failures: number; max: number } | null {
    const { retries, max } = this.#policy
    return this.#failures < retries ? { failures: this.#failures++, max } : null
  }

  #afterRollback(): { failures: number; max: number } | null {
    const now = performance.now()
    this.#rolledBackAt ??= now
    const { retries, max } = this.#policy
    const isInTime = retries > 0 && now - this.#rolledBackAt < ROLLBACK_BUDGET
    if (!isInTime && this.#rollbacks >= retries) return null
    return { failures: this.#rollbacks++, max: Math.min(max, ROLLBACK_WAIT) }
  }

  /** Milliseconds until the deadline. */
  #left(): number {
    return this.#policy.deadline * 1_000 - (performance.now() - this.#startedAt)
  }
}

/**
 * What failed was only to lead to the work, of which nothing was done: its `cause` is then no ambiguous outcome, whatever
 * it is. Not seen outside of `retrying`.
 */
export class NotBegunError extends Error {
  readonly mayPass: boolean

  constructor(cause: unknown, mayPass = isTransient(cause)) {
    super('Nothing was begun', { cause })
    this.mayPass = mayPass
  }
}

/** Whether trying again can help, and nothing was done or what was done may be done again. */
export function isTransient(error: unknown): boolean {
  if (error instanceof NotBegunError) return error.mayPass
  if (error instanceof ConnectError) return isPassing(error)
  // Its cause is why no connection could be opened; without one they were in use, for as long as one may wait.
  if (error instanceof PoolTimeoutError) return isTransient(error.cause)
  return error instanceof TransactionConflictError || isLoss(error) || isConflict(error)
}

/** A server that is down or slow may come back; one that does not let us in will not. */
function isPassing({ code, cause }: ConnectError): boolean {
  return (code === 'CONNECT_FAILED' || code === 'CONNECT_TIMEOUT') && !hasSqlState(cause, REFUSED)
}

/** The connection broke while the statement was on its way. */
function isLoss(error: unknown): boolean {
  return error instanceof ConnectionLostError || hasSqlState(error, LOST)
}

/** A deadline ended the waiting for an answer; the statement may still be running. */
function isStopped(error: unknown): boolean {
  return error instanceof StatementTimeoutError
}

/** The database rolled the statement back for the sake of another one. */
function isConflict(error: unknown): boolean {
  return hasSqlState(error, CONFLICT)
}

/**
 * The database undid the whole transaction for the sake of another one at once, and it can be run anew. Who has waited for
 * others in vain (a locked SQLite file, InnoDB's lock wait timeout) is not here: it has taken its time already.
 */
function isRollback(error: unknown): boolean {
  return hasSqlState(error instanceof TransactionConflictError ? error.cause : error, ROLLBACK)
}

/** Connection exceptions, and the server's word that it goes down. */
const LOST = /^(?:08...|57P0[123])$/
/** Serialization failure, deadlock, lock not available, too many connections; MySQL's names for those without an SQLSTATE. */
const CONFLICT = /^(?:40001|40P01|55P03|53300|ER_LOCK_WAIT_TIMEOUT|ER_CHECKREAD)$/
/** Those that undo the whole transaction. */
const ROLLBACK = /^(?:40001|40P01|ER_CHECKREAD)$/
/** Wrong role or password, no such database; 42000 is MySQL's for the latter. */
const REFUSED = /^(?:28|3D|42000)/

/** PostgreSQL's drivers have it in `code`, where MySQL's has the server's name for the error. */
function hasSqlState(error: unknown, pattern: RegExp): boolean {
  return pattern.test(textOf(error, 'code') ?? '') || pattern.test(textOf(error, 'sqlState') ?? '')
}
