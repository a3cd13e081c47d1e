import type { Socket } from 'node:net'
import { addressOf } from '../../driver/socket.ts'
import {
  ConnectError,
  DrizzleCeleryError,
  ResponseTooLargeError,
  type ServerTarget,
  toError,
} from '../../errors.ts'

/** What the server knows the connection by; behind a pooler it is the pooler's own. */
export interface Backend {
  readonly pid: number
  readonly secret: number
}

export interface ServerMessagesOptions {
  readonly endpoint: ServerTarget
  /** Bytes that the answer to one statement may have. */
  readonly maxResponseBytes: number
  /** What a password may cost: so many rounds of PBKDF2, during which nothing else is done. */
  readonly scramMaxIterations: number
}

/**
 * What a server says, checked before the driver reads it, which trusts every byte: postgres.js loops for ever on names
 * without an end, derives keys for as long as it is told to, and throws where nobody catches, which pg does as well.
 *
 * It is handed whole messages only, of the kinds that may come when they come. So it waits for nothing that was
 * announced and is too large, and what no statement has asked for never answers the next one. What a message says is
 * left to it, where the worst is an error that it catches itself.
 */
export class ServerMessages {
  readonly #options: ServerMessagesOptions
  /** Called once; nothing is handed on from then on. */
  readonly #onRefused: (error: Error) => void
  /** The beginning of a message, in pieces, and how many bytes there must be before more of it can be read. */
  #held: Buffer[] = []
  #heldLength = 0
  #needed = HEADER
  /** Statements whose ReadyForQuery is still to come. */
  #asked = 0
  /** Bytes of the answer so far, or of all that was said until the connection was open. */
  #said = 0
  #isLetIn = false
  #isOpen = false
  #isRefused = false
  #backend: Backend | null = null
  /** Of the rows that come; `null` where they were described with an earlier answer. */
  #columns: number | null = null
  /** Which kinds of Authentication may come next. */
  #authentication: readonly number[] = FIRST_AUTHENTICATION

  constructor(options: ServerMessagesOptions, refuse: (error: Error) => void) {
    this.#options = options
    this.#onRefused = refuse
  }

  /** Known once the server has let us in; `null` where it has not said. */
  get backend(): Backend | null {
    return this.#backend
  }

  /** Stands between a socket and the first who listens to its data. */
  stand(socket: Socket): Socket {
    const { on } = socket
    const listen = (event: string, listener: (bytes: Buffer) => void) => {
      if (event !== 'data') return Reflect.apply(on, socket, [event, listener])
      Reflect.deleteProperty(socket, 'on')
      const hear = (chunk: Buffer) => this.#hear(chunk, listener)
      // By which it is found when it is to be removed, as with `once`.
      return socket.on('data', Object.assign(hear, { listener }))
    }
    Object.assign(socket, { on: listen })
    return socket
  }

  /** What comes from now on answers statements of others. */
  opened(): void {
    this.#isOpen = true
    this.#said = 0
  }

  /** A statement is sent. */
  ask(): void {
    this.#asked++
  }

  #hear(chunk: Buffer, handOn: (bytes: Buffer) => void): void {
    if (this.#isRefused) return
    const bytes = this.#joined(chunk)
    if (bytes === null) return
    let handedOn = 0
    let at = 0
    try {
      while (bytes.length - at >= HEADER) {
        const end = at + this.#lengthOf(bytes, at)
        if (end > bytes.length) {
          this.#needed = end - at
          break
        }
        const isHeard = this.#check(bytes, at, end)
        if (!isHeard) {
          if (at > handedOn) handOn(bytes.subarray(handedOn, at))
          handedOn = end
        }
        at = end
      }
      if (at < bytes.length) this.#hold(bytes.subarray(at))
      if (at > handedOn) handOn(handedOn === 0 && at === bytes.length ? bytes : bytes.subarray(handedOn, at))
    } catch (error) {
      // Of ours, or of the driver, whose error nobody else would catch.
      this.#isRefused = true
      this.#held = []
      this.#onRefused(toError(error))
    }
  }

