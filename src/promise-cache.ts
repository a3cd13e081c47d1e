/** One promise per key: concurrent callers share it, and one that rejects is forgotten so that the next caller tries again. */
export class PromiseCache<Key, Value> {
  readonly #promises = new Map<Key, Promise<Value>>()

  get(key: Key, create: () => Promise<Value>): Promise<Value> {
    const known = this.#promises.get(key)
    if (known) return known

    const promise = create()
    this.#promises.set(key, promise)
    promise.catch(() => this.forget(key, promise))
    return promise
  }

  /** Forgets the key, unless it holds another promise by now. */
  forget(key: Key, promise: Promise<Value>): void {
    if (this.#promises.get(key) === promise) this.#promises.delete(key)
  }

  entries(): [Key, Promise<Value>][] {
    return [...this.#promises]
  }

  clear(): void {
    this.#promises.clear()
  }
}
