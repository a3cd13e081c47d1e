import { sql } from 'drizzle-orm'
import { textOf } from '../../causes.ts'
import { SchemaError } from '../../errors.ts'
import type { LockedSchema } from '../database-schema.ts'
import { type Asks, rowsOf, type SqliteHandle, type SqliteTarget } from './target.ts'

/** Rebuilding a table begins by emptying it, which takes along the rows that refer to it, or is refused. */
export async function onConnectionWithoutForeignKeys<Result>(
  target: SqliteTarget,
  work: (db: SqliteHandle) => Promise<Result>,
): Promise<Result> {
  const connect = target.connect?.bind(target)
  if (connect === undefined) throw foreignKeysStay('this handle has no connect()')
  await using connection = await connect()
  const { db } = connection
  const before = await foreignKeys(db)
  await db.run(sql`pragma foreign_keys = off`)
  if ((await foreignKeys(db)) !== '0') throw foreignKeysStay('this database does not let them be turned off')
  try {
    return await work(db)
  } finally {
    await db.run(sql.raw(`pragma foreign_keys = ${before}`))
  }
}

async function foreignKeys(db: Asks): Promise<string> {
  const [row] = await rowsOf(db, sql`select cast(foreign_keys as text) as "state" from pragma_foreign_keys`)
  return textOf(row, 'state') ?? ''
}

/** Refuses to leave more rows that refer to nothing than there were. */
export async function keepingReferences<Result>(
  schema: LockedSchema,
  work: (schema: LockedSchema) => Promise<Result>,
): Promise<Result> {
  const query = sql`select "table" from pragma_foreign_key_check`
  const before = (await schema.rows(query)).length
  const result = await work(schema)
  const broken = await schema.rows(query)
  if (broken.length <= before) return result
  const tables = new Set(broken.map((row) => textOf(row, 'table')))
  throw new SchemaError(
    'SCHEMA_MIGRATIONS',
    `Cannot run the migrations: rows of ${[...tables].join(', ')} would refer to rows that are gone. Nothing was changed.`,
  )
}

function foreignKeysStay(reason: string): SchemaError {
  return new SchemaError(
    'SCHEMA_MIGRATIONS',
    `Cannot run migrations that rebuild tables: they want foreign keys turned off, and ${reason}. ` +
      'Use drizzle-kit migrate for this database.',
  )
}
