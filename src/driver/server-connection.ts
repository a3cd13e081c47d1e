import type { Socket } from 'node:net'
import { ClosedError, ConnectError, ResponseTooLargeError, type ServerTarget } from '../errors.ts'
import { InFlight } from './socket.ts'

export interface ServerConnectionParts {
  /** The one socket that the driver was given. */
  readonly socket: Socket
  readonly target: ServerTarget
  /** The server has said that it cannot serve: new connections are to go elsewhere for a while. */
  passOver(reason: Error): void
}

/**
 * How a connection of one socket to a server is lost, left and closed. The loss is noticed by the socket, whatever the driver
 * does or forgets to do, and settles all that is in flight.
 */
export abstract class ServerConnection {
  protected readonly inFlight: InFlight
  readonly #parts: ServerConnectionParts
  #lost: Error | null = null
  #closed: Promise<void> | null = null
  #vet: ((connection: this) => Promise<void>) | null = null
  #onEnd: () => void = () => {}
  /** A statement left state behind that the next user must not see. */
  tainted = false
  onLost: (() => void) | null = null

  constructor(parts: ServerConnectionParts) {
    const { socket } = parts
    this.#parts = parts
    this.inFlight = new InFlight(socket)
    socket.on('error', (error) => this.hungUp(error))
    socket.on('close', () => this.hungUp(new Error('The server closed the connection')))
  }

  get lost(): Error | null {
    return this.#lost
  }

  get target(): ServerTarget {
    return this.#parts.target
  }

  /** Whether a transaction is open, or was asked for. */
  protected abstract readonly isInTransaction: boolean

  /** The error of the statements in flight. */
  protected abstract lostBy(reason: Error): Error

  /** Has the driver let go of the socket, which is destroyed. */
  protected abstract drop(): void

  /** Has the driver take its leave of the server. */
  protected abstract end(): void

  /** Asks the server to stop what it is doing. */
  protected abstract stopWork(): void

  /** The socket has ended, or the driver has given it up. */
  protected hungUp(reason: Error): void {
    this.#break(reason)
  }

  /**
   * The server has let us in.
   * @param vet what its pings ask, instead of a sign of life only; throws when the server is not what was asked for any more
   * @param join registers it, to be left when its server cannot serve; what it returns is called at its end
   */
  opened(vet: ((connection: this) => Promise<void>) | null, join: (connection: this) => () => void): void {
    this.#vet = vet
    this.#onEnd = join(this)
    // It may have broken while it was vetted.
    if (this.#lost !== null) this.#onEnd()
  }

  /** Asks the server whether it is still what was asked for. @returns false where that is not to be asked */
  protected async vetted(): Promise<boolean> {
    if (this.#vet === null) return false
    try {
      await this.#vet(this)
      return true
    } catch (error) {
      if (error instanceof ConnectError) this.passOver(error)
      throw error
    }
  }

  /** Its server has said that it cannot serve. */
  protected passOver(reason: Error): void {
    if (this.#lost !== null) return
    this.#parts.passOver(reason)
    this.discard(reason)
  }

  /** Its server was passed over: nobody is to use it any more. */
  leave(reason: Error): void {
    // Before it is in a pool it is only being set up.
    const isIdle = this.onLost === null || (this.inFlight.isEmpty && !this.isInTransaction)
    if (isIdle) this.discard(reason)
    else this.tainted = true
  }

  discard(reason: Error): void {
    const isWorking = !this.inFlight.isEmpty
    this.#break(reason)
    if (isWorking) this.stopWork()
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#lost !== null) return
    if (!this.inFlight.isEmpty) {
      this.discard(new ClosedError('connection'))
      return
    }
    this.#lost = new ClosedError('connection')
    this.#onEnd()
    await this.inFlight.close(() => this.end())
  }

  #break(reason: Error): void {
    if (this.#lost !== null) return
    const lost = this.lostBy(reason)
    // What comes later is surely not done, when we closed it ourselves; what is in flight may be, on either side's break.
    this.#lost = reason instanceof ClosedError ? reason : lost
    this.#parts.socket.destroy()
    this.inFlight.failAll(reason instanceof ResponseTooLargeError ? reason : lost)
    this.drop()
    this.#onEnd()
    this.onLost?.()
  }
}
