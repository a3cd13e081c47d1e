import type { Statement } from '../../driver/statement.ts'
import type { CleanedBatch } from '../cleanup.ts'
import type { WallClock } from '../clock.ts'
import type { DateRules } from '../date-done.ts'
import { READY_STATES } from '../types.ts'

/** What a task's row holds besides its state and result. */
interface TaskFields {
  readonly traceback: string | null
  readonly name: string | null
  readonly args: Uint8Array | null
  readonly kwargs: Uint8Array | null
  readonly worker: string | null
  readonly retries: number | null
  readonly queue: string | null
  readonly children: Uint8Array | null
  readonly stamps: Uint8Array | null
}

/** What is written to a task's row; `null` clears a column. */
export interface TaskWrite extends TaskFields {
  readonly taskId: string
  readonly status: string
  readonly result: Uint8Array | null
}

/** A task's row as it is read. Of a result beyond the limit only the size comes. */
export interface TaskRow extends TaskFields {
  readonly taskId: string
  readonly status: string | null
  readonly result: Uint8Array | null
  /** Bytes of the result. */
  readonly size: number | null
  /** `YYYY-MM-DD HH:MM:SS.ffffff`, as `Statements.clock` shows it. */
  readonly dateDone: string | null
}

/** The states of tasks that are done, as SQL. */
export const READY = `(${[...READY_STATES].map((state) => `'${state}'`).join(', ')})`

/** The columns of a task's row that some tables have and some writers fill. */
export const EXTENDED = ['name', 'args', 'kwargs', 'worker', 'retries', 'queue'] as const
export const LATER = ['children', 'stamps'] as const
export type OptionalColumn = (typeof EXTENDED)[number] | (typeof LATER)[number]

/** A page of tasks: how they are ordered and which are meant. */
export interface ListRequest {
  /** By `id` all rows are listed, by `dateDone` those that are done. */
  readonly orderBy: 'id' | 'dateDone'
  readonly descending: boolean
  readonly limit: number
  /** The date as it is stored; one that SQLite holds as a number is one here, too. */
  readonly after: { readonly id: number; readonly dateDone: string | number | null } | null
  /** With `PENDING`, rows without a state are meant as well. */
  readonly states: readonly string[] | null
  readonly name: string | null
  readonly worker: string | null
  /** Milliseconds since 1970. */
  readonly since: number | null
  readonly until: number | null
}

/** Whether only tasks that are done are meant: others may have a date, too, when Celery stored them. */
export function isDoneOnly({ orderBy, since, until }: ListRequest): boolean {
  return orderBy === 'dateDone' || since !== null || until !== null
}

/** What a table is asked about once, before the texts of its statements are made. */
export interface TableFacts {
  /** The columns of the tasks' table by their names; empty where there is no such table. */
  readonly task: ReadonlyMap<string, ColumnFacts>
  readonly group: ReadonlyMap<string, ColumnFacts>
  /** Whether the sequences are there that Celery draws ids from. */
  readonly hasTaskSequence: boolean
  readonly hasGroupSequence: boolean
  /** Bytes that may be sent at once; `null` where nobody counts them. */
  readonly mostBytes: number | null
}

/** How much a column holds. MySQL reports it; elsewhere it is unlimited for our purposes. */
export interface ColumnFacts {
  /** Bytes. */
  readonly octets: number | null
  /** The charset of its texts. */
  readonly charset: string | null
}

/** What decides on the texts, beside the tables. */
export interface StatementsOptions {
  /** The optional columns that are written. */
  readonly written: readonly OptionalColumn[]
  /** The optional columns that are read. */
  readonly read: readonly OptionalColumn[]
  /** A `null` leaves an optional column as it is. */
  readonly preserveExtended: boolean
  /** Bytes; results beyond are not fetched. */
  readonly maxResultBytes: number
  readonly dates: DateRules
}

/** Where the tables are. */
export interface TableNames {
  readonly task: string
  readonly group: string
  readonly taskSchema: string | undefined
  readonly groupSchema: string | undefined
}

/** Where statements run: an engine, where each commits by itself, or a transaction. */
export interface Runner {
  run(statement: Statement): Promise<unknown>
}

