import type { Engine, EngineFor, NamedAdapter, PgHandle, PostgresJsHandle } from 'drizzle-celery'
import { SessionManager } from 'drizzle-celery'
import { libsql } from 'drizzle-celery/adapters/libsql'
import { pg } from 'drizzle-celery/adapters/pg'
import { postgresJs } from 'drizzle-celery/adapters/postgres-js'
import { DatabaseBackend } from 'drizzle-celery/backend'
import { SessionManager as CoreSessionManager } from 'drizzle-celery/core'
import { postgresqlModels as models } from 'drizzle-major/relational'

type Same<One, Other> =
  (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : false

function assertType<_Claim extends true>(): void {}

interface DuckHandle {
  quack(): void
}
declare const duckdb: NamedAdapter<'duckdb', 'postgresql', DuckHandle>

// One adapter gives its handle, without models and with them.
export async function oneAdapter(dburi: string): Promise<void> {
  const manager = new CoreSessionManager({ adapters: [postgresJs] })
  const engine = await manager.getEngine(dburi)
  const session = await manager.sessionFactory(dburi)
  const literal = await manager.getEngine('postgresql://h/db')
  assertType<Same<typeof engine, EngineFor<'postgresql://h/db'>>>()
  assertType<Same<typeof literal, EngineFor<'postgresql://h/db'>>>()
  await session.db.select().from(session.models.task)
  await manager.session(dburi, async (db, { models }) => db.select().from(models.task))

  const own = new CoreSessionManager({ adapters: [pg], models: { postgresql: models } })
  const { db } = await own.sessionFactory(dburi)
  const name: string | undefined = (await db.query.author.findFirst())?.fullName
  assertType<Same<(typeof db)['$client'], PgHandle['$client']>>()
  await manager.session(dburi, async (db) => db.execute(name ?? ''))
}

// Several give those whose dialects there are models of.
export async function severalAdapters(dburi: string): Promise<void> {
  const manager = new SessionManager({ adapters: [postgresJs, libsql] })
  const engine = await manager.getEngine(dburi)
  assertType<Same<typeof engine, EngineFor<'postgresql://h/db'> | EngineFor<'file:x.db'>>>()
  const own = new SessionManager({ adapters: [postgresJs, libsql], models: { postgresql: models } })
  const { db } = await own.getEngine(dburi)
  assertType<Same<(typeof db)['$client'], PostgresJsHandle['$client']>>()
}

// One of somebody else is known by its name.
export async function ownAdapter(dburi: string): Promise<void> {
  const manager = new CoreSessionManager({ adapters: [duckdb] })
  const engine = await manager.getEngine('duckdb:./x.db')
  assertType<Same<typeof engine, Engine<'postgresql', DuckHandle>>>()
  const other = await manager.getEngine(dburi)
  assertType<Same<typeof other, Engine<'postgresql', DuckHandle>>>()
}

// What they do not open is refused where it stands.
export async function refused(): Promise<void> {
  const manager = new CoreSessionManager({ adapters: [postgresJs] })
  // @ts-expect-error: NoAdapter<"libsql">
  await manager.getEngine('file:x.db')
  // @ts-expect-error: NoAdapter<"pg">
  await manager.getEngine('postgresql+pg://h/db')
  // @ts-expect-error: UnknownScheme<"duckdb">
  await manager.getEngine('duckdb:x.db')
  // @ts-expect-error: it has no others
  new CoreSessionManager({})
  // @ts-expect-error: it has no others
  new CoreSessionManager()
  // @ts-expect-error: the name of the driver is missing
  new CoreSessionManager({ adapters: [{ dialect: 'sqlite', open: libsql.open }] })
  const own = new CoreSessionManager({ adapters: [libsql], models: { postgresql: models } })
  // @ts-expect-error: NoModels<"sqlite">
  await own.getEngine('file:x.db')
}

// A backend takes the engine of any of them.
export const backends = [
  new DatabaseBackend('file:x.db', { manager: new SessionManager() }),
  new DatabaseBackend('file:x.db', { manager: new CoreSessionManager({ adapters: [libsql] }) }),
]
