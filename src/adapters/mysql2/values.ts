import type { FieldPacket, TypedParameterValue } from 'mysql2'
import { isMarked, markName, unmarkRows } from '../../driver/column-names.ts'
import { StatementError } from '../../errors.ts'

/** A parameter as mysql2's `execute` sends it without further ado. */
export type BoundValue = string | number | boolean | null | Buffer | TypedParameterValue

/** mysql2's way to send a value as a 64-bit integer. */
export interface Integers {
  (value: bigint | number): TypedParameterValue
  unsigned(value: bigint | number): TypedParameterValue
}

/** What the protocol can count. */
const MOST = 65_535

const LONGEST_SIGNED = 2n ** 63n
const LONGEST_UNSIGNED = 2n ** 64n

/**
 * Binds the parameters of a statement. mysql2 would send whole numbers as floating point, which MySQL refuses in
 * places such as `limit ?`, dates in the process's time zone, and byte arrays as text.
 * @throws StatementError naming the position
 */
export function bindParameters(params: readonly unknown[], integers: Integers): BoundValue[] {
  if (params.length > MOST) {
    throw new StatementError(
      'INVALID_PARAMETER',
      `Cannot run a statement with ${params.length} parameters: MySQL takes ${MOST}. Split it into several.`,
    )
  }
  return params.map((param, index) => bind(param, index, integers))
}

function bind(param: unknown, index: number, integers: Integers): BoundValue {
  switch (typeof param) {
    case 'string':
      if (!/\p{Surrogate}/u.test(param)) return param
      throw unfit(index, 'a string with half a surrogate pair, which UTF-8 cannot say')
    case 'boolean':
      return param
    case 'number':
      if (Number.isSafeInteger(param)) return integers(param)
      if (Number.isFinite(param)) return param
      throw unfit(index, `${param}, which MySQL does not know`)
    case 'bigint':
      return bindBigint(param, integers)
    case 'object':
      return param === null ? null : bindObject(param, index)
    default:
      throw unfit(index, param === undefined ? 'undefined (use null)' : `a ${typeof param}`)
  }
}

/** Beyond 64 bits it is a number for DECIMAL, which takes digits. */
function bindBigint(param: bigint, integers: Integers): BoundValue {
  if (param >= -LONGEST_SIGNED && param < LONGEST_SIGNED) return integers(param)
  return param > 0n && param < LONGEST_UNSIGNED ? integers.unsigned(param) : String(param)
}

function bindObject(param: object, index: number): BoundValue {
  if (param instanceof ArrayBuffer) return Buffer.from(param)
  if (ArrayBuffer.isView(param)) return Buffer.from(param.buffer, param.byteOffset, param.byteLength)
  if (!(param instanceof Date)) return bindJson(param, index)
  if (Number.isNaN(param.getTime())) throw unfit(index, 'an invalid Date')
  const text = param.toISOString()
  // Outside of strict mode the server would store zeros.
  if (/^[+-]/.test(text))
    throw unfit(index, `a Date of the year ${param.getUTCFullYear()}: MySQL has 0 to 9999`)
  return text.replace('T', ' ').replace('Z', '')
}

function bindJson(param: object, index: number): string {
  let text: string | undefined
  try {
    text = JSON.stringify(param)
  } catch {
    // Its reason may repeat what is in it.
  }
  if (text === undefined) throw unfit(index, 'an object that JSON does not know')
  return text
}

function unfit(index: number, what: string): StatementError {
  return new StatementError('INVALID_PARAMETER', `Cannot send parameter ${index + 1}: it is ${what}.`)
}

/** `mysql2.Types.FLOAT`. */
const FLOAT = 4
/** What `decimals` says of a column without a fixed number of them. */
const NOT_FIXED = 31

/**
 * Prepared statements answer with all digits of a FLOAT, 3.14 as 3.140000104904175, where the text protocol rounds. One
 * statement is to read like another, so this does what every client of MySQL shows: six digits, or the decimals of
 * `float(m, d)`.
 * @param fields of one result its columns; of several, as a CALL has them, a list of that for each, or undefined
 */
export function roundFloats(answer: unknown, fields: readonly unknown[], asArrays: boolean): void {
  if (!Array.isArray(answer)) return
  if (isColumns(fields)) roundIn(answer, fields, asArrays)
  else
    for (const [index, each] of fields.entries()) if (isColumns(each)) roundIn(answer[index], each, asArrays)
}

/** Marks the names that mysql2 refuses, before it makes rows of the columns; whether there are any. */
export function markNames(fields: readonly FieldPacket[]): boolean {
  for (const field of fields) field.name = markName(field.name)
  return fields.some(({ name }) => isMarked(name))
}

/** Gives the rows of an answer, or of each of its results, the names that were marked. */
export function unmarkNames(answer: unknown): void {
  if (!Array.isArray(answer)) return
  if (answer.some(Array.isArray)) for (const rows of answer) unmarkNames(rows)
  else unmarkRows(answer)
}

function isColumns(fields: unknown): fields is readonly FieldPacket[] {
  return Array.isArray(fields) && fields.every((field) => field !== undefined && !Array.isArray(field))
}

function roundIn(rows: object[], fields: readonly FieldPacket[], asArrays: boolean): void {
  const names = fields.map(({ name }) => name)
  for (const [index, { columnType, name, decimals }] of fields.entries()) {
    // Of columns of the same name an object has the last.
    if (columnType !== FLOAT || (!asArrays && names.lastIndexOf(name) !== index)) continue
    const key = asArrays ? index : name
    for (const row of rows) {
      const value: unknown = Reflect.get(row, key)
      if (typeof value !== 'number') continue
      Reflect.set(row, key, Number(decimals < NOT_FIXED ? value.toFixed(decimals) : value.toPrecision(6)))
    }
  }
}
