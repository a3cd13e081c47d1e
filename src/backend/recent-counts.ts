import { type Checks, check, checkOptions } from '../options/check.ts'

/** How many tasks there were in each state, and when. */
export interface RecentCounts {
  readonly counts: Readonly<Record<string, number>>
  /** When they were counted: what was stored since is not in them. */
  readonly countedAt: Date
}

/** How old counts may be. */
export interface RecentCountsOptions {
  /**
   * Seconds from 0; 0 waits for a count that begins now.
   * @default 20 times as long as counting takes, so that it takes a twentieth of the time at most
   */
  readonly maxAge?: number | undefined
}

const CHECKS: Checks<RecentCountsOptions> = {
  maxAge: check((value) => typeof value === 'number' && value >= 0, 'a number of seconds from 0'),
}
/** What a count that took some time is good for, in times of that. */
const LIFETIME = 20

/** The last counts, for all who ask. One count is under way at a time. */
export class CountsCache {
  readonly #count: () => Promise<Readonly<Record<string, number>>>
  #last: { readonly recent: RecentCounts; readonly at: number; readonly took: number } | null = null
  #counting: { readonly since: number; readonly done: Promise<RecentCounts> } | null = null

  constructor(count: () => Promise<Readonly<Record<string, number>>>) {
    this.#count = count
  }

  /** @throws OptionError, and what counting throws */
  async get(options: RecentCountsOptions = {}): Promise<RecentCounts> {
    checkOptions('recentCounts', options, CHECKS)
    const { maxAge } = options
    const now = performance.now()
    const last = this.#last
    if (last !== null && now - last.at <= (maxAge === undefined ? last.took * LIFETIME : maxAge * 1_000)) {
      return last.recent
    }
    const underWay = this.#counting
    if (underWay === null) return this.#begin(now)
    if (maxAge === undefined || now - underWay.since <= maxAge * 1_000) return underWay.done
    // It began too long ago.
    await underWay.done.catch(() => {})
    return this.get(options)
  }

  #begin(since: number): Promise<RecentCounts> {
    const countedAt = new Date()
    const done = this.#count()
      .then((counts) => {
        const recent = { counts, countedAt }
        this.#last = { recent, at: since, took: performance.now() - since }
        return recent
      })
      .finally(() => {
        this.#counting = null
      })
    this.#counting = { since, done }
    return done
  }
}
