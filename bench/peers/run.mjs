/**
 * The same four things by this package and its peers on one PostgreSQL, in turns: medians of rounds, in µs an operation.
 *
 *     npm run build && npm install --prefix bench/peers
 *     POSTGRES_URL=postgresql://postgres@127.0.0.1:5432/postgres node bench/peers/run.mjs [rounds]
 *
 * Each has a process of its own, as it has in an application: in one, those that share Drizzle's code or `pg` would leave it
 * compiled for one another's shapes. A round takes about a second or more: a process that waited for the others first compiles
 * anew. Each has five connections at most. `pg` and `postgres` are those of the project.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
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
/** Milliseconds that a connection is kept while other peers have their turns. */
const IDLE = 600_000
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

/** How each peer is opened: what it does by kind, `null` where it has no such way of its own, and how it ends. */
const PEERS = {
  'drizzle-celery': (dburi) => ours(dburi),
  'drizzle-celery, prepared': (dburi) => prepared(dburi),
  'drizzle-celery on pg': (dburi) => ours(dburi.replace('postgresql:', 'postgresql+pg:')),
  'Drizzle + postgres.js': (dburi) => {
    const client = postgresJs(dburi)
    return { ...plainDrizzle(overPostgres({ client })), end: () => client.end() }
  },
  'Drizzle + pg': (dburi) => {
    const client = pgPool(dburi)
    return { ...plainDrizzle(overPg({ client })), end: () => client.end() }
  },
  Kysely: byKysely,
  Knex: byKnex,
  MikroORM: byMikroOrm,
  TypeORM: byTypeOrm,
  'postgres.js by hand': postgresJsByHand,
  'pg by hand': pgByHand,
}

function postgresJs(dburi) {
  return postgres(dburi, { max: CONNECTIONS, onnotice() {} })
}

function pgPool(dburi) {
  return new pg.Pool({ connectionString: dburi, max: CONNECTIONS, idleTimeoutMillis: IDLE })
}

function drizzleUpsert(db, id) {
  return db
    .insert(task)
    .values({ taskId: id, status: 'SUCCESS' })
    .onConflictDoUpdate({ target: task.taskId, set: { status: 'SUCCESS' } })
}

function sessionManager() {
  return new SessionManager({ engineOptions: { poolSize: CONNECTIONS, maxOverflow: 0 } })
}

async function ours(dburi) {
  const manager = sessionManager()
  const { db } = await manager.getEngine(dburi)
  return {
    get: async (id) => db.select().from(task).where(eq(task.taskId, id)),
    upsert: async (id) => drizzleUpsert(db, id),
    transaction: (id) => manager.session(dburi, (tx) => drizzleUpsert(tx, id)),
    end: () => manager.dispose(),
  }
}

async function prepared(dburi) {
  const manager = sessionManager()
  const { db } = await manager.getEngine(dburi)
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
    end: () => manager.dispose(),
  }
}

function plainDrizzle(db) {
  return {
    get: async (id) => db.select().from(task).where(eq(task.taskId, id)),
    upsert: async (id) => drizzleUpsert(db, id),
    transaction: (id) => db.transaction((tx) => drizzleUpsert(tx, id)),
  }
}

function byKysely(dburi) {
  const db = new Kysely({ dialect: new PostgresDialect({ pool: pgPool(dburi) }) })
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
    end: () => db.destroy(),
  }
}

function byKnex(dburi) {
  const db = knexOf({
    client: 'pg',
    connection: dburi,
    pool: { min: 0, max: CONNECTIONS, idleTimeoutMillis: IDLE },
  })
  const upsert = (handle, id) =>
    handle('celery_taskmeta')
      .insert({ task_id: id, status: 'SUCCESS' })
      .onConflict('task_id')
      .merge({ status: 'SUCCESS' })
  return {
    get: async (id) => db('celery_taskmeta').select(Object.keys(COLUMNS)).where('task_id', id),
    upsert: async (id) => upsert(db, id),
    transaction: (id) => db.transaction((tx) => upsert(tx, id)),
    end: () => db.destroy(),
  }
}

async function byMikroOrm(dburi) {
  const properties = Object.fromEntries(
    Object.entries(COLUMNS).map(([name, columnType]) => [
      name,
      { type: 'unknown', columnType, nullable: true, ...(name === 'id' && { primary: true }) },
    ]),
  )
  const entities = [new EntitySchema({ name: 'Task', tableName: 'celery_taskmeta', properties })]
  const orm = await MikroORM.init({
    clientUrl: dburi,
    entities,
    pool: { max: CONNECTIONS, idleTimeoutMillis: IDLE },
    debug: false,
  })
  const upsert = (em, id) =>
    em.upsert('Task', { task_id: id, status: 'SUCCESS' }, { onConflictFields: ['task_id'] })
  return {
    get: (id) => orm.em.fork().find('Task', { task_id: id }),
    upsert: (id) => upsert(orm.em.fork(), id),
    transaction: (id) => orm.em.fork().transactional((em) => upsert(em, id)),
    end: () => orm.close(),
  }
}

