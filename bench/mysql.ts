import { SessionManager } from 'drizzle-celery'
import { task } from 'drizzle-celery/models/mysql'
import { eq, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/mysql2'
import { createConnection, createPool, type Pool } from 'mysql2/promise'
import { compare, inSession } from './measure.ts'
import { reportRatio } from './report.ts'

/** Against mysql2's own prepared statements, and against plain Drizzle, which sends values inside SQL text. */
export async function mysql(): Promise<void> {
  const server = process.env['MYSQL_URL']
  if (server === undefined) {
    console.log('  not measured: MYSQL_URL is not set')
    return
  }
  const admin = await createConnection(server)
  await admin.query('drop database if exists dc_bench')
  await admin.query('create database dc_bench character set utf8mb4')
  const dburi = new URL(server)
  dburi.pathname = '/dc_bench'
  try {
    for (const connections of [1, 5]) await measure(dburi.href, connections)
  } finally {
    await admin.query('drop database dc_bench')
    await admin.end()
  }
}

async function measure(dburi: string, connections: number): Promise<void> {
  const opened: `mysql://${string}` = `mysql://${dburi.replace(/^\w+:\/\//, '')}`
  const bare = createPool({ uri: dburi, connectionLimit: connections, dateStrings: true })
  await using manager = new SessionManager({ engineOptions: { poolSize: connections, maxOverflow: 0 } })
  const engine = await manager.getEngine(opened)
  await manager.prepareModels(engine)
  await engine.db
    .insert(task)
    .values({ taskId: 'bench' })
    .onDuplicateKeyUpdate({ set: { taskId: 'bench' } })

  const select = engine.db
    .select()
    .from(task)
    .where(eq(task.taskId, sql.placeholder('taskId')))
    .prepare()
  const { sql: selectText } = engine.db.select().from(task).where(eq(task.taskId, 'bench')).toSQL()
  const { sql: updateText } = engine.db
    .update(task)
    .set({ status: 'S' })
    .where(eq(task.taskId, 'bench'))
    .toSQL()
  const update = engine.db
    .update(task)
    .set({ status: sql`${sql.placeholder('status')}` })
    .where(eq(task.taskId, sql.placeholder('taskId')))
    .prepare()
  const theirs = {
    select: () => bare.execute({ sql: selectText, rowsAsArray: true }, ['bench']),
    update: () => bare.execute(updateText, ['SUCCESS', 'bench']),
    transaction: () => transaction(bare, updateText),
  }
  const open = () => manager.sessionFactory(opened)
  const ours = {
    select: () => select.execute({ taskId: 'bench' }),
    update: () => update.execute({ status: 'SUCCESS', taskId: 'bench' }),
    built: inSession(open, (db) =>
      db.update(task).set({ status: 'SUCCESS' }).where(eq(task.taskId, 'bench')),
    ),
    written: inSession(open, (db) =>
      db.execute(sql`update celery_taskmeta set status = ${'SUCCESS'} where task_id = ${'bench'}`),
    ),
  }
  const plain = drizzle({ client: bare })
  const plainSelect = async () => plain.select().from(task).where(eq(task.taskId, 'bench'))
  const ordinary = async () => engine.db.select().from(task).where(eq(task.taskId, 'bench'))

  const over = connections === 1 ? 'one connection' : `${connections} connections`
  if (connections === 1) {
    const once = `one at a time, ${over}`
    reportRatio(
      `prepared select, ${once}`,
      await compare(theirs.select, ours.select, { operations: 2_000 }),
      0.9,
    )
    reportRatio(
      `prepared update, ${once}`,
      await compare(theirs.update, ours.update, { operations: 2_000 }),
      0.9,
    )
    reportRatio(
      'session with one update and commit, against BEGIN, update, COMMIT',
      await compare(theirs.transaction, ours.built, { operations: 1_500 }),
      0.85,
    )
    reportRatio(
      'the same update as sql`…`',
      await compare(theirs.transaction, ours.written, { operations: 1_500 }),
      0.95,
    )
    reportRatio(
      `ordinary select, ${once}, against plain Drizzle`,
      await compare(plainSelect, ordinary, { operations: 2_000 }),
    )
  }
  const many = { operations: 3_200, atOnce: 64 }
  reportRatio(`prepared select, 64 at once, ${over}`, await compare(theirs.select, ours.select, many), 0.85)
  reportRatio(`prepared update, 64 at once, ${over}`, await compare(theirs.update, ours.update, many), 0.85)
  reportRatio(
    `ordinary select, 64 at once, ${over}, against plain Drizzle`,
    await compare(plainSelect, ordinary, many),
  )
  await bare.end()
}

async function transaction(pool: Pool, update: string): Promise<void> {
  const connection = await pool.getConnection()
  await connection.query('begin')
  await connection.execute(update, ['SUCCESS', 'bench'])
  await connection.query('commit')
  connection.release()
}
