import { PickleError, type PickleErrorCode } from '../errors.ts'
import { opcodeName } from './opcodes.ts'

/** Reads opcodes and their arguments. Lengths are compared with what is left before anything is allocated. */
export class Reader {
  readonly bytes: Uint8Array
  readonly #view: DataView
  readonly #end: number
  #position = 0
  #opcodePosition = 0

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#end = bytes.length
  }

  opcode(): number {
    this.#opcodePosition = this.#position
    return this.byte()
  }

  byte(): number {
    const byte = this.bytes[this.#position]
    if (byte === undefined) throw this.truncated()
    this.#position++
    return byte
  }

  uint16(): number {
    return this.#view.getUint16(this.#skip(2), true)
  }

  int32(): number {
    return this.#view.getInt32(this.#skip(4), true)
  }

  uint32(): number {
    return this.#view.getUint32(this.#skip(4), true)
  }

  float(): number {
    return this.#view.getFloat64(this.#skip(8))
  }

  /** A length of eight bytes; those beyond 2^53 are inexact, but longer than anything there is. */
  length64(): number {
    const at = this.#skip(8)
    return this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 2 ** 32
  }

  /** Where the next bytes start; they are stepped over. */
  take(length: number): number {
    return this.#skip(length)
  }

  /** Says that so many bytes follow, without stepping over them. */
  expect(length: number): void {
    if (length > this.#end - this.#position) throw this.truncated()
  }

  /** The rest of the line, which is stepped over with its end. */
  line(): Uint8Array {
    const start = this.#position
    const end = this.bytes.indexOf(0x0a, start)
    if (end === -1) throw this.truncated()
    this.#position = end + 1
    return this.bytes.subarray(start, end)
  }

  #skip(length: number): number {
    const start = this.#position
    if (length > this.#end - start) throw this.truncated()
    this.#position = start + length
    return start
  }

  truncated(): PickleError {
    return this.error('PICKLE_TRUNCATED', 'it ends too early')
  }

  /** An error about the opcode that is being read. */
  error(code: PickleErrorCode, reason: string, limit?: string): PickleError {
    const position = this.#opcodePosition
    const byte = this.bytes[position]
    const opcode = byte === undefined ? 'end' : opcodeName(byte)
    return new PickleError(code, `Cannot decode the pickle: ${reason} (${opcode} at byte ${position})`, {
      position,
      opcode,
      ...(limit !== undefined && { limit }),
    })
  }
}
