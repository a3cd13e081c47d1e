/**
 * Gives the built package what CommonJS asks for: beside each module that `exports` names, a `.cjs` that requires it, so that
 * there is one instance of it; beside each declaration that it leads to, a `.d.cts`, in which TypeScript finds drizzle-orm's
 * own `.d.cts`.
 *
 *     tsx scripts/build-commonjs.ts
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const RELATIVE = /(?<=\b(?:from|import)\s*\(?\s*['"])(\.{1,2}\/[^'"]*)\.[jt]s(?=['"])/g

const root = fileURLToPath(new URL('../', import.meta.url))
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const targets = Object.values<string | null | { import?: { default: string } }>(exports)
const entries = targets.flatMap((target) =>
  target === null || typeof target === 'string' || target.import === undefined
    ? []
    : filesLike(target.import.default),
)

for (const entry of entries) {
  writeFileSync(entry.replace(/\.js$/, '.cjs'), `module.exports = require('./${basename(entry)}')\n`)
}

const declarations = new Set(entries.map((entry) => entry.replace(/\.js$/, '.d.ts')))
// A set being walked also shows what is added to it meanwhile.
for (const file of declarations) {
  // Before TypeScript 5.7 it has no type parameter.
  const text = readFileSync(file, 'utf8').replaceAll('Uint8Array<ArrayBufferLike>', 'Uint8Array')
  writeFileSync(file, text)
  for (const [, path] of text.matchAll(RELATIVE)) declarations.add(join(dirname(file), `${path}.d.ts`))
  const twin = file.replace(/\.d\.ts$/, '.d.cts')
  writeFileSync(twin, text.replace(RELATIVE, '$1.cjs').replace(/\.d\.ts\.map$/m, '.d.cts.map'))
  const map = JSON.parse(readFileSync(`${file}.map`, 'utf8'))
  writeFileSync(`${twin}.map`, JSON.stringify({ ...map, file: basename(twin) }))
}
console.log(`${entries.length} modules and ${declarations.size} declarations for CommonJS`)

/** The built files that a target of `exports` names, whose `*` stands for any text. */
function filesLike(target: string): string[] {
  const [start = '', end] = target.replace('./dist/', '').split('*')
  const built = readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' })
  const named = built.filter((file) =>
    end === undefined ? file === start : file.startsWith(start) && file.endsWith(end),
  )
  return named.map((file) => join(root, 'dist', file))
}
