import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { conformance, type Subject } from './conformance.ts'
import { startHranaServer } from './fixtures/hrana-server.ts'
import { createPostgres, describeNeeding } from './fixtures/servers.ts'

describeNeeding('postgresql', 'PostgreSQL', () => {
  conformance('postgres-js', { create: createPostgres, failureDooms: true, isStatic: false })
})

conformance('pglite, in memory', { create: memory('pglite:'), failureDooms: true, isStatic: true })
conformance('libsql, a file', { create: file, failureDooms: false, isStatic: false })
conformance('libsql, in memory', { create: memory(':memory:'), failureDooms: false, isStatic: true })
conformance('libsql, over the network', {
  create: remote,
  failureDooms: false,
  isStatic: false,
  writesReadOnly: 'the server of this test does not know BEGIN TRANSACTION READONLY',
})

function memory(dburi: string): Subject['create'] {
  return async () => ({ dburi, drop: async () => {} })
}

async function file(): ReturnType<Subject['create']> {
  const directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-test-'))
  return { dburi: `file:${directory}/results.db`, drop: async () => rmSync(directory, { recursive: true }) }
}

async function remote(): ReturnType<Subject['create']> {
  const directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-test-'))
  const server = await startHranaServer(join(directory, 'remote.db'))
  return {
    dburi: server.dburi,
    drop: async () => {
      await server.close()
      rmSync(directory, { recursive: true })
    },
  }
}
