/** The options of transactions are taken wherever a session is made, on every dialect. */
import { SessionManager } from 'drizzle-celery'

const manager = new SessionManager({ engineOptions: { logger: { logQuery() {} } } })
const options = { readOnly: true, isolationLevel: 'repeatable read', logger: { logQuery() {} } } as const

export async function sessions(): Promise<void> {
  for (const dburi of ['postgresql://h/db', 'mysql://h/db', 'file:x.db', 'pglite:'] as const) {
    await manager.sessionFactory(dburi, options)
    await manager.createSession(dburi, options)
    await manager.session(dburi, options, async (db) => db.select)
  }
  await manager.sessionFactory('postgresql://h/db', { deferrable: true })
  await manager.sessionFactory('mysql://h/db', { withConsistentSnapshot: true })
  // @ts-expect-error: no database has such a level
  await manager.sessionFactory('file:x.db', { isolationLevel: 'snapshot' })
  // @ts-expect-error: it belongs to sessions
  await manager.getEngine('file:x.db', { readOnly: true })
  // @ts-expect-error: a key is for one engine
  new SessionManager({ engineOptions: { engineKey: 'a' } })
}
