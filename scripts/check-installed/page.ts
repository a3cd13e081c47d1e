import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { namedPrograms } from './programs.ts'
import type { Output, Project } from './project.ts'

/** What serves the page of `drizzle-celery/web` by itself, each by the program that docs/web.md names after it. */
export const MOUNTS = ['hono', 'express', 'fastify']

/** What of npm they want: Hono answers a `Request`, and another package has a server for it. */
export const SERVERS = { express: '^5', fastify: '^5', hono: '^4', '@hono/node-server': '^1' }

/** The programs of docs/web.md by their names, with a database, admins known by a cookie, and what only they may do allowed. */
export function pagePrograms(dburi: string): Map<string, string> {
  const programs = namedPrograms(textOf('../../docs/web.md'))
  let results = programs.get('results.ts') ?? ''
  const isAdmin = 'function isAdmin(cookie: string | null): Promise<boolean>'
  for (const [printed, run] of [
    ["'db+postgresql://user@host/results'", `'${dburi}'`],
    // The second listener is let in when the first has gone.
    ["basePath: '/results',", "basePath: '/results', readOnly: false, maxStreams: 1,"],
    [`declare ${isAdmin}`, `async ${isAdmin} { return cookie === 'user=admin' }`],
  ] as const) {
    assert.ok(results.includes(printed), `results.ts of docs/web.md has ${printed}`)
    results = results.replace(printed, run)
  }
  return programs.set('results.ts', results)
}

/** Asks the page as browsers do, at an address or mounted by the program of that name. */
export async function assertMounted(
  project: Project,
  binary: string,
  where: string,
  dburi: string,
  folder = '.',
): Promise<void> {
  const program = `${folder}/ask-page.js`
  project.write(program, textOf('./ask-page.js'))
  const ran: Output = await project.node(binary, program, '.', [where, dburi])
  assert.deepEqual(ran, { stdout: `${where} shows, tells and forgets\n`, stderr: '' })
}

function textOf(file: string): string {
  return readFileSync(fileURLToPath(new URL(file, import.meta.url)), 'utf8')
}
