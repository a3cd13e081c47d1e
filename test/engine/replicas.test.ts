/** Reading from a standby that follows its primary, as docs/engines.md shows it. */
import { SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { integer, pgTable, withReplicas } from 'drizzle-orm/pg-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { drizzleMajor } from '../fixtures/drizzle-major.ts'
import { openPgServer, type PgServer } from '../fixtures/pg-server.ts'
import { describeNeeding, POSTGRES_SCHEMES } from '../fixtures/servers.ts'

const city = pgTable('city', { id: integer().primaryKey() })
const isStandby = { is: sql<boolean>`pg_is_in_recovery()` }

describeNeeding('private postgresql', 'a primary and its standby', () => {
  let primary: PgServer
  let standby: PgServer
  beforeAll(async () => {
    primary = await openPgServer({ settings: { fsync: 'off' } })
    standby = await primary.standby()
  })
  afterAll(async () => {
    await standby?.close()
    await primary?.close()
  })

  it.each(POSTGRES_SCHEMES)(
    'are one handle by withReplicas, and two dburis for sessions (%s:)',
    async (scheme) => {
      const at = (port: number, attrs: string) =>
        `${scheme}://postgres@127.0.0.1:${port}/postgres?target_session_attrs=${attrs}` as 'postgresql:'
      await using manager = new SessionManager({ models: { postgresql: { city } } })
      await using readers = new SessionManager({ models: { postgresql: { city } }, prepare: 'none' })
      const writes = await manager.getEngine(at(primary.port, 'primary'))
      await manager.prepareModels(writes)
      const reads = await readers.getEngine(at(standby.port, 'prefer-standby'))
      const db = withReplicas(writes.db, [reads.db])
      await db.delete(city)
      await db.insert(city).values({ id: 1 })

      // Since 1.0 a select of the handle itself goes to the primary.
      const replica: Pick<typeof reads.db, 'select'> =
        drizzleMajor === '1.0' ? Reflect.get(db, '$replica') : db
      expect(await replica.select(isStandby).from(sql`(select 1) as one`)).toEqual([{ is: true }])
      expect(await db.$primary.select(isStandby).from(city)).toEqual([{ is: false }])
      expect(await db.transaction((tx) => tx.select(isStandby).from(city))).toEqual([{ is: false }])
      const read = () =>
        readers.session(at(standby.port, 'prefer-standby'), { readOnly: true }, (db) =>
          db.select(isStandby).from(city),
        )
      await expect.poll(read).toEqual([{ is: true }])
    },
  )
})
