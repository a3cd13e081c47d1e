import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createMysql, createPostgres, describeNeeding } from '../fixtures/servers.ts'
import { conformance, type Subject } from './conformance.ts'

describeNeeding('postgresql', 'PostgreSQL', () => {
  const postgres = { failureDooms: true, numbersParameters: true, isStatic: false }
  conformance('postgres-js', { ...postgres, create: () => createPostgres() })
  conformance('pg', { ...postgres, create: () => createPostgres({ scheme: 'postgresql+pg' }) })
})

describeNeeding('mysql', 'MySQL or MariaDB', () => {
  conformance('mysql2', { create: createMysql, failureDooms: false, upsertsByKey: true, isStatic: false })
})

conformance('libsql, a file', { create: file, failureDooms: false, streams: false, isStatic: false })
conformance('libsql, in memory', {
  create: async () => ({ dburi: ':memory:', drop: async () => {} }),
  streams: false,
  failureDooms: false,
  isStatic: true,
})
async function file(): ReturnType<Subject['create']> {
  const directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-test-'))
  return { dburi: `file:${directory}/results.db`, drop: async () => rmSync(directory, { recursive: true }) }
}
