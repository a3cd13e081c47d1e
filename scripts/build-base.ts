/**
 * Makes one file, `chunks/base.js`, of the chunks that `drizzle-celery/core` loads at once. The bundler cuts what several
 * entries share into a chunk for each set of them, and each file costs Node half a millisecond to find, read and
 * link.
 *
 *     tsx scripts/build-base.ts
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'

/** An import or a re-export as esbuild writes it. */
const STATIC = /^(?:import|export)\b[^"();]*"(\.[^"]+)";$/gm

const dist = fileURLToPath(new URL('../dist/', import.meta.url))
const chunks = join(dist, 'chunks')

// A program that only reads pickles does without the rest.
const ofPickle = chunksOf(join(dist, 'pickle/index.js'))
const merged = chunksOf(join(dist, 'core.js')).filter((name) => !ofPickle.includes(name))
await assertUniqueNames(merged)
const { warnings } = await build({
  stdin: { contents: merged.map((name) => `export * from './${name}'`).join('\n'), resolveDir: chunks },
  ...{ outfile: join(chunks, 'base.js'), bundle: true, format: 'esm', platform: 'node', target: 'node20' },
  ...{ packages: 'external', sourcemap: true, sourcesContent: false },
  // The package has no side effects, which is why such imports are left out.
  logOverride: { 'ignored-bare-import': 'silent' },
  plugins: [
    {
      name: 'keep what is loaded later apart',
      setup({ onResolve }) {
        onResolve({ filter: /^\./ }, ({ kind, path }) =>
          kind === 'dynamic-import' || ofPickle.includes(basename(path))
            ? { path, external: true }
            : undefined,
        )
      },
    },
  ],
})
if (warnings.length > 0) throw new Error('What esbuild warned of would be published')

for (const file of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
  if (!file.endsWith('.js') || file === join('chunks', 'base.js')) continue
  const text = readFileSync(join(dist, file), 'utf8')
  const led = text.replace(STATIC, (statement, path: string) =>
    merged.includes(basename(path)) ? statement.replace(basename(path), 'base.js') : statement,
  )
  if (led !== text) writeFileSync(join(dist, file), led)
}
for (const name of merged) for (const file of [name, `${name}.map`]) rmSync(join(chunks, file))
console.log(`${merged.length} chunks made one`)

/** The chunks that a module loads with itself. */
function chunksOf(module: string): string[] {
  const names = new Set<string>()
  const visit = (file: string) => {
    for (const [, path = ''] of readFileSync(file, 'utf8').matchAll(STATIC)) {
      if (names.has(basename(path))) continue
      names.add(basename(path))
      visit(join(chunks, basename(path)))
    }
  }
  visit(module)
  return [...names]
}

/** Each chunk has names of its own. */
async function assertUniqueNames(files: readonly string[]): Promise<void> {
  const exported = await Promise.all(
    files.map(async (name) => Object.keys(await import(pathToFileURL(join(chunks, name)).href))),
  )
  const twice = exported.flat().filter((name, index, all) => all.indexOf(name) !== index)
  if (twice.length > 0) throw new Error(`Chunks export the same names: ${twice.join(', ')}`)
}