async function byTypeOrm(dburi) {
  const columns = Object.fromEntries(
    Object.entries(COLUMNS).map(([name, type]) => [
      name,
      { type, nullable: true, ...(name === 'id' && { primary: true, generated: true }) },
    ]),
  )
  const entities = [new TypeOrmSchema({ name: 'Task', tableName: 'celery_taskmeta', columns })]
  const extra = { idleTimeoutMillis: IDLE }
  const source = new DataSource({ type: 'postgres', url: dburi, entities, poolSize: CONNECTIONS, extra })
  await source.initialize()
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
    end: () => source.destroy(),
  }
}

function postgresJsByHand(dburi) {
  const client = postgresJs(dburi)
  return {
    get: (id) => client.unsafe(GET, [id], { prepare: true }),
    upsert: (id) => client.unsafe(UPSERT, [id, 'SUCCESS'], { prepare: true }),
    transaction: (id) => client.begin((tx) => tx.unsafe(UPSERT, [id, 'SUCCESS'], { prepare: true })),
    end: () => client.end(),
  }
}

function pgByHand(dburi) {
  const pool = pgPool(dburi)
  return {
    get: (id) => pool.query({ name: 'get', text: GET, values: [id] }),
    upsert: (id) => pool.query({ name: 'upsert', text: UPSERT, values: [id, 'SUCCESS'] }),
    async transaction(id) {
      const client = await pool.connect()
      await client.query('begin')
      await client.query({ name: 'upsert', text: UPSERT, values: [id, 'SUCCESS'] })
      await client.query('commit')
      client.release()
    },
    end: () => pool.end(),
  }
}

/** Microseconds of one operation, on average over a round. */
async function round(operation, { operations, atOnce = 1 }) {
  const worker = async () => {
    for (let done = 0; done < operations / atOnce; done++) await operation('bench')
  }
  const startedAt = performance.now()
  await Promise.all(Array.from({ length: atOnce }, worker))
  return ((performance.now() - startedAt) * 1_000) / operations
}

/** The process of one peer: a round for each message, until the other side hangs up. */
async function serve(open, dburi) {
  const peer = await open(dburi)
  process.on('message', async ({ kind, ...size }) => {
    process.send(typeof peer[kind] === 'function' ? await round(peer[kind], size) : null)
  })
  process.once('disconnect', peer.end)
}

function start(name, dburi) {
  const child = fork(fileURLToPath(import.meta.url), [name, dburi])
  const ended = once(child, 'exit').then(() => {
    throw new Error(`The process of ${name} has ended`)
  })
  ended.catch(() => {})
  return { child, ended }
}

/** Asks a peer's process for one round; `null` where it has no such way of its own. */
async function measured({ child, ended }, asked) {
  child.send(asked)
  const [answer] = await Promise.race([once(child, 'message'), ended])
  return answer
}

function median(values) {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)]
}

/** One row of the table: all peers in turns, so that they meet the same weather. */
async function row(processes, rounds, asked) {
  const times = new Map()
  for (const [name, one] of processes) if ((await measured(one, asked)) !== null) times.set(name, [])
  for (let turn = 0; turn < rounds; turn++) {
    for (const [name, each] of times) each.push(await measured(processes.get(name), asked))
  }
  return new Map([...times].map(([name, each]) => [name, Math.round(median(each))]))
}

/** Makes a database with Celery's tables and one task, measures all peers in it, and prints the table. */
async function compare(server, rounds) {
  const admin = postgres(server, { max: 1, onnotice() {} })
  await admin.unsafe('drop database if exists dc_peers with (force)')
  await admin.unsafe('create database dc_peers template template0')
  const dburi = new URL(server)
  dburi.pathname = '/dc_peers'
  const manager = sessionManager()
  const engine = await manager.getEngine(dburi.href)
  await manager.prepareModels(engine)
  await drizzleUpsert(engine.db, 'bench')

  const names = Object.keys(PEERS)
  const processes = new Map(names.map((name) => [name, start(name, dburi.href)]))
  try {
    const rows = {
      get: await row(processes, rounds, { kind: 'get', operations: 6_000 }),
      upsert: await row(processes, rounds, { kind: 'upsert', operations: 4_000 }),
      'transaction with one upsert': await row(processes, rounds, { kind: 'transaction', operations: 4_000 }),
      'get, 64 at once, 5 connections': await row(processes, rounds, {
        kind: 'get',
        operations: 12_800,
        atOnce: 64,
      }),
    }
    console.log(`| | ${names.join(' | ')} |\n|---|${names.map(() => '---').join('|')}|`)
    for (const [what, times] of Object.entries(rows)) {
      console.log(`| ${what} | ${names.map((name) => times.get(name) ?? '–').join(' | ')} |`)
    }
  } finally {
    await Promise.all(
      [...processes.values()].map(({ child, ended }) => {
        if (child.connected) child.disconnect()
        return ended.catch(() => {})
      }),
    )
    await manager.dispose()
    await admin.unsafe('drop database dc_peers with (force)')
    await admin.end()
  }
}

if (process.send !== undefined) {
  const [name, dburi] = process.argv.slice(2)
  await serve(PEERS[name], dburi)
} else {
  const server = process.env.POSTGRES_URL
  if (server === undefined) throw new Error('Set POSTGRES_URL')
  await compare(server, Number(process.argv[2] ?? 5))
}
