import { isDict } from './dicts.ts'
import type { Limits } from './limits.ts'
import type { Reader } from './reader.ts'
import type { PyObject, PyTuple } from './values.ts'

/** Up to here to copy something is no more work than to read the opcode that asks for it. */
const FEW_ITEMS = 16
const SHORT = 1_024
/** In opcodes, as measured for the slowest of the copies, that of a dict. */
const ITEM = 32
const CHARACTER = 1 / 8
const BYTE = 1 / 4

/**
 * What calls cost beyond their opcodes: an argument that takes two bytes to refer to may be copied or looked through in
 * each of them. The first use of a container is paid for by the opcodes that filled it.
 */
export class Effort {
  readonly #reader: Reader
  readonly #limit: number
  #spent = 0
  readonly #used = new Set<object>()

  constructor(reader: Reader, { maxOpcodes }: Limits) {
    this.#reader = reader
    this.#limit = maxOpcodes
  }

  /** @throws PickleError `PICKLE_LIMIT` */
  call(callee: PyObject, args: PyTuple, kwargs: unknown): void {
    this.#spend(callee.module)
    this.#spend(callee.name)
    this.#spend(args)
    for (let index = 0; index < args.length; index++) this.#spend(args[index])
    this.#spend(kwargs)
  }

  /** What a call gave was filled by no opcodes, so that not even its first use is free. */
  made(value: unknown): void {
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
    const reason = `its calls are more work than maxOpcodes, ${this.#limit}, opcodes`
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
