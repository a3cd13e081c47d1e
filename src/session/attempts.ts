import { isPending, stopAfter } from '../driver/deadline.ts'
import { AbortedError, ConnectionLostError, causes, TransactionConflictError } from '../errors.ts'
import { backoffMilliseconds } from '../retry.ts'
import type { Session } from './session.ts'

/** Milliseconds between two attempts; see `backoffMilliseconds`. */
const BACKOFF = { base: 20, max: 1_000 }

// biome-ignore lint/suspicious/noExplicitAny: the overloads of the manager say what it is given
export type AnyWork = (db: any, session: any, attempt: number) => Promise<unknown>

/**
 * Runs work in a session, and again in another one where a conflict undid it, up to `attempts` times in all. Work that
 * committed something by itself is not run again, nor is what may have been committed.
 * @throws AbortedError when the signal is aborted between two attempts, and whatever the last attempt threw
 */
export async function runWork(
  open: () => Session | Promise<Session>,
  work: AnyWork,
  {
    attempts = 1,
    signal,
  }: { readonly attempts?: number | undefined; readonly signal?: AbortSignal | undefined },
): Promise<unknown> {
  for (let attempt = 1; ; attempt++) {
    const opened = open()
    const session = isPending(opened) ? await opened : opened
    try {
      const result = await work(session.db, session, attempt)
      await session.commit()
      return result
    } catch (error) {
      if (attempt >= attempts || session.hasCommitted || !wasUndone(error)) throw error
    } finally {
      await session.close()
    }
    const wait = backoffMilliseconds(attempt - 1, BACKOFF)
    await new Promise<void>((resolve) => stopAfter(wait, signal, () => resolve()))
    if (signal?.aborted) throw aborted(signal)
  }
}

/** By a conflict, and certainly. */
function wasUndone(error: unknown): boolean {
  const all = causes(error)
  return (
    all.some((cause) => cause instanceof TransactionConflictError) &&
    !all.some((cause) => cause instanceof ConnectionLostError)
  )
}

function aborted(signal: AbortSignal): AbortedError {
  return new AbortedError(
    'Stopped before the work was run again: the signal was aborted. A conflict had undone it.',
    { cause: signal.reason },
  )
}
