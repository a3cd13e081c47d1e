import type { Socket } from 'node:net'

/** Settles a statement as failed. */
type Fail = (error: Error) => void

/** Milliseconds that a server is given to hang up. */
export const CLOSE_TIMEOUT = 1_000

/** The statements under way on one socket to a server. The process stays alive for them, not for an idle socket. */
export class UnderWay {
  readonly #socket: Socket
  readonly #fails = new Set<Fail>()

  constructor(socket: Socket) {
    this.#socket = socket
  }

  get isEmpty(): boolean {
    return this.#fails.size === 0
  }

  add(fail: Fail): void {
    if (this.isEmpty) this.#socket.ref()
    this.#fails.add(fail)
  }

  /** Whether a statement is settled by this, and was not before. */
  settles(fail: Fail): boolean {
    if (!this.#fails.delete(fail)) return false
    if (this.isEmpty) this.#socket.unref()
    return true
  }

  failAll(error: Error): void {
    for (const fail of this.#fails) fail(error)
  }

  /** Has the driver end the connection, and waits until the socket is closed. */
  async close(end: () => void): Promise<void> {
    const socket = this.#socket
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    socket.ref()
    const giveUp = setTimeout(() => socket.destroy(), CLOSE_TIMEOUT)
    end()
    await closed
    clearTimeout(giveUp)
  }
}
