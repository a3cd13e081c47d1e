import { UTC, type WallClock } from './clock.ts'

/** Major, minor and patch of a release of Celery. */
export type CeleryVersion = readonly [major: number, minor: number, patch: number]

/** The newest release. Later ones are taken to write dates in the same way. */
export const NEWEST_CELERY = '5.6.3'

/** Which times `date_done` holds. What is not local is UTC. */
export interface DateRules {
  /** Of tasks that are done: local time of the app; on PostgreSQL, that of the session. */
  readonly areTasksLocal: boolean
  /** Of groups: local time of the session. */
  readonly areGroupsLocal: boolean
  /** Of groups and unfinished tasks: the start of a process, which says nothing of their age. */
  readonly isFrozen: boolean
  readonly appClock: WallClock
}

/**
 * How a version of Celery writes `date_done`: as an aware datetime since 5.4, which since 5.5 is in the app's zone, but for
 * groups. PostgreSQL converts it to the time of its session, the others drop the zone.
 */
export function dateRulesOf(convertsDates: boolean, version: CeleryVersion, appClock: WallClock): DateRules {
  const isAware = isSince(version, [5, 4, 0])
  return {
    areTasksLocal: convertsDates ? isAware : isSince(version, [5, 5, 0]),
    areGroupsLocal: convertsDates && isAware,
    isFrozen: isFrozenIn(version),
    appClock,
  }
}

/** Whether Celery dates groups and unfinished tasks by the start of its process. */
export function isFrozenIn(version: CeleryVersion): boolean {
  return isSince(version, [5, 4, 0]) && !isSince(version, [5, 6, 3])
}

function isSince(version: CeleryVersion, first: CeleryVersion): boolean {
  const at = version.findIndex((part, index) => part !== first[index])
  return at === -1 || Number(version[at]) > Number(first[at])
}

/** The clock of tasks that are done where PostgreSQL does not convert them, and the one of other versions of Celery. */
export function taskClocks({ areTasksLocal, appClock }: DateRules): { clock: WallClock; other: WallClock } {
  return areTasksLocal ? { clock: appClock, other: UTC } : { clock: UTC, other: appClock }
}

/** Milliseconds. No zone of today sets its clocks by more. */
export const LONGEST_CHANGE = 3 * 3_600_000

/**
 * Milliseconds by which a date may be ahead of now: the clocks of writers may be, and a repeated hour is read as the later
 * one. A date further ahead was written by another rule.
 */
export const LARGEST_LEAD = 600_000 + LONGEST_CHANGE
