import type { Parameter } from 'postgres'
import { StatementError } from '../../errors.ts'

/** A parameter as postgres.js sends it without further ado. */
export type Spelled = string | null | Parameter<string>

/** postgres.js's way to send a text as a certain type. */
export type Typed = (value: string, oid: number) => Parameter<string>

const UNKNOWN = 0
const BOOL = 16
const BYTEA = 17
const INT8 = 20
/** What the protocol can count. */
const MOST = 65_534

/**
 * Spells the parameters of a statement as PostgreSQL's text format has them. postgres.js does so itself only when the
 * statement is already on its way, and a value it cannot spell (undefined, a number for bytea, a symbol) then rejects
 * another statement and stalls the connection.
 * @throws StatementError naming the position
 */
export function spellParameters(params: readonly unknown[], typed: Typed): Spelled[] {
  if (params.length > MOST) {
    throw new StatementError(
      'INVALID_PARAMETER',
      `Cannot run a statement with ${params.length} parameters: PostgreSQL takes ${MOST}. Split it into several.`,
    )
  }
  return params.map((param, index) => {
    if (param === null || typeof param === 'string') return param
    const { text, oid } = spell(param, index)
    return oid === UNKNOWN ? text : typed(text, oid)
  })
}

/** A value as text; `UNKNOWN` lets the server decide on the type, as it does for a quoted literal. */
function spell(param: unknown, index: number): { text: string; oid: number } {
  switch (typeof param) {
    case 'string':
    case 'number':
      return { text: String(param), oid: UNKNOWN }
    case 'bigint':
      return { text: String(param), oid: INT8 }
    case 'boolean':
      return { text: String(param), oid: BOOL }
    case 'object':
      return isBytes(param) ? { text: hex(param), oid: BYTEA } : { text: spellObject(param, index), oid: UNKNOWN }
    default:
      throw new StatementError(
        'INVALID_PARAMETER',
        `Cannot send parameter ${index + 1}: it is ${param === undefined ? 'undefined (use null)' : `a ${typeof param}`}.`,
      )
  }
}

function spellObject(param: object | null, index: number): string {
  if (Array.isArray(param)) return arrayLiteral(param, index)
  if (!(param instanceof Date)) return JSON.stringify(param)
  if (!Number.isNaN(param.getTime())) return param.toISOString()
  throw new StatementError('INVALID_PARAMETER', `Cannot send parameter ${index + 1}: it is an invalid Date.`)
}

function arrayLiteral(items: readonly unknown[], index: number): string {
  const elements = items.map((item) => {
    if (item === null) return 'NULL'
    if (Array.isArray(item)) return arrayLiteral(item, index)
    return `"${spell(item, index).text.replace(/[\\"]/g, '\\$&')}"`
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
