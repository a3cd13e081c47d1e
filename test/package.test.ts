import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
const TSC = join(ROOT, 'node_modules/typescript/bin/tsc')

describe('the package, in a project where no driver is installed', () => {
  let project: string

  beforeAll(() => {
    project = mkdtempSync(join(tmpdir(), 'drizzle-celery-project-'))
    const installed = join(project, 'node_modules/drizzle-celery')
    mkdirSync(installed, { recursive: true })
    cpSync(join(ROOT, 'package.json'), join(installed, 'package.json'))
    const dist = join(installed, 'dist')
    execFileSync('npm', ['run', 'build:types', '--', '--outDir', dist], { cwd: ROOT })
    execFileSync('npm', ['run', 'build:code', '--', `--outdir=${dist}`], { cwd: ROOT })
    writeFileSync(join(project, 'package.json'), JSON.stringify({ type: 'module' }))
  }, 240_000)

  afterAll(() => rmSync(project, { recursive: true }))

  const run = (program: string) => {
    const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      cwd: project,
      encoding: 'utf8',
    })
    return { stdout, stderr, status }
  }

  it('imports the root without drizzle-orm and without any driver', () => {
    const program = `
      const { parseDburi, SessionManager } = await import('drizzle-celery')
      await new SessionManager().dispose()
      console.log(parseDburi('postgresql://u@h/db').driver)`

    expect(run(program)).toEqual({ stdout: 'postgres-js\n', stderr: '', status: 0 })
  })

  it('imports the adapters of celery-node and celery-ts without either', () => {
    const program = `
      const { CeleryNodeBackend } = await import('drizzle-celery/celery-node')
      const { CeleryTsBackend } = await import('drizzle-celery/celery-ts')
      console.log(CeleryNodeBackend.name, CeleryTsBackend.name)`

    expect(run(program)).toEqual({ stdout: 'CeleryNodeBackend CeleryTsBackend\n', stderr: '', status: 0 })
  })

  it('has classes that bear their names, also where the build had to rename them', () => {
    const program = `
      const { PyDateTime, PyTuple } = await import('drizzle-celery/pickle')
      const time = new PyDateTime({ year: 2024, month: 2, day: 29 })
      console.log(PyTuple.of(1), time.constructor.name)`

    expect(run(program)).toEqual({ stdout: 'PyTuple(1) [ 1 ] PyDateTime\n', stderr: '', status: 0 })
  })

  it('has a command, which says what to install', () => {
    const command = (...args: string[]) => {
      const main = join(project, 'node_modules/drizzle-celery', manifest.bin['drizzle-celery'])
      const { stdout, stderr, status } = spawnSync(process.execPath, [main, ...args], {
        cwd: project,
        encoding: 'utf8',
      })
      return { stdout, stderr, status }
    }

    expect(command('--help')).toEqual({
      status: 3,
      stdout: '',
      stderr: expect.stringMatching(
        /^drizzle-celery: Cannot find package 'drizzle-orm' .*npm install drizzle-orm\n$/,
      ),
    })
    const drizzle = join(project, 'node_modules/drizzle-orm')
    symlinkSync(join(ROOT, 'node_modules/drizzle-orm'), drizzle)
    const help = command('--help')
    const ping = command('ping', 'postgresql://u:canary@h/db')
    rmSync(drizzle)
    expect(help).toMatchObject({ status: 0, stderr: '', stdout: expect.stringContaining('watch') })
    expect(ping).toEqual({
      status: 3,
      stdout: '',
      stderr: expect.stringMatching(
        /^drizzle-celery: .*npx -p drizzle-celery -p postgres drizzle-celery ping …\n$/,
      ),
    })
  })

  it.each([
    ['postgresql://u@h/db', 'postgres'],
    ['file:x.db', '@libsql/client'],
    ['pglite:', '@electric-sql/pglite'],
  ])('says what to install for %s', (dburi, packageName) => {
    const program = `
      const { SessionManager } = await import('drizzle-celery')
      const error = await new SessionManager().getEngine(${JSON.stringify(dburi)}).catch((error) => error)
      console.log(JSON.stringify({ code: error.code, message: error.message }))`
    const { stdout, stderr } = run(program)

    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toEqual({
      code: 'MISSING_DRIVER',
      message: expect.stringContaining(`npm install ${packageName}`),
    })
  })

  it.each([
    ['a file of it', { main: 'gone.js' }, ''],
    ['a dependency of it', { main: 'index.js' }, "require('a-dependency-of-it')"],
    ['its exports', { exports: { './other': './index.js' } }, ''],
  ])('passes on what is wrong with a driver that is installed: %s is missing', (_part, manifest, code) => {
    const driver = join(project, 'node_modules/mysql2')
    mkdirSync(driver)
    writeFileSync(join(driver, 'package.json'), JSON.stringify({ name: 'mysql2', ...manifest }))
    writeFileSync(join(driver, 'index.js'), code)
    const { stdout } = run(`
      const { SessionManager } = await import('drizzle-celery')
      const error = await new SessionManager().getEngine('mysql://u@h/db').catch((error) => error)
      console.log(error.code)`)
    rmSync(driver, { recursive: true })

    expect(stdout).toMatch(/^(?:ERR_)?(?:MODULE_NOT_FOUND|PACKAGE_PATH_NOT_EXPORTED)$/m)
  })

  it('type-checks', { tags: 'full', timeout: 120_000 }, () => {
    symlinkSync(join(ROOT, 'node_modules/drizzle-orm'), join(project, 'node_modules/drizzle-orm'))
    writeFileSync(
      join(project, 'main.ts'),
      `import { type Adapter, type EngineFor, type Opens, registerAdapter } from 'drizzle-celery'
       import { type Session, SessionManager } from 'drizzle-celery'
       import { DatabaseBackend } from 'drizzle-celery/backend'
       import { CeleryNodeBackend } from 'drizzle-celery/celery-node'
       import { CeleryTsBackend } from 'drizzle-celery/celery-ts'
       export async function main(dburi: string): Promise<string> {
         const manager = new SessionManager({ engineOptions: { poolSize: 2 } })
         const session = await manager.sessionFactory(dburi)
         await session.commit()
         const sessions: Session[] = [session]
         return sessions[0]?.dialect ?? (await manager.getEngine('postgresql://u@h/db')).dialect
       }
       export async function ask(backend: DatabaseBackend, taskId: string): Promise<string> {
         const { status } = await new CeleryNodeBackend(backend).getTaskMeta(taskId)
         const { result } = await new CeleryTsBackend(backend).get<string, 'SUCCESS'>({ taskId })
         return status + result
       }
       // A third party's scheme is typed by declaration merging.
       interface DuckHandle { quack(): void }
       declare module 'drizzle-celery' {
         interface Schemes { duck: 'duck' }
         interface Drivers { duck: Opens<'postgresql', DuckHandle> }
       }
       export function register(adapter: Adapter<'postgresql', DuckHandle>): void {
         registerAdapter('duck', { dialect: 'postgresql', load: async () => adapter })
       }
       export async function quack(manager: SessionManager): Promise<void> {
         const engine: EngineFor<'duck://h/db'> = await manager.getEngine('duck://h/db')
         engine.db.quack()
       }
       // @ts-expect-error: not an option
       new SessionManager({ pool: 1 })`,
    )
    writeFileSync(
      join(project, 'tsconfig.json'),
      JSON.stringify({
        compilerOptions: {
          ...{ strict: true, exactOptionalPropertyTypes: true, skipLibCheck: true, noEmit: true },
          ...{ module: 'nodenext', target: 'es2022', lib: ['es2023', 'esnext.disposable'], types: [] },
          // Else drizzle-orm would find the drivers that are installed beside the real one.
          preserveSymlinks: true,
        },
        include: ['main.ts'],
      }),
    )
    const { stdout, status } = spawnSync(process.execPath, [TSC, '-p', project], { encoding: 'utf8' })

    expect(stdout).toBe('')
    expect(status).toBe(0)
  })
})

