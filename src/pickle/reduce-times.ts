import { writeLatin1 } from './text.ts'
import { PyDate, PyDateTime, PyTime, type TimeZoneInfo } from './times.ts'
import { entriesOf, getItem, isDict, PyObject } from './values.ts'
import { PyTimeDelta, PyTimeZone } from './zones.ts'

type TimeConstructor = (args: readonly unknown[], kwargs: unknown) => unknown

/** The classes of `datetime` and `zoneinfo`. Fields out of range are a RangeError. */
export const TIME_CONSTRUCTORS: readonly (readonly [string, ReadonlyMap<string, TimeConstructor>])[] = [
  [
    'datetime',
    new Map<string, TimeConstructor>([
      ['date', toDate],
      ['time', toTime],
      ['datetime', toDateTime],
      ['timedelta', toTimeDelta],
      ['timezone', toTimeZone],
    ]),
  ],
  ['zoneinfo', new Map<string, TimeConstructor>([['ZoneInfo', toZoneInfo]])],
]

function toDate(args: readonly unknown[], kwargs: unknown): PyDate | undefined {
  const packed = packedBytes(args[0], 4)
  if (packed && args.length === 1 && kwargs === null) {
    const [high = 0, low = 0, month = 0, day = 0] = packed
    return new PyDate({ year: high * 256 + low, month, day })
  }
  const fields = numbersOf(args, kwargs, ['year', 'month', 'day'])
  if (fields === undefined) return undefined
  const { year = Number.NaN, month = Number.NaN, day = Number.NaN } = fields
  return new PyDate({ year, month, day })
}

function toTime(args: readonly unknown[], kwargs: unknown): PyTime | undefined {
  const packed = packedBytes(args[0], 6)
  if (packed && args.length <= 2 && kwargs === null) {
    const zone = zoneOf(args[1])
    const [hour = 0, minute = 0, second = 0] = packed
    const microsecond = microsecondOf(packed, 3)
    const fields = { hour: hour & 0x7f, minute, second, microsecond, fold: foldOf(hour) }
    return zone === undefined ? undefined : new PyTime({ ...fields, tzinfo: zone })
  }
  const parts = numbersAndZone(args, kwargs, ['hour', 'minute', 'second', 'microsecond'])
  return parts && new PyTime(parts)
}

