import { encode } from '../pickle/encode.ts'
import { PyObject, PyTuple } from '../pickle/values.ts'
import { type DecodeResultOptions, decodeResult, type EncodeResultOptions } from './result-column.ts'

/** A task of a saved group, or a group within it. */
export interface GroupMember {
  /** The id of the task, or of the group. */
  readonly id: string
  /** What it was chained to, of which Celery keeps all the way up. */
  readonly parent: GroupMember | null
  /** The members, when it is a group. */
  readonly children?: readonly GroupMember[]
}

/** A saved group. */
export interface DecodedGroup {
  /** `null` if no group is stored there. */
  readonly groupId: string | null
  readonly members: GroupMember[]
  /** What is stored there instead of a group: Celery saves any value. */
  readonly other?: unknown
}

/**
 * A group as Celery restores it. A pickle is that of its `GroupResult`, but with no backend in the places where Celery puts
 * its own, database URL and password included: every Celery since 5.2 then takes the backend it restores with. Any other
 * serializer is given nested arrays, as `GroupResult.as_tuple()` has them.
 */
export function encodeGroup(
  groupId: string,
  members: readonly GroupMember[],
  { wire, serializer }: EncodeResultOptions,
): Uint8Array {
  const group = { id: groupId, parent: null, children: members }
  if (wire === 'pickle') return encode(toObject(group))
  return serializer.encode(serializer.name === 'pickle' ? toObject(group) : toTuple(group))
}

/**
 * Reads a saved group, whoever wrote it, and nothing of the backend in it.
 *
 * @throws BackendError (`RESULT_UNREADABLE`)
 */
export function decodeGroup(bytes: Uint8Array | null, options: DecodeResultOptions): DecodedGroup {
  const value = decodeResult(bytes, options)
  const group = toMember(value, 0)
  if (group?.children === undefined) return { groupId: null, members: [], other: value }
  return { groupId: group.id, members: [...group.children] }
}

/** Celery's `_unpickle_appattr(name, args)` takes the class from the app that reads it. */
function toObject({ id, parent, children }: GroupMember): PyObject {
  const make = (name: string, ...args: unknown[]) =>
    new PyObject({
      kind: 'call',
      module: 'celery.app.base',
      name: APP_ATTRIBUTE,
      args: PyTuple.of(name, PyTuple.from(args)),
    })
  if (children !== undefined) return make('GroupResult', id, children.map(toObject))
  const [backend, taskName, app] = [null, null, null]
  return make('AsyncResult', id, backend, taskName, app, parent && toObject(parent))
}

function toTuple({ id, parent, children }: GroupMember): PyTuple {
  return PyTuple.of(PyTuple.of(id, parent && toTuple(parent)), children?.map(toTuple) ?? null)
}

const APP_ATTRIBUTE = '_unpickle_appattr'

/** A pickle made by hand may hold itself. */
const MAX_DEPTH = 1_000

/** `undefined` for what is no result of Celery. */
function toMember(value: unknown, depth: number): GroupMember | undefined {
  if (depth > MAX_DEPTH) return undefined
  if (value instanceof PyObject) return fromObject(value, depth)
  return Array.isArray(value) ? fromTuple(value, depth) : undefined
}

/** Made by the app, `('AsyncResult', (id, backend, …))`, or by the class itself. */
function fromObject({ kind, module, name, args }: PyObject, depth: number): GroupMember | undefined {
  if (kind === 'global') return undefined
  const isByApp = module === 'celery.app.base' && name === APP_ATTRIBUTE
  const className = isByApp ? args[0] : name
  const fields = isByApp ? args[1] : args
  if (!Array.isArray(fields) || typeof className !== 'string' || !className.endsWith('Result'))
    return undefined
  const [id, second, , , parent = null] = fields
  if (className === 'GroupResult') return toGroup(id, null, second, depth)
  return toTask(id, parent, depth)
}

/** `((id, parent), children)`; no children, not even an empty list, for a task. */
function fromTuple([head, children]: readonly unknown[], depth: number): GroupMember | undefined {
  if (!Array.isArray(head)) return undefined
  const [id, parent = null] = head
  return children === null ? toTask(id, parent, depth) : toGroup(id, parent, children, depth)
}

function toTask(id: unknown, parent: unknown, depth: number): GroupMember | undefined {
  const known = parent === null ? null : toMember(parent, depth + 1)
  return typeof id === 'string' && known !== undefined ? { id, parent: known } : undefined
}

function toGroup(id: unknown, parent: unknown, members: unknown, depth: number): GroupMember | undefined {
  const task = toTask(id, parent, depth)
  if (task === undefined || !Array.isArray(members)) return undefined
  const children: GroupMember[] = []
  for (const member of members) {
    const child = toMember(member, depth + 1)
    if (child === undefined) return undefined
    children.push(child)
  }
  return { ...task, children }
}
