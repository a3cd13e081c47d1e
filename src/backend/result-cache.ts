/**
 * What was read and cannot change any more, the latest used of it: Celery's `result_cache_max`. What is read while
 * something is written may be older than that: it is kept only if nothing was forgotten since `mark`.
 */
export class ResultCache<Value> {
  readonly #most: number
  readonly #values = new Map<string, Value>()
  #mark = 0

  /** @param most -1 keeps nothing, 0 and `null` everything, as in Celery */
  constructor(most: number | null) {
    this.#most = most === null || most === 0 ? Number.POSITIVE_INFINITY : Math.max(0, most)
  }

  /** To be taken before something is read that will be kept. */
  get mark(): number {
    return this.#mark
  }

  get(id: string): Value | undefined {
    const value = this.#values.get(id)
    if (value !== undefined) this.#move(id, value)
    return value
  }

  set(id: string, value: Value, mark: number): void {
    if (this.#most === 0 || mark !== this.#mark) return
    this.#move(id, value)
    if (this.#values.size <= this.#most) return
    const [oldest] = this.#values.keys()
    if (oldest !== undefined) this.#values.delete(oldest)
  }

  delete(id: string): void {
    this.#mark++
    this.#values.delete(id)
  }

  clear(): void {
    this.#mark++
    this.#values.clear()
  }

  /** To the end, where the latest used stand. */
  #move(id: string, value: Value): void {
    this.#values.delete(id)
    this.#values.set(id, value)
  }
}
