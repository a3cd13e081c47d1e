import { dictOf, entriesOf, getItem, isDict } from './dicts.ts'
import { isException, keyOf } from './globals.ts'
import { TIME_CONSTRUCTORS } from './reduce-times.ts'
import { writeLatin1 } from './text.ts'
import { PyDecimal, PyException, PyObject, type PyObjectKind, PyTuple } from './values.ts'
import { PyTimeZone } from './zones.ts'

/** Makes a value of the arguments of a known class; `undefined` if they do not fit it. */
export type Constructor = (args: PyTuple, kwargs: unknown) => unknown

/**
 * What a call, or the making of an instance, would give in Python: a value for the classes in the table below, a
 * PyException, or a PyObject for all others. Nothing is run but what the table has.
 */
export function reduce(
  kind: Exclude<PyObjectKind, 'global'>,
  callee: PyObject,
  args: PyTuple,
  kwargs: unknown = null,
): unknown {
  const { module, name } = callee
  if (callee.kind === 'global') {
    const made = kind === 'call' && module === 'copyreg' ? reduceByCopyreg(name, args) : undefined
    if (made !== undefined) return made
    const value = construct(kind, keyOf(module, name), args, kwargs)
    if (value !== undefined) return value
    if (kwargs === null && isException(module, name, kind === 'call')) {
      return new PyException(module, name, args)
    }
    return new PyObject({ kind, module, name, args, kwargs })
  }
  const object = new PyObject({ kind, module, name, callee, args, kwargs })
  return isZoneInfo(callee) ? (zoneInfo(args, object) ?? object) : object
}

/** What `__setstate__` would make of a PyObject, where that is a value of its own: a UUID's text. */
export function rebuild(object: PyObject, state: unknown): string | undefined {
  if (object.module !== 'uuid' || object.name !== 'UUID' || object.kind !== 'new') return undefined
  const integer = isDict(state) ? getItem(state, 'int') : undefined
  return typeof integer === 'number' || typeof integer === 'bigint' ? uuidOf(BigInt(integer)) : undefined
}

/** How protocols 0 and 1 make an instance without running its constructor. */
function reduceByCopyreg(name: string, args: PyTuple): unknown {
  const [cls, second, third] = args
  if (!(cls instanceof PyObject) || cls.kind !== 'global') return undefined
  switch (name) {
    case '__newobj__':
      return reduce('new', cls, PyTuple.from(args.slice(1)))
    case '__newobj_ex__':
      return args.length === 3 && second instanceof PyTuple ? reduce('new', cls, second, third) : undefined
    case '_reconstructor': {
      const isBare = args.length === 3 && third === null && isGlobal(second, 'builtins', 'object')
      return isBare ? reduce('new', cls, new PyTuple()) : undefined
    }
    default:
      return undefined
  }
}

