import { childrenOf } from './children.ts'
import { isPlainObject, setProperty } from './dicts.ts'
import { PyException, PyObject } from './values.ts'

/**
 * Puts, in all that a value holds, the later form of a value in the place of its earlier one. A value gets a later form
 * when it turns out only after others refer to it what it is: the first key of a dict that is no string, the state of a
 * UUID. It can do so before it is complete only in a cycle, or in a pickle made by hand.
 */
export function replaceWithin(root: unknown, later: ReadonlyMap<object, unknown>): unknown {
  const current = (value: unknown) =>
    typeof value === 'object' && value !== null && later.has(value) ? later.get(value) : value
  const top = current(root)
  const seen = new Set<object>()
  const left: object[] = []
  visit(top)

  for (let container = left.pop(); container !== undefined; container = left.pop()) {
    replaceFields(container, current)
    for (const child of childrenOf(container)) visit(child)
  }
  return top

  function visit(value: unknown): void {
    if (typeof value !== 'object' || value === null || seen.has(value)) return
    seen.add(value)
    left.push(value)
  }
}

function replaceFields(container: object, current: (value: unknown) => unknown): void {
  if (Array.isArray(container)) {
    for (let index = 0; index < container.length; index++) container[index] = current(container[index])
  } else if (isPlainObject(container)) {
    for (const [key, value] of Object.entries(container)) setProperty(container, key, current(value))
  } else if (container instanceof Map) {
    for (const [key, value] of container) container.set(key, current(value))
  } else if (container instanceof PyObject || container instanceof PyException) {
    container.state = current(container.state)
  }
}
