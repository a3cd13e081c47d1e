/** What is opened and closed again leaves nothing behind, however often it is done. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Engine, SessionManager } from 'drizzle-celery'
import { expect, it } from 'vitest'
import { isLong } from '../fixtures/loops.ts'
import { createMysql, createPostgres, describeNeeding } from '../fixtures/servers.ts'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

const rounds = isLong ? 5_000 : 300
/** Bytes each: half of what a listener on a signal takes, and above what a heap of this size sways by. */
const most = 1_200

const servers = {
  postgresql: { create: createPostgres },
  mysql: { create: createMysql },
} as const

for (const [need, { create }] of Object.entries(servers)) {
  describeNeeding(need === 'mysql' ? 'mysql' : 'postgresql', `a connection to ${need}`, () => {
    it('leaves no memory behind when it is closed', { timeout: 600_000 }, async () => {
      await using database = await create()
      await using manager = new SessionManager({ pooled: false, prepare: 'none' })
      const engine = await manager.getEngine(database.dburi)

      await connections(engine)
      const before = heapUsed()
      await connections(engine)

      expect((heapUsed() - before) / rounds).toBeLessThan(most)
    })
  })
}

async function connections(engine: Engine): Promise<void> {
  for (let round = 0; round < rounds; round++) await (await engine.connect()).close()
}

function heapUsed(): number {
  collect()
  collect()
  return process.memoryUsage().heapUsed
}
