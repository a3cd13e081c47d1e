/**
 * Type-checks the TypeScript in README.md and docs/*.md with the project's own strictness, and the project with it: one
 * program takes little more than either.
 *
 * Each ```ts block is a module of its own: what it uses it imports. A block that is not meant to compile is marked
 * ```ts skip and a word why: ```ts skip sketch.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

interface Snippet {
  readonly file: string
  /** The line of the block's first line of code. */
  readonly line: number
  readonly code: string
}

const root = fileURLToPath(new URL('../', import.meta.url))
const pages = ['README.md', ...pagesIn('docs')].filter((page) => existsSync(join(root, page)))
const blocks = pages.flatMap(blocksOf)
const unexplained = blocks.filter(({ info }) => /^(ts|typescript) skip\s*$/.test(info))
const snippets: Snippet[] = blocks.filter(({ info }) => /^(ts|typescript)$/.test(info))
const skipped = blocks.filter(({ info }) => /^(ts|typescript) skip \S+$/.test(info))
const unknown = blocks.filter(({ info }) => /^(ts|typescript)\b/.test(info)).length

for (const { file, line } of unexplained) console.error(`${file}:${line}: a skipped block needs a word why`)
const errors = typeErrors(snippets)
for (const error of errors) console.error(error)
const strange = unknown - snippets.length - skipped.length - unexplained.length
if (strange > 0) console.error(`${strange} blocks are marked in a way this check does not know`)

console.log(`${snippets.length} snippets of ${pages.length} pages checked, ${skipped.length} skipped`)
process.exitCode = errors.length + unexplained.length + strange > 0 ? 1 : 0

function pagesIn(folder: string): string[] {
  if (!existsSync(join(root, folder))) return []
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name))
}

function blocksOf(file: string): (Snippet & { readonly info: string })[] {
  const blocks: (Snippet & { readonly info: string })[] = []
  let open: { fence: string; info: string; line: number; code: string[] } | null = null
  for (const [index, text] of readFileSync(join(root, file), 'utf8').split('\n').entries()) {
    const [, fence, info = ''] = /^\s*(`{3,})\s*(.*?)\s*$/.exec(text) ?? []
    if (!open) {
      if (fence) open = { fence, info, line: index + 2, code: [] }
    } else if (fence === open.fence && info === '') {
      blocks.push({ file, info: open.info, line: open.line, code: open.code.join('\n') })
      open = null
    } else {
      open.code.push(text)
    }
  }
  return blocks
}

/** The compiler's complaints, with the places of the pages instead of those of the temporary modules. */
function typeErrors(snippets: readonly Snippet[]): string[] {
  if (snippets.length === 0) return []
  // Inside the project, so that imports resolve as they do for its own files.
  mkdirSync(join(root, 'node_modules/.cache'), { recursive: true })
  const directory = mkdtempSync(join(root, 'node_modules/.cache/readme-'))
  const { include, exclude } = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8'))
  const inRoot = (paths: readonly string[]) => paths.map((path) => join(root, path))
  try {
    for (const [index, { code }] of snippets.entries()) {
      // A block without imports would be a script, and its names global to all the others.
      writeFileSync(join(directory, `${index}.ts`), `${code}\nexport {}\n`)
    }
    writeFileSync(
      join(directory, 'tsconfig.json'),
      JSON.stringify({
        extends: join(root, 'tsconfig.json'),
        include: ['*.ts', ...inRoot(include)],
        exclude: inRoot(exclude),
      }),
    )
    writeFileSync(join(directory, 'package.json'), JSON.stringify({ type: 'module' }))
    const tsc = join(dirname(fileURLToPath(import.meta.resolve('typescript'))), '../bin/tsc')
    execFileSync(process.execPath, [tsc, '-p', directory, '--pretty', 'false'], {
      cwd: directory,
      stdio: 'pipe',
    })
    return []
  } catch (error) {
    const output = String((error as { stdout?: Buffer }).stdout ?? error)
    return output
      .trim()
      .split('\n')
      .map((line) => placed(line, snippets))
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function placed(line: string, snippets: readonly Snippet[]): string {
  const [, index, row, rest] = /^(\d+)\.ts\((\d+),\d+\): (.*)$/.exec(line) ?? []
  const snippet = snippets[Number(index)]
  return snippet ? `${snippet.file}:${snippet.line + Number(row) - 1}: ${rest}` : line
}
