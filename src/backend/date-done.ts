import type { Dialect } from '../dburi/types.ts'
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
  /** Of groups and unfinished tasks: nothing that tells how old they are. */
  readonly isFrozen: boolean
  readonly appClock: WallClock
}

/**
 * How a version of Celery writes `date_done`. It is an aware datetime since 5.4, and in the app's zone since 5.5, but for
 * groups: PostgreSQL turns one into the time of its session, the others drop the zone.
 */
export function dateRulesOf(dialect: Dialect, version: CeleryVersion, appClock: WallClock): DateRules {
  const isPostgresql = dialect === 'postgresql'
  const isAware = isSince(version, [5, 4, 0])
  return {
    areTasksLocal: isPostgresql ? isAware : isSince(version, [5, 5, 0]),
    areGroupsLocal: isPostgresql && isAware,
    isFrozen: isFrozenIn(version),
    appClock,
  }
}

/** Whether Celery stores groups and unfinished tasks with the time at which its process began: any may have passed since. */
export function isFrozenIn(version: CeleryVersion): boolean {
  return isSince(version, [5, 4, 0]) && !isSince(version, [5, 6, 3])
}

function isSince(version: CeleryVersion, first: CeleryVersion): boolean {
  const place = version.findIndex((part, at) => part !== first[at])
  return place === -1 || Number(version[place]) > Number(first[place])
}

/** The clock of tasks that are done where PostgreSQL does not convert them, and the one of other versions of Celery. */
export function taskClocks({ areTasksLocal, appClock }: DateRules): { clock: WallClock; other: WallClock } {
  return areTasksLocal ? { clock: appClock, other: UTC } : { clock: UTC, other: appClock }
}

/** Milliseconds. Of all clocks that are set back today, none shows more than so much twice. */
const LONGEST_REPEAT = 3 * 3_600_000

/**
 * Milliseconds by which a date may be read as later than it is now: as the clocks of writers may be ahead of ours, and an hour
 * that is shown twice is read as the later one. What is later by more was written by another rule.
 */
export const LARGEST_LEAD = 600_000 + LONGEST_REPEAT
