import type { PyObject } from './values.ts'

/** The parts of a Python `timedelta`. */
export interface PyTimeDeltaFields {
  readonly days?: number
  readonly seconds?: number
  readonly microseconds?: number
}

/** A `datetime.timedelta`, normalised as Python does: only `days` is ever negative. */
export class PyTimeDelta {
  static readonly name: string = 'PyTimeDelta'

  readonly days: number
  /** 0 to 86_399 */
  readonly seconds: number
  /** 0 to 999_999 */
  readonly microseconds: number

  /** @throws RangeError if a field is no safe integer, or if there are more than 999,999,999 days */
  constructor({ days = 0, seconds = 0, microseconds = 0 }: PyTimeDeltaFields = {}) {
    if (![days, seconds, microseconds].every(Number.isSafeInteger)) {
      throw new RangeError('The fields of a timedelta are whole numbers')
    }
    const wholeSeconds = seconds + Math.floor(microseconds / 1e6)
    this.microseconds = modulo(microseconds, 1e6)
    this.seconds = modulo(wholeSeconds, 86_400)
    this.days = days + Math.floor(wholeSeconds / 86_400)
    if (Math.abs(this.days) > 999_999_999) throw new RangeError('A timedelta has at most 999999999 days')
  }

  /** Exact up to 285 years. */
  toMicroseconds(): number {
    return (this.days * 86_400 + this.seconds) * 1e6 + this.microseconds
  }

  /** Python's `total_seconds()`. */
  toSeconds(): number {
    return this.days * 86_400 + this.seconds + this.microseconds / 1e6
  }

  /** As Python's `str`: `1 day, 0:00:02.000003`. */
  toString(): string {
    const two = (value: number) => String(value).padStart(2, '0')
    const days = this.days === 0 ? '' : `${this.days} day${Math.abs(this.days) === 1 ? '' : 's'}, `
    const clock = `${Math.floor(this.seconds / 3_600)}:${two(Math.floor(this.seconds / 60) % 60)}:${two(this.seconds % 60)}`
    return `${days}${clock}${fraction(this.microseconds)}`
  }

  /** As `toString()`. */
  toJSON(): string {
    return this.toString()
  }
}

/** `.000003`, or nothing for none. */
export function fraction(microseconds: number): string {
  return microseconds === 0 ? '' : `.${String(microseconds).padStart(6, '0')}`
}

function modulo(value: number, divisor: number): number {
  return value - Math.floor(value / divisor) * divisor
}

/** A time zone: a fixed offset (`datetime.timezone`, UTC) or one of the IANA database (`zoneinfo.ZoneInfo`). */
export class PyTimeZone {
  static readonly name: string = 'PyTimeZone'

  /** `Europe/Paris`, `UTC+05:30`'s own name if it was given one, or `null`. */
  readonly name: string | null
  /** East of UTC; `null` when it depends on the moment, so that `name` decides. */
  readonly offset: PyTimeDelta | null
  /** What the pickle had, when it was a zone of pytz or dateutil; it is written back as that. */
  readonly origin: PyObject | null

  /** `datetime.timezone.utc` */
  static readonly utc = new PyTimeZone(new PyTimeDelta())

  constructor(offset: PyTimeDelta | null, name: string | null = null, origin: PyObject | null = null) {
    this.offset = offset
    this.name = name
    this.origin = origin
  }

  /**
   * Microseconds east of UTC for a wall-clock time, given as if it were UTC.
   * @returns `null` when this runtime does not know the zone
   */
  offsetAt(wallClock: number, fold: 0 | 1): number | null {
    if (this.offset !== null) return this.offset.toMicroseconds()
    const offset = zoneOf(this.name ?? '')?.offsetOf(wallClock, fold)
    return offset === undefined ? null : offset * 1_000
  }

  /** The zone's name, or its offset: `UTC+05:30`. */
  toString(): string {
    return this.name ?? (this.offset === null ? '' : `UTC${formatOffset(this.offset.toMicroseconds())}`)
  }

  /** As `toString()`. */
  toJSON(): string {
    return this.toString()
  }
}

const DAY = 86_400_000

/** `+05:30`, with seconds and microseconds only when there are any. */
export function formatOffset(microseconds: number): string {
  const magnitude = Math.abs(microseconds)
  const seconds = Math.floor(magnitude / 1e6)
  const digits = (value: number, length = 2) => String(value).padStart(length, '0')
  const minutes = `${digits(Math.floor(seconds / 3_600))}:${digits(Math.floor(seconds / 60) % 60)}`
  const fraction = magnitude % 1e6 === 0 ? '' : `.${digits(magnitude % 1e6, 6)}`
  const rest = seconds % 60 === 0 && fraction === '' ? '' : `:${digits(seconds % 60)}${fraction}`
  return `${microseconds < 0 ? '-' : '+'}${minutes}${rest}`
}

