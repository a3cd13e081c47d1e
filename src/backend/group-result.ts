import { AsyncResult, type GetOptions } from './async-result.ts'
import type { DatabaseBackend } from './database-backend.ts'
import { taskErrorOf } from './exceptions.ts'
import type { GroupMember } from './groups.ts'
import { EXCEPTION_STATES, PROPAGATE_STATES, type State } from './states.ts'
import type { TaskMeta } from './task-meta.ts'

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
