import type { Statement } from '../../driver/statement.ts'
import type { Bind, Syntax } from './syntax.ts'
import {
  isDoneOnly,
  LIST_FILTERS,
  type ListFilter,
  type ListRequest,
  READY,
  type Statements,
  type TableFacts,
} from './types.ts'

/** The statements of lists. */
export function listStatements(syntax: Syntax, { task: columns, indexes }: TableFacts) {
  const { task, integer } = syntax
  const listed = LISTED.filter((column) => columns.has(column))
    .map((column) => `, t.${column}`)
    .join('')
  const read = `t.id, t.task_id, t.status, ${syntax.listedDate}${listed}`
  const stored = `t.id, t.task_id, t.status, t.date_done${listed}`

  /** Of one table, in the order of the list. */
  function selectText(selected: string, request: ListRequest, bind: Bind): string {
    const guide = syntax.guide(request, bind)
    const conditions = [...conditionsOf(guide?.rest ?? request, syntax, bind), ...(guide?.conditions ?? [])]
    const where = conditions.length > 0 ? ` where ${conditions.join(' and ')}` : ''
    const order = orderOf(request)
    const first = guide === null ? '' : `${guide.orderedBy} ${directionOf(request)}, `
    const limit = syntax.limit(request.limit, bind)
    const selectWith = (columns: string) =>
      `select ${columns} from ${task} t${where} order by ${first}${order} limit ${limit}`
    const isBeforeEnd = guide?.isBeforeEnd ?? null
    if (isBeforeEnd === null) return selectWith(selected)
    return `select ${selected} from (${selectWith(stored)}) t where ${isBeforeEnd} order by ${order}`
  }

  function orderOf(request: ListRequest): string {
    const direction = directionOf(request)
    return {
      id: `t.id ${direction}`,
      dateDone: `t.date_done ${direction}, t.id ${direction}`,
      taskId: syntax.idOrder(direction),
    }[request.orderBy]
  }

  return {
    list: (request) => statementOf(syntax, (bind) => selectText(read, request, bind)),
    scanFilters({ orderBy, states, name, worker, queue }) {
      const given = Object.entries({ states, name, worker, queue }).filter(([, value]) => value !== null)
      if (orderBy === 'taskId' || given.length < 2) return []
      const isOneState = states?.length === 1 && states[0] !== 'PENDING'
      const isFound = (filter: ListFilter) =>
        (filter !== 'states' || isOneState) &&
        indexes.has(`${COLUMNS[filter]}, id`) &&
        (orderBy === 'id' || indexes.has(`${COLUMNS[filter]}, date_done, id`))
      return LIST_FILTERS.filter((filter) => given.some(([each]) => each === filter) && isFound(filter))
    },
    filterCounts: (request, filters, most) =>
      statementOf(syntax, (bind) => {
        const counts = filters.map((filter) => {
          const found = {
            ...onlyBy(filter, request),
            ...NO_TIMES,
            orderBy: 'id',
            limit: most,
            after: null,
          } as const
          return `(select ${integer('count(*)')} from (${selectText('1 as one', found, bind)}) s) as ${filter}`
        })
        return `select ${counts.join(', ')}`
      }),
    scan(request, filter, most) {
      const order = orderOf(request)
      return statementOf(syntax, (bind) => {
        // By date a time is a part of what the index finds, by id one of the other filters.
        const [found, left] = request.orderBy === 'dateDone' ? [{}, NO_TIMES] : [NO_TIMES, {}]
        const scanned = selectText(stored, { ...onlyBy(filter, request), ...found, limit: most }, bind)
        const others = { ...request, ...left, [filter]: null, orderBy: 'id', after: null } as const
        const matching =
          `select t.*, 0 as is_last from scanned t where ${conditionsOf(others, syntax, bind).join(' and ')} ` +
          `order by ${order} limit ${syntax.limit(request.limit, bind)}`
        const last =
          `select t.*, 1 as is_last from scanned t order by ${order} ` +
          `limit ${syntax.limit(1, bind)} offset ${syntax.limit(most - 1, bind)}`
        return (
          `with scanned as (${scanned}) select ${read}, t.is_last from ` +
          `(select * from (${matching}) f union all select * from (${last}) l) t order by t.is_last, ${order}`
        )
      })
    },
  } satisfies Partial<Statements>
}

const LISTED = ['name', 'worker', 'retries', 'queue']

const COLUMNS: Readonly<Record<ListFilter, string>> = {
  states: 'status',
  name: 'name',
  worker: 'worker',
  queue: 'queue',
}

const NO_TIMES = { since: null, until: null }

function onlyBy(filter: ListFilter, request: ListRequest): ListRequest {
  return { ...request, states: null, name: null, worker: null, queue: null, [filter]: request[filter] }
}

function directionOf({ descending }: ListRequest): 'asc' | 'desc' {
  return descending ? 'desc' : 'asc'
}

function statementOf({ placeholder }: Syntax, write: (bind: Bind) => string): Statement {
  const params: unknown[] = []
  const sql = write((value, type) => placeholder(params.push(value), type))
  return { sql, params, asArrays: false }
}

/** Only those that are asked for, so that each finds its index. */
export function conditionsOf(request: ListRequest, syntax: Syntax, bind: Bind): string[] {
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
