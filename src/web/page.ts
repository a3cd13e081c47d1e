import type { DatabaseBackend } from '../backend/database-backend.ts'
import type { RecentCounts } from '../backend/recent-counts.ts'
import { ICON_PATH, SCRIPT_PATH, STYLE_PATH } from './assets.ts'
import { type Content, type Html, html } from './html.ts'
import type { SettledOptions } from './options.ts'

/** What all pages are made with. */
export interface Site {
  readonly backend: DatabaseBackend
  readonly options: SettledOptions
  /** How many tasks each state has: the last that is known after so many milliseconds. */
  readonly countsWithin: (milliseconds: number) => Promise<RecentCounts | null>
  /** What forms bear. */
  readonly formToken: string
}

/** What a page is about. */
export interface Page {
  readonly title: string
  /** The entry of the navigation that it belongs to. */
  readonly at?: 'tasks' | 'charts'
  readonly main: Html
  /** What the script does: listen to an address, or look again every so many seconds. */
  readonly live?: { readonly from: string } | { readonly every: number } | undefined
  /** Names no database: nobody knows who asks. */
  readonly isPlain?: boolean
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
}

/** The address of a place in the app. */
export function pathTo({ options }: Pick<Site, 'options'>, path: string): string {
  return `${options.basePath}${path}`
}

export function taskPath(site: Site, taskId: string): string {
  return pathTo(site, `/task?${new URLSearchParams({ id: taskId })}`)
}

export function groupPath(site: Site, groupId: string): string {
  return pathTo(site, `/group?${new URLSearchParams({ id: groupId })}`)
}

export function pageResponse(site: Site, page: Page): Response {
  return new Response(String(documentOf(site, page)), {
    status: page.status ?? 200,
    headers: { 'content-type': 'text/html; charset=utf-8', ...page.headers },
  })
}

function documentOf(site: Site, { title, at, main, live, isPlain = false }: Page): Html {
  const { options, backend } = site
  const listens = live !== undefined && 'from' in live
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · ${options.title}</title>
<link rel="stylesheet" href="${pathTo(site, STYLE_PATH)}">
<link rel="icon" type="image/svg+xml" href="${pathTo(site, ICON_PATH)}">
<script type="module" src="${pathTo(site, SCRIPT_PATH)}"></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="top">
<a class="brand" href="${pathTo(site, '/')}">${options.title}</a>
<nav aria-label="Pages">
${link(site, '/', 'Tasks', at === 'tasks')}
${link(site, '/charts', 'Charts', at === 'charts')}
</nav>
<p class="live" id="live" data-state="off" hidden></p>
<button type="button" id="pause" aria-pressed="false" hidden>Pause</button>
</header>
<main id="main" tabindex="-1"${attribute('data-live', listens ? live.from : null)}${attribute(
    'data-every',
    live !== undefined && 'every' in live ? live.every : null,
  )}>
${main}
</main>
<p class="unseen" id="said" role="status" aria-live="polite"></p>
<footer>${!isPlain && html`<span>${backend.asUri()}</span> <span>${options.readOnly ? 'read-only' : 'may be changed here'}</span> <span>times in UTC</span>`}</footer>
</body>
</html>
`
}

function link(site: Site, path: string, text: string, isHere: boolean): Html {
  return html`<a href="${pathTo(site, path)}"${isHere && html` aria-current="page"`}>${text}</a>`
}

function attribute(name: string, value: Content): Html | null {
  return value === null ? null : html` ${name}="${value}"`
}

/** A state, by its word as well as by its colour. */
export function badge(state: string): Html {
  const kind = KINDS.get(state) ?? 'other'
  return html`<span class="state ${kind}">${state}</span>`
}

const KINDS: ReadonlyMap<string, string> = new Map([
  ['SUCCESS', 'success'],
  ['FAILURE', 'failure'],
  ['REVOKED', 'revoked'],
  ['RETRY', 'retry'],
  ['STARTED', 'started'],
  ['PENDING', 'pending'],
])

/** To the second, in UTC. */
export function timeOf(date: Date | null): Html | null {
  if (date === null) return null
  if (Number.isNaN(date.getTime())) return html`<span class="dim">no readable date</span>`
  const iso = date.toISOString()
  return html`<time datetime="${iso}">${iso.slice(0, 19).replace('T', ' ')}</time>`
}

export function numberOf(count: number): string {
  return count.toLocaleString('en-US')
}

/** How long ago, roughly. */
export function ageOf(date: Date): string {
  const seconds = Math.max(0, Math.round((Date.now() - date.getTime()) / 1_000))
  if (seconds < 2) return 'just now'
  if (seconds < 120) return `${seconds} s ago`
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min ago`
  return `${Math.round(seconds / 3_600)} h ago`
}
