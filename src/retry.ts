export interface BackoffOptions {
  /** Milliseconds that bound the first wait; each later bound is twice the one before. */
  readonly base: number
  /** Milliseconds that bound every wait. */
  readonly max: number
}

export interface RetryOptions extends BackoffOptions {
  /** Attempts after the first. */
  readonly retries: number
  /** Whether trying again can help; what it does not accept is thrown at once. */
  readonly retryable: (error: unknown) => boolean
  /** Ends the waiting; `retry` then rejects with the signal's reason. An attempt under way is not interrupted. */
  readonly signal?: AbortSignal | undefined
}

/** Runs `attempt` until it succeeds, its error is not retryable, or the retries are used up: then its last error. */
export async function retry<Result>(attempt: () => Promise<Result>, options: RetryOptions): Promise<Result> {
  const { retries, retryable, signal } = options
  for (let failures = 0; ; failures++) {
    signal?.throwIfAborted()
    try {
      return await attempt()
    } catch (error) {
      if (failures >= retries || !retryable(error)) throw error
    }
    await wait(backoffMilliseconds(failures, options), signal)
  }
}

/**
 * Celery's exponential backoff with full jitter (`celery.utils.time.get_exponential_backoff_interval`): a uniform
 * integer in `[0, min(max, base · 2^failures)]`, both ends included.
 */
export function backoffMilliseconds(
  failures: number,
  { base, max }: BackoffOptions,
  random: () => number = Math.random,
): number {
  const bound = Math.min(max, base * 2 ** failures)
  return Math.floor(random() * (bound + 1))
}

async function wait(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  // Not loaded with this file, which every program that imports this package loads.
  const { setTimeout: sleep } = await import('node:timers/promises')
  try {
    await sleep(milliseconds, undefined, signal && { signal })
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  }
}
