import { BackendError, StatementError } from '../../../errors.ts'
import type { ColumnFacts, TableFacts } from '../statements.ts'

/** What a row is to be written with: texts and bytes are looked at. */
type Values = readonly (readonly [column: string, value: unknown])[]

/**
 * Refuses what the columns of a table cannot hold. A server in strict mode would as well, with less to say; any other cuts
 * values to the length of their column, and writes `?` for characters that its charset does not have.
 * @throws BackendError `RESULT_TOO_LARGE`, StatementError for characters
 */
export function refuseUnfit(
  table: string,
  columns: ReadonlyMap<string, ColumnFacts>,
  { mostBytes }: Pick<TableFacts, 'mostBytes'>,
  values: Values,
): void {
  let sum = 0
  for (const [column, value] of values) {
    const { octets = null, charset = null } = columns.get(column) ?? {}
    if (typeof value === 'string' && !holds(charset, value)) throw unfitCharacters(column, charset)
    const size = sizeOf(value, charset)
    if (octets !== null && size > octets) throw tooLarge(table, column, size, octets)
    sum += size
  }
  if (mostBytes !== null && sum + OVERHEAD > mostBytes) throw packetTooLarge(sum, mostBytes)
}

/** Bytes of a packet beside the values that are counted. */
const OVERHEAD = 4_096

function sizeOf(value: unknown, charset: string | null): number {
  if (value instanceof Uint8Array) return value.length
  if (typeof value !== 'string') return 0
  return SINGLE_BYTE.has(charset ?? '') ? value.length : Buffer.byteLength(value)
}

/** Whether a charset has all of a text's characters, as far as it is known here: of most of them only that they have ASCII. */
export function holds(charset: string | null, text: string): boolean {
  if (charset === null || /^(?:utf8mb4|utf16|utf16le|utf32)$/.test(charset)) return true
  if (/^(?:utf8|utf8mb3|ucs2)$/.test(charset)) return !/[\u{10000}-\u{10ffff}]/u.test(text)
  return charset === 'latin1' ? LATIN1.test(text) : ASCII.test(text)
}

const SINGLE_BYTE: ReadonlySet<string> = new Set(['latin1', 'ascii'])
const ASCII = /^[\0-\x7f]*$/
/** MySQL's latin1 is Windows-1252. */
const LATIN1 = /^[\0-\x7f\xa0-\xffŒœŠšŸŽžƒˆ˜–—‘’‚“”„†‡•…‰‹›€™]*$/

function tooLarge(table: string, column: string, size: number, octets: number): BackendError {
  return new BackendError(
    'RESULT_TOO_LARGE',
    `Cannot store ${size} bytes: the column ${column} of the table ${table} holds ${octets}. ` +
      "manager.prepareModels(engine, { prepare: 'upgrade', widen: true }) gives it more room.",
  )
}

function packetTooLarge(size: number, mostBytes: number): BackendError {
  return new BackendError(
    'RESULT_TOO_LARGE',
    `Cannot store ${size} bytes: the server takes ${mostBytes} at once, as its max_allowed_packet says.`,
  )
}

function unfitCharacters(column: string, charset: string | null): StatementError {
  return new StatementError(
    'INVALID_PARAMETER',
    `Cannot store a text: it has characters that the column ${column}, whose charset is ${charset}, does not hold. ` +
      'Convert the table to utf8mb4.',
  )
}
