import { textOf } from '../clock.ts'
import { LONGEST_CHANGE } from '../date-done.ts'
import { READY_STATES } from '../types.ts'
import type { Bind, Guide } from './syntax.ts'
import type { ListRequest } from './types.ts'

/**
 * Converts an instant to `date_done` and back. Sessions of Python have the same zone as ours if both log in as the same role,
 * and PostgreSQL converts Python's aware datetimes by it. Of a time that occurs twice, it takes the later instant.
 */
export interface DateForm {
  shown(moment: string): string
  moment(shown: string): string
}

export const UTC_FORM: DateForm = {
  shown: (moment) => `(${moment} at time zone 'utc')`,
  moment: (shown) => `(${shown} at time zone 'utc')`,
}

export const SESSION_FORM: DateForm = {
  shown: (moment) => `${moment}::timestamp`,
  moment: (shown) => `${shown}::timestamptz`,
}

/** One end of a time. */
export interface TimeBound {
  readonly than: '>=' | '<'
  /** Compared with the stored times, of which there is an index. */
  readonly date: string
  /** A row is outside all the same; `null` where the stored time says it all. */
  readonly isOutside: string | null
}

/**
 * In an hour that occurs twice, and in one that is skipped, a stored time may be less than that of `since` and yet be read as
 * later: so the index is searched for a wider range, and each row is checked.
 */
export function sinceOf(form: DateForm, instant: number, bind: Bind): TimeBound {
  const shownInUtc = bind(textOf(instant), 'timestamp')
  if (form === UTC_FORM) return { than: '>=', date: shownInUtc, isOutside: null }
  const { shown, moment } = form
  const since = UTC_FORM.moment(shownInUtc)
  const twice = `${shown(since)} - (${moment(shown(since))} - ${since})`
  const change = `interval '${LONGEST_CHANGE} milliseconds'`
  const date = `least(${twice}, ${shown(`(${since} - ${change})`)} + ${change})`
  return { than: '>=', date, isOutside: `${moment('t.date_done')} < ${since}` }
}

export function untilOf(form: DateForm, instant: number, bind: Bind): TimeBound {
  const shownInUtc = bind(textOf(instant), 'timestamp')
  if (form === UTC_FORM) return { than: '<', date: shownInUtc, isOutside: null }
  const until = UTC_FORM.moment(shownInUtc)
  return { than: '<', date: form.shown(until), isOutside: `${form.moment('t.date_done')} >= ${until}` }
}

/** The check is in words that PostgreSQL expects of most rows. */
export function isWithin(bound: TimeBound, date = bound.date): string {
  const isIn = isByDate(bound, date)
  return bound.isOutside === null ? isIn : `${isIn} and (${bound.isOutside}) is not true`
}

function isByDate({ than, date }: TimeBound, value = date): string {
  return `t.date_done ${than} ${value}`
}

/**
 * PostgreSQL takes the rows of a state, name, worker or queue to be spread evenly over the table: for one that was usual only long
 * ago it would read, by id or by date, all that came since, or sort all of a time. Where the text is in an array and not a
 * constant, only the index that begins with it has the order of the list. With several filters, or times by id, what is best
 * depends on their values.
 */
export function guideOf(
  request: ListRequest,
  indexes: ReadonlySet<string>,
  form: DateForm,
  bind: Bind,
): Guide | null {
  const { orderBy, states, name, worker, queue, since, until } = request
  const filters = Object.entries({ status: states, name, worker, queue }).filter(
    ([, value]) => value !== null,
  )
  const [[column = '', values] = []] = filters
  const [text, ...others] = [values ?? []].flat()
  const byDate = orderBy === 'dateDone'
  const isOne = filters.length === 1 && text !== undefined && others.length === 0 && text !== 'PENDING'
  const isGuided = isOne && (byDate || (orderBy === 'id' && since === null && until === null))
  if (!isGuided || !indexes.has(`${column}, ${byDate ? 'date_done, ' : ''}id`)) return null
  // Lists by date are of tasks that are done. One of another state is empty, and left to the database.
  if (byDate && column === 'status' && !READY_STATES.has(text)) return null
  const { conditions, isBeforeEnd } = rangeOf(request, form, bind)
  const filter = column === 'status' ? 'states' : column
  return {
    rest: { ...request, [filter]: null, after: null, since: null, until: null },
    conditions: [`t.${column} = any(array[${bind(text, 'varchar')}])`, ...conditions],
    orderedBy: `t.${column}`,
    isBeforeEnd,
  }
}

/**
 * Where the index is read from, or to: in a subquery, so that PostgreSQL plans without its value, and expects more rows than it would
 * sort. Between two ends it would expect few, and read all of that time; so with a start the end is looked for in the rows that
 * were read.
 */
function rangeOf(
  { orderBy, descending, after, since, until }: ListRequest,
  form: DateForm,
  bind: Bind,
): Pick<Guide, 'conditions' | 'isBeforeEnd'> {
  const than = descending ? '<' : '>'
  const from = since === null ? null : sinceOf(form, since, bind)
  const to = until === null ? null : untilOf(form, until, bind)
  const [start, end] = descending ? [to, from] : [from, to]
  const conditions: string[] = []
  if (after !== null && orderBy === 'id') {
    conditions.push(`t.id ${than} ${unknown(bind(after.id, 'integer'))}`)
  } else if (after !== null) {
    const place = placeOf(after, start, descending ? 'least' : 'greatest', bind)
    conditions.push(`(t.date_done, t.id) ${than} (${place.map(unknown).join(', ')})`)
  }
  if (start !== null && after === null) conditions.push(isByDate(start, unknown(start.date)))
  if (start !== null && start.isOutside !== null) conditions.push(`(${start.isOutside}) is not true`)
  if (end === null) return { conditions, isBeforeEnd: null }
  if (conditions.length === 0) {
    conditions.push(isWithin(end, unknown(end.date)))
    return { conditions, isBeforeEnd: null }
  }
  if (end.isOutside !== null) conditions.push(`((${end.isOutside}) is not true or not ${isByDate(end)})`)
  return { conditions, isBeforeEnd: isByDate(end) }
}

/** The date and the id behind which a page begins: those of the page before, or the start of a time that begins behind them. */
function placeOf(
  { dateDone, id }: NonNullable<ListRequest['after']>,
  start: TimeBound | null,
  farther: 'least' | 'greatest',
  bind: Bind,
): [date: string, id: string] {
  const [date, last] = [bind(dateDone, 'timestamp'), bind(id, 'integer')]
  if (start === null) return [date, last]
  const isIn = `${date} ${start.than} ${start.date}`
  // The least of all ids: in either order the rows of that date that are in the time are behind it.
  return [`${farther}(${date}, ${start.date})`, `case when ${isIn} then ${last} else -2147483648 end`]
}

function unknown(value: string): string {
  return `(select ${value})`
}
