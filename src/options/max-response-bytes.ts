import { optionsOf } from '../dburi/secrets.ts'
import { invalid, toNumber } from './values.ts'

/** 1 GiB. */
export const DEFAULT_MAX_RESPONSE_BYTES = 2 ** 30

/** What the value must be: as a test, and in words. */
export const MAX_RESPONSE_BYTES_RULE = [
  (value: unknown) => Number.isSafeInteger(value) && Number(value) >= 1_024,
  'a whole number of bytes from 1024',
] as const

/** Its spellings in a dburi. */
export const MAX_RESPONSE_BYTES_NAMES: readonly string[] = ['max_response_bytes', 'maxResponseBytes']

type QueryOptions = Readonly<Record<string, string | readonly string[]>>

/**
 * Takes `max_response_bytes` out of the query arguments of a dburi, whatever its dialect: one that has no server has no
 * use for it, so that a dburi for tests may have it too.
 * @throws OptionError (`INVALID_OPTION`)
 */
export function takeMaxResponseBytes(options: QueryOptions): {
  maxResponseBytes: number | undefined
  rest: QueryOptions
} {
  let maxResponseBytes: number | undefined
  const rest: [string, string | readonly string[]][] = []
  for (const [name, value] of optionsOf({ options })) {
    if (!MAX_RESPONSE_BYTES_NAMES.includes(name)) {
      rest.push([name, value])
      continue
    }
    if (typeof value !== 'string' || maxResponseBytes !== undefined) throw invalid(name, 'given once')
    const [isValid, wanted] = MAX_RESPONSE_BYTES_RULE
    maxResponseBytes = toNumber(name, value)
    if (!isValid(maxResponseBytes)) throw invalid(name, wanted)
  }
  return { maxResponseBytes, rest: Object.fromEntries(rest) }
}
