/** Values by index: an array as long as they come in order, as Python writes them, and a map for the rest. */
export class Memo {
  readonly #dense: unknown[] = []
  readonly #sparse = new Map<number, unknown>()

  get size(): number {
    return this.#dense.length + this.#sparse.size
  }

  /** `undefined` if there is none: no value in a pickle is. */
  get(index: number): unknown {
    return index < this.#dense.length ? this.#dense[index] : this.#sparse.get(index)
  }

  set(index: number, value: unknown): void {
    if (index < this.#dense.length) this.#dense[index] = value
    else if (index === this.#dense.length && this.#sparse.size === 0) this.#dense.push(value)
    else this.#sparse.set(index, value)
  }
}
