import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { report } from './report.ts'

const ENGINES = 1_000

/** A thousand databases on one manager, each used once. */
export async function engines(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-bench-'))
  try {
    const cold = resources()
    await openAndDispose(directory, 10)
    const before = resources()
    const opened = await openAndDispose(directory, ENGINES)
    const after = resources()
    report(
      `idle engine, memory of each of ${ENGINES} (libSQL files, one connection)`,
      (opened.memory - before.memory) / ENGINES / 1024,
      'KiB',
    )
    report('file descriptors of each while open', (opened.files - before.files) / ENGINES, '')
    report('file descriptors left after dispose', after.files - cold.files, '')
    await openAndDispose(directory, ENGINES)
    report(
      'memory that a second round of a thousand leaves, each',
      (resources().memory - after.memory) / ENGINES / 1024,
      'KiB',
    )
  } finally {
    rmSync(directory, { recursive: true })
  }
}

async function openAndDispose(directory: string, count: number): Promise<Resources> {
  const manager = new SessionManager()
  for (let index = 0; index < count; index++) {
    const engine = await manager.getEngine(`file:${directory}/${index}.db` as const)
    await engine.db.run(sql`select 1`)
  }
  const opened = resources()
  await manager.dispose()
  return opened
}

interface Resources {
  readonly memory: number
  readonly files: number
}

function resources(): Resources {
  for (let turn = 0; turn < 3; turn++) globalThis.gc?.()
  return { memory: process.memoryUsage().rss, files: readdirSync('/proc/self/fd').length }
}
