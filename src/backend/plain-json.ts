import { attributesOf, entriesOf, isDict, PyException, PyObject } from '../pickle/values.ts'
import { BackendError } from './errors.ts'

/** Plain JSON data, as `JSON.parse` gives it. */
export type PlainJson = null | boolean | number | string | PlainJson[] | { [key: string]: PlainJson }

/**
 * A value of Python as plain JSON data, for `res.json()` and for readers that know nothing of Python. One rule: what JSON has
 * stays, a collection becomes an array or an object, and all else becomes the text that Python prints for it.
 *
 * | here | JSON |
 * |---|---|
 * | `null`, boolean, string, number | the same |
 * | NaN, Infinity, -Infinity | the texts `NaN`, `Infinity`, `-Infinity` |
 * | bigint | a number if that is exact, else its digits |
 * | PyDateTime, PyDate, PyTime, PyTimeDelta, PyDecimal, Date | their texts, as their `toJSON` gives them |
 * | Uint8Array | its base64 |
 * | Array, PyTuple, Set, and other typed arrays | an array |
 * | plain object; a Map whose keys are texts, numbers, booleans or `null` | an object, keys as texts |
 * | a Map with other keys, or with two keys of one text (`1` and `'1'`) | an array of pairs |
 * | PyObject with fields only, as a dataclass has them | an object of its fields |
 * | any other PyObject | its arguments or its items as an array, or an object of all that it has |
 * | PyObject that names a class or a function | `module.name` |
 * | PyException | `{ excType, excModule, excMessage }`, as in a TaskError |
 *
 * @throws BackendError `RESULT_UNREADABLE` for what holds itself
 */
export function toPlainJson(value: unknown): PlainJson {
  try {
    return JSON.parse(JSON.stringify(value, plainStep) ?? 'null')
  } catch (error) {
    // Its message names keys of the value.
    if (!(error instanceof TypeError)) throw error
    throw new BackendError('RESULT_UNREADABLE', 'Cannot tell what is stored in JSON: it holds itself')
  }
}

/** What JSON.stringify shall write instead. `toJSON` has been called before, which a Buffer has, too. */
function plainStep(this: unknown, key: string, given: unknown): unknown {
  const own: unknown = typeof this === 'object' && this !== null ? Reflect.get(this, key) : given
  return plainValue(own instanceof Uint8Array ? own : given)
}

function plainValue(value: unknown): unknown {
  switch (typeof value) {
    case 'number':
      return Number.isFinite(value) ? value : String(value)
    case 'bigint': {
      const number = Number(value)
      return Number.isSafeInteger(number) ? number : String(value)
    }
    case 'object':
      return value === null ? null : plainObject(value)
    default:
      return value
  }
}

function plainObject(value: object): unknown {
  if (value instanceof Set) return [...value]
  if (value instanceof Map) return plainMap(value)
  if (value instanceof Uint8Array)
    return Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64')
  if (ArrayBuffer.isView(value) && Symbol.iterator in value) return Array.from(value as Iterable<unknown>)
  if (value instanceof PyException)
    return { excType: value.type, excModule: value.module, excMessage: value.args }
  return value instanceof PyObject ? flattened(value) : value
}

function plainMap(map: ReadonlyMap<unknown, unknown>): unknown {
  const named = new Map([...map].map(([key, item]) => [String(key), item]))
  const isNamed = [...map.keys()].every((key) => typeof key !== 'object' || key === null)
  return isNamed && named.size === map.size ? Object.fromEntries(named) : [...map]
}

/** Only what there is: most objects have either fields, or arguments, or items. */
function flattened(object: PyObject): unknown {
  const { kind, module, name, args, kwargs, listItems, dictItems } = object
  if (kind === 'global') return `${module}.${name}`
  const parts = new Map<string, unknown>()
  if (args.length > 0) parts.set('args', args)
  if (kwargs !== null && !(isDict(kwargs) && entriesOf(kwargs).length === 0)) parts.set('kwargs', kwargs)
  if (object.state !== null) parts.set('state', plainState(object.state))
  if (listItems !== null) parts.set('items', listItems)
  if (dictItems !== null) parts.set(listItems === null ? 'items' : 'dictItems', dictItems)
  const [only] = parts.values()
  if (parts.size !== 1) return Object.fromEntries(parts)
  return plainValue(hasToJson(only) ? only.toJSON() : only)
}

/** The fields of an object, with those of `__slots__`; what else its `__setstate__` takes as it is. */
function plainState(state: unknown): unknown {
  const fields = isDict(state) ? undefined : attributesOf(state)
  return fields === undefined ? state : new Map(fields)
}

function hasToJson(value: unknown): value is { toJSON(): unknown } {
  const isObject = typeof value === 'object' && value !== null
  return isObject && !(value instanceof Uint8Array) && 'toJSON' in value && typeof value.toJSON === 'function'
}
