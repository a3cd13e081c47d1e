import { PyDate, PyDateTime, PyTime } from './times.ts'
import { PyComplex, PyDecimal, PyException, PyFraction, PyObject, PyTuple } from './values.ts'
import { PyTimeDelta, PyTimeZone } from './zones.ts'

type Kind = 'bytes' | 'tuple' | 'set' | 'list' | 'map' | 'plain' | 'instance' | 'unknown'

/**
 * How the encoder treats an object, by its internal slots and not its class alone: a Proxy of a Map, or an object that
 * merely inherits from `Map.prototype`, cannot be read as a Map.
 */
export function kindOf(value: object): Kind {
  try {
    if (value instanceof Uint8Array) return isTyped(value) ? 'bytes' : 'unknown'
    if (value instanceof PyTuple) return Array.isArray(value) ? 'tuple' : 'unknown'
    if (value instanceof Set) return answers(setSize, value) ? 'set' : 'unknown'
    if (Array.isArray(value)) return 'list'
    if (value instanceof Map) return answers(mapSize, value) ? 'map' : 'unknown'
    if (value instanceof Date) return answers(Date.prototype.getTime, value) ? 'instance' : 'unknown'
    return isPlain(value) ? 'plain' : 'instance'
  } catch (error) {
    // A revoked Proxy answers no question.
    if (error instanceof TypeError) return 'unknown'
    throw error
  }
}

/** An object literal, of another realm too, or one without a prototype; but not `Math`, nor the `arguments` of a call. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) return false
  return objectTag.call(value) === '[object Object]'
}

const objectTag = Object.prototype.toString
const tagOf = getterOf(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag)
const setSize = getterOf(Set.prototype, 'size')
const mapSize = getterOf(Map.prototype, 'size')

type Method = (this: unknown) => unknown

function getterOf(prototype: object, name: PropertyKey): Method {
  const getter = Object.getOwnPropertyDescriptor(prototype, name)?.get
  if (getter === undefined) throw new Error(`This runtime has no getter ${String(name)}`)
  return getter
}

function isTyped(value: object): boolean {
  return tagOf.call(value) === 'Uint8Array'
}

/** The methods of built-in classes throw a TypeError for what is not of them. */
function answers(method: Method, value: object): boolean {
  try {
    method.call(value)
    return true
  } catch {
    return false
  }
}

/**
 * Whether an object of one of our classes is as its constructor makes it; true for all others. False for
 * `Object.create(PyDate.prototype)` and for one whose fields were changed to something invalid.
 */
export function isWellFormed(value: object): boolean {
  if (value instanceof PyDateTime) return isConstructible(PyDateTime, value) && isZoned(value)
  if (value instanceof PyTime) return isConstructible(PyTime, value) && isZoned(value)
  if (value instanceof PyDate) return isConstructible(PyDate, value)
  if (value instanceof PyTimeDelta) return isWhole(value)
  if (value instanceof PyTimeZone) return isZone(value)
  if (value instanceof PyDecimal) return typeof value.text === 'string' && PyDecimal.isDecimal(value.text)
  if (value instanceof PyException) return isName(value.module, value.type) && isTuple(value.args)
  return value instanceof PyObject ? isObject(value) : true
}

function isConstructible<Fields>(cls: new (fields: Fields) => unknown, fields: Fields): boolean {
  try {
    new cls(fields)
    return true
  } catch (error) {
    if (error instanceof RangeError) return false
    throw error
  }
}

/** Never left out, as the constructors allow. */
function isZoned({ tzinfo, fold }: PyDateTime | PyTime): boolean {
  const isZoneInfo = tzinfo === null || tzinfo instanceof PyTimeZone || tzinfo instanceof PyObject
  return isZoneInfo && (fold === 0 || fold === 1)
}

function isWhole({ days, seconds, microseconds }: PyTimeDelta): boolean {
  return [days, seconds, microseconds].every(Number.isSafeInteger)
}

function isZone({ offset, name, origin }: PyTimeZone): boolean {
  if (origin !== null) return origin instanceof PyObject
  if (offset === null) return typeof name === 'string'
  return offset instanceof PyTimeDelta && (name === null || typeof name === 'string')
}

function isObject({
  kind,
  module,
  name,
  callee,
  args,
  listItems,
  dictItems,
  stateSetter,
}: PyObject): boolean {
  const isKind = kind === 'global' || kind === 'call' || kind === 'new'
  const isMade = [callee, stateSetter].every((object) => object === null || object instanceof PyObject)
  const hasItems =
    (listItems === null || Array.isArray(listItems)) && (dictItems === null || dictItems instanceof Map)
  return isKind && isName(module, name) && isTuple(args) && isMade && hasItems
}

function isName(module: unknown, name: unknown): boolean {
  return typeof module === 'string' && typeof name === 'string'
}

function isTuple(args: unknown): boolean {
  return args instanceof PyTuple && Array.isArray(args)
}

/**
 * Another key of a Map or member of a Set that Python would take for the same, as `1`, `true` and `1n`; `undefined` if
 * there is none, or for a key that is no number.
 */
export function equalKey(key: unknown, all: { has(key: unknown): boolean }): unknown {
  if (typeof key === 'boolean') return [Number(key), BigInt(key)].find((number) => all.has(number))
  if (typeof key !== 'bigint') return undefined
  const number = Number(key)
  const isExact = Number.isInteger(number) && BigInt(number) === key
  return isExact && all.has(number) ? number : undefined
}

/** The call that makes a value in Python; `undefined` for what is no class of ours. */
export function describe(value: object, protocol: number): PyObject | undefined {
  if (value instanceof PyObject) return value
  if (value instanceof PyException) return describeException(value)
  if (value instanceof PyDecimal) return call('decimal', 'Decimal', value.text)
  if (value instanceof PyFraction) {
    return call('fractions', 'Fraction', value.numerator, value.denominator)
  }
  if (value instanceof PyComplex) return call('builtins', 'complex', value.real, value.imag)
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
