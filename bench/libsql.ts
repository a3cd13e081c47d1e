import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@libsql/client'
import { SessionManager } from 'drizzle-celery'
import { task } from 'drizzle-celery/models/sqlite'
import { eq, sql } from 'drizzle-orm'
import { compare, inSession } from './measure.ts'
import { reportRatio } from './report.ts'

const SELECT =
  'select "id", "task_id", "status", "result", "date_done", "traceback", "name", "args", "kwargs", "worker", ' +
  '"retries", "queue" from "celery_taskmeta" where "celery_taskmeta"."task_id" = ?'
export async function libsql(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-bench-'))
  const dburi = `file:${join(directory, 'bench.db')}` as const
  const bare = createClient({ url: dburi, timeout: 5_000 })
  const manager = new SessionManager()
  try {
    const engine = await manager.getEngine(dburi)
    await manager.prepareModels(engine)
    await engine.db.insert(task).values({ taskId: 'bench', status: 'SUCCESS' })
    const select = engine.db
      .select()
      .from(task)
      .where(eq(task.taskId, sql.placeholder('taskId')))
      .prepare()
    const upsert = engine.db
      .insert(task)
      .values({ taskId: sql.placeholder('taskId'), status: sql.placeholder('status') })
      .onConflictDoUpdate({ target: task.taskId, set: { status: sql`${sql.placeholder('again')}` } })
      .prepare()
    const bareSelect = () => bare.execute({ sql: SELECT, args: ['bench'] })
    // The very statement that Drizzle makes.
    const made = engine.db
      .insert(task)
      .values({ taskId: 'bench', status: 'SUCCESS' })
      .onConflictDoUpdate({ target: task.taskId, set: { status: 'SUCCESS' } })
      .toSQL()
    const statement = { sql: made.sql, args: made.params.map(String) }
    const bareUpsert = () => bare.execute(statement)
    const ourSelect = () => select.execute({ taskId: 'bench' })
    const ourUpsert = () => upsert.execute({ taskId: 'bench', status: 'SUCCESS', again: 'SUCCESS' })

    for (const atOnce of [1, 64]) {
      const least = atOnce === 1 ? 0.9 : 0.85
      const how = atOnce === 1 ? 'one at a time' : `${atOnce} at once`
      reportRatio(
        `prepared select, ${how}`,
        await compare(bareSelect, ourSelect, { operations: 6_400, atOnce }),
        least,
      )
      reportRatio(
        `prepared upsert, ${how}`,
        await compare(bareUpsert, ourUpsert, { operations: 640, atOnce }),
        least,
      )
    }
    await engine.db.run(sql`create table words (word text)`)
    await engine.db.run(
      sql`with recursive n (i) as (select 1 union all select i + 1 from n where i < 100000)
        insert into words select 'word number ' || i from n`,
    )
    reportRatio(
      '100,000 rows of one TEXT column',
      await compare(
        () => bare.execute('select word from words'),
        () => engine.db.$client.execute('select word from words'),
        { operations: 1 },
      ),
      1 / 1.3,
    )
    const bareTransaction = async () => {
      const transaction = await bare.transaction('write')
      await transaction.execute(statement)
      await transaction.commit()
    }
    const open = () => manager.sessionFactory(dburi)
    const built = inSession(open, (db) =>
      db
        .insert(task)
        .values({ taskId: 'bench', status: 'SUCCESS' })
        .onConflictDoUpdate({ target: task.taskId, set: { status: 'SUCCESS' } }),
    )
    const written = inSession(open, (db) =>
      db.run(
        sql`insert into celery_taskmeta (task_id, status) values (${'bench'}, ${'SUCCESS'})
          on conflict (task_id) do update set status = ${'SUCCESS'}`,
      ),
    )
    reportRatio(
      'session with one upsert and commit, against BEGIN, upsert, COMMIT',
      await compare(bareTransaction, built, { operations: 1_500 }),
      0.85,
    )
    reportRatio(
      'the same upsert as sql`…`',
      await compare(bareTransaction, written, { operations: 1_500 }),
      0.95,
    )
  } finally {
    await manager.dispose()
    bare.close()
    rmSync(directory, { recursive: true })
  }
}
