import { onAbort } from '../driver/deadline.ts'
import {
  AbortedError,
  ConnectError,
  ConnectionLostError,
  causes,
  NotServingError,
  PoolTimeoutError,
  StatementTimeoutError,
  TransactionConflictError,
  TransactionExpiredError,
  textOf,
} from '../errors.ts'
import { backoffMilliseconds } from '../retry.ts'
import { AmbiguousOutcomeError } from './errors.ts'

/** How often and for how long a failed operation is retried. */
export interface RetryPolicy {
  /** Attempts after the first; 0 for none. After a rollback there are more, for `ROLLBACK_BUDGET`, unless this is 0. */
  readonly retries: number
  /** Milliseconds that bound the first wait; each later bound is twice the one before. */
  readonly base: number
  /** Milliseconds that bound every wait. */
  readonly max: number
  /** Seconds after the first attempt at which waiting ends and no further attempt begins. */
  readonly deadline: number
}

/** One piece of work that may be retried. */
export interface Operation<Result> {
  /**
   * Does it. It must be safe to do twice, as reads, deletes and upserts are. A repeat after a lost connection (`afterLoss`)
   * must not undo what another program wrote meanwhile.
   */
  attempt(afterLoss: boolean): Promise<Result>
  /** What an `AmbiguousOutcomeError` calls it: `storing the result of task …`. Undefined for reads. */
  readonly writing?: string
  /**
   * Ends the waiting with an `AbortedError`: no further attempt begins. A running one is not interrupted, and its outcome
   * counts.
   */
  readonly signal?: AbortSignal | undefined
  /** Ends the waiting between attempts; the next attempt then fails because the backend is closed. */
  readonly closed?: AbortSignal
  /** The error when all attempts are used up. @default the last attempt's error */
  exhausted?(error: unknown, isOutcomeUnknown: boolean): Error
}

/**
 * Runs an operation, and retries it where that is safe and can help: when no connection could be opened, when the server
 * said that it does not serve, when the database was locked, when a transaction lost against another, and when the connection was lost. Any other error, such as that of a
 * statement the database refuses, is thrown at once and unchanged.
 *
 * What the server rolled back in favour of another transaction certainly has not happened: it is retried for at least
 * `ROLLBACK_BUDGET` without counting as one of the `retries`, except with `retries: 0`.
 *
 * A write whose outcome is unknown and that is not retried is an `AmbiguousOutcomeError`: after a `statementTimeout` it may
 * still be running, and with `retries: 0` it must not be repeated.
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

/** Sleeps for some milliseconds, or until one of the signals is aborted. */
async function sleepUntil(milliseconds: number, ends: readonly (AbortSignal | undefined)[]): Promise<void> {
  const unlistens: (() => void)[] = []
  let timer: NodeJS.Timeout | undefined
  await new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds)
    for (const end of ends) {
      if (end?.aborted) resolve()
      else unlistens.push(onAbort(end, resolve))
    }
  })
  clearTimeout(timer)
  for (const unlisten of unlistens) unlisten()
}

function aborted(signal: AbortSignal, writing = 'reading'): AbortedError {
  return new AbortedError(`Stopped ${writing}: the signal was aborted`, { cause: signal.reason })
}

/** Milliseconds, from the first rollback on, in which rollbacks are retried. */
const ROLLBACK_BUDGET = 2_000
/** Milliseconds that bound a wait after a rollback: by then the other transaction has mostly ended. */
const ROLLBACK_WAIT = 100

/**
 * Milliseconds that bound a wait for a server, also for one that breaks connections off, as a proxy does while it has none to
 * choose: an attempt to connect costs it little, and a server that is back is to be found within a second.
 */
const CONNECT_WAIT = 500

/** How often one operation has failed, and whether it may be retried. */
class RetryBudget {
  readonly #policy: RetryPolicy
  readonly #startedAt = performance.now()
  #failures = 0
  #rollbacks = 0
  #rolledBackAt: number | null = null

  constructor(policy: RetryPolicy) {
    this.#policy = policy
  }

