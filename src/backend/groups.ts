import { encode } from '../pickle/encode.ts'
import type { DecodeOptions } from '../pickle/limits.ts'
import { PyObject, PyTuple } from '../pickle/values.ts'
import { type DecodeResultOptions, decodeResult, type EncodeResultOptions } from './column.ts'
import type { SettledBackendOptions } from './options.ts'
import { ResultCache, withinLimit } from './reading.ts'
import { rowsOf, taskRowOf } from './statements/types.ts'
import type { TableAccess } from './tables.ts'
import { guardText, isStorable } from './texts.ts'

/** A task of a saved group, or a group within it. */
export interface GroupMember {
  /** The id of the task, or of the group. */
  readonly id: string
  /** The task it was chained to, and its parents in turn. */
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
 * Reads a saved group, written by Python or Node, and nothing of the backend in it.
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

/** A member of a group, or of a group in it, so many levels down. */
export interface FlatMember {
  readonly id: string
  readonly depth: number
  readonly isGroup: boolean
}

/** The members, each group followed by its own. */
export function flattened(members: readonly GroupMember[], depth = 0): FlatMember[] {
  return members.flatMap(({ id, children }) => [
    { id, depth, isGroup: children !== undefined },
    ...flattened(children ?? [], depth + 1),
  ])
}

/**
 * A result that a task returned or that is among its children: pickled, or as nested arrays, `[[id, parent], members]`;
 * `undefined` for anything else.
 */
export function memberIn(value: unknown): GroupMember | undefined {
  if (value instanceof PyObject) return isCelerys(value) ? toMember(value, 0) : undefined
  return toMember(value, 0)
}

function isCelerys({ module, name }: PyObject): boolean {
  return module === 'celery.result' || (module === 'celery.app.base' && name === APP_ATTRIBUTE)
}

/** A member of a group to be saved: the id of a task, or an object that has it, such as an `AsyncResult`. */
export type GroupInput =
  | string
  | {
      readonly id: string
      readonly parent?: GroupInput | null | undefined
      /** The members of a group within the group; a promise, of what a task started, is left out. */
      readonly children?: readonly GroupInput[] | PromiseLike<unknown> | null | undefined
      /** The same, as a `GroupResult` has them. */
      readonly results?: readonly GroupInput[] | undefined
    }

/** @throws StatementError for an id that no row could have */
function membersOf(members: readonly GroupInput[]): GroupMember[] {
  return members.map(memberOf)
}

function memberOf(member: GroupInput): GroupMember {
  if (typeof member === 'string') return { id: guardText('taskId', member), parent: null }
  const { id, parent } = member
  const children = membersIn(member)
  return {
    id: guardText('taskId', id),
    parent: parent == null ? null : memberOf(parent),
    ...(children !== null && { children: membersOf(children) }),
  }
}

/** An AsyncResult's `children` are not its members, and reading them would query the database. */
function membersIn(group: Exclude<GroupInput, string>): readonly GroupInput[] | null {
  if (group.results !== undefined) return group.results
  return Object.hasOwn(group, 'children') && Array.isArray(group.children) ? group.children : null
}

/** A saved group. */
export interface SavedGroup {
  readonly groupId: string
  readonly members: readonly GroupMember[]
  /** What is stored instead of a group: Celery saves any value. */
  readonly other?: unknown
}

export interface SavedGroupsParts {
  readonly access: TableAccess
  readonly settled: SettledBackendOptions
  readonly pickle: DecodeOptions
  readonly maxResultBytes: number
}

/** The groups of a backend: which tasks belong together. */
export class SavedGroups {
  readonly #parts: SavedGroupsParts
  readonly #cache: ResultCache<SavedGroup>
  /** The newest group at the time of each cleanup, the latest last. */
  #seen: { readonly at: number; readonly newest: number }[] = []

  constructor(parts: SavedGroupsParts) {
    this.#parts = parts
    this.#cache = new ResultCache(parts.settled.resultCacheMax)
  }

  async save(groupId: string, members: readonly GroupInput[]): Promise<void> {
    const { wire, resultSerializer: serializer } = this.#parts.settled
    const id = guardText('groupId', groupId)
    const bytes = encodeGroup(id, membersOf(members), { wire, serializer })
    try {
      await this.#parts.access.use(({ engine, statements }) => statements.saveGroup(engine, id, bytes), {
        writing: `saving group ${JSON.stringify(id)}`,
      })
    } finally {
      this.#cache.delete(id)
    }
  }

  async restore(groupId: string): Promise<SavedGroup | null> {
    const cached = this.#cache.get(groupId)
    if (cached !== undefined) return cached
    if (!isStorable(groupId)) return null
    return this.#cache.reading([groupId], async (keep) => {
      const group = await this.#read(groupId)
      if (group !== null) keep(groupId, group)
      return group
    })
  }

  async delete(groupId: string): Promise<void> {
    if (!isStorable(groupId)) return
    try {
      await this.#parts.access.run({
        statement: ({ statements }) => statements.deleteGroup(groupId),
        writing: `deleting group ${JSON.stringify(groupId)}`,
      })
    } finally {
      this.#cache.delete(groupId)
    }
  }

  /**
   * The `id` of the newest group that a cleanup found at least so many seconds ago; 0 for none. It says how old groups are
   * at least, where their dates do not.
   */
  async newestBefore(seconds: number): Promise<number> {
    const answer = await this.#parts.access.run({ statement: ({ statements }) => statements.newestGroup() })
    const now = performance.now()
    const newest = Number(Reflect.get(rowsOf(answer)[0] ?? {}, 'id'))
    // Numbers beyond were given up, and are drawn again where the table was made anew.
    const seen = this.#seen.map((moment) => ({ ...moment, newest: Math.min(moment.newest, newest) }))
    this.#seen = [...seen, { at: now, newest }]
    const before = this.#seen.findLastIndex(({ at }) => at < now - seconds * 1_000)
    if (before === -1) return 0
    this.#seen = this.#seen.slice(before)
    return this.#seen[0]?.newest ?? 0
  }

  /** Empties the cache. */
  drop(): void {
    this.#cache.clear()
  }

  async #read(groupId: string): Promise<SavedGroup | null> {
    const { access, settled, pickle, maxResultBytes } = this.#parts
    const [row] = rowsOf(await access.run({ statement: ({ statements }) => statements.group(groupId) }))
    if (row === undefined) return null

    const { result, size } = taskRowOf(row)
    const serializer = settled.resultSerializer
    const bytes = withinLimit(result, size, maxResultBytes)
    const { groupId: savedId, members, other } = decodeGroup(bytes, { serializer, pickle })
    return savedId === null ? { groupId, members, other } : { groupId: savedId, members }
  }
}
