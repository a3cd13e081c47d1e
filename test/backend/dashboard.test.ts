import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { DatabaseBackend, type ListOptions } from '../../src/backend/index.ts'
import type { Dialect } from '../../src/dburi/types.ts'
import type { Statement } from '../../src/driver/statement.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { resultModelsOf } from '../../src/models/by-dialect.ts'
import { SessionManager } from '../../src/session/open-manager.ts'
import { createMysql, createPostgres, describeNeeding } from '../fixtures/servers.ts'

/** The indexes that a dashboard needs: who asks for them gets them, in tables that are there too, and lists use them. */

const COLUMNS = ['status', 'name', 'worker', 'queue'] as const
/** By id, and then by date. */
const INDEXES = ['', '_date_done'].flatMap((order) =>
  COLUMNS.map((column) => `ix_celery_taskmeta_${column}${order}_id`),
)

const PREFIX = 'ix_celery_taskmeta_id_prefix'
/** What finds the beginnings of ids: elsewhere the index of the key does. */
const BY_ID = {
  postgresql: PREFIX,
  mysql: /"type":"range".*"key":"(?:task_id|celery_taskmeta_task_id_key)"|"key":"[^"]*task_id/,
  sqlite: /SEARCH t USING INDEX .*\(task_id>\? AND task_id<\?\)/,
}

interface Database {
  readonly dburi: string
  drop(): Promise<void>
}

function findsByIndex(dialect: Dialect, create: () => Promise<Database>): void {
  it('are added by an upgrade where they are asked for, and used', { timeout: 60_000 }, async () => {
    const { dburi, drop } = await create()
    try {
      await using manager = new SessionManager()
      await using backend = new DatabaseBackend(dburi, { manager, resultExtended: true })
      const request = { task: 'often', hostname: 'here', deliveryInfo: { routingKey: 'usual' } }
      const often = Array.from({ length: 3_000 }, (_, at) => ({ taskId: `t-${at}`, result: at, request }))
      await backend.storeMany(often)
      const rare = { task: 'Rare', hostname: 'There', deliveryInfo: { routingKey: 'Other' } }
      await backend.storeMany([{ taskId: 'rare', result: 1, state: 'REVOKED', request: rare }])
      const engine: Engine = await manager.getEngine(dburi)

      const upgrade = { prepare: 'upgrade' } as const
      expect((await manager.prepareModels(engine, upgrade)).added).toEqual([])
      const models = { [dialect]: await resultModelsOf(dialect, { indexes: 'dashboard' }) }
      await using upgrading = new SessionManager({ models, ...upgrade })
      const { added } = await upgrading.prepareModels(await upgrading.getEngine(dburi))
      const indexes = dialect === 'postgresql' ? [...INDEXES, PREFIX] : INDEXES
      expect(added.map((each) => indexes.find((index) => each.includes(index))).sort()).toEqual(
        [...indexes].sort(),
      )
      await engine.run({ sql: ANALYZE[dialect], params: [], asArrays: false })

      const asked: readonly ListOptions[] = [
        { state: 'REVOKED' },
        { name: 'Rare' },
        { worker: 'There' },
        { queue: 'Other' },
        { state: 'REVOKED', orderBy: 'dateDone' },
        { name: 'Rare', orderBy: 'dateDone' },
        { worker: 'There', orderBy: 'dateDone' },
        { queue: 'Other', orderBy: 'dateDone' },
        { idPrefix: 'rar' },
      ]
      for (const [at, options] of asked.entries()) {
        const run = vi.spyOn(engine, 'run')
        expect((await backend.list(options)).items.map(({ taskId }) => taskId)).toEqual(['rare'])
        const [[statement] = []] = run.mock.calls as [Statement][]
        run.mockRestore()
        const { sql = '', params = [] } = statement ?? {}
        const plan = await engine.run({ sql: `${EXPLAIN[dialect]} ${sql}`, params, asArrays: false })
        const index = INDEXES[at]
        // MySQL names all that it might have used as well.
        const used = dialect === 'mysql' && index !== undefined ? `"key":"${index}"` : index
        expect(JSON.stringify(plan)).toMatch(used ?? BY_ID[dialect])
        // What is found by one of those is in order already.
        if (at < INDEXES.length) expect(JSON.stringify(plan)).not.toMatch(/sort|temp b-tree/i)
      }
      // By their bytes, whatever a collation thinks of them.
      for (const option of ['name', 'worker', 'queue'] as const)
        for (const text of ['rare', 'RARE', 'Rare ', 'there', 'other', 'Räre'])
          expect((await backend.list({ [option]: text })).items).toEqual([])
      expect((await backend.list({ state: 'revoked' })).items).toEqual([])
      for (const idPrefix of ['Rar', '%', 't_', 'rare ', 'ráre'])
        expect((await backend.list({ idPrefix })).items).toEqual([])
      expect((await backend.list({ state: [] })).items).toEqual([])
      expect((await backend.list({ state: ['REVOKED', 'PENDING', 'RETRY'] })).items).toHaveLength(1)
    } finally {
      await drop()
    }
  })
}

const ANALYZE = {
  postgresql: 'analyze celery_taskmeta',
  mysql: 'analyze table celery_taskmeta',
  sqlite: 'analyze',
}
const EXPLAIN = { postgresql: 'explain', mysql: 'explain', sqlite: 'explain query plan' }

/** Half of the first 5,000 tasks are of the past, ten in a second. */
const FIRST_DONE = Date.UTC(2026, 10, 1)
const PAST = Array.from({ length: 2_500 }, (_, at) => 2 * at + 2)
/** Not done yet, with the dates that Celery gives such and without. */
const STARTED = Array.from({ length: 20 }, (_, at) => 40_001 + at)

