import type { DatabaseBackend } from '../backend/database-backend.ts'
import { DrizzleCeleryError, OptionError } from '../errors.ts'
import { assetAt } from './assets.ts'
import { chartsPage } from './charts.ts'
import { PageError } from './errors.ts'
import { filtersIn } from './filters.ts'
import { groupPage } from './group.ts'
import { Guard } from './guard.ts'
import { History } from './history.ts'
import { html } from './html.ts'
import { listPage } from './list.ts'
import { LiveHub } from './live.ts'
import type { FetchHandler } from './node.ts'
import { type ResultsAppOptions, type SettledOptions, settleOptions } from './options.ts'
import { type Page, pageResponse, pathTo, type Site } from './page.ts'
import { taskPage } from './task.ts'
import { latest, Turns } from './turns.ts'

/**
 * The page: results in a browser. It shows what the tables of a backend hold, as lists, tasks, groups and charts, works without
 * JavaScript, and changes nothing unless `readOnly: false` allows it. What it gives answers a `Request` with a `Response`, so
 * that it can be mounted in a program; `toNodeHandler` makes of it what `node:http`, Express and Fastify take.
 *
 * @param backend what it shows; make it with `resultExtended: true` for names, arguments, workers and queues
 * @throws OptionError where an option is wrong, or none says who may look
 */
export function resultsApp(backend: DatabaseBackend, options: ResultsAppOptions): FetchHandler {
  const app = new ResultsApp(backend, settleOptions(options))
  return (request) => app.answer(request)
}

/** Headers of every response. No inline scripts or styles, and no other site may frame a page. */
const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  // Not no-referrer: with it browsers do not say where a form was sent from.
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
}

/** The longest address that is read. */
const LONGEST_ADDRESS = 8_192

class ResultsApp {
  readonly #options: SettledOptions
  readonly #guard: Guard
  readonly #site: Site
  readonly #turns: Turns
  readonly #history: History
  readonly #live: LiveHub

  constructor(backend: DatabaseBackend, options: SettledOptions) {
    this.#options = options
    this.#guard = new Guard(options)
    const countsWithin = latest(() => backend.recentCounts(), options.onError)
    this.#site = { backend, options, countsWithin, formToken: this.#guard.formToken }
    this.#turns = new Turns(options.timeout)
    this.#history = new History((range) => backend.countDone(range))
    this.#live = new LiveHub(this.#site)
  }

  async answer(request: Request): Promise<Response> {
    let response: Response
    try {
      response = await this.#respond(request)
    } catch (error) {
      response = this.#errorPage(error)
    }
    for (const [name, value] of Object.entries(HEADERS)) {
      if (!response.headers.has(name)) response.headers.set(name, value)
    }
    return response
  }

  async #respond(request: Request): Promise<Response> {
    this.#guard.assertHost(request)
    if (request.url.length > LONGEST_ADDRESS)
      throw new PageError(414, 'The address is too long', 'Use fewer filters.')
    const { pathname, searchParams: query } = new URL(request.url)
    const path = this.#pathOf(pathname)
    if (path === null) throw notFound()
    const asset = assetAt(path)
    if (asset !== null) return asset

    const isRead = request.method === 'GET' || request.method === 'HEAD'
    if (path === '/login' && request.method === 'POST') return this.#logIn(request, await formOf(request))
    const isPage = this.#pageAt(path, query) !== null
    if (isRead && isPage && this.#guard.isToken(query.get('token') ?? ''))
      return this.#welcome(request, path, query)
    if (!(await this.#admits(request))) return this.#refuse()
    if (isRead) return this.#read(request, path, query)
    if (request.method === 'POST') return this.#change(request, path)
    throw new PageError(405, 'That is not done here', 'Pages are read by GET and HEAD.', {
      allow: 'GET, HEAD, POST',
    })
  }

  /** What the program's own `auth` throws is its secret. */
  async #admits(request: Request): Promise<boolean> {
    try {
      return await this.#guard.admits(request)
    } catch (error) {
      this.#options.onError(error)
      throw new PageError(500, 'That did not work', 'It could not be found out whether you may look at this.')
    }
  }

  /** Within the app, beginning with a slash. */
  #pathOf(pathname: string): string | null {
    const { basePath } = this.#options
    if (pathname === basePath) return '/'
    return pathname.startsWith(`${basePath}/`) ? pathname.slice(basePath.length) : null
  }

  async #read(request: Request, path: string, query: URLSearchParams): Promise<Response> {
    if (path === '/live' || path === '/live/task') return this.#listen(request, path, query)
    const page = this.#pageAt(path, query)
    if (page === null) throw notFound()
    return pageResponse(this.#site, await this.#turns.take(page))
  }