function construct(kind: PyObjectKind, key: string, args: PyTuple, kwargs: unknown): unknown {
  const make = CONSTRUCTORS.get(key)
  if (make === undefined) return undefined
  // What can change takes its contents in `__init__`, which is not run when an instance is only made.
  if (kind === 'new' && FILLED_LATER.has(key)) return make(new PyTuple(), null)
  try {
    return make(args, kwargs)
  } catch (error) {
    // Fields that the class does not allow: it stays a description.
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function isGlobal(value: unknown, module: string, name: string): boolean {
  return (
    value instanceof PyObject && value.kind === 'global' && value.module === module && value.name === name
  )
}

/** `getattr(ZoneInfo, '_unpickle')` */
function isZoneInfo({ kind, module, name, args }: PyObject): boolean {
  if (kind !== 'call' || module !== 'builtins' || name !== 'getattr' || args[1] !== '_unpickle') return false
  return isGlobal(args[0], 'zoneinfo', 'ZoneInfo') || isGlobal(args[0], 'backports.zoneinfo', 'ZoneInfo')
}

/** One that is not from the cache, or not from the standard library, is written as it was read. */
function zoneInfo(args: PyTuple, origin: PyObject): PyTimeZone | undefined {
  const [key, isFromCache] = args
  if (typeof key !== 'string') return undefined
  const isUsual = Boolean(isFromCache) && isGlobal(origin.callee?.args[0], 'zoneinfo', 'ZoneInfo')
  return new PyTimeZone(null, key, isUsual ? null : origin)
}

/** Takes no keyword arguments. */
function positional(make: (...args: unknown[]) => unknown, most: number): Constructor {
  return (args, kwargs) => {
    const hasKwargs = kwargs !== null && !(isDict(kwargs) && entriesOf(kwargs).length === 0)
    return hasKwargs || args.length > most ? undefined : make(...args)
  }
}

const CONSTRUCTORS: ReadonlyMap<string, Constructor> = new Map([
  [keyOf('builtins', 'set'), positional(toSet, 1)],
  [keyOf('builtins', 'frozenset'), positional(toSet, 1)],
  [keyOf('builtins', 'list'), positional((items) => arrayFrom(items)?.slice(), 1)],
  [keyOf('builtins', 'tuple'), positional(toTuple, 1)],
  [keyOf('builtins', 'dict'), positional(toDict, 1)],
  [keyOf('builtins', 'bytes'), positional(toBytes, 2)],
  [keyOf('builtins', 'bytearray'), positional(toBytes, 2)],
  [keyOf('_codecs', 'encode'), positional(encodeLatin1, 2)],
  [keyOf('builtins', 'str'), positional((text = '') => (typeof text === 'string' ? text : undefined), 1)],
  [keyOf('builtins', 'bool'), positional((is = false) => (typeof is === 'boolean' ? is : undefined), 1)],
  [keyOf('builtins', 'int'), positional((number = 0) => (isInteger(number) ? number : undefined), 1)],
  [keyOf('builtins', 'float'), positional((number = 0) => (isNumber(number) ? number : undefined), 1)],
  [keyOf('collections', 'OrderedDict'), positional(toDict, 1)],
  [keyOf('collections', 'Counter'), positional(toDict, 1)],
  [keyOf('collections', 'defaultdict'), positional((_factory, items) => toDict(items), 2)],
  [keyOf('decimal', 'Decimal'), positional(toDecimal, 1)],
  [keyOf('uuid', 'UUID'), positional(toUuid, 1)],
  ...TIME_CONSTRUCTORS,
])

const FILLED_LATER: ReadonlySet<string> = new Set([
  ...['set', 'list', 'dict', 'bytearray'].map((name) => keyOf('builtins', name)),
  ...['OrderedDict', 'Counter', 'defaultdict'].map((name) => keyOf('collections', name)),
])

function arrayFrom(items: unknown = []): unknown[] | undefined {
  if (items instanceof Set) return [...items]
  return Array.isArray(items) ? items : undefined
}

function toSet(items?: unknown): Set<unknown> | undefined {
  const array = arrayFrom(items)
  return array?.every(isHashable) ? new Set(array) : undefined
}

function toTuple(items?: unknown): PyTuple | undefined {
  const array = arrayFrom(items)
  return array && PyTuple.from(array)
}

function toDict(items: unknown = []): unknown {
  if (isDict(items)) return dictOf(entriesOf(items))
  const entries: [unknown, unknown][] = []
  for (const pair of arrayFrom(items) ?? [null]) {
    if (!Array.isArray(pair) || pair.length !== 2 || !isHashable(pair[0])) return undefined
    entries.push([pair[0], pair[1]])
  }
  return dictOf(entries)
}

function toBytes(source: unknown = new Uint8Array(), encoding?: unknown): Uint8Array | undefined {
  if (encoding !== undefined) return encodeLatin1(source, encoding)
  return source instanceof Uint8Array ? source.slice() : undefined
}

function encodeLatin1(text: unknown, encoding: unknown): Uint8Array | undefined {
  const isLatin1 = encoding === 'latin1' || encoding === 'latin-1'
  return isLatin1 && typeof text === 'string' ? writeLatin1(text) : undefined
}

function toDecimal(text: unknown): PyDecimal | undefined {
  return typeof text === 'string' && PyDecimal.isDecimal(text) ? new PyDecimal(text) : undefined
}

function toUuid(hex: unknown): string | undefined {
  if (typeof hex !== 'string') return undefined
  const digits = hex.replace(/^urn:uuid:|[-{}]/g, '')
  return /^[\da-f]{32}$/i.test(digits) ? uuidOf(BigInt(`0x${digits}`)) : undefined
}

function uuidOf(integer: bigint): string | undefined {
  if (integer < 0n || integer >= 1n << 128n) return undefined
  const hex = integer.toString(16).padStart(32, '0')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

function isNumber(value: unknown): value is number | bigint {
  return typeof value === 'number' || typeof value === 'bigint'
}

function isInteger(value: unknown): boolean {
  return typeof value === 'bigint' || Number.isSafeInteger(value)
}

/** Whether Python would take it as a key of a dict, or as a member of a set. */
export function isHashable(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true
  if (Array.isArray(value)) return value instanceof PyTuple
  return !isDict(value)
}
