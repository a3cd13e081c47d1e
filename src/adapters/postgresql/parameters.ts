import { StatementError } from '../../errors.ts'

/** The type of a parameter on whose type PostgreSQL itself decides, as it does for a quoted literal. */
export const UNKNOWN = 0
const BOOL = 16
const BYTEA = 17
const INT8 = 20
const NUMERIC = 1700

/** @throws StatementError when a statement has more parameters than the driver can send */
export function assertNotTooMany(params: readonly unknown[], most: number): void {
  if (params.length <= most) return
  throw new StatementError(
    'INVALID_PARAMETER',
    `Cannot run a statement with ${params.length} parameters: the driver takes ${most}. Split it into several.`,
  )
}

/**
 * A value in PostgreSQL's text format, with the type that it is sent as.
 * @throws StatementError naming its position
 */
export function bind(param: unknown, index: number): { text: string; oid: number } {
  switch (typeof param) {
    case 'string':
    case 'number':
      return { text: String(param), oid: UNKNOWN }
    case 'bigint':
      return { text: String(param), oid: BigInt.asIntN(64, param) === param ? INT8 : NUMERIC }
    case 'boolean':
      return { text: String(param), oid: BOOL }
    case 'object':
      return isBytes(param)
        ? { text: hex(param), oid: BYTEA }
        : { text: bindObject(param, index), oid: UNKNOWN }
    default:
      throw new StatementError(
        'INVALID_PARAMETER',
        `Cannot send parameter ${index + 1}: it is ${param === undefined ? 'undefined (use null)' : `a ${typeof param}`}.`,
      )
  }
}

function bindObject(param: object | null, index: number): string {
  if (Array.isArray(param)) return arrayLiteral(param, index)
  if (!(param instanceof Date)) return JSON.stringify(param)
  if (!Number.isNaN(param.getTime())) return bindDate(param)
  throw new StatementError('INVALID_PARAMETER', `Cannot send parameter ${index + 1}: it is an invalid Date.`)
}

/** ISO 8601 signs years of more than four digits and counts a year 0 before 1; PostgreSQL does neither. */
function bindDate(date: Date): string {
  const text = date.toISOString()
  const year = date.getUTCFullYear()
  if (year >= 1 && year <= 9999) return text
  const rest = text.slice(text.indexOf('-', 1))
  return year > 0 ? `${year}${rest}` : `${String(1 - year).padStart(4, '0')}${rest} BC`
}

function arrayLiteral(items: readonly unknown[], index: number): string {
  const elements = items.map((item) => {
    if (item === null) return 'NULL'
    if (Array.isArray(item)) return arrayLiteral(item, index)
    return `"${bind(item, index).text.replace(/[\\"]/g, '\\$&')}"`
  })
  return `{${elements.join(',')}}`
}

function isBytes(value: unknown): value is Uint8Array | ArrayBuffer {
  return value instanceof Uint8Array || value instanceof ArrayBuffer
}

function hex(bytes: Uint8Array | ArrayBuffer): string {
  const buffer =
    bytes instanceof ArrayBuffer
      ? Buffer.from(bytes)
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return `\\x${buffer.toString('hex')}`
}
