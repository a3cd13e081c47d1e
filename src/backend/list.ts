import { isDate } from 'node:util/types'
import type { Dialect } from '../dburi/types.ts'
import type { OptionError } from '../errors.ts'
import { invalid, unknown } from '../options/values.ts'
import { dateOf, type WallClock } from './clock.ts'
import type { ListRequest } from './statements/types.ts'
import { isStorable } from './texts.ts'
import { READY_STATES, type State } from './types.ts'

/** Which tasks to list, and in which order. */
export interface ListOptions {
  /** Only tasks in this state, or in one of these. */
  readonly state?: State | readonly State[]
  /** Only tasks of this name. */
  readonly name?: string
  /** Only tasks of this worker. */
  readonly worker?: string
  /** Only tasks done at this time or later; a year from 1 to 9999. */
  readonly since?: Date
  /** Only tasks done before this time; a year from 1 to 9999. */
  readonly until?: Date
  /**
   * `id` is the order in which tasks were first heard of and lists all of them; `dateDone` that in which they were done,
   * and lists only those that are.
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
  /** When it was done; `null` as long as it is not. */
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

/** @throws OptionError for an option that is unknown or cannot be */
export function listRequestOf(options: ListOptions): ListRequest {
  const { state, name = null, worker = null, since, until, limit = 50, cursor = null } = options
  const { orderBy = 'id', order = 'desc' } = options
  for (const option of Object.keys(options)) if (!OPTIONS.includes(option)) throw unknown(option, OPTIONS)
  if (orderBy !== 'id' && orderBy !== 'dateDone') throw invalid('orderBy', 'id or dateDone')
  if (order !== 'asc' && order !== 'desc') throw invalid('order', 'asc or desc')
  if (!Number.isInteger(limit) || limit < 1 || limit > 10_000) {
    throw invalid('limit', 'a whole number from 1 to 10000')
  }
  return {
    orderBy,
    descending: order === 'desc',
    limit,
    after: cursor === null ? null : positionOf(cursor, orderBy),
    states: state == null ? null : [state].flat().map((each) => checkText('state', each)),
    name: name === null ? null : checkText('name', name),
    worker: worker === null ? null : checkText('worker', worker),
    since: since == null ? null : checkDate('since', since),
    until: until == null ? null : checkDate('until', until),
  }
}

const OPTIONS: readonly string[] = [
  ...(['state', 'name', 'worker', 'since', 'until'] satisfies (keyof ListOptions)[]),
  ...(['orderBy', 'order', 'limit', 'cursor'] satisfies (keyof ListOptions)[]),
]

/**
 * The same request, whose cursor this database can be asked for: in SQLite a date is whatever somebody wrote.
 * @throws OptionError
 */
export function placedIn(request: ListRequest, dialect: Dialect): ListRequest {
  const { after } = request
  if (dialect === 'sqlite' || after === null) return request
  const { id, dateDone } = after
  const isDate = dialect === 'mysql' ? isDatetime : isTimestamp
  if (Math.abs(id) <= MOST_ID && (dateDone === null || isDate(dateDone))) return request
  throw wrongCursor()
}

/** Elsewhere than in SQLite ids have 32 bits. */
const MOST_ID = 2_147_483_647

/** The page that rows make; a full one may have another behind it. */
export function pageOf(rows: readonly object[], { orderBy, limit }: ListRequest, clock: WallClock): TaskPage {
  const last = rows.at(-1)
  return {
    items: rows.map((row) => listedTaskOf(row, clock)),
    cursor: last === undefined || rows.length < limit ? null : cursorOf(last, orderBy),
  }
}

function listedTaskOf(row: object, clock: WallClock): ListedTask {
  // What the columns hold is what the tables say.
  const at = (column: string) => (Reflect.get(row, column) ?? null) as never
  const status: State = at('status') ?? 'PENDING'
  return {
    taskId: at('task_id'),
    status,
    dateDone: READY_STATES.has(status) ? dateOf(at('date_done'), clock) : null,
    name: at('name'),
    worker: at('worker'),
    retries: at('retries'),
    queue: at('queue'),
  }
}

/** Where a page ended: the order, the row's id, and its date as it is stored, to the microsecond. */
function cursorOf(row: object, orderBy: string): string {
  const dateDone =
    orderBy === 'id' ? null : (Reflect.get(row, 'stored_date') ?? Reflect.get(row, 'date_done'))
  return Buffer.from(JSON.stringify([orderBy, Reflect.get(row, 'id'), dateDone])).toString('base64url')
}

function positionOf(cursor: unknown, orderBy: string): NonNullable<ListRequest['after']> {
  try {
    const place: unknown = JSON.parse(Buffer.from(String(cursor), 'base64url').toString())
    if (Array.isArray(place)) {
      const [order, id, dateDone] = place as unknown[]
      const isPlace = order === orderBy && typeof id === 'number' && Number.isSafeInteger(id)
      if (isPlace && orderBy === 'id') return { id, dateDone: null }
      if (isPlace && isKeyable(dateDone)) return { id, dateDone }
    }
  } catch {
    // Said below: why it is no JSON is of no interest.
  }
  throw wrongCursor()
}

/** What a column of dates may hold beside NULL, and a parameter, too. */
function isKeyable(dateDone: unknown): dateDone is string | number {
  return typeof dateDone === 'number' || (typeof dateDone === 'string' && isStorable(dateDone))
}

/** Whether PostgreSQL takes it for a `timestamp`, as it prints them. */
function isTimestamp(dateDone: string | number): boolean {
  if (/^-?infinity$/.test(String(dateDone))) return true
  const match = /^(\d{4,6})-(\d\d)-(\d\d) ([01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?( BC)?$/.exec(
    String(dateDone),
  )
  if (match === null) return false
  const [year, month, day] = match.slice(1, 4).map(Number) as [number, number, number]
  const isBefore = match[5] !== undefined
  // The calendar repeats itself every 400 years, and before the year 1 comes 1 BC, which is the year 0.
  const alike = 2000 + ((isBefore ? 400_001 - year : year) % 400)
  const isDay = new Date(Date.UTC(alike, month - 1, day)).getUTCMonth() === month - 1 && day > 0
  return isDay && year >= 1 && year <= (isBefore ? 4_712 : 294_275)
}

/** Whether MySQL takes it for a `datetime`, as it prints them: also a day that is none, as old programs store. */
function isDatetime(dateDone: string | number): boolean {
  const isZero = /^0000-00-00 00:00:00(?:\.0{1,6})?$/.test(String(dateDone))
  return isZero || (/^\d{4}-[^B]*$/.test(String(dateDone)) && isTimestamp(dateDone))
}

function wrongCursor(): OptionError {
  return invalid('cursor', 'the cursor of a page that was listed with the same orderBy')
}

function checkText(option: string, text: unknown): string {
  if (typeof text === 'string' && isStorable(text)) return text
  throw invalid(option, 'a text without NUL and half surrogate pairs')
}

function checkDate(option: string, date: unknown): number {
  const year = isDate(date) ? date.getUTCFullYear() : Number.NaN
  if (isDate(date) && year >= 1 && year <= 9_999) return date.getTime()
  throw invalid(option, 'a valid Date of a year from 1 to 9999')
}