it('no driver is a dependency, and drizzle-orm is a peer without the holes of CVE-2026-39356', () => {
  expect(manifest.dependencies).toBeUndefined()
  expect(manifest.peerDependencies['drizzle-orm']).toBe('>=0.45.2 <1 || >=1.0.0-rc.5 <2')
  expect(Object.keys(manifest.peerDependenciesMeta).sort()).toEqual(
    Object.keys(manifest.peerDependencies)
      .filter((name) => name !== 'drizzle-orm')
      .sort(),
  )
})

it('has all files and headings that its pages lead to', { tags: 'full', timeout: 120_000 }, () => {
  const packed = execFileSync('npm', ['pack', '--dry-run', '--json'], { cwd: ROOT, encoding: 'utf8' })
  const [{ files }]: [{ files: { path: string }[] }] = JSON.parse(packed)
  const paths = files.map(({ path }) => path)
  const pages = new Map(
    paths
      .filter((path) => /^[^/]+\.md$|^docs\/.*\.md$/.test(path))
      .map((path) => [path, readFileSync(join(ROOT, path), 'utf8')]),
  )
  const targets = [...pages].flatMap(([page, text]) =>
    [...text.matchAll(/\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)/g)].map(([, file = '', heading = '']) => ({
      page,
      file: file === '' ? page : posix.join(posix.dirname(page), file),
      heading,
    })),
  )
  const dead = targets.filter(
    ({ file, heading }) =>
      !paths.includes(file) || (heading !== '' && !headingsOf(pages.get(file) ?? '').includes(heading)),
  )

  expect(targets.length).toBeGreaterThan(50)
  expect(dead).toEqual([])
})

/** As GitHub names them in links. */
function headingsOf(page: string): string[] {
  return [...page.matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{Letter}\p{Number}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  )
}
