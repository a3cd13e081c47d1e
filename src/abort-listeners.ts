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
