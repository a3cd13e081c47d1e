/** What an entry of the map weighs, in entries of the array. */
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
