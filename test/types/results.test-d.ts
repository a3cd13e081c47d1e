/** What a result is typed as: by its class, by `get`, or by a schema. */
import {
  AsyncResult,
  type DatabaseBackend,
  GroupResult,
  type StandardSchema,
  TaskError,
} from 'drizzle-celery/backend'

interface Report {
  readonly total: number
}

export async function results(backend: DatabaseBackend, Report: StandardSchema<Report>): Promise<number> {
  const untyped: unknown = await new AsyncResult('a', backend).get()
  const typed: Report = await new AsyncResult<Report>('a', backend).get({ timeout: 1 })
  const here: Report = await new AsyncResult('a', backend).get<Report>()
  const parsed: Report = await new AsyncResult('a', backend, { parse: Report }).get()
  const later: Report = await new AsyncResult('a', backend).get({ parse: Report })
  const group: Report[] = await new GroupResult<Report>('g', [new AsyncResult('a', backend)], backend).join()
  const restored = await GroupResult.restore<Report>('g', backend)
  const members: readonly Report[] | undefined = await restored?.get()
  const outcome = await new AsyncResult<Report>('a', backend).get({ propagate: false })
  if (outcome instanceof TaskError || outcome === null) return 0

  // @ts-expect-error: unknown until somebody says what it is
  untyped.total
  // @ts-expect-error: it may have failed
  const sure: Report = await new AsyncResult<Report>('a', backend).get({ propagate: false })

  for await (const { status, result } of new AsyncResult('a', backend).watch()) console.log(status, result)
  return [typed, here, parsed, later, ...group, ...(members ?? []), sure, outcome].length
}
