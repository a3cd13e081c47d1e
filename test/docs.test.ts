/** The recipes of the guides, each run as it stands, on databases of its own. */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import ts from 'typescript'
import { beforeAll, expect, it } from 'vitest'
import { askMysql, askPostgres } from './fixtures/catalogue.ts'
import { childRun } from './fixtures/child-run.ts'
import { compiled, projectRoot } from './fixtures/compile.ts'
import { createMysql, createPostgres, describeNeeding } from './fixtures/servers.ts'

interface Recipe {
  /** Its page, the heading above it, and which one below that it is. */
  readonly name: string
  readonly code: string
}

const GUIDES = [
  'coming-from',
  'engines',
  'errors',
  'observability',
  'scaling',
  'schema',
  'sessions',
  'testing',
]
/** The first programs of README.md and docs/getting-started.md are run as installed, by `scripts/check-installed.ts`. */
const PAGES = ['README', ...GUIDES.map((page) => `docs/${page}`)]

/** Why some are not run by themselves. */
const NOT_RUN: Readonly<Record<string, string>> = {
  "README: Celery's results 1": 'it waits for a task that nobody has sent',
  "docs/engines: Drizzle's cache 1": 'it wants an account at Upstash',
  'docs/observability: Probes 1': 'it serves until it is stopped',
  'docs/testing: A database for each worker 1': 'it leaves its database to the next run',
}

/** What they find in their databases. */
const FOUND: Readonly<Record<string, string>> = {
  'docs/scaling: When to leave one machine 1': 'create table accounts (id integer, balance integer)',
  'docs/schema: Statements for somebody else to run 2': 'create table patient (id integer primary key)',
  'docs/sessions: A deadline or a signal for one statement 1': 'create table orders (item integer)',
  'docs/sessions: Sessions that find themselves 1':
    'create table orders (item integer); create table stock (item integer, count integer)',
}

describeNeeding(['postgresql', 'mysql'], 'the recipes of the guides', () => {
  let folder: string
  beforeAll(async () => {
    folder = join(dirname(await compiled(join(projectRoot, 'src/index.ts'))), '../recipes')
    mkdirSync(folder, { recursive: true })
  })

  for (const { name, code } of PAGES.flatMap(recipesOf)) {
    const why = NOT_RUN[name]
    const title = why === undefined ? name : `${name} (skipped: ${why})`
    it.skipIf(why)(title, { timeout: 60_000 }, async () => {
      await using postgresql = await createPostgres()
      await using mysql = await createMysql()
      const found = FOUND[name]
      if (found !== undefined) {
        if (code.includes("'mysql://")) await askMysql(mysql.dburi, found)
        else await askPostgres(postgresql.dburi, found)
      }
      const file = join(folder, `${name.replaceAll(/\W+/g, '-')}.js`)
      writeFileSync(file, javascriptOf(opening(code, postgresql.dburi, mysql.dburi)))
      const cwd = mkdtempSync(join(tmpdir(), 'drizzle-celery-test-'))

      const { stderr } = await promisify(execFile)(process.execPath, [file], { cwd, timeout: 50_000 })

      expect(stderr).toBe('')
      rmSync(cwd, { recursive: true })
    })
  }
})

it('examples/opentelemetry.ts prints the spans of its session', async () => {
  const { exitCode, stdout, stderr } = await childRun(join(projectRoot, 'examples/opentelemetry.ts'))

  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  for (const name of ['request', 'INSERT sqlite', 'transaction sqlite', 'session'])
    expect(stdout).toContain(`name: '${name}'`)
})

function recipesOf(page: string): Recipe[] {
  const text = readFileSync(join(projectRoot, `${page}.md`), 'utf8')
  return text.split(/^#+ /m).flatMap((section) => {
    const [title = ''] = section.split('\n')
    const blocks = [...section.matchAll(/^```ts\n(.*?)^```$/gms)]
    return blocks.map(([, code = ''], index) => ({ name: `${page}: ${title} ${index + 1}`, code }))
  })
}

/** The recipe with the database of this run in the place of each that it names. */
function opening(code: string, postgresql: string, mysql: string): string {
  return (
    code
      .replaceAll(/(?<=')(db\+)?postgresql:\/\/[^'?]*/g, postgresql)
      .replaceAll(/(?<=')mysql:\/\/[^'?]*/g, mysql)
      // A million is what insert-many.test.ts inserts, and takes its time.
      .replace('1_000_000', '10_000')
  )
}

function javascriptOf(code: string): string {
  const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 }
  return ts.transpileModule(code, { compilerOptions }).outputText
}
