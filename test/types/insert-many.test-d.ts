/** Rows are those of the table; `insert` is given the transaction of the handle. */
import { insertMany, SessionManager } from 'drizzle-celery'
import { int, mysqlTable } from 'drizzle-orm/mysql-core'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { integer as sqliteInteger, sqliteTable } from 'drizzle-orm/sqlite-core'

const city = pgTable('city', { id: integer().primaryKey(), name: text() })
const town = mysqlTable('town', { id: int().primaryKey() })
const place = sqliteTable('place', { id: sqliteInteger().primaryKey() })
const manager = new SessionManager()

export async function inserts(): Promise<void> {
  const { db } = await manager.getEngine('postgresql://h/db')
  const count: number = await insertMany(db, city, [{ id: 1, name: 'Ulm' }], {
    insert: (tx, rows) => tx.insert(city).values(rows).onConflictDoNothing({ target: city.id }),
  })
  await manager.session('mysql://h/db', async (db) => {
    await insertMany(db, town, rowsOf(count), {
      insert: (tx, rows) =>
        tx
          .insert(town)
          .values(rows)
          .onDuplicateKeyUpdate({ set: { id: 1 } }),
    })
    await db.transaction((tx) => insertMany(tx, town, [{ id: 1 }]))
  })
  await manager.session('file:x.db', (db) => insertMany(db, place, new Set([{ id: 1 }])))
  // @ts-expect-error: there is no such column
  await insertMany(db, city, [{ id: 1, nam: 'Ulm' }])
  // @ts-expect-error: it is wanted
  await insertMany(db, city, [{ name: 'Ulm' }])
}

async function* rowsOf(count: number) {
  for (let id = 0; id < count; id++) yield { id }
}
