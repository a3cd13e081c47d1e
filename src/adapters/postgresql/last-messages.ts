import type { Socket } from 'node:net'
import type { ServerError } from './errors.ts'

/** Holds every message that a server hangs up with, in whatever language. */
const LENGTH = 2_048

/** What the server has said last. Drivers drop what is said outside of an answer, and what ends in the midst of one. */
export class LastMessages {
  readonly #bytes = Buffer.alloc(LENGTH)

  constructor(socket: Socket) {
    socket.on('data', (bytes: Buffer) => {
      if (bytes.length < LENGTH) this.#bytes.copyWithin(0, bytes.length)
      bytes.copy(this.#bytes, Math.max(0, LENGTH - bytes.length), Math.max(0, bytes.length - LENGTH))
    })
  }

  /** Whether a transaction stands that has failed: the status in ReadyForQuery. No, where something came behind it. */
  get isFailedTransaction(): boolean {
    return this.#bytes.subarray(-READY_IN_FAILED_TRANSACTION.length).equals(READY_IN_FAILED_TRANSACTION)
  }

  /** Why the server ends the connection, if it said so and nothing behind it. */
  farewell(): ServerError | null {
    const bytes = this.#bytes
    for (let at = LENGTH - HEADER; at >= 0; at--) {
      const type = bytes.toString('latin1', at, at + 1)
      if ((type !== 'E' && type !== 'N') || bytes.readUInt32BE(at + 1) !== LENGTH - at - 1) continue
      const error = farewellOf(type, bytes.toString('utf8', at + HEADER))
      if (error !== null) return error
    }
    return null
  }
}

/** ReadyForQuery in a transaction that has failed. */
const READY_IN_FAILED_TRANSACTION = Buffer.from('Z\0\0\0\x05E', 'latin1')

/** The type of a message and its length. */
const HEADER = 5

/** The fields of an error that may be shown, by postgres.js's names. */
const FIELDS: ReadonlyMap<string, string> = new Map([
  ['S', 'severity_local'],
  ['V', 'severity'],
  ['C', 'code'],
  ['F', 'file'],
  ['L', 'line'],
  ['R', 'routine'],
])

/**
 * Reads an ErrorResponse, or the NoticeResponse of a server that stops at once or of which another process has crashed;
 * `null` where it is neither, or the connection outlives it.
 */
function farewellOf(type: 'E' | 'N', body: string): ServerError | null {
  if (!body.endsWith('\0\0')) return null
  const sent = new Map(
    body
      .slice(0, -2)
      .split('\0')
      .map((field) => [field.charAt(0), field.slice(1)]),
  )
  const severity = sent.get('V') ?? sent.get('S') ?? ''
  const code = sent.get('C') ?? ''
  const isFatal = type === 'E' ? /^(?:FATAL|PANIC)$/.test(severity) : /^57P/.test(code)
  if (!isFatal || !/^[0-9A-Z]{5}$/.test(code)) return null
  const fields = Array.from(FIELDS, ([letter, name]) => [name, sent.get(letter)]).filter(
    ([, value]) => value !== undefined,
  )
  // It belongs to no statement whose parameters could be looked for in it.
  const message = (sent.get('M') ?? '').replace(/"[\s\S]*"/, '"[hidden]"')
  const error = Object.assign(new Error(message), { name: 'PostgresError', severity, code })
  return Object.assign(error, Object.fromEntries(fields))
}
