import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { conformance, type Subject } from './conformance.ts'
import { startHranaServer } from './fixtures/hrana-server.ts'
import { startHranaSocketServer } from './fixtures/hrana-socket-server.ts'
import { createMysql, createPostgres, describeNeeding } from './fixtures/servers.ts'

describeNeeding('postgresql', 'PostgreSQL', () => {
  conformance('postgres-js', { create: createPostgres, failureDooms: true, isStatic: false })
})

describeNeeding('mysql', 'MySQL or MariaDB', () => {
  conformance('mysql2', { create: createMysql, failureDooms: false, upsertsByKey: true, isStatic: false })
})

conformance('pglite, in memory', { create: memory('pglite:'), failureDooms: true, isStatic: true })
conformance('libsql, a file', { create: file, failureDooms: false, isStatic: false })
conformance('libsql, in memory', { create: memory(':memory:'), failureDooms: false, isStatic: true })
conformance('libsql, over HTTP', {
  create: remote(startHranaServer),
  failureDooms: false,
  isStatic: false,
})
conformance('libsql, over WebSockets', {
  create: remote((file) => startHranaSocketServer(file, { authTokens: new Set(['a token']) })),
  failureDooms: false,
  isStatic: false,
})

function memory(dburi: string): Subject['create'] {
  return async () => ({ dburi, drop: async () => {} })
}

async function file(): ReturnType<Subject['create']> {
  const directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-test-'))
  return { dburi: `file:${directory}/results.db`, drop: async () => rmSync(directory, { recursive: true }) }
}

interface Server {
  readonly dburi: string
  close(): Promise<void>
}

function remote(start: (file: string) => Promise<Server>): Subject['create'] {
  return async () => {
    const directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-test-'))
    const server = await start(join(directory, 'remote.db'))
    return {
      dburi: server.dburi,
      drop: async () => {
        await server.close()
        rmSync(directory, { recursive: true })
      },
    }
  }
}
