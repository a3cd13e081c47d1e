import { stopAfter, unlessStopped } from '../driver/deadline.ts'
import type { Connection } from '../driver/types.ts'
import { AbortedError, StatementTimeoutError } from '../errors.ts'

/** How long a holder's statements may take, and what stops them. */
export interface Limits {
  /** Seconds a statement may take; its connection is thrown away when it takes longer. @default none */
  readonly statementTimeout?: number | undefined
  /** Stops the running statement; the connection is thrown away. */
  readonly signal?: AbortSignal | undefined
  /** Seconds a statement waits for a nested transaction of its handle to end. */
  readonly turnTimeout: number
}

/** What of `options` is given counts instead of that of `limits`; of two signals each counts. */
export function limitsWithin(
  limits: Limits,
  { statementTimeout = limits.statementTimeout, signal }: Pick<Limits, 'statementTimeout' | 'signal'>,
): Limits {
  const signals = [limits.signal, signal].filter((each) => each !== undefined)
  return {
    statementTimeout,
    turnTimeout: limits.turnTimeout,
    signal: signals.length > 1 ? AbortSignal.any(signals) : signals[0],
  }
}

/** What is waited for before a statement is sent, unless its signal is aborted first. */
export function untilStopped<Result>(waiting: Promise<Result>, limits?: Limits): Promise<Result> {
  if (limits?.signal === undefined) return waiting
  return unlessStopped(waiting, undefined, limits.signal, () => notSent(limits.signal))
}

/** Why a statement is not to be sent, where it has a signal of its own; the connection is as good as before. */
export function unsent(limits: Limits | undefined): AbortedError | null {
  return limits?.signal?.aborted ? notSent(limits.signal) : null
}

/** For a statement that was stopped before it was sent. */
export function notSent(signal: AbortSignal | undefined): AbortedError {
  return new AbortedError('The statement was not sent: the signal was aborted', { cause: signal?.reason })
}

/**
 * Does something on a connection within limits. Stopping it means breaking the connection, since nothing else settles a
 * statement whose server fell silent.
 * @throws StatementTimeoutError, AbortedError, and what the connection throws
 */
export function runWithin<Result>(
  connection: Connection,
  work: () => Promise<Result>,
  { statementTimeout, signal }: Pick<Limits, 'statementTimeout' | 'signal'>,
): Promise<Result> {
  if (statementTimeout === undefined && signal === undefined) return work()

  return new Promise((resolve, reject) => {
    const milliseconds = statementTimeout === undefined ? undefined : statementTimeout * 1_000
    const over = stopAfter(milliseconds, signal, (isAborted) => {
      const error = isAborted ? aborted(signal) : new StatementTimeoutError(statementTimeout ?? 0)
      reject(error)
      connection.discard(error)
    })
    const settling =
      <Value>(settle: (value: Value) => void) =>
      (value: Value) => {
        over()
        settle(value)
      }
    if (!signal?.aborted) work().then(settling(resolve), settling(reject))
  })
}

function aborted(signal: AbortSignal | undefined): AbortedError {
  return new AbortedError('The statement was stopped: the signal was aborted. Its outcome is unknown.', {
    cause: signal?.reason,
  })
}
