import { isDict } from './dicts.ts'
import type { Limits } from './limits.ts'
import type { Reader } from './reader.ts'
import { PyDateTime } from './times.ts'
import type { PyObject, PyTuple } from './values.ts'

/** Up to here to copy something is no more work than to read the opcode that asks for it. */
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
 * What is more work than its opcodes tell. Calls: an argument that takes two bytes to refer to may be copied or looked through in
 * each of them. The first use of a container is paid for by the opcodes that filled it.
 */
export class Effort {
  readonly #reader: Reader
  readonly #limit: number
  #spent = 0
  readonly #used = new Set<object>()
  /** How many keys those have that were filled in large pieces. */
  readonly #keys = new Map<object, number>()
  /** What was filled last in small pieces, and how many keys it was given. */
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

  /** What a call gave was filled by no opcodes, so that not even its first use is free. @throws PickleError `PICKLE_LIMIT` */
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