async function fillWithPast(engine: Engine): Promise<void> {
  const run = (sql: string) => engine.run({ sql, params: [], asArrays: false })
  const past = (then: string, now: string) =>
    `case when n <= 5000 and n % 2 = 0 then '${then}' else '${now}' end`
  const into = 'insert into celery_taskmeta (id, task_id, status, name, worker, queue, date_done)'
  await run(
    `${into} select n, n::text, ${past('FAILURE', 'SUCCESS')}, ${past('old', 'new')}, ${past('w1', 'w2')}, ${past('q1', 'q2')}, ` +
      `timestamp '2026-11-01' + (n / 10) * interval '1 second' from generate_series(1, 40000) n (n)`,
  )
  await run(
    `${into} select n, n::text, 'STARTED', 'old', 'w1', 'q1', case when n % 2 = 0 then timestamp '2026-11-01 00:00:09' end ` +
      'from generate_series(40001, 40020) n (n)',
  )
  await run('vacuum analyze celery_taskmeta')
}

describeNeeding('postgresql', 'the indexes of a dashboard on PostgreSQL', () => {
  findsByIndex('postgresql', createPostgres)

  it.each([
    ['UTC', '5.3'],
    ['the time of the session', '5.6'],
  ])(
    'find what came long ago only, and page by page what is there, with dates in %s',
    { timeout: 60_000 },
    async (_, celeryVersion) => {
      const { dburi, drop } = await createPostgres()
      try {
        const models = { postgresql: await resultModelsOf('postgresql', { indexes: 'dashboard' }) }
        await using preparing = new SessionManager({ models })
        await preparing.prepareModels(await preparing.getEngine(dburi))
        await using manager = new SessionManager()
        await using backend = new DatabaseBackend(dburi, { manager, resultExtended: true, celeryVersion })
        await backend.counts()
        const engine: Engine = await manager.getEngine(dburi)
        await fillWithPast(engine)

        /** Lists a page, and checks what was read for it: some 30 pages of the database; since the past came 400. */
        const pageOf = async (options: ListOptions, index: string) => {
          const run = vi.spyOn(engine, 'run')
          const page = await backend.list(options)
          const [[statement] = []] = run.mock.calls as [Statement][]
          run.mockRestore()
          const { sql = '', params = [] } = statement ?? {}
          const explain = `explain (analyze, buffers, costs off, timing off) ${sql}`
          const plan = JSON.stringify(await engine.run({ sql: explain, params, asArrays: false }))
          expect(plan).toContain(index)
          const [hit, read] = ['hit', 'read'].map(
            (how) => new RegExp(`shared[^"]* ${how}=(\\d+)`).exec(plan)?.[1] ?? 0,
          )
          expect(Number(hit) + Number(read), plan).toBeLessThan(100)
          // Some are not done; and between two ends no more is read behind the second one than a page may have.
          const { since, until, cursor } = options
          const most = [since, until, cursor].filter((each) => each != null).length > 1 ? 600 : STARTED.length
          for (const [, rows] of plan.matchAll(/Removed by Filter: (\d+)/g)) {
            expect(Number(rows), plan).toBeLessThanOrEqual(most)
          }
          return { ids: page.items.map(({ taskId }) => Number(taskId)), cursor: page.cursor }
        }
        const pagesOf = async (options: ListOptions, index: string) => {
          const pages: number[][] = []
          for (let { cursor } = options; cursor !== null; ) {
            const page = await pageOf({ ...options, cursor, limit: 600 }, index)
            pages.push(page.ids)
            cursor = page.cursor
          }
          return pages.flat()
        }

        const [since, until] = [new Date(FIRST_DONE + 300_000), new Date(FIRST_DONE + 400_000)]
        const filters: readonly ListOptions[] = [
          { state: ['FAILURE'] },
          { name: 'old' },
          { worker: 'w1' },
          { queue: 'q1' },
        ]
        for (const [at, filter] of filters.entries()) {
          for (const order of ['desc', 'asc'] as const) {
            const inOrder = (ids: readonly number[]) => (order === 'asc' ? ids : ids.toReversed())
            const byId = filter.state === undefined ? [...PAST, ...STARTED] : PAST
            expect(await pagesOf({ ...filter, order }, INDEXES[at] ?? '')).toEqual(inOrder(byId))
            const byDate = INDEXES[at + COLUMNS.length] ?? ''
            const options = { ...filter, order, orderBy: 'dateDone' } as const
            const { cursor } = await pageOf({ ...options, limit: 1 }, byDate)
            for (const times of [{}, { since }, { until }, { since, until }] as const) {
              const within = PAST.filter((id) => {
                const done = FIRST_DONE + Math.floor(id / 10) * 1_000
                return done >= Number(times.since ?? 0) && done < Number(times.until ?? Infinity)
              })
              expect(await pagesOf({ ...options, ...times }, byDate)).toEqual(inOrder(within))
              // A time may be given on the way: the first task is before it, or the first of all.
              const behind = inOrder(within).filter((id) => id !== inOrder(PAST)[0])
              const page = await backend.list({ ...options, ...times, cursor, limit: 3_000 })
              expect(page.items.map(({ taskId }) => Number(taskId))).toEqual(behind)
            }
          }
        }
      } finally {
        await drop()
      }
    },
  )
})

describeNeeding('mysql', 'the indexes of a dashboard on MySQL', () => {
  findsByIndex('mysql', createMysql)
})

describe('the indexes of a dashboard on SQLite', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dc-dashboard-'))
  afterAll(() => rmSync(directory, { recursive: true }))
  findsByIndex('sqlite', async () => ({
    dburi: `file:${join(directory, 'results.db')}`,
    drop: async () => {},
  }))
})
