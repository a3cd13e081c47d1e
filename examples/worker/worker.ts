import { setTimeout as sleep } from 'node:timers/promises'
import { asc, eq } from 'drizzle-orm'
import { dburi, job, manager } from './db.ts'

const stopping = new AbortController()
process.once('SIGTERM', () => stopping.abort())
process.once('SIGINT', () => stopping.abort())

while (!stopping.signal.aborted) {
  if (!(await workOnNext())) await sleep(200, undefined, { signal: stopping.signal }).catch(() => {})
}
await manager.dispose()

/** The job is gone only when its work is done: a worker that is killed leaves it to the next one. */
async function workOnNext(): Promise<boolean> {
  return manager.session(dburi, async (db) => {
    const [next] = await db.select().from(job).orderBy(asc(job.id)).limit(1)
    if (next === undefined) return false
    console.log(`done: ${next.text}`)
    await db.delete(job).where(eq(job.id, next.id))
    return true
  })
}
