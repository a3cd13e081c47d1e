import { OptionError } from '../errors.ts'
import { dateOf, utcText } from './clock.ts'
import type { ListRequest } from './statements/statements.ts'
import type { State } from './states.ts'

/** Which tasks to list, and in which order. */
export interface ListOptions {
  /** Only tasks in this state, or in one of these. */
  readonly state?: State | readonly State[]
  /** Only tasks of this name. */
  readonly name?: string
  /** Only tasks of this worker. */
  readonly worker?: string
  /** Only tasks done at this time or later. */
  readonly since?: Date
  /** Only tasks done before this time. */
  readonly until?: Date
  /**
   * `id` is the order in which tasks were first heard of and lists all of them; `dateDone` that in which they were done,
   * and lists only those.
   * @default 'id'
   */
  readonly orderBy?: 'id' | 'dateDone'
  /** @default 'desc', the newest first */
  readonly order?: 'asc' | 'desc'
  /** Tasks a page, 1 to 10,000. @default 50 */
  readonly limit?: number
  /** The `cursor` of the page before, which must have had the same order. @default the first page */
  readonly cursor?: string | null
}

/** A task in a list: all but its result, arguments and traceback. */
export interface ListedTask {
  readonly taskId: string
  readonly status: State
  readonly dateDone: Date | null
  readonly name: string | null
  readonly worker: string | null
  readonly retries: number | null
  readonly queue: string | null
}

/** A page of tasks. */
export interface TaskPage {
  readonly items: readonly ListedTask[]
  /** What asks for the next page; `null` at the end. */
  readonly cursor: string | null
}

/** @throws OptionError for a limit or a cursor that cannot be */
export function listRequestOf(options: ListOptions): ListRequest {
  const { state, name = null, worker = null, since, until, limit = 50, cursor = null } = options
  const { orderBy = 'id', order = 'desc' } = options
  if (!Number.isInteger(limit) || limit < 1 || limit > 10_000) {
    throw new OptionError(
      'INVALID_OPTION',
      'limit',
      'The option limit must be a whole number from 1 to 10000',
    )
  }
  return {
    orderBy,
    descending: order === 'desc',
    limit,
    after: cursor === null ? null : placeOf(cursor, orderBy),
    states: state === undefined ? null : [state].flat(),
    name,
    worker,
    since: since === undefined ? null : utcText(timeOf(since, 'since')),
    until: until === undefined ? null : utcText(timeOf(until, 'until')),
  }
}

/** The page that rows make; a full one may have another behind it. */
export function pageOf(rows: readonly object[], { orderBy, limit }: ListRequest): TaskPage {
  const last = rows.at(-1)
  return {
    items: rows.map(listedTaskOf),
    cursor: last === undefined || rows.length < limit ? null : cursorOf(last, orderBy),
  }
}

function listedTaskOf(row: object): ListedTask {
  // What the columns hold is what the tables say.
  const at = (column: string) => (Reflect.get(row, column) ?? null) as never
  const dateDone: string | null = at('date_done')
  return {
    taskId: at('task_id'),
    status: at('status') ?? 'PENDING',
    dateDone: dateDone === null ? null : dateOf(dateDone),
    name: at('name'),
    worker: at('worker'),
    retries: at('retries'),
    queue: at('queue'),
  }
}

/** Where a page ended: the order, the row's id, and its date as the database has it, to the microsecond. */
function cursorOf(row: object, orderBy: string): string {
  const dateDone = orderBy === 'id' ? null : Reflect.get(row, 'date_done')
  return Buffer.from(JSON.stringify([orderBy, Reflect.get(row, 'id'), dateDone])).toString('base64url')
}

function placeOf(cursor: string, orderBy: string): NonNullable<ListRequest['after']> {
  try {
    const place: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    if (Array.isArray(place)) {
      const [order, id, dateDone] = place as unknown[]
      const hasDate = orderBy === 'id' || dateOf(dateDone) !== null
      if (order === orderBy && Number.isSafeInteger(id) && hasDate) {
        return { id: Number(id), dateDone: orderBy === 'id' ? null : String(dateDone) }
      }
    }
  } catch {
    // Said below: why it is no JSON is of no interest.
  }
  throw new OptionError(
    'INVALID_OPTION',
    'cursor',
    'The option cursor must be the cursor of a page that was listed with the same orderBy',
  )
}

function timeOf(date: Date, option: string): number {
  const time = date.getTime()
  if (!Number.isNaN(time)) return time
  throw new OptionError('INVALID_OPTION', option, `The option ${option} must be a valid Date`)
}
