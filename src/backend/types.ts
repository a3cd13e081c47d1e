import type { PlainJson } from './plain-json.ts'

/** The states a task can be in; any other text is a state of the application's own, `PROGRESS` for example. */
export type State = 'PENDING' | 'STARTED' | 'RETRY' | 'FAILURE' | 'SUCCESS' | 'REVOKED' | (string & {})

/** Nothing more will happen to the task. */
export const READY_STATES: ReadonlySet<string> = new Set(['SUCCESS', 'FAILURE', 'REVOKED'])

/** Its result is an exception. */
export const EXCEPTION_STATES: ReadonlySet<string> = new Set(['RETRY', 'FAILURE', 'REVOKED'])

/** Waiting for the result throws that exception. */
export const PROPAGATE_STATES: ReadonlySet<string> = new Set(['FAILURE', 'REVOKED'])

/** A task's row as JSON can hold it: values by the rule of `toPlainJson`, dates as their ISO texts. */
export interface PlainTaskMeta {
  readonly taskId: string
  readonly status: State
  /** In the states of `EXCEPTION_STATES` `{ excType, excModule, excMessage }`, whatever the exception was stored as. */
  readonly result: PlainJson
  readonly traceback: string | null
  readonly dateDone: string | null
  readonly name?: string | null
  readonly args?: PlainJson
  readonly kwargs?: PlainJson
  readonly worker?: string | null
  readonly retries?: number | null
  readonly queue?: string | null
  readonly children?: PlainJson
  readonly stamps?: PlainJson
  /** Why values cannot be read, by their names; they are `null` then. Not there where all can be. */
  readonly unreadable?: Readonly<Record<string, string>>
}

/** A task's row, decoded. What follows `dateDone` is there only with `resultExtended`. */
export interface TaskMeta {
  readonly taskId: string
  /** `PENDING` also for a task without a row. */
  readonly status: State
  /**
   * What the task returned, its exception in the states of `EXCEPTION_STATES` (see `taskErrorOf`), or what else was stored
   * with a state.
   */
  readonly result: unknown
  /** The traceback as Python prints it, of a failed or retried task. */
  readonly traceback: string | null
  /**
   * When it was done; `null` as long as it is not. Of an hour that the clocks of `timezone` show twice, the later one is meant.
   */
  readonly dateDone: Date | null
  /** The name the task is registered under. */
  readonly name?: string | null
  /** Its positional arguments, an array. */
  readonly args?: unknown
  /** Its keyword arguments, a plain object. */
  readonly kwargs?: unknown
  /** The node that ran it: `celery@host`. */
  readonly worker?: string | null
  /** How often it was retried so far. */
  readonly retries?: number | null
  /** The routing key it was delivered by, which mostly is the name of its queue. */
  readonly queue?: string | null
  /** The tasks it started. Only databases of Celery 5.7 have it. */
  readonly children?: unknown
  /** What it was stamped with. Only databases of Celery 5.7 have it. */
  readonly stamps?: unknown
  /** For JSON: `res.json(meta)`. It never throws. */
  toJSON(): PlainTaskMeta
}

/** What a meta tells, without its method. */
export type StoredTask = Omit<TaskMeta, 'toJSON'>
