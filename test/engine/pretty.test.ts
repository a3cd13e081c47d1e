/** The log that people read: `logger: 'pretty'` and `NODE_DEBUG=drizzle-celery`. */
import { spawnSync } from 'node:child_process'
import {
  type EngineOptions,
  OptionError,
  type PostgresJsHandle,
  type Session,
  SessionManager,
} from 'drizzle-celery'
import type { ResultModels } from 'drizzle-celery/models/postgresql'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createMysql, createPostgres, describeNeeding } from '../fixtures/servers.ts'

const CANARY = 'canary-parameter'

let lines: string[]

beforeEach(() => {
  lines = []
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    lines.push(...String(text).trimEnd().split('\n'))
    return true
  })
})
afterEach(() => void vi.restoreAllMocks())

/** Waits are printed from a millisecond on, which a busy machine takes anywhere. */
const ours = () => lines.filter((line) => line.startsWith('drizzle-celery ') && !line.includes(' WAITED '))

function printedOn(name: string, create: () => Promise<{ dburi: string; drop(): Promise<unknown> }>): void {
  describe(`logger: 'pretty' on ${name}`, () => {
    it('prints a line for each statement, BEGIN and COMMIT, and no parameter', async () => {
      const { dburi, drop } = await create()
      const manager = new SessionManager({ engineOptions: { logger: 'pretty' } })
      await manager.session(dburi, async (_, session) => {
        const { db, models } = session as never as Session<'postgresql', PostgresJsHandle, ResultModels>
        await db.insert(models.task).values({ taskId: CANARY, status: 'SUCCESS' })
        await db.transaction(async (tx) => void (await tx.select().from(models.task)))
      })
      await manager.dispose()
      const printed = ours()
      await drop()

      const ms = String.raw`\d+\.\d ms`
      const tail = printed.slice(-6).map((line) => line.replace(/^drizzle-celery \S+ (#\d+ )?/, ''))
      expect(tail).toEqual([
        'BEGIN',
        expect.stringMatching(new RegExp(`^${ms} 1 row insert into .celery_taskmeta`)),
        'SAVEPOINT',
        expect.stringMatching(new RegExp(`^${ms} 1 row select `)),
        expect.stringMatching(new RegExp(`^RELEASE ${ms}$`)),
        expect.stringMatching(new RegExp(`^COMMIT ${ms}$`)),
      ])
      expect(printed.some((line) => / #\d+ CONNECT /.test(line))).toBe(true)
      expect(printed.join('\n')).not.toContain(CANARY)
    })
  })
}

describeNeeding('postgresql', 'PostgreSQL', () => {
  printedOn('postgres-js', () => createPostgres())
  printedOn('pg', () => createPostgres({ scheme: 'postgresql+pg' }))
})
describeNeeding('mysql', 'MySQL', () => printedOn('mysql2', createMysql))
printedOn('libsql', async () => ({ dburi: ':memory:', drop: async () => {} }))
printedOn('pglite', async () => ({ dburi: 'pglite:', drop: async () => {} }))

describe("logger: 'pretty'", () => {
  it('marks what is slow, and what failed', async () => {
    await using manager = new SessionManager({ prepare: 'none' })
    const { db } = await manager.getEngine(':memory:', { logger: 'pretty', slowStatement: 0 })
    await db.run('select 1')
    await Promise.resolve(db.run('select nothing')).catch(() => {})

    expect(ours().at(-2)).toMatch(/ SLOW \d+\.\d ms 1 row select 1$/)
    expect(ours().at(-1)).toMatch(/ SLOW FAILED SQLITE_ERROR \d+\.\d ms select nothing$/)
  })

  it('tells of a wait in the pool', async () => {
    await using manager = new SessionManager({ prepare: 'none', engineOptions: { poolTimeout: 0.05 } })
    const engine = await manager.getEngine(':memory:', { logger: 'pretty' })
    await using _held = await engine.connect()
    await Promise.resolve(engine.db.run('select 1')).catch(() => {})

    expect(ours().at(-1)).toMatch(/ NO CONNECTION FAILED POOL_TIMEOUT \d+\.\d ms$/)
  })

  it('prints one database, once, until it is disposed of, and opens no second one', async () => {
    await using manager = new SessionManager({ prepare: 'none' })
    const plain = await manager.getEngine('file::memory:?mode=memory')
    const pretty = await manager.getEngine('file::memory:?mode=memory', { logger: 'pretty' })
    await manager.getEngine('file::memory:?mode=memory', { logger: 'pretty', slowStatement: 1e6 })
    const other = await manager.getEngine(':memory:', { poolTimeout: 9 })
    await pretty.db.run('create table t (n integer)')
    const before = ours().length
    await plain.db.run('select * from t')

    expect(ours().length).toBe(before + 1)
    await pretty.dispose()
    await other.db.run('select 2')
    expect(ours().length).toBe(before + 1)
  })

  it('prints a statement once, however many engines and managers of its database ask for it', async () => {
    const dburi = `file:printed-${process.pid}?mode=memory` as const
    const engineOptions: EngineOptions = { logger: 'pretty' }
    await using manager = new SessionManager({ prepare: 'none', engineOptions })
    await using other = new SessionManager({
      prepare: 'none',
      engineOptions: { ...engineOptions, slowStatement: 0 },
    })
    const { db } = await manager.getEngine(dburi)
    await manager.getEngine(dburi, { poolTimeout: 9 })
    await other.getEngine(dburi)
    await db.run('select 5')
    expect(ours().filter((line) => line.endsWith('select 5'))).toEqual([expect.stringContaining(' SLOW ')])

    await other.dispose()
    await db.run('select 6')
    expect(ours().filter((line) => line.endsWith('select 6'))).toEqual([
      expect.not.stringContaining(' SLOW '),
    ])
  })

  it("is for no session alone, and Drizzle's own logger still works", async () => {
    await using manager = new SessionManager({ prepare: 'none' })
    const wrong = { logger: 'pretty' } as never
    await expect(manager.sessionFactory(':memory:', wrong)).rejects.toBeInstanceOf(OptionError)

    const queries: string[] = []
    const { db } = await manager.getEngine(':memory:', {
      logger: { logQuery: (query) => void queries.push(query) },
    })
    await db.run(sql`select 3`)
    expect(queries).toEqual(['select 3'])
  })

  it('is what NODE_DEBUG=drizzle-celery asks for, for all databases', {
    tags: 'full',
    timeout: 90_000,
  }, () => {
    const program = `
      import { SessionManager } from ${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)}
      const manager = new SessionManager({ prepare: 'none' })
      const { db } = await manager.getEngine(':memory:')
      await db.run('select 4')
      // Of many comments and no word there is more than one way to find none.
      await Promise.resolve(db.run('/* a comment */'.repeat(64))).catch(() => {})
      await db.run('select 7')
      await manager.dispose()`
    const run = (NODE_DEBUG: string) =>
      spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
        encoding: 'utf8',
        env: { ...process.env, NODE_DEBUG },
        timeout: 20_000,
      }).stderr

    expect(run('drizzle-celery')).toMatch(/^drizzle-celery \S+ #1 \d+\.\d ms 1 row select 4$/m)
    expect(run('drizzle-celery')).toMatch(/ select 7$/m)
    expect(run('http')).not.toContain('select 4')
  })
})