  #listen(request: Request, path: string, query: URLSearchParams): Response {
    // Nobody would ever end the stream of one who only wants its head.
    if (request.method === 'HEAD')
      throw new PageError(405, 'That is not done here', 'Events are read by GET.', { allow: 'GET' })
    if (path === '/live') return this.#live.list(filtersIn(query), request)
    const taskId = query.get('id') ?? ''
    if (taskId === '' || taskId.length > 155) throw notFound()
    return this.#live.task(taskId, request)
  }

  #pageAt(path: string, query: URLSearchParams): (() => Promise<Page>) | null {
    switch (path) {
      case '/':
        return () => listPage(this.#site, query)
      case '/task':
        return () => taskPage(this.#site, query)
      case '/group':
        return () => groupPage(this.#site, query)
      case '/charts':
        return () => chartsPage(this.#site, this.#history, query)
      default:
        return null
    }
  }

  async #change(request: Request, path: string): Promise<Response> {
    if (path !== '/forget' && path !== '/cleanup') throw notFound()
    if (this.#options.readOnly) {
      throw new PageError(
        403,
        'Nothing can be changed here',
        'The page is read-only: its option readOnly is not false.',
      )
    }
    const form = await formOf(request)
    this.#guard.assertForm(request, form)
    const { backend } = this.#site
    if (path === '/forget') {
      await this.#turns.take(() => backend.forget(form.get('id') ?? ''))
      return this.#done('Forgotten', 'What was stored of the task is deleted.')
    }
    const { tasks, groups } = await this.#turns.take(() => backend.cleanup())
    return this.#done('Cleaned up', `${tasks} tasks and ${groups} groups were deleted.`)
  }

  #done(title: string, message: string): Response {
    return pageResponse(this.#site, this.#notice(title, message, 200))
  }

  #notice(
    title: string,
    message: string,
    status: number,
    headers: Readonly<Record<string, string>> = {},
  ): Page {
    return {
      title,
      status,
      headers,
      main: html`<section class="notice"><h1>${title}</h1><p>${message}</p><p><a href="${pathTo(this.#site, '/')}">To the tasks</a></p></section>`,
    }
  }

  /**
   * Sets the cookie, and has the browser open the address without the token. That is no redirect: behind a link from elsewhere
   * a strict cookie would not come along with it.
   */
  #welcome(request: Request, path: string, query: URLSearchParams): Response {
    query.delete('token')
    const to = `${pathTo(this.#site, path)}${query.size === 0 ? '' : `?${query}`}`
    return pageResponse(this.#site, {
      title: 'Welcome',
      headers: { 'set-cookie': this.#guard.cookieFor(request), refresh: `0; url=${to}` },
      main: html`<section class="notice"><h1>Welcome</h1><p><a href="${to}">Go on</a></p></section>`,
    })
  }

  #logIn(request: Request, form: URLSearchParams): Response {
    if (!this.#guard.isToken((form.get('token') ?? '').trim())) return this.#refuse('That is not the token.')
    return this.#welcome(request, '/', new URLSearchParams())
  }

  #refuse(message?: string): Response {
    const { token } = this.#options
    if (token === null) {
      return plainPage(this.#site, {
        title: 'You may not look at this',
        status: 401,
        main: html`<section class="notice"><h1>You may not look at this</h1><p>The program that shows this page does not let you in. Log in there first.</p></section>`,
      })
    }
    return plainPage(this.#site, {
      title: 'Who are you?',
      status: 401,
      headers: { 'www-authenticate': 'Bearer' },
      main: html`<section class="notice"><h1>Who are you?</h1>
<p>${message ?? 'Open the address that the command printed, or give its token.'}</p>
<form method="post" action="${pathTo(this.#site, '/login')}"><label><span>Token</span><input type="password" name="token" autocomplete="current-password" required></label> <button type="submit">Go on</button></form></section>`,
    })
  }

  #errorPage(error: unknown): Response {
    const { title, message, status, headers } = this.#pageErrorOf(error)
    return plainPage(this.#site, this.#notice(title, message, status, headers))
  }

  /** What a visitor is told. Of what nobody foresaw, nothing: its message may have anything in it. */
  #pageErrorOf(error: unknown): PageError {
    if (error instanceof PageError) return error
    if (error instanceof OptionError)
      return new PageError(400, 'The address cannot be read', `${error.message}.`)
    this.#options.onError(error)
    if (error instanceof DrizzleCeleryError) {
      return new PageError(503, 'The database cannot be read', `${error.code}: ${error.message}`, {
        'retry-after': '10',
      })
    }
    return new PageError(
      500,
      'That did not work',
      'Something unexpected went wrong. The operator of this page can see what.',
    )
  }
}

/** Before it is known who asks, the foot of a page names no database. */
function plainPage(site: Site, page: Page): Response {
  return pageResponse(site, { ...page, isPlain: true })
}

function notFound(): PageError {
  return new PageError(404, 'There is no such page', 'Nothing is shown under this address.')
}

const MOST_BYTES = 65_536

/** @throws PageError where it is no form of a page, or too long */
async function formOf(request: Request): Promise<URLSearchParams> {
  const isForm = /^application\/x-www-form-urlencoded\b/i.test(request.headers.get('content-type') ?? '')
  const isLong = Number(request.headers.get('content-length') ?? 0) > MOST_BYTES
  if (!isForm || isLong)
    throw new PageError(isLong ? 413 : 415, 'That is no form of this page', 'Nothing was changed.')
  const chunks: Uint8Array[] = []
  let length = 0
  // Anybody can send one, of any length.
  for await (const chunk of request.body ?? []) {
    length += chunk.length
    if (length > MOST_BYTES) throw new PageError(413, 'That is no form of this page', 'Nothing was changed.')
    chunks.push(chunk)
  }
  return new URLSearchParams(Buffer.concat(chunks).toString())
}
