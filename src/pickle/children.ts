import { isPlainObject } from './dicts.ts'
import { PyDateTime, PyTime } from './times.ts'
import { PyException, PyObject } from './values.ts'
import { PyTimeZone } from './zones.ts'

/** What a decoded value holds: items, keys and values, fields. */
export function childrenOf(value: object): readonly unknown[] {
  if (Array.isArray(value)) return value
  if (isPlainObject(value)) return Object.values(value)
  if (value instanceof Map) return [...value.keys(), ...value.values()]
  if (value instanceof Set) return [...value]
  if (value instanceof PyObject) {
    const { callee, args, kwargs, state, stateSetter, listItems, dictItems } = value
    return [
      args,
      ...[callee, kwargs, state, stateSetter, listItems, dictItems].filter((field) => field !== null),
    ]
  }
  if (value instanceof PyException) return [value.args, value.state]
  if (value instanceof PyDateTime || value instanceof PyTime) return [value.tzinfo]
  if (value instanceof PyTimeZone) return [value.origin]
  return []
}
