import { writeFloat } from '../pickle/numbers.ts'
import { formatPath, type Step } from '../pickle/values.ts'
import { PyTimeDelta, PyTimeZone } from '../pickle/zones.ts'
import { BackendError } from './errors.ts'
import { markedOf } from './json.ts'

/**
 * A value as kombu (5.3 or later) writes it in JSON: ASCII only, `", "` and `": "` between the parts, NaN and Infinity as
 * bare words, and values that JSON cannot express as `{"__type__": "datetime", "__value__": "2024-01-02T03:04:05+00:00"}`.
 *
 * | here | JSON |
 * |---|---|
 * | `null`, boolean, string | as ever; lone surrogates are escaped like all that is not ASCII |
 * | `undefined` | left out as a property, anywhere else `null` |
 * | number | without a point when it is a safe integer, else as Python prints a float |
 * | bigint | all its digits |
 * | Array, PyTuple | an array |
 * | plain object; Map | an object; keys that are numbers, booleans or `null` become texts as in Python |
 * | Date, PyDateTime; PyDate; PyTime | marked `datetime`; `date`; `time` |
 * | PyDecimal | marked `decimal` |
 * | Uint8Array, Buffer | marked `bytes` when it is UTF-8, else `base64` |
 * | an object with `toJSON` | what that returns, like kombu's `__json__` |
 *
 * @throws BackendError (`RESULT_UNENCODABLE`) with the path to anything else, as kombu does: a Set, a PyTimeDelta, a
 * function; and for what is deeper than 1,000 or holds itself
 */
export function writeJson(value: unknown): string {
  return write(value, [])
}

const MAX_DEPTH = 1_000

function write(value: unknown, path: Step[]): string {
  switch (typeof value) {
    case 'string':
      return quote(value)
    case 'number':
      return writeNumber(value)
    case 'boolean':
    case 'bigint':
      return String(value)
    case 'undefined':
      return 'null'
    case 'object':
      return value === null ? 'null' : writeObject(value, path)
    default:
      throw unencodable(path, `a ${typeof value}`)
  }
}

function writeObject(value: object, path: Step[]): string {
  if (path.length >= MAX_DEPTH) throw unencodable([], `deeper than ${MAX_DEPTH}, or holds itself`)
  if (Array.isArray(value)) {
    return `[${Array.from(value, (item, index) => writeAt(index, item, path)).join(', ')}]`
  }
  if (value instanceof Map) return writeDict([...value], path)
  if (isPlain(value)) return writeDict(Object.entries(value).filter(isDefined), path)
  const marked = markedOf(value)
  if (marked === 'unknown') throw unencodable(path, 'a date or a time that JSON cannot tell')
  if (marked !== null) return `{"__type__": ${quote(marked.type)}, "__value__": ${quote(marked.text)}}`
  if (hasToJson(value)) return writeAt('toJSON', value.toJSON(), path)
  throw unencodable(path, `an instance of ${value.constructor?.name || 'an unknown class'}`)
}

function writeDict(entries: readonly (readonly [unknown, unknown])[], path: Step[]): string {
  const members = entries.map(([key, value]) => {
    const name = nameOf(key)
    if (name === null) throw unencodable(path, `a Map with a key that is ${describeKey(key)}`)
    return `${quote(name)}: ${writeAt(name, value, path)}`
  })
  return `{${members.join(', ')}}`
}

function writeAt(step: Step, value: unknown, path: Step[]): string {
  path.push(step)
  const text = write(value, path)
  path.pop()
  return text
}

/** A key of a dict as Python's `json` writes it; `null` where it raises. */
function nameOf(key: unknown): string | null {
  if (typeof key === 'string') return key
  if (typeof key === 'number') return writeNumber(key)
  return key === null || typeof key === 'boolean' || typeof key === 'bigint' ? String(key) : null
}

function describeKey(key: unknown): string {
  return Array.isArray(key) ? 'an array' : `of the type ${typeof key}`
}

function writeNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  return Number.isSafeInteger(value) && !Object.is(value, -0) ? String(value) : writeFloat(value)
}

function quote(text: string): string {
  return `"${text.replace(/[^ !#-[\]-~]/g, escapeUnit)}"`
}

const SHORT_ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '\\"'],
  ['\\', '\\\\'],
  ['\n', '\\n'],
  ['\r', '\\r'],
  ['\t', '\\t'],
  ['\f', '\\f'],
  ['\b', '\\b'],
])

function escapeUnit(unit: string): string {
  return SHORT_ESCAPES.get(unit) ?? `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** An object literal, of another realm too, or one without a prototype. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function isDefined([, value]: readonly [string, unknown]): boolean {
  return value !== undefined
}

function hasToJson(value: object): value is { toJSON(): unknown } {
  // Their `toJSON` gives texts for people; Python's timedelta has no JSON.
  if (value instanceof PyTimeDelta || value instanceof PyTimeZone) return false
  return 'toJSON' in value && typeof value.toJSON === 'function'
}

function unencodable(steps: readonly Step[], what: string): BackendError {
  const path = formatPath(steps)
  return new BackendError('RESULT_UNENCODABLE', `Cannot encode ${path} as JSON: it is ${what}`, { path })
}
