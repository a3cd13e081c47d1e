interface Link<Item> {
  readonly item: Item
  after: Link<Item> | null
}

/** First in, first out. Each call costs the same however many wait, which an array's `shift` does not. */
export class Fifo<Item> {
  #first: Link<Item> | null = null
  #last: Link<Item> | null = null

  get first(): Item | undefined {
    return this.#first?.item
  }

  /** Adds one at the end. */
  push(item: Item): void {
    const link: Link<Item> = { item, after: null }
    if (this.#last === null) this.#first = link
    else this.#last.after = link
    this.#last = link
  }

  /** Takes the first one away; `undefined` if there is none. */
  shift(): Item | undefined {
    const first = this.#first
    if (first === null) return undefined
    this.#first = first.after
    if (first.after === null) this.#last = null
    return first.item
  }
}
