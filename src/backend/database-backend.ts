import { dburiText } from '../dburi/parse.ts'
import { redactDburi } from '../dburi/redact.ts'
import { owesRound, round } from '../driver/event-loop.ts'
import { PoolTimeoutError } from '../errors.ts'
import { isObject, readOptions } from '../options/check.ts'
import { assertOption, invalid } from '../options/values.ts'
import type { PyClasses } from '../pickle/classes.ts'
import { type DecodeOptions, limitsOf } from '../pickle/limits.ts'
import { PyException } from '../pickle/values.ts'
import type { CoreSessionManager } from '../session/manager.ts'
import { channels, seen } from '../tracing/channels.ts'
import { type CleanupCounts, type CleanupOptions, cleanUp } from './cleanup.ts'
import { taskErrorOf } from './column.ts'
import { isFrozenIn } from './date-done.ts'
import {
  type DoneCounts,
  type DoneCountsOptions,
  doneCountsOf,
  doneRequestOf,
  MOST_COUNTS,
} from './done-counts.ts'
import { BackendStoreError } from './errors.ts'
import { type GroupInput, type SavedGroup, SavedGroups } from './groups.ts'
import {
  assertPosition,
  type ListOptions,
  listRequestOf,
  listStatement,
  pageOf,
  type TaskPage,
} from './list.ts'
import { assertNotifies, listenerOn, type ResultListener } from './notify.ts'
import {
  type DatabaseBackendOptions,
  type SettledBackendOptions,
  settleBackendOptions,
  toRecord,
} from './options.ts'
import { type MarkedMeta, ResultPoller, type WaitOptions } from './poller.ts'
import { type AskOptions, TaskReader } from './reading.ts'
import { CountsCache, type RecentCounts, type RecentCountsOptions } from './recent-counts.ts'
import { isTransient } from './retrying.ts'
import { batchOf, rowsOf, type TaskWrite } from './statements/types.ts'
import { accessTo, type TableAccess, type Tables } from './tables.ts'
import { guardText, isStorable } from './texts.ts'
import { EXCEPTION_STATES, READY_STATES, type State, type TaskMeta } from './types.ts'
import { piecesOf, type StoreOptions, storePieces, taskWriteOf } from './writing.ts'

/** How a backend is made: Celery's settings, and what is ours. */
export interface BackendOptions extends DatabaseBackendOptions {
  /** The manager to take the engine from; it is not disposed of with the backend. @default one of its own */
  manager?: CoreSessionManager | undefined
  /**
   * What reading a pickle may cost, and what its classes mean, in writing too. `maxBytes` also bounds what is fetched of any
   * result at all.
   */
  pickle?: DecodeOptions | undefined
}

/** One result of many: the arguments of `storeResult`. */
export interface TaskResult extends Omit<StoreOptions, 'signal'> {
  readonly taskId: string
  readonly result: unknown
  /** @default 'SUCCESS' */
  readonly state?: State
}

/** The default of `pickle.maxBytes`: larger results are not fetched. */
const MAX_RESULT_BYTES = 67_108_864

/**
 * Celery's SQL result backend, `celery.backends.database.DatabaseBackend`: what Python workers store is read here, and
 * what is stored here they read. The database is opened and its tables are created at construction
 * (`databaseCreateTablesAtSetup`) or with the first call, and again after a failure.
 *
 * Unlike there, connections are pooled, a store is one statement that fails for no other writer of the task, `date_done`
 * stays NULL until a task is ready, and only what can help is tried again. The last write wins, as there, unless
 * `protectReady` is set.
 */
export class DatabaseBackend implements AsyncDisposable {
  static readonly name: string = 'DatabaseBackend'

  readonly #settled: SettledBackendOptions
  readonly #access: TableAccess
  readonly #listener: ResultListener | null
  readonly #poller: ResultPoller
  readonly #tasks: TaskReader
  readonly #groups: SavedGroups
  readonly #counts = new CountsCache(() => this.counts())
  readonly #uri: string
  readonly #classes: PyClasses | undefined

