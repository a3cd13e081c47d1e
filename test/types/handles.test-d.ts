import type {
  Dialect,
  Engine,
  EngineFor,
  Mysql2Handle,
  PgHandle,
  PgliteHandle,
  PostgresJsHandle,
  Session,
  SessionFor,
} from 'drizzle-celery'
import { SessionManager } from 'drizzle-celery'
import type { resultModels as mysqlResultModels } from 'drizzle-celery/models/mysql'
import type { resultModels as postgresqlResultModels } from 'drizzle-celery/models/postgresql'
import { resultModels as sqliteModels } from 'drizzle-celery/models/sqlite'
import { postgresqlModels as models, sqliteModels as ownSqlite } from 'drizzle-major/relational'
import { sql } from 'drizzle-orm'
import { drizzle as libsql } from 'drizzle-orm/libsql'
import { drizzle as mysql2 } from 'drizzle-orm/mysql2'
import { drizzle as pgProxy } from 'drizzle-orm/pg-proxy'
import { drizzle as pglite } from 'drizzle-orm/pglite'
import { drizzle as postgresJs } from 'drizzle-orm/postgres-js'

type Same<One, Other> =
  (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : false

function assertType<_Claim extends true>(): void {}

// What Drizzle itself gives for a connection.
const drizzles = {
  postgresJs: () => postgresJs('postgresql://h/db'),
  pg: () => pgProxy(async () => ({ rows: [] })),
  pglite: () => pglite('./data'),
  mysql2: () => mysql2('mysql://h/db'),
  libsql: () => libsql('file:x.db'),
}
type Drizzles = { [Driver in keyof typeof drizzles]: ReturnType<(typeof drizzles)[Driver]> }

// Handles are the same, but for what `$client` has.
type Exact<Handle, Plain> =
  Same<Omit<Handle, '$client'>, Omit<Plain, '$client'>> extends true ? Handle : never
type PostgresJs = Exact<EngineFor<'postgresql://h/db'>['db'], Drizzles['postgresJs']>
type Pg = Exact<EngineFor<'postgresql+pg://h/db'>['db'], Drizzles['pg']>
type Pglite = Exact<EngineFor<'pglite:'>['db'], Drizzles['pglite']>
type Mysql2 = Exact<EngineFor<'mysql://h/db'>['db'], Drizzles['mysql2']>
type Libsql = Exact<EngineFor<'file:x.db'>['db'], Drizzles['libsql']>
assertType<Same<PostgresJs['$client'], PostgresJsHandle['$client']>>()
assertType<Same<Pg['$client'], PgHandle['$client']>>()
assertType<Same<Pglite['$client'], PgliteHandle['$client']>>()
assertType<Same<Mysql2['$client'], Mysql2Handle['$client']>>()
assertType<Same<Libsql['$client'], Drizzles['libsql']['$client']>>()

type PostgresqlModels = ReturnType<typeof postgresqlResultModels>
type SqliteModels = ReturnType<typeof sqliteModels>
type MysqlModels = ReturnType<typeof mysqlResultModels>

// A literal dburi gives the exact Drizzle handle.
assertType<Same<EngineFor<'postgresql://u@h/db'>, Engine<'postgresql', PostgresJs>>>()
assertType<Same<EngineFor<'postgres://u@h/db'>, Engine<'postgresql', PostgresJs>>>()
assertType<Same<EngineFor<'POSTGRES://u@h/db'>, Engine<'postgresql', PostgresJs>>>()
assertType<Same<EngineFor<'db+postgresql+psycopg2://u@h/db'>, Engine<'postgresql', PostgresJs>>>()
assertType<Same<EngineFor<`postgresql://${string}`>, Engine<'postgresql', PostgresJs>>>()
assertType<Same<EngineFor<'postgresql+pg://u@h/db'>, Engine<'postgresql', Pg>>>()
assertType<Same<EngineFor<'db+postgres+pg://u@h/db'>, Engine<'postgresql', Pg>>>()
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

// A literal that cannot be opened is refused where it stands, by every method.
export async function refused(manager: SessionManager): Promise<void> {
  // @ts-expect-error: UnknownScheme<"postgre">
  await manager.getEngine('postgre://h/db')
  // @ts-expect-error: UnknownScheme<"postgre">
  await manager.createSession('db+postgre://h/db')
  // @ts-expect-error: UnknownScheme<"mssql+pymssql">
  await manager.sessionFactory('mssql+pymssql://h/db', { readOnly: true })
  // @ts-expect-error: UnknownScheme<"c">
  await manager.session('C:\\results.db', async () => 1)
  // @ts-expect-error: UnknownScheme<"results.db">
  await manager.session('results.db', {}, async () => 1)
  // @ts-expect-error: one of them is
  await manager.getEngine('file:x.db' as 'file:x.db' | 'postgre://h/db')

  const postgresql = new SessionManager({ models: { postgresql: models } })
  // @ts-expect-error: NoModels<"sqlite">
  await postgresql.sessionFactory(':memory:')
}

// What is known at run time only is not.
export async function patterns(manager: SessionManager, text: string): Promise<void> {
  for (const engine of [
    await manager.getEngine(text),
    await manager.getEngine(`${text}://h/db`),
    await manager.getEngine(`db+${text}`),
    await manager.getEngine(`postgres${text}`),
    await manager.getEngine(new URL(text)),
  ])
    assertType<Same<typeof engine.dialect, Dialect>>()
  assertType<Same<EngineFor<`postgresql+${string}://h/db`>, Engine<'postgresql', PostgresJs>>>()
  assertType<Same<EngineFor<`:memory:?cache=${string}`>, Engine<'sqlite', Libsql>>>()
  assertType<Same<EngineFor<'DB+:memory:'>, Engine<'sqlite', Libsql>>>()
}

// The models follow the dialect.
assertType<Same<SessionFor<'postgresql://h/db'>, Session<'postgresql', PostgresJs, PostgresqlModels>>>()
assertType<Same<SessionFor<'mysql://h/db'>, Session<'mysql', Mysql2, MysqlModels>>>()
assertType<Same<SessionFor<'file:x.db'>, Session<'sqlite', Libsql, SqliteModels>>>()

// A string gives a union that `switch` narrows to handles which can be called.
export async function narrows(manager: SessionManager, dburi: string): Promise<void> {
  const session = await manager.sessionFactory(dburi)
  switch (session.dialect) {
    case 'postgresql': {
      // It may be any driver's, for all that is known.
      assertType<Same<typeof session.db.$client, (PostgresJs | Pg | Pglite)['$client']>>()
      const db: Omit<PostgresJs, '$client'> = session.db
      const rows = await session.db.select().from(session.models.task)
      const ids: (string | null)[] = rows.map((row) => row.taskId)
      await session.db.insert(session.models.task).values({ taskId: ids[0] ?? null })
      await db.execute(sql`select 1`)
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

// Models of one dialect say what a string opens; those of two leave two.
export async function fewDialects(dburi: string): Promise<void> {
  const one = new SessionManager({ models: { sqlite: ownSqlite } })
  const session = await one.sessionFactory(dburi)
  assertType<Same<typeof session.dialect, 'sqlite'>>()
  const { author } = session.models
  const names: string[] = (await session.db.select().from(author)).map((row) => row.fullName)
  await one.session(new URL(dburi), async (db) => db.insert(author).values({ fullName: names[0] ?? '' }))
  await (await one.getEngine(dburi)).db.query.author.findFirst({ with: { books: true } })
  const { engine, sessionMaker } = await one.createSession(`${dburi}?mode=ro`)
  await engine.db.batch([sessionMaker().db.query.author.findMany()])

  const two = new SessionManager({ models: { sqlite: ownSqlite, postgresql: models } })
  const either = await two.sessionFactory(dburi)
  assertType<Same<typeof either.dialect, 'sqlite' | 'postgresql'>>()
  if (either.dialect === 'postgresql') await either.db.execute(sql`select 1`)
  else await either.db.query.author.findMany({ with: { books: true } })
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

  const { db } = await manager.getEngine('postgresql://h/db')
  await db.query.author.findMany({ with: { books: true } })

  const pgSession = await manager.sessionFactory('postgresql+pg://h/db')
  const book = await pgSession.db.query.book.findFirst({ with: { author: true } })
  assertType<Same<NonNullable<NonNullable<typeof book>['author']>['fullName'], string>>()
  await pgSession.db.$client.query('select 1')

  const pgliteSession = await manager.sessionFactory('pglite:')
  const first = await pgliteSession.db.query.book.findFirst({ with: { author: true } })
  assertType<Same<NonNullable<NonNullable<typeof first>['author']>['fullName'], string>>()
  await pgliteSession.db.transaction(async (tx) => tx.query.author.findMany())
}

// A parameter that names the driver takes its handles, whatever they know.
export async function parameters(manager: SessionManager): Promise<void> {
  const onAny = (db: PostgresJsHandle) => db.execute(sql`select 1`)
  const own = new SessionManager({ models: { postgresql: models } })
  await onAny((await manager.getEngine('postgresql://h/db')).db)
  await onAny((await own.getEngine('postgresql://h/db')).db)
  // @ts-expect-error: its client is another one
  await onAny((await own.getEngine('pglite:')).db)
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

  const pg = (await manager.getEngine('postgresql+pg://h/db')).db.$client
  const { rowCount, rows: asked } = await pg.query<{ n: number }>('select $1::int as n', [1])
  const counted: number | null = asked[0]?.n ?? rowCount
  await pg.query<[number]>({ text: 'select $1::int', values: [counted], rowMode: 'array' })
  // @ts-expect-error: its connections are the pool's
  await pg.connect()

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
