import type { Statement } from '../../driver/statement.ts'
import { leastText, type WallClock } from '../clock.ts'
import {
  type BackendDialect,
  isDoneOnly,
  type ListRequest,
  READY,
  type Statements,
  type StatementsOptions,
  type TableFacts,
} from './types.ts'

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
}

/** The statements that are the same in every dialect but for their syntax. */
export function commonStatements(syntax: Syntax, facts: TableFacts, { read }: StatementsOptions) {
  const { task, group, bytes, integer, result, from, isId, idParams, isAmongIds, idsParams } = syntax
  const optional = read.map((column) => `, t.${column}`).join('')
  const select = `select t.task_id, t.status, ${result}, ${syntax.dateDone}, t.traceback${optional} from ${from(task)}`
  const listed = LISTED.filter((column) => facts.task.has(column)).map((column) => `, t.${column}`)
  const selectListed = `select t.id, t.task_id, t.status, ${syntax.listedDate}${listed.join('')} from ${task} t`
  const outcome = ['status', ...['name', 'worker'].filter((column) => facts.task.has(column))].map(
    (column) => `t.${column}`,
  )
  const counted = outcome.join(', ')
  // By their bytes, too: a collation may take two texts for the same.
  const grouped = [...new Set([...outcome, ...outcome.map(bytes)])].join(', ')
  const selectState = `select t.task_id, t.status from ${task} t`
  const isReady = `(${bytes('t.status')} in ${READY})`
  const selectStored = `select t.task_id, t.status, ${result} from ${from(task)}`
  const isUnfinished = `(t.status is null or not ${isReady})`
  const texts = {
    get: `${select} where ${isId('t.task_id')}`,
    state: `select t.status from ${task} t where ${isId('t.task_id')}`,
    forget: `delete from ${task} where ${isId('task_id')}`,
    group: `select ${result} from ${from(group)} where ${isId('t.taskset_id')}`,
    deleteGroup: `delete from ${group} where ${isId('taskset_id')}`,
    counts: `select status, ${integer('count(*)')} as tasks from ${task} group by status`,
    newestGroup: `select ${integer('coalesce(max(id), 0)')} as id from ${group}`,
  }
  const statement = (sql: string, params: unknown[]): Statement => ({ sql, params, asArrays: false })
  return {
    get: (id) => statement(texts.get, idParams('task_id', id)),
    getMany: (ids) => statement(`${select} where ${isAmongIds(ids)}`, idsParams(ids)),
    state: (id) => statement(texts.state, idParams('task_id', id)),
    finished: (ids) => statement(`${selectState} where ${isAmongIds(ids)} and ${isReady}`, idsParams(ids)),
    unfinished: (ids) =>
      statement(`${selectStored} where ${isAmongIds(ids)} and ${isUnfinished}`, idsParams(ids)),
    forget: (id) => statement(texts.forget, idParams('task_id', id)),
    group: (id) => statement(texts.group, idParams('taskset_id', id)),
    deleteGroup: (id) => statement(texts.deleteGroup, idParams('taskset_id', id)),
    counts: () => statement(texts.counts, []),
    newestGroup: () => statement(texts.newestGroup, []),
    doneCounts(request, most) {
      const params: unknown[] = []
      const bind: Bind = (value, type) => syntax.placeholder(params.push(value), type)
      // Ordered, so that the index of the dates is used whatever share of the table that is.
      const read =
        `select ${counted} from ${task} t where ${conditionsOf(request, syntax, bind).join(' and ')} ` +
        `order by t.date_done limit ${syntax.limit(request.limit, bind)}`
      const counts = `select ${counted}, ${integer('count(*)')} as tasks from (${read}) t group by ${grouped}`
      return statement(`${counts} order by tasks desc limit ${syntax.limit(most, bind)}`, params)
    },
    list(request) {
      const params: unknown[] = []
      const bind: Bind = (value, type) => syntax.placeholder(params.push(value), type)
      const guide = syntax.guide(request, bind)
      const conditions = [...conditionsOf(guide?.rest ?? request, syntax, bind), ...(guide?.conditions ?? [])]
      const where = conditions.length > 0 ? ` where ${conditions.join(' and ')}` : ''
      const direction = request.descending ? 'desc' : 'asc'
      const order = {
        id: `t.id ${direction}`,
        dateDone: `t.date_done ${direction}, t.id ${direction}`,
        taskId: syntax.idOrder(direction),
      }[request.orderBy]
      const first = guide === null ? '' : `${guide.orderedBy} ${direction}, `
      const limit = syntax.limit(request.limit, bind)
      return statement(`${selectListed}${where} order by ${first}${order} limit ${limit}`, params)
    },
  } satisfies Partial<Statements>
}

