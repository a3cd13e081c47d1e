/** One who waits in a `WaitQueue`. It carries its own links, so that each costs one object. */
export class Waiter<Demand, Granted> {
  readonly demand: Demand
  readonly cameAt = performance.now()
  readonly resolve: (granted: Granted) => void
  readonly reject: (error: Error) => void
  /** When it has waited for too long, where that is later than for others. */
  extendedTo: number | null = null
  isQueued = false
  before: Waiter<Demand, Granted> | null = null
  after: Waiter<Demand, Granted> | null = null
  /** Called once, when it has left the queue. */
  onLeft: (() => void) | null = null

  constructor(demand: Demand, resolve: (granted: Granted) => void, reject: (error: Error) => void) {
    this.demand = demand
    this.resolve = resolve
    this.reject = reject
  }
}

export interface WaitQueueRules<W> {
  /** How long one may wait, in seconds. */
  readonly timeout: number
  /** Whether one whose time is over may wait once more as long; `place` counts those before it. */
  mayStay(waiter: W, place: number): boolean
  /** Those whose time is over are removed, and told so here. */
  onExpired(waiter: W): void
}

/**
 * First in, first out, with one deadline for all; a waiter may leave early. Each call takes constant time, and one timer
 * serves all.
 */
export class WaitQueue<Demand, Granted> {
  readonly #rules: WaitQueueRules<Waiter<Demand, Granted>>
  #first: Waiter<Demand, Granted> | null = null
  #last: Waiter<Demand, Granted> | null = null
  #size = 0
  #waits = 0
  #waitedMs = 0
  #timer: NodeJS.Timeout | null = null

  constructor(rules: WaitQueueRules<Waiter<Demand, Granted>>) {
    this.#rules = rules
  }

  get size(): number {
    return this.#size
  }

  /** How many have left it, and how long these have waited together. */
  get totals(): { readonly waits: number; readonly waitedMs: number } {
    return { waits: this.#waits, waitedMs: Math.round(this.#waitedMs) }
  }

  get first(): Waiter<Demand, Granted> | null {
    return this.#first
  }

  push(waiter: Waiter<Demand, Granted>): void {
    waiter.before = this.#last
    if (this.#last === null) this.#first = waiter
    else this.#last.after = waiter
    this.#last = waiter
    waiter.isQueued = true
    this.#size++
    if (this.#timer === null) this.#expireAt(this.#deadlineOf(waiter))
  }

  remove(waiter: Waiter<Demand, Granted>): void {
    if (!waiter.isQueued) return
    const { before, after } = waiter
    if (before === null) this.#first = after
    else before.after = after
    if (after === null) this.#last = before
    else after.before = before
    waiter.before = null
    waiter.after = null
    waiter.isQueued = false
    this.#size--
    this.#waits++
    this.#waitedMs += performance.now() - waiter.cameAt
    if (this.#size === 0 && this.#timer !== null) {
      clearTimeout(this.#timer)
      this.#timer = null
    }
    waiter.onLeft?.()
  }

  #deadlineOf({ cameAt, extendedTo }: Waiter<Demand, Granted>): number {
    return extendedTo ?? cameAt + this.#rules.timeout * 1_000
  }

  #expireAt(deadline: number): void {
    const wait = Math.max(1, Math.ceil(deadline - performance.now()))
    this.#timer = setTimeout(() => this.#expire(), wait)
  }

  /** Deadlines come in order, but for those that were extended, which stand in front. */
  #expire(): void {
    this.#timer = null
    const now = performance.now()
    const expired: Waiter<Demand, Granted>[] = []
    let next = Number.POSITIVE_INFINITY
    let place = 0
    for (let waiter = this.#first; waiter !== null; waiter = waiter.after) {
      if (this.#deadlineOf(waiter) <= now && this.#rules.mayStay(waiter, place)) {
        waiter.extendedTo = now + this.#rules.timeout * 1_000
      }
      if (this.#deadlineOf(waiter) <= now) {
        expired.push(waiter)
        continue
      }
      next = Math.min(next, this.#deadlineOf(waiter))
      if (waiter.extendedTo === null) break
      place++
    }
    if (next < Number.POSITIVE_INFINITY) this.#expireAt(next)
    for (const waiter of expired) {
      // One that left before it may have made room for it.
      if (!waiter.isQueued) continue
      this.remove(waiter)
      this.#rules.onExpired(waiter)
    }
  }
}
