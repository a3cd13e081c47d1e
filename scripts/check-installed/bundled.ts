/**
 * Run as it is and in bundles whose names a minifier has shortened, and has to print the same there: what an error or an
 * answer is must not be told by the name of its class, and names that people see stay.
 *
 * Its argument is JSON: the dburis of empty databases.
 */
import { inspect } from 'node:util'
import { createClient } from '@libsql/client'
import * as root from 'drizzle-celery'
import { causes, type Engine, type Mysql2Handle, SessionManager } from 'drizzle-celery'
import * as backend from 'drizzle-celery/backend'
import * as celeryNode from 'drizzle-celery/celery-node'
import * as celeryTs from 'drizzle-celery/celery-ts'
import * as mysqlModels from 'drizzle-celery/models/mysql'
import * as pickle from 'drizzle-celery/pickle'
import { sql } from 'drizzle-orm'

const dburis: readonly string[] = JSON.parse(process.argv[2] ?? '[]')
const manager = new SessionManager({ prepare: 'none', engineOptions: { poolSize: 1 } })
// CommonJS has no await at the top of a program.
main().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})

async function main(): Promise<void> {
  try {
    print(
      'classes of another name',
      [root, backend, celeryNode, celeryTs, mysqlModels, pickle].flatMap(renamed),
    )
    print('values', inspect([pickle.PyTuple.of(1), new pickle.PyDecimal('1.5'), pickle.PyTimeZone.utc]))
    for (const dburi of dburis) await tryDatabase(dburi)
  } finally {
    await manager.dispose({ grace: 0 })
  }
}

async function tryDatabase(dburi: string): Promise<void> {
  const engine = await manager.getEngine(dburi)
  print(engine.dialect, engine.constructor.name)
  const session = await manager.sessionFactory(dburi)
  print('session', session.constructor.name)
  await session.close()
  print('closed', await failure(async () => session.commit()))

  switch (engine.dialect) {
    case 'postgresql':
      return await onPostgresql(engine)
    case 'mysql':
      return await onMysql(engine)
    case 'sqlite':
      return await onSqlite(engine, dburi)
  }
}

async function onPostgresql({ db }: Engine<'postgresql', root.HandleByDialect['postgresql']>) {
  const execute = (text: string) => db.execute(sql.raw(text))
  await execute('create table bundled (id integer primary key)')
  print('inserted', numberIn(await execute('insert into bundled values (1)'), 'count'))
  const before = await execute('select pg_backend_pid() as pid')
  print('division by zero', await failure(() => execute('select 1 / 0')))
  print('unique violation', await failure(() => execute('insert into bundled values (1)')))
  const after = await execute('select pg_backend_pid() as pid')
  print('the connection is kept', inspect(before) === inspect(after))
}

async function onMysql({ db }: Engine<'mysql', Mysql2Handle>): Promise<void> {
  const execute = (text: string) => db.execute(sql.raw(text))
  await execute('create table bundled (id integer primary key)')
  await execute('create procedure commits() begin commit; end')
  const [header] = await execute('insert into bundled values (1)')
  print('inserted', numberIn(header, 'affectedRows'))
  const before = await execute('select connection_id() as id')
  print('duplicate key', await failure(() => execute('insert into bundled values (1)')))
  const after = await execute('select connection_id() as id')
  print('the connection is kept', inspect(before[0]) === inspect(after[0]))
  const work = db.transaction(async (tx) => {
    await tx.execute(sql.raw('insert into bundled values (2)'))
    await tx.execute(sql.raw('call commits()'))
    await tx.execute(sql.raw('insert into bundled values (3)'))
  })
  print('a procedure that commits', await failure(() => work))
  print('kept', (await execute('select id from bundled order by id'))[0])
}

async function onSqlite(
  { db }: Engine<'sqlite', root.HandleByDialect['sqlite']>,
  dburi: string,
): Promise<void> {
  await db.run(sql.raw('create table bundled (id integer primary key)'))
  print('inserted', (await db.run(sql.raw('insert into bundled values (1)'))).rowsAffected)
  print('constraint', await failure(() => db.run(sql.raw('insert into bundled values (1)'))))
  const other = createClient({ url: dburi })
  const transaction = await other.transaction('write')
  print('others write', await failure(() => db.run(sql.raw('insert into bundled values (2)'))))
  await transaction.rollback()
  other.close()
  print('free again', (await db.run(sql.raw('insert into bundled values (2)'))).rowsAffected)
}

/** The classes that a module exports, but not by the name that they bear; an old name may be left beside. */
function renamed(module: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(module).flatMap(([name, value]) => {
    const isClass = typeof value === 'function' && /^class\b/.test(Function.prototype.toString.call(value))
    return isClass && module[value.name] !== value ? [`${name} is ${value.name}`] : []
  })
}

/** What the error and its causes call themselves, and their codes. */
async function failure(work: () => PromiseLike<unknown>): Promise<string[]> {
  try {
    return ['none', inspect(await work())]
  } catch (error) {
    return causes(error).map((cause) =>
      cause instanceof Error ? `${cause.name} ${Reflect.get(cause, 'code')}` : String(cause),
    )
  }
}

/** Under each major of Drizzle results have types of their own. */
function numberIn(result: unknown, property: string): unknown {
  return Reflect.get(Object(result), property)
}

function print(claim: string, ...found: unknown[]): void {
  console.log(`${claim}: ${JSON.stringify(found)}`)
}
