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
