import { BackendError } from '../errors.ts'

/**
 * A value of Python as plain JSON data, for callers who know nothing else: tuples and sets are arrays, dates and decimals
 * their texts, bytes their base64, integers beyond 2^53 their digits, and a Map is an object, or an array of pairs where a
 * key is neither text nor number. What JSON has no word for (NaN, Infinity) is `null`.
 * @throws BackendError `RESULT_UNREADABLE` for what holds itself
 */
export function plainJson(value: unknown): unknown {
  try {
    return JSON.parse(JSON.stringify(value, plainStep) ?? 'null')
  } catch (error) {
    // Its message names keys of the value.
    if (!(error instanceof TypeError)) throw error
    throw new BackendError('RESULT_UNREADABLE', 'Cannot tell what is stored in JSON: it holds itself')
  }
}

/** Dates, decimals and the like have told their texts before, by their `toJSON`. */
function plainStep(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  if (value instanceof Set) return [...value]
  if (value instanceof Map) return isNamed(value) ? Object.fromEntries(value) : [...value]
  if (!(value instanceof Uint8Array)) return value
  return Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64')
}

function isNamed(map: Map<unknown, unknown>): boolean {
  return [...map.keys()].every((key) => typeof key !== 'object' || key === null)
}
