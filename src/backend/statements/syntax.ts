import type { ListRequest } from './types.ts'

/** Adds a parameter to the statement of a list, and gives its placeholder. Only PostgreSQL writes the type. */
export type Bind = (value: unknown, type?: 'integer' | 'timestamp' | 'varchar' | 'varchar[]') => string

export type IdColumn = 'task_id' | 'taskset_id'

/** How a dialect writes the parts of the statements below. In them `t` is the row of a task or group. */
export interface Syntax {
  readonly task: string
  readonly group: string
  readonly placeholder: (at: number, type?: string) => string
  /** A text as it is compared: byte by byte. */
  readonly bytes: (text: string) => string
  /** A whole number of 32 bits. */
  readonly integer: (value: string) => string
  /** The result and its size, of a table in `from`. */
  readonly result: string
  readonly from: (table: string) => string
  /** The date of a task as it is read, and with it in lists the date as it is stored. */
  readonly dateDone: string
  readonly listedDate: string
  /** Finds a row by its id, and the parameters of that. */
  readonly isId: (column: string) => string
  readonly idParams: (column: IdColumn, id: string) => unknown[]
  /** Finds tasks by their ids. */
  readonly isAmongIds: (ids: readonly string[]) => string
  readonly idsParams: (ids: readonly string[]) => unknown[]
  /** A column, of which there may be an index, is this text. */
  readonly isText: (column: string, text: string, bind: Bind) => string
  readonly isAmongStates: (states: readonly string[], bind: Bind) => string
  /** The task was done at this instant, in milliseconds since 1970, or later. */
  readonly isSince: (instant: number, bind: Bind) => string
  readonly isBefore: (instant: number, bind: Bind) => string
  /** The task comes behind one with this date and id. */
  readonly isBehind: (than: '<' | '>', after: NonNullable<ListRequest['after']>, bind: Bind) => string
  /** The id of the task begins with this text, byte by byte, and comes behind another one in the order of `idOrder`. */
  readonly isPrefixed: (prefix: string, bind: Bind) => string
  readonly idOrder: (direction: 'asc' | 'desc') => string
  readonly isBehindId: (than: '<' | '>', taskId: string, bind: Bind) => string
  /** How a list is read by an index that this database would not choose; `null` where it chooses well. */
  readonly guide: (request: ListRequest, bind: Bind) => Guide | null
  readonly limit: (rows: number, bind: Bind) => string
}

/** What makes a list be read by one index. */
export interface Guide {
  /** What of the request is not in these conditions. */
  readonly rest: ListRequest
  readonly conditions: readonly string[]
  /** By what it is ordered first, which is the same in all of its rows. */
  readonly orderedBy: string
  /** Where the list ends: a condition for the rows that were read, which are at most as many as it may have. */
  readonly isBeforeEnd: string | null
}