  /** Waits before the next attempt; false when there must be none. */
  async outlasts(error: unknown, ends: readonly (AbortSignal | undefined)[]): Promise<boolean> {
    const left = this.#left()
    const bounds = isRollback(error) ? this.#afterRollback() : this.#afterFailure(error)
    if (bounds === null || left <= 0) return false
    const { failures, max } = bounds
    const wait = backoffMilliseconds(failures, { base: this.#policy.base, max: Math.min(max, left) })
    await sleepUntil(wait, ends)
    // A busy process wakes late.
    return this.#left() > 0 || ends.some((end) => end?.aborted)
  }

  #afterFailure(error: unknown): { failures: number; max: number } | null {
    const { retries, base, max } = this.#policy
    if (this.#failures >= retries) return null
    const reason = error instanceof NotBegunError ? error.cause : error
    return {
      failures: this.#failures++,
      max: isElsewhere(reason) || isLoss(reason) ? Math.min(max, Math.max(base, CONNECT_WAIT)) : max,
    }
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
 * The work had not begun when `cause` was thrown, so its outcome is not ambiguous. Never leaves `retrying`.
 */
export class NotBegunError extends Error {
  readonly mayPass: boolean

  constructor(cause: unknown, mayPass = isTransient(cause)) {
    super('Nothing was begun', { cause })
    this.mayPass = mayPass
  }
}

/** Whether a retry can help: nothing was done, or what was done may be done again. */
export function isTransient(error: unknown): boolean {
  if (error instanceof NotBegunError) return error.mayPass
  if (error instanceof ConnectError) return isPassing(error)
  // With a cause, no connection could be opened; without one, all were in use for the whole `poolTimeout`.
  if (error instanceof PoolTimeoutError) return isTransient(error.cause)
  const isUndone = error instanceof TransactionConflictError || error instanceof TransactionExpiredError
  return isUndone || isElsewhere(error) || isLoss(error) || isConflict(error)
}

/** Of several hosts, one may come back that the others do not stand in for. */
function isPassing(error: ConnectError): boolean {
  const { cause } = error
  const hosts =
    cause instanceof AggregateError ? cause.errors.filter((each) => each instanceof ConnectError) : []
  return (hosts.length === 0 ? [error] : hosts).some(mayComeBack)
}

/** A server that is down or slow may come back, and a standby be promoted; one that does not let us in will not. */
function mayComeBack({ code, cause }: ConnectError): boolean {
  return PASSING.has(code) && !hasSqlState(cause, REFUSED)
}

const PASSING: ReadonlySet<string> = new Set(['CONNECT_FAILED', 'CONNECT_TIMEOUT', 'NO_SUITABLE_HOST'])

/** Nothing was done; the next connection may get to a server that does it. */
function isElsewhere(error: unknown): boolean {
  return error instanceof ConnectError || error instanceof NotServingError || hasSqlState(error, READ_ONLY)
}

/** Nobody knows a host of that name. That it cannot be asked for just now is `EAI_AGAIN`. */
export function isHostUnknown(error: unknown): boolean {
  return error instanceof ConnectError && causes(error).some((cause) => textOf(cause, 'code') === 'ENOTFOUND')
}

/** The connection broke while the statement was on its way. */
function isLoss(error: unknown): boolean {
  return error instanceof ConnectionLostError || hasSqlState(error, LOST)
}

/** A deadline ended the wait for an answer; the statement may still be running. */
function isStopped(error: unknown): boolean {
  return error instanceof StatementTimeoutError
}

/** The database rolled the statement back in favour of another one. */
function isConflict(error: unknown): boolean {
  return hasSqlState(error, CONFLICT)
}

/**
 * The database rolled back the whole transaction at once in favour of another one, so it can be run again. Lock timeouts (a
 * locked SQLite file, InnoDB's lock wait timeout) are not among these: they have waited long enough already.
 */
function isRollback(error: unknown): boolean {
  return hasSqlState(error instanceof TransactionConflictError ? error.cause : error, ROLLBACK)
}

/** Connection exceptions, and the server shutting down. */
const LOST = /^(?:08...|57P0[123])$/
/** Serialization failure, deadlock, lock not available, too many connections; MySQL's names for those without an SQLSTATE. */
const CONFLICT = /^(?:40001|40P01|55P03|53300|ER_LOCK_WAIT_TIMEOUT|ER_CHECKREAD)$/
/** PostgreSQL, in a transaction: the backend's own write. */
const READ_ONLY = /^25006$/
/** Those that roll back the whole transaction. */
const ROLLBACK = /^(?:40001|40P01|ER_CHECKREAD)$/
/** Wrong role or password, no such database; 42000 is MySQL's for the latter. */
const REFUSED = /^(?:28|3D|42000)/

/** PostgreSQL's drivers have it in `code`, where MySQL's has the server's name for the error. */
function hasSqlState(error: unknown, pattern: RegExp): boolean {
  return pattern.test(textOf(error, 'code') ?? '') || pattern.test(textOf(error, 'sqlState') ?? '')
}
