import { PyTuple } from './values.ts'

type Kind = 'bytes' | 'tuple' | 'set' | 'list' | 'map' | 'plain' | 'instance' | 'unknown'

/**
 * What an object is to the encoder. Asked of what it is made of rather than of its class alone: a Proxy of a Map and an
 * object that merely inherits from `Map.prototype` are none, and all that could be done with them is to fail.
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
