import { stopAfter } from '../driver/deadline.ts'
import type { Connection } from '../driver/types.ts'
import { AbortedError, PoolTimeoutError, StatementTimeoutError } from '../errors.ts'
import { aDeadline, aSignal, type Checks } from '../options/check.ts'
import type { HolderOptions, Lease } from './pool-rules.ts'

/** How long to wait for a sign of life. */
export interface PingOptions {
  /** Seconds for all of it: waiting for a connection, opening one, and the answer. @default 5 */
  timeout?: number | undefined
  /** Ends it before its time, with an `AbortedError`. */
  signal?: AbortSignal | undefined
}

/** What each option of a ping must be. */
export const PING_CHECKS: Checks<PingOptions> = { timeout: aDeadline, signal: aSignal }

const TIMEOUT = 5

/**
 * Asks a database for a sign of life, on a connection that is checked out for it.
 * @returns the milliseconds it took
 */
export function pingBy(
  checkout: (options: HolderOptions) => Lease<Connection> | Promise<Lease<Connection>>,
  { timeout = TIMEOUT, signal }: PingOptions,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const startedAt = performance.now()
    let connection: Connection | null = null
    let isOver = false
    let leave = (_reason: Error) => {}
    const over = stopAfter(timeout * 1_000, signal, (isAborted) => {
      isOver = true
      const reason = isAborted ? aborted(signal) : tooLate(timeout, connection)
      reject(reason)
      leave(reason)
      connection?.discard(reason)
    })

    async function ask(): Promise<number> {
      const lease = await checkout({
        onWait: (stopWaiting) => {
          leave = stopWaiting
        },
      })
      try {
        connection = lease.connection
        if (!isOver) await connection.ping()
      } finally {
        // Nobody waits for what becomes of the connection.
        void lease.release()
      }
      return performance.now() - startedAt
    }

    if (!isOver) ask().then(resolve, reject).finally(over)
  })
}

function aborted(signal: AbortSignal | undefined): AbortedError {
  return new AbortedError('The ping was stopped: the signal was aborted', { cause: signal?.reason })
}

function tooLate(timeout: number, connection: Connection | null): Error {
  if (connection !== null) return new StatementTimeoutError(timeout, 'timeout')
  return new PoolTimeoutError(
    `The ping got no connection within its timeout of ${timeout} s: all are in use, or none can be opened in that time.`,
  )
}
