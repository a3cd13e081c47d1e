import { type Column, isTextType } from './column.ts'
import { bytesOfHex, textOfHex } from './hex.ts'

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
