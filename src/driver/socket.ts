import { connect, isIP, type LookupFunction, type Socket } from 'node:net'
import type { ServerTarget } from '../errors.ts'
import { invalid } from '../options/values.ts'

/** `host:port`, or the path of a socket; for people. */
export function addressOf(endpoint: ServerTarget): string {
  if ('path' in endpoint) return endpoint.path
  return isIP(endpoint.host) === 6
    ? `[${endpoint.host}]:${endpoint.port}`
    : `${endpoint.host}:${endpoint.port}`
}

/** Whether a host is this machine, where nobody listens in. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

/**
 * Begins to connect; the socket has no listener yet.
 * @param keepAlive how long the connection is idle before TCP probes it, in ms; `null` for never
 * @param connectTimeout what the caller grants, in ms: with several addresses each gets a part of it
 * @param lookup how names are looked up; Node's own way where it is left out
 */
export function openSocket(
  endpoint: ServerTarget,
  keepAlive: number | null,
  connectTimeout: number,
  lookup?: LookupFunction,
): Socket {
  if ('path' in endpoint) return connect({ path: endpoint.path })
  return connect({
    host: endpoint.host,
    port: endpoint.port,
    noDelay: true,
    ...(lookup !== undefined && { lookup }),
    keepAlive: keepAlive !== null,
    ...(keepAlive !== null && { keepAliveInitialDelay: keepAlive }),
    // Node gives the first of several addresses 250 ms by default: too little for a distant server.
    autoSelectFamilyAttemptTimeout: Math.round(Math.max(250, Math.min(1_000, connectTimeout / 3))),
  })
}

/** NUL would end a value in a server's protocol, and a line break would begin a line of its own in a log. */
export function printable(name: string, text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(text)) throw invalid(name, 'free of control characters')
  return text
}

/** What a server says repeats names it was sent: nothing in them may begin a line of its own in a log. */
export function inOneLine(text: string): string {
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  return text.replaceAll(/[\p{Cc}\u2028\u2029]/gu, escaped)
}

/** Settles a statement as failed. */
type Fail = (error: Error) => void

/** Milliseconds that a server is given to hang up. */
export const CLOSE_TIMEOUT = 1_000

/** The statements under way on one socket to a server. The process stays alive for them, not for an idle socket. */
export class InFlight {
  readonly #socket: Socket
  readonly #fails = new Set<Fail>()

  constructor(socket: Socket) {
    this.#socket = socket
  }

  get isEmpty(): boolean {
    return this.#fails.size === 0
  }

  /** A statement was sent; `fail` rejects it. */
  add(fail: Fail): void {
    if (this.isEmpty) this.#socket.ref()
    this.#fails.add(fail)
  }

  /** Removes it; false if it was settled already. */
  settles(fail: Fail): boolean {
    if (!this.#fails.delete(fail)) return false
    if (this.isEmpty) this.#socket.unref()
    return true
  }

  /** Rejects all that were sent and not answered. */
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
