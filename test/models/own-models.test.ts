import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Engine, SessionManager } from 'drizzle-celery'
import { ddl } from 'drizzle-celery/schema'
import { mysqlModels, postgresqlModels, snakeCased, sqliteModels } from 'drizzle-major/relational'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { drizzleMajor } from '../fixtures/drizzle-major.ts'
import { describeNeeding, freshMysql, freshPostgres } from '../fixtures/servers.ts'

/** Tables of a user's own: sessions and relational queries know them, on every driver. */

const found = [{ id: 1, fullName: 'Ursula', books: [{ id: 1, authorId: 1 }] }]

async function onPostgresql(dburi: 'pglite:' | `postgresql://${string}`): Promise<void> {
  await using manager = new SessionManager({ models: { postgresql: postgresqlModels }, ...snakeCased })
  await using session = await manager.sessionFactory(dburi)
  await session.db.insert(session.models.author).values({ fullName: 'Ursula' })
  await session.db.insert(session.models.book).values({ authorId: 1 })

  expect(await session.db.query.author.findMany({ with: { books: true } })).toEqual(found)
  const inside = await session.db.transaction((tx) => tx.query.author.findMany({ with: { books: true } }))
  expect(inside).toEqual(found)
  // The name that the casing makes is the one in the database.
  const names = session.db.select({ name: sql`full_name` }).from(session.models.author)
  expect(await names).toEqual([{ name: 'Ursula' }])

  await session.commit()
  const { db } = await manager.getEngine(dburi)
  expect(await db.query.author.findMany({ with: { books: true } })).toEqual(found)
}

describe('on PGlite', () => {
  it('relational queries know the models, also in a transaction and on the engine', () =>
    onPostgresql('pglite:'))
})

describeNeeding('postgresql', 'on PostgreSQL', () => {
  const database = freshPostgres()

  it('relational queries know the models, also in a transaction and on the engine', () =>
    onPostgresql(`postgresql://${database.dburi.replace(/^\w+:\/\//, '')}`))
})

describeNeeding('mysql', 'on MySQL', () => {
  const database = freshMysql()
  const dburi = () => `mysql://${database.dburi.replace(/^\w+:\/\//, '')}` as const
  let manager: SessionManager<{ mysql: typeof mysqlModels }>
  beforeAll(async () => {
    manager = new SessionManager({ models: { mysql: mysqlModels }, ...snakeCased })
    await using session = await manager.sessionFactory(dburi())
    await session.db.insert(session.models.author).values({ fullName: 'Ursula' })
    await session.db.insert(session.models.book).values({ authorId: 1 })
    await session.commit()
  })
  afterAll(() => manager.dispose())

  it('queries know the models', async () => {
    await using session = await manager.sessionFactory(dburi())
    const { author } = session.models

    const rows = await session.db.select({ name: author.fullName, raw: sql`full_name` }).from(author)

    expect(rows).toEqual([{ name: 'Ursula', raw: 'Ursula' }])
  })

  it.skipIf(drizzleMajor === '1.0')(
    'relational queries know the models, also in a transaction (not under 1.0: MariaDB lacks its lateral joins)',
    async () => {
      await using session = await manager.sessionFactory(dburi())

      expect(await session.db.query.author.findMany({ with: { books: true } })).toEqual(found)
      const inside = await session.db.transaction((tx) => tx.query.author.findMany({ with: { books: true } }))
      expect(inside).toEqual(found)
    },
  )
})

describe('on libSQL', () => {
  let directory: string
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'dc-own-models-'))
  })
  afterAll(() => rmSync(directory, { recursive: true }))

  it('relational queries know the models, also in a transaction', async () => {
    await using manager = new SessionManager({ models: { sqlite: sqliteModels }, ...snakeCased })
    await using session = await manager.sessionFactory(`file:${join(directory, 'own.db')}`)
    await session.db.insert(session.models.author).values({ fullName: 'Ursula' })
    await session.db.insert(session.models.book).values({ authorId: 1 })

    expect(await session.db.query.author.findMany({ with: { books: true } })).toEqual(found)
    const inside = await session.db.transaction((tx) => tx.query.author.findMany({ with: { books: true } }))
    expect(inside).toEqual(found)
    expect(await session.db.all('select full_name from author')).toMatchObject([{ full_name: 'Ursula' }])
  })

  it.skipIf(drizzleMajor !== '1.0')('under 1.0 refuses a casing, which only tables have there', async () => {
    await using manager = new SessionManager({ models: { sqlite: sqliteModels }, casing: 'snake_case' })

    await expect(manager.sessionFactory('file::memory:')).rejects.toMatchObject({
      code: 'REFUSED_OPTION',
      message: expect.stringContaining('snakeCase.table()'),
    })
    expect(() => ddl(sqliteModels, 'sqlite', { casing: 'snake_case' })).toThrow('snakeCase.table()')
  })

  it('refuses a dburi of a dialect without models, and says where to give them', async () => {
    const opened: Engine[] = []
    await using manager = new SessionManager({
      models: { postgresql: postgresqlModels },
      engineCallback: (engine) => void opened.push(engine),
    })
    const dburi: string = 'file::memory:'
    const refusal = {
      code: 'NO_MODELS',
      message: expect.stringMatching(/\bsqlite\b.*only for postgresql.*models: \{ sqlite: … \}/),
    }

    // Whatever it is opened for: its types say that it is PostgreSQL.
    await expect(manager.sessionFactory(dburi)).rejects.toMatchObject(refusal)
    await expect(manager.createSession(dburi)).rejects.toMatchObject(refusal)
    await expect(manager.getEngine(dburi)).rejects.toMatchObject(refusal)
    expect(opened).toEqual([])
  })
})