function toDateTime(args: readonly unknown[], kwargs: unknown): PyDateTime | undefined {
  const packed = packedBytes(args[0], 10)
  if (packed && args.length <= 2 && kwargs === null) {
    const zone = zoneOf(args[1])
    const [high = 0, low = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = packed
    const date = { year: high * 256 + low, month: month & 0x7f, day }
    const time = { hour, minute, second, microsecond: microsecondOf(packed, 7), fold: foldOf(month) }
    return zone === undefined ? undefined : new PyDateTime({ ...date, ...time, tzinfo: zone })
  }
  const names = ['year', 'month', 'day', 'hour', 'minute', 'second', 'microsecond']
  const parts = numbersAndZone(args, kwargs, names)
  if (parts === undefined) return undefined
  const { year = Number.NaN, month = Number.NaN, day = Number.NaN } = parts
  return new PyDateTime({ ...parts, year, month, day })
}

const UNITS = {
  days: [86_400, 0],
  seconds: [1, 0],
  microseconds: [0, 1],
  milliseconds: [0, 1_000],
  minutes: [60, 0],
  hours: [3_600, 0],
  weeks: [604_800, 0],
} as const

function toTimeDelta(args: readonly unknown[], kwargs: unknown): PyTimeDelta | undefined {
  const fields = numbersOf(args, kwargs, Object.keys(UNITS))
  if (fields === undefined) return undefined
  let seconds = 0
  let microseconds = 0
  for (const [unit, [inSeconds, inMicroseconds]] of Object.entries(UNITS)) {
    seconds += (fields[unit] ?? 0) * inSeconds
    microseconds += (fields[unit] ?? 0) * inMicroseconds
  }
  return new PyTimeDelta({ seconds, microseconds })
}

function toTimeZone(args: readonly unknown[], kwargs: unknown): PyTimeZone | undefined {
  const [offset, name = null] = args
  if (kwargs !== null || args.length > 2 || !(offset instanceof PyTimeDelta)) return undefined
  if (name !== null && typeof name !== 'string') return undefined
  return isOffset(offset) ? new PyTimeZone(offset, name) : undefined
}

function toZoneInfo(args: readonly unknown[], kwargs: unknown): PyTimeZone | undefined {
  const [key] = args
  return kwargs === null && args.length === 1 && typeof key === 'string'
    ? new PyTimeZone(null, key)
    : undefined
}

/** Python 2 packed into a `str`, which is text when all its bytes are ASCII. */
function packedBytes(value: unknown, length: number): Uint8Array | undefined {
  const bytes = typeof value === 'string' && value.length === length ? writeLatin1(value) : value
  return bytes instanceof Uint8Array && bytes.length === length ? bytes : undefined
}

function microsecondOf(packed: Uint8Array, at: number): number {
  return (packed[at] ?? 0) * 65_536 + (packed[at + 1] ?? 0) * 256 + (packed[at + 2] ?? 0)
}

/** The first bit of the month, or of a time's hour. */
function foldOf(byte: number): 0 | 1 {
  return byte > 0x7f ? 1 : 0
}

type Numbers = Record<string, number | undefined>

/** Arguments by name; `undefined` when there are others or when one is no number. */
function numbersOf(args: readonly unknown[], kwargs: unknown, names: readonly string[]): Numbers | undefined {
  if (args.length > names.length || (kwargs !== null && !isDict(kwargs))) return undefined
  const given = args.map((value, index): [unknown, unknown] => [names[index], value])
  const fields: Numbers = {}
  for (const [name, value] of [...given, ...(kwargs === null ? [] : entriesOf(kwargs))]) {
    if (typeof name !== 'string' || !names.includes(name) || typeof value !== 'number') return undefined
    fields[name] = value
  }
  return fields
}

function numbersAndZone(
  args: readonly unknown[],
  kwargs: unknown,
  names: readonly string[],
): (Numbers & { tzinfo: TimeZoneInfo | null; fold: 0 | 1 }) | undefined {
  if (args.length > names.length + 1) return undefined
  const rest = isDict(kwargs)
    ? entriesOf(kwargs).filter(([name]) => name !== 'tzinfo' && name !== 'fold')
    : []
  const numbers = numbersOf(Array.from(args).slice(0, names.length), new Map(rest), names)
  const named = isDict(kwargs) ? getItem(kwargs, 'tzinfo') : undefined
  const zone = zoneOf(args.length > names.length ? args[names.length] : named)
  if (numbers === undefined || zone === undefined) return undefined
  const fold = isDict(kwargs) && getItem(kwargs, 'fold') === 1 ? 1 : 0
  return Object.assign(numbers, { tzinfo: zone, fold } as const)
}

/** A tzinfo; `undefined` for what Python would not take as one. */
function zoneOf(tzinfo: unknown): TimeZoneInfo | null | undefined {
  if (tzinfo === undefined || tzinfo === null) return null
  if (tzinfo instanceof PyTimeZone) return tzinfo
  return tzinfo instanceof PyObject ? (foreignZone(tzinfo) ?? tzinfo) : undefined
}

/** The zones of pytz and dateutil, as far as their pickles tell. */
function foreignZone(zone: PyObject): PyTimeZone | undefined {
  const { module, name, args, state } = zone
  const [first, second] = args
  if (module === 'pytz') {
    if (name === '_UTC') return new PyTimeZone(new PyTimeDelta(), 'UTC', zone)
    if (name === 'FixedOffset') return fixedZone(first, 60, null, zone)
    if (name === '_p' && typeof first === 'string') {
      return args.length === 1 ? new PyTimeZone(null, first, zone) : fixedZone(second, 1, first, zone)
    }
  }
  if (/^dateutil\.tz(\.tz)?$/.test(module)) {
    if (name === 'tzutc') return new PyTimeZone(new PyTimeDelta(), 'UTC', zone)
    const offset = isDict(state) ? getItem(state, '_offset') : undefined
    const label = isDict(state) ? getItem(state, '_name') : undefined
    if (name === 'tzoffset' && offset instanceof PyTimeDelta && isOffset(offset)) {
      return new PyTimeZone(offset, typeof label === 'string' ? label : null, zone)
    }
    const key = typeof second === 'string' ? keyOfPath(second) : undefined
    if (name === 'tzfile' && key !== undefined) return new PyTimeZone(null, key, zone)
  }
  return undefined
}

/** What follows the folder of zones: `Europe/Paris` of `/usr/share/zoneinfo/Europe/Paris`. */
function keyOfPath(path: string): string | undefined {
  const start = path.indexOf(ZONES_FOLDER)
  if (start === -1) return undefined
  const key = path.slice(start + ZONES_FOLDER.length).replace(/^posix\//, '')
  return key === '' || key.includes('\n') ? undefined : key
}

const ZONES_FOLDER = '/zoneinfo/'

function fixedZone(
  amount: unknown,
  unit: number,
  name: string | null,
  origin: PyObject,
): PyTimeZone | undefined {
  if (typeof amount !== 'number' || !Number.isInteger(amount)) return undefined
  const offset = new PyTimeDelta({ seconds: amount * unit })
  return isOffset(offset) ? new PyTimeZone(offset, name, origin) : undefined
}

function isOffset(offset: PyTimeDelta): boolean {
  return Math.abs(offset.toMicroseconds()) < 86_400 * 1e6
}
