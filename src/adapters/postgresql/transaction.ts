import type { Socket } from 'node:net'

/** A transaction of a connection. While BEGIN, or the statement that carries it, is under way, all the rest of it waits. */
export class DeferredBegin {
  readonly begin: string
  /** How many statements were sent since it began. */
  sent = 0
  /** A statement of it may have changed a schema. */
  changesSchema = false
  /** Names may mean something else until it ends. */
  isPathMoved = false
  #state: 'unsent' | 'beginning' | 'ready' = 'unsent'
  readonly #waiting: (() => void)[] = []

  constructor(begin: string) {
    this.begin = begin
  }

  /** The server has not heard of it. */
  get isUnsent(): boolean {
    return this.#state === 'unsent'
  }

  get isBeginning(): boolean {
    return this.#state === 'beginning'
  }

  /** From now on whatever is to be sent waits for `ready()`. */
  beginning(): void {
    this.#state = 'beginning'
  }

  /** Sends what has waited, in the order in which it came. */
  ready(): void {
    this.#state = 'ready'
    for (const send of this.#waiting.splice(0)) send()
  }

  inTurn<Answer>(send: () => Promise<Answer>): Promise<Answer> {
    if (!this.isBeginning) return send()
    return new Promise((resolve) => this.#waiting.push(() => resolve(send())))
  }
}

/**
 * Sends BEGIN in one piece with what is written to the socket next, which has to be one statement in the extended
 * protocol. That saves its round trip, and is safe: if BEGIN fails the server skips all that follows up to the Sync
 * of the statement. (pgjdbc begins its transactions in this way.)
 */
export function carryBegin(socket: Socket, begin: string): void {
  const { write } = socket
  socket.write = (bytes: Uint8Array | string) => {
    socket.write = write
    return socket.write(Buffer.concat([messagesOf(begin), Buffer.from(bytes)]))
  }
}

const known = new Map<string, Buffer>()

/** Parse, Bind and Execute, all unnamed, without a Sync behind them. */
function messagesOf(begin: string): Buffer {
  const messages =
    known.get(begin) ??
    Buffer.concat([
      message('P', `\0${begin}\0\0\0`),
      message('B', '\0\0\0\0\0\0\0\0'),
      message('E', '\0\0\0\0\0'),
    ])
  known.set(begin, messages)
  return messages
}

function message(type: string, body: string): Buffer {
  const bytes = Buffer.from(`${type}\0\0\0\0${body}`, 'latin1')
  bytes.writeUInt32BE(bytes.length - 1, 1)
  return bytes
}
