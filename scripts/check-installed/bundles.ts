import { copyFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Project, run } from './project.ts'

interface Bundle {
  readonly name: string
  /** Where the bundle's program is, in the project. */
  readonly program: string
  /** What esbuild is told. */
  readonly flags: readonly string[]
}

/** The native part of libSQL cannot be bundled; PGlite looks for its files beside a module, which CommonJS has not. */
export const bundles: readonly Bundle[] = [
  {
    name: 'ESM',
    program: 'esm/main.js',
    flags: [
      '--format=esm',
      '--splitting',
      '--outdir=esm',
      '--external:libsql',
      // mysql2 requires what Node has.
      "--banner:js=import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    ],
  },
  {
    name: 'CommonJS',
    program: 'cjs/main.cjs',
    flags: ['--format=cjs', '--outfile=cjs/main.cjs', '--external:libsql', '--external:@electric-sql/pglite'],
  },
]

/** Bundles the project's `main.js` with everything it imports. */
export async function bundle(project: Project, { program, flags }: Bundle): Promise<void> {
  const common = [
    'main.js',
    '--bundle',
    '--minify',
    '--platform=node',
    '--target=node20',
    '--log-level=error',
  ]
  await run('node_modules/.bin/esbuild', [...common, ...flags], { cwd: project.directory })
  const pglite = project.path('node_modules/@electric-sql/pglite/dist')
  for (const file of readdirSync(pglite)) {
    if (/\.(?:wasm|data)$/.test(file)) copyFileSync(join(pglite, file), project.path(program, '..', file))
  }
}
