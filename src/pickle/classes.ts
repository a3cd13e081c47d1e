import { OptionError, PickleError } from '../errors.ts'
import { isPlainObject, PyException, PyObject, setProperty } from './values.ts'

/** Gives a class of Python, or a function that makes values, a meaning here. */
export interface PyClass {
  /**
   * The value for an instance, whose parts have been read already; `undefined` leaves it a PyObject. It is given what a
   * stranger may have written: check before you use. An instance that leads back to itself holds the PyObject there.
   */
  read(object: PyObject): unknown
  /** How Python makes such a value: `undefined` for one of something else. @default none: such values cannot be written */
  write?(value: object): PyObject | undefined
}

/** Classes by their full names, `shop.Money`; a function only reads. */
export type PyClasses = Readonly<Record<string, PyClass | PyClass['read']>>

/** @throws OptionError */
export function classesOf(classes: unknown): ReadonlyMap<string, PyClass> {
  if (classes === undefined) return new Map()
  if (!isPlainObject(classes)) throw invalid('classes')
  const entries = Object.entries(classes)
  return new Map(entries.map(([name, given]) => [name, classOf(`classes.${name}`, given)]))
}

function classOf(option: string, given: unknown): PyClass {
  if (isReader(given)) return { read: given }
  if (!isClass(given)) throw invalid(option)
  return given
}

function isReader(value: unknown): value is PyClass['read'] {
  return typeof value === 'function'
}

function isClass(value: unknown): value is PyClass {
  if (typeof value !== 'object' || value === null || !('read' in value) || !isReader(value.read)) return false
  return !('write' in value) || value.write === undefined || typeof value.write === 'function'
}

function invalid(option: string): OptionError {
  const message = `The option "${option}" must be a function, or an object with "read" and perhaps "write"`
  return new OptionError('INVALID_OPTION', option, message)
}

/** How an object of the program is written, if one of the classes writes it. @throws PickleError `PICKLE_CLASS` */
export function writtenBy(classes: ReadonlyMap<string, PyClass>, value: object): PyObject | undefined {
  for (const [name, { write }] of classes) {
    const object = write && called(name, 'encode', () => write(value))
    if (object !== undefined) return object
  }
  return undefined
}

/**
 * Replaces all instances of these classes within a value that was just decoded by what they are here, the innermost first.
 * The value must be no deeper than the call stack allows.
 * @throws PickleError `PICKLE_CLASS` when a reader throws
 */
export function readBy(classes: ReadonlyMap<string, PyClass>, root: unknown): unknown {
  /** Each container is replaced once. */
  const read = new Map<object, unknown>()
  return restored(root)

  function restored(value: unknown): unknown {
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
    if (read.has(value)) return read.get(value)
    // What leads back to it while its parts are read.
    read.set(value, value)
    restoreParts(value)
    const own = value instanceof PyObject || value instanceof PyException ? instance(value) : value
    read.set(value, own)
    return own
  }

  function restoreParts(value: object): void {
    if (Array.isArray(value)) {
      for (let index = 0; index < value.length; index++) value[index] = restored(value[index])
    } else if (isPlainObject(value)) {
      for (const [key, item] of Object.entries(value)) setProperty(value, key, restored(item))
    } else if (value instanceof Map) {
      const entries = [...value].map(([key, item]) => [restored(key), restored(item)] as const)
      value.clear()
      for (const [key, item] of entries) value.set(key, item)
    } else if (value instanceof Set) {
      const items = [...value].map(restored)
      value.clear()
      for (const item of items) value.add(item)
    } else if (value instanceof PyObject || value instanceof PyException) {
      restored(value.args)
      value.state = restored(value.state)
      if (!(value instanceof PyObject)) return
      for (const part of [value.kwargs, value.listItems, value.dictItems]) restored(part)
    }
  }

  function instance(value: PyObject | PyException): unknown {
    const object = value instanceof PyObject ? value : objectOf(value)
    const name = nameOf(object)
    const known = name === null ? undefined : classes.get(name)
    if (name === null || known === undefined) return value
    const own = called(name, 'decode', () => known.read(object))
    return own === undefined ? value : own
  }
}

/** Of a member of an enum, `getattr(Color, 'RED')`, the name of its class. */
function nameOf({ kind, module, name, args }: PyObject): string | null {
  if (kind === 'global') return null
  const [owner] = args
  const isAttribute = module === 'builtins' && name === 'getattr' && owner instanceof PyObject
  return isAttribute && owner.kind === 'global' ? `${owner.module}.${owner.name}` : `${module}.${name}`
}

/** A class may only be named like an exception. */
function objectOf({ module, type: name, args, state }: PyException): PyObject {
  const object = new PyObject({ kind: 'call', module, name, args })
  object.state = state
  return object
}

function called<Value>(name: string, verb: 'decode' | 'encode', call: () => Value): Value {
  try {
    return call()
  } catch (cause) {
    const message = `Cannot ${verb} the pickle: what the option "classes" has for ${JSON.stringify(name)} threw. See the cause.`
    throw new PickleError('PICKLE_CLASS', message, { cause })
  }
}
