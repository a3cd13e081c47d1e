import { setTimeout as sleep } from 'node:timers/promises'
import type { Hearing, Listening } from '../adapter.ts'
import { backoffMilliseconds } from '../retry.ts'

/** Who wants to hear of results. */
export interface ListenerEvents {
  /** From now on whatever is stored is heard of; or no more. */
  onHearing(isHearing: boolean): void
  /** A task is done. */
  onResult(taskId: string): void
}

export interface ListenerParts {
  /** Opens a connection that listens. */
  open(hearing: Hearing, signal: AbortSignal): Promise<Listening>
  /** Why it could not be opened; it will be tried again. */
  onFailure(error: unknown): void
}

/** Milliseconds for which the connection is kept when nobody waits any more: the next who waits finds it open. */
const LINGER = 1_000
/** Between two attempts, in milliseconds. */
const BACKOFF = { base: 250, max: 30_000 }

/**
 * Has a connection that listens as long as somebody waits, and opens it again when it is lost. It keeps no process alive:
 * those who wait do.
 */
export class ResultListener {
  readonly #parts: ListenerParts
  #running: AbortController | null = null
  #linger: NodeJS.Timeout | undefined
  #ended: Promise<unknown> = Promise.resolve()

  constructor(parts: ListenerParts) {
    this.#parts = parts
  }

  /** Somebody waits. */
  start(events: ListenerEvents): void {
    clearTimeout(this.#linger)
    if (this.#running !== null) return
    this.#running = new AbortController()
    this.#ended = Promise.all([this.#ended, this.#run(events, this.#running.signal)])
  }

  /** Nobody waits any more. */
  stop(): void {
    clearTimeout(this.#linger)
    this.#linger = setTimeout(() => void this.close(), LINGER).unref()
  }

  /** Resolves when no connection is left but one that is just being opened, which is closed as soon as it is. */
  async close(): Promise<void> {
    clearTimeout(this.#linger)
    this.#running?.abort()
    this.#running = null
    await this.#ended
  }

  async #run(events: ListenerEvents, signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        await this.#hear(events, signal)
        failures = 0
      } catch (error) {
        if (!signal.aborted) this.#parts.onFailure(error)
      }
      // It rejects only when the signal is aborted, which ends this as well.
      await sleep(backoffMilliseconds(failures, BACKOFF), undefined, { signal, ref: false }).catch(() => {})
    }
  }

  /** Listens until the connection is lost or nobody wants it any more. */
  async #hear({ onHearing, onResult }: ListenerEvents, signal: AbortSignal): Promise<void> {
    let end = () => {}
    const isOver = new Promise<void>((resolve) => {
      // Without the event of the signal, which would pass for what was opened.
      end = () => resolve()
    })
    signal.addEventListener('abort', end)
    const opening = this.#parts.open({ onMessage: onResult, onLost: end }, signal)
    const listening = await Promise.race([opening, isOver])
    if (listening === undefined) {
      // Nobody waits for a server that does not answer; what comes of it is closed, and of interest to nobody.
      void opening.then((late) => late.close()).catch(() => {})
      return
    }

    onHearing(true)
    await isOver
    onHearing(false)
    await listening.close()
  }
}
