import { causes, DrizzleCeleryError } from '../../errors.ts'
import { assertOption } from '../../options/values.ts'
import { PyException } from '../../pickle/values.ts'
import { taskErrorOf } from '../column.ts'
import type { DatabaseBackend } from '../database-backend.ts'
import { EXCEPTION_STATES, type State, type TaskMeta } from '../types.ts'
import { plainJson } from './plain-json.ts'

export interface CeleryNodeOptions {
  /**
   * Told of each result that could not be stored, with its task; and with `null` when tasks can no longer be read, once
   * until they can be again. celery-node looks at no rejection, so that one would end the process.
   * @default a warning of the process
   */
  readonly onError?: OnError
}

type OnError = (error: unknown, taskId: string | null) => void

/**
 * Lets clients and workers of the npm package celery-node 0.5 use the backend: `useDatabaseBackend(createClient(broker),
 * backend)`. It must be done before the first task, and `disconnect()` does not close the backend: who made it disposes of
 * it. Nothing is imported from that package, whose classes are known by their shape.
 * @returns what it was given
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
  const ours = new CeleryNodeBackend(backend, options)
  // There is no other way in: unless this private field is set, a getter makes one of the backends it knows.
  Reflect.set(app, '_backend', ours)
  const isTaken = app.backend === ours
  if (!isTaken) Reflect.deleteProperty(app, '_backend')
  assertOption(isTaken, 'app', wanted)
  return app
}

/** What celery-node asks of a backend. Its values are plain JSON, and none of its promises rejects but `isReady`'s. */
export class CeleryNodeBackend {
  static readonly name: string = 'CeleryNodeBackend'

  readonly #backend: DatabaseBackend
  readonly #onError: OnError
  readonly #metas: Batcher<Map<string, TaskMeta>>
  #hasAnswered = false
  #isFailing = false

  constructor(backend: DatabaseBackend, { onError = warn }: CeleryNodeOptions = {}) {
    this.#backend = backend
    this.#onError = onError
    this.#metas = new Batcher((taskIds) => backend.getMany(taskIds))
  }

  /** Rejects until the database has answered once. From then on an outage keeps no task from being sent. */
  async isReady(): Promise<void> {
    if (!this.#hasAnswered) await this.#backend.getState('')
    this.#hasAnswered = true
  }

  /** Closes nothing: the backend is its maker's. */
  async disconnect(): Promise<void> {}

  /**
   * As in Celery's workers, a task whose result cannot be written has failed. One that rejected with nothing at all gets an
   * exception that Python can raise.
   */
  async storeResult(taskId: string, result: unknown, state: State): Promise<void> {
    const stored = state === 'FAILURE' ? (result ?? new PyException('builtins', 'Exception')) : result
    try {
      await this.#backend.storeResult(taskId, stored, state).catch((error: unknown) => {
        if (!isUnwritable(error)) throw error
        return this.#backend.storeResult(taskId, error, 'FAILURE')
      })
    } catch (error) {
      this.#onError(error, taskId)
    }
  }

  /**
   * What is known of a task; that it is `PENDING`, too, while nothing can be found out: celery-node asks again. All who ask
   * meanwhile share the next question.
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

/** A task as celery-node's other backends tell of it, in Celery's words. */
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

function celeryNodeMeta(meta: TaskMeta): CeleryNodeMeta {
  const { taskId, status, traceback, dateDone } = meta
  const date_done = dateDone === null ? null : dateDone.toISOString()
  const read = () => (EXCEPTION_STATES.has(status) ? failureIn(meta) : plainJson(meta.result))
  return {
    ...{ task_id: taskId, status, traceback, children: [], date_done },
    get result() {
      return read()
    },
  }
}

function failureIn(meta: TaskMeta): object {
  const { excType, excMessage, excModule, traceback } = taskErrorOf(meta)
  return { exc_type: excType, exc_message: plainJson(excMessage), exc_module: excModule, traceback }
}

function isUnwritable(error: unknown): boolean {
  const codes = ['PICKLE_UNENCODABLE', 'RESULT_UNENCODABLE']
  return error instanceof DrizzleCeleryError && codes.includes(error.code)
}

function warn(error: unknown, taskId: string | null): void {
  const what = taskId === null ? 'read tasks' : `store the result of task ${JSON.stringify(taskId)}`
  // Only of our own messages it is known that they tell no values.
  const why = causes(error).findLast((cause) => cause instanceof DrizzleCeleryError)
  process.emitWarning(`celery-node's backend cannot ${what}${why === undefined ? '' : `: ${why.message}`}`, {
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

  /** The answer to the question that asks about this one, too. */
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
