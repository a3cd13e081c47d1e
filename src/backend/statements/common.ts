import type { Statement } from '../../driver/statement.ts'
import { leastText, type WallClock } from '../clock.ts'
import { conditionsOf, listStatements } from './list.ts'
import type { Bind, Syntax } from './syntax.ts'
import {
  type BackendDialect,
  READY,
  type Statements,
  type StatementsOptions,
  type TableFacts,
} from './types.ts'

/** The statements that are the same in every dialect but for their syntax. */
export function commonStatements(syntax: Syntax, facts: TableFacts, { read }: StatementsOptions) {
  const { task, group, bytes, integer, result, from, isId, idParams, isAmongIds, idsParams } = syntax
  const optional = read.map((column) => `, t.${column}`).join('')
  const select = `select t.task_id, t.status, ${result}, ${syntax.dateDone}, t.traceback${optional} from ${from(task)}`
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
    ...listStatements(syntax, facts),
  } satisfies Partial<Statements>
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
