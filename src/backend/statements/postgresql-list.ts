import { textOf } from '../clock.ts'
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
 * In an hour that occurs twice a stored time may be less than that of `since` and yet be read as later: so the index is searched
 * for a wider range, and each row is checked.
 */
export function sinceOf(form: DateForm, instant: number, bind: Bind): TimeBound {
  const shownInUtc = bind(textOf(instant), 'timestamp')
  if (form === UTC_FORM) return { than: '>=', date: shownInUtc, isOutside: null }
  const { shown, moment } = form
  const since = UTC_FORM.moment(shownInUtc)
  const date = `${shown(since)} - (${moment(shown(since))} - ${since})`
  return { than: '>=', date, isOutside: `${moment('t.date_done')} < ${since}` }
}

export function untilOf(form: DateForm, instant: number, bind: Bind): TimeBound {
  const shownInUtc = bind(textOf(instant), 'timestamp')
  if (form === UTC_FORM) return { than: '<', date: shownInUtc, isOutside: null }
  const until = UTC_FORM.moment(shownInUtc)
  return { than: '<', date: form.shown(until), isOutside: `${form.moment('t.date_done')} >= ${until}` }
}

/** The check is in words that PostgreSQL expects of most rows. */
export function isWithin(bound: TimeBound, isIn = isByDate(bound)): string {
  return bound.isOutside === null ? isIn : `${isIn} and (${bound.isOutside}) is not true`
}

function isByDate({ than, date }: TimeBound): string {
  return `t.date_done ${than} ${date}`
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
 * The index is read from one place on, which is in a subquery: PostgreSQL plans without its value, and expects more rows than it
 * would sort. Between two it would expect few, and so the end is looked for in the rows that were read.
 */
function rangeOf(
  { orderBy, descending, after, since, until }: ListRequest,
  form: DateForm,
  bind: Bind,
): Pick<Guide, 'conditions' | 'isBeforeEnd'> {
  const unknown = (value: string) => `(select ${value})`
  const conditions: string[] = []
  if (after !== null) {
    const than = descending ? '<' : '>'
    const id = unknown(bind(after.id, 'integer'))
    const place = () => `(${unknown(bind(after.dateDone, 'timestamp'))}, ${id})`
    conditions.push(orderBy === 'dateDone' ? `(t.date_done, t.id) ${than} ${place()}` : `t.id ${than} ${id}`)
  }
  const from = since === null ? null : sinceOf(form, since, bind)
  const to = until === null ? null : untilOf(form, until, bind)
  const [start, end] = descending ? [to, from] : [from, to]
  if (start !== null) {
    // All rows behind a place of the same list are within, which PostgreSQL must not count as a second condition.
    const isIn =
      after === null
        ? isByDate({ ...start, date: unknown(start.date) })
        : `coalesce(${isByDate(start)}, false)`
    conditions.push(isWithin(start, isIn))
  }
  if (end === null) return { conditions, isBeforeEnd: null }
  if (end.isOutside !== null) conditions.push(`((${end.isOutside}) is not true or not ${isByDate(end)})`)
  return { conditions, isBeforeEnd: isByDate(end) }
}
