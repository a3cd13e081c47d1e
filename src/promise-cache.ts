/**
 * One promise for each key: concurrent callers share it, and one that rejects is forgotten, so that the next caller tries
 * again. A key that nobody else holds takes its promise along.
 */
export class PromiseCache<Key extends object, Value> {
  readonly #promises = new WeakMap<Key, Promise<Value>>()

  get(key: Key, create: () => Promise<Value>): Promise<Value> {
    const known = this.#promises.get(key)
    if (known !== undefined) return known

    const promise = create()
    this.#promises.set(key, promise)
    promise.catch(() => this.#promises.delete(key))
    return promise
  }
}
