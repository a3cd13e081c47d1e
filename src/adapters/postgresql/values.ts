import { assertNotTooMany, bind, UNKNOWN } from './parameters.ts'

/** A text that is sent as a certain type. */
export interface TypedText {
  readonly value: string | null
  /** Its OID. */
  readonly type: number
}

/** A parameter as a driver sends it without further ado. */
export type BoundValue = string | null | TypedText

/** What postgres.js sends; the protocol could count two more. */
const MOST = 65_533

/** A driver's way to send a text as a certain type. */
export type Typed = (value: string, oid: number) => TypedText

/**
 * Encodes the parameters of a statement as PostgreSQL's text format has them. Drivers do so themselves only when the
 * statement is already on its way, and a value that postgres.js cannot encode (undefined, a number for bytea, a symbol)
 * then rejects another statement and stalls the connection.
 * @throws StatementError naming the position
 */
export function bindParameters(params: readonly unknown[], typed: Typed): BoundValue[] {
  assertNotTooMany(params, MOST)
  return params.map((param, index) => {
    if (param === null || typeof param === 'string') return param
    const { text, oid } = bind(param, index)
    return oid === UNKNOWN ? text : typed(text, oid)
  })
}

/** Reads the text form of a value. */
export type Parser = (text: string) => unknown

/**
 * The array types that every PostgreSQL has, by the types of their elements. Dates and `numeric` are not among them, whose
 * arrays Drizzle reads from their text.
 */
const ARRAY_OF: Readonly<Record<number, number>> = {
  16: 1000,
  17: 1001,
  18: 1002,
  20: 1016,
  21: 1005,
  23: 1007,
  25: 1009,
  26: 1028,
  114: 199,
  600: 1017,
  628: 629,
  650: 651,
  700: 1021,
  701: 1022,
  774: 775,
  829: 1040,
  869: 1041,
  1042: 1014,
  1043: 1015,
  1083: 1183,
  1186: 1187,
  1266: 1270,
  1560: 1561,
  1562: 1563,
  2950: 2951,
  3802: 3807,
}

const number: Parser = Number
const json: Parser = JSON.parse

/** What reads each type, as postgres.js does. All else stays text, dates among it: Drizzle reads them by itself. */
export function textParsers(): Record<number, Parser | undefined> {
  const parsers: Record<number, Parser | undefined> = {
    16: (text) => text === 't',
    17: parseBytea,
    21: number,
    23: number,
    26: number,
    114: json,
    700: number,
    701: number,
    3802: json,
  }
  addArrayParsers(parsers)
  return parsers
}

/**
 * Gives arrays of built-in types a parser by those of their elements. postgres.js would ask the catalogue for them on each new connection, which
 * costs a round trip, and ends the process when the connection breaks just then.
 */
export function addArrayParsers(parsers: Record<number, Parser | undefined>): void {
  for (const [element, array] of Object.entries(ARRAY_OF)) {
    const parse = parsers[Number(element)] ?? ((text: string) => text)
    parsers[array] = (text) => parseArray(text, parse)
  }
}

/** Reads PostgreSQL's text form of an array: `{1,NULL,{"a \"b\"",c}}`, with its bounds left aside. */
export function parseArray(text: string, parse: (element: string) => unknown): unknown[] {
  let at = text.indexOf('{')
  return readArray()

  function readArray(): unknown[] {
    const items: unknown[] = []
    at++
    while (at < text.length && text[at] !== '}') {
      if (text[at] === ',') at++
      items.push(readItem())
    }
    at++
    return items
  }

  function readItem(): unknown {
    if (text[at] === '{') return readArray()
    if (text[at] === '"') return parse(readQuoted())
    const start = at
    while (text[at] !== ',' && text[at] !== '}' && at < text.length) at++
    const item = text.slice(start, at)
    return item === 'NULL' ? null : parse(item)
  }

  function readQuoted(): string {
    let item = ''
    for (at++; text[at] !== '"' && at < text.length; at++) {
      if (text[at] === '\\') at++
      item += text[at]
    }
    at++
    return item
  }
}

/**
 * Reads both of PostgreSQL's text forms of bytes: `\x` with hexadecimal digits, and what `bytea_output=escape` makes of
 * them, where a backslash is doubled and what cannot be printed has three octal digits. A database or a role may ask for
 * the latter, and no pooler lets us ask otherwise when we connect.
 *
 * They own their memory: small Buffers are otherwise slices of a pool that they share with whatever else the process
 * handles, and code that takes `value.buffer` for the bytes (vector columns do) would read all of it.
 */
export function parseBytea(text: string): Buffer {
  if (text.startsWith('\\x')) return ownBytes(text.slice(2), 'hex', text.length / 2 - 1)
  const unescaped = text.replaceAll(/\\(?:\\|([0-3][0-7]{2}))/g, (_, octal: string | undefined) =>
    octal === undefined ? '\\' : String.fromCharCode(Number.parseInt(octal, 8)),
  )
  return ownBytes(unescaped, 'latin1', unescaped.length)
}

function ownBytes(text: string, encoding: 'hex' | 'latin1', length: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(length)
  // What is left unwritten would be other memory of the process.
  if (bytes.write(text, encoding) !== length) throw new Error('The server sent bytes in no known form')
  return bytes
}
