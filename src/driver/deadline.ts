/** The time is up. */
export class TooSlow extends Error {}

/** What ends an attempt before its time. */
export interface Deadline {
  /** Rejects with `TooSlow` when the time is up, or when the signal is aborted. */
  readonly stopped: Promise<never>
  /** Lets go of the timer and of the signal, which may live long. */
  over(): void
}

/** To be raced against an attempt that knows no deadline of its own. */
export function deadlineIn(milliseconds: number, signal: AbortSignal | undefined): Deadline {
  let stop: (reason: Error) => void = () => {}
  const stopped = new Promise<never>((_, reject) => {
    stop = reject
  })
  // The attempt may be over before anybody races it.
  stopped.catch(() => {})
  const onAbort = () => stop(new Error('The signal was aborted', { cause: signal?.reason }))
  const timer = setTimeout(
    () => stop(new TooSlow(`There was no answer within ${milliseconds} ms`)),
    milliseconds,
  )
  signal?.addEventListener('abort', onAbort)
  if (signal?.aborted) onAbort()
  return {
    stopped,
    over() {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    },
  }
}

interface Shared {
  readonly onAborts: Set<() => void>
  onSignal(): void
}

/** One listener for all who share a signal: Node warns of a leak from the eleventh. */
export class AbortListeners {
  readonly #signals = new Map<AbortSignal, Shared>()

  /** @returns what takes it away again */
  add(signal: AbortSignal, onAbort: () => void): () => void {
    const { onAborts, onSignal } = this.#signals.get(signal) ?? this.#listen(signal)
    onAborts.add(onAbort)
    return () => {
      onAborts.delete(onAbort)
      if (onAborts.size > 0) return
      this.#signals.delete(signal)
      signal.removeEventListener('abort', onSignal)
    }
  }

  #listen(signal: AbortSignal): Shared {
    const onAborts = new Set<() => void>()
    const onSignal = () => {
      for (const onAbort of onAborts) onAbort()
    }
    signal.addEventListener('abort', onSignal)
    this.#signals.set(signal, { onAborts, onSignal })
    return { onAborts, onSignal }
  }
}
