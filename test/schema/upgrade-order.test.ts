/** What an upgrade adds may rest on what it adds or creates besides; what cannot be added holds up nothing else. */
import { SessionManager } from 'drizzle-celery'
import { prepareModels } from 'drizzle-celery/schema'
import { eq, sql } from 'drizzle-orm'
import * as pg from 'drizzle-orm/pg-core'
import * as sqlite from 'drizzle-orm/sqlite-core'
import { expect, it } from 'vitest'

const before = pg.pgTable('tab', { id: pg.integer().primaryKey() })
const tab = pg.pgTable(
  'tab',
  {
    id: pg.integer().primaryKey(),
    doubled: pg.integer().generatedAlwaysAs(() => sql`base * 2`),
    base: pg.integer().default(1),
    extra: pg.text(),
    code: pg.integer().unique(),
    later: pg.integer().references((): pg.AnyPgColumn => late.code),
    must: pg.text().notNull(),
  },
  (columns) => [pg.index('tab_must').on(columns.must), pg.index('tab_extra').on(columns.extra)],
)
const late = pg.pgTable('zlate', { id: pg.integer().primaryKey(), code: pg.integer().unique() })
const lateBefore = pg.pgTable('zlate', { id: pg.integer().primaryKey() })
const referring = pg.pgTable('referring', { code: pg.integer().references(() => tab.code) })
const seen = pg
  .pgView('seen')
  .as((query) => query.select({ extra: tab.extra }).from(tab).where(eq(tab.id, 1)))

it('on PostgreSQL', { tags: 'full' }, async () => {
  await using manager = new SessionManager({ models: { postgresql: { before, lateBefore } } })
  const engine = await manager.getEngine('pglite:')
  await manager.prepareModels(engine)
  await engine.db.execute('insert into tab values (1)')
  const target = { dialect: 'postgresql', db: engine.db } as const
  const models = { tab, late, referring, seen }

  const report = await prepareModels(target, models, { prepare: 'upgrade' })
  const again = await prepareModels(target, models, { prepare: 'upgrade' })

  expect(report.created).toEqual(['referring', 'seen'])
  expect(report.added.sort()).toEqual(
    ['tab.base', 'tab.code', 'tab.doubled', 'tab.extra', 'tab.later', 'tab_extra', 'zlate.code'].sort(),
  )
  const left = [
    { kind: 'missing column', table: 'tab', column: 'must', expected: 'text' },
    { kind: 'missing index', table: 'tab', index: 'tab_must' },
  ]
  expect(report.differences).toEqual(left)
  expect(again).toMatchObject({ created: [], added: [], differences: left })
  expect(await engine.db.execute('select base, doubled from tab')).toEqual([{ base: 1, doubled: 2 }])
  await expect(engine.db.execute('insert into referring values (7)')).rejects.toThrow()
  await expect(engine.db.execute('update tab set later = 7')).rejects.toThrow()
})

it('on SQLite', async () => {
  const old = sqlite.sqliteTable('tab', { id: sqlite.integer().primaryKey() })
  const young = sqlite.sqliteTable(
    'tab',
    {
      id: sqlite.integer().primaryKey(),
      doubled: sqlite.integer().generatedAlwaysAs(() => sql`base * 2`, { mode: 'virtual' }),
      base: sqlite.integer().default(1),
      made: sqlite.integer().notNull().default(sql`(unixepoch())`),
    },
    (columns) => [sqlite.index('tab_made').on(columns.made), sqlite.index('tab_base').on(columns.base)],
  )
  const view = sqlite.sqliteView('seen').as((query) => query.select({ base: young.base }).from(young))
  await using manager = new SessionManager({ models: { sqlite: { old } } })
  const engine = await manager.getEngine(':memory:')
  await manager.prepareModels(engine)
  await engine.db.run(sql`insert into tab values (1)`)

  const report = await prepareModels(engine, { young, view }, { prepare: 'upgrade' })

  expect(report).toMatchObject({
    created: ['seen'],
    differences: [{ column: 'made' }, { index: 'tab_made' }],
  })
  expect(report.added.sort()).toEqual(['tab.base', 'tab.doubled', 'tab_base'])
  expect(await engine.db.all(sql`select base, doubled from tab`)).toMatchObject([{ base: 1, doubled: 2 }])
})
