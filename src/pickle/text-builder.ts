/** Code units that become one string at a time: V8 takes as many arguments of a call without complaint. */
const CHUNK = 8_192
/** Up to here nothing is faster than such a call. */
const FEW = 32
/** One text is built at a time, and most are short. */
const units = new Uint16Array(CHUNK)

/**
 * Puts a text together from code units. With a string for each of them, and `+`, a character would cost a hundred bytes
 * until the text is first read.
 */
export class TextBuilder {
  #length = 0
  /** All units of the chunk, put together by "or". */
  #bits = 0
  #text = ''

  add(unit: number): void {
    if (this.#length === CHUNK) this.#flush()
    units[this.#length++] = unit
    this.#bits |= unit
  }

  addPoint(point: number): void {
    if (point <= 0xffff) {
      this.add(point)
    } else {
      this.add(0xd7c0 + (point >> 10))
      this.add(0xdc00 + (point & 0x3ff))
    }
  }

  finish(): string {
    this.#flush()
    return this.#text
  }

  #flush(): void {
    const chunk = units.subarray(0, this.#length)
    const isLatin1 = this.#bits <= 0xff
    this.#text +=
      isLatin1 && chunk.length > FEW ? Buffer.from(chunk).toString('latin1') : String.fromCharCode(...chunk)
    this.#length = 0
    this.#bits = 0
  }
}
