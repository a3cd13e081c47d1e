/** A dict: a plain object as long as every key is a string, else a Map. */
export type Dict = Map<unknown, unknown> | Record<string, unknown>

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}

export function isDict(value: unknown): value is Dict {
  return value instanceof Map || isPlainObject(value)
}

/** As JSON.parse does: `__proto__` becomes a property like any other, and so do those names of a frozen prototype. */
export function setProperty(object: Record<string, unknown>, key: string, value: unknown): void {
  if (key in Object.prototype) {
    Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true })
  } else {
    object[key] = value
  }
}

export function dictOf(entries: readonly (readonly [unknown, unknown])[]): Dict {
  const object: Record<string, unknown> = {}
  for (const [key, value] of entries) {
    if (typeof key !== 'string') return new Map(entries)
    setProperty(object, key, value)
  }
  return object
}

export function entriesOf(dict: Dict): [unknown, unknown][] {
  return dict instanceof Map ? [...dict] : Object.entries(dict)
}

export function getItem(dict: Dict, key: string): unknown {
  if (dict instanceof Map) return dict.get(key)
  return Object.hasOwn(dict, key) ? dict[key] : undefined
}
