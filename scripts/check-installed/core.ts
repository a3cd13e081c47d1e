import { type Driver, drivers } from './drivers.ts'
import { type Project, run } from './project.ts'

/** Opens whatever dburi it is given by one adapter, whose handle it has for a `string`. */
export function coreProgram({ adapter }: Driver): string {
  const name = adapter.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
  return `import { ${name} } from 'drizzle-celery/adapters/${adapter}'
import { SessionManager } from 'drizzle-celery/core'
async function main(dburi: string) {
  const manager = new SessionManager({ adapters: [${name}] })
  const rows = await manager.session(dburi, async (db, { models }) => {
    await db.insert(models.task).values({ taskId: 'one adapter', status: 'SUCCESS' })
    return db.select().from(models.task)
  })
  const taskIds: (string | null)[] = rows.map(({ taskId }) => taskId)
  console.log(taskIds)
  await manager.dispose()
}
main(process.argv[2] ?? '')
`
}

/** Bundles a program, and tells which modules of other drivers, or of adapters for them, came along. */
export async function strangersIn(project: Project, program: string, driver: Driver): Promise<string[]> {
  const flags = ['--bundle', '--platform=node', '--format=cjs', '--external:libsql', '--log-level=error']
  const files = ['--outfile=core/main.cjs', '--metafile=core/meta.json']
  await run('node_modules/.bin/esbuild', [program, ...flags, ...files], { cwd: project.directory })
  const modules = Object.keys(JSON.parse(project.read('core/meta.json')).inputs)
  const others = drivers.filter((other) => other !== driver)
  return modules.filter((module) =>
    others.some(({ name, adapter }) =>
      [`node_modules/${name}/`, `drizzle-celery/dist/adapters/${adapter}/`].some((part) =>
        module.includes(part),
      ),
    ),
  )
}
