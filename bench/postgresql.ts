import { SessionManager } from 'drizzle-celery'
import { task } from 'drizzle-celery/models/postgresql'
import { eq, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/postgres-js'
import pg from 'pg'
import postgres from 'postgres'
import { compare, inSession, median } from './measure.ts'
import { reportRatio } from './report.ts'

const SELECT =
  'select "id", "task_id", "status", "result", "date_done", "traceback", "name", "args", "kwargs", "worker", ' +
  '"retries", "queue" from "celery_taskmeta" where "celery_taskmeta"."task_id" = $1'
export async function postgresql(): Promise<void> {
  const server = process.env['POSTGRES_URL']
  if (server === undefined) {
    console.log('  not measured: POSTGRES_URL is not set')
    return
  }
  const admin = postgres(server, { max: 1, onnotice() {} })
  await admin.unsafe('drop database if exists dc_bench with (force)')
  await admin.unsafe('create database dc_bench template template0')
  const dburi = new URL(server)
  dburi.pathname = '/dc_bench'
  try {
    await onOneConnection(dburi.href)
    await againstPlainDrizzle(dburi.href)
    await behindASlowOne(dburi.href)
    await byPg(dburi.href)
  } finally {
    await admin.unsafe('drop database dc_bench with (force)')
    await admin.end()
  }
}

/** Bare driver and engine with the same number of connections. */
async function onOneConnection(dburi: string): Promise<void> {
  for (const connections of [1, 5]) {
    const bare = postgres(dburi, { max: connections, fetch_types: false, onnotice() {} })
    await using manager = new SessionManager({ engineOptions: { poolSize: connections, maxOverflow: 0 } })
    const engine = await manager.getEngine(dburi as `postgresql://${string}`)
    await manager.prepareModels(engine)
    await engine.db.insert(task).values({ taskId: 'bench', status: 'SUCCESS' }).onConflictDoNothing()

    const select = engine.db
      .select()
      .from(task)
      .where(eq(task.taskId, sql.placeholder('taskId')))
      .prepare('bench_select')
    const upsert = engine.db
      .insert(task)
      .values({ taskId: sql.placeholder('taskId'), status: sql.placeholder('status') })
      .onConflictDoUpdate({ target: task.taskId, set: { status: sql`${sql.placeholder('again')}` } })
      .prepare('bench_upsert')
    // It sends nothing behind a running statement either.
    const pool = new pg.Pool({ connectionString: dburi, max: connections, idleTimeoutMillis: 0 })
    const pooledSelect = () =>
      pool.query({ name: 'bench', text: SELECT, values: ['bench'], rowMode: 'array' })
    const bareSelect = () => bare.unsafe(SELECT, ['bench'], { prepare: true })
    // The very statement that Drizzle makes.
    const { sql: text, params } = engine.db
      .insert(task)
      .values({ taskId: 'bench', status: 'SUCCESS' })
      .onConflictDoUpdate({ target: task.taskId, set: { status: 'SUCCESS' } })
      .toSQL()
    const bareUpsert = () => bare.unsafe(text, params.map(String), { prepare: true })
    const ourSelect = () => select.execute({ taskId: 'bench' })
    const ourUpsert = () => upsert.execute({ taskId: 'bench', status: 'SUCCESS', again: 'SUCCESS' })

    const over = connections === 1 ? 'one connection' : `${connections} connections`
    if (connections === 1) {
      reportRatio(
        'prepared select, one at a time, one connection',
        await compare(bareSelect, ourSelect, { operations: 3_000 }),
        0.9,
      )
      reportRatio(
        'prepared upsert, one at a time, one connection',
        await compare(bareUpsert, ourUpsert, { operations: 500 }),
        0.9,
      )
      const bareTransaction = async () => {
        await bare.unsafe('begin')
        await bareUpsert()
        await bare.unsafe('commit')
      }
      const open = () => manager.sessionFactory(dburi as `postgresql://${string}`)
      const built = inSession(open, (db) =>
        db
          .insert(task)
          .values({ taskId: 'bench', status: 'SUCCESS' })
          .onConflictDoUpdate({ target: task.taskId, set: { status: 'SUCCESS' } }),
      )
      const written = inSession(open, (db) =>
        db.execute(
          sql`insert into celery_taskmeta (task_id, status) values (${'bench'}, ${'SUCCESS'})
            on conflict (task_id) do update set status = ${'SUCCESS'}`,
        ),
      )
      reportRatio(
        'session with one upsert and commit, against BEGIN, upsert, COMMIT',
        await compare(bareTransaction, built, { operations: 1_500 }),
        0.85,
      )
      const builtByHand = async () => {
        await bare.unsafe('begin')
        const { sql: built, params: values } = engine.db
          .insert(task)
          .values({ taskId: 'bench', status: 'SUCCESS' })
          .onConflictDoUpdate({ target: task.taskId, set: { status: 'SUCCESS' } })
          .toSQL()
        await bare.unsafe(built, values.map(String), { prepare: true })
        await bare.unsafe('commit')
      }
      reportRatio(
        'the bare driver, with Drizzle building the upsert: what can be reached',
        await compare(bareTransaction, builtByHand, { operations: 1_500 }),
      )
      reportRatio(
        'session with one upsert and commit, against that',
        await compare(builtByHand, built, { operations: 1_500 }),
      )
      reportRatio(
        'the same upsert as sql`…`, without the time Drizzle takes to build it',
        await compare(bareTransaction, written, { operations: 1_500 }),
        0.85,
      )
    }
    reportRatio(
      `prepared select, 64 at once, ${over}`,
      await compare(bareSelect, ourSelect, { operations: 6_400, atOnce: 64 }),
      0.85,
    )
    reportRatio(
      `the same of node-postgres' Pool, without Drizzle, ${over}`,
      await compare(bareSelect, pooledSelect, { operations: 6_400, atOnce: 64 }),
    )
    reportRatio(
      `prepared select, 64 at once, ${over}, against node-postgres' Pool`,
      await compare(pooledSelect, ourSelect, { operations: 6_400, atOnce: 64 }),
    )
    reportRatio(
      `prepared upsert, 64 at once, ${over}`,
      await compare(bareUpsert, ourUpsert, { operations: 1_280, atOnce: 64 }),
      0.85,
    )
    await pool.end()
    await bare.end()
  }
}

/** An ordinary, unprepared select, as most people write it. */
async function againstPlainDrizzle(dburi: string): Promise<void> {
  for (const connections of [1, 5]) {
    const client = postgres(dburi, { max: connections, onnotice() {} })
    const plain = drizzle({ client })
    await using manager = new SessionManager({ engineOptions: { poolSize: connections, maxOverflow: 0 } })
    const engine = await manager.getEngine(dburi as `postgresql://${string}`)
    const plainSelect = async () => plain.select().from(task).where(eq(task.taskId, 'bench'))
    const ourSelect = async () => engine.db.select().from(task).where(eq(task.taskId, 'bench'))

    const over = connections === 1 ? 'one connection' : `${connections} connections`
    reportRatio(
      `ordinary select, one at a time, ${over}, against plain Drizzle`,
      await compare(plainSelect, ourSelect, { operations: 2_000 }),
      1.7,
    )
    reportRatio(
      `ordinary select, 64 at once, ${over}, against plain Drizzle`,
      await compare(plainSelect, ourSelect, { operations: 3_200, atOnce: 64 }),
      4,
    )
    await client.end()
  }
}

/** Quick statements behind one that takes a second: how long until the last of them is answered. */
async function behindASlowOne(dburi: string): Promise<void> {
  const pool = new pg.Pool({ connectionString: dburi, max: 5, idleTimeoutMillis: 0 })
  await using manager = new SessionManager({ engineOptions: { poolSize: 5, maxOverflow: 0 } })
  const { db } = await manager.getEngine(dburi as `postgresql://${string}`)
  for (const atOnce of [64, 1_000]) {
    const microseconds = async (run: (text: string) => Promise<unknown>) => {
      const slow = run('select pg_sleep(1)')
      const startedAt = performance.now()
      await Promise.all(Array.from({ length: atOnce }, () => run('select 1')))
      const each = ((performance.now() - startedAt) * 1_000) / atOnce
      await slow
      return each
    }
    const rounds: { theirs: number; ours: number }[] = []
    for (let turn = 0; turn < 6; turn++) {
      const theirs = await microseconds((text) => pool.query(text))
      rounds.push({ theirs, ours: await microseconds((text) => db.execute(sql.raw(text))) })
    }
    // The first one opens the connections.
    rounds.shift()
    reportRatio(`${atOnce} statements at once behind a slow one, against node-postgres' Pool`, {
      ratio: median(rounds.map((each) => each.theirs / each.ours)),
      baselineMicroseconds: median(rounds.map((each) => each.theirs)),
      oursMicroseconds: median(rounds.map((each) => each.ours)),
    })
  }
  await pool.end()
}

/** The adapter for pg against the one for postgres.js. */
async function byPg(dburi: string): Promise<void> {
  await using manager = new SessionManager({ engineOptions: { poolSize: 1, maxOverflow: 0 } })
  const theirs = dburi as `postgresql://${string}`
  const ours = dburi.replace(/^postgres(?:ql)?:/, 'postgresql+pg:') as `postgresql+pg://${string}`
  const { db: postgresJs } = await manager.getEngine(theirs)
  const { db } = await manager.getEngine(ours)
  const byId = eq(task.taskId, 'bench')
  const row = { taskId: 'bench', status: 'SUCCESS' }
  const onConflict = { target: task.taskId, set: { status: 'SUCCESS' } }

  reportRatio(
    'pg against postgres.js: select, one at a time',
    await compare(
      () => postgresJs.select().from(task).where(byId),
      () => db.select().from(task).where(byId),
      { operations: 2_000 },
    ),
  )
  reportRatio(
    'pg against postgres.js: upsert, one at a time',
    await compare(
      () => postgresJs.insert(task).values(row).onConflictDoUpdate(onConflict),
      () => db.insert(task).values(row).onConflictDoUpdate(onConflict),
      { operations: 500 },
    ),
  )
  reportRatio(
    'pg against postgres.js: transaction of one upsert',
    await compare(
      () => postgresJs.transaction((tx) => tx.insert(task).values(row).onConflictDoUpdate(onConflict)),
      () => db.transaction((tx) => tx.insert(task).values(row).onConflictDoUpdate(onConflict)),
      { operations: 500 },
    ),
  )
}
