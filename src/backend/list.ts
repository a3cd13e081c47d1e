import { isDate } from 'node:util/types'
import type { Statement } from '../driver/statement.ts'
import type { OptionError } from '../errors.ts'
import { invalid, unknown } from '../options/values.ts'
import { dateOf, type WallClock } from './clock.ts'
import {
  type BackendDialect,
  type ListFilter,
  type ListRequest,
  type Runner,
  rowsOf,
  type Statements,
} from './statements/types.ts'
import { isStorable } from './texts.ts'
import { READY_STATES, type State } from './types.ts'

/** Which tasks to list, and in which order. */
export interface ListOptions {
  /** Only tasks in this state, or in one of these. */
  readonly state?: State | readonly State[] | undefined
  /** Only tasks of this name. */
  readonly name?: string | undefined
  /** Only tasks of this worker. */
  readonly worker?: string | undefined
  /** Only tasks of this queue; its name is what Celery stores as the routing key. */
  readonly queue?: string | undefined
  /**
   * Only tasks whose id begins with this text, in the order of their ids: a part of an id finds its task. On PostgreSQL an index
   * of a dashboard makes it quick in large tables, elsewhere the table's own does.
   */
  readonly idPrefix?: string | undefined
  /** Only tasks done at this time or later; a year from 1 to 9999. */
  readonly since?: Date | undefined
  /** Only tasks done before this time; a year from 1 to 9999. */
  readonly until?: Date | undefined
  /**
   * `id` lists all tasks in the order in which they were first stored; `dateDone` lists finished tasks in the order in which
   * they were done. Not with `idPrefix`, which has an order of its own.
   * @default 'id'
   */
  readonly orderBy?: 'id' | 'dateDone' | undefined
  /** @default 'desc', the newest first; with `idPrefix` 'asc' */
  readonly order?: 'asc' | 'desc' | undefined
  /** Tasks a page, 1 to 10,000. @default 50 */
  readonly limit?: number | undefined
  /**
   * For a list by two or more of `state`, `name`, `worker` and `queue`: how many tasks are scanned for one page, 100 to
   * 1,000,000. A page may then be short or empty and still have a `cursor`, with which the scan goes on. Scanned are the tasks of the
   * rarest filter; each is counted up to four times this limit. It needs the indexes of a dashboard: without them, and in
   * other lists, a page is scanned for until it is full.
   * @default no limit
   */
  readonly scanLimit?: number | undefined
  /** The `cursor` of the page before, which must have had the same order. @default the first page */
  readonly cursor?: string | null | undefined
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
  /** The `cursor` option for the next page; `null` at the end. With `scanLimit` a page that is not full may have one. */
  readonly cursor: string | null
}

/** @throws OptionError for an unknown option or a wrong value */
export function listRequestOf(options: ListOptions): ListRequest {
  const { state, name = null, worker = null, queue = null, since, until, limit = 50, cursor = null } = options
  const { idPrefix = null, scanLimit = null } = options
  const { order = idPrefix === null ? 'desc' : 'asc' } = options
  for (const option of Object.keys(options)) if (!OPTIONS.includes(option)) throw unknown(option, OPTIONS)
  const orderBy = orderOf(options)
  if (order !== 'asc' && order !== 'desc') throw invalid('order', 'asc or desc')
  if (!Number.isInteger(limit) || limit < 1 || limit > 10_000) {
    throw invalid('limit', 'a whole number from 1 to 10000')
  }
  if (scanLimit !== null && !(Number.isInteger(scanLimit) && scanLimit >= 100 && scanLimit <= 1_000_000)) {
    throw invalid('scanLimit', 'a whole number from 100 to 1000000')
  }
  return {
    orderBy,
    scanLimit,
    descending: order === 'desc',
    limit,
    after: cursor === null ? null : positionOf(cursor, orderBy),
    idPrefix: idPrefix === null ? null : checkText('idPrefix', idPrefix),
    states: state == null ? null : [state].flat().map((each) => checkText('state', each)),
    name: name === null ? null : checkText('name', name),
    worker: worker === null ? null : checkText('worker', worker),
    queue: queue === null ? null : checkText('queue', queue),
    since: since == null ? null : checkDate('since', since),
    until: until == null ? null : checkDate('until', until),
  }
}

