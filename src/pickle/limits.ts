import { OptionError } from '../errors.ts'

/** What a pickle may cost. Each limit is a whole number; going past one is a PickleError with `PICKLE_LIMIT`. */
export interface DecodeOptions {
  /** Bytes of the pickle. @default 67_108_864 (64 MiB) */
  readonly maxBytes?: number | undefined
  /**
   * Containers within containers in the result; a PyObject counts as two, itself and its arguments. CPython with its
   * usual recursion limit writes no deeper pickle than the default. @default 1_000
   */
  readonly maxDepth?: number | undefined
  /** Entries of the memo; one far from the others counts as four. @default 4_000_000 */
  readonly maxMemo?: number | undefined
  /**
   * Lists, tuples, dicts and objects made while reading. A set, a dict with keys other than texts and more than 64 bytes
   * count as three, which is what they weigh. @default 1_000_000
   */
  readonly maxObjects?: number | undefined
  /**
   * Keys of dicts and members of sets that are bigints; one of more than 64 bits counts as two. Those that a pickle makes
   * collide are compared each with all others. Floats and integers of 32 to 53 bits can be made to collide, too, but by
   * more work, and are not counted: 30,000 of them, in 300 kB, take a second, and ten times as many a hundred times as
   * long. Where pickles come from strangers, lower `maxBytes`. @default 8_192
   */
  readonly maxBigKeys?: number | undefined
  /**
   * Opcodes, and so also values of any kind; and, counted apart but in the same measure, what is more work than its opcodes
   * tell: 3 for a line of text (protocol 0) and for a bigint, 20 for a call and 30 more for a datetime, 10 for each
   * key of a dict or member of a set that has more than 1,000, and what calls cost that are given the same large argument
   * again, 32 for each item of a container, 1 for 8 characters or 4 bytes. @default 10_000_000
   */
  readonly maxOpcodes?: number | undefined
  /** Bytes of one integer, or those that the digits of a number in text make: beyond, even printing it is slow. @default 4_096 */
  readonly maxNumberBytes?: number | undefined
  /**
   * By how much the result grows when everything that is shared in it is written out in each place, as JSON does: 1 for a
   * value and for each key, and from the second place on 1 more for 8 characters of text (for 4/3, when a long text has
   * control characters, which JSON escapes) and for each byte.
   * @default eight times the bytes of the pickle, but at least 250_000 and at most 10_000_000
   */
  readonly maxExpansion?: number | undefined
}

export type Limits = { readonly [Name in keyof DecodeOptions]-?: number }

export function limitsOf(options: DecodeOptions, byteLength: number): Limits {
  const defaults: Limits = {
    maxBytes: 67_108_864,
    maxDepth: 1_000,
    maxMemo: 4_000_000,
    maxObjects: 1_000_000,
    maxBigKeys: 8_192,
    maxOpcodes: 10_000_000,
    maxNumberBytes: 4_096,
    maxExpansion: Math.min(Math.max(250_000, byteLength * 8), 10_000_000),
  }
  const limits: Record<keyof Limits, number> = { ...defaults }
  for (const [name, value] of Object.entries(options)) {
    if (!isLimit(name, defaults)) {
      throw new OptionError('UNKNOWN_OPTION', name, `Unknown option "${name}" of decode`)
    }
    if (value === undefined) continue
    limits[name] = checkLimit(name, value)
  }
  return limits
}

function isLimit(name: string, limits: Limits): name is keyof Limits {
  return Object.hasOwn(limits, name)
}

/** @throws OptionError */
export function checkLimit(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return value
  throw new OptionError('INVALID_OPTION', name, `The option "${name}" must be a whole number, 0 or more`)
}
