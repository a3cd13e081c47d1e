/**
 * Python's text encodings, lone surrogates kept ("surrogatepass"). The readers return `undefined` for bytes that are not
 * in the encoding.
 */

/** Longer texts that are put together by `+` stay trees, of a node for each character: hundreds of bytes. */
const SHORT = 12
/** V8 takes this many arguments of a call without complaint. */
const CHUNK = 8_192

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const utf8 = new TextEncoder()
const LONE_SURROGATE = /\p{Surrogate}/u
const LONE_SURROGATES = /\p{Surrogate}/gu

export function readUtf8(bytes: Uint8Array, start: number, end: number): string | undefined {
  if (end - start > SHORT) {
    try {
      return strictUtf8.decode(bytes.subarray(start, end))
    } catch {
      // Either lone surrogates or no UTF-8 at all: the slow way tells.
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
  let text = ''
  for (let at = start; at < end; at += CHUNK) {
    text += String.fromCharCode(...bytes.subarray(at, Math.min(at + CHUNK, end)))
  }
  return text
}

/** UTF-8 in which the surrogates U+D800 to U+DFFF stand as three bytes each. */
function readSurrogates(bytes: Uint8Array, start: number, end: number): string | undefined {
  const units: number[] = []
  let text = ''
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
    if (point > 0xffff) units.push(0xd7c0 + (point >> 10), 0xdc00 + (point & 0x3ff))
    else units.push(point)
    if (units.length >= CHUNK) text += String.fromCharCode(...units.splice(0))
    at += length
  }
  return text + String.fromCharCode(...units)
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
export function readRawUnicodeEscape(latin1: string): string | undefined {
  let isValid = true
  const text = latin1.replace(/\\(?:u(.{0,4})|U(.{0,8})|.|$)/gs, (whole, short?: string, long?: string) => {
    const digits = short ?? long
    if (digits === undefined) return whole
    const point = /^(?:[\da-f]{4}|[\da-f]{8})$/i.test(digits) ? Number.parseInt(digits, 16) : Number.NaN
    if (digits.length === (short === undefined ? 8 : 4) && point <= 0x10ffff)
      return String.fromCodePoint(point)
    isValid = false
    return ''
  })
  return isValid ? text : undefined
}

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
export function readQuotedBytes(latin1: string): string | undefined {
  const quote = latin1.charAt(0)
  const isQuoted = latin1.length >= 2 && (quote === "'" || quote === '"') && latin1.endsWith(quote)
  if (!isQuoted) return undefined
  let isValid = true
  const text = latin1
    .slice(1, -1)
    .replace(
      /\\(?:x(.{0,2})|([0-7]{1,3})|(.)|$)/gs,
      (whole, hex?: string, octal?: string, single?: string) => {
        if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8) & 0xff)
        if (single !== undefined) return ESCAPES.get(single) ?? whole
        if (hex !== undefined && /^[\da-f]{2}$/i.test(hex))
          return String.fromCharCode(Number.parseInt(hex, 16))
        isValid = false
        return ''
      },
    )
  return isValid ? text : undefined
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['\n', ''],
  ['\\', '\\'],
  ["'", "'"],
  ['"', '"'],
  ['a', '\x07'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ['v', '\v'],
])

/** A Python 2 `str` has no encoding: text when it is ASCII, else bytes. */
export function textOrBytes(bytes: Uint8Array): string | Uint8Array {
  return bytes.every((byte) => byte < 0x80) ? readLatin1(bytes, 0, bytes.length) : bytes.slice()
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
