import { assertOption } from '../options/values.ts'
import { PyObject } from '../pickle/values.ts'
import { taskErrorOf } from './column.ts'
import type { DatabaseBackend } from './database-backend.ts'
import type { TaskError } from './errors.ts'
import { type GroupMember, memberIn } from './groups.ts'
import type { WaitOptions } from './poller.ts'
import { isStandardSchema, parseResult, type StandardSchema } from './standard-schema.ts'
import { EXCEPTION_STATES, PROPAGATE_STATES, READY_STATES, type State, type TaskMeta } from './types.ts'

/** How a result is waited for. */
export interface GetOptions<Value = unknown> extends WaitOptions {
  /** Throw the task's failure as a `TaskError`; otherwise it is what is returned. @default true */
  readonly propagate?: boolean | undefined
  /**
   * Checks, and may change, what a task returned: a schema of zod, valibot, arktype or another library that implements
   * Standard Schema. It is given the value as it is read, with the classes of `drizzle-celery/pickle`.
   * @default what the result was made with, or nothing
   */
  readonly parse?: StandardSchema<Value> | undefined
}

/** How one task is waited for. */
export interface GetResultOptions<Value = unknown> extends GetOptions<Value> {
  /**
   * Called with the meta of the task as it is, and at each change until it is done; awaited. What it throws ends the waiting.
   * See `watch` for when.
   */
  readonly onUpdate?: ((meta: TaskMeta) => unknown) | undefined
}

/** What a result is made with. */
export interface AsyncResultOptions<Value = unknown> {
  /** The task this one was chained to. @default null */
  readonly parent?: AsyncResult | null | undefined
  /** The default of `get`'s. */
  readonly parse?: StandardSchema<Value> | undefined
}

/** What a failure gives where it is not thrown; `null` where its worker stored nothing. */
type Unthrown = TaskError | null

/**
 * The result of one task, by its id: Celery's `AsyncResult`. Its getters query the database until the task is
 * done, and keep what they read then. `Value` is what the task returns: it is believed, unless `parse` checks it.
 */
export class AsyncResult<Value = unknown> {
  static readonly name: string = 'AsyncResult'

  readonly id: string
  /** The task this one was chained to. */
  readonly parent: AsyncResult | null
  readonly #backend: DatabaseBackend
  readonly #parse: StandardSchema<Value> | undefined
  #done: TaskMeta | undefined

  /** @throws OptionError */
  constructor(id: string, backend: DatabaseBackend, { parent, parse }: AsyncResultOptions<Value> = {}) {
    assertSchema(parse)
    this.id = id
    this.parent = parent ?? null
    this.#backend = backend
    this.#parse = parse
  }

  get state(): Promise<State> {
    return this.#done === undefined ? this.#backend.getState(this.id) : Promise.resolve(this.#done.status)
  }

