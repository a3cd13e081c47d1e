/** Who is told of what is done, by a tracing channel, may call what does it: the call that tells is not over then. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { SessionManager } from 'drizzle-celery'
import { type SQL, sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { createMysql, createPostgres, describeNeeding } from '../fixtures/servers.ts'

interface Subject {
  create(): Promise<{ dburi: string } & AsyncDisposable>
  run(db: unknown, query: SQL): PromiseLike<unknown>
}

const execute: Subject['run'] = (db, query) =>
  (db as { execute(query: SQL): PromiseLike<unknown> }).execute(query)
const inMemory = async () => ({ dburi: 'sqlite://', async [Symbol.asyncDispose]() {} })

describeNeeding('postgresql', 'PostgreSQL', () => isSound({ create: createPostgres, run: execute }))
describeNeeding('mysql', 'MySQL or MariaDB', () => {
  isSound({ create: createMysql, run: execute })

  it('a statement that is asked for while another is sent waits until that is answered', async () => {
    await using opened = await openOn(createMysql)
    const { session, engine } = opened
    await execute(engine.db, sql`create table things (id int)`)
    await execute(engine.db, sql`create procedure sly() begin commit; end`)
    await session.begin()
    const next = once('mysql2:query', () => execute(session.db, sql`insert into things values (1)`))

    await expect(execute(session.db, sql`call sly()`)).rejects.toThrow()
    await expect(next()).rejects.toThrow()
    await session.close()

    expect(await execute(engine.db, sql`select id from things`)).toMatchObject([[], expect.anything()])
  })
})
describe('SQLite', () =>
  isSound({
    create: inMemory,
    run: (db, query) => (db as { run(query: SQL): PromiseLike<unknown> }).run(query),
  }))

function isSound({ create, run }: Subject): void {
  it('a session that is closed while its transaction begins stays closed, and gives its connection back', async () => {
    await using opened = await openOn(create)
    const { session, engine } = opened
    const closed = once('drizzle-celery:transaction', () => session.close())

    await run(session.db, sql`select 1`)
    await closed()

    expect(session.isClosed).toBe(true)
    expect(engine.stats().checkedOut).toBe(0)
  })

  it('a statement that is asked for while its transaction begins joins it', async () => {
    await using opened = await openOn(create)
    const { session, engine } = opened
    const joined = once('drizzle-celery:transaction', () => run(session.db, sql`select 2`))

    await run(session.db, sql`select 1`)
    await joined()
    expect(engine.stats().checkedOut).toBe(1)
    await session.close()

    expect(engine.stats().checkedOut).toBe(0)
  })

  it('another begin() is refused while its transaction begins', async () => {
    await using opened = await openOn(create)
    const { session, engine } = opened
    const refused = once('drizzle-celery:transaction', () => session.begin())

    await session.begin()
    await expect(refused()).rejects.toMatchObject({ code: 'IN_TRANSACTION' })
    await session.close()

    expect(engine.stats().checkedOut).toBe(0)
  })

  it('a connection that is closed while a statement is sent is given back after the answer', async () => {
    await using opened = await openOn(create)
    const { engine } = opened
    const connection = await engine.connect()
    const held: number[] = []
    const closed = once('drizzle-celery:statement', () => {
      const closing = connection.close()
      held.push(engine.stats().checkedOut)
      return closing
    })

    await run(connection.db, sql`select 1`)
    await closed()

    expect([...held, engine.stats().checkedOut]).toEqual([1, 0])
  })
}

/** A session whose pool has a connection at hand. */
async function openOn(create: Subject['create']) {
  const database = await create()
  const manager = new SessionManager({ prepare: 'none' })
  const engine = await manager.getEngine(database.dburi)
  await engine.ping()
  const session = await manager.sessionFactory(database.dburi)
  const dispose = async () => {
    await session.close()
    await manager.dispose({ grace: 0 })
    await database[Symbol.asyncDispose]()
  }
  return { engine, session, [Symbol.asyncDispose]: dispose }
}

/** Does something when the next one begins of what a channel tells. @returns what becomes of it */
function once(name: string, work: () => PromiseLike<unknown>): () => PromiseLike<unknown> {
  const channel = `tracing:${name}:start`
  let done: PromiseLike<unknown> = Promise.reject(new Error(`nothing was told by ${channel}`))
  done.then(undefined, () => {})
  const listener = () => {
    unsubscribe(channel, listener)
    done = work()
    done.then(undefined, () => {})
  }
  subscribe(channel, listener)
  return () => done
}
