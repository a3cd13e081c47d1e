/** A column of a result: its name, and the type it was declared with, empty for an expression. */
export interface Column {
  readonly name: string
  readonly type: string
}

/** Whether a column is declared for texts, by SQLite's rules: INT comes first. */
function isTextType(type: string): boolean {
  return /CHAR|CLOB|TEXT/i.test(type) && !/INT/i.test(type)
}

/** How a column of its own arrives: as it is; with texts in hex; with long texts as blobs, short ones in hex, and blobs in hex behind a `b`. */
export type Guard = 'plain' | 'hex' | 'exact'

/** Below so many bytes a text is read sooner as a string of twice its length: each blob is an object of its own to the driver. */
const SHORT = 128

/** The SQL of a column that is guarded. */
export const GUARDS: Readonly<Record<Guard, (column: string) => string>> = {
  plain: (column) => column,
  hex: (column) => `iif(typeof(${column})='text',hex(${column}),${column})`,
  exact: (column) =>
    `case typeof(${column}) when 'text' then iif(octet_length(${column})<${SHORT},hex(${column}),cast(${column} as blob)) ` +
    `when 'blob' then 'b'||hex(${column}) else ${column} end`,
}

/** Texts are what others are declared for; of blobs and numbers, texts are the exception. */
export function guardOf({ type }: Column): Guard {
  return type === '' || isTextType(type) ? 'exact' : 'hex'
}

/** The value of a column that was guarded. */
export function decoded(value: unknown, guard: Guard): unknown {
  switch (typeof value) {
    case 'bigint':
      return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value
    case 'string':
      if (guard === 'hex') return textOfHex(value)
      if (guard === 'exact') return value[0] === 'b' ? bytesOfHex(value.slice(1)) : textOfHex(value)
      return value
    case 'object':
      return value instanceof ArrayBuffer && guard === 'exact' ? Buffer.from(value).toString() : value
    default:
      return value
  }
}

/** How a column is packed: `tagged` behind its type; `taggedHex` the same in hex, for blobs; or not at all. */
export type Packing = 'tagged' | 'taggedHex' | 'own'

type Packed = Exclude<Packing, 'own'>

/** The SQL of a column's place in the pack. */
export const PACKINGS: Readonly<Record<Packed, (column: string) => string>> = {
  tagged: (column) => `typeof(${column})||${column}`,
  taggedHex: (column) => `typeof(${column})||hex(${column})`,
}

/** Columns declared for REAL values stay out of the pack: as texts they would not be exact. */
export function packingOf({ type }: Column): Packing {
  if (/INT/i.test(type) || isTextType(type)) return 'tagged'
  if (/BLOB/i.test(type)) return 'taggedHex'
  return /REAL|FLOA|DOUB/i.test(type) ? 'own' : 'tagged'
}

/** A value that did not come through the pack as it was. */
export const INEXACT = Symbol('inexact')

/** The value at a column's place in the pack. */
export function unpacked(
  text: string,
  packing: Packed,
): string | number | bigint | ArrayBuffer | null | typeof INEXACT {
  return packing === 'tagged' ? untagged(text) : untaggedHex(text)
}

/** `text…`, `integer…`, `real…`, `blob…`: the letters of SQLite's `typeof` and the value. */
function untagged(text: string): string | number | bigint | typeof INEXACT {
  switch (text[0]) {
    case 't':
      return text.slice(4)
    case 'i':
      return integer(text.slice(7))
    default:
      return INEXACT
  }
}

function untaggedHex(text: string): string | number | bigint | ArrayBuffer | null | typeof INEXACT {
  switch (text[0]) {
    case 'b':
      return bytesOfHex(text.slice(4))
    case 'n':
      return null
    case 't':
      return textOfHex(text.slice(4))
    case 'i':
      return integer(textOfHex(text.slice(7)))
    default:
      return INEXACT
  }
}

/** A number where that is exact, else a bigint: a read need not fail because somebody stored 2^60. */
function integer(digits: string): number | bigint {
  const number = Number(digits)
  return Number.isSafeInteger(number) ? number : BigInt(digits)
}

/**
 * The bytes of a BLOB, as libSQL's clients have them. They own their memory: most small Buffers are slices of a pool
 * that they share with whatever else the process handles, and `buffer` of one of those is all of it.
 */
function bytesOfHex(hex: string): ArrayBuffer {
  const bytes = Buffer.allocUnsafeSlow(hex.length / 2)
  bytes.write(hex, 'hex')
  return bytes.buffer
}

/** A buffer for each text would take longer to make and to collect than the text. */
const scratch = Buffer.allocUnsafeSlow(1_024)

function textOfHex(hex: string): string {
  if (hex.length > 2 * scratch.length) return Buffer.from(hex, 'hex').toString()
  return scratch.toString('utf8', 0, scratch.write(hex, 'hex'))
}
