import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { emitMark } from '../../fixtures/child-emit.ts'
import { scenario } from '../../fixtures/child-run.ts'
import { compiled } from '../../fixtures/compile.ts'

/** T42 of the reliability study: a disk of one megabyte that is full. It is a tmpfs that only the child process sees. */

/** Runs a program with a small disk mounted at the place, in a mount namespace of its own. */
function withSmallDisk(place: string, ...program: string[]) {
  const flags = process.getuid?.() === 0 ? ['--mount'] : ['--user', '--map-root-user', '--mount']
  const script = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'
  return spawnSync('unshare', [...flags, 'sh', '-c', script, place, ...program], {
    encoding: 'utf8',
    timeout: 60_000,
  })
}

const works = withSmallDisk(tmpdir(), 'true').status === 0
const why = works ? '' : ' (skipped: unshare and mount may not make a small disk here)'

describe.skipIf(!works)(`a full disk (T42)${why}`, { timeout: 120_000 }, () => {
  let disk: string
  beforeAll(() => {
    disk = mkdtempSync(join(tmpdir(), 'drizzle-celery-full-'))
  })
  afterAll(() => rmSync(disk, { recursive: true }))

  it.each([
    ['delete', 'statement'],
    ['delete', 'session'],
    ['wal', 'statement'],
    ['wal', 'session'],
  ])('is a typed error and loses nothing: journal_mode=%s, one %s a row', async (mode, how) => {
    const file = await compiled(scenario('libsql-full-disk'))

    const { status, stdout, stderr } = withSmallDisk(disk, process.execPath, file, disk, mode, how)

    const emitted = stdout
      .split('\n')
      .filter((line) => line.startsWith(emitMark))
      .map((line) => JSON.parse(line.slice(emitMark.length)) as { emitted?: unknown })
      .flatMap((message) => ('emitted' in message ? [message.emitted] : []))
    const full = { code: 'STORAGE_FULL', path: join(disk, 'x.db') }
    const whole = { lost: 0, integrity: [{ integrity_check: 'ok' }] }
    expect([status, stderr]).toEqual([0, ''])
    expect(emitted).toEqual([full, full, whole, full, true, whole, whole])
  })
})