/** The offsets of an IANA zone, by `Intl`: a question takes it microseconds, so the answers for whole days are kept. */
export class Zone {
  readonly #format: Intl.DateTimeFormat
  readonly #days = new Map<number, number>()

  constructor(format: Intl.DateTimeFormat) {
    this.#format = format
  }

  /** Milliseconds east of UTC at a moment. */
  offsetAt(moment: number): number {
    const day = Math.floor(moment / DAY)
    const offset = this.#offsetOn(day)
    return offset === this.#offsetOn(day + 1) ? offset : zoneOffset(this.#format, moment)
  }

  /**
   * Milliseconds east of UTC for a wall-clock time, given as if it were UTC. Of a time that clocks show twice, fold 0 is
   * the earlier moment; of one that they skip, it goes by the offset before.
   */
  offsetOf(wallClock: number, fold: 0 | 1): number {
    const day = Math.floor(wallClock / DAY)
    const before = this.#offsetOn(day - 1)
    const after = this.#offsetOn(day + 2)
    if (before === after) return before
    // The clocks that may show it, the earlier moment (the larger offset) first.
    const offsets = [before, after].filter((offset) => this.offsetAt(wallClock - offset) === offset)
    const [first, second] = offsets.sort((one, other) => other - one)
    // In a gap no clock shows it: as PEP 495 has it, the offset before it for fold 0 and that after it for fold 1.
    const inGap = fold === 0 ? before : after
    return first === undefined || second === undefined ? (first ?? inGap) : fold === 0 ? first : second
  }

  /** The offset as a day begins in UTC, counted from 1970. */
  #offsetOn(day: number): number {
    const known = this.#days.get(day)
    if (known !== undefined) return known
    const offset = zoneOffset(this.#format, day * DAY)
    if (this.#days.size >= MOST_DAYS) forgetOldest(this.#days)
    this.#days.set(day, offset)
    return offset
  }
}

/** More zones than there are, and as many names that are none: bounds that only hostile pickles meet. */
const MOST_ZONES = 640
const MOST_DAYS = 4_096
const LONGEST_NAME = 64

const zones = new Map<string, Zone>()
/** By themselves, or they would drive out the zones. */
const unknownZones = new Set<string>()

/** The zone of a name; `null` when this runtime does not know it. */
export function zoneOf(timeZone: string): Zone | null {
  // Longer than any name: not worth a look-up.
  if (timeZone.length > LONGEST_NAME) return null
  // Intl does not tell upper from lower case: each spelling would have a zone of its own.
  const key = timeZone.toLowerCase()
  const known = zones.get(key)
  if (known !== undefined) return known
  if (unknownZones.has(key)) return null
  const format = makeFormat(timeZone)
  if (format === null) {
    if (unknownZones.size >= MOST_ZONES) forgetOldest(unknownZones)
    unknownZones.add(key)
    return null
  }
  const zone = new Zone(format)
  if (zones.size >= MOST_ZONES) forgetOldest(zones)
  zones.set(key, zone)
  return zone
}

function forgetOldest<Key>(cache: Map<Key, unknown> | Set<Key>): void {
  for (const oldest of cache.keys()) {
    cache.delete(oldest)
    return
  }
}

function makeFormat(timeZone: string): Intl.DateTimeFormat | null {
  // Intl also reads offsets like "+01:00"; those are no keys of ZoneInfo.
  if (!/^[A-Za-z][\w+\-/]{0,63}$/.test(timeZone)) return null
  try {
    return new Intl.DateTimeFormat('en-US', {
      timeZone,
      calendar: 'iso8601',
      hourCycle: 'h23',
      era: 'short',
      ...{ year: 'numeric', month: 'numeric', day: 'numeric' },
      ...{ hour: 'numeric', minute: 'numeric', second: 'numeric' },
    })
  } catch {
    // A zone this runtime does not have: the caller says so by leaving the offset out.
    return null
  }
}

/** Milliseconds east of UTC at a moment. */
function zoneOffset(format: Intl.DateTimeFormat, moment: number): number {
  const fields: Record<string, number> = {}
  let isBeforeChrist = false
  for (const { type, value } of format.formatToParts(moment)) {
    if (type === 'era') isBeforeChrist = value.startsWith('B')
    else fields[type] = Number(value)
  }
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = fields
  const wallClock = utcMilliseconds(isBeforeChrist ? 1 - year : year, month, day, hour, minute, second)
  return wallClock - Math.floor(moment / 1_000) * 1_000
}

/** `Date.UTC` takes the years 0 to 99 for those of the last century. */
export function utcMilliseconds(
  year: number,
  month: number,
  day: number,
  hour = 0,
  minute = 0,
  second = 0,
): number {
  return new Date(0).setUTCFullYear(year, month - 1, day) + ((hour * 60 + minute) * 60 + second) * 1_000
}
