/** A row without a state is pending, as Celery reads it, wherever one looks. */
import { DatabaseBackend } from 'drizzle-celery/backend'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'

async function pending(dburi: string): Promise<void> {
  await using backend = new DatabaseBackend(dburi)
  await backend.storeResult('said', null, 'PENDING')
  await backend.markAsDone('done', 1)
  await backend.markAsStarted('unsaid')
  const engine = await backend.manager.getEngine(dburi)
  const forgetState = sql`update celery_taskmeta set status = null where task_id = 'unsaid'`
  if (engine.dialect === 'sqlite') await engine.db.run(forgetState)
  else if (engine.dialect === 'postgresql') await engine.db.execute(forgetState)

  const listed = async (state: string | string[]) =>
    (await backend.list({ state, order: 'asc' })).items.map(({ taskId, status }) => [taskId, status])
  expect(await listed('PENDING')).toEqual([
    ['said', 'PENDING'],
    ['unsaid', 'PENDING'],
  ])
  expect(await listed(['SUCCESS', 'PENDING'])).toHaveLength(3)
  expect(await listed('SUCCESS')).toEqual([['done', 'SUCCESS']])
  expect(await backend.counts()).toEqual({ PENDING: 2, SUCCESS: 1 })
  expect(await backend.getState('unsaid')).toBe('PENDING')
  expect((await backend.getTaskMeta('unsaid')).status).toBe('PENDING')
}

it('on SQLite', () => pending('file::memory:'))

describeNeeding('postgresql', 'on PostgreSQL', () => {
  const database = freshPostgres()

  it('a row without a state is pending', () => pending(database.dburi))
})
