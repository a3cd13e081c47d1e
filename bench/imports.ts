import { execFileSync, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { median } from './measure.ts'
import { report } from './report.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

export async function imports(): Promise<void> {
  const differences: number[] = []
  for (let turn = 0; turn < 25; turn++) {
    const before = lifeOf('')
    const ours = lifeOf("import 'drizzle-celery'")
    const after = lifeOf('')
    differences.push(ours - (before + after) / 2)
  }
  report('importing the root, over an empty process', median(differences), 'ms', { most: 20 })
  const packed = execFileSync('npm', ['pack', '--dry-run', '--json'], { cwd: ROOT, encoding: 'utf8' })
  const [{ size, unpackedSize }] = JSON.parse(packed) as [{ size: number; unpackedSize: number }]
  report('the package as it is downloaded', size / 1_000, 'kB')
  report('and installed, with docs and sources', unpackedSize / 1_000, 'kB')
}

/** Milliseconds from the start of a process to its end. */
function lifeOf(program: string): number {
  const startedAt = performance.now()
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: ROOT,
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(stderr)
  return performance.now() - startedAt
}