  /** What is held with what has come; `null` while that is not enough. */
  #joined(chunk: Buffer): Buffer | null {
    if (this.#heldLength === 0) return chunk
    this.#hold(chunk)
    if (this.#heldLength < this.#needed) return null
    const bytes = Buffer.concat(this.#held, this.#heldLength)
    this.#held = []
    this.#heldLength = 0
    this.#needed = HEADER
    return bytes
  }

  #hold(bytes: Buffer): void {
    this.#held.push(bytes)
    this.#heldLength += bytes.length
  }

  /** How long a message is, its type included, as soon as that can be told. */
  #lengthOf(bytes: Buffer, at: number): number {
    const type = bytes[at] ?? 0
    const when = TYPES[type] ?? 0
    if (!this.#mayCome(when)) throw this.#unexpected(type)
    const length = 1 + bytes.readUInt32BE(at + 1)
    if (length < HEADER) throw violation(`sent a message of type ${shown(type)} shorter than its header`)
    if (type !== DATA_ROW && length > LONGEST_OTHER)
      throw violation(`sent a message of type ${shown(type)} of ${length} bytes`)
    if (!this.#isOpen && this.#said + length > UNTIL_OPEN)
      throw violation(`sent more than ${UNTIL_OPEN} bytes before the connection was open`)
    const { maxResponseBytes } = this.#options
    if ((when & IN_ANSWER) !== 0 && this.#said + length > maxResponseBytes)
      throw new ResponseTooLargeError(maxResponseBytes)
    return length
  }

  #mayCome(when: number): boolean {
    if (!this.#isLetIn) return (when & WHILE_CONNECTING) !== 0
    return (when & AT_ANY_TIME) !== 0 || ((when & IN_ANSWER) !== 0 && this.#asked > 0)
  }

  #unexpected(type: number): Error {
    if (TYPES[type] === 0) return violation(`sent a message of the unknown type ${shown(type)}`)
    if (!this.#isLetIn) return violation(`sent a message of type ${shown(type)} before it let us in`)
    return violation(`sent a message of type ${shown(type)} that answers nothing`)
  }

  /** Whether the driver is to hear it. */
  #check(bytes: Buffer, at: number, end: number): boolean {
    const type = bytes[at] ?? 0
    if (!this.#isOpen || ((TYPES[type] ?? 0) & AT_ANY_TIME) === 0) this.#said += end - at
    switch (type) {
      case DATA_ROW:
        checkRow(bytes, at, end, this.#columns)
        return true
      case ROW_DESCRIPTION:
        checkRowDescription(bytes, at, end)
        this.#columns = bytes.readUInt16BE(at + HEADER)
        return true
      case NOTIFICATION:
        checkNotification(bytes, at, end)
        return true
      case BACKEND_KEY_DATA:
        if (end - at < HEADER + 8) throw broken(type)
        this.#backend = { pid: bytes.readUInt32BE(at + HEADER), secret: bytes.readUInt32BE(at + HEADER + 4) }
        return true
      case AUTHENTICATION:
        this.#checkAuthentication(bytes.subarray(at, end))
        return true
      case READY:
        if (this.#isLetIn) this.#asked--
        this.#isLetIn = true
        this.#columns = null
        if (this.#isOpen) this.#said = 0
        return true
      // It would keep every parameter, and reads notices for nobody.
      case PARAMETER_STATUS:
      case NOTICE:
        return false
      default:
        return true
    }
  }

  #checkAuthentication(bytes: Buffer): void {
    if (bytes.length < HEADER + 4) throw broken(AUTHENTICATION)
    const kind = bytes.readUInt32BE(HEADER)
    const method = OTHER_METHODS.get(kind)
    if (method !== undefined)
      throw this.#refused(`asks for ${method}`, 'Only SCRAM-SHA-256, MD5 and plain passwords can be sent')
    if (!this.#authentication.includes(kind)) throw violation('broke the order of authentication')
    this.#authentication = NEXT_AUTHENTICATION.get(kind) ?? []
    const said = bytes.toString('latin1', HEADER + 4)
    if (kind === SASL && !said.split('\0').includes('SCRAM-SHA-256')) {
      throw this.#refused('does not offer SCRAM-SHA-256', 'Nothing else of SASL is spoken')
    }
    if (kind === SASL_CONTINUE) this.#checkScram(said)
  }

  #checkScram(said: string): void {
    const iterations = /^r=[^,]+,s=[\w+/=-]+,i=([1-9]\d*)$/.exec(said)?.[1]
    if (iterations === undefined) throw violation('sent a SCRAM challenge that cannot be read')
    const { scramMaxIterations } = this.#options
    if (Number(iterations) <= scramMaxIterations) return
    throw this.#refused(
      `asks for ${iterations.slice(0, 20)} iterations of SCRAM, which would keep this process from all else`,
      `If it is yours, set scram_iterations to ${scramMaxIterations} or less there and the password anew, or raise scramMaxIterations in the dburi`,
    )
  }

  #refused(what: string, remedy: string): ConnectError {
    const { endpoint } = this.#options
    const message = `Cannot connect to PostgreSQL: ${addressOf(endpoint)} ${what}. ${remedy}.`
    return new ConnectError('AUTH_REFUSED', endpoint, message)
  }
}

/** A message begins with its type and its length. */
const HEADER = 5

/** What a server may say until it has let us in and answered our own first questions, all of it. */
const UNTIL_OPEN = 65_536

/** For whatever is no row: the longest are descriptions of many columns, and errors that repeat a value. */
const LONGEST_OTHER = 2 ** 24

/** When a message may come. */
const WHILE_CONNECTING = 1
const IN_ANSWER = 2
const AT_ANY_TIME = 4

const code = (letter: string) => letter.charCodeAt(0)
const DATA_ROW = code('D')
const ROW_DESCRIPTION = code('T')
const NOTIFICATION = code('A')
const AUTHENTICATION = code('R')
const BACKEND_KEY_DATA = code('K')
const READY = code('Z')
const PARAMETER_STATUS = code('S')
const NOTICE = code('N')

/** By the type of a message, when it may come; 0 for those that are never asked for. */
const TYPES = Uint8Array.from({ length: 256 }, (_, type) => {
  const letter = String.fromCharCode(type)
  return (
    ('RKSNEZ'.includes(letter) ? WHILE_CONNECTING : 0) |
    ('12tTnDCIEZGHWdc'.includes(letter) ? IN_ANSWER : 0) |
    ('NSAE'.includes(letter) ? AT_ANY_TIME : 0)
  )
})

const SASL = 10
const SASL_CONTINUE = 11

/** Kinds of Authentication, each with those that may follow; 0 says that it is done. */
const FIRST_AUTHENTICATION = [0, 3, 5, SASL]
const NEXT_AUTHENTICATION: ReadonlyMap<number, readonly number[]> = new Map([
  [3, [0]],
  [5, [0]],
  [SASL, [SASL_CONTINUE]],
  [SASL_CONTINUE, [12]],
  [12, [0]],
])

const OTHER_METHODS: ReadonlyMap<number, string> = new Map([
  [2, 'Kerberos'],
  [6, 'SCM credentials'],
  [7, 'GSSAPI'],
  [9, 'SSPI'],
])

/** As many values as it says, each within it: another length would be read again and again, by one column after the other. */
function checkRow(bytes: Buffer, start: number, end: number, columns: number | null): void {
  if (end - start < HEADER + 2) throw broken(DATA_ROW)
  let at = start + HEADER + 2
  const values = bytes.readUInt16BE(start + HEADER)
  if (columns !== null && values !== columns) throw violation('sent a row that does not fit its columns')
  for (let left = values; left > 0; left--) {
    if (at + 4 > end) throw broken(DATA_ROW)
    const length = int32At(bytes, at)
    if (length < -1) throw broken(DATA_ROW)
    at += length === -1 ? 4 : 4 + length
  }
  if (at !== end) throw broken(DATA_ROW)
}

/** `readInt32BE`, at a third of its cost: this is done for each value there is. */
function int32At(bytes: Buffer, at: number): number {
  return (
    ((bytes[at] ?? 0) << 24) |
    ((bytes[at + 1] ?? 0) << 16) |
    ((bytes[at + 2] ?? 0) << 8) |
    (bytes[at + 3] ?? 0)
  )
}

/** The name of a channel that ends. */
function checkNotification(bytes: Buffer, start: number, end: number): void {
  const nameEnd = bytes.indexOf(0, start + HEADER + 4)
  if (nameEnd === -1 || nameEnd >= end) throw broken(NOTIFICATION)
}

/** As many columns as it says: a name that ends, and 18 bytes each. */
function checkRowDescription(bytes: Buffer, start: number, end: number): void {
  if (end - start < HEADER + 2) throw broken(ROW_DESCRIPTION)
  let at = start + HEADER + 2
  for (let left = bytes.readUInt16BE(start + HEADER); left > 0; left--) {
    const nameEnd = bytes.indexOf(0, at)
    if (nameEnd === -1 || nameEnd + 1 + 18 > end) throw broken(ROW_DESCRIPTION)
    at = nameEnd + 1 + 18
  }
  if (at !== end) throw broken(ROW_DESCRIPTION)
}

function broken(type: number): Error {
  return violation(`sent a message of type ${shown(type)} whose parts do not fit into it`)
}

function violation(what: string): DrizzleCeleryError {
  return new DrizzleCeleryError(
    'PROTOCOL_VIOLATION',
    `The server ${what}, which is not PostgreSQL's protocol`,
  )
}

function shown(type: number): string {
  return /[!-~]/.test(String.fromCharCode(type)) ? String.fromCharCode(type) : `0x${type.toString(16)}`
}
