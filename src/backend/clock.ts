import { invalid } from '../options/values.ts'
import { type Zone, zoneOf } from '../pickle/zones.ts'

/** How far the two clocks may drift apart, in milliseconds, before the wall clock is read anew. */
const DRIFT = 2

let anchor = { wall: Date.now(), steady: performance.now() }

/**
 * The time of a clock in Celery's form on SQLite: `YYYY-MM-DD HH:MM:SS.ffffff`, with microseconds, which a Date has not.
 */
export function nowText(clock: WallClock): string {
  const wall = Date.now()
  const steady = performance.now()
  let milliseconds = anchor.wall + steady - anchor.steady
  if (Math.abs(milliseconds - wall) > DRIFT) {
    anchor = { wall, steady }
    milliseconds = wall
  }
  return textOf(milliseconds + clock.offsetAt(milliseconds))
}

/** Milliseconds since 1970 in the same form. */
export function textOf(milliseconds: number): string {
  const whole = Math.floor(milliseconds)
  const microseconds = Math.floor((milliseconds - whole) * 1000)
  const text = new Date(whole).toISOString()
  return `${text.slice(0, 10)} ${text.slice(11, 23)}${String(microseconds).padStart(3, '0')}`
}

/** The least text that is read as this instant or a later one, within the years that every database can store. */
export function leastText(clock: WallClock, instant: number): string {
  return textOf(Math.min(Math.max(clock.leastShown(instant), FIRST), LAST))
}

const FIRST = Date.parse('0001-01-01T00:00:00.000Z')
const LAST = Date.parse('9999-12-31T23:59:59.999Z')

/**
 * A `date_done` as it was read. SQLite holds any text: without a zone it is the time of the clock, and a fraction is cut to
 * milliseconds. `null` for what is no date.
 */
export function dateOf(text: unknown, clock: WallClock): Date | null {
  if (text instanceof Date) return new Date(clock.instantOf(text.getTime()))
  const match = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)\d*(Z|[+-]\d\d:\d\d)?$/.exec(
    String(text),
  )
  if (match === null) return null
  const [, day, time, zone] = match
  const moment = Date.parse(`${day}T${time}${zone ?? 'Z'}`)
  if (Number.isNaN(moment)) return null
  return new Date(zone === undefined ? clock.instantOf(moment) : moment)
}

/** What clocks show in a time zone: milliseconds counted as if they were those of UTC. */
export interface WallClock {
  /** Milliseconds that it is ahead of UTC. */
  offsetAt(instant: number): number
  /** The instant at which it shows a time; the later one of a time that it shows twice, or skips. */
  instantOf(shown: number): number
  /** The least time shown that `instantOf` takes for this instant or a later one. */
  leastShown(instant: number): number
}

export const UTC: WallClock = {
  offsetAt: () => 0,
  instantOf: (shown) => shown,
  leastShown: (instant) => instant,
}

/** @throws OptionError for a zone that this runtime does not know */
export function wallClockOf(timezone: string): WallClock {
  if (timezone === 'UTC') return UTC
  const zone = zoneOf(timezone)
  if (zone === null) throw invalid('timezone', 'the name of a time zone, as in Europe/Paris')

  const offsetAt = (instant: number) => zone.offsetAt(instant)
  const instantOf = (shown: number) => shown - Math.min(zone.offsetOf(shown, 0), zone.offsetOf(shown, 1))
  const leastShown = (instant: number) => {
    const shown = instant + offsetAt(instant)
    const latest = instantOf(shown)
    if (latest === instant) return shown
    // The clock shows this time again, and `instantOf` takes the later one: the first time that is not repeated counts.
    const change = changeBetween(zone, instant, latest)
    return change + offsetAt(change)
  }
  return { offsetAt, instantOf, leastShown }
}

/** The first millisecond of the offset that a zone has at `after`, and had not at `before`. */
function changeBetween(zone: Zone, before: number, after: number): number {
  const offset = zone.offsetAt(after)
  let [last, first] = [Math.floor(before), Math.ceil(after)]
  while (first - last > 1) {
    const middle = Math.floor((last + first) / 2)
    if (zone.offsetAt(middle) === offset) first = middle
    else last = middle
  }
  return first
}
