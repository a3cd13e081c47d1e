import type { DatabaseBackend } from '../backend/database-backend.ts'
import type { ListedTask, ListOptions, TaskPage } from '../backend/list.ts'
import type { RecentCounts } from '../backend/recent-counts.ts'
import { type Filters, filtersIn, hasFilters, listOptionsOf, NO_FILTERS, queryOf } from './filters.ts'
import { type Html, html } from './html.ts'
import { ageOf, badge, groupPath, numberOf, type Page, pathTo, type Site, taskPath, timeOf } from './page.ts'

/** Milliseconds that a list waits for the counts above it, before it has those of the last time. */
const COUNTS_TIMEOUT = 40
/** The scan limits of a list by several filters: of its first statement, and the largest. */
const FIRST_SCAN = 500
const LARGEST_SCAN = 5_000
/** Milliseconds after which no further statement is sent to fill a page. */
const SEARCH_TIME = 40
/** What there is to choose from before anything was counted. */
const USUAL_STATES = ['SUCCESS', 'FAILURE', 'STARTED', 'RETRY', 'REVOKED']

/** The list of tasks, the newest first. */
export async function listPage(site: Site, query: URLSearchParams): Promise<Page> {
  const filters = filtersIn(query)
  const cursor = query.get('cursor')
  const { backend, options } = site
  const [page, counts] = await Promise.all([
    search(backend, { ...listOptionsOf(filters), limit: options.pageSize, cursor }),
    site.countsWithin(COUNTS_TIMEOUT),
  ])
  const isFirst = cursor === null
  return {
    title: 'Tasks',
    at: 'tasks',
    main: html`<h1 class="unseen">Tasks</h1>
${countsStrip(site, filters, counts)}
${filterForm(site, filters, page.items)}
${taskTable(site, filters, page, isFirst)}`,
    live: { from: pathTo(site, `/live${queryOf(filters)}`) },
  }
}

/** A full page, the last one, or what was found in `SEARCH_TIME`. */
async function search(
  backend: DatabaseBackend,
  options: ListOptions & { readonly limit: number },
): Promise<TaskPage> {
  const end = performance.now() + SEARCH_TIME
  const items: ListedTask[] = []
  let { cursor = null } = options
  let scanLimit = FIRST_SCAN
  do {
    const limit = options.limit - items.length
    const page = await backend.list({ ...options, limit, scanLimit, cursor })
    items.push(...page.items)
    cursor = page.cursor
    scanLimit = Math.min(4 * scanLimit, LARGEST_SCAN)
  } while (cursor !== null && items.length < options.limit && performance.now() < end)
  return { items, cursor }
}

function countsStrip(site: Site, filters: Filters, recent: RecentCounts | null): Html {
  const counts = recent?.counts
  const known =
    counts === undefined
      ? USUAL_STATES
      : Object.keys(counts)
          .sort((one, other) => (counts[other] ?? 0) - (counts[one] ?? 0))
          .slice(0, 12)
  const states = new Set([...known, ...filters.states])
  const age =
    recent === null
      ? html`<span class="age">being counted</span>`
      : html`<span class="age">counted <time datetime="${recent.countedAt.toISOString()}">${ageOf(recent.countedAt)}</time></span>`
  return html`<nav class="counts" aria-label="Tasks by state" data-part="counts" id="counts">
<ul>
${[...states].map((state) => {
  const isOn = filters.states.includes(state)
  const others = filters.states.filter((each) => each !== state)
  const to = queryOf({ ...filters, states: isOn ? others : [...others, state] })
  return html`<li><a href="${pathTo(site, `/${to}`)}"${isOn && html` aria-current="true"`}>${badge(state)} <b>${counts && numberOf(counts[state] ?? 0)}</b></a></li>\n`
})}
</ul>
${age}
</nav>`
}

