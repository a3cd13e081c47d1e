/**
 * Makes a release of what is committed: its version, the heading of the changelog, every check, a commit and a tag. It
 * publishes nothing, and when a check fails it leaves nothing behind.
 *
 *     npx tsx scripts/release.ts 0.5.0
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { released } from './changelog.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const version = process.argv[2] ?? ''
/** What it writes. */
const FILES = ['package.json', 'package-lock.json', 'CHANGELOG.md']

if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) throw new Error('Say which version, as in 0.5.0')
if (output('git', 'status', '--porcelain') !== '') throw new Error('There are changes that are not committed')
if (output('git', 'tag', '--list', `v${version}`) !== '') throw new Error(`v${version} is there already`)

const changelog = released(read('CHANGELOG.md'), version, new Date().toISOString().slice(0, 10))
try {
  writeFileSync(`${root}CHANGELOG.md`, changelog)
  show('npm', 'version', version, '--no-git-tag-version', '--allow-same-version')
  // Of these the second installs what `npm pack` makes, beside each driver and bundler.
  show('npm', 'run', 'check')
  show('npx', 'tsx', 'scripts/check-installed.ts')
  const changed = output('git', 'status', '--porcelain')
    .split('\n')
    .map((line) => line.slice(3))
  const strange = changed.filter((file) => !FILES.includes(file))
  if (strange.length > 0) throw new Error(`The checks changed ${strange.join(', ')}`)
} catch (error) {
  show('git', 'checkout', '--quiet', '--', ...FILES)
  throw error
}
show('git', 'commit', '--quiet', '--message', `Release ${version}`, '--', ...FILES)
show('git', 'tag', '--annotate', `v${version}`, '--message', `Release ${version}`)
console.log(`\nv${version} is committed and tagged here. What is left: see "A release" in CONTRIBUTING.md.`)

function read(file: string): string {
  return readFileSync(root + file, 'utf8')
}

function output(program: string, ...args: string[]): string {
  return execFileSync(program, args, { cwd: root, encoding: 'utf8' }).trimEnd()
}

function show(program: string, ...args: string[]): void {
  execFileSync(program, args, { cwd: root, stdio: 'inherit' })
}
