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

export async function inside(): Promise<void> {
  await manager.session('postgresql://h/db', { propagation: 'join' }, async (db, session) => {
    const current = manager.current('postgresql://h/db')
    const dialect: 'postgresql' = current.dialect
    await current.db.select().from(session.models.task)
    await session.with({ statementTimeout: 2 }).db.select().from(session.models.task)
    await db.transaction(async () => dialect)
  })
  const engine = await manager.getEngine('mysql://h/db')
  const { db } = engine.with({ signal: AbortSignal.timeout(1) })
  await db.transaction(async (tx) => tx.select)
  // @ts-expect-error: there is no such word
  await manager.session('file:x.db', { propagation: 'required' }, async () => {})
}

export async function streams(): Promise<void> {
  await manager.session('postgresql://h/db', async (db, session) => {
    const { task } = session.models
    for await (const { id, name } of session.stream(db.select({ id: task.id, name: task.name }).from(task))) {
      const [known, text]: [number, string | null] = [id, name]
      // @ts-expect-error: it may be null
      const whole: string = name
      void [known, text, whole]
    }
    // @ts-expect-error: a batch is a number of rows
    session.stream(db.select().from(task), { batch: '5' })
    // @ts-expect-error: it is no query
    session.stream(task)
  })
}
