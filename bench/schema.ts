import { SessionManager } from 'drizzle-celery'
import { resultModels } from 'drizzle-celery/models/postgresql'
import { type PrepareTarget, prepareModels } from 'drizzle-celery/schema'
import { postgresqlByKit } from 'drizzle-major/kit'
import type { SQL } from 'drizzle-orm'
import {
  type AnyPgColumn,
  index,
  integer,
  PgDialect,
  pgEnum,
  pgTable,
  text,
  timestamp,
  varchar,
} from 'drizzle-orm/pg-core'
import postgres from 'postgres'
import { compare, median } from './measure.ts'
import { report } from './report.ts'

const TABLES = 200

/** What `prepareModels` costs when all is there, and what creating a large schema costs. */
export async function schema(): Promise<void> {
  const server = process.env['POSTGRES_URL']
  if (server === undefined) {
    console.log('  not measured: POSTGRES_URL is not set')
    return
  }
  const admin = postgres(server, { max: 1, onnotice() {} })
  await admin.unsafe('drop database if exists dc_bench_schema with (force)')
  await admin.unsafe('create database dc_bench_schema template template0')
  const dburi = new URL(server)
  dburi.pathname = '/dc_bench_schema'
  try {
    await whenAllIsThere(dburi.href, 'Celery’s two tables', { ...resultModels() }, 2_000, 1.2)
    await emptied(dburi.href)
    await creating(dburi.href)
    await whenAllIsThere(dburi.href, `${TABLES} tables`, shop(), 20)
  } finally {
    await admin.unsafe('drop database dc_bench_schema with (force)')
    await admin.end()
  }
}

/** Against the very query that a call sends, by the bare driver. */
async function whenAllIsThere(
  dburi: string,
  what: string,
  models: Record<string, unknown>,
  operations: number,
  most?: number,
): Promise<void> {
  await using manager = new SessionManager({ engineOptions: { poolSize: 1, maxOverflow: 0 } })
  const engine = await manager.getEngine(dburi as `postgresql://${string}`)
  await prepareModels(engine, models)

  const queries: SQL[] = []
  const recording: PrepareTarget = {
    dialect: 'postgresql',
    db: {
      execute: (query) => {
        queries.push(query)
        return engine.db.execute(query)
      },
      transaction: () => Promise.reject(new Error('Something was missing')),
    },
  }
  const { milliseconds } = await prepareModels(recording, models)
  report(`round trips when all of ${what} is there`, queries.length, '', { most: 2 })
  report('milliseconds of one such call, its first', milliseconds, 'ms')
  const [query] = queries
  if (query === undefined) throw new Error('No query was sent')

  const { sql: text, params } = new PgDialect().sqlToQuery(query)
  const bare = postgres(dburi, { max: 1, fetch_types: false, onnotice() {} })
  const values = params.map(String)
  const { ratio, baselineMicroseconds, oursMicroseconds } = await compare(
    () => bare.unsafe(text, values, { prepare: true }),
    () => prepareModels(engine, models),
    { operations },
  )
  report(`all of ${what} is there, time against the bare query, prepared`, 1 / ratio, '×', {
    ...(most !== undefined && { most }),
  })
  console.log(`  ${''.padEnd(66)} ${baselineMicroseconds.toFixed(1)} µs → ${oursMicroseconds.toFixed(1)} µs`)
  await bare.end()
}

/** Against drizzle-kit's own SQL for the same models, as one script without a look, a lock or a transaction. */
async function creating(dburi: string): Promise<void> {
  const script = (await postgresqlByKit(shop())).join('\n')
  const bare = postgres(dburi, { max: 1, fetch_types: false, onnotice() {} })
  await using manager = new SessionManager({ engineOptions: { poolSize: 1, maxOverflow: 0 } })
  const engine = await manager.getEngine(dburi as `postgresql://${string}`)

  const timed = async (work: () => PromiseLike<unknown>) => {
    await emptied(dburi)
    const startedAt = performance.now()
    await work()
    return performance.now() - startedAt
  }
  const ratios: number[] = []
  const times: { script: number[]; ours: number[] } = { script: [], ours: [] }
  for (let turn = 0; turn < 8; turn++) {
    const theirs = await timed(() => bare.unsafe(script))
    // What was read once is remembered: each turn has models of its own, as a program that starts has.
    const models = shop()
    const ours = await timed(() => prepareModels(engine, models))
    // The first turn warms both up.
    if (turn === 0) continue
    times.script.push(theirs)
    times.ours.push(ours)
    ratios.push(ours / theirs)
  }
  report(`creating ${TABLES} tables, time against drizzle-kit’s SQL as one script`, median(ratios), '×', {
    most: 1.3,
  })
  console.log(
    `  ${''.padEnd(66)} ${median(times.script).toFixed(0)} ms → ${median(times.ours).toFixed(0)} ms`,
  )
  await bare.end()
}

async function emptied(dburi: string): Promise<void> {
  const sql = postgres(dburi, { max: 1, onnotice() {} })
  await sql.unsafe('drop schema public cascade; create schema public')
  // What the dead rows of the catalogues cost is not to be charged to whoever comes next.
  await sql.unsafe('vacuum analyze')
  await sql.end()
}

/** Tables of an ordinary application: keys, an enum, a unique, an index, and a foreign key to the table before. */
function shop(): Record<string, unknown> {
  const state = pgEnum('state', ['new', 'paid', 'shipped'])
  const models: Record<string, unknown> = { state }
  let before: AnyPgColumn | undefined
  for (let at = 0; at < TABLES; at++) {
    const reference = before
    const beforeId = integer('before_id')
    const table = pgTable(
      `table_${at}`,
      {
        id: integer('id').primaryKey().generatedAlwaysAsIdentity(),
        beforeId: reference === undefined ? beforeId : beforeId.references(() => reference),
        state: state('state').notNull().default('new'),
        name: varchar('name', { length: 155 }).notNull().unique(),
        note: text('note'),
        pieces: integer('pieces').default(1),
        createdAt: timestamp('created_at').notNull().defaultNow(),
        changedAt: timestamp('changed_at'),
      },
      (columns) => [index(`ix_table_${at}_created_at`).on(columns.createdAt)],
    )
    models[`table${at}`] = table
    before = table.id
  }
  return models
}
