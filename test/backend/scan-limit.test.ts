import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { DatabaseBackend, type ListOptions } from '../../src/backend/index.ts'
import type { Dialect } from '../../src/dburi/types.ts'
import { resultModelsOf } from '../../src/models/by-dialect.ts'
import { SessionManager } from '../../src/session/open-manager.ts'
import { createMysql, createPostgres, describeNeeding } from '../fixtures/servers.ts'

/** Lists by several filters scan a limited number of tasks for one page, and page by page all of them. */

const ROWS = 1_500
/** Times within those of the tasks. */
const EARLY = new Date(Date.UTC(2026, 9, 1, 0, 3))
const LATE = new Date(Date.UTC(2026, 9, 1, 0, 6))
const STATES = ['SUCCESS', 'SUCCESS', 'FAILURE', 'STARTED', 'REVOKED'] as const

interface Database {
  readonly dburi: string
  drop(): Promise<void>
}

/** Tasks of which every value comes in parts of the table only, several of one time, and some that are not done. */
function rowOf(n: number): string {
  const status = STATES[(n * 7) % STATES.length]
  const seconds = Math.floor(n / 3)
  const date = new Date(Date.UTC(2026, 9, 1, 0, 0, seconds)).toISOString().slice(0, 19).replace('T', ' ')
  const isDated = status !== 'STARTED' || n % 2 === 0
  const name = n < ROWS / 2 ? 'old' : n % 3 === 0 ? 'new' : 'often'
  const worker = n % 100 === 0 ? 'rare' : 'usual'
  const queue = n < ROWS / 2 ? 'q1' : 'q2'
  const texts = [
    String(n),
    status,
    n % 50 === 1 ? null : name,
    worker,
    queue,
    isDated ? `${date}.250000` : null,
  ]
  return `(${n}, ${texts.map((text) => (text === null ? 'null' : `'${text}'`)).join(', ')})`
}

async function withTasks(
  dialect: Dialect,
  create: () => Promise<Database>,
  indexes: 'dashboard' | undefined,
  work: (backend: DatabaseBackend) => Promise<void>,
): Promise<void> {
  const { dburi, drop } = await create()
  try {
    const models = { [dialect]: await resultModelsOf(dialect, { indexes }) }
    await using preparing = new SessionManager({ models })
    await preparing.prepareModels(await preparing.getEngine(dburi))
    await using manager = new SessionManager()
    await using backend = new DatabaseBackend(dburi, { manager, resultExtended: true })
    await backend.counts()
    const rows = Array.from({ length: ROWS }, (_, at) => rowOf(at + 1))
    const into = 'insert into celery_taskmeta (id, task_id, status, name, worker, queue, date_done)'
    const engine = await manager.getEngine(dburi)
    await engine.run({ sql: `${into} values ${rows.join(', ')}`, params: [], asArrays: false })
    await work(backend)
  } finally {
    await drop()
  }
}

/** The ids of each page. */
async function pagesOf(backend: DatabaseBackend, options: ListOptions): Promise<string[][]> {
  const pages: string[][] = []
  for (let cursor: string | null | undefined; cursor !== null; ) {
    const page = await backend.list({ ...options, cursor })
    pages.push(page.items.map(({ taskId }) => taskId))
    cursor = page.cursor
  }
  return pages
}

function scans(dialect: Dialect, create: () => Promise<Database>): void {
  it('lists what it lists without a limit, whatever the filters', {
    timeout: 120_000,
  }, async () => {
    await withTasks(dialect, create, 'dashboard', async (backend) => {
      const filters: readonly ListOptions[] = [
        { name: 'old', queue: 'q1' },
        { name: 'often', worker: 'rare' },
        { state: 'FAILURE', worker: 'usual' },
        { state: ['FAILURE', 'REVOKED'], name: 'new' },
        { state: ['FAILURE', 'STARTED'], queue: 'q2', worker: 'usual' },
        { state: 'STARTED', queue: 'q1' },
        { state: 'PENDING', worker: 'usual' },
        { name: 'none', worker: 'usual' },
        { name: 'old', worker: 'usual', queue: 'q1', state: 'SUCCESS' },
      ]
      const times: readonly ListOptions[] = [
        {},
        { orderBy: 'dateDone' },
        { since: EARLY, until: LATE },
        { since: EARLY, orderBy: 'dateDone' },
        { until: LATE, orderBy: 'dateDone' },
        { since: EARLY, until: LATE, orderBy: 'dateDone' },
      ]
      for (const filter of filters) {
        for (const time of times) {
          for (const order of ['asc', 'desc'] as const) {
            const options = { ...filter, ...time, order, limit: 40 }
            const expected = (await pagesOf(backend, options)).flat()
            expect(
              (await pagesOf(backend, { ...options, scanLimit: 130 })).flat(),
              JSON.stringify(options),
            ).toEqual(expected)
          }
        }
      }
    })
  })

  it('ends a page at the limit, also without a task in it', {
    timeout: 60_000,
  }, async () => {
    await withTasks(dialect, create, 'dashboard', async (backend) => {
      // Of either there are some 730, and none is of both.
      for (const orderBy of ['id', 'dateDone'] as const) {
        const options = { name: 'old', queue: 'q2', orderBy, scanLimit: 100 } as const
        const pages = await pagesOf(backend, options)
        expect(pages.flat()).toEqual([])
        expect(pages.length).toBeGreaterThan(5)
        expect(pages.length).toBeLessThan(10)
      }
      // Of the rare worker there are 15: one page scans them all.
      expect(await pagesOf(backend, { name: 'often', worker: 'rare', scanLimit: 100 })).toEqual([
        expect.arrayContaining(['1400', '1300', '1100', '1000', '800']),
      ])
    })
  })

  it('scans without a limit where no index finds its filters', { timeout: 60_000 }, async () => {
    await withTasks(dialect, create, undefined, async (backend) => {
      const pages = await pagesOf(backend, { name: 'old', queue: 'q2', scanLimit: 100 })
      expect(pages).toEqual([[]])
    })
  })
}

describeNeeding('postgresql', 'scanLimit on PostgreSQL', () => scans('postgresql', createPostgres))
describeNeeding('mysql', 'scanLimit on MySQL', () => scans('mysql', createMysql))

describe('scanLimit on SQLite', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dc-scan-'))
  let made = 0
  afterAll(() => rmSync(directory, { recursive: true }))
  scans('sqlite', async () => ({
    dburi: `file:${join(directory, `results-${made++}.db`)}`,
    drop: async () => {},
  }))
})
