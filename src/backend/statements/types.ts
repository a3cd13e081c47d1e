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

export function isOptional(column: string): boolean {
  return [...EXTENDED, ...LATER].some((each) => each === column)
}

/** The columns of a `TaskWrite`. */
export type TaskColumn = 'task_id' | 'status' | 'result' | 'traceback' | OptionalColumn

export function valueIn(write: TaskWrite, column: TaskColumn) {
  return column === 'task_id' ? write.taskId : write[column]
}

/** A page of tasks: how they are ordered and which are listed. */
export interface ListRequest {
  /** By `id` and `taskId` all rows are listed, by `dateDone` those that are done. */
  readonly orderBy: 'id' | 'dateDone' | 'taskId'
  readonly descending: boolean
  readonly limit: number
  /** How many rows are scanned for a page; `null` for no limit. */
  readonly scanLimit: number | null
  /** The date as it is stored; in SQLite it may be a number. */
  readonly after: {
    readonly id: number
    readonly dateDone: string | number | null
    readonly taskId: string | null
  } | null
  /** With `PENDING`, rows without a state are listed as well. */
  readonly states: readonly string[] | null
  readonly name: string | null
  readonly worker: string | null
  readonly queue: string | null
  /** How the id of the task begins. */
  readonly idPrefix: string | null
  /** Milliseconds since 1970. */
  readonly since: number | null
  readonly until: number | null
}

/** What a list may be filtered by that an index finds, the likely rarer ones first. */
export const LIST_FILTERS = ['name', 'queue', 'worker', 'states'] as const
export type ListFilter = (typeof LIST_FILTERS)[number]

/** Whether only finished tasks are listed: others may have a date, too, when Celery stored them. */
export function isDoneOnly({ orderBy, since, until }: ListRequest): boolean {
  return orderBy === 'dateDone' || since !== null || until !== null
}

/** What an introspection finds once, before the texts of the statements are made. */
export interface TableFacts {
  /** The columns of the tasks' table by their names; empty where there is no such table. */
  readonly task: ReadonlyMap<string, ColumnFacts>
  readonly group: ReadonlyMap<string, ColumnFacts>
  /** Whether the sequences are there that Celery draws ids from. */
  readonly hasTaskSequence: boolean
  readonly hasGroupSequence: boolean
  /** Indexes of the tasks' table by their columns, as in `name, id`; of all rows and, on PostgreSQL, of nothing but columns. */
  readonly indexes: ReadonlySet<string>
  /** The most bytes of one statement; `null` where there is no limit. */
  readonly mostBytes: number | null
}

/** How much a column holds. MySQL reports it; elsewhere it is unlimited for our purposes. */
export interface ColumnFacts {
  /** Bytes. */
  readonly octets: number | null
  /** The charset of its texts. */
  readonly charset: string | null
}

/** What the texts depend on, beside the tables. */
export interface StatementsOptions {
  /** The optional columns that are written. */
  readonly written: readonly OptionalColumn[]
  /** The optional columns that are read. */
  readonly read: readonly OptionalColumn[]
  /** A `null` leaves an optional column as it is. */
  readonly preserveExtended: boolean
  /** Bytes; larger results are not fetched. */
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
 * The statements of one pair of tables. Their parameters are new each time, since a failed statement blanks them. What takes
 * a runner is more than one statement on MySQL.
 */
export interface Statements {
  /** The most bytes of values for one call of `storeMany`. */
  readonly mostBytes: number
  /** The clock of the dates in the rows that are read. */
  readonly clock: WallClock
  /**
   * Resolves to whether the row has it now. `guarded`: a row in a ready state is not overwritten, except by the same state and
   * result.
   */
  store(runner: Runner, write: TaskWrite, guarded: boolean): Promise<boolean>
  /** Several tasks at once, none of them twice; resolves to how many have it now. */
  storeMany(runner: Runner, writes: readonly TaskWrite[], guarded: boolean): Promise<number>
  get(taskId: string): Statement
  getMany(taskIds: readonly string[]): Statement
  state(taskId: string): Statement
  /** The ids and states of those tasks that are in a ready state. */
  finished(taskIds: readonly string[]): Statement
  /** The ids and states of those tasks that are in no ready state, what is stored with them, and its size. */
  unfinished(taskIds: readonly string[]): Statement
  forget(taskId: string): Statement
  saveGroup(runner: Runner, groupId: string, members: Uint8Array): Promise<void>
  group(groupId: string): Statement
  deleteGroup(groupId: string): Statement
  list(request: ListRequest): Statement
  /** Of a list by several filters: those that an index finds in the order of the list. */
  scanFilters(request: ListRequest): readonly ListFilter[]
  /** How many rows, `most` at most, each of these filters finds, by its name. */
  filterCounts(request: ListRequest, filters: readonly ListFilter[], most: number): Statement
  /**
   * The list, of the first `most` rows that one filter finds. Where it finds as many, the last of them comes once more, at the
   * end, with `is_last`.
   */
  scan(request: ListRequest, filter: ListFilter, most: number): Statement
  counts(): Statement
  /** Tasks of the request by state, name and worker, the `most` largest numbers of them. */
  doneCounts(request: ListRequest, most: number): Statement
  /** The `id` of the group that was saved last, 0 for none; always one row. */
  newestGroup(): Statement
  cleanup(table: 'task' | 'group', expiry: Expiry, limit: number): Statement
}

/** What `cleanup` deletes. */
export interface Expiry {
  /** Rows whose `date_done` is more seconds ago, by the rules of all versions of Celery. */
  readonly seconds: number
  /** Of groups whose dates say nothing of their age, only those up to this `id`. */
  readonly newestGroup: number
}

/** What the backend asks of a dialect. */
export interface BackendDialect {
  /** Asks what is in `TableFacts`: rows with a `kind` and a `name`. */
  introspect(names: TableNames): Statement
  statements(names: TableNames, facts: TableFacts, options: StatementsOptions): Statements
  /** Whether a list can go on behind a row with this id and date. */
  acceptsPosition(after: NonNullable<ListRequest['after']>): boolean
  /** Whether an aware datetime of Python's becomes the time of the session; elsewhere it loses its zone. */
  readonly convertsDates: boolean
  /** The default of `batchSize` of `cleanup`. */
  readonly cleanupBatch: number
}

/** The rows of any driver's answer: an array itself, or in `rows`. */
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

/** SQLite's name for the size of a result, without an alias: libSQL's adapter reads plain columns fastest. */
const SIZE = 'length(t.result)'
