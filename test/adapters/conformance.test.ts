import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createMysql, createPostgres, describeNeeding } from '../fixtures/servers.ts'
import { conformance, type Subject } from './conformance.ts'

describeNeeding('postgresql', 'PostgreSQL', () => {
  conformance('postgres-js', {
    create: createPostgres,
    failureDooms: true,
    numbersParameters: true,
    isStatic: false,
  })
})

describeNeeding('mysql', 'MySQL or MariaDB', () => {
  conformance('mysql2', { create: createMysql, failureDooms: false, upsertsByKey: true, isStatic: false })
})

conformance('libsql, a file', { create: file, failureDooms: false, isStatic: false })
conformance('libsql, in memory', {
  create: async () => ({ dburi: ':memory:', drop: async () => {} }),
  failureDooms: false,
  isStatic: true,
})
async function file(): ReturnType<Subject['create']> {
  const directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-test-'))
  return { dburi: `file:${directory}/results.db`, drop: async () => rmSync(directory, { recursive: true }) }
}
