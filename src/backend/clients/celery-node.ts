import { causes, DrizzleCeleryError } from '../../errors.ts'
import { assertOption } from '../../options/values.ts'
import { PyException } from '../../pickle/values.ts'
import { taskErrorOf } from '../column.ts'
import type { DatabaseBackend } from '../database-backend.ts'
import { ChainBrokenError } from '../errors.ts'
import { toPlainJson } from '../plain-json.ts'
import { EXCEPTION_STATES, type State, type StoredTask, type TaskMeta } from '../types.ts'
import type { Received } from './celery-node-message.ts'
import { ReceivedTasks, type WorkerOptions } from './celery-node-worker.ts'

/** How a backend stands in for celery-node's own. */
export interface CeleryNodeOptions extends WorkerOptions {
  /**
   * Called for each result that could not be stored, and where what comes after a task could not be sent, with the task; and
   * with `null` when tasks cannot be read, once until they can be again. celery-node handles no rejections, so one would end the process.
   * @default a warning of the process
   */
  readonly onError?: OnError | undefined
}

type OnError = (error: unknown, taskId: string | null) => void

/**
 * Lets clients and workers of the npm package celery-node 0.5 use the backend: `useDatabaseBackend(createClient(broker),
 * backend)`. Call it before the first task. `disconnect()` does not close the backend: its creator disposes of it. Nothing is
 * imported from that package, whose classes are recognised by their shape.
 * @returns the client or worker
 * @throws OptionError for what is no such client or worker, or has a backend already
 */
export function useDatabaseBackend<App extends { readonly backend: object }>(
  app: App,
  backend: DatabaseBackend,
  options?: CeleryNodeOptions,
): App {
  const wanted = 'a client or worker of celery-node 0.5 that has not been used yet'
  const isNew = typeof app === 'object' && app !== null && Reflect.get(app, '_backend') === undefined
  assertOption(isNew, 'app', wanted)
  const received = new ReceivedTasks(app, backend, options)
  const ours = new CeleryNodeBackend(backend, options, received)
  // celery-node has no option for it: unless this private field is set, a getter makes one of its own backends.
  Reflect.set(app, '_backend', ours)
  const isTaken = app.backend === ours
  if (!isTaken) Reflect.deleteProperty(app, '_backend')
  assertOption(isTaken, 'app', wanted)
  received.listen()
  return app
}

/** celery-node's interface of a backend. Values are plain JSON, and no promise may reject but `isReady`'s. */
export class CeleryNodeBackend {
  static readonly name: string = 'CeleryNodeBackend'

  readonly #backend: DatabaseBackend
  readonly #onError: OnError
  readonly #received: ReceivedTasks | null
  readonly #metas: Batcher<Map<string, TaskMeta>>
  #hasAnswered = false
  #isFailing = false

  constructor(
    backend: DatabaseBackend,
    { onError = warn }: CeleryNodeOptions = {},
    received: ReceivedTasks | null = null,
  ) {
    this.#backend = backend
    this.#onError = onError
    this.#received = received
    this.#metas = new Batcher((taskIds) => backend.getMany(taskIds))
  }

