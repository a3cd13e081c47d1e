import type { DecodeOptions } from '../pickle/limits.ts'
import { dateOf, type WallClock } from './clock.ts'
import { decodeResult, type Serializer } from './column.ts'
import { BackendError, BackendGetMetaError } from './errors.ts'
import type { SettledBackendOptions } from './options.ts'
import { withToJson } from './plain-meta.ts'
import { rowsOf, type TaskRow, taskRowOf } from './statements/types.ts'
import type { TableAccess, Tables } from './tables.ts'
import { isStorable } from './texts.ts'
import { READY_STATES, type State, type TaskMeta } from './types.ts'

export interface TaskReaderParts {
  readonly access: TableAccess
  readonly settled: SettledBackendOptions
  readonly pickle: DecodeOptions
  readonly maxResultBytes: number
}

/** How many tasks are read at once. */
export interface AskOptions {
  /** Ends the retries with an `AbortedError`; a running statement is not interrupted. */
  readonly signal?: AbortSignal | undefined
}

/** Ids in a statement that fetches results, and in one that does not: MySQL limits the number of parameters. */
const MOST_IDS = 1_000
const MOST_FINISHED = 16_384

/** Reads tasks, from the database or from the cache. */
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

  /** The state of a task, if the cache has it. */
  keptState(taskId: string): State | undefined {
    return this.#cache.get(taskId)?.status
  }

  async finished(taskIds: readonly string[], { signal }: AskOptions = {}): Promise<Map<string, State>> {
    const wanted = new Set(taskIds)
    const states = new Map<string, State>()
    // Large statements: polls repeat them for all waiters, and few of these tasks are done.
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

  /**
   * For each of these tasks a text that is another one when its state is, or what is stored with it; of a value beyond the
   * limit its size stands for it. Of tasks that are done, or have no row, it is empty.
   */
  async marks(taskIds: readonly string[], { signal }: AskOptions): Promise<Map<string, string>> {
    const marks = new Map(taskIds.map((id) => [id, '']))
    for (const ids of slicesOf(taskIds, MOST_FINISHED)) {
      const statement = ({ statements }: Tables) => statements.unfinished(ids)
      for (const row of rowsOf(await this.#parts.access.run({ statement, signal }))) {
        const { taskId, status, result, size } = taskRowOf(row)
        const stored = result === null ? '' : Buffer.from(result).toString('latin1')
        if (marks.has(taskId)) marks.set(taskId, JSON.stringify([status, size, stored]))
      }
    }
    return marks
  }

  /** Drops a task from the cache, or all of them. */
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

/** How columns are decoded. */
export interface ReadContext {
  readonly serializer: Serializer
  /** The serializers whose arguments may be read; `null` for all. Results are read whatever they are written with. */
  readonly accept: readonly string[] | null
  readonly pickle: DecodeOptions
  /** Whether the meta has the extended fields. */
  readonly isExtended: boolean
  readonly hasChildren: boolean
  readonly hasStamps: boolean
  /** Bytes; a larger result was not fetched. */
  readonly maxResultBytes: number
  /** The clock by which dates are stored. */
  readonly clock: WallClock
}

/**
 * The meta of a row. One value that cannot be decoded does not hide the others: its property throws the error when it is
 * read.
 */
function metaOf(row: TaskRow, context: ReadContext): TaskMeta {
  const { serializer, accept, pickle, isExtended, hasChildren, hasStamps, clock } = context
  const meta: Record<string, unknown> = {
    taskId: row.taskId,
    status: row.status ?? 'PENDING',
  }
  const define = (property: string, decode: () => unknown) => {
    try {
      meta[property] = decode()
    } catch (error) {
      const get = () => {
        throw error
      }
      Object.defineProperty(meta, property, { get, enumerable: false, configurable: true })
    }
  }
  const decoded = (bytes: Uint8Array | null) => decodeResult(bytes, { serializer, pickle, accept })
  define('result', () => {
    const bytes = withinLimit(row.result, row.size, context.maxResultBytes)
    return decodeResult(bytes, { serializer, pickle })
  })
  meta['traceback'] = row.traceback
  // Celery gives unfinished tasks a date at every second update.
  meta['dateDone'] = READY_STATES.has(row.status ?? '') ? dateOf(row.dateDone, clock) : null
  if (isExtended) {
    const { name, worker, retries, queue } = row
    Object.assign(meta, { name, worker, retries, queue })
    define('args', () => decoded(row.args))
    define('kwargs', () => decoded(row.kwargs))
  }
  if (hasChildren) define('children', () => decoded(row.children))
  if (isExtended && hasStamps) define('stamps', () => decoded(row.stamps))
  // The properties are TaskMeta's, one by one.
  return withToJson(meta as unknown as TaskMeta)
}

/** The meta of a task without a row. */
function pendingMeta(taskId: string, { isExtended, hasChildren, hasStamps }: ReadContext): TaskMeta {
  const nothing = { name: null, args: null, kwargs: null, worker: null, retries: null, queue: null }
  return withToJson({
    taskId,
    status: 'PENDING',
    result: null,
    traceback: null,
    dateDone: null,
    ...(isExtended && nothing),
    ...(hasChildren && { children: null }),
    ...(isExtended && hasStamps && { stamps: null }),
  })
}

/** @throws BackendError `RESULT_TOO_LARGE` when it was left in the database for its size */
export function withinLimit(bytes: Uint8Array | null, size: number | null, most: number): Uint8Array | null {
  if (size === null || size <= most) return bytes
  throw new BackendError(
    'RESULT_TOO_LARGE',
    `Cannot read a result of ${size} bytes: maxResultBytes is ${most}. It was not fetched.`,
  )
}

/**
 * An LRU cache of what cannot change any more: Celery's `result_cache_max`. A value that was read while it was being written
 * may be outdated: it is kept only if its key was not dropped since the read began.
 */
export class ResultCache<Value> {
  readonly #most: number
  readonly #values = new Map<string, Value>()
  /** The running reads; a key is removed when it is dropped. */
  readonly #marks = new Map<string, Mark>()

  /** @param most -1 keeps nothing, 0 and `null` everything, as in Celery */
  constructor(most: number | null) {
    this.#most = most === null || most === 0 ? Number.POSITIVE_INFINITY : Math.max(0, most)
  }

  get(id: string): Value | undefined {
    const value = this.#values.get(id)
    if (value !== undefined) this.#move(id, value)
    return value
  }

  /** Runs a read of these ids; what it gives to `keep` is cached, unless it was dropped meanwhile. */
  async reading<Result>(
    ids: readonly string[],
    read: (keep: Keep<Value>) => Promise<Result>,
  ): Promise<Result> {
    if (this.#most === 0) return read(() => {})
    const marks = new Map([...new Set(ids)].map((id) => [id, this.#mark(id)]))
    try {
      return await read((id, value) => {
        if (marks.get(id) === this.#marks.get(id)) this.#keep(id, value)
      })
    } finally {
      for (const [id, mark] of marks) this.#unmark(id, mark)
    }
  }

  delete(id: string): void {
    this.#marks.delete(id)
    this.#values.delete(id)
  }

  clear(): void {
    this.#marks.clear()
    this.#values.clear()
  }

  #mark(id: string): Mark {
    const mark = this.#marks.get(id) ?? { readers: 0 }
    mark.readers++
    this.#marks.set(id, mark)
    return mark
  }

  /** The last reader removes the mark, unless it was dropped or replaced. */
  #unmark(id: string, mark: Mark): void {
    mark.readers--
    if (mark.readers === 0 && this.#marks.get(id) === mark) this.#marks.delete(id)
  }

  #keep(id: string, value: Value): void {
    this.#move(id, value)
    if (this.#values.size <= this.#most) return
    const [oldest] = this.#values.keys()
    if (oldest !== undefined) this.#values.delete(oldest)
  }

  /** Moves it to the end, where the latest used are. */
  #move(id: string, value: Value): void {
    this.#values.delete(id)
    this.#values.set(id, value)
  }
}

type Keep<Value> = (id: string, value: Value) => void

interface Mark {
  readers: number
}
