import { momentIn } from '../backend/durations.ts'
import type { ListedTask, ListOptions } from '../backend/list.ts'
import { READY_STATES } from '../backend/types.ts'
import { PageError } from './errors.ts'

/** Which tasks a page lists, as its address says. */
export interface Filters {
  readonly states: readonly string[]
  readonly name: string | null
  readonly worker: string | null
  readonly queue: string | null
  /** How the id begins. */
  readonly id: string | null
  /** As it was written: a time ago or a date. */
  readonly since: string | null
  readonly until: string | null
  /** By when they were done, where that time is filtered. */
  readonly sort: 'stored' | 'done'
}

export const NO_FILTERS: Filters = {
  ...{ states: [], name: null, worker: null, queue: null, id: null, since: null, until: null },
  sort: 'stored',
}

/** @throws PageError naming the part that cannot be read */
export function filtersIn(query: URLSearchParams): Filters {
  const text = (name: string) => {
    const value = query.get(name)?.trim() ?? ''
    if (value.length > 155) throw wrong(name, 'is a text of up to 155 characters')
    return value === '' ? null : value
  }
  const [since, until] = [text('since'), text('until')]
  const asked = text('sort') ?? 'stored'
  if (asked !== 'stored' && asked !== 'done') throw wrong('sort', 'is stored or done')
  // In the other order all that was stored since would be read, or all of that time sorted.
  const sort = since !== null || until !== null ? 'done' : asked
  const states = [...new Set(query.getAll('state').filter((state) => state !== ''))]
  if (states.length > 20) throw wrong('state', 'is given up to 20 times')
  const filters = {
    states,
    ...{ name: text('name'), worker: text('worker'), queue: text('queue'), id: text('id') },
    ...{ since, until, sort },
  } satisfies Filters
  // For their errors.
  momentOf('since', filters.since)
  momentOf('until', filters.until)
  return filters
}

export function hasFilters({ sort, states, ...texts }: Filters): boolean {
  return states.length > 0 || Object.values(texts).some((text) => text !== null)
}

/** The part of an address behind its path; empty, or with its question mark. */
export function queryOf(filters: Filters, more: Readonly<Record<string, string>> = {}): string {
  const query = new URLSearchParams()
  for (const state of filters.states) query.append('state', state)
  for (const name of ['name', 'worker', 'queue', 'id', 'since', 'until'] as const) {
    const value = filters[name]
    if (value !== null) query.set(name, value)
  }
  if (filters.sort !== 'stored') query.set('sort', filters.sort)
  for (const [name, value] of Object.entries(more)) query.set(name, value)
  return query.size === 0 ? '' : `?${query}`
}

export function listOptionsOf(filters: Filters): ListOptions {
  const { states, name, worker, queue, id, since, until, sort } = filters
  return {
    ...(states.length > 0 && { state: states }),
    ...(name !== null && { name }),
    ...(worker !== null && { worker }),
    ...(queue !== null && { queue }),
    ...(since !== null && { since: momentOf('since', since) }),
    ...(until !== null && { until: momentOf('until', until) }),
    // Such a list has an order of its own.
    ...(id === null ? { orderBy: sort === 'done' ? 'dateDone' : 'id' } : { idPrefix: id }),
  }
}

/** Whether a task belongs to the list, as the database would say. */
export function matches(filters: Filters, task: ListedTask): boolean {
  const { states, id, sort } = filters
  const [since, until] = [momentOf('since', filters.since), momentOf('until', filters.until)]
  const isDone = READY_STATES.has(task.status) && task.dateDone !== null
  const at = task.dateDone?.getTime() ?? Number.NaN
  return (
    (states.length === 0 || states.includes(task.status)) &&
    (['name', 'worker', 'queue'] as const).every(
      (key) => filters[key] === null || filters[key] === task[key],
    ) &&
    (id === null || task.taskId.startsWith(id)) &&
    (since === undefined || at >= since.getTime()) &&
    (until === undefined || at < until.getTime()) &&
    (isDone || sort === 'stored')
  )
}

function momentOf(name: 'since' | 'until', text: string | null): Date | undefined {
  if (text === null) return undefined
  const date = momentIn(text)
  if (date !== undefined) return date
  throw wrong(
    name,
    'is a time ago, such as 45m, 12h or 7d, or a date, such as 2026-11-29 or 2026-11-29 08:30',
  )
}

function wrong(name: string, wanted: string): PageError {
  return new PageError(400, `The filter ${name} cannot be read`, `The filter ${name} ${wanted}.`)
}
