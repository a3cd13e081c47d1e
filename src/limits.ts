import { AbortListeners } from './abort-listeners.ts'
import type { Connection } from './adapter.ts'
import { AbortedError, StatementTimeoutError } from './errors.ts'

/** How long a holder's statements may take, and what stops them. */
export interface Limits {
  /** Seconds a statement may take; its connection is thrown away when it takes longer. @default none */
  readonly statementTimeout?: number | undefined
  /** Stops what is under way; the connection is thrown away. */
  readonly signal?: AbortSignal | undefined
  /** Seconds a statement waits for a nested transaction of its handle to end. */
  readonly turnTimeout: number
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
    const stop = (error: Error) => {
      settle()
      reject(error)
      connection.discard(error)
    }
    const timer =
      statementTimeout === undefined
        ? undefined
        : setTimeout(() => stop(new StatementTimeoutError(statementTimeout)), statementTimeout * 1_000)
    let unlisten = () => {}
    const settle = () => {
      clearTimeout(timer)
      unlisten()
    }

    if (signal?.aborted) {
      stop(aborted(signal))
      return
    }
    if (signal !== undefined) unlisten = aborts.add(signal, () => stop(aborted(signal)))
    work().then(resolve, reject).finally(settle)
  })
}

const aborts = new AbortListeners()

function aborted(signal: AbortSignal): AbortedError {
  return new AbortedError('The statement was stopped: the signal was aborted. Its outcome is unknown.', {
    cause: signal.reason,
  })
}