/** A list by the beginning of the id is in the order of the index that finds it. */
function orderOf({ orderBy, idPrefix }: ListOptions): ListRequest['orderBy'] {
  if (idPrefix == null) {
    if (orderBy === undefined || orderBy === 'id' || orderBy === 'dateDone') return orderBy ?? 'id'
    throw invalid('orderBy', 'id or dateDone')
  }
  if (orderBy === undefined) return 'taskId'
  throw invalid('orderBy', 'left out where idPrefix is given: that list is in the order of the ids')
}

const OPTIONS: readonly string[] = [
  ...(['state', 'name', 'worker', 'queue', 'since', 'until'] satisfies (keyof ListOptions)[]),
  ...(['idPrefix', 'orderBy', 'order', 'limit', 'scanLimit', 'cursor'] satisfies (keyof ListOptions)[]),
]

/**
 * Refuses a cursor whose id or date this database could not compare.
 * @throws OptionError
 */
export function assertPosition({ after }: ListRequest, { acceptsPosition }: BackendDialect): void {
  if (after !== null && !acceptsPosition(after)) throw wrongCursor()
}

/** Filters are counted up to so many times the scan limit, which reads only their indexes. */
const COUNT_FACTOR = 4

/** The statement of a page. For a scan the rarest filter is found first. */
export async function listStatement(
  engine: Runner,
  statements: Statements,
  request: ListRequest,
): Promise<Statement> {
  const { scanLimit } = request
  const filters = scanLimit === null ? [] : statements.scanFilters(request)
  const [first] = filters
  if (scanLimit === null || first === undefined) return statements.list(request)
  if (filters.length === 1) return statements.scan(request, first, scanLimit)
  const counts = statements.filterCounts(request, filters, COUNT_FACTOR * scanLimit)
  const [found = {}] = rowsOf(await engine.run(counts))
  const countOf = (filter: ListFilter) => Number(Reflect.get(found, filter))
  const rarest = filters.reduce((one, other) => (countOf(other) < countOf(one) ? other : one), first)
  return statements.scan(request, rarest, scanLimit)
}

/** The page of these rows. There may be another after a full one, and after the last row of a scan. */
export function pageOf(rows: readonly object[], { orderBy, limit }: ListRequest, clock: WallClock): TaskPage {
  const end = rows.at(-1)
  const listed = end !== undefined && Reflect.get(end, 'is_last') ? rows.slice(0, -1) : rows
  const last = listed.length < limit ? rows[listed.length] : listed.at(-1)
  return {
    items: listed.map((row) => listedTaskOf(row, clock)),
    cursor: last === undefined ? null : cursorOf(last, orderBy),
  }
}

function listedTaskOf(row: object, clock: WallClock): ListedTask {
  // The columns have the types that `ListedTask` says.
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

/** Where a page ended: the order, the row's id, and what it is ordered by: its date as it is stored, to the microsecond. */
function cursorOf(row: object, orderBy: ListRequest['orderBy']): string {
  const ordering = {
    id: null,
    dateDone: Reflect.get(row, 'stored_date') ?? Reflect.get(row, 'date_done'),
    taskId: Reflect.get(row, 'task_id'),
  }[orderBy]
  return Buffer.from(JSON.stringify([orderBy, Reflect.get(row, 'id'), ordering])).toString('base64url')
}

function positionOf(cursor: unknown, orderBy: ListRequest['orderBy']): NonNullable<ListRequest['after']> {
  try {
    const place: unknown = JSON.parse(Buffer.from(String(cursor), 'base64url').toString())
    if (Array.isArray(place)) {
      const [order, id, key] = place as unknown[]
      const isPlace = order === orderBy && typeof id === 'number' && Number.isSafeInteger(id)
      if (isPlace && orderBy === 'id') return { id, dateDone: null, taskId: null }
      if (isPlace && orderBy === 'dateDone' && isKeyable(key)) return { id, dateDone: key, taskId: null }
      if (isPlace && orderBy === 'taskId' && typeof key === 'string' && isStorable(key))
        return { id, dateDone: null, taskId: key }
    }
  } catch {
    // Reported below; why it is no JSON does not matter.
  }
  throw wrongCursor()
}

/** A value that both a column of dates and a parameter can hold. */
function isKeyable(dateDone: unknown): dateDone is string | number {
  return typeof dateDone === 'number' || (typeof dateDone === 'string' && isStorable(dateDone))
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
