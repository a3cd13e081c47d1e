import { SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { expect, it } from 'vitest'
import { withOptions } from '../../faults/support.ts'
import { describeNeeding, freshPostgres } from '../../fixtures/servers.ts'
import { causeOf } from '../conformance.ts'

/** What `postgresql/server.test.ts` and the conformance suite do not ask of every driver. */
describeNeeding('postgresql', 'postgres-js', () => {
  const database = freshPostgres()

  it('knows an error of the server whatever a minifier calls its class', async () => {
    await using manager = new SessionManager()
    const { db } = await manager.getEngine(withOptions(database.dburi, { pool_size: '1' }))
    const pid = async () => [...(await db.execute(sql`select pg_backend_pid() pid`))]
    const before = await pid()
    const name = Object.getOwnPropertyDescriptor(postgres.PostgresError, 'name') ?? {}
    Object.defineProperty(postgres.PostgresError, 'name', { ...name, value: 'u' })
    try {
      const error = await causeOf(db.execute(sql`select 1 / (3 - ${3}::int)`))

      expect(error).toMatchObject({ code: '22012', name: 'PostgresError' })
      expect(await pid()).toEqual(before)
    } finally {
      Object.defineProperty(postgres.PostgresError, 'name', name)
    }
  })
})
