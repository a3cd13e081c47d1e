import { PyDate, type PyDateFields, PyDateTime, PyTime, type PyTimeFields } from '../pickle/times.ts'
import { PyDecimal } from '../pickle/values.ts'
import { PyTimeDelta, PyTimeZone } from '../pickle/zones.ts'

/** A value that JSON has no word for, in kombu's words. */
export interface Marked {
  readonly type: string
  readonly text: string
}

/** kombu's `__type__` and `__value__`; `null` for what it does not mark, `'unknown'` for a moment that cannot be told. */
export function markedOf(value: object): Marked | 'unknown' | null {
  if (value instanceof Date) return markedDate(value)
  if (value instanceof PyDateTime) {
    const isTold = value.tzinfo === null || value.utcOffset() !== null
    return isTold ? { type: 'datetime', text: value.toString() } : 'unknown'
  }
  if (value instanceof PyDate) return { type: 'date', text: value.toString() }
  if (value instanceof PyTime) return { type: 'time', text: value.toString() }
  if (value instanceof PyDecimal) return { type: 'decimal', text: value.text }
  return value instanceof Uint8Array ? markedBytes(value) : null
}

function markedDate(date: Date): Marked | 'unknown' {
  const year = date.getUTCFullYear()
  const isTold = year >= 1 && year <= 9_999
  return isTold ? { type: 'datetime', text: PyDateTime.fromDate(date).toString() } : 'unknown'
}

function markedBytes(bytes: Uint8Array): Marked {
  try {
    return { type: 'bytes', text: utf8.decode(bytes) }
  } catch {
    // No UTF-8.
    return {
      type: 'base64',
      text: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64'),
    }
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** What `{"__type__": type, "__value__": value}` stands for; `undefined` for types and values kombu itself does not know. */
export function unmark(type: unknown, value: unknown): unknown {
  const read = typeof type === 'string' ? READERS.get(type) : undefined
  if (read === undefined) return undefined
  try {
    return read(value)
  } catch (error) {
    // A day or an hour that there is not.
    if (error instanceof RangeError) return undefined
    throw error
  }
}

const READERS: ReadonlyMap<string, (value: unknown) => unknown> = new Map([
  ['datetime', fromText(readDateTime)],
  ['date', fromText(readDate)],
  ['time', fromText(readTime)],
  ['decimal', fromText((text) => new PyDecimal(text))],
  ['bytes', fromText((text) => new TextEncoder().encode(text))],
  ['base64', fromText(readBase64)],
  ['uuid', readUuid],
])

function fromText(read: (text: string) => unknown): (value: unknown) => unknown {
  return (value) => (typeof value === 'string' ? read(value) : undefined)
}

const DATE = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](.+))?$/
const TIME = /^(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{6}))?)?(Z|[+-].+)?$/
const OFFSET = /^([+-])(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{6}))?)?$/

function readDateTime(text: string): PyDateTime | undefined {
  const [, year, month, day, clock = '00:00'] = DATE.exec(text) ?? []
  const time = readClock(clock)
  return day === undefined || time === undefined
    ? undefined
    : new PyDateTime({ ...dateFields(year, month, day), ...time })
}

/** As kombu, which reads the date of a datetime too. */
function readDate(text: string): PyDate | undefined {
  const [, year, month, day] = DATE.exec(text) ?? []
  return day === undefined ? undefined : new PyDate(dateFields(year, month, day))
}

function readTime(text: string): PyTime | undefined {
  const time = readClock(text)
  return time && new PyTime(time)
}

function dateFields(year = '', month = '', day = ''): PyDateFields {
  return { year: Number(year), month: Number(month), day: Number(day) }
}

function readClock(text: string): PyTimeFields | undefined {
  const [, hour, minute, second = 0, microsecond = 0, zone] = TIME.exec(text) ?? []
  const tzinfo = zone === undefined ? null : readZone(zone)
  if (minute === undefined || tzinfo === undefined) return undefined
  return {
    hour: Number(hour),
    minute: Number(minute),
    second: Number(second),
    microsecond: Number(microsecond),
    tzinfo,
  }
}

function readZone(text: string): PyTimeZone | undefined {
  if (text === 'Z' || text === '+00:00') return PyTimeZone.utc
  const [, sign, hours, minutes, seconds = 0, microseconds = 0] = OFFSET.exec(text) ?? []
  if (minutes === undefined) return undefined
  const factor = sign === '-' ? -1 : 1
  const total = (Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)
  return new PyTimeZone(
    new PyTimeDelta({ seconds: factor * total, microseconds: factor * Number(microseconds) }),
  )
}

function readBase64(text: string): Uint8Array | undefined {
  return /^[A-Za-z0-9+/]*={0,2}$/.test(text) ? Uint8Array.from(Buffer.from(text, 'base64')) : undefined
}

/** As elsewhere here, a UUID is its text. */
function readUuid(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || !('hex' in value)) return undefined
  const { hex } = value
  if (typeof hex !== 'string' || !/^[\da-f]{32}$/i.test(hex)) return undefined
  return hex.toLowerCase().replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