const LISTED = ['name', 'worker', 'retries', 'queue']

/** Only those that are asked for, so that each finds its index. */
function conditionsOf(request: ListRequest, syntax: Syntax, bind: Bind): string[] {
  const { orderBy, descending, after, states, since, until, idPrefix } = request
  const { bytes } = syntax
  const conditions = isDoneOnly(request)
    ? ['t.date_done is not null', `${bytes('t.status')} in ${READY}`]
    : []
  if (states !== null) {
    const orNone = states.includes('PENDING') ? ' or t.status is null' : ''
    conditions.push(`(${syntax.isAmongStates(states, bind)}${orNone})`)
  }
  for (const column of ['name', 'worker', 'queue'] as const) {
    const text = request[column]
    if (text !== null) conditions.push(syntax.isText(column, text, bind))
  }
  if (since !== null) conditions.push(syntax.isSince(since, bind))
  if (until !== null) conditions.push(syntax.isBefore(until, bind))
  const than = descending ? '<' : '>'
  if (after !== null && orderBy === 'id') conditions.push(`t.id ${than} ${bind(after.id, 'integer')}`)
  if (after !== null && orderBy === 'dateDone') conditions.push(syntax.isBehind(than, after, bind))
  if (idPrefix !== null) conditions.push(syntax.isPrefixed(idPrefix, bind))
  if (after?.taskId != null) conditions.push(syntax.isBehindId(than, after.taskId, bind))
  return conditions
}

/**
 * The least text that comes behind all that begin with `prefix`, by their code points as by their bytes; `null` where nothing
 * does.
 */
export function behindPrefix(prefix: string): string | null {
  const points = [...prefix].map((character) => character.codePointAt(0) ?? 0)
  while (points.at(-1) === 0x10ffff) points.pop()
  const last = points.pop()
  if (last === undefined) return null
  // Half pairs are no characters.
  return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1)
}

/** Comparisons with dates that are stored as the texts of a clock. */
export function textDates(clock: WallClock): Pick<Syntax, 'isSince' | 'isBefore'> {
  return {
    isSince: (instant, bind) => `t.date_done >= ${bind(leastText(clock, instant))}`,
    isBefore: (instant, bind) => `t.date_done < ${bind(leastText(clock, instant))}`,
  }
}

/** Of a result beyond the limit only the size comes. */
export function sizedResult(maxResultBytes: number): string {
  const size = 'octet_length(t.result)'
  return `case when ${size} <= ${maxResultBytes} then t.result end as result, ${size} as size`
}

/** Whether a list can go on behind a row where ids have 32 bits and dates are of this form. */
export function positionsWith(isDate: (date: string | number) => boolean): BackendDialect['acceptsPosition'] {
  return ({ id, dateDone }) => Math.abs(id) <= MOST_ID && (dateDone === null || isDate(dateDone))
}

const MOST_ID = 2_147_483_647

/** Whether PostgreSQL takes it for a `timestamp`, as it prints them. */
export function isTimestamp(dateDone: string | number): boolean {
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
