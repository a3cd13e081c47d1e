import type { Connection as Driver } from 'mysql2'
import { DrizzleCeleryError, ResponseTooLargeError } from '../../errors.ts'

/** A packet as mysql2 hands it from its parser to its commands. */
interface Packet {
  readonly sequenceId: number
  /** How far it was read, and where it ends: in a buffer that holds what the server said behind it, too. */
  readonly offset: number
  readonly end: number
}

interface Parser {
  execute(bytes: Buffer): void
  onPacket(packet: Packet): void
}

/**
 * What a server says, counted and checked before and behind mysql2, which buffers whatever is announced, writes code for
 * any number of columns, reads over the end of a packet into the next, and goes on where packets are missing.
 */
export class ServerPackets {
  readonly #driver: Driver
  readonly #maxResponseBytes: number
  /** Bytes of the answer so far, or of all that was said until the connection was open. */
  #said = 0
  #isOpen = false
  #isRefused = false

  /** Stands before the parser of a driver, under TLS as well. What is refused is an `error` of the driver. */
  constructor(driver: Driver, maxResponseBytes: number) {
    this.#driver = driver
    this.#maxResponseBytes = maxResponseBytes
    const parser: unknown = Reflect.get(driver, 'packetParser')
    if (!isParser(parser)) throw new TypeError('This version of mysql2 has no packetParser')
    const { onPacket } = parser
    parser.onPacket = (packet) => {
      this.#checkOrder(packet)
      onPacket(packet)
      this.#checkReading(packet)
    }
    Reflect.set(driver, 'packetParser', { execute: (bytes: Buffer) => this.#hear(bytes, parser) })
  }

  /** What comes from now on answers statements of others. */
  opened(): void {
    this.#isOpen = true
    this.#said = 0
  }

  /** Something is asked of the server; one thing at a time. */
  ask(): void {
    if (this.#isOpen) this.#said = 0
  }

  #hear(bytes: Buffer, parser: Parser): void {
    if (this.#isRefused) return
    try {
      this.#said += bytes.length
      if (!this.#isOpen && this.#said > UNTIL_OPEN)
        throw violation(`sent more than ${UNTIL_OPEN} bytes before the connection was open`)
      if (this.#said > this.#maxResponseBytes) throw new ResponseTooLargeError(this.#maxResponseBytes)
      parser.execute(bytes)
    } catch (error) {
      this.#isRefused = true
      this.#driver.emit('error', error)
    }
  }

  /** mysql2 would print a warning and go on. One that answers nothing it refuses itself. */
  #checkOrder({ sequenceId }: Packet): void {
    const expected: unknown = Reflect.get(this.#driver, 'sequenceId')
    if (Reflect.get(this.#driver, '_command') && sequenceId !== expected)
      throw violation('sent packets out of order')
  }

  #checkReading({ offset, end }: Packet): void {
    // One row of many columns would be read from all that follows it. A few bytes are what some servers leave out.
    if (this.#isOpen && !(offset <= end + OPTIONAL))
      throw violation('sent a packet that is shorter than it says')
    const command: unknown = Reflect.get(this.#driver, '_command')
    const columns: unknown = Object(command)._fieldCount
    if (Number(columns) > MOST_COLUMNS)
      throw violation(`announced an answer of more than ${MOST_COLUMNS} columns`)
  }
}

/** What a server may say until it has let us in and answered our own first statement, all of it. */
const UNTIL_OPEN = 65_536

/** MySQL's own limit, and MariaDB's. */
const MOST_COLUMNS = 4_096

const OPTIONAL = 8

function isParser(value: unknown): value is Parser {
  return typeof value === 'object' && value !== null && 'execute' in value && 'onPacket' in value
}

function violation(what: string): DrizzleCeleryError {
  return new DrizzleCeleryError('PROTOCOL_VIOLATION', `The server ${what}, which is not MySQL's protocol`)
}
