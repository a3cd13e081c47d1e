import { taskErrorOf } from './column.ts'
import type { DatabaseBackend } from './database-backend.ts'
import type { GroupMember } from './groups.ts'
import type { WaitOptions } from './poller.ts'
import { EXCEPTION_STATES, PROPAGATE_STATES, READY_STATES, type State, type TaskMeta } from './types.ts'

/** How a result is waited for. */
export interface GetOptions extends WaitOptions {
  /** Throw the task's failure as a `TaskError`; otherwise it is what is returned. @default true */
  readonly propagate?: boolean
}

/**
 * The result of one task, by its id: Celery's `AsyncResult`. Looking at it asks the database, until the task is done: what
 * is known then is kept.
 */
export class AsyncResult {
  static readonly name: string = 'AsyncResult'

  readonly id: string
  /** The task this one was chained to. */
  readonly parent: AsyncResult | null
  readonly #backend: DatabaseBackend
  #done: TaskMeta | undefined

  constructor(id: string, backend: DatabaseBackend, { parent = null }: { parent?: AsyncResult | null } = {}) {
    this.id = id
    this.parent = parent
    this.#backend = backend
  }

  get state(): Promise<State> {
    return this.#done === undefined ? this.#backend.getState(this.id) : Promise.resolve(this.#done.status)
  }

  /** What the task returned, its failure as a `TaskError`, or what was stored with another state. */
  get result(): Promise<unknown> {
    return this.#meta().then(resultIn)
  }

  /** The same: Celery's other name for it. */
  get info(): Promise<unknown> {
    return this.result
  }

  /** The traceback as Python prints it, of a task that failed. */
  get traceback(): Promise<string | null> {
    return this.#meta().then(({ traceback }) => traceback)
  }

  /** When the task was done; `null` as long as it is not. */
  get dateDone(): Promise<Date | null> {
    return this.#meta().then(({ dateDone }) => dateDone)
  }

  /** Under which name the task is registered. This and what follows is stored where `result_extended` is on. */
  get name(): Promise<string | null> {
    return this.#meta().then(({ name = null }) => name)
  }

  get args(): Promise<unknown> {
    return this.#meta().then(({ args = null }) => args)
  }

  get kwargs(): Promise<unknown> {
    return this.#meta().then(({ kwargs = null }) => kwargs)
  }

  get worker(): Promise<string | null> {
    return this.#meta().then(({ worker = null }) => worker)
  }

  get retries(): Promise<number | null> {
    return this.#meta().then(({ retries = null }) => retries)
  }

  get queue(): Promise<string | null> {
    return this.#meta().then(({ queue = null }) => queue)
  }

  /** What the task started; `null` in databases before Celery 5.7, which do not keep it. */
  get children(): Promise<unknown> {
    return this.#meta().then(({ children = null }) => children)
  }

  /** Whether the task is done, well or not. */
  async ready(): Promise<boolean> {
    return READY_STATES.has(await this.state)
  }

  async successful(): Promise<boolean> {
    return (await this.state) === 'SUCCESS'
  }

  async failed(): Promise<boolean> {
    return (await this.state) === 'FAILURE'
  }

