/** An app on a database, asked as a browser or a program asks it. */
import { DatabaseBackend } from '../../src/backend/database-backend.ts'
import type { BackendOptions } from '../../src/backend/index.ts'
import { type ResultsAppOptions, resultsApp } from '../../src/web/index.ts'

export const TOKEN = 'the-token-of-the-tests'
export const ORIGIN = 'http://localhost'

export interface Asked {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

export type Ask = (path: string, init?: RequestInit) => Promise<Asked>

/** Asks an app, with the token unless another header says who asks. */
export function asking(backend: DatabaseBackend, options: ResultsAppOptions = { token: TOKEN }): Ask {
  const app = resultsApp(backend, { timeout: 25, ...options })
  let opening: Promise<unknown> | undefined
  return async (path, init = {}) => {
    // A busy machine takes longer to open a database than a page waits.
    opening ??= backend.counts()
    await opening
    const headers = new Headers(init.headers)
    if (!headers.has('authorization')) headers.set('authorization', `Bearer ${TOKEN}`)
    const response = await app(new Request(`${ORIGIN}${path}`, { ...init, headers }))
    return { status: response.status, headers: response.headers, text: await response.text() }
  }
}

/** A database in memory, with `resultExtended`. */
export function inMemory(options: BackendOptions = {}): DatabaseBackend {
  return new DatabaseBackend('file::memory:', { resultExtended: true, ...options })
}

/** What a form of the app's pages bears. */
export function formTokenIn(text: string): string {
  return /name="form" value="([^"]+)"/.exec(text)?.[1] ?? ''
}

export function form(fields: Record<string, string>, headers: Record<string, string> = {}): RequestInit {
  return {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', origin: ORIGIN, ...headers },
    body: String(new URLSearchParams(fields)),
  }
}

/** The ids in a list, in their order. */
export function idsIn(text: string): string[] {
  return [...text.matchAll(/<tr data-id="([^"]*)"/g)].map(([, id = '']) => id)
}

/** Text of a page as a reader sees it. */
export function seenIn(text: string): string {
  return text
    .replace(/<[^>]*>/g, ' ')
    .replace(/&#39;/g, "'")
    .replace(/&quot;/g, '"')
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&amp;/g, '&')
    .replace(/\s+/g, ' ')
}
