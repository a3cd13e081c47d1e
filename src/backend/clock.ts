/** How far the two clocks may drift apart, in milliseconds, before the wall clock is read anew. */
const DRIFT = 2

let anchor = { wall: Date.now(), steady: performance.now() }

/** The time in UTC as Celery has it in SQLite: `YYYY-MM-DD HH:MM:SS.ffffff`, with microseconds that a Date has not. */
export function utcNow(): string {
  const wall = Date.now()
  const steady = performance.now()
  let milliseconds = anchor.wall + steady - anchor.steady
  if (Math.abs(milliseconds - wall) > DRIFT) {
    anchor = { wall, steady }
    milliseconds = wall
  }
  return utcText(milliseconds)
}

/** Milliseconds since 1970 in the same form. */
export function utcText(milliseconds: number): string {
  const whole = Math.floor(milliseconds)
  const microseconds = Math.floor((milliseconds - whole) * 1000)
  const text = new Date(whole).toISOString()
  return `${text.slice(0, 10)} ${text.slice(11, 23)}${String(microseconds).padStart(3, '0')}`
}

/**
 * A `date_done` as it was read. SQLite holds what was written: naive text is UTC, a zone that somebody wrote is believed,
 * and of a fraction a Date keeps milliseconds. `null` for what is no date at all.
 */
export function dateOf(text: unknown): Date | null {
  if (text instanceof Date) return text
  const match = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)\d*(Z|[+-]\d\d:\d\d)?$/.exec(
    String(text),
  )
  if (match === null) return null
  const date = new Date(`${match[1]}T${match[2]}${match[3] ?? 'Z'}`)
  return Number.isNaN(date.getTime()) ? null : date
}
