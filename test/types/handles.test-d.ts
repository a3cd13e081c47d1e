import type {
  Engine,
  EngineFor,
  Mysql2Handle,
  PgliteHandle,
  PostgresJsHandle,
  Session,
  SessionFor,
} from 'drizzle-celery'
import { SessionManager } from 'drizzle-celery'
import type { resultModels as mysqlResultModels } from 'drizzle-celery/models/mysql'
import type { resultModels as postgresqlResultModels } from 'drizzle-celery/models/postgresql'
import { resultModels as sqliteModels } from 'drizzle-celery/models/sqlite'
import { postgresqlModels as models } from 'drizzle-major/relational'
import { sql } from 'drizzle-orm'
import type { drizzle as libsql } from 'drizzle-orm/libsql'
import type { drizzle as mysql2 } from 'drizzle-orm/mysql2'
import type { drizzle as pglite } from 'drizzle-orm/pglite'
import type { drizzle as postgresJs } from 'drizzle-orm/postgres-js'

type Same<One, Other> =
  (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : false

function assertType<_Claim extends true>(): void {}

// They are Drizzle's own, but for what `$client` has.
type PostgresJs = Drizzles<PostgresJsHandle, ReturnType<typeof postgresJs>>
type Pglite = Drizzles<PgliteHandle, ReturnType<typeof pglite>>
type Libsql = ReturnType<typeof libsql>
type Mysql2 = Drizzles<Mysql2Handle, ReturnType<typeof mysql2>>
type Drizzles<Handle, Plain> =
  Omit<Plain, '$client'> extends Omit<Handle, '$client'>
    ? Omit<Handle, '$client'> extends Omit<Plain, '$client'>
      ? Handle
      : never
    : never
type PostgresqlModels = ReturnType<typeof postgresqlResultModels>
type SqliteModels = ReturnType<typeof sqliteModels>
type MysqlModels = ReturnType<typeof mysqlResultModels>

// A literal dburi gives the exact Drizzle handle.
assertType<Same<EngineFor<'postgresql://u@h/db'>, Engine<'postgresql', PostgresJs>>>()
assertType<Same<EngineFor<'postgres://u@h/db'>, Engine<'postgresql', PostgresJs>>>()
assertType<Same<EngineFor<'POSTGRES://u@h/db'>, Engine<'postgresql', PostgresJs>>>()
assertType<Same<EngineFor<'db+postgresql+psycopg2://u@h/db'>, Engine<'postgresql', PostgresJs>>>()
assertType<Same<EngineFor<`postgresql://${string}`>, Engine<'postgresql', PostgresJs>>>()
assertType<Same<EngineFor<'pglite:./data'>, Engine<'postgresql', Pglite>>>()
assertType<Same<EngineFor<'postgresql+pglite://'>, Engine<'postgresql', Pglite>>>()
assertType<Same<EngineFor<'mysql://u@h/db'>, Engine<'mysql', Mysql2>>>()
assertType<Same<EngineFor<'db+mysql+pymysql://u@h/db'>, Engine<'mysql', Mysql2>>>()
assertType<Same<EngineFor<'mariadb://u@h/db'>, Engine<'mysql', Mysql2>>>()
assertType<Same<EngineFor<'mariadb+mariadbconnector://u@h/db'>, Engine<'mysql', Mysql2>>>()
assertType<Same<EngineFor<'file:x.db'>, Engine<'sqlite', Libsql>>>()
assertType<Same<EngineFor<':memory:'>, Engine<'sqlite', Libsql>>>()
assertType<Same<EngineFor<'db+sqlite:///results.sqlite'>, Engine<'sqlite', Libsql>>>()
assertType<Same<EngineFor<'libsql://host?authToken=t'>, Engine<'sqlite', Libsql>>>()
assertType<Same<EngineFor<'wss://host'>, Engine<'sqlite', Libsql>>>()

// A scheme nobody opens gives nothing.
assertType<Same<EngineFor<'mssql://h/db'>, never>>()

// The models follow the dialect.
assertType<Same<SessionFor<'postgresql://h/db'>, Session<'postgresql', PostgresJs, PostgresqlModels>>>()
assertType<Same<SessionFor<'mysql://h/db'>, Session<'mysql', Mysql2, MysqlModels>>>()
assertType<Same<SessionFor<'file:x.db'>, Session<'sqlite', Libsql, SqliteModels>>>()

// A string gives a union that `switch` narrows to handles which can be called.
export async function narrows(manager: SessionManager, dburi: string): Promise<void> {
  const session = await manager.sessionFactory(dburi)
  switch (session.dialect) {
    case 'postgresql': {
      assertType<Same<typeof session.db, PostgresJs>>()
      const rows = await session.db.select().from(session.models.task)
      const ids: (string | null)[] = rows.map((row) => row.taskId)
      await session.db.insert(session.models.task).values({ taskId: ids[0] ?? null })
      await session.db.execute(sql`select 1`)
      break
    }
    case 'mysql': {
      assertType<Same<typeof session.db, Mysql2>>()
      await session.db
        .insert(session.models.task)
        .values({ taskId: 't' })
        .onDuplicateKeyUpdate({ set: { name: 'n' } })
      break
    }
    case 'sqlite': {
      assertType<Same<typeof session.db, Libsql>>()
      await session.db.insert(session.models.task).values({ taskId: 't' })
      break
    }
    default:
      assertType<Same<typeof session, never>>()
  }
}

// The work of manager.session() is typed by its dburi as well.
export async function works(manager: SessionManager): Promise<void> {
  const result: number = await manager.session('file:x.db', async (db, session) => {
    assertType<Same<typeof db, Libsql>>()
    const rows = await db.select().from(session.models.group)
    return rows.length
  })
  await manager.session('postgresql://h/db', { poolSize: 1 }, async (db) => {
    assertType<Same<typeof db, PostgresJs>>()
    return result
  })
  const { engine, sessionMaker } = await manager.createSession(':memory:')
  const database: Libsql = engine.db
  await sessionMaker().db.batch([database.select().from(sqliteModels().task)])

  // @ts-expect-error: only libSQL has batches
  ;(await manager.getEngine('postgresql://h/db')).db.batch([])
}

// A manager's own models take the place of Celery's.
export async function ownModels(): Promise<void> {
  const { task } = sqliteModels()
  const manager = new SessionManager({ models: { sqlite: { jobs: task } } })
  const session = await manager.sessionFactory('file:x.db')
  assertType<Same<typeof session.models, { jobs: typeof task }>>()
}

// Relational queries know a manager's own models.
export async function relationalQueries(): Promise<void> {
  const manager = new SessionManager({ models: { postgresql: models } })

  const postgresJsSession = await manager.sessionFactory('postgresql://h/db')
  assertType<Same<typeof postgresJsSession.models, typeof models>>()
  const authors = await postgresJsSession.db.query.author.findMany({ with: { books: true } })
  assertType<Same<(typeof authors)[number]['books'][number]['authorId'], number | null>>()
  // @ts-expect-error: there is no such table
  postgresJsSession.db.query.unknown

  const pgliteSession = await manager.sessionFactory('pglite:')
  const first = await pgliteSession.db.query.book.findFirst({ with: { author: true } })
  assertType<Same<NonNullable<NonNullable<typeof first>['author']>['fullName'], string>>()
  await pgliteSession.db.transaction(async (tx) => tx.query.author.findMany())
}

// `$client` has what is there, and says so.
export async function clients(manager: SessionManager): Promise<void> {
  const { $client } = (await manager.getEngine('postgresql://h/db')).db
  const rows: { n: number }[] = await $client.unsafe<{ n: number }[]>('select $1::int as n', [1])
  const both: [{ n: number }[], string] = await $client.begin('read only', (tx) => [
    tx.unsafe<{ n: number }[]>('select 1 as n'),
    Promise.resolve(String(rows.length)),
  ])
  await $client.begin(async (tx) => tx.savepoint(async () => both))
  // @ts-expect-error: its connections are the pool's
  await $client.end()
  // @ts-expect-error: there is no template tag
  await $client`select 1`
  // @ts-expect-error: nobody would hear
  await $client.listen('channel', () => {})
  // @ts-expect-error: there are no cursors
  $client.unsafe('select 1').cursor(1)

  const mysql = (await manager.getEngine('mysql://h/db')).db.$client
  const [found] = await mysql.execute<{ n: number }[]>('select ? as n', [1])
  const n: number | undefined = found[0]?.n
  // @ts-expect-error: it gives promises as it is
  mysql.promise()
  // @ts-expect-error: it would go past the pool
  await mysql.getConnection()

  const pglite = (await manager.getEngine('pglite:')).db.$client
  const answer = await pglite.query<{ n: number }>('select $1::int as n', [n])
  const first: number | undefined = answer.rows[0]?.n ?? answer[0]?.n
  await pglite.transaction(async (tx) => tx.exec(`select ${first}`))
  // @ts-expect-error: nobody would hear
  await pglite.listen('channel', () => {})
}

// Models of one's own leave it as it is.
export async function clientBesideModels(): Promise<void> {
  const manager = new SessionManager({ models: { postgresql: models } })
  const { db } = await manager.getEngine('postgresql://h/db')
  await db.$client.unsafe('select 1')
  // @ts-expect-error: there is no template tag
  await db.$client`select 1`
}
