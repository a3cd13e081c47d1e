import { assertOption } from '../options/values.ts'
import { listRequestOf } from './list.ts'
import { type ListRequest, rowsOf } from './statements/types.ts'

/** Which tasks to count. */
export interface DoneCountsOptions {
  /** Those done at this time or later. */
  readonly since: Date
  /** Those done before this time. */
  readonly until: Date
  /** Tasks that are read at most, the first of that time, 1 to 1,000,000. @default 100_000 */
  readonly limit?: number | undefined
}

/** How many tasks were done with one outcome, by their name and worker. */
export interface DoneCount {
  readonly status: string
  readonly name: string | null
  readonly worker: string | null
  readonly tasks: number
}

/** How many tasks were done in a time. */
export interface DoneCounts {
  /** The largest first, at most 1,000. */
  readonly counts: readonly DoneCount[]
  /** Whether there were more than `limit`, or more names and workers than fit. */
  readonly isCut: boolean
}

/** Rows of the answer. */
export const MOST_COUNTS = 1_000

/** @throws OptionError */
export function doneRequestOf({ since, until, limit = 100_000 }: DoneCountsOptions): ListRequest {
  const isCount = Number.isInteger(limit) && limit >= 1 && limit <= 1_000_000
  assertOption(isCount, 'limit', 'a whole number from 1 to 1000000')
  return { ...listRequestOf({ since, until, orderBy: 'dateDone', order: 'asc' }), limit }
}

export function doneCountsOf(answer: unknown, { limit }: ListRequest): DoneCounts {
  const counts = rowsOf(answer).map((row) => {
    const textAt = (column: string) => {
      const value: unknown = Reflect.get(row, column)
      return typeof value === 'string' ? value : null
    }
    return {
      status: textAt('status') ?? '',
      name: textAt('name'),
      worker: textAt('worker'),
      tasks: Number(Reflect.get(row, 'tasks')),
    }
  })
  const total = counts.reduce((sum, { tasks }) => sum + tasks, 0)
  return { counts, isCut: counts.length >= MOST_COUNTS || total >= limit }
}