function filterForm(site: Site, filters: Filters, tasks: readonly ListedTask[]): Html {
  const field = (name: 'name' | 'worker' | 'queue' | 'id' | 'since' | 'until', label: string, hint = '') => {
    const known = name === 'name' || name === 'worker' || name === 'queue' ? knownIn(tasks, name) : []
    return html`<label><span>${label}</span><input name="${name}" value="${filters[name]}" placeholder="${hint}" autocomplete="off" spellcheck="false"${known.length > 0 && html` list="known-${name}"`}></label>
${known.length > 0 && html`<datalist id="known-${name}">${known.map((each) => html`<option value="${each}"></option>`)}</datalist>`}`
  }
  return html`<form class="filters" action="${pathTo(site, '/')}" role="search" aria-label="Filter the tasks">
${filters.states.map((state) => html`<input type="hidden" name="state" value="${state}">`)}
${field('name', 'Name', 'shop.add')}
${field('worker', 'Worker', 'celery@host')}
${field('queue', 'Queue', 'celery')}
${field('id', 'Id begins with')}
${field('since', 'Done since', '12h')}
${field('until', 'Done before', '2026-11-29 08:00')}
<label><span>Newest by</span><select name="sort">
<option value="stored"${filters.sort === 'stored' && html` selected`}>first stored</option>
<option value="done"${filters.sort === 'done' && html` selected`}>done</option>
</select></label>
<div class="buttons"><button type="submit">Filter</button>
${hasFilters(filters) && html`<a href="${pathTo(site, '/')}">Clear</a>`}</div>
</form>`
}

function knownIn(tasks: readonly ListedTask[], name: 'name' | 'worker' | 'queue'): string[] {
  return [...new Set(tasks.flatMap((task) => task[name] ?? []))].sort().slice(0, 20)
}

function taskTable(site: Site, filters: Filters, { items, cursor }: TaskPage, isFirst: boolean): Html {
  const next = cursor === null ? null : pathTo(site, `/${queryOf(filters, { cursor })}`)
  const isPart = next !== null && items.length < site.options.pageSize
  return html`<section data-part="tasks" id="tasks" aria-label="Tasks">
<table class="tasks"${isFirst && filters.id === null && html` data-grows="${site.options.pageSize}"`}>
<thead><tr><th scope="col">State</th><th scope="col">Name</th><th scope="col">Done (UTC)</th><th scope="col">Worker</th><th scope="col">Queue</th><th scope="col" class="number">Retries</th><th scope="col">Task</th></tr></thead>
<tbody>
${items.map((task) => taskRow(site, task))}
</tbody>
</table>
${isPart ? html`<p class="part">Not all tasks were looked at yet for these filters: there may be more.</p>` : items.length === 0 && emptyText(site, filters, isFirst)}
<nav class="pages" aria-label="Pages of tasks">
${!isFirst && html`<a href="${pathTo(site, `/${queryOf(filters)}`)}" rel="first">Newest</a>`}
${next !== null && html`<a href="${next}" rel="next">${isPart ? 'Look further' : 'Older'}</a>`}
</nav>
</section>`
}

/** A row of the list, as the page has it and as it is sent to who watches. */
export function taskRow(site: Site, task: ListedTask): Html {
  const { taskId, status, dateDone, name, worker, queue, retries } = task
  return html`<tr data-id="${taskId}">
<td data-label="State">${badge(status)}</td>
<td data-label="Name" class="name">${filterLink(site, 'name', name)}</td>
<td data-label="Done" class="time">${timeOf(dateDone)}</td>
<td data-label="Worker">${filterLink(site, 'worker', worker)}</td>
<td data-label="Queue">${filterLink(site, 'queue', queue)}</td>
<td data-label="Retries" class="number">${retries === null || retries === 0 ? null : numberOf(retries)}</td>
<td data-label="Task" class="id"><a class="task" href="${taskPath(site, taskId)}">${taskId === '' ? '(empty)' : taskId}</a></td>
</tr>
`
}

function filterLink(site: Site, filter: 'name' | 'worker' | 'queue', value: string | null): Html | null {
  if (value === null || value === '') return null
  return html`<a class="quiet" href="${pathTo(site, `/${queryOf({ ...NO_FILTERS, [filter]: value })}`)}">${value}</a>`
}

function emptyText(site: Site, filters: Filters, isFirst: boolean): Html {
  if (!isFirst) return html`<p class="empty">There are no more.</p>`
  if (!hasFilters(filters)) return html`<p class="empty">No results are stored yet.</p>`
  const group =
    filters.id === null ? null : html` <a href="${groupPath(site, filters.id)}">Is it a saved group?</a>`
  return html`<p class="empty">No such tasks. A filter is for the whole text, capitals included; an id may be its beginning.${group}</p>`
}
