import type { PickleError } from '../errors.ts'
import type { Reader } from './reader.ts'

/** The values and marks of the pickle machine. Values below the last mark are out of reach. */
export class Stack {
  readonly #reader: Reader
  readonly #values: unknown[] = []
  /** How many values are below each mark. */
  readonly #marks: number[] = []
  /** How many are below the last one. */
  #floor = 0

  constructor(reader: Reader) {
    this.#reader = reader
  }

  get length(): number {
    return this.#values.length
  }

  /** Whether there is nothing above the last mark. */
  get isAtMark(): boolean {
    return this.#values.length <= this.#floor
  }

  get hasMark(): boolean {
    return this.#marks.length > 0
  }

  push(value: unknown): void {
    this.#values.push(value)
  }

  take(): unknown {
    if (this.#values.length <= this.#floor) throw this.#underflow()
    return this.#values.pop()
  }

  top(): unknown {
    const { length } = this.#values
    if (length <= this.#floor) throw this.#underflow()
    return this.#values[length - 1]
  }

  at(index: number): unknown {
    return this.#values[index]
  }

  replace(index: number, value: unknown): void {
    this.#values[index] = value
  }

  /** Where the topmost values start, when there are so many. */
  startOf(count: number): number {
    const start = this.#values.length - count
    if (start < this.#floor) throw this.#underflow()
    return start
  }

  /** Drops all from there on. */
  cut(start: number): void {
    this.#values.length = start
  }

  mark(): void {
    this.#floor = this.#values.length
    this.#marks.push(this.#floor)
  }

  /** Where the values above the mark start. */
  dropMark(): number {
    const start = this.#marks.pop()
    if (start === undefined) throw this.#reader.error('PICKLE_STACK', 'there is no mark')
    this.#floor = this.#marks.at(-1) ?? 0
    return start
  }

  takeMarked(): unknown[] {
    return this.#values.splice(this.dropMark())
  }

  /** Where the value stands that is directly below a mark which was just dropped. */
  below(start: number): number {
    if (start <= this.#floor) throw this.#underflow()
    return start - 1
  }

  #underflow(): PickleError {
    return this.#reader.error('PICKLE_STACK', 'the stack is empty')
  }
}

/** The weight of an entry of the map, in entries of the array. */
const SPARSE = 4
/** Python 2 counts from 1, and what is written by hand may leave more out. */
const LONGEST_GAP = 16

/** Values by index: an array as long as they come in order, as Python writes them, and a map for the rest. */
export class Memo {
  readonly #dense: unknown[] = []
  readonly #sparse = new Map<number, unknown>()
  /** Places of the array that were left out. */
  #holes = 0

  get size(): number {
    return this.#dense.length - this.#holes + this.#sparse.size
  }

  /** What it costs, in entries that come in order. */
  get weight(): number {
    return this.#dense.length + this.#sparse.size * SPARSE
  }

  /** `undefined` if there is none: no value in a pickle is. */
  get(index: number): unknown {
    return index < this.#dense.length ? this.#dense[index] : this.#sparse.get(index)
  }

  set(index: number, value: unknown): void {
    const dense = this.#dense
    if (index === dense.length && this.#sparse.size === 0) {
      dense.push(value)
    } else if (index < dense.length) {
      if (dense[index] === undefined) this.#holes--
      dense[index] = value
    } else if (index - dense.length <= LONGEST_GAP && this.#sparse.size === 0) {
      this.#holes += index - dense.length
      while (dense.length < index) dense.push(undefined)
      dense.push(value)
    } else {
      this.#sparse.set(index, value)
    }
  }
}
