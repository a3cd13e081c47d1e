import type { PyObject } from './values.ts'
import { formatOffset, fraction, PyTimeZone, utcMilliseconds } from './zones.ts'

/** A zone of a kind we do not know stays as it was pickled. */
export type TimeZoneInfo = PyTimeZone | PyObject

/** The parts of a Python `date`. */
export interface PyDateFields {
  readonly year: number
  readonly month: number
  readonly day: number
}

/** The parts of a Python `time`. */
export interface PyTimeFields {
  readonly hour?: number
  readonly minute?: number
  readonly second?: number
  readonly microsecond?: number
  readonly tzinfo?: TimeZoneInfo | null
  /** 1 for the later of two moments that the clock shows the same. @default 0 */
  readonly fold?: 0 | 1
}

/** A `datetime.date`. */
export class PyDate {
  static readonly name: string = 'PyDate'

  readonly year: number
  /** 1 to 12 */
  readonly month: number
  readonly day: number

  /** @throws RangeError if there is no such day in the years 1 to 9999 */
  constructor({ year, month, day }: PyDateFields) {
    checkDate(year, month, day)
    this.year = year
    this.month = month
    this.day = day
  }

  /** `2024-02-29` */
  toString(): string {
    return isoDate(this)
  }

  /** As `toString()`. */
  toJSON(): string {
    return this.toString()
  }

  /** The day's first moment in UTC. */
  toDate(): Date {
    return new Date(utcMilliseconds(this.year, this.month, this.day))
  }
}

/** A `datetime.time`. */
export class PyTime {
  static readonly name: string = 'PyTime'

  readonly hour: number
  readonly minute: number
  readonly second: number
  readonly microsecond: number
  readonly tzinfo: TimeZoneInfo | null
  readonly fold: 0 | 1

  /** @throws RangeError if the clock never shows it */
  constructor({
    hour = 0,
    minute = 0,
    second = 0,
    microsecond = 0,
    tzinfo = null,
    fold = 0,
  }: PyTimeFields = {}) {
    checkTime(hour, minute, second, microsecond)
    this.hour = hour
    this.minute = minute
    this.second = second
    this.microsecond = microsecond
    this.tzinfo = tzinfo
    this.fold = fold
  }

  /** `01:02:03.000004+00:00`; the offset only when it does not depend on the day. */
  toString(): string {
    const offset = this.tzinfo instanceof PyTimeZone ? this.tzinfo.offset : null
    return `${isoTime(this)}${offset === null ? '' : formatOffset(offset.toMicroseconds())}`
  }

  /** As `toString()`. */
  toJSON(): string {
    return this.toString()
  }
}

/** A `datetime.datetime`, naive when `tzinfo` is `null`. */
export class PyDateTime {
  static readonly name: string = 'PyDateTime'

  readonly year: number
  /** 1 to 12 */
  readonly month: number
  readonly day: number
  readonly hour: number
  readonly minute: number
  readonly second: number
  readonly microsecond: number
  readonly tzinfo: TimeZoneInfo | null
  readonly fold: 0 | 1

  /** @throws RangeError if there is no such day in the years 1 to 9999, or if the clock never shows it */
  constructor(fields: PyDateFields & PyTimeFields) {
    const { year, month, day, hour = 0, minute = 0, second = 0, microsecond = 0 } = fields
    checkDate(year, month, day)
    checkTime(hour, minute, second, microsecond)
    this.year = year
    this.month = month
    this.day = day
    this.hour = hour
    this.minute = minute
    this.second = second
    this.microsecond = microsecond
    this.tzinfo = fields.tzinfo ?? null
    this.fold = fields.fold ?? 0
  }

  /** The same moment, in UTC. @throws RangeError outside the years 1 to 9999 */
  static fromDate(date: Date): PyDateTime {
    return new PyDateTime({
      year: date.getUTCFullYear(),
      month: date.getUTCMonth() + 1,
      day: date.getUTCDate(),
      hour: date.getUTCHours(),
      minute: date.getUTCMinutes(),
      second: date.getUTCSeconds(),
      microsecond: date.getUTCMilliseconds() * 1_000,
      tzinfo: PyTimeZone.utc,
    })
  }

  /** As Python's `isoformat`: `2024-01-02T03:04:05.678901+00:00`; no offset when naive or when it is not known. */
  toString(): string {
    const offset = this.utcOffset()
    return `${isoDate(this)}T${isoTime(this)}${offset === null ? '' : formatOffset(offset)}`
  }

  /** As `toString()`. */
  toJSON(): string {
    return this.toString()
  }

  /**
   * The moment, cut to milliseconds. A naive one is taken to be in UTC, as Celery stores them.
   * @returns an invalid Date when the offset of its `tzinfo` is not known
   */
  toDate(): Date {
    const offset = this.tzinfo === null ? 0 : (this.utcOffset() ?? Number.NaN)
    return new Date(wallClock(this) + Math.floor((this.microsecond - offset) / 1_000))
  }

  /** Microseconds east of UTC; `null` when naive or when it is not known. */
  utcOffset(): number | null {
    return this.tzinfo instanceof PyTimeZone ? this.tzinfo.offsetAt(wallClock(this), this.fold) : null
  }
}

function wallClock({ year, month, day, hour, minute, second }: PyDateTime): number {
  return utcMilliseconds(year, month, day, hour, minute, second)
}

function isoDate({ year, month, day }: PyDateFields): string {
  return `${digits(year, 4)}-${digits(month)}-${digits(day)}`
}

function isoTime({ hour, minute, second, microsecond }: PyTime | PyDateTime): string {
  return `${digits(hour)}:${digits(minute)}:${digits(second)}${fraction(microsecond)}`
}

function digits(value: number, length = 2): string {
  return String(value).padStart(length, '0')
}

function checkDate(year: number, month: number, day: number): void {
  const isDate = within(year, 1, 9_999) && within(month, 1, 12) && within(day, 1, daysOf(year, month))
  if (!isDate) throw new RangeError('There is no such day in the years 1 to 9999')
}

function checkTime(hour: number, minute: number, second: number, microsecond: number): void {
  const isTime =
    within(hour, 0, 23) && within(minute, 0, 59) && within(second, 0, 59) && within(microsecond, 0, 999_999)
  if (!isTime) throw new RangeError('No clock shows such a time')
}

function within(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most
}

function daysOf(year: number, month: number): number {
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  return month === 2 ? (isLeap ? 29 : 28) : [4, 6, 9, 11].includes(month) ? 30 : 31
}
