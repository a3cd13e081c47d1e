import { DrizzleCeleryError } from '../errors.ts'

/** Why a result cannot be read or written. */
export type BackendErrorCode =
  | 'RESULT_UNREADABLE'
  | 'RESULT_UNENCODABLE'
  | 'RESULT_TOO_LARGE'
  | 'RESULT_INVALID'

/**
 * A result, or one of the extended columns, cannot be read (`RESULT_UNREADABLE`: its row was written by a serializer we
 * were not given, or is damaged; its other columns are fine) or cannot be written (`RESULT_UNENCODABLE`: the serializer
 * knows no such value), or is larger than may be read (`RESULT_TOO_LARGE`: it was left in the database) or than its column
 * or the server takes, on MySQL (the same code: nothing was written), or does not fit the schema given as `parse`
 * (`RESULT_INVALID`). Nothing of the contents is ever repeated.
 */
export class BackendError extends DrizzleCeleryError<BackendErrorCode> {
  static override readonly name: string = 'BackendError'

  /** The way from the value given to the one that cannot be written, or does not fit: `$.rows[3].callback`. */
  readonly path: string | null

  constructor(code: BackendErrorCode, message: string, options: ErrorOptions & { path?: string } = {}) {
    super(code, message, options)
    this.path = options.path ?? null
  }
}

/** The failure of a task. */
export interface TaskFailure {
  readonly taskId: string
  /** The name of the exception's class, with dots when it is nested: `ValueError`, `Outer.Inner`. */
  readonly excType: string
  /** The Python module of that class, `node` for one of a Node program, `null` if unknown. */
  readonly excModule: string | null
  /** What the exception was made with; mostly one text. */
  readonly excMessage: readonly unknown[]
  /** The traceback as Python prints it, or the stack of a Node program. */
  readonly traceback: string | null
}

/**
 * A task failed or was revoked, and this is what its worker stored of the exception. Its message repeats that exception's
 * texts and numbers, as Python's last line of a traceback does: it contains what the task puts there.
 */
export class TaskError extends DrizzleCeleryError<'TASK_FAILED'> implements TaskFailure {
  static override readonly name: string = 'TaskError'

  readonly taskId: string
  readonly excType: string
  readonly excModule: string | null
  readonly excMessage: readonly unknown[]
  readonly traceback: string | null

  constructor(failure: TaskFailure) {
    super('TASK_FAILED', describeFailure(failure))
    this.taskId = failure.taskId
    this.excType = failure.excType
    this.excModule = failure.excModule
    this.excMessage = failure.excMessage
    this.traceback = failure.traceback
  }
}

function describeFailure({ taskId, excType, excMessage }: TaskFailure): string {
  const args = excMessage
    .map((arg) => (typeof arg === 'object' && arg !== null ? '…' : String(arg)))
    .join(', ')
  const text = args.length > 1_000 ? `${args.slice(0, 1_000)}…` : args
  return `The task ${taskId} failed: ${excType}${text === '' ? '' : `: ${text}`}`
}

/**
 * A result could not be stored, after all retries; `cause` is the last attempt's error. Celery's
 * `BackendStoreError`.
 */
export class BackendStoreError extends DrizzleCeleryError<'STORE_FAILED'> {
  static override readonly name: string = 'BackendStoreError'

  readonly taskId: string
  /** The state that was to be stored. */
  readonly state: string
  /** An attempt lost its connection: the result may be stored in spite of this error. */
  readonly isOutcomeUnknown: boolean

  constructor(taskId: string, state: string, isOutcomeUnknown: boolean, options?: ErrorOptions) {
    const outcome = isOutcomeUnknown ? ' It may have been stored: a connection was lost under way.' : ''
    super(
      'STORE_FAILED',
      `Cannot store the state ${JSON.stringify(state)} of task ${JSON.stringify(taskId)}.${outcome}`,
      options,
    )
    this.taskId = taskId
    this.state = state
    this.isOutcomeUnknown = isOutcomeUnknown
  }
}

/**
 * What comes after a task that a worker of celery-node ran could not be sent; `cause` says why. The rest of its chain has failed, so
 * that nobody waits for it.
 */
export class ChainBrokenError extends DrizzleCeleryError<'CHAIN_BROKEN'> {
  static override readonly name: string = 'ChainBrokenError'

  /** The task after which the chain broke. */
  readonly taskId: string

  /** @param why in our own words: it is stored, and a broker's may hold what readers should not see */
  constructor(taskId: string, why: string, cause: unknown) {
    super('CHAIN_BROKEN', `Cannot send what comes after task ${JSON.stringify(taskId)}: ${why}`, { cause })
    this.taskId = taskId
  }
}

/**
 * A task could not be read, after all retries; `cause` is the last attempt's error.
 * Celery's `BackendGetMetaError`.
 */
export class BackendGetMetaError extends DrizzleCeleryError<'GET_META_FAILED'> {
  static override readonly name: string = 'BackendGetMetaError'

  readonly taskId: string

  constructor(taskId: string, options?: ErrorOptions) {
    super('GET_META_FAILED', `Cannot read what is stored of task ${JSON.stringify(taskId)}`, options)
    this.taskId = taskId
  }
}

/**
 * It is unknown whether a write took effect: the connection was lost, or no answer came in time (see `cause`). It was not
 * retried.
 */
export class AmbiguousOutcomeError extends DrizzleCeleryError<'AMBIGUOUS_OUTCOME'> {
  static override readonly name: string = 'AmbiguousOutcomeError'

  constructor(what: string, options?: ErrorOptions) {
    super('AMBIGUOUS_OUTCOME', `Cannot tell whether this took effect: ${what}. See the cause.`, options)
  }
}

/** A task was not done within the timeout of a wait. The task goes on. */
export class ResultTimeoutError extends DrizzleCeleryError<'RESULT_TIMEOUT'> {
  static override readonly name: string = 'ResultTimeoutError'

  readonly taskId: string
  /** Seconds. */
  readonly timeout: number

  constructor(taskId: string, timeout: number) {
    super('RESULT_TIMEOUT', `The task ${taskId} was not done within ${timeout} s. It may still be.`)
    this.taskId = taskId
    this.timeout = timeout
  }
}
