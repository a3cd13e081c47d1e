import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startHranaServer } from '../fixtures/hrana-server.ts'
import { startHranaSocketServer } from '../fixtures/hrana-socket-server.ts'
import { conformance, type Subject } from './conformance.ts'

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
