/** Tables of a user's own: sessions and relational queries know them, on every driver. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SessionManager } from 'drizzle-celery'
import { relations } from 'drizzle-orm'
import * as pg from 'drizzle-orm/pg-core'
import * as sqlite from 'drizzle-orm/sqlite-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeNeeding, freshPostgres } from './fixtures/servers.ts'

const author = pg.pgTable('author', { id: pg.serial().primaryKey(), fullName: pg.text().notNull() })
const book = pg.pgTable('book', {
  id: pg.serial().primaryKey(),
  authorId: pg.integer().references(() => author.id),
})
const models = {
  author,
  book,
  authorRelations: relations(author, ({ many }) => ({ books: many(book) })),
  bookRelations: relations(book, ({ one }) => ({
    author: one(author, { fields: [book.authorId], references: [author.id] }),
  })),
}

const writer = sqlite.sqliteTable('author', {
  id: sqlite.integer().primaryKey({ autoIncrement: true }),
  fullName: sqlite.text().notNull(),
})
const novel = sqlite.sqliteTable('book', {
  id: sqlite.integer().primaryKey({ autoIncrement: true }),
  authorId: sqlite.integer().references(() => writer.id),
})
const sqliteModels = {
  author: writer,
  book: novel,
  authorRelations: relations(writer, ({ many }) => ({ books: many(novel) })),
  bookRelations: relations(novel, ({ one }) => ({
    author: one(writer, { fields: [novel.authorId], references: [writer.id] }),
  })),
}

const found = [{ id: 1, fullName: 'Ursula', books: [{ id: 1, authorId: 1 }] }]

async function onPostgresql(dburi: 'pglite:' | `postgresql://${string}`): Promise<void> {
  await using manager = new SessionManager({ models: { postgresql: models }, casing: 'snake_case' })
  await using session = await manager.sessionFactory(dburi)
  await session.db.insert(session.models.author).values({ fullName: 'Ursula' })
  await session.db.insert(session.models.book).values({ authorId: 1 })

  expect(await session.db.query.author.findMany({ with: { books: true } })).toEqual(found)
  const inside = await session.db.transaction((tx) => tx.query.author.findMany({ with: { books: true } }))
  expect(inside).toEqual(found)
  // The name that the casing makes is the one in the database.
  expect(await session.db.execute('select full_name from author')).toEqual([{ full_name: 'Ursula' }])
}

describe('on PGlite', () => {
  it('relational queries know the models, also in a transaction', () => onPostgresql('pglite:'))
})

describeNeeding('postgresql', 'on PostgreSQL', () => {
  const database = freshPostgres()

  it('relational queries know the models, also in a transaction', () =>
    onPostgresql(`postgresql://${database.dburi.replace(/^\w+:\/\//, '')}`))
})

describe('on libSQL', () => {
  let directory: string
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'dc-own-models-'))
  })
  afterAll(() => rmSync(directory, { recursive: true }))

  it('relational queries know the models, also in a transaction', async () => {
    await using manager = new SessionManager({ models: { sqlite: sqliteModels }, casing: 'snake_case' })
    await using session = await manager.sessionFactory(`file:${join(directory, 'own.db')}`)
    await session.db.insert(session.models.author).values({ fullName: 'Ursula' })
    await session.db.insert(session.models.book).values({ authorId: 1 })

    expect(await session.db.query.author.findMany({ with: { books: true } })).toEqual(found)
    const inside = await session.db.transaction((tx) => tx.query.author.findMany({ with: { books: true } }))
    expect(inside).toEqual(found)
    expect(await session.db.all('select full_name from author')).toMatchObject([{ full_name: 'Ursula' }])
  })

  it('refuses a dburi of a dialect without models, and says where to give them', async () => {
    await using manager = new SessionManager({ models: { postgresql: models } })

    await expect(manager.sessionFactory('file::memory:')).rejects.toMatchObject({
      code: 'NO_MODELS',
      message: expect.stringContaining('models: { sqlite: … }'),
    })
  })
})
