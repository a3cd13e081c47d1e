/**
 * The main job in one go: open a database by its dburi, prepare Celery's tables, write and read results in sessions.
 *
 *     npm run demo
 *     DBURI=postgresql://user@host/database npm run demo
 */
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { redactDburi, type SessionFor, SessionManager } from 'drizzle-celery'
import { AsyncResult, DatabaseBackend, GroupResult } from 'drizzle-celery/backend'
import { inArray } from 'drizzle-orm'

const directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-demo-'))
const dburi = process.env['DBURI'] ?? `file:${join(directory, 'results.db')}`
const manager = new SessionManager()

try {
  await openAndPrepare()
  await writeAndRead()
  await rollBack()
  await readWhatCeleryWrote()
} finally {
  await manager.dispose()
  rmSync(directory, { recursive: true })
}
say('Closed', 'every connection; the process ends by itself')
// What the demo itself made is gone, but for a database of one's own.
const shown =
  process.env['DBURI'] === undefined ? 'sqlite:///test/fixtures/celery/results.sqlite' : redactDburi(dburi)
say('Look', `at results in a browser: npm run build && npx drizzle-celery web ${shown}`)

async function openAndPrepare(): Promise<void> {
  const engine = await manager.getEngine(dburi)
  const { created, milliseconds } = await manager.prepareModels(engine)
  say('Opened', `${redactDburi(dburi)} (${engine.dialect})`)
  const tables = created.length === 0 ? 'all tables are there' : `created ${created.join(', ')}`
  say('Prepared', `${tables} in ${milliseconds.toFixed(0)} ms`)
}

async function writeAndRead(): Promise<void> {
  const pooled = await manager.sessionFactory(dburi)
  await write(pooled, 'demo-1')
  await pooled.commit()
  await pooled.close()
  say('Wrote', 'demo-1 in a pooled session')

  const shortLived = await manager.sessionFactory(dburi, { shortLivedSessions: true })
  await write(shortLived, 'demo-2')
  await shortLived.commit()
  await shortLived.close()
  say('Wrote', 'demo-2 in a short-lived session, on a connection of its own')

  say('Read', (await manager.session(dburi, (_, session) => read(session))).join(', '))
}

async function rollBack(): Promise<void> {
  const attempt = manager.session(dburi, async (_, session) => {
    await write(session, 'demo-3')
    throw new Error('changed my mind')
  })
  await attempt.catch((error: Error) => say('Rolled back', `demo-3, because of “${error.message}”`))
  say('Read', (await manager.session(dburi, (_, session) => read(session))).join(', '))
}

/** `test/fixtures/celery/make_results.py` made this database with a real Celery worker; results are Python pickles. */
async function readWhatCeleryWrote(): Promise<void> {
  const recorded = fileURLToPath(new URL('../test/fixtures/celery/results.sqlite', import.meta.url))
  const copy = join(directory, 'celery.sqlite')
  copyFileSync(recorded, copy)

  const backend = new DatabaseBackend(`db+sqlite:///${copy}`, { resultExtended: true, manager })
  const { items } = await backend.list()
  say('Celery wrote', `${items.length} results with a Python worker:`)
  for (const { taskId } of items) {
    const { name, args, status, result, traceback } = await backend.getTaskMeta(taskId)
    const outcome = status === 'FAILURE' ? traceback?.trimEnd().split('\n').at(-1) : JSON.stringify(result)
    say('', `${status.padEnd(8)} ${name}(${JSON.stringify(args).slice(1, -1)}) → ${outcome}`)
  }
  const group = await GroupResult.restore('00000000-0000-4000-8000-000000000100', backend)
  say('And a group', `of ${group?.results.length} tasks: ${JSON.stringify(await group?.join())}`)

  await backend.markAsDone('from-node', { sum: 3 })
  say(
    'Node wrote',
    `from-node → ${JSON.stringify(await new AsyncResult('from-node', backend).get())}, as a pickle too`,
  )
}

/** A dburi that is only known at run time gives a session of any dialect; `switch` says which. */
async function write(session: SessionFor<string>, taskId: string): Promise<void> {
  const values = { taskId, status: 'SUCCESS', name: 'demo.task', dateDone: new Date() }
  switch (session.dialect) {
    case 'postgresql': {
      const { db, models } = session
      await db
        .insert(models.task)
        .values(values)
        .onConflictDoUpdate({ target: models.task.taskId, set: values })
      return
    }
    case 'mysql': {
      const { db, models } = session
      await db.insert(models.task).values(values).onDuplicateKeyUpdate({ set: values })
      return
    }
    case 'sqlite': {
      const { db, models } = session
      await db
        .insert(models.task)
        .values(values)
        .onConflictDoUpdate({ target: models.task.taskId, set: values })
    }
  }
}

async function read(session: SessionFor<string>): Promise<string[]> {
  const ids = ['demo-1', 'demo-2', 'demo-3']
  const rows = await select()
  return rows.map((row) => `${row.taskId} ${row.status}`)

  async function select() {
    switch (session.dialect) {
      case 'postgresql': {
        const { db, models } = session
        return db
          .select()
          .from(models.task)
          .where(inArray(models.task.taskId, ids))
          .orderBy(models.task.taskId)
      }
      case 'mysql': {
        const { db, models } = session
        return db
          .select()
          .from(models.task)
          .where(inArray(models.task.taskId, ids))
          .orderBy(models.task.taskId)
      }
      case 'sqlite': {
        const { db, models } = session
        return db
          .select()
          .from(models.task)
          .where(inArray(models.task.taskId, ids))
          .orderBy(models.task.taskId)
      }
    }
  }
}

function say(what: string, text: string): void {
  console.log(`${what.padStart(12)}  ${text}`)
}
