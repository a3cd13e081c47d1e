import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { causes, registerAdapter, SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { adapter } from '../fixtures/own-adapter.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'

/** An adapter that was written outside of this package. */

registerAdapter('ownadapter', { dialect: 'postgresql', load: async () => adapter })

let manager: SessionManager
beforeEach(() => {
  manager = new SessionManager({ prepare: 'none' })
})
afterEach(() => manager.dispose({ grace: 0 }))

it('imports nothing of this package but its two entries', () => {
  const text = readFileSync(fileURLToPath(new URL('../fixtures/own-adapter.ts', import.meta.url)), 'utf8')
  const modules = [...text.matchAll(/from '([^']+)'/g)].map(([, module]) => module)

  expect(modules).toEqual([
    'node:net',
    'drizzle-celery',
    'drizzle-celery/driver',
    'drizzle-orm/pg-proxy',
    'pg',
  ])
})

describeNeeding('postgresql', 'an adapter of somebody else', () => {
  const database = freshPostgres()
  const own = (options = '') => database.dburi.replace(/^\w+:/, 'ownadapter:') + options
  const open = async () => {
    const session = await manager.sessionFactory(own())
    if (session.dialect !== 'postgresql') throw new Error('It is of another dialect')
    return session
  }
  const column = async (
    db: { execute(query: ReturnType<typeof sql>): PromiseLike<unknown> },
    query: string,
  ) => {
    const rows: unknown = await db.execute(sql.raw(query))
    return Array.isArray(rows) ? rows.map((row: object) => Object.values(row)[0]) : rows
  }

  it('has sessions that keep what is committed, and savepoints as text', async () => {
    const session = await open()
    await session.db.execute(sql`create table own (id int)`)
    await session.db.execute(sql`insert into own values (${1})`)
    await session.db.execute(sql`savepoint here`)
    await session.db.execute(sql`insert into own values (${2})`)
    await session.db.execute(sql`rollback to savepoint here`)
    await session.commit()
    await session.db.execute(sql`insert into own values (${3})`)
    await session.rollback()

    expect(await column(session.db, 'select id from own')).toEqual([1])
    await session.close()
  })

  it('refuses and reports as the adapters of this package do', async () => {
    const misspelt = manager.getEngine(own('?conect_timeout=3'))
    await expect(misspelt).rejects.toMatchObject({ code: 'UNKNOWN_OPTION', option: 'conect_timeout' })
    const session = await open()
    const control = session.db.execute(sql`commit`).catch(causes)
    const lost = session.db.execute(sql`select pg_terminate_backend(pg_backend_pid())`).catch(causes)

    expect(await control).toContainEqual(expect.objectContaining({ code: 'INVALID_STATEMENT' }))
    expect(await lost).toContainEqual(expect.objectContaining({ code: '57P01' }))
    await session.rollback()
    expect(await column(session.db, 'select 1')).toEqual([1])
    await session.close()
  })
})
