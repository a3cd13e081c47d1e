import type { DecodeOptions } from '../pickle/limits.ts'
import type { SettledBackendOptions } from './backend-options.ts'
import { type GroupInput, membersOf } from './group-input.ts'
import { decodeGroup, encodeGroup, type GroupMember } from './groups.ts'
import { isStorable } from './is-storable.ts'
import { ResultCache } from './result-cache.ts'
import { rowsOf, taskRowOf } from './statements/statements.ts'
import type { TableAccess } from './table-access.ts'
import { withinLimit } from './task-read.ts'
import { guardText } from './text-guard.ts'

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
  /** The newest groups that were there at some moments, the latest one last. */
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
   * The `id` of the newest group that was there so many seconds ago, as far as this was asked then; 0 for none. So it is
   * known how old groups are at least, whatever their dates say.
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

  /** What is kept in memory may be wrong from now on. */
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