  /**
   * @param given the dburi: what Celery has in `result_backend`, with or without its `db+`
   * @throws OptionError, DburiError
   */
  constructor(given: string | URL, options: BackendOptions = {}) {
    const dburi = dburiText(given)
    assertOption(isObject(options), 'options', 'an object')
    const { manager, pickle = {}, ...celerys } = options
    const settled = readOptions(celerys, settleBackendOptions)
    const maxResultBytes = checkBytes(toRecord('pickle', pickle)['maxBytes'] ?? MAX_RESULT_BYTES)
    // Checked now for its errors, which would otherwise come with the first result.
    limitsOf(pickle, 0)
    const access = accessTo(dburi, { settled, manager, maxResultBytes })
    if (settled.notify) assertNotifies(access.manager.parse(dburi))
    this.#settled = settled
    this.#access = access
    this.#uri = redactDburi(dburi)
    this.#classes = pickle.classes
    this.#tasks = new TaskReader({ access, settled, pickle, maxResultBytes })
    this.#groups = new SavedGroups({ access, settled, pickle, maxResultBytes })
    const withChanges = settled.notify === 'changes'
    this.#listener = settled.notify
      ? listenerOn(access, { withChanges, fail: (error) => this.#poller.fail(error) })
      : null
    this.#poller = new ResultPoller({
      finished: (taskIds, signal) => this.#finishedMetas(taskIds, signal),
      changed: (marks, signal) => this.#changedMetas(marks, signal),
      mayPass: (error) => isTransient(error) || error instanceof PoolTimeoutError,
      listener: this.#listener,
      notifiesChanges: withChanges,
    })
    if (settled.databaseCreateTablesAtSetup) access.openSoon()
  }

  /** The manager whose engine is used. */
  get manager(): CoreSessionManager {
    return this.#access.manager
  }

  /** Seconds after which `cleanup` deletes a result; `null` for never. */
  get resultExpires(): number | null {
    return this.#settled.resultExpires
  }

  /** The dburi as it may be printed: `***` stands for the password. */
  asUri(): string {
    return this.#uri
  }

