import { BackendGetMetaError } from '../errors.ts'
import type { DecodeOptions } from '../pickle/limits.ts'
import type { SettledBackendOptions } from './backend-options.ts'
import { isStorable } from './is-storable.ts'
import type { Tables } from './open-tables.ts'
import { ResultCache } from './result-cache.ts'
import { rowsOf, taskRowOf } from './statements/statements.ts'
import type { State } from './states.ts'
import type { TableAccess } from './table-access.ts'
import type { TaskMeta } from './task-meta.ts'
import { metaOf, pendingMeta, type ReadContext } from './task-read.ts'

export interface TaskReaderParts {
  readonly access: TableAccess
  readonly settled: SettledBackendOptions
  readonly pickle: DecodeOptions
  readonly maxResultBytes: number
}

/** How a question for many tasks is asked. */
export interface AskOptions {
  /** Ends the trying again after a failure, with an `AbortedError`; a statement under way is not interrupted. */
  readonly signal?: AbortSignal | undefined
}

/** How many ids go into one statement that fetches results, and into one that does not: MySQL counts its parameters. */
const MOST_IDS = 1_000
const MOST_FINISHED = 16_384

/** What is stored of tasks, read from the database or kept since. */
export class TaskReader {
  readonly #parts: TaskReaderParts
  readonly #cache: ResultCache<TaskMeta>

  constructor(parts: TaskReaderParts) {
    this.#parts = parts
    this.#cache = new ResultCache(parts.settled.resultCacheMax)
  }

  /** @throws BackendGetMetaError */
  async meta(taskId: string, { signal }: AskOptions = {}): Promise<TaskMeta> {
    const cached = this.#cache.get(taskId)
    if (cached !== undefined) return cached
    const { access } = this.#parts
    if (!isStorable(taskId)) return pendingMeta(taskId, this.#context(await access.open()))

    return this.#cache.reading([taskId], async (keep) => {
      const meta = await access.use(
        async (tables) => {
          const [row] = rowsOf(await tables.engine.run(tables.statements.get(taskId)))
          const context = this.#context(tables)
          return row === undefined ? pendingMeta(taskId, context) : metaOf(taskRowOf(row), context)
        },
        { signal, exhausted: (cause) => new BackendGetMetaError(taskId, { cause }) },
      )
      if (meta.status === 'SUCCESS') keep(taskId, meta)
      return meta
    })
  }

  async many(taskIds: readonly string[], { signal }: AskOptions = {}): Promise<Map<string, TaskMeta>> {
    const wanted = [...new Set(taskIds)]
    const metas = new Map<string, TaskMeta>()
    for (const id of wanted) {
      const cached = this.#cache.get(id)
      if (cached !== undefined) metas.set(id, cached)
    }
    const missing = wanted.filter((id) => !metas.has(id))
    for (const ids of slicesOf(missing, MOST_IDS)) {
      await this.#cache.reading(ids, async (keep) => {
        for (const meta of await this.#slice(ids, signal)) {
          metas.set(meta.taskId, meta)
          if (meta.status === 'SUCCESS') keep(meta.taskId, meta)
        }
      })
    }
    const context = this.#context(await this.#parts.access.open())
    return new Map(wanted.map((id) => [id, metas.get(id) ?? pendingMeta(id, context)]))
  }

  /** The state of a task, `null` where there is no row. @throws BackendGetMetaError */
  async state(taskId: string, { signal }: AskOptions = {}): Promise<State | null> {
    if (!isStorable(taskId)) return null
    const answer = await this.#parts.access.run({
      statement: ({ statements }) => statements.state(taskId),
      signal,
      exhausted: (cause) => new BackendGetMetaError(taskId, { cause }),
    })
    const [row] = rowsOf(answer)
    return row === undefined ? null : String(Reflect.get(row, 'status') ?? 'PENDING')
  }

  /** The state of a task that succeeded and is kept, without asking for it. */
  keptState(taskId: string): State | undefined {
    return this.#cache.get(taskId)?.status
  }

  async finished(taskIds: readonly string[], { signal }: AskOptions = {}): Promise<Map<string, State>> {
    const wanted = new Set(taskIds)
    const states = new Map<string, State>()
    // Mostly all in one: who polls asks for everybody again and again, and few of them are done.
    for (const ids of slicesOf([...wanted], MOST_FINISHED)) {
      const answer = await this.#parts.access.run({
        statement: ({ statements }) => statements.finished(ids),
        signal,
      })
      for (const row of rowsOf(answer)) {
        const taskId = String(Reflect.get(row, 'task_id'))
        // MySQL also finds ids that only look the same.
        if (wanted.has(taskId)) states.set(taskId, String(Reflect.get(row, 'status')))
      }
    }
    return states
  }

  /** What is kept of a task may be wrong from now on; of all tasks when none is named. */
  drop(taskId?: string): void {
    if (taskId === undefined) this.#cache.clear()
    else this.#cache.delete(taskId)
  }

  #slice(ids: readonly string[], signal: AbortSignal | undefined): Promise<TaskMeta[]> {
    return this.#parts.access.use(
      async (tables) => {
        const rows = rowsOf(await tables.engine.run(tables.statements.getMany(ids)))
        const context = this.#context(tables)
        return rows.map((row) => metaOf(taskRowOf(row), context))
      },
      { signal },
    )
  }

  #context({ hasChildren, hasStamps, statements }: Tables): ReadContext {
    const { settled, pickle, maxResultBytes } = this.#parts
    return {
      serializer: settled.resultSerializer,
      accept: settled.resultAcceptContent,
      pickle,
      isExtended: settled.resultExtended,
      hasChildren,
      hasStamps,
      maxResultBytes,
      clock: statements.clock,
    }
  }
}

/** Ids that no row can have are left out. */
function slicesOf(ids: readonly string[], most: number): string[][] {
  const storable = ids.filter(isStorable)
  const slices: string[][] = []
  for (let at = 0; at < storable.length; at += most) slices.push(storable.slice(at, at + most))
  return slices
}
