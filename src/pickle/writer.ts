import { PickleError } from '../errors.ts'
import { FRAME } from './opcodes.ts'
import { PyTuple } from './values.ts'

/** CPython's: what is at least so long stands outside of frames, and a frame ends when it has become so long. */
const FRAME_SIZE = 65_536
/** A frame of fewer bytes is not worth its header. */
const LEAST_FRAME = 4
const FRAME_HEADER = 9

/** A growing array of bytes, framed as CPython frames protocols 4 and 5. */
export class Writer {
  #bytes = new Uint8Array(256)
  #view = new DataView(this.#bytes.buffer)
  #length = 0
  #isFraming = false
  /** Where the open frame's header will stand; -1 when none is open. */
  #frame = -1
  readonly #maxBytes: number

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** From here on bytes are put into frames. */
  startFraming(): void {
    this.#isFraming = true
  }

  byte(value: number): void {
    const at = this.#take(1)
    this.#view.setUint8(at, value)
  }

  uint16(value: number): void {
    const at = this.#take(2)
    this.#view.setUint16(at, value, true)
  }

  int32(value: number): void {
    const at = this.#take(4)
    this.#view.setInt32(at, value, true)
  }

  uint32(value: number): void {
    const at = this.#take(4)
    this.#view.setUint32(at, value, true)
  }

  length64(value: number): void {
    this.uint32(value % 2 ** 32)
    this.uint32(Math.floor(value / 2 ** 32))
  }

  float(value: number): void {
    const at = this.#take(8)
    this.#view.setFloat64(at, value)
  }

  bytes(bytes: Uint8Array): void {
    const at = this.#take(bytes.length)
    this.#bytes.set(bytes, at)
  }

  /** ASCII only. */
  ascii(text: string): void {
    const at = this.#take(text.length)
    for (let index = 0; index < text.length; index++) this.#bytes[at + index] = text.charCodeAt(index)
  }

  /** An opcode and its length, written by `header`, and the bytes that belong to it. */
  payload(header: () => void, bytes: Uint8Array): void {
    const wasFraming = this.#isFraming
    if (bytes.length >= FRAME_SIZE) {
      this.#closeFrame()
      this.#isFraming = false
    }
    header()
    this.bytes(bytes)
    this.#isFraming = wasFraming
  }

  /** Between two values: here a frame may end. */
  boundary(): void {
    if (this.#frame !== -1 && this.#length - this.#frame - FRAME_HEADER >= FRAME_SIZE) this.#closeFrame()
  }

  finish(): Uint8Array {
    this.#closeFrame()
    if (this.#length > this.#maxBytes) throw this.#tooLarge()
    return this.#bytes.slice(0, this.#length)
  }

  #closeFrame(): void {
    const frame = this.#frame
    if (frame === -1) return
    this.#frame = -1
    const start = frame + FRAME_HEADER
    const length = this.#length - start
    if (length < LEAST_FRAME) {
      this.#bytes.copyWithin(frame, start, this.#length)
      this.#length -= FRAME_HEADER
      return
    }
    this.#view.setUint8(frame, FRAME)
    this.#view.setUint32(frame + 1, length % 2 ** 32, true)
    this.#view.setUint32(frame + 5, Math.floor(length / 2 ** 32), true)
  }

  /** Where so many bytes may be put. Take before `#bytes` and `#view` are read: both change when they grow. */
  #take(length: number): number {
    if (this.#isFraming && this.#frame === -1) {
      this.#frame = this.#length
      this.#grow(FRAME_HEADER)
    }
    return this.#grow(length)
  }

  #grow(length: number): number {
    const start = this.#length
    this.#length += length
    if (this.#length > this.#bytes.length) {
      // The header of a frame that is not worth one is taken away again.
      if (this.#length > this.#maxBytes + FRAME_HEADER) throw this.#tooLarge()
      const larger = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2))
      larger.set(this.#bytes.subarray(0, start))
      this.#bytes = larger
      this.#view = new DataView(larger.buffer)
    }
    return start
  }

  #tooLarge(): PickleError {
    const message = `Cannot encode the value as a pickle: it is longer than maxBytes, ${this.#maxBytes}`
    return new PickleError('PICKLE_LIMIT', message, { limit: 'maxBytes' })
  }
}

/** What was written already, by its index in the reader's memo. */
export class WriteMemo {
  #length = 0
  readonly #objects = new Map<object, number>()
  /** Tuples and sets that are (part of) a key: there a set is another object, a frozenset. */
  readonly #frozen = new Map<object, number>()
  readonly #strings = new Map<string, number>()
  /** By module, then by name. */
  readonly #globals = new Map<string, Map<string, number>>()

  object(value: object, isKey: boolean): number | undefined {
    return this.#objectsFor(value, isKey).get(value)
  }

  string(text: string): number | undefined {
    return this.#strings.get(text)
  }

  global(module: string, name: string): number | undefined {
    return this.#globals.get(module)?.get(name)
  }

  /** These return the index in the reader's memo. */
  addObject(value: object, isKey: boolean): number {
    this.#objectsFor(value, isKey).set(value, this.#length)
    return this.#length++
  }

  addString(text: string): number {
    this.#strings.set(text, this.#length)
    return this.#length++
  }

  addGlobal(module: string, name: string): number {
    const names = this.#globals.get(module) ?? new Map<string, number>()
    this.#globals.set(module, names.set(name, this.#length))
    return this.#length++
  }

  /** For what is not referred to again, but has an index in CPython's memo. */
  addNameless(): number {
    return this.#length++
  }

  #objectsFor(value: object, isKey: boolean): Map<object, number> {
    return isKey && (value instanceof PyTuple || value instanceof Set) ? this.#frozen : this.#objects
  }
}
