import { PyTimeDelta } from './time-delta.ts'
import { PyDate, PyDateTime, PyTime } from './times.ts'
import { PyDecimal, PyException, PyObject, PyTuple } from './values.ts'
import { PyTimeZone } from './zones.ts'

/** The call that makes a value in Python; `undefined` for what is no class of ours. */
export function describe(value: object, protocol: number): PyObject | undefined {
  if (value instanceof PyObject) return value
  if (value instanceof PyException) return describeException(value)
  if (value instanceof PyDecimal) return call('decimal', 'Decimal', value.text)
  if (value instanceof PyDateTime) return call('datetime', 'datetime', ...packDateTime(value, protocol))
  if (value instanceof PyDate) return call('datetime', 'date', packDate(value))
  if (value instanceof PyTime) return call('datetime', 'time', ...packTime(value, protocol))
  if (value instanceof PyTimeDelta) {
    return call('datetime', 'timedelta', value.days, value.seconds, value.microseconds)
  }
  if (value instanceof PyTimeZone) return describeZone(value)
  if (value instanceof Date) return describe(PyDateTime.fromDate(value), protocol)
  return undefined
}

export function call(module: string, name: string, ...args: unknown[]): PyObject {
  return new PyObject({ kind: 'call', module, name, args: PyTuple.from(args) })
}

export function global(module: string, name: string): PyObject {
  return new PyObject({ kind: 'global', module, name })
}

/** How an object is made without its constructor being run in protocols that have no opcode for it. */
export function makeByCall({ module, name, callee, args, kwargs }: PyObject): PyObject {
  const cls = callee ?? global(module, name)
  if (kwargs !== null) return call('copyreg', '__newobj_ex__', cls, args, kwargs)
  return call('copyreg', '__newobj__', cls, ...args)
}

function describeException({ module, type, args, state }: PyException): PyObject {
  const exception = new PyObject({ kind: 'call', module, name: type, args })
  exception.state = state
  return exception
}

/** By its class alone, which a reader with a list of allowed names may well have on it. */
function describeZone({ offset, name, origin }: PyTimeZone): PyObject {
  if (origin !== null) return origin
  if (offset === null) return call('zoneinfo', 'ZoneInfo', name)
  return call('datetime', 'timezone', offset, ...(name === null ? [] : [name]))
}

function packDate({ year, month, day }: PyDate | PyDateTime): Uint8Array {
  return Uint8Array.of(year >> 8, year & 0xff, month, day)
}

/** `fold` has a bit since protocol 4 only, as in CPython. */
function packDateTime(value: PyDateTime, protocol: number): unknown[] {
  const packed = Uint8Array.of(...packDate(value), ...clockOf(value))
  if (value.fold === 1 && protocol > 3) packed[2] = value.month | 0x80
  return value.tzinfo === null ? [packed] : [packed, value.tzinfo]
}

function packTime(value: PyTime, protocol: number): unknown[] {
  const packed = Uint8Array.from(clockOf(value))
  if (value.fold === 1 && protocol > 3) packed[0] = value.hour | 0x80
  return value.tzinfo === null ? [packed] : [packed, value.tzinfo]
}

function clockOf({ hour, minute, second, microsecond }: PyTime | PyDateTime): number[] {
  return [hour, minute, second, microsecond >> 16, (microsecond >> 8) & 0xff, microsecond & 0xff]
}
