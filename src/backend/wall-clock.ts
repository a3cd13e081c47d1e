import { invalid } from '../option-text.ts'
import { type Zone, zoneOf } from '../pickle/zones.ts'

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
    // It will be shown again, and is read as of then: all times that are shown twice are read as later ones.
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