  /** What the task returned, its failure as a `TaskError`, or what was stored with another state. */
  get result(): Promise<unknown> {
    return this.#meta().then((meta) => resultIn(meta, this.#backend))
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

  /** The registered name of the task. This and what follows is stored only with `result_extended`. */
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

  /** The tasks it started; `null` in databases before Celery 5.7, which do not store them. */
  get children(): Promise<readonly (AsyncResult | GroupResult)[] | null> {
    return this.#meta().then(({ children }) => childrenIn(children, this.#backend))
  }

  /** Whether the task is done, well or not. */
  async ready(): Promise<boolean> {
    return READY_STATES.has(await this.state)
  }

  /** Whether the task returned. */
  async successful(): Promise<boolean> {
    return (await this.state) === 'SUCCESS'
  }

  /** Whether the task raised. */
  async failed(): Promise<boolean> {
    return (await this.state) === 'FAILURE'
  }

  /**
   * Waits until the task is done; resolves to what it returned, an AsyncResult or a GroupResult where that was pickled (for
   * one in JSON see `resultFromTuple`). A parent that has failed already is the first to throw.
   *
   * A task that nobody has sent looks like one that has not begun: without a timeout it is waited for for ever.
   * @throws TaskError when the task failed or was revoked; ResultTimeoutError, AbortedError; BackendError `RESULT_INVALID`
   * when the schema refuses it
   */
  get<Result = Value>(
    options: GetResultOptions<Result> & { readonly propagate: false },
  ): Promise<Result | Unthrown>
  get<Result = Value>(options?: GetResultOptions<Result>): Promise<Result>
  async get({ propagate = true, parse, onUpdate, ...wait }: GetResultOptions = {}): Promise<unknown> {
    assertSchema(parse)
    assertOption(onUpdate === undefined || typeof onUpdate === 'function', 'onUpdate', 'a function')
    if (this.#done === undefined) {
      if (propagate) await this.#throwFailedParent()
      this.#done = await this.#wait(wait, onUpdate)
    }
    return outcomeOf(this.#done, { propagate, parse: parse ?? this.#parse, backend: this.#backend })
  }

  /**
   * Yields the meta of the task as it is, then each change of its state or of what is stored with it, until it is done: the
   * last one yielded is that of a task that is done, well or not. A failure is not thrown.
   * @throws ResultTimeoutError, AbortedError
   */
  watch(options?: WaitOptions): AsyncGenerator<TaskMeta, void, undefined> {
    return this.#backend.watch(this.id, options)
  }

  /**
   * Waits for the task, for the tasks it started, for those that these started and so on, and yields each with what it
   * returned: Celery's `collect`. Only Celery 5.7 stores what a task started.
   * @throws as `get`
   */
  async *collect(
    options?: GetOptions,
  ): AsyncGenerator<[AsyncResult | GroupResult, unknown], void, undefined> {
    const left: (AsyncResult | GroupResult)[] = [this as AsyncResult]
    for (let node = left.shift(); node !== undefined; node = left.shift()) {
      const value = node instanceof GroupResult ? node.join(options) : node.get(options)
      yield [node, await value]
      left.push(...((await node.children) ?? []))
    }
  }

  /** What the last of these tasks returned: Celery's `get_leaf`. @throws as `get` */
  async getLeaf(options?: GetOptions): Promise<unknown> {
    let leaf: unknown = null
    for await (const [, value] of this.collect(options)) leaf = value
    return leaf
  }

  /** Deletes what is stored of the task, and of the tasks that it was chained to, as in Celery. */
  async forget(): Promise<void> {
    this.#done = undefined
    await this.parent?.forget()
    await this.#backend.forget(this.id)
  }

  /** The id, as in Python. */
  toString(): string {
    return this.id
  }

  async #wait(wait: WaitOptions, onUpdate: GetResultOptions['onUpdate']): Promise<TaskMeta> {
    if (onUpdate === undefined) return this.#backend.waitFor(this.id, wait)
    for await (const meta of this.#backend.watch(this.id, wait)) {
      if (READY_STATES.has(meta.status)) return meta
      await onUpdate(meta)
    }
    // It never ends before the task is done but by an error.
    return this.#meta()
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

function assertSchema(parse: unknown): void {
  assertOption(parse === undefined || isStandardSchema(parse), 'parse', 'a Standard Schema')
}

interface ValueOptions {
  readonly propagate: boolean
  readonly parse: StandardSchema | undefined
  readonly backend: DatabaseBackend
}

/** @throws TaskError, BackendError */
async function outcomeOf(meta: TaskMeta, { propagate, parse, backend }: ValueOptions): Promise<unknown> {
  const isFailure = PROPAGATE_STATES.has(meta.status)
  if (propagate && isFailure) throw taskErrorOf(meta)
  const value = resultIn(meta, backend)
  return isFailure || parse === undefined ? value : parseResult(meta.taskId, value, parse)
}

function resultIn(meta: TaskMeta, backend: DatabaseBackend): unknown {
  const { status, result } = meta
  if (EXCEPTION_STATES.has(status) && result !== null) return taskErrorOf(meta)
  return result instanceof PyObject ? (resultFromTuple(result, backend) ?? result) : result
}

function childrenIn(
  children: unknown,
  backend: DatabaseBackend,
): readonly (AsyncResult | GroupResult)[] | null {
  if (!Array.isArray(children)) return null
  return children.flatMap((child) => resultFromTuple(child, backend) ?? [])
}

/**
 * The result that a value stands for: what Celery's `AsyncResult.as_tuple()` gives, `[[id, parent], children]`, as tasks
 * return it in JSON, or a pickled AsyncResult or GroupResult. Celery's `result_from_tuple`.
 * @returns `null` for anything else
 */
export function resultFromTuple(value: unknown, backend: DatabaseBackend): AsyncResult | GroupResult | null {
  const member = memberIn(value)
  return member === undefined ? null : memberOf(member, backend)
}

function memberOf(member: GroupMember, backend: DatabaseBackend): AsyncResult | GroupResult {
  return member.children === undefined
    ? resultOf(member, backend)
    : groupOf(member.id, member.children, backend)
}

/** What a GroupResult is made with. */
export interface GroupResultOptions<Value = unknown> {
  /** Checks what each task returned: the default of `join`'s. */
  readonly parse?: StandardSchema<Value> | undefined
}

/**
 * The results of tasks that belong together: Celery's `GroupResult`. One query answers for all members. `Value` is what each
 * task returns; that of a group within the group is an array.
 */
export class GroupResult<Value = unknown> {
  static readonly name: string = 'GroupResult'

  readonly id: string
  /** The members, in order. A group within the group is one of them. */
  readonly results: readonly (AsyncResult | GroupResult)[]
  readonly #backend: DatabaseBackend
  readonly #parse: StandardSchema<Value> | undefined

  /** @throws OptionError */
  constructor(
    id: string,
    results: readonly (AsyncResult | GroupResult)[],
    backend: DatabaseBackend,
    { parse }: GroupResultOptions<Value> = {},
  ) {
    assertSchema(parse)
    this.id = id
    this.results = results
    this.#backend = backend
    this.#parse = parse
  }

  /** A group that was saved, by this library or by Celery; `null` if there is none. */
  static async restore<Value = unknown>(
    id: string,
    backend: DatabaseBackend,
    options: GroupResultOptions<Value> = {},
  ): Promise<GroupResult<Value> | null> {
    const group = await backend.restoreGroup(id)
    if (group === null || group.other !== undefined) return null
    const results = group.members.map((member) => memberOf(member, backend))
    return new GroupResult(group.groupId, results, backend, options)
  }

  /** Celery's other name for the members. */
  get children(): readonly (AsyncResult | GroupResult)[] {
    return this.results
  }

  /** Whether all are done. */
  async ready(): Promise<boolean> {
    return (await this.#finished()).length === taskIdsOf(this).length
  }

  /** Whether all returned. */
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
  join<Result = Value>(
    options: GetOptions<Result> & { readonly propagate: false },
  ): Promise<(Result | Unthrown)[]>
  join<Result = Value>(options?: GetOptions<Result>): Promise<Result[]>
  async join({ propagate = true, parse = this.#parse, ...wait }: GetOptions = {}): Promise<unknown[]> {
    assertSchema(parse)
    const controller = new AbortController()
    const signals = wait.signal === undefined ? [controller.signal] : [wait.signal, controller.signal]
    const signal = AbortSignal.any(signals)
    const values = new Map<string, unknown>()
    try {
      await Promise.all(
        taskIdsOf(this).map(async (id) => {
          const meta = await this.#backend.waitFor(id, { ...wait, signal })
          values.set(id, await outcomeOf(meta, { propagate, parse, backend: this.#backend }))
        }),
      )
    } finally {
      // After a failure the others need not be waited for any longer.
      controller.abort()
    }
    return valuesIn(this, values)
  }

  /** The same as `join`. */
  get<Result = Value>(
    options: GetOptions<Result> & { readonly propagate: false },
  ): Promise<(Result | Unthrown)[]>
  get<Result = Value>(options?: GetOptions<Result>): Promise<Result[]>
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

  /** Deletes what is stored of each task, and of those that they were chained to. */
  async forget(): Promise<void> {
    await Promise.all(this.results.map((result) => result.forget()))
  }

  /** The states of the members that are done. */
  async #finished(): Promise<State[]> {
    const states = await this.#backend.finished(taskIdsOf(this))
    return taskIdsOf(this).flatMap((id) => states.get(id) ?? [])
  }
}

function groupOf(id: string, members: readonly GroupMember[], backend: DatabaseBackend): GroupResult {
  return new GroupResult(
    id,
    members.map((member) => memberOf(member, backend)),
    backend,
  )
}

function resultOf({ id, parent }: GroupMember, backend: DatabaseBackend): AsyncResult {
  return new AsyncResult(id, backend, { parent: parent === null ? null : resultOf(parent, backend) })
}

function taskIdsOf({ results }: GroupResult): string[] {
  return results.flatMap((result) => (result instanceof GroupResult ? taskIdsOf(result) : result.id))
}

function valuesIn({ results }: GroupResult, values: ReadonlyMap<string, unknown>): unknown[] {
  return results.map((result) =>
    result instanceof GroupResult ? valuesIn(result, values) : (values.get(result.id) ?? null),
  )
}
