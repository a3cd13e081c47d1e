/** An entry of a map, and when it was last moved behind the others. */
interface Entry<Value> {
  readonly value: Value
  movedAt: number
}

/**
 * A map of at most `size` entries, of which the least recently used one goes for a new one. An entry is moved behind the
 * others only when it has not been for `size / 2` uses: moving it each time would cost more than finding it. So what goes
 * was not among the last `size / 2` that were used.
 */
export class LruMap<Key, Value> {
  readonly #size: number
  readonly #entries = new Map<Key, Entry<Value>>()
  #uses = 0

  /** @param size 0 to keep nothing */
  constructor(size: number) {
    this.#size = size
  }

  get isFull(): boolean {
    return this.#entries.size >= this.#size
  }

  /** Without using it. */
  has(key: Key): boolean {
    return this.#entries.has(key)
  }

  /** The value of a key, which becomes the most recently used one. */
  get(key: Key): Value | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    const now = ++this.#uses
    if (now - entry.movedAt > this.#size / 2) {
      entry.movedAt = now
      this.#entries.delete(key)
      this.#entries.set(key, entry)
    }
    return entry.value
  }

  /** @returns what went for it */
  set(key: Key, value: Value): Value | undefined {
    if (this.#size <= 0) return undefined
    this.#entries.delete(key)
    const oldest = this.isFull ? this.#takeOldest() : undefined
    this.#entries.set(key, { value, movedAt: ++this.#uses })
    return oldest
  }

  /** Forgets everything. */
  clear(): void {
    this.#entries.clear()
  }

  #takeOldest(): Value | undefined {
    for (const [key, { value }] of this.#entries) {
      this.#entries.delete(key)
      return value
    }
    return undefined
  }
}
