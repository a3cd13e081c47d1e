import type { DoneCount } from '../backend/done-counts.ts'

/** How a task can be done, in the order of the layers of a chart from below. */
export const OUTCOMES = ['SUCCESS', 'FAILURE', 'REVOKED'] as const

/** A number for each outcome. */
export type Tally = Readonly<Record<(typeof OUTCOMES)[number], number>>

/** The numbers of each outcome, all names and workers together. */
export function tallyOf(counts: readonly DoneCount[]): Tally {
  const sum = (outcome: string) =>
    counts.reduce((total, { status, tasks }) => (status === outcome ? total + tasks : total), 0)
  return { SUCCESS: sum('SUCCESS'), FAILURE: sum('FAILURE'), REVOKED: sum('REVOKED') }
}

export function sumOf(tally: Tally): number {
  return OUTCOMES.reduce((sum, outcome) => sum + tally[outcome], 0)
}
