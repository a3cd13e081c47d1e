import type { DoneCount } from '../backend/done-counts.ts'
import { PageError } from './errors.ts'
import { type Counted, type History, RANGE_NAMES, RANGES, type Range } from './history.ts'
import { type Html, html } from './html.ts'
import { ageOf, badge, numberOf, type Page, pathTo, type Site } from './page.ts'
import { OUTCOMES, plotOf, shareOf, sumOf, tallyOf } from './plot.ts'
import { soon } from './turns.ts'

/** Milliseconds that a page waits for its counts before it shows what there is. */
const COUNTS_TIMEOUT = 500
const MOST_ROWS = 30

/** Counts and charts over time. */
export async function chartsPage(site: Site, history: History, query: URLSearchParams): Promise<Page> {
  const range = rangeIn(query)
  const [, counts] = await Promise.all([
    soon(history.refresh(range), COUNTS_TIMEOUT, site.options.onError),
    site.countsWithin(COUNTS_TIMEOUT),
  ])
  const counted = history.of(range)
  const { title } = RANGES[range]
  return {
    title: 'Charts',
    at: 'charts',
    main: html`<h1 class="unseen">Charts</h1>
<nav class="ranges" aria-label="Time">${RANGE_NAMES.map((each) => html`<a href="${pathTo(site, `/charts?range=${each}`)}"${each === range && html` aria-current="true"`}>${each}</a> `)}</nav>
<section data-part="chart" id="chart"><h2>Done in ${title}</h2>
${ageLine(counted)}
${plotOf(counted)}
</section>
<div class="sides" data-part="sides" id="sides">
${breakdown(site, counted, 'name')}
${breakdown(site, counted, 'worker')}
<section><h2>All that is stored</h2>
${counts === null ? html`<p class="dim">It is being counted; look again.</p>` : totals(site, counts.counts, counts.countedAt)}
</section>
</div>
${!site.options.readOnly && cleanupForm(site)}`,
    live: { every: 30 },
  }
}

function rangeIn(query: URLSearchParams): Range {
  const text = query.get('range') ?? '24h'
  const range = RANGE_NAMES.find((each) => each === text)
  if (range !== undefined) return range
  throw new PageError(400, 'The range cannot be read', `The range is one of ${RANGE_NAMES.join(', ')}.`)
}

function ageLine({ steps, countedAt }: Counted): Html {
  const missing = steps.filter(({ counts }) => counts === null).length
  const cut = steps.filter(({ isCut }) => isCut).length
  return html`<p class="age">${countedAt === null ? 'not counted yet' : html`counted <time datetime="${countedAt.toISOString()}">${ageOf(countedAt)}</time>`}${missing > 0 && html`; ${missing} of ${steps.length} parts are being counted`}${cut > 0 && html`; ${cut} parts have more than is shown`}. Results that were deleted before are not in it.</p>`
}

function breakdown(site: Site, { steps, range }: Counted, by: 'name' | 'worker'): Html | null {
  const groups = new Map<string, DoneCount[]>()
  for (const count of steps.flatMap(({ counts }) => counts ?? [])) {
    const key = count[by] ?? ''
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [count])
    else group.push(count)
  }
  // Stored without names and workers, or nothing at all.
  if ([...groups.keys()].every((key) => key === '')) return null
  const rows = [...groups].map(([key, counts]) => ({ key, tally: tallyOf(counts) }))
  rows.sort((one, other) => sumOf(other.tally) - sumOf(one.tally))
  const most = Math.max(1, ...rows.map(({ tally }) => sumOf(tally)))
  const title = by === 'name' ? 'By name' : 'By worker'
  return html`<section><h2>${title}</h2>
<table class="breakdown"><thead><tr><th scope="col">${by === 'name' ? 'Name' : 'Worker'}</th><th scope="col" class="number">Succeeded</th><th scope="col" class="number">Failed</th><th scope="col" class="number">Revoked</th><th scope="col" class="share"><span class="unseen">Share</span></th></tr></thead>
<tbody>
${rows.slice(0, MOST_ROWS).map(({ key, tally }) => {
  const to = pathTo(site, `/?${new URLSearchParams({ [by]: key, since: range, sort: 'done' })}`)
  const label =
    key === '' ? html`<span class="dim">not stored</span>` : html`<a class="quiet" href="${to}">${key}</a>`
  return html`<tr><th scope="row">${label}</th>${OUTCOMES.map((outcome) => html`<td class="number">${tally[outcome] === 0 ? html`<span class="dim">0</span>` : numberOf(tally[outcome])}</td>`)}<td class="share">${shareOf(tally, most)}</td></tr>\n`
})}
</tbody></table>
${rows.length > MOST_ROWS && html`<p class="dim">and ${rows.length - MOST_ROWS} more</p>`}
</section>`
}

function totals(site: Site, counts: Readonly<Record<string, number>>, countedAt: Date): Html {
  const rows = Object.entries(counts).sort(([, one], [, other]) => other - one)
  return html`<table class="totals"><thead><tr><th scope="col">State</th><th scope="col" class="number">Tasks</th></tr></thead>
<tbody>
${rows.slice(0, MOST_ROWS).map(([state, tasks]) => html`<tr><th scope="row"><a href="${pathTo(site, `/?${new URLSearchParams({ state })}`)}">${badge(state)}</a></th><td class="number">${numberOf(tasks)}</td></tr>\n`)}
</tbody></table>
<p class="age">counted <time datetime="${countedAt.toISOString()}">${ageOf(countedAt)}</time></p>`
}

function cleanupForm(site: Site): Html | null {
  const { resultExpires } = site.backend
  if (resultExpires === null || resultExpires === 0) return null
  const age =
    resultExpires % 86_400 === 0 ? days(resultExpires / 86_400) : `${numberOf(resultExpires)} seconds`
  return html`<form class="danger" method="post" action="${pathTo(site, '/cleanup')}">
<input type="hidden" name="form" value="${site.formToken}">
<details><summary>Clean up</summary><p>Results and groups that are older than ${age} are deleted, as Celery's backend_cleanup does.</p><button type="submit">Delete what expired</button></details>
</form>`
}

function days(count: number): string {
  return count === 1 ? 'a day' : `${numberOf(count)} days`
}
