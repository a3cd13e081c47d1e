/**
 * Python's text encodings, lone surrogates kept ("surrogatepass"). The readers return `undefined` for bytes that are not
 * in the encoding.
 */

/** Longer texts that are put together by `+` stay trees, of a node for each character: hundreds of bytes. */
const SHORT = 12

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const utf8 = new TextEncoder()
const LONE_SURROGATE = /\p{Surrogate}/u
const LONE_SURROGATES = /\p{Surrogate}/gu

export function readUtf8(bytes: Uint8Array, start: number, end: number): string | undefined {
  if (end - start > SHORT) {
    try {
      return strictUtf8.decode(bytes.subarray(start, end))
    } catch {
      // Either lone surrogates or no UTF-8 at all: the slow way finds out.
      return readSurrogates(bytes, start, end)
    }
  }
  let text = ''
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number // at < end <= bytes.length
    if (byte > 0x7f) return readSurrogates(bytes, start, end)
    text += String.fromCharCode(byte)
  }
  return text
}

export function readLatin1(bytes: Uint8Array, start: number, end: number): string {
  if (end - start > SHORT) {
    return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1')
  }
  let text = ''
  // start <= at < end <= bytes.length
  for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at] as number)
  return text
}

/** UTF-8 in which the surrogates U+D800 to U+DFFF stand as three bytes each. */
function readSurrogates(bytes: Uint8Array, start: number, end: number): string | undefined {
  const text = new TextBuilder()
  let at = start
  while (at < end) {
    const lead = bytes[at] as number // at < end <= bytes.length
    const length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0
    if (length === 0 || at + length > end) return undefined
    let point = length === 1 ? lead : lead & (0xff >> (length + 1))
    for (let index = 1; index < length; index++) {
      const next = bytes[at + index] as number // at + length <= end
      if ((next & 0xc0) !== 0x80) return undefined
      point = (point << 6) | (next & 0x3f)
    }
    if (point > 0x10ffff || point < (LEAST[length] ?? 0)) return undefined
    text.addPoint(point)
    at += length
  }
  return text.finish()
}

/** The least code point that needs so many bytes: fewer would have done for what is below. */
const LEAST = [0, 0, 0x80, 0x800, 0x10000]

/** Encodes to UTF-8; a lone surrogate becomes three bytes, as Python's "surrogatepass" writes it. */
export function writeUtf8(text: string): Uint8Array {
  if (!LONE_SURROGATE.test(text)) return utf8.encode(text)
  const bytes = new Uint8Array(text.length * 3)
  let length = 0
  let start = 0
  for (const { index } of text.matchAll(LONE_SURROGATES)) {
    length += utf8.encodeInto(text.slice(start, index), bytes.subarray(length)).written
    const unit = text.charCodeAt(index)
    bytes[length++] = 0xe0 | (unit >> 12)
    bytes[length++] = 0x80 | ((unit >> 6) & 0x3f)
    bytes[length++] = 0x80 | (unit & 0x3f)
    start = index + 1
  }
  length += utf8.encodeInto(text.slice(start), bytes.subarray(length)).written
  return bytes.slice(0, length)
}

/** The argument of `UNICODE`: latin-1 with `\uXXXX` and `\UXXXXXXXX`; no other escapes. */
export function readRawUnicodeEscape(bytes: Uint8Array): string | undefined {
  const { length } = bytes
  let at = bytes.indexOf(BACKSLASH)
  if (at === -1) return readLatin1(bytes, 0, length)
  const text = new TextBuilder()
  for (let plain = 0; plain < at; plain++) text.add(bytes[plain] as number) // plain < at < length
  while (at < length) {
    const byte = bytes[at++] as number // at < length
    const letter = byte === BACKSLASH ? bytes[at] : undefined
    const digits = letter === SHORT_ESCAPE ? 4 : letter === LONG_ESCAPE ? 8 : 0
    if (digits > 0) {
      const point = readHex(bytes, at + 1, digits)
      if (point < 0 || point > 0x10ffff) return undefined
      text.addPoint(point)
      at += 1 + digits
    } else {
      text.add(byte)
      // What follows a backslash begins no escape.
      if (letter !== undefined) {
        text.add(letter)
        at++
      }
    }
  }
  return text.finish()
}

const BACKSLASH = 0x5c
const SHORT_ESCAPE = 0x75
const LONG_ESCAPE = 0x55