  /**
   * Stores the state of a task and its other fields, replacing the row: what is not given is cleared, with
   * `resultExtended` the name, arguments and so on too.
   *
   * It does not fail when a Python worker inserts the same task id at once. The worker's store may, and with Celery 5.7
   * loses its result unless the worker has `result_backend_always_retry = True`.
   *
   * After a lost connection it is retried, which writes the same once more. The repeat of an unfinished state never replaces
   * a finished one that was stored meanwhile.
   * @returns whether the row has it now; `false` only where `protectReady`, or such a repeat, left another one in place
   * @throws BackendStoreError, AmbiguousOutcomeError, StatementError for texts that do not fit their columns, PickleError
   * and BackendError for values that cannot be written
   */
  async storeResult(
    taskId: string,
    result: unknown,
    state: State,
    options: StoreOptions = {},
  ): Promise<boolean> {
    guardText('taskId', taskId)
    guardText('status', state)
    const { signal } = options
    assertSignal(signal)
    const { protectReady } = this.#settled
    // It is encoded once the columns are known, and only once.
    let write: TaskWrite | undefined
    try {
      return await this.#access.use(
        (tables, afterLoss) => {
          write ??= this.#writeOf(tables, { taskId, result, state, ...options })
          const mayTurnBack = afterLoss && !READY_STATES.has(state)
          const given = write
          return seen(
            channels.store,
            () => ({ ...tables.engine.seenAs, count: 1 }),
            () => tables.statements.store(tables.engine, given, protectReady || mayTurnBack),
          )
        },
        {
          writing: `storing the result of task ${JSON.stringify(taskId)}`,
          signal,
          exhausted: (cause, isOutcomeUnknown) =>
            new BackendStoreError(taskId, state, isOutcomeUnknown, { cause }),
        },
      )
    } finally {
      this.#tasks.drop(taskId)
    }
  }

  /** A worker has begun. `meta` is mostly its `{ pid, hostname }`. */
  markAsStarted(taskId: string, meta: unknown = null, options?: StoreOptions): Promise<boolean> {
    return this.storeResult(taskId, meta, 'STARTED', options)
  }

  /** It returned. */
  markAsDone(taskId: string, result: unknown, options?: StoreOptions): Promise<boolean> {
    return this.storeResult(taskId, result, 'SUCCESS', options)
  }

  /** It threw. Its chain is not touched. */
  markAsFailure(taskId: string, error: unknown, options?: StoreOptions): Promise<boolean> {
    return this.storeResult(taskId, error, 'FAILURE', options)
  }

  /** It threw and will run again. */
  markAsRetry(taskId: string, error: unknown, options?: StoreOptions): Promise<boolean> {
    return this.storeResult(taskId, error, 'RETRY', options)
  }

  /** It will not run. Celery's reasons are `revoked`, `expired` and `terminated`. */
  markAsRevoked(taskId: string, reason = '', options?: StoreOptions): Promise<boolean> {
    const error = new PyException('celery.exceptions', 'TaskRevokedError', [reason])
    return this.storeResult(taskId, error, 'REVOKED', options)
  }

  /**
   * Stores many results at once, each as `storeResult` would; of several for one task the last counts. All or none of them
   * are stored.
   * @returns how many rows have what was given: all, unless `protectReady` is set
   * @throws AmbiguousOutcomeError, and what `storeResult` throws
   */
  async storeMany(results: readonly TaskResult[], { signal }: AskOptions = {}): Promise<number> {
    assertSignal(signal)
    const { protectReady } = this.#settled
    // Copied: encoding many yields to the event loop, and the caller may change the array meanwhile.
    const given = [...results]
    let pieces: TaskWrite[][] | undefined
    try {
      return await this.#access.use(
        async (tables, afterLoss) => {
          pieces ??= piecesOf(await this.#writesOf(tables, given), tables.statements.mostBytes)
          const mayTurnBack = ({ status }: TaskWrite) => afterLoss && !READY_STATES.has(status)
          const written = pieces
          return seen(
            channels.store,
            () => ({ ...tables.engine.seenAs, count: given.length }),
            () => storePieces(tables, written, (write) => protectReady || mayTurnBack(write)),
          )
        },
        { writing: `storing the results of ${given.length} tasks`, signal },
      )
    } finally {
      for (const { taskId } of given) this.#tasks.drop(taskId)
    }
  }

  /**
   * All that is stored of a task; without a row it is `PENDING`. The property of a value that cannot be decoded throws a
   * BackendError (`RESULT_UNREADABLE`, `RESULT_TOO_LARGE`) when it is read; the rest can be read.
   * @throws BackendGetMetaError
   */
  async getTaskMeta(taskId: string, options: AskOptions = {}): Promise<TaskMeta> {
    assertSignal(options.signal)
    return this.#tasks.meta(taskId, options)
  }

  /** The same for many tasks, in few statements, in the order of the ids. */
  async getMany(taskIds: readonly string[], options: AskOptions = {}): Promise<Map<string, TaskMeta>> {
    assertSignal(options.signal)
    return this.#tasks.many(taskIds, options)
  }

  /** The state of a task. The result is not fetched, so it need not be readable. */
  async getState(taskId: string, options: AskOptions = {}): Promise<State> {
    assertSignal(options.signal)
    return this.#tasks.keptState(taskId) ?? (await this.#tasks.state(taskId, options)) ?? 'PENDING'
  }

  /**
   * What the task returned, or what it stored with its state; in the states of `EXCEPTION_STATES` a `TaskError`
   * where there is anything.
   * @throws BackendError when it cannot be decoded
   */
  async getResult(taskId: string, options?: AskOptions): Promise<unknown> {
    const meta = await this.getTaskMeta(taskId, options)
    if (!EXCEPTION_STATES.has(meta.status)) return meta.result
    return meta.result === null ? null : taskErrorOf(meta)
  }

  /** The traceback of a task that failed. */
  async getTraceback(taskId: string): Promise<string | null> {
    return (await this.getTaskMeta(taskId)).traceback
  }

  /** Whether a task has a row. */
  async taskResultExists(taskId: string): Promise<boolean> {
    return (await this.#tasks.state(taskId)) !== null
  }

  /** The finished ones among these tasks, with their states: for polling many. No result is fetched. */
  finished(taskIds: readonly string[], options?: AskOptions): Promise<Map<string, State>> {
    return this.#tasks.finished(taskIds, options)
  }

  /**
   * Resolves to the meta of a task when it is done. All waits on this backend are polled by one statement at a time, less
   * often while no result comes; a server that is down for a while is waited for.
   * @throws ResultTimeoutError, AbortedError, ClosedError, OptionError; SchemaError where `notify` finds no trigger and may
   * not create it
   */
  waitFor(taskId: string, options?: WaitOptions): Promise<TaskMeta> {
    return this.#poller.wait(taskId, options)
  }

  /**
   * Yields the meta of a task as it is, then at each change of its state or of what is stored with it, `PROGRESS` with its
   * info for example, until it is done; a failure is yielded, too, and not thrown. Of changes that come while the last one is
   * being looked at, and of those within half a second, only the newest is yielded. All who watch are polled by one more
   * statement than `waitFor` takes, and with `notify: 'changes'` by none while nothing happens.
   * @throws as `waitFor`
   */
  watch(taskId: string, options?: WaitOptions): AsyncGenerator<TaskMeta, void, undefined> {
    return this.#poller.watch(taskId, options)
  }

  /** Deletes the row of a task. */
  async forget(taskId: string): Promise<void> {
    if (!isStorable(taskId)) return
    try {
      await this.#access.run({
        statement: ({ statements }) => statements.forget(taskId),
        writing: `forgetting task ${JSON.stringify(taskId)}`,
      })
    } finally {
      this.#tasks.drop(taskId)
    }
  }

  /**
   * Saves which tasks make a group. Celery restores it; unlike Celery's own, what is saved holds no database URL, and
   * saving a group again replaces it.
   * @throws AmbiguousOutcomeError, StatementError for an id that does not fit
   */
  saveGroup(groupId: string, members: readonly GroupInput[]): Promise<void> {
    return this.#groups.save(groupId, members)
  }

  /** A group that was saved, here or by Celery; `null` if it was not. @throws BackendError when it cannot be decoded */
  restoreGroup(groupId: string): Promise<SavedGroup | null> {
    return this.#groups.restore(groupId)
  }

  /** Deletes a saved group, not its tasks. */
  deleteGroup(groupId: string): Promise<void> {
    return this.#groups.delete(groupId)
  }

  /**
   * Tasks page by page, without their results; with `since`, `until` or `orderBy: 'dateDone'` only finished ones.
   * @throws OptionError, also for an invalid cursor
   */
  async list(options: ListOptions = {}): Promise<TaskPage> {
    const request = listRequestOf(options)
    return this.#access.use(async ({ engine, dialect, statements }) => {
      assertPosition(request, dialect)
      const answer = await engine.run(await listStatement(engine, statements, request))
      return pageOf(rowsOf(answer), request, statements.clock)
    }, {})
  }

  /** How many tasks are stored in each state. An index or the whole table is read: in one of millions it takes seconds. */
  async counts(): Promise<Record<string, number>> {
    const answer = await this.#access.run({ statement: ({ statements }) => statements.counts() })
    const counts = new Map<string, number>()
    for (const row of rowsOf(answer)) {
      const state = String(Reflect.get(row, 'status') ?? 'PENDING')
      counts.set(state, (counts.get(state) ?? 0) + Number(Reflect.get(row, 'tasks')))
    }
    return Object.fromEntries(counts)
  }

  /**
   * The same as it was a moment ago, for pages that many look at: concurrent callers share one count, with its time.
   * @throws OptionError, and what `counts()` throws
   */
  recentCounts(options?: RecentCountsOptions): Promise<RecentCounts> {
    return this.#counts.get(options)
  }

  /**
   * How many tasks were done in a time, by their state, name and worker, for a chart. The tasks of that time are read, at
   * most `limit`.
   * @throws OptionError
   */
  async countDone(options: DoneCountsOptions): Promise<DoneCounts> {
    const request = doneRequestOf(options)
    const answer = await this.#access.run({
      statement: ({ statements }) => statements.doneCounts(request, MOST_COUNTS),
    })
    return doneCountsOf(answer, request)
  }

  /**
   * Deletes the tasks and groups whose date is more than `resultExpires` seconds ago, batch by batch; nothing if that is `null`
   * or 0. What has no date stays, as in Celery, and so does what might be fresh: what by the rule of another version of
   * Celery is younger. Beside Celery 5.4 to 5.6.2, whose dates show the age of finished tasks only, unfinished ones stay, and
   * a group is deleted once an earlier cleanup of this backend saw it that long ago.
   */
  async cleanup(options: CleanupOptions = {}): Promise<CleanupCounts> {
    const { resultExpires, celeryVersion } = this.#settled
    if (resultExpires === null) return { tasks: 0, groups: 0 }
    const startedAt = performance.now()
    const newestGroup = isFrozenIn(celeryVersion) ? await this.#groups.newestBefore(resultExpires) : 0
    const deleteBatch = async (table: 'task' | 'group', limit: number) => {
      const answer = await this.#access.run({
        statement({ statements }) {
          // Counted from the start, so that it ends: what expires meanwhile is left to the next cleanup.
          const seconds = resultExpires + (performance.now() - startedAt) / 1000
          return statements.cleanup(table, { seconds, newestGroup }, limit)
        },
        writing: 'deleting expired results',
      })
      return batchOf(answer, limit)
    }
    try {
      const { dialect } = await this.#access.open()
      const { batchSize = dialect.cleanupBatch } = options
      return await cleanUp(deleteBatch, { ...options, batchSize })
    } finally {
      this.#tasks.drop()
      this.#groups.drop()
    }
  }

  /** Refuses further calls, and closes the connections of a manager of its own. Safe to call twice. */
  async dispose(): Promise<void> {
    this.#poller.close()
    await this.#listener?.close()
    await this.#access.dispose()
  }

  /** For `await using`: `dispose()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  /** A second query reads the metas, since few are done at a time. One that was deleted in between is not done. */
  async #finishedMetas(taskIds: readonly string[], signal: AbortSignal): Promise<Map<string, TaskMeta>> {
    const finished = await this.finished(taskIds, { signal })
    if (finished.size === 0) return new Map()
    const metas = await this.#tasks.many([...finished.keys()], { signal })
    return new Map([...metas].filter(([, { status }]) => READY_STATES.has(status)))
  }

  async #changedMetas(
    known: ReadonlyMap<string, string | undefined>,
    signal: AbortSignal,
  ): Promise<Map<string, MarkedMeta>> {
    const marks = await this.#tasks.marks([...known.keys()], { signal })
    const changed = new Map([...marks].filter(([taskId, mark]) => mark !== known.get(taskId)))
    if (changed.size === 0) return new Map()
    const metas = await this.#tasks.many([...changed.keys()], { signal })
    return new Map([...metas].map(([taskId, meta]) => [taskId, { meta, mark: changed.get(taskId) ?? '' }]))
  }

  /** Yields to the event loop in between: many results take long to encode. */
  async #writesOf(tables: Tables, results: readonly TaskResult[]): Promise<TaskWrite[]> {
    const writes: TaskWrite[] = []
    for (const result of results) {
      while (owesRound()) await round()
      writes.push(this.#writeOf(tables, result))
    }
    return writes
  }

  #writeOf({ written }: Tables, { taskId, result, state = 'SUCCESS', ...options }: TaskResult): TaskWrite {
    const { wire, resultSerializer: serializer, preserveExtended } = this.#settled
    const context = { wire, serializer, classes: this.#classes, written, preserveExtended }
    return taskWriteOf(taskId, result, state, options, context)
  }
}

function assertSignal(signal: unknown): void {
  assertOption(signal === undefined || signal instanceof AbortSignal, 'signal', 'an AbortSignal')
}

/** Must be a safe number: it becomes part of the statements' texts. */
function checkBytes(maxBytes: unknown): number {
  if (typeof maxBytes === 'number' && Number.isSafeInteger(maxBytes) && maxBytes >= 0) return maxBytes
  throw invalid('pickle.maxBytes', 'a whole number of bytes from 0')
}
