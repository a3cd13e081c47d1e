import type { Keys } from './limits.ts'
import { isException } from './names.ts'
import { TIME_CONSTRUCTORS } from './reduce-times.ts'
import { writeLatin1 } from './text.ts'
import {
  dictOf,
  entriesOf,
  getItem,
  isDict,
  isPlainObject,
  PyDecimal,
  PyException,
  PyObject,
  type PyObjectKind,
  PyTuple,
  tupleOf,
} from './values.ts'
import { PyTimeZone } from './zones.ts'

/** Makes a value of the arguments of a known class; `undefined` if they do not fit it. */
type Constructor = (args: PyTuple, kwargs: unknown, keys: Keys) => unknown

/**
 * What a call, or the making of an instance, would give in Python: a value for the classes in the table below, a
 * PyException, or a PyObject for all others. Nothing is run but what the table has.
 */
export function reduce(
  kind: Exclude<PyObjectKind, 'global'>,
  callee: PyObject,
  args: PyTuple,
  kwargs: unknown,
  keys: Keys,
): unknown {
  const { module, name } = callee
  if (callee.kind === 'global') {
    const made = kind === 'call' && module === 'copyreg' ? reduceByCopyreg(name, args, keys) : undefined
    if (made !== undefined) return made
    const value = construct(kind, callee, args, kwargs, keys)
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
function reduceByCopyreg(name: string, args: PyTuple, keys: Keys): unknown {
  const [cls, second, third] = args
  if (!(cls instanceof PyObject) || cls.kind !== 'global') return undefined
  switch (name) {
    case '__newobj__':
      return reduce('new', cls, tupleOf(args, 1), null, keys)
    case '__newobj_ex__':
      return args.length === 3 && second instanceof PyTuple
        ? reduce('new', cls, second, third, keys)
        : undefined
    case '_reconstructor': {
      const isBare = args.length === 3 && third === null && isGlobal(second, 'builtins', 'object')
      return isBare ? reduce('new', cls, new PyTuple(), null, keys) : undefined
    }
    default:
      return undefined
  }
}

function construct(
  kind: PyObjectKind,
  { module, name }: PyObject,
  args: PyTuple,
  kwargs: unknown,
  keys: Keys,
): unknown {
  const make = CONSTRUCTORS.get(module)?.get(name)
  if (make === undefined) return undefined
  // What can change takes its contents in `__init__`, which is not run when an instance is only made.
  if (kind === 'new' && FILLED_LATER.get(module)?.has(name) === true) return make(new PyTuple(), null, keys)
  try {
    return make(args, kwargs, keys)
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
function positional(most: number, make: (...args: unknown[]) => unknown): Constructor {
  return (args, kwargs) => (isPositional(args, kwargs, most) ? make(...args) : undefined)
}

/** The same, for what has keys or members. */
function keyed(most: number, make: (keys: Keys, ...args: unknown[]) => unknown): Constructor {
  return (args, kwargs, keys) => (isPositional(args, kwargs, most) ? make(keys, ...args) : undefined)
}

function isPositional(args: PyTuple, kwargs: unknown, most: number): boolean {
  const hasKwargs = kwargs !== null && !(isDict(kwargs) && entriesOf(kwargs).length === 0)
  return !hasKwargs && args.length <= most
}

/** By module, then by name. */
const CONSTRUCTORS = new Map<string, ReadonlyMap<string, Constructor>>([
  [
    'builtins',
    new Map([
      ['set', keyed(1, toSet)],
      ['frozenset', keyed(1, toSet)],
      ['list', positional(1, toList)],
      ['tuple', positional(1, toTuple)],
      ['dict', keyed(1, toDict)],
      ['bytes', positional(2, toBytes)],
      ['bytearray', positional(2, toBytes)],
      ['str', positional(1, (text = '') => (typeof text === 'string' ? text : undefined))],
      ['bool', positional(1, (is = false) => (typeof is === 'boolean' ? is : undefined))],
      ['int', positional(1, (number = 0) => (isInteger(number) ? number : undefined))],
      ['float', positional(1, (number = 0) => (isNumber(number) ? number : undefined))],
    ]),
  ],
  [
    'collections',
    new Map([
      ['OrderedDict', keyed(1, toDict)],
      ['Counter', keyed(1, toDict)],
      ['defaultdict', keyed(2, (keys, _factory, items) => toDict(keys, items))],
    ]),
  ],
  ['_codecs', new Map([['encode', positional(2, encodeLatin1)]])],
  ['decimal', new Map([['Decimal', positional(1, toDecimal)]])],
  ['uuid', new Map([['UUID', positional(1, toUuid)]])],
  ...TIME_CONSTRUCTORS,
])

const FILLED_LATER: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['builtins', new Set(['set', 'list', 'dict', 'bytearray'])],
  ['collections', new Set(['OrderedDict', 'Counter', 'defaultdict'])],
])

function arrayFrom(items: unknown = []): unknown[] | undefined {
  if (items instanceof Set) return [...items]
  return Array.isArray(items) ? items : undefined
}

function toSet(keys: Keys, items?: unknown): Set<unknown> | undefined {
  const array = arrayFrom(items)
  return array?.every((item) => keys.accepts(item)) ? new Set(array) : undefined
}

/** Of a tuple, too, it is a plain array, which `slice` would not make. */
function toList(items?: unknown): unknown[] | undefined {
  const array = arrayFrom(items)
  return array && Array.from(array)
}

function toTuple(items?: unknown): PyTuple | undefined {
  const array = arrayFrom(items)
  return array && tupleOf(array)
}

function toDict(keys: Keys, items: unknown = []): unknown {
  if (isDict(items)) {
    const isAccepted = isPlainObject(items) || [...items.keys()].every((key) => keys.accepts(key))
    return isAccepted ? dictOf(entriesOf(items)) : undefined
  }
  const entries: [unknown, unknown][] = []
  for (const pair of arrayFrom(items) ?? [null]) {
    if (!Array.isArray(pair) || pair.length !== 2 || !keys.accepts(pair[0])) return undefined
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
  if (typeof hex !== 'string' || hex.length > LONGEST_UUID) return undefined
  const digits = hex.replace(/^urn:uuid:|[-{}]/g, '')
  return /^[\da-f]{32}$/i.test(digits) ? uuidOf(BigInt(`0x${digits}`)) : undefined
}

/** With its prefix, braces and more hyphens than anyone writes. */
const LONGEST_UUID = 100

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
