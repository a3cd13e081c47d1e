import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startHranaServer } from '../fixtures/hrana-server.ts'
import { startHranaSocketServer } from '../fixtures/hrana-socket-server.ts'
import { describeNeeding } from '../fixtures/servers.ts'
import { openSqld } from '../fixtures/sqld-server.ts'
import { conformance, type Subject } from './conformance.ts'

conformance('libsql, over HTTP', {
  create: remote(startHranaServer),
  failureDooms: false,
  streams: false,
  isStatic: false,
})
conformance('libsql, over WebSockets', {
  create: remote((file) => startHranaSocketServer(file, { authTokens: new Set(['a token']) })),
  failureDooms: false,
  streams: false,
  isStatic: false,
})

describeNeeding('sqld', 'a real server', () => {
  const asLibsql = { failureDooms: false, streams: false, isStatic: false } as const
  for (const [name, protocol] of [
    ['HTTP', 'http'],
    ['WebSockets', 'sockets'],
  ] as const) {
    const create = async () => {
      const server = await openSqld()
      return { dburi: server[protocol], drop: () => server.close() }
    }
    conformance(`libsql, sqld over ${name}`, { create, ...asLibsql })
  }
  conformance('libsql, a replica of sqld over HTTP', {
    create: async () => {
      const primary = await openSqld()
      const replica = await openSqld({ primary })
      const drop = async () => {
        await replica.close()
        await primary.close()
      }
      return { dburi: replica.http, drop }
    },
    ...asLibsql,
  })
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
