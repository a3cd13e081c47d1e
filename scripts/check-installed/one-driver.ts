import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Project, run } from './project.ts'

/** A bundler, given nothing but where to begin and where to write. */
export interface Bundler {
  readonly name: string
  /** What of npm it is, in the newest versions that run on Node 20.19. */
  readonly packages: Readonly<Record<string, string>>
  /** What writes the bundle of `main.js` to the folder `out`. */
  readonly command: readonly string[]
  /** Why it cannot bundle a driver, with us or without. */
  readonly cannot?: Readonly<Record<string, string>>
  /** What else it has to be told beside a driver, and so beside that one without us. */
  readonly beside?: Readonly<Record<string, readonly string[]>>
  /** Files that it is configured by, in the form in which its own documentation begins. */
  readonly files?: Readonly<Record<string, string>>
  /** The program in the folder. */
  readonly program: string
  /** Where in the folder the module of a driver is. @default beside the program */
  readonly modules?: string
}

const esbuild = (format: string, program: string, ...flags: string[]): Bundler => ({
  name: ['esbuild', format, ...flags].join(' '),
  packages: { esbuild: '^0.28.2' },
  command: [
    'esbuild',
    'main.js',
    '--bundle',
    '--platform=node',
    `--format=${format}`,
    `--outfile=out/${program}`,
    ...flags,
  ],
  program,
})

/** mysql2 and pg are CommonJS, and require what Node has, for which esbuild has nothing in a module. */
const REQUIRE = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"
const BANNER = [`--banner:js=${REQUIRE}`]
/** PGlite finds its files by `import.meta.url`. */
const NO_PGLITE = { '@electric-sql/pglite': 'CommonJS has no import.meta.url' }

export const bundlers: readonly Bundler[] = [
  { ...esbuild('esm', 'main.mjs'), beside: { mysql2: BANNER, pg: BANNER, '@libsql/client': BANNER } },
  { ...esbuild('cjs', 'main.cjs'), cannot: NO_PGLITE },
  { ...esbuild('cjs', 'main.cjs', '--minify'), cannot: NO_PGLITE },
  {
    name: 'webpack',
    packages: { webpack: '^5.113.0', 'webpack-cli': '^6.0.1' },
    command: ['webpack', '--mode=production', '--target=node20', '--entry=./main.js', '--output-path=out'],
    files: { 'webpack.config.cjs': "module.exports = { output: { filename: 'main.cjs' } }" },
    beside: { '@libsql/client': ['--externals=libsql', '--externals-type=commonjs'] },
    program: 'main.cjs',
  },
  {
    name: 'Vite, SSR with noExternal',
    packages: { vite: '^8.3.0' },
    command: ['vite', 'build', '--ssr', 'main.js', '--outDir', 'out'],
    files: { 'vite.config.mjs': 'export default { ssr: { noExternal: true } }' },
    program: 'main.js',
    modules: 'assets',
  },
  {
    name: 'Rollup',
    packages: {
      rollup: '^4.60.0',
      '@rollup/plugin-commonjs': '^29.0.0',
      '@rollup/plugin-json': '^6.1.0',
      '@rollup/plugin-node-resolve': '^16.0.3',
    },
    command: [
      'rollup',
      'main.js',
      '--dir=out',
      '--format=es',
      '--entryFileNames=[name].mjs',
      '--plugin=node-resolve',
      '--plugin=commonjs',
      '--plugin=json',
      '--silent',
    ],
    beside: { '@libsql/client': ['--external=libsql'] },
    program: 'main.mjs',
  },
]

/** What cannot be in a bundle: the native part of libSQL, and the files of PGlite. */
const COMPANIONS: Readonly<Record<string, (project: Project, modules: string) => void>> = {
  '@libsql/client': (project, modules) => {
    for (const name of ['libsql', '@libsql', '@neon-rs', 'detect-libc']) {
      cpSync(project.path('node_modules', name), join(modules, 'node_modules', name), { recursive: true })
    }
  },
  '@electric-sql/pglite': (project, modules) => {
    const dist = project.path('node_modules/@electric-sql/pglite/dist')
    for (const file of readdirSync(dist)) {
      if (/\.(?:wasm|data)$/.test(file)) cpSync(join(dist, file), join(modules, file))
    }
  },
}

/** Stores a row and reads it by the dburi it is given, and prints what to install for the others. JavaScript as well. */
export const oneDriverProgram = `import { SessionManager } from 'drizzle-celery'
const [dburi, ...others] = process.argv.slice(2)
// CommonJS has no await at the top of a program.
main()
async function main() {
  const manager = new SessionManager()
  await manager.session(dburi, async (db, { models }) => {
    await db.insert(models.task).values({ taskId: 'bundled', status: 'SUCCESS' })
    const [{ taskId }] = await db.select().from(models.task)
    console.log(taskId)
  })
  for (const other of others) {
    const error = await manager.getEngine(other).catch((error) => error)
    console.log(error.code, error.message.split('Run: ')[1])
  }
  await manager.dispose()
}
`

/**
 * Bundles the project's `main.js`, and puts what came of it into an empty folder, with what of the driver cannot be in a
 * bundle. @returns the program there
 */
export async function bundleAlone(
  project: Project,
  { name, command, beside = {}, files = {}, program, modules = '.' }: Bundler,
  driver: string,
  elsewhere: string,
): Promise<string> {
  for (const [file, text] of Object.entries(files)) project.write(file, text)
  const [tool = '', ...args] = command
  rmSync(project.path('out'), { recursive: true, force: true })
  await run(project.path('node_modules/.bin', tool), [...args, ...(beside[driver] ?? [])], {
    cwd: project.directory,
  })
  const folder = join(elsewhere, name.replaceAll(/\W+/g, '-'))
  mkdirSync(folder, { recursive: true })
  cpSync(project.path('out'), folder, { recursive: true })
  COMPANIONS[driver]?.(project, join(folder, modules))
  return join(folder, program)
}
