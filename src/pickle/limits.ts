import { OptionError } from '../errors.ts'
import { classesOf, type PyClasses } from './classes.ts'
import type { Reader } from './reader.ts'
import { PyDateTime } from './times.ts'
import { isDict, type PyObject, PyTuple } from './values.ts'

/**
 * What a pickle may cost, and what its classes mean. Each limit is a whole number; going past one is a PickleError with
 * `PICKLE_LIMIT`.
 */
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
  /**
   * Classes of Python that get a meaning here, by their full names; all others become a PyObject. They are applied when the
   * whole pickle has been read within the limits, by recursion: far beyond the default of `maxDepth` the call stack may not
   * suffice. @default {}
   */
  readonly classes?: PyClasses | undefined
}

export type Limits = { readonly [Name in Exclude<keyof DecodeOptions, 'classes'>]-?: number }

/** @throws OptionError */
export function limitsOf({ classes, ...options }: DecodeOptions, byteLength: number): Limits {
  classesOf(classes)
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

/** Up to here copying costs no more than reading the opcode. */
const FEW_ITEMS = 16
const SHORT = 1_024
/** In opcodes, as measured for the slowest of the copies, that of a dict. */
const ITEM = 32
const CHARACTER = 1 / 8
const BYTE = 1 / 4

/** Up to so many keys a dict or set costs no more than its opcodes; from then on each is so many more. */
export const MANY_KEYS = 1_000
const KEY_COST = 10
/** Python writes a large container in pieces of up to 1,000 items. */
const LARGE_PIECE = 64
/** Reading a number or text from a line of text, and making a bigint. */
const SLOW = 3
/** Making an object of what a call is given, and more where that is a point in time. */
const CALL = 20
const MOMENT = 30

/**
 * Limits work that the number of opcodes does not show: a call may copy or scan a large argument that takes two bytes
 * to refer to. The first use of a container is paid for by the opcodes that filled it.
 */
export class WorkBudget {
  readonly #reader: Reader
  readonly #limit: number
  #spent = 0
  readonly #used = new Set<object>()
  /** How many keys those have that were filled in large pieces. */
  readonly #keys = new Map<object, number>()
  /** The container filled last in small pieces, and its number of keys. */
  #filled: object | null = null
  #filledWith = 0

  constructor(reader: Reader, { maxOpcodes }: Limits) {
    this.#reader = reader
    this.#limit = maxOpcodes
  }

  /** A line of text was read, or a bigint made. @throws PickleError `PICKLE_LIMIT` */
  slow(): void {
    this.#add(SLOW)
  }

  /** A dict or set was given keys: where there are many, each costs a place in a hash table. @throws PickleError `PICKLE_LIMIT` */
  keys(container: object, count: number): void {
    if (this.#countKeys(container, count) > MANY_KEYS) this.#add(count * KEY_COST)
  }

  #countKeys(container: object, count: number): number {
    if (count >= LARGE_PIECE) {
      const keys = (this.#keys.get(container) ?? 0) + count
      this.#keys.set(container, keys)
      return keys
    }
    if (this.#filled !== container) {
      this.#filled = container
      this.#filledWith = 0
    }
    this.#filledWith += count
    return this.#filledWith
  }

  /** @throws PickleError `PICKLE_LIMIT` */
  call(callee: PyObject, args: PyTuple, kwargs: unknown): void {
    this.#add(CALL)
    this.#spend(callee.module)
    this.#spend(callee.name)
    this.#spend(args)
    for (let index = 0; index < args.length; index++) this.#spend(args[index])
    this.#spend(kwargs)
  }

  /** The result of a call was filled by no opcodes, so even its first use costs. @throws PickleError `PICKLE_LIMIT` */
  made(value: unknown): void {
    if (value instanceof PyDateTime) this.#add(MOMENT)
    if (typeof value === 'object' && value !== null && costOf(value) > 0) this.#used.add(value)
  }

  #spend(value: unknown): void {
    if (typeof value === 'string') {
      if (value.length > SHORT) this.#add(value.length * CHARACTER)
    } else if (typeof value === 'object' && value !== null) {
      const cost = costOf(value)
      if (cost === 0) return
      if (this.#used.has(value)) this.#add(cost)
      else this.#used.add(value)
    }
  }

  #add(cost: number): void {
    this.#spent += cost
    if (this.#spent <= this.#limit) return
    const reason = `it is more work than maxOpcodes, ${this.#limit}, opcodes`
    throw this.#reader.error('PICKLE_LIMIT', reason, 'maxOpcodes')
  }
}

function costOf(value: object): number {
  if (value instanceof Uint8Array) return value.length > SHORT ? value.length * BYTE : 0
  const count = countOf(value)
  return count > FEW_ITEMS ? count * ITEM : 0
}

function countOf(container: object): number {
  if (Array.isArray(container)) return container.length
  if (container instanceof Map || container instanceof Set) return container.size
  return isDict(container) ? Object.keys(container).length : 0
}

/**
 * Checks keys of dicts and members of sets. V8 hashes a bigint by its lowest 64 bits, without a seed: colliding ones
 * are compared each with all others, so their number is limited.
 */
export class Keys {
  readonly #reader: Reader
  readonly #limit: number
  #bigints = 0

  constructor(reader: Reader, { maxBigKeys }: Limits) {
    this.#reader = reader
    this.#limit = maxBigKeys
  }

  /**
   * Whether Python accepts it, that is, whether it is hashable.
   * @throws PickleError `PICKLE_LIMIT`
   */
  accepts(key: unknown): boolean {
    if (typeof key === 'bigint') this.#count(key)
    if (typeof key !== 'object' || key === null) return true
    return Array.isArray(key) ? key instanceof PyTuple : !isDict(key)
  }

  #count(key: bigint): void {
    // Longer ones collide more easily, and take longer to compare.
    this.#bigints += BigInt.asIntN(65, key) === key ? 1 : 2
    if (this.#bigints <= this.#limit) return
    const reason = `more keys that are bigints than maxBigKeys, ${this.#limit}`
    throw this.#reader.error('PICKLE_LIMIT', reason, 'maxBigKeys')
  }
}
