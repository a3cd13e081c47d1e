import type { Cursor } from '../../driver/types.ts'
import { ClosedError } from '../../errors.ts'

/** What a stream asks of its connection. */
export interface Flow {
  /** Lets no more rows come than are on their way. */
  pause(): void
  /** Lets them come, up to `maxResponseBytes` until the next pause. */
  resume(): void
  /** Has the server end the statement; resolves when the connection can be used again, or is lost. */
  stop(): Promise<void>
}

/**
 * The rows of one statement as the server sends them. While nobody fetches, the socket is not read, so the server waits.
 * Once it is paused, what was read of the socket before still comes: some 64 KiB.
 */
export class RowStream implements Cursor {
  readonly #batch: number
  readonly #flow: Flow
  #rows: unknown[] = []
  #mend: (rows: unknown[]) => void = () => {}
  #end: { readonly error: unknown } | null = null
  #isPaused = false
  #closed: Promise<void> | null = null
  /** Called when something has changed for who waits. */
  #onChange: () => void = () => {}

  constructor(batch: number, flow: Flow) {
    this.#batch = batch
    this.#flow = flow
  }

  /** The statement has ended, however it did. */
  get isOver(): boolean {
    return this.#end !== null
  }

  /** Nobody fetches any more. */
  get isClosed(): boolean {
    return this.#closed !== null
  }

  /** @param mend what is to be done to rows before anybody gets them */
  begin(mend: (rows: unknown[]) => void): void {
    this.#mend = mend
  }

  push(row: unknown): void {
    if (this.#closed !== null) return
    this.#rows.push(row)
    if (this.#rows.length < this.#batch || this.#isPaused) return
    this.#isPaused = true
    this.#flow.pause()
    this.#onChange()
  }

  /** No row comes any more. @param error why, `null` where those were all */
  end(error: unknown): void {
    this.#end = { error }
    // The connection is the next statement's.
    this.#resume()
    this.#onChange()
  }

  async fetch(): Promise<readonly unknown[]> {
    while (this.#rows.length < this.#batch && this.#end === null && this.#closed === null) {
      const changed = this.#changed()
      this.#resume()
      await changed
    }
    const error = this.#end?.error ?? null
    if (error !== null) throw error
    // By a commit or a rollback beside the loop: the rows so far are not all.
    if (this.#closed !== null) throw new ClosedError('transaction')
    const rows = this.#rows
    this.#rows = []
    this.#mend(rows)
    return rows
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#rows = []
    if (this.isOver) return
    const stopped = this.#flow.stop()
    // What is on its way must be read, to see the end of it.
    this.#resume()
    await stopped
  }

  /** Resolves at the end of the statement. */
  async over(): Promise<void> {
    while (this.#end === null) await this.#changed()
  }

  #resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#flow.resume()
  }

  #changed(): Promise<void> {
    const others = this.#onChange
    return new Promise((resolve) => {
      this.#onChange = () => {
        this.#onChange = () => {}
        others()
        resolve()
      }
    })
  }
}
