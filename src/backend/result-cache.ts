/**
 * What was read and cannot change any more, the latest used of it: Celery's `result_cache_max`. What is read while it is
 * written may be older than that: it is kept only if it was not forgotten since the reading began.
 */
export class ResultCache<Value> {
  readonly #most: number
  readonly #values = new Map<string, Value>()
  /** Of what is being read: a mark that goes when it is forgotten. */
  readonly #marks = new Map<string, Mark>()

  /** @param most -1 keeps nothing, 0 and `null` everything, as in Celery */
  constructor(most: number | null) {
    this.#most = most === null || most === 0 ? Number.POSITIVE_INFINITY : Math.max(0, most)
  }

  get(id: string): Value | undefined {
    const value = this.#values.get(id)
    if (value !== undefined) this.#move(id, value)
    return value
  }

  /** Reads what these ids stand for; what `keep` is given while that goes on is kept, unless it was forgotten meanwhile. */
  async reading<Result>(
    ids: readonly string[],
    read: (keep: Keep<Value>) => Promise<Result>,
  ): Promise<Result> {
    if (this.#most === 0) return read(() => {})
    const marks = new Map([...new Set(ids)].map((id) => [id, this.#mark(id)]))
    try {
      return await read((id, value) => {
        if (marks.get(id) === this.#marks.get(id)) this.#keep(id, value)
      })
    } finally {
      for (const [id, mark] of marks) this.#unmark(id, mark)
    }
  }

  delete(id: string): void {
    this.#marks.delete(id)
    this.#values.delete(id)
  }

  clear(): void {
    this.#marks.clear()
    this.#values.clear()
  }

  #mark(id: string): Mark {
    const mark = this.#marks.get(id) ?? { readers: 0 }
    mark.readers++
    this.#marks.set(id, mark)
    return mark
  }

  /** The last reader takes it away, unless it is gone, or another one in its place. */
  #unmark(id: string, mark: Mark): void {
    mark.readers--
    if (mark.readers === 0 && this.#marks.get(id) === mark) this.#marks.delete(id)
  }

  #keep(id: string, value: Value): void {
    this.#move(id, value)
    if (this.#values.size <= this.#most) return
    const [oldest] = this.#values.keys()
    if (oldest !== undefined) this.#values.delete(oldest)
  }

  /** To the end, where the latest used stand. */
  #move(id: string, value: Value): void {
    this.#values.delete(id)
    this.#values.set(id, value)
  }
}

type Keep<Value> = (id: string, value: Value) => void

interface Mark {
  readers: number
}
