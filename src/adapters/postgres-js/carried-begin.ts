import type { Socket } from 'node:net'

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
