import { taskErrorOf } from '../column.ts'
import type { DatabaseBackend } from '../database-backend.ts'
import { toPlainJson } from '../plain-json.ts'
import { PROPAGATE_STATES } from '../types.ts'

/** A task's result in celery-ts's form. */
export interface CeleryTsResult<Value, Status extends string = string> {
  readonly task_id: string
  readonly status: Status
  readonly result: Value
  readonly traceback: string | null
  readonly children: unknown[]
}

/**
 * The backend as a `ResultBackend` of the npm package celery-ts 1.2: `new Client({ backend: new CeleryTsBackend(backend),
 * brokers, id })`. Nothing is imported from that package, whose types are met by their shape.
 */
export class CeleryTsBackend {
  static readonly name: string = 'CeleryTsBackend'

  readonly #backend: DatabaseBackend
  readonly #ended = new AbortController()

  constructor(backend: DatabaseBackend) {
    this.#backend = backend
  }

  /** Stores a result. @returns the task's id */
  async put<Value>({ task_id, result, status, traceback }: CeleryTsResult<Value>): Promise<string> {
    await this.#backend.storeResult(task_id, result, status, { traceback })
    return task_id
  }

  /**
   * Waits until a task is done. Its result is plain JSON, as in celery-ts.
   *
   * celery-ts calls it when a task is sent, and handles no rejection until its `Result.get()` is called.
   * @param options `timeout` in milliseconds
   * @throws TaskError when the task failed or was revoked; ResultTimeoutError; AbortedError after `end()`
   */
  async get<Value, Status extends string>(options: {
    readonly taskId: string
    readonly timeout?: number
  }): Promise<CeleryTsResult<Value, Status>> {
    const { taskId, timeout } = options
    const meta = await this.#backend.waitFor(taskId, {
      timeout: timeout === undefined ? null : timeout / 1_000,
      signal: this.#ended.signal,
    })
    if (PROPAGATE_STATES.has(meta.status)) throw taskErrorOf(meta)
    return {
      task_id: taskId,
      // celery-ts has an enum of these texts, and the caller chooses the type of the result.
      status: meta.status as Status,
      result: toPlainJson(meta.result) as Value,
      traceback: meta.traceback,
      children: [],
    }
  }

  /** Deletes what is stored of a task. @returns its id */
  async delete(taskId: string): Promise<string> {
    await this.#backend.forget(taskId)
    return taskId
  }

  /** The same as `end`. */
  disconnect(): Promise<void> {
    return this.end()
  }

  /** Ends all waits. The backend itself is disposed of by its creator. */
  async end(): Promise<void> {
    this.#ended.abort()
  }

  /** The database, without its password. */
  uri(): string {
    return this.#backend.asUri()
  }
}
