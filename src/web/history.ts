import { setTimeout as sleep } from 'node:timers/promises'
import type { DoneCount, DoneCounts, DoneCountsOptions } from '../backend/done-counts.ts'

/** Times that a chart can be of, and how it is divided. */
export const RANGES = {
  '1h': { title: 'the last hour', step: 60_000, steps: 60 },
  '24h': { title: 'the last 24 hours', step: 1_800_000, steps: 48 },
  '7d': { title: 'the last 7 days', step: 10_800_000, steps: 56 },
  '30d': { title: 'the last 30 days', step: 43_200_000, steps: 60 },
} as const
export type Range = keyof typeof RANGES
export const RANGE_NAMES: readonly Range[] = ['1h', '24h', '7d', '30d']

/** What was done in a part of the time. */
export interface Step {
  /** Milliseconds since 1970. */
  readonly from: number
  readonly until: number
  /** `null` as long as nobody counted. */
  readonly counts: readonly DoneCount[] | null
  /** Whether there may be more. */
  readonly isCut: boolean
}

/** A range as it was counted. */
export interface Counted {
  readonly range: Range
  /** The oldest first. */
  readonly steps: readonly Step[]
  /** When the newest of them was counted. */
  readonly countedAt: Date | null
}

interface Part extends DoneCounts {
  readonly countedAt: number
}

/** Clocks of workers may be late by so much: what is older does not change any more. */
const SETTLED_AFTER = 120_000
/** The newest parts are counted again when they are older than this, or 20 times what counting took. */
const FRESH_FOR = 10_000
const LIFETIME = 20

/**
 * Counts what was done, part by part and once for all who look: a part that is over is not counted again, and one statement
 * runs at a time, with a rest after it that is as long.
 */
export class History {
  readonly #count: (options: DoneCountsOptions) => Promise<DoneCounts>
  readonly #parts = new Map<Range, Map<number, Part>>()
  readonly #counting = new Map<Range, Promise<void>>()
  readonly #counted = new Map<Range, { readonly at: number; readonly took: number }>()
  #last: Promise<void> = Promise.resolve()

  constructor(count: (options: DoneCountsOptions) => Promise<DoneCounts>) {
    this.#count = count
  }

  /** What is known of a range now. */
  of(range: Range, now = Date.now()): Counted {
    const parts = this.#partsOf(range)
    const steps = startsOf(range, now).map((from) => {
      const part = parts.get(from)
      return {
        from,
        until: from + RANGES[range].step,
        counts: part?.counts ?? null,
        isCut: part?.isCut ?? false,
      }
    })
    const newest = Math.max(...[...parts.values()].map(({ countedAt }) => countedAt), 0)
    return { range, steps, countedAt: newest === 0 ? null : new Date(newest) }
  }

  /** Counts what is missing or old; resolves when it is counted. One run for all who ask. @throws what counting throws */
  refresh(range: Range): Promise<void> {
    const underWay = this.#counting.get(range)
    if (underWay !== undefined) return underWay
    const counted = this.#counted.get(range)
    const now = Date.now()
    if (counted !== undefined && now - counted.at < Math.max(FRESH_FOR, counted.took * LIFETIME))
      return Promise.resolve()
    // One range after the other.
    const run = this.#last
      .catch(() => {})
      .then(() => this.#run(range))
      .finally(() => this.#counting.delete(range))
    this.#counting.set(range, run)
    this.#last = run
    return run
  }

  async #run(range: Range): Promise<void> {
    const parts = this.#partsOf(range)
    const now = Date.now()
    const starts = startsOf(range, now)
    for (const from of parts.keys()) if (!starts.includes(from)) parts.delete(from)
    let took = 0
    for (const from of starts.reverse()) {
      const until = from + RANGES[range].step
      const known = parts.get(from)
      if (known !== undefined && known.countedAt > until + SETTLED_AFTER) continue
      const startedAt = performance.now()
      const counts = await this.#count({ since: new Date(from), until: new Date(until) })
      const spent = performance.now() - startedAt
      took += spent
      parts.set(from, { ...counts, countedAt: Date.now() })
      await sleep(Math.min(spent, 1_000))
    }
    this.#counted.set(range, { at: Date.now(), took })
  }

  #partsOf(range: Range): Map<number, Part> {
    const parts = this.#parts.get(range) ?? new Map<number, Part>()
    this.#parts.set(range, parts)
    return parts
  }
}

/** Where the parts of a range begin, the oldest first; all ranges have the same borders for everybody. */
function startsOf(range: Range, now: number): number[] {
  const { step, steps } = RANGES[range]
  const newest = Math.floor(now / step) * step
  return Array.from({ length: steps }, (_, at) => newest - (steps - 1 - at) * step)
}
