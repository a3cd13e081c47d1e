import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SessionManager } from 'drizzle-celery'
import { copyDatabase } from 'drizzle-celery/testing'
import { pgTable, text } from 'drizzle-orm/pg-core'
import { sqliteTable, text as sqliteText } from 'drizzle-orm/sqlite-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { askPostgres } from '../fixtures/catalogue.ts'
import { createPostgres, describePostgres } from '../fixtures/servers.ts'

const models = {
  postgresql: { city: pgTable('city', { name: text().primaryKey() }) },
  sqlite: { city: sqliteTable('city', { name: sqliteText().primaryKey() }) },
}

async function add(dburi: string, name: string): Promise<string[]> {
  await using manager = new SessionManager({ models })
  return await manager.session(dburi, async (_, session) => {
    if (session.dialect === 'sqlite') {
      const { db, models } = session
      await db.insert(models.city).values({ name })
      return (await db.select().from(models.city)).map((row) => row.name)
    }
    const { db, models } = session
    await db.insert(models.city).values({ name })
    return (await db.select().from(models.city)).map((row) => row.name)
  })
}

async function copies(dburi: string): Promise<void> {
  await add(dburi, 'prepared')
  const [one, other] = [await copyDatabase(dburi), await copyDatabase(dburi)]
  expect(new Set([dburi, one.dburi, other.dburi]).size).toBe(3)
  expect((await add(one.dburi, 'one')).sort()).toEqual(['one', 'prepared'])
  expect((await add(other.dburi, 'other')).sort()).toEqual(['other', 'prepared'])
  await one.drop()
  await one.drop()
  await other.drop()
  expect((await add(dburi, 'still')).sort()).toEqual(['prepared', 'still'])
}

describe('copies', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'copies '))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  it.each(['db.sqlite?timeout=3', 'no-ending'])(
    'of a file have what it has, and leave nothing behind (%s)',
    async (file) => {
      await copies(`file:${join(folder, file)}`)
      const [name = ''] = file.split('?')
      expect(readdirSync(folder).filter((each) => each.startsWith(name.slice(0, 2)))).toEqual([name])
    },
  )

  it('of a directory of PGlite have what it has, and leave nothing behind', {
    tags: 'full',
    timeout: 60_000,
  }, async () => {
    const directory = join(folder, 'pglite')
    await copies(`pglite:${directory}`)
    expect(existsSync(directory)).toBe(true)
    expect(readdirSync(folder).filter((each) => each.startsWith('pglite'))).toEqual(['pglite'])
  })

  it.each([':memory:', 'pglite:', 'mysql://127.0.0.1/test', 'libsql://127.0.0.1'])(
    'are refused by name (%s)',
    async (dburi) => {
      await expect(copyDatabase(dburi)).rejects.toMatchObject({ code: 'NOT_COPIED' })
    },
  )
})

describePostgres('PostgreSQL', () => {
  it('copies a database by its template', async () => {
    await using database = await createPostgres()
    await copies(database.dburi)
  })

  it('copies one of whose name the copies can have a part only', async () => {
    await using database = await createPostgres()
    const name = `${'ä'.repeat(25)}_${randomBytes(6).toString('hex')}`
    await askPostgres(database.dburi, `create database "${name}"`)
    try {
      await copies(database.dburi.replace(database.name, encodeURIComponent(name)))
    } finally {
      await askPostgres(database.dburi, `drop database "${name}" with (force)`)
    }
  })
})