/**
 * The statements of one pair of tables: texts that are built once, and parameters that are new each time, since a
 * failed statement blanks them. What takes a runner is more than one statement on MySQL.
 */
export interface Statements {
  /** Bytes of the values that one call of `storeMany` should not exceed. */
  readonly mostBytes: number
  /** The clock whose time the rows that are read here have. */
  readonly clock: WallClock
  /**
   * Resolves to whether the row has it now. `guarded`: a row in a ready state stays, unless it has the same state and result
   * already.
   */
  store(runner: Runner, write: TaskWrite, guarded: boolean): Promise<boolean>
  /** Several tasks at once, none of them twice; resolves to how many have it now. */
  storeMany(runner: Runner, writes: readonly TaskWrite[], guarded: boolean): Promise<number>
  get(taskId: string): Statement
  getMany(taskIds: readonly string[]): Statement
  state(taskId: string): Statement
  /** Those among the ids whose tasks are in a ready state. */
  finished(taskIds: readonly string[]): Statement
  forget(taskId: string): Statement
  saveGroup(runner: Runner, groupId: string, members: Uint8Array): Promise<void>
  group(groupId: string): Statement
  deleteGroup(groupId: string): Statement
  list(request: ListRequest): Statement
  counts(): Statement
  /** The `id` of the group that was saved last, in a row that is always there. */
  newestGroup(): Statement
  cleanup(table: 'task' | 'group', expiry: Expiry, limit: number): Statement
}

/** What `cleanup` deletes, up to so many at a time. */
export interface Expiry {
  /** Whose `date_done` is more than these seconds ago, by the rule of whatever version of Celery. */
  readonly seconds: number
  /** Of groups whose dates are frozen, only those up to this `id`. */
  readonly newestGroup: number
}

/** The rows of an answer, of whatever driver: an array itself, or in `rows`. */
export function rowsOf(answer: unknown): readonly object[] {
  // Every adapter answers in one of two shapes, with an object for each row unless arrays were asked for.
  if (Array.isArray(answer)) return answer as object[]
  return (answer as { rows: object[] }).rows
}

/** How many rows a writing statement of `Statements` wrote. */
export function countOf(answer: unknown): number {
  if (!Array.isArray(answer)) {
    const { rowsAffected, affectedRows = 0 } = answer as { rowsAffected?: number; affectedRows?: number }
    return rowsAffected ?? affectedRows
  }
  const [row] = answer as { written?: number }[]
  return Number(row?.written ?? 0)
}

/** What a statement of `cleanup` did. PostgreSQL counts the rows it found; others may have deleted some of them. */
export function batchOf(answer: unknown, limit: number): CleanedBatch {
  const deleted = countOf(answer)
  const [row] = Array.isArray(answer) ? (answer as { found?: number }[]) : []
  return { deleted, isFull: Number(row?.found ?? deleted) >= limit }
}

/** A row of the texts that read tasks. */
export function taskRowOf(row: object): TaskRow {
  // The columns have the types that `TaskRow` says; `size` is the one we name ourselves.
  const at = (column: string) => (Reflect.get(row, column) ?? null) as never
  const bytesAt = (column: string) => bytesOf(at(column))
  return {
    taskId: at('task_id'),
    status: at('status'),
    result: bytesAt('result'),
    size: at(SIZE) ?? at('size'),
    dateDone: at('date_done'),
    traceback: at('traceback'),
    name: at('name'),
    args: bytesAt('args'),
    kwargs: bytesAt('kwargs'),
    worker: at('worker'),
    retries: at('retries'),
    queue: at('queue'),
    children: bytesAt('children'),
    stamps: bytesAt('stamps'),
  }
}

/** Drivers make a Uint8Array of a binary column, but for libSQL. */
function bytesOf(stored: Uint8Array | ArrayBuffer | null): Uint8Array | null {
  return stored instanceof ArrayBuffer ? new Uint8Array(stored) : stored
}

/** What SQLite calls the size of a result: the rewriting of its texts for libSQL leaves no room for a name. */
const SIZE = 'length(t.result)'
