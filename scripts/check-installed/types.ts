import assert from 'node:assert/strict'
import type { Project } from './project.ts'

/** Compilers beside each other: under these names npm installs TypeScript of these versions. */
export const compilers: Readonly<Record<string, string>> = {
  'typescript-5.5': 'npm:typescript@~5.5.0',
  'typescript-5.9': 'npm:typescript@~5.9.0',
  'typescript-6': 'npm:typescript@6',
  'typescript-7': 'npm:typescript@7',
}

/** Kinds of projects: each is a folder with the type of its modules, and what its compiler is told. */
export const kinds: Readonly<Record<string, { readonly type: string; readonly options: readonly string[] }>> =
  {
    nodenext: { type: 'module', options: ['--module', 'nodenext'] },
    bundler: { type: 'module', options: ['--module', 'esnext', '--moduleResolution', 'bundler'] },
    'CommonJS, nodenext': { type: 'commonjs', options: ['--module', 'nodenext'] },
    'CommonJS, node16': { type: 'commonjs', options: ['--module', 'node16'] },
  }

const PLAIN = `import { integer, pgTable } from 'drizzle-orm/pg-core'
import { drizzle } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
const t = pgTable('t', { id: integer() })
export async function rows() {
  const db = drizzle(postgres('postgresql://host/results'))
  return db.select().from(t)
}
`

const OURS = `import { SessionManager } from 'drizzle-celery'
import { integer, pgTable } from 'drizzle-orm/pg-core'
const t = pgTable('t', { id: integer() })
export async function rows() {
  const manager = new SessionManager({ models: { postgresql: { t } } })
  const { db } = await manager.sessionFactory('postgresql://host/results')
  return db.select().from(t)
}
`

/** What a user's module names beside this package is drizzle-orm's own, for its kind of module. */
const BESIDE_DRIZZLE = `import { type Opens, SessionManager } from 'drizzle-celery'
import { task as mysqlTask } from 'drizzle-celery/models/mysql'
import { resultModels } from 'drizzle-celery/models/postgresql'
import { group } from 'drizzle-celery/models/sqlite'
import { eq } from 'drizzle-orm'
import { integer, pgTable } from 'drizzle-orm/pg-core'
const t = pgTable('t', { id: integer() })
declare module 'drizzle-celery' {
  interface Schemes {
    duck: 'duck'
  }
  interface Drivers {
    duck: Opens<'postgresql', { quack(): void }>
  }
}
export async function main(dburi: string) {
  const own = new SessionManager({ models: { postgresql: { t } } })
  const { db } = await own.sessionFactory(dburi)
  const id: number | null | undefined = (await db.select().from(t).where(eq(t.id, 1)))[0]?.id
  const { task } = resultModels()
  const manager = new SessionManager()
  const [row] = await manager.session('postgresql://host/results', (db, { models }) =>
    db.select().from(models.task).where(eq(task.taskId, String(id))),
  )
  const onMysql = (await manager.getEngine('mysql://host/results')).db
  const results: (Uint8Array | null)[] = (await onMysql.select().from(mysqlTask)).map(({ result }) => result)
  const onSqlite = (await manager.getEngine('file:results.db')).db
  await onSqlite.insert(group).values({ tasksetId: 'of the group', dateDone: new Date(), result: results[0] ?? null })
  // @ts-expect-error: the name of no column
  await onSqlite.insert(group).values({ taskId: 'of the group' })
  const { quack } = (await manager.getEngine('duck://host/results')).db
  quack()
  // @ts-expect-error: UnknownScheme<"postgre">
  await manager.getEngine('postgre://host/results')
  return row?.status
}
`

/**
 * Compiles programs that import everything, and declaration files as well, which are drizzle-orm's and its drivers' to
 * mend where they fail.
 */
export async function compileEverywhere(
  project: Project,
  compiler: string,
  kind: string,
  entriesProgram: string,
): Promise<void> {
  const { type = '', options = [] } = kinds[kind] ?? {}
  project.write(`${kind}/package.json`, JSON.stringify({ type }))
  project.write(`${kind}/entries.ts`, entriesProgram)
  project.write(`${kind}/ours.ts`, OURS)
  project.write(`${kind}/beside.ts`, BESIDE_DRIZZLE)
  const files = ['entries.ts', 'ours.ts', 'beside.ts'].map((file) => `${kind}/${file}`)
  const args = [...COMMON, '--exactOptionalPropertyTypes', '--skipLibCheck', 'false', ...options, ...files]
  const output = await compile(project, compiler, args).catch((error: Error) => error.message)
  const errors = output.split('\n').filter((line) => /error TS\d+/.test(line))
  assert.deepEqual(
    errors.filter((line) => !/^node_modules\/(?!drizzle-celery\/)/.test(line)),
    [],
  )
}

/**
 * What one query by this package costs a compiler, over what it costs by Drizzle alone: types it instantiates, which are
 * the same in every run.
 */
export async function costRatio(project: Project, compiler: string): Promise<number> {
  project.write('cost/plain.ts', PLAIN)
  project.write('cost/ours.ts', OURS)
  const ours = await instantiations(project, compiler, 'cost/ours.ts')
  return ours / (await instantiations(project, compiler, 'cost/plain.ts'))
}

async function instantiations(project: Project, compiler: string, program: string): Promise<number> {
  const args = [...COMMON, '--skipLibCheck', '--extendedDiagnostics', '--module', 'nodenext', program]
  return Number(/^Instantiations:\s+(\d+)$/m.exec(await compile(project, compiler, args))?.[1])
}

const COMMON = ['--noEmit', '--strict', '--types', 'node', '--target', 'es2022', '--pretty', 'false']

async function compile(project: Project, compiler: string, args: readonly string[]): Promise<string> {
  const { stdout } = await project.node(process.execPath, `node_modules/${compiler}/bin/tsc`, '.', args)
  return stdout
}
