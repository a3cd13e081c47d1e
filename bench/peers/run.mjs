/**
 * The same four things by this package and its peers on one PostgreSQL, in turns: medians of rounds, in µs an operation.
 *
 *     npm run build && npm install --prefix bench/peers
 *     POSTGRES_URL=postgresql://postgres@127.0.0.1:5432/postgres node bench/peers/run.mjs [rounds]
 *
 * Each has five connections at most. `pg` and `postgres` are those of the project.
 */
import { EntitySchema, MikroORM } from '@mikro-orm/postgresql'
import { SessionManager } from 'drizzle-celery'
import { task } from 'drizzle-celery/models/postgresql'
import { eq, sql } from 'drizzle-orm'
import { drizzle as overPg } from 'drizzle-orm/node-postgres'
import { drizzle as overPostgres } from 'drizzle-orm/postgres-js'
import knexOf from 'knex'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import postgres from 'postgres'
import 'reflect-metadata'
import { DataSource, EntitySchema as TypeOrmSchema } from 'typeorm'

const CONNECTIONS = 5
const COLUMNS = {
  id: 'bigint',
  task_id: 'varchar',
  status: 'varchar',
  result: 'bytea',
  date_done: 'timestamp',
  traceback: 'text',
  name: 'varchar',
  args: 'bytea',
  kwargs: 'bytea',
  worker: 'varchar',
  retries: 'integer',
  queue: 'varchar',
}
const NAMES = Object.keys(COLUMNS).join(', ')
const GET = `select ${NAMES} from celery_taskmeta where task_id = $1`
const UPSERT =
  'insert into celery_taskmeta (task_id, status) values ($1, $2) on conflict (task_id) do update set status = $2'

/** What each peer does; `null` where it has no such way of its own. */
async function peersOn(dburi) {
  const manager = new SessionManager({ engineOptions: { poolSize: CONNECTIONS, maxOverflow: 0 } })
  const byPg = new SessionManager({ engineOptions: { poolSize: CONNECTIONS, maxOverflow: 0 } })
  const engine = await manager.getEngine(dburi)
  await manager.prepareModels(engine)

  const js = postgres(dburi, { max: CONNECTIONS, onnotice() {} })
  const pool = new pg.Pool({ connectionString: dburi, max: CONNECTIONS, idleTimeoutMillis: 0 })
  const kysely = new Kysely({ dialect: new PostgresDialect({ pool }) })
  const knex = knexOf({ client: 'pg', connection: dburi, pool: { min: 0, max: CONNECTIONS } })
  const mikro = await mikroOrm(dburi)
  const typeorm = await typeOrm(dburi)

  return {
    'drizzle-celery': ours(manager, dburi),
    'drizzle-celery, prepared': prepared(engine.db),
    'drizzle-celery on pg': ours(byPg, dburi.replace('postgresql:', 'postgresql+pg:')),
    'Drizzle + postgres.js': plainDrizzle(overPostgres({ client: js })),
    'Drizzle + pg': plainDrizzle(overPg({ client: pool })),
    Kysely: byKysely(kysely),
    Knex: byKnex(knex),
    MikroORM: byMikroOrm(mikro),
    TypeORM: byTypeOrm(typeorm),
    'postgres.js by hand': {
      get: (id) => js.unsafe(GET, [id], { prepare: true }),
      upsert: (id) => js.unsafe(UPSERT, [id, 'SUCCESS'], { prepare: true }),
      transaction: (id) => js.begin((tx) => tx.unsafe(UPSERT, [id, 'SUCCESS'], { prepare: true })),
    },
    'pg by hand': {
      get: (id) => pool.query({ name: 'get', text: GET, values: [id] }),
      upsert: (id) => pool.query({ name: 'upsert', text: UPSERT, values: [id, 'SUCCESS'] }),
      async transaction(id) {
        const client = await pool.connect()
        await client.query('begin')
        await client.query({ name: 'upsert', text: UPSERT, values: [id, 'SUCCESS'] })
        await client.query('commit')
        client.release()
      },
    },
    async end() {
      await Promise.all([manager.dispose(), byPg.dispose(), js.end(), pool.end(), knex.destroy()])
      await Promise.all([mikro.close(), typeorm.destroy()])
    },
  }
}

function drizzleUpsert(db, id) {
  return db
    .insert(task)
    .values({ taskId: id, status: 'SUCCESS' })
    .onConflictDoUpdate({ target: task.taskId, set: { status: 'SUCCESS' } })
}

function ours(manager, dburi) {
  const opened = manager.getEngine(dburi)
  return {
    get: async (id) => (await opened).db.select().from(task).where(eq(task.taskId, id)),
    upsert: async (id) => drizzleUpsert((await opened).db, id),
    transaction: (id) => manager.session(dburi, (db) => drizzleUpsert(db, id)),
  }
}

function prepared(db) {
  const get = db
    .select()
    .from(task)
    .where(eq(task.taskId, sql.placeholder('id')))
    .prepare('get')
  const upsert = db
    .insert(task)
    .values({ taskId: sql.placeholder('id'), status: sql.placeholder('status') })
    .onConflictDoUpdate({ target: task.taskId, set: { status: sql`${sql.placeholder('status')}` } })
    .prepare('upsert')
  return {
    get: (id) => get.execute({ id }),
    upsert: (id) => upsert.execute({ id, status: 'SUCCESS' }),
    transaction: null,
  }
}

function plainDrizzle(db) {
  return {
    get: async (id) => db.select().from(task).where(eq(task.taskId, id)),
    upsert: async (id) => drizzleUpsert(db, id),
    transaction: (id) => db.transaction((tx) => drizzleUpsert(tx, id)),
  }
}