  /**
   * Waits until the task is done; resolves to what it returned. A parent that has failed already is the first to throw.
   * @throws TaskError when the task failed or was revoked; ResultTimeoutError, AbortedError
   */
  async get({ propagate = true, ...wait }: GetOptions = {}): Promise<unknown> {
    if (this.#done === undefined) {
      if (propagate) await this.#throwFailedParent()
      this.#done = await this.#backend.waitFor(this.id, wait)
    }
    if (propagate && PROPAGATE_STATES.has(this.#done.status)) throw taskErrorOf(this.#done)
    return resultIn(this.#done)
  }

  /** Deletes what is stored of the task. */
  async forget(): Promise<void> {
    this.#done = undefined
    await this.#backend.forget(this.id)
  }

  toString(): string {
    return this.id
  }

  async #throwFailedParent(): Promise<void> {
    const parents: string[] = []
    for (let { parent } = this as AsyncResult; parent !== null; parent = parent.parent)
      parents.unshift(parent.id)
    if (parents.length === 0) return
    const states = await this.#backend.finished(parents)
    const failed = parents.find((id) => PROPAGATE_STATES.has(states.get(id) ?? ''))
    if (failed !== undefined) throw taskErrorOf(await this.#backend.getTaskMeta(failed))
  }

  async #meta(): Promise<TaskMeta> {
    if (this.#done !== undefined) return this.#done
    const meta = await this.#backend.getTaskMeta(this.id)
    if (READY_STATES.has(meta.status)) this.#done = meta
    return meta
  }
}

function resultIn(meta: TaskMeta): unknown {
  return EXCEPTION_STATES.has(meta.status) && meta.result !== null ? taskErrorOf(meta) : meta.result
}

/** The results of tasks that belong together: Celery's `GroupResult`. One question answers for all members. */
export class GroupResult {
  static readonly name: string = 'GroupResult'

  readonly id: string
  /** The members, in order. A group within the group is one of them. */
  readonly results: readonly (AsyncResult | GroupResult)[]
  readonly #backend: DatabaseBackend

  constructor(id: string, results: readonly (AsyncResult | GroupResult)[], backend: DatabaseBackend) {
    this.id = id
    this.results = results
    this.#backend = backend
  }

  /** A group that was saved, by this library or by Celery; `null` if there is none. */
  static async restore(id: string, backend: DatabaseBackend): Promise<GroupResult | null> {
    const group = await backend.restoreGroup(id)
    if (group === null || group.other !== undefined) return null
    return groupOf(group.groupId, group.members, backend)
  }

  /** Celery's other name for the members. */
  get children(): readonly (AsyncResult | GroupResult)[] {
    return this.results
  }

  /** Whether all are done. */
  async ready(): Promise<boolean> {
    return (await this.#finished()).length === taskIdsOf(this).length
  }

  async successful(): Promise<boolean> {
    return (await this.completedCount()) === taskIdsOf(this).length
  }

  /** Whether any failed. */
  async failed(): Promise<boolean> {
    return (await this.#finished()).some((state) => state === 'FAILURE')
  }

  /** Whether any is not done. */
  async waiting(): Promise<boolean> {
    return !(await this.ready())
  }

  /** How many succeeded. */
  async completedCount(): Promise<number> {
    return (await this.#finished()).filter((state) => state === 'SUCCESS').length
  }

  /**
   * Waits until all are done; resolves to what they returned, in order, a group within the group to an array.
   * @throws TaskError as soon as one has failed or was revoked; ResultTimeoutError, AbortedError
   */
  async join({ propagate = true, ...wait }: GetOptions = {}): Promise<unknown[]> {
    const controller = new AbortController()
    const signals = wait.signal === undefined ? [controller.signal] : [wait.signal, controller.signal]
    const signal = AbortSignal.any(signals)
    const metas = new Map<string, TaskMeta>()
    try {
      await Promise.all(
        taskIdsOf(this).map(async (id) => {
          const meta = await this.#backend.waitFor(id, { ...wait, signal })
          if (propagate && PROPAGATE_STATES.has(meta.status)) throw taskErrorOf(meta)
          metas.set(id, meta)
        }),
      )
    } finally {
      // After a failure the others need not be waited for any longer.
      controller.abort()
    }
    return valuesOf(this, metas)
  }

  /** The same as `join`. */
  get(options?: GetOptions): Promise<unknown[]> {
    return this.join(options)
  }

  /** Saves which tasks make the group, for `restore` and for Celery's `GroupResult.restore`. */
  save(): Promise<void> {
    return this.#backend.saveGroup(this.id, this.results)
  }

  /** Deletes the saved group, not the results of its tasks. */
  delete(): Promise<void> {
    return this.#backend.deleteGroup(this.id)
  }

  /** Deletes what is stored of each task. */
  async forget(): Promise<void> {
    await Promise.all(taskIdsOf(this).map((id) => this.#backend.forget(id)))
  }

  /** The states of the members that are done. */
  async #finished(): Promise<State[]> {
    const states = await this.#backend.finished(taskIdsOf(this))
    return taskIdsOf(this).flatMap((id) => states.get(id) ?? [])
  }
}

function groupOf(id: string, members: readonly GroupMember[], backend: DatabaseBackend): GroupResult {
  const results = members.map((member) =>
    member.children === undefined ? resultOf(member, backend) : groupOf(member.id, member.children, backend),
  )
  return new GroupResult(id, results, backend)
}

function resultOf({ id, parent }: GroupMember, backend: DatabaseBackend): AsyncResult {
  return new AsyncResult(id, backend, { parent: parent === null ? null : resultOf(parent, backend) })
}

function taskIdsOf({ results }: GroupResult): string[] {
  return results.flatMap((result) => (result instanceof GroupResult ? taskIdsOf(result) : result.id))
}

function valuesOf({ results }: GroupResult, metas: ReadonlyMap<string, TaskMeta>): unknown[] {
  return results.map((result) =>
    result instanceof GroupResult ? valuesOf(result, metas) : valueIn(metas.get(result.id)),
  )
}

function valueIn(meta: TaskMeta | undefined): unknown {
  if (meta === undefined) return null
  return EXCEPTION_STATES.has(meta.status) && meta.result !== null ? taskErrorOf(meta) : meta.result
}