/** So many hexadecimal digits as a number; -1 when they are not all there. */
function readHex(bytes: Uint8Array, start: number, digits: number): number {
  let value = 0
  for (let at = start; at < start + digits; at++) {
    const digit = HEX_DIGITS[bytes[at] ?? 0] ?? NO_DIGIT
    if (digit === NO_DIGIT) return -1
    value = value * 16 + digit
  }
  return value
}

const NO_DIGIT = 0xff
/** The value of each byte that is a hexadecimal digit. */
const HEX_DIGITS = Uint8Array.from({ length: 256 }, (_, byte) => {
  const digit = Number.parseInt(String.fromCharCode(byte), 16)
  return Number.isNaN(digit) ? NO_DIGIT : digit
})

/** As CPython writes the argument of `UNICODE`: what would end the line or begin an escape is escaped. */
export function writeRawUnicodeEscape(text: string): string {
  return text.replace(/[\\\p{Cc}]|[^\0-\xff]/gu, (character) => {
    const point = character.codePointAt(0) ?? 0
    if (point <= 0xff && !ESCAPED.has(point)) return character
    const digits = point.toString(16)
    return point > 0xffff ? `\\U${digits.padStart(8, '0')}` : `\\u${digits.padStart(4, '0')}`
  })
}

/** NUL, both line ends, the end of a DOS file, and the backslash. */
const ESCAPED: ReadonlySet<number> = new Set([0x00, 0x0a, 0x0d, 0x1a, 0x5c])

/** The argument of `STRING`: a quoted Python 2 `str`, with the escapes of Python's bytes literals. */
export function readQuotedBytes(line: Uint8Array): Uint8Array | undefined {
  const quoted = trimmed(line)
  const [quote] = quoted
  const isQuoted = quoted.length >= 2 && (quote === 0x27 || quote === 0x22) && quoted.at(-1) === quote
  if (!isQuoted) return undefined
  const inner = quoted.subarray(1, -1)
  const { length } = inner
  const result = new Uint8Array(length)
  let written = 0
  for (let at = 0; at < length; ) {
    const byte = inner[at++] as number // at < length
    if (byte !== BACKSLASH) {
      result[written++] = byte
      continue
    }
    const letter = inner[at++]
    if (letter === undefined) return undefined
    if (letter === HEX_ESCAPE) {
      const value = readHex(inner, at, 2)
      if (value < 0) return undefined
      result[written++] = value
      at += 2
    } else if (isOctal(letter)) {
      let value = letter - 0x30
      for (let digits = 1; digits < 3 && isOctal(inner[at]); digits++)
        value = value * 8 + (inner[at++] ?? 0) - 0x30
      result[written++] = value
    } else {
      const meant = ESCAPES.get(letter)
      if (meant === undefined) result[written++] = BACKSLASH
      result[written++] = meant ?? letter
    }
  }
  return result.subarray(0, written)
}

const HEX_ESCAPE = 0x78

function isOctal(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x37
}

/** Without the blanks at both ends. */
function trimmed(line: Uint8Array): Uint8Array {
  let [start, end] = [0, line.length]
  while (start < end && isBlank(line[start])) start++
  while (end > start && isBlank(line[end - 1])) end--
  return line.subarray(start, end)
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0xa0 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d)
}

/** What a letter behind a backslash stands for. */
const ESCAPES: ReadonlyMap<number, number> = new Map([
  [0x5c, 0x5c], // \\
  [0x27, 0x27], // \'
  [0x22, 0x22], // \"
  [0x61, 0x07], // \a
  [0x62, 0x08], // \b
  [0x66, 0x0c], // \f
  [0x6e, 0x0a], // \n
  [0x72, 0x0d], // \r
  [0x74, 0x09], // \t
  [0x76, 0x0b], // \v
])

/** A Python 2 `str` has no encoding: text when it is ASCII, else bytes of its own. */
export function textOrBytes(bytes: Uint8Array): string | Uint8Array {
  return isAscii(bytes) ? readLatin1(bytes, 0, bytes.length) : bytes.slice()
}

function isAscii(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at++) if ((bytes[at] as number) > 0x7f) return false // at < bytes.length
  return true
}

/** Each character as one byte; `undefined` when one is above U+00FF. */
export function writeLatin1(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(text.length)
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    if (unit > 0xff) return undefined
    bytes[index] = unit
  }
  return bytes
}

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
