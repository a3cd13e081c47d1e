import { SessionManager } from 'drizzle-celery'
import { median, round } from './measure.ts'
import { report } from './report.ts'

const DBURI = 'file:/tmp/drizzle-celery-bench-manager.db'

export async function manager(): Promise<void> {
  await using sessions = new SessionManager()
  await using session = await sessions.sessionFactory(DBURI)
  await session.close()
  const { sessionMaker } = await sessions.createSession(DBURI)

  report('cached getEngine', await time(() => sessions.getEngine(DBURI)), 'µs', { most: 3 })
  report(
    'pooled session made and closed, without a statement',
    await time(() => sessionMaker().close()),
    'µs',
    {
      most: 10,
    },
  )
  report(
    'the same through sessionFactory',
    await time(async () => (await sessions.sessionFactory(DBURI)).close()),
    'µs',
    { most: 10 },
  )
}

async function time(operation: () => Promise<unknown>): Promise<number> {
  const times: number[] = []
  await round(operation, 20_000)
  for (let turn = 0; turn < 9; turn++) times.push(await round(operation, 20_000))
  return median(times)
}
