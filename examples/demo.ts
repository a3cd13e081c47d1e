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
import { asc, inArray } from 'drizzle-orm'

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

/** `test/fixtures/celery/make_results.py` made this database with a real Celery worker. */
async function readWhatCeleryWrote(): Promise<void> {
  const recorded = fileURLToPath(new URL('../test/fixtures/celery/results.sqlite', import.meta.url))
  const copy = join(directory, 'celery.sqlite')
  copyFileSync(recorded, copy)

  await manager.session(`db+sqlite:///${copy}`, async (db, { models }) => {
    const tasks = await db.select().from(models.task).orderBy(asc(models.task.id))
    say('Celery wrote', `${tasks.length} results with a Python worker:`)
    for (const task of tasks) {
      const error = task.traceback?.trimEnd().split('\n').at(-1)
      say(
        '',
        `${task.status?.padEnd(8)} ${task.name} at ${task.dateDone?.toISOString()}${error ? `: ${error}` : ''}`,
      )
    }
  })
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