function byKysely(db) {
  const upsert = (handle, id) =>
    handle
      .insertInto('celery_taskmeta')
      .values({ task_id: id, status: 'SUCCESS' })
      .onConflict((conflict) => conflict.column('task_id').doUpdateSet({ status: 'SUCCESS' }))
      .execute()
  return {
    get: (id) =>
      db.selectFrom('celery_taskmeta').select(Object.keys(COLUMNS)).where('task_id', '=', id).execute(),
    upsert: (id) => upsert(db, id),
    transaction: (id) => db.transaction().execute((tx) => upsert(tx, id)),
  }
}

function byKnex(db) {
  const upsert = (handle, id) =>
    handle('celery_taskmeta')
      .insert({ task_id: id, status: 'SUCCESS' })
      .onConflict('task_id')
      .merge({ status: 'SUCCESS' })
  return {
    get: async (id) => db('celery_taskmeta').select(Object.keys(COLUMNS)).where('task_id', id),
    upsert: async (id) => upsert(db, id),
    transaction: (id) => db.transaction((tx) => upsert(tx, id)),
  }
}

function mikroOrm(dburi) {
  const properties = Object.fromEntries(
    Object.entries(COLUMNS).map(([name, columnType]) => [
      name,
      { type: 'unknown', columnType, nullable: true, ...(name === 'id' && { primary: true }) },
    ]),
  )
  const entities = [new EntitySchema({ name: 'Task', tableName: 'celery_taskmeta', properties })]
  return MikroORM.init({ clientUrl: dburi, entities, pool: { max: CONNECTIONS }, debug: false })
}

function byMikroOrm(orm) {
  const upsert = (em, id) =>
    em.upsert('Task', { task_id: id, status: 'SUCCESS' }, { onConflictFields: ['task_id'] })
  return {
    get: (id) => orm.em.fork().find('Task', { task_id: id }),
    upsert: (id) => upsert(orm.em.fork(), id),
    transaction: (id) => orm.em.fork().transactional((em) => upsert(em, id)),
  }
}

function typeOrm(dburi) {
  const columns = Object.fromEntries(
    Object.entries(COLUMNS).map(([name, type]) => [
      name,
      { type, nullable: true, ...(name === 'id' && { primary: true, generated: true }) },
    ]),
  )
  const entities = [new TypeOrmSchema({ name: 'Task', tableName: 'celery_taskmeta', columns })]
  return new DataSource({ type: 'postgres', url: dburi, entities, poolSize: CONNECTIONS }).initialize()
}

function byTypeOrm(source) {
  const upsert = (manager, id) =>
    manager
      .createQueryBuilder()
      .insert()
      .into('Task')
      .values({ task_id: id, status: 'SUCCESS' })
      .orUpdate(['status'], ['task_id'])
      .updateEntity(false)
      .execute()
  return {
    get: (id) => source.manager.find('Task', { where: { task_id: id } }),
    upsert: (id) => upsert(source.manager, id),
    transaction: (id) => source.transaction((manager) => upsert(manager, id)),
  }
}

/** Microseconds of one operation, on average over a round. */
async function round(operation, operations, atOnce) {
  const worker = async () => {
    for (let done = 0; done < operations / atOnce; done++) await operation('bench')
  }
  const startedAt = performance.now()
  await Promise.all(Array.from({ length: atOnce }, worker))
  return ((performance.now() - startedAt) * 1_000) / operations
}

function median(values) {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)]
}

/** One row of the table: all peers in turns, so that they meet the same weather. */
async function row(peers, kind, { operations, atOnce = 1, rounds }) {
  const able = Object.entries(peers).filter(([, peer]) => typeof peer[kind] === 'function')
  for (const [, peer] of able) await round(peer[kind], operations, atOnce)
  const times = new Map(able.map(([name]) => [name, []]))
  for (let turn = 0; turn < rounds; turn++) {
    for (const [name, peer] of able) times.get(name).push(await round(peer[kind], operations, atOnce))
  }
  return new Map([...times].map(([name, each]) => [name, Math.round(median(each))]))
}

const server = process.env.POSTGRES_URL
if (server === undefined) throw new Error('Set POSTGRES_URL')
const rounds = Number(process.argv[2] ?? 9)
const admin = postgres(server, { max: 1, onnotice() {} })
await admin.unsafe('drop database if exists dc_peers with (force)')
await admin.unsafe('create database dc_peers template template0')
const dburi = new URL(server)
dburi.pathname = '/dc_peers'
const { end, ...peers } = await peersOn(dburi.href)
try {
  await peers['drizzle-celery'].upsert('bench')
  const rows = {
    get: await row(peers, 'get', { operations: 3_000, rounds }),
    upsert: await row(peers, 'upsert', { operations: 1_500, rounds }),
    'transaction with one upsert': await row(peers, 'transaction', { operations: 1_500, rounds }),
    'get, 64 at once, 5 connections': await row(peers, 'get', { operations: 6_400, atOnce: 64, rounds }),
  }
  const names = Object.keys(peers)
  console.log(`| | ${names.join(' | ')} |\n|---|${names.map(() => '---').join('|')}|`)
  for (const [what, times] of Object.entries(rows)) {
    console.log(`| ${what} | ${names.map((name) => times.get(name) ?? '–').join(' | ')} |`)
  }
} finally {
  await end()
  await admin.unsafe('drop database dc_peers with (force)')
  await admin.end()
}