  /** Rejects until the database has answered once. From then on tasks are sent even during an outage. */
  async isReady(): Promise<void> {
    if (!this.#hasAnswered) await this.#backend.getState('')
    this.#hasAnswered = true
  }

  /** Closes nothing: the backend is its creator's. */
  async disconnect(): Promise<void> {}

  /**
   * As in Celery's workers, a task whose result cannot be written has failed. One that rejected with nothing at all gets an
   * exception that Python can raise. What comes after a worker's task is sent then: chains, callbacks and errbacks.
   */
  async storeResult(taskId: string, result: unknown, state: State): Promise<void> {
    const received = this.#received?.take(taskId) ?? null
    const isFailure = state === 'FAILURE'
    const stored = isFailure ? (result ?? new PyException('builtins', 'Exception')) : result
    try {
      const unwritable = await this.#store(taskId, stored, state, received)
      if (received === null) return
      const outcome = isFailure
        ? { failure: stored }
        : unwritable === null
          ? { result }
          : { failure: unwritable }
      await this.#received?.follow(received, outcome)
    } catch (error) {
      this.#onError(error, taskId)
    }
  }

  /** @returns why it could not be written, if that is what was stored instead */
  async #store(taskId: string, result: unknown, state: State, received: Received | null): Promise<unknown> {
    if (received?.ignoresResult) return null
    const request = received === null ? null : (this.#received?.requestOf(received) ?? null)
    try {
      await this.#backend.storeResult(taskId, result, state, { request })
      return null
    } catch (error) {
      if (isUnwritable(error)) {
        await this.#backend.storeResult(taskId, error, 'FAILURE', { request })
        return error
      }
      // The task has run all the same, and others wait for those that come after it.
      this.#onError(error, taskId)
      return null
    }
  }

  /**
   * The meta of a task; `PENDING` also while it cannot be read, since celery-node polls again. Concurrent callers share the
   * next query.
   */
  async getTaskMeta(taskId: string): Promise<CeleryNodeMeta> {
    try {
      const meta = (await this.#metas.about(taskId)).get(taskId)
      this.#isFailing = false
      if (meta !== undefined) return celeryNodeMeta(meta)
    } catch (error) {
      if (!this.#isFailing) this.#onError(error, null)
      this.#isFailing = true
    }
    return celeryNodeMeta({ taskId, status: 'PENDING', result: null, traceback: null, dateDone: null })
  }
}

/** A task in the form of celery-node's other backends, which is Celery's. */
export interface CeleryNodeMeta {
  readonly task_id: string
  readonly status: State
  /**
   * Plain JSON; of a task that failed the exception's three parts and its traceback, which celery-node copies to the error
   * it throws. A result that cannot be read throws here, and so rejects `AsyncResult.get()`.
   */
  readonly result: unknown
  readonly traceback: string | null
  readonly children: readonly []
  readonly date_done: string | null
}

function celeryNodeMeta(meta: StoredTask): CeleryNodeMeta {
  const { taskId, status, traceback, dateDone } = meta
  const date_done = dateDone === null ? null : dateDone.toISOString()
  const read = () => (EXCEPTION_STATES.has(status) ? failureIn(meta) : toPlainJson(meta.result))
  return {
    ...{ task_id: taskId, status, traceback, children: [], date_done },
    get result() {
      return read()
    },
  }
}

function failureIn(meta: StoredTask): object {
  const { excType, excMessage, excModule, traceback } = taskErrorOf(meta)
  return { exc_type: excType, exc_message: toPlainJson(excMessage), exc_module: excModule, traceback }
}

function isUnwritable(error: unknown): boolean {
  const codes = ['PICKLE_UNENCODABLE', 'RESULT_UNENCODABLE']
  return error instanceof DrizzleCeleryError && codes.includes(error.code)
}

function warn(error: unknown, taskId: string | null): void {
  const what = taskId === null ? 'read tasks' : `store the result of task ${JSON.stringify(taskId)}`
  // Other messages than ours may contain values.
  const why = causes(error).findLast((cause) => cause instanceof DrizzleCeleryError)
  const message = `celery-node's backend cannot ${what}${why === undefined ? '' : `: ${why.message}`}`
  process.emitWarning(error instanceof ChainBrokenError ? error.message : message, {
    code: 'DRIZZLE_CELERY_CELERY_NODE',
  })
}

/** Loads many keys with one query at a time: keys asked for while one runs share the next. */
class Batcher<Answer> {
  readonly #ask: (ids: string[]) => Promise<Answer>
  #next: { readonly ids: string[]; readonly answer: Promise<Answer> } | null = null
  #last: Promise<void> = Promise.resolve()

  constructor(ask: (ids: string[]) => Promise<Answer>) {
    this.#ask = ask
  }

  /** The value of a key, from the next query. */
  about(id: string): Promise<Answer> {
    this.#next ??= this.#prepare()
    this.#next.ids.push(id)
    return this.#next.answer
  }

  #prepare(): { readonly ids: string[]; readonly answer: Promise<Answer> } {
    const ids: string[] = []
    const answer = this.#last.then(() => {
      this.#next = null
      return this.#ask(ids)
    })
    const nothing = () => {}
    this.#last = answer.then(nothing, nothing)
    return { ids, answer }
  }
}
