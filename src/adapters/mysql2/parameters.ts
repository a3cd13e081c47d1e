import type { TypedParameterValue } from 'mysql2'
import { StatementError } from '../../errors.ts'

/** A parameter as mysql2's `execute` sends it without further ado. */
export type Spelled = string | number | boolean | null | Buffer | TypedParameterValue

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
 * Spells the parameters of a statement. mysql2 would send whole numbers as floating point, which MySQL refuses in
 * places such as `limit ?`, dates in the process's time zone, and byte arrays as text.
 * @throws StatementError naming the position
 */
export function spellParameters(params: readonly unknown[], integers: Integers): Spelled[] {
  if (params.length > MOST) {
    throw new StatementError(
      'INVALID_PARAMETER',
      `Cannot run a statement with ${params.length} parameters: MySQL takes ${MOST}. Split it into several.`,
    )
  }
  return params.map((param, index) => spell(param, index, integers))
}

function spell(param: unknown, index: number, integers: Integers): Spelled {
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
      return spellBigint(param, integers)
    case 'object':
      return param === null ? null : spellObject(param, index)
    default:
      throw unfit(index, param === undefined ? 'undefined (use null)' : `a ${typeof param}`)
  }
}

/** Beyond 64 bits it is a number for DECIMAL, which takes digits. */
function spellBigint(param: bigint, integers: Integers): Spelled {
  if (param >= -LONGEST_SIGNED && param < LONGEST_SIGNED) return integers(param)
  return param > 0n && param < LONGEST_UNSIGNED ? integers.unsigned(param) : String(param)
}

function spellObject(param: object, index: number): Spelled {
  if (param instanceof ArrayBuffer) return Buffer.from(param)
  if (ArrayBuffer.isView(param)) return Buffer.from(param.buffer, param.byteOffset, param.byteLength)
  if (!(param instanceof Date)) return spellJson(param, index)
  if (Number.isNaN(param.getTime())) throw unfit(index, 'an invalid Date')
  const text = param.toISOString()
  // Outside of strict mode the server would store zeros.
  if (/^[+-]/.test(text))
    throw unfit(index, `a Date of the year ${param.getUTCFullYear()}: MySQL has 0 to 9999`)
  return text.replace('T', ' ').replace('Z', '')
}

function spellJson(param: object, index: number): string {
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
