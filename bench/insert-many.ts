import { insertMany, SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import * as my from 'drizzle-orm/mysql-core'
import * as pg from 'drizzle-orm/pg-core'
import * as sqlite from 'drizzle-orm/sqlite-core'
import { compare, type Operation } from './measure.ts'
import { reportRatio } from './report.ts'

const ROWS = 1_000
const models = {
  mysql: { line: my.mysqlTable('dc_bench_line', { n: my.int(), text: my.text() }) },
  postgresql: { line: pg.pgTable('dc_bench_line', { n: pg.integer(), text: pg.text() }) },
  sqlite: { line: sqlite.sqliteTable('dc_bench_line', { n: sqlite.integer(), text: sqlite.text() }) },
}

/** `insertMany` of many rows, against a loop that inserts them one by one, each in one transaction. */
export async function insertingMany(): Promise<void> {
  const rows = Array.from({ length: ROWS }, (_, n) => ({ n, text: `row number ${n}` }))
  await using manager = new SessionManager({ models })
  for (const dburi of [':memory:', 'pglite:', process.env['POSTGRES_URL'], process.env['MYSQL_URL']]) {
    if (dburi === undefined) continue
    const engine = await manager.getEngine(dburi)
    await manager.prepareModels(engine)
    const against = async (loop: Operation, many: Operation) =>
      reportRatio(
        `insertMany of ${ROWS} rows, against a loop, ${dburi.split(':')[0] || 'sqlite'}`,
        await compare(loop, many, { operations: 1, rounds: 5 }),
        2,
      )
    if (engine.dialect === 'sqlite') {
      const { db } = engine
      const { line } = models.sqlite
      const loop = () =>
        db.transaction(async (tx) => {
          for (const row of rows) await tx.insert(line).values(row)
        })
      await against(loop, () => insertMany(db, line, rows))
      continue
    }
    if (engine.dialect === 'mysql') {
      const { db } = engine
      const { line } = models.mysql
      const loop = () =>
        db.transaction(async (tx) => {
          for (const row of rows) await tx.insert(line).values(row)
        })
      await against(loop, () => insertMany(db, line, rows))
      await db.execute(sql`drop table ${line}`)
      continue
    }
    const { db } = engine
    const { line } = models.postgresql
    const loop = () =>
      db.transaction(async (tx) => {
        for (const row of rows) await tx.insert(line).values(row)
      })
    await against(loop, () => insertMany(db, line, rows))
    await db.execute(sql`drop table ${line}`)
  }
}
