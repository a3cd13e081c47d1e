import { PickleError } from '../errors.ts'
import type { Limits } from './limits.ts'
import { PyDateTime, PyTime } from './times.ts'
import { isPlainObject, PyDecimal, PyException, PyObject, setProperty } from './values.ts'
import { PyTimeZone } from './zones.ts'

/** A container that is being measured. */
interface Frame {
  readonly container: object
  readonly children: readonly unknown[]
  next: number
  /** Written out in each place. */
  size: number
  /** Containers within containers below it. */
  height: number
}

/**
 * Checks how deep a value is, and by how much it grows when what is shared is written out in each place. Each container is
 * visited once, and nothing recurses.
 * @param isShared whether anything may stand in two places; a value without is measured faster
 * @param repeated the size of the texts and names that stand in one place more, which have no identity to know them by
 * @throws PickleError `PICKLE_LIMIT`
 */
export function measure(
  root: unknown,
  isShared: boolean,
  repeated: number,
  { maxDepth, maxExpansion }: Limits,
): void {
  const measured = new Map<object, Pick<Frame, 'size' | 'height'>>()
  const path: Frame[] = []
  /** Of all that was visited, each once: what the pickle itself paid for. */
  let once = 0
  enter(root)

  for (let frame = path.at(-1); frame !== undefined; frame = path.at(-1)) {
    const { children } = frame
    let child: unknown
    while (frame.next < children.length && !isContainer(child)) {
      child = children[frame.next++]
      if (!isContainer(child)) addLeaf(frame, child)
    }
    if (isContainer(child)) add(frame, child)
    else leave(frame)
  }

  function addLeaf(frame: Frame, leaf: unknown): void {
    const size = sizeOf(leaf)
    frame.size += size
    if (leaf instanceof Uint8Array) {
      if (measured.has(leaf)) return
      measured.set(leaf, { size, height: 0 })
    }
    once += size
  }

  function add(frame: Frame, child: object): void {
    const known = measured.get(child)
    if (known === undefined) {
      enter(child)
    } else {
      frame.size += known.size
      frame.height = Math.max(frame.height, known.height + 1)
    }
  }

  function enter(value: unknown): void {
    if (!isContainer(value)) return
    if (path.length >= maxDepth) throw tooDeep(maxDepth)
    // Until it is left: a value that holds itself is written out once.
    if (isShared) measured.set(value, { size: 1, height: 0 })
    const size = ownSizeOf(value)
    once += size
    path.push({ container: value, children: childrenOf(value), next: 0, size, height: 1 })
  }

  function leave(frame: Frame): void {
    path.pop()
    const { container, size, height } = frame
    if (isShared && size - once + repeated > maxExpansion) throw tooLarge(maxExpansion)
    if (path.length + height > maxDepth) throw tooDeep(maxDepth)
    if (isShared) measured.set(container, { size, height })
    const parent = path.at(-1)
    if (parent === undefined) return
    parent.size += size
    parent.height = Math.max(parent.height, height + 1)
  }
}

function isContainer(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !(value instanceof Uint8Array)
}

function sizeOf(leaf: unknown): number {
  if (typeof leaf === 'string') return sizeOfText(leaf)
  if (leaf instanceof Uint8Array) return 1 + leaf.length
  return typeof leaf === 'bigint' ? 64 : 1
}

/** A long text is looked through, since JSON makes six characters of each that it escapes by number. */
export function sizeOfText(text: string): number {
  const { length } = text
  const written = length > LONG_TEXT && ESCAPED_BY_NUMBER.test(text) ? length * 6 : length
  return 1 + Math.floor(written / 8)
}

const LONG_TEXT = 4_096
const ESCAPED_BY_NUMBER = /[^\P{Cc}\t\n\r]|\p{Surrogate}/u

/** Of what is written beside the children: keys and names. */
function ownSizeOf(container: object): number {
  if (isPlainObject(container)) {
    return Object.keys(container).reduce((size, key) => size + sizeOfText(key), 1)
  }
  if (container instanceof PyObject) return sizeOfText(container.module) + sizeOfText(container.name)
  if (container instanceof PyException) return sizeOfText(container.module) + sizeOfText(container.type)
  return container instanceof PyDecimal ? sizeOfText(container.text) : 1
}

function tooDeep(maxDepth: number): PickleError {
  return new PickleError(
    'PICKLE_LIMIT',
    `Cannot decode the pickle: it is deeper than maxDepth, ${maxDepth}`,
    {
      limit: 'maxDepth',
    },
  )
}

export function tooLarge(maxExpansion: number): PickleError {
  return new PickleError(
    'PICKLE_LIMIT',
    'Cannot decode the pickle: with what it shares written out in each place it grows by more than maxExpansion, ' +
      `${maxExpansion}`,
    { limit: 'maxExpansion' },
  )
}

/**
 * Replaces, within all that a value holds, earlier forms of values by their later ones. A value gets a later form if
 * its type shows only after others refer to it: the first key of a dict that is no string, the state of a UUID. That
 * needs a cycle, or a pickle made by hand.
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
