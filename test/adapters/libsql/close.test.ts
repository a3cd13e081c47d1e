import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createClient } from '@libsql/client'
import { SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Session } from '../../../src/session/session.ts'
import { childRun, scenario, startChild } from '../../fixtures/child-run.ts'
import { openLibsql } from '../../fixtures/libsql-engine.ts'
import { loops } from '../../fixtures/loops.ts'
import { openFiles } from '../../fixtures/open-files.ts'

/** A SQLite file that is closed is closed: no handle is left, and a copy of it is whole. */

let directory: string
let copies: string
let path: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-close-'))
  copies = mkdtempSync(join(tmpdir(), 'drizzle-celery-copies-'))
  path = join(directory, 'x.db')
})
afterEach(() => {
  for (const each of [directory, copies]) rmSync(each, { recursive: true, force: true })
})

/** What is in the table of a copy of the file, and of nothing but the file. */
async function rowsOfCopy(): Promise<unknown> {
  const copy = join(copies, `${readdirSync(copies).length}.db`)
  copyFileSync(path, copy)
  const client = createClient({ url: `file:${copy}` })
  const { rows } = await client.execute('select count(*) from t')
  client.close()
  return rows[0]?.[0]
}

const MODES = ['delete', 'wal'] as const

describe.each(MODES)('a file with journal_mode=%s is closed', (mode) => {
  const dburi = () => `file:${path}?journal_mode=${mode}` as const
  const write = (engine: { db: { run(query: ReturnType<typeof sql>): PromiseLike<unknown> } }) =>
    engine.db.run(sql`insert into t values (1)`)

  beforeEach(async () => {
    await using engine = await openLibsql(dburi())
    await engine.db.run(sql`create table t (v)`)
  })

  /** Nothing is open, and the file is all there is. */
  async function expectClosed(rows: number): Promise<void> {
    expect(openFiles(directory)).toBe(0)
    expect(readdirSync(directory)).toEqual([basename(path)])
    expect(await rowsOfCopy()).toBe(rows)
  }

  it('by dispose() of an engine, whatever it ran', async () => {
    const engine = await openLibsql(dburi())
    for (let round = 0; round < 20; round++) await write(engine)
    await engine.db.transaction(async (tx) => {
      await tx.run(sql`insert into t values (2)`)
    })
    await engine.db.$client.executeMultiple('insert into t values (3); insert into t values (4)')
    await expect(engine.db.run(sql`insert into nowhere values (1)`)).rejects.toThrow()
    await Promise.all([engine.db.all(sql`select * from t`), engine.db.values(sql`select v from t`)])
    expect(openFiles(path)).toBeGreaterThan(0)

    await engine.dispose()

    await expectClosed(23)
  })

  it('by dispose() after calls so long that what they used has grown old', async () => {
    const engine = await openLibsql(dburi())
    await engine.db.run(
      sql`with recursive n (i) as (select 1 union all select i + 1 from n where i < 100000) insert into t select i from n`,
    )
    expect(await engine.db.all(sql`select v, hex(v) as h from t`)).toHaveLength(100_000)

    await engine.dispose()

    await expectClosed(100_000)
  })

  it('by dispose() of many engines, one after the other (T46)', { timeout: 120_000 }, async () => {
    for (let round = 0; round < loops(100, 1_000, 30); round++) {
      const engine = await openLibsql(dburi())
      await engine.db.all(sql`select v from t`)
      await engine.dispose()
      expect(openFiles(directory)).toBe(0)
    }

    await expectClosed(0)
  })

  it('by dispose() of the last of two engines', async () => {
    const [one, other] = [await openLibsql(dburi()), await openLibsql(`file:${path}`)]
    await write(one)
    await write(other)
    await one.dispose()
    expect(await other.db.all(sql`select v from t`)).toHaveLength(2)

    await other.dispose()

    await expectClosed(2)
  })

  it('by dispose() whose grace is over before a session is', async () => {
    const engine = await openLibsql(dburi())
    await write(engine)
    const session = new Session(engine, {})
    await session.db.run(sql`insert into t values (2)`)

    await engine.dispose({ grace: 0 })

    await expectClosed(1)
    await session.close()
  })

  it('when a session is, where connections are not kept', async () => {
    const engine = await openLibsql(dburi(), { pooled: false })

    for (let round = 1; round <= 20; round++) {
      await using session = new Session(engine, {})
      await session.db.run(sql`insert into t values (1)`)
      await session.commit()
      await session.close()
      expect(openFiles(directory)).toBe(0)
    }

    await expectClosed(20)
    await engine.dispose()
  })

  it('when a session with a connection of its own is', async () => {
    await using manager = new SessionManager({ models: { sqlite: {} } })
    const session = await manager.sessionFactory(dburi(), { shortLivedSessions: true })
    await session.db.run(sql`insert into t values (1)`)
    await session.commit()

    await session.close()

    await expectClosed(1)
  })

  it('when a connection is, where connections are not kept', async () => {
    const engine = await openLibsql(dburi(), { pooled: false })
    const connection = await engine.connect()
    await connection.db.run(sql`insert into t values (1)`)

    await connection.close()

    await expectClosed(1)
    await engine.dispose()
  })

  it('by invalidate() and dispose() of a manager', async () => {
    const manager = new SessionManager({ models: { sqlite: {} } })
    await write(await manager.getEngine(dburi()))
    await manager.invalidate(dburi())
    await expectClosed(1)

    await write(await manager.getEngine(dburi()))
    await manager.dispose()

    await expectClosed(2)
  })

  it('by being one engine too many, at the latest when the manager is disposed of', async () => {
    const manager = new SessionManager({ models: { sqlite: {} }, maxEngines: 1 })
    await write(await manager.getEngine(dburi()))
    const other = join(directory, 'other')
    await manager.getEngine(`file:${other}`)
    await vi.waitFor(() => expect(openFiles(path)).toBe(0), { timeout: 5_000 })

    await write(await manager.getEngine(dburi()))
    await manager.getEngine(`file:${other}`)
    await manager.dispose()

    await expectClosed(2)
  })

  it('by a process that ends by itself, undoing what it has not committed', { timeout: 60_000 }, async () => {
    path = join(directory, 'y.db')
    rmSync(join(directory, 'x.db'))

    const { exitCode, stderr } = await childRun(scenario('libsql-exit'), { arguments: [dburi()] })

    expect([exitCode, stderr]).toEqual([0, ''])
    await expectClosed(1)
  })
})

describe('beside another process that has it open, a file in WAL mode', () => {
  async function heldBy(command: 'open' | 'read') {
    const engine = await openLibsql(`file:${path}?journal_mode=wal`)
    await engine.db.run(sql`create table t (v)`)
    await engine.db.run(sql`insert into t values (1)`)
    const child = await startChild(scenario('libsql-holder'), { arguments: [`file:${path}`] })
    expect(await child.call(command)).toBe(1)
    return { engine, child }
  }

  it('is whole once we have closed it', { timeout: 60_000 }, async () => {
    const { engine, child } = await heldBy('open')
    await engine.db.run(sql`insert into t values (2)`)

    await engine.dispose()

    expect(openFiles(directory)).toBe(0)
    expect(await rowsOfCopy()).toBe(2)
    child.end()
    await child.exited
  })

  it('loses nothing that a reader there keeps from being moved into it', { timeout: 60_000 }, async () => {
    const { engine, child } = await heldBy('read')
    await engine.db.run(sql`insert into t values (2)`)

    await engine.dispose()

    expect(openFiles(directory)).toBe(0)
    await child.call('finish')
    const again = await openLibsql(`file:${path}`)
    expect(await again.db.all(sql`select v from t order by v`)).toEqual([{ v: 1 }, { v: 2 }])
    await again.dispose()
    expect(await rowsOfCopy()).toBe(2)
    child.end()
    await child.exited
  })
})

describe('a file that cannot be connected to', () => {
  it('is closed again when its journal mode cannot be set', async () => {
    await using engine = await openLibsql(`file:${path}`)
    await engine.db.run(sql`create table t (v)`)
    await engine.dispose()
    const reader = await openLibsql(`file:${path}?mode=ro&journal_mode=wal`)

    for (let round = 0; round < 30; round++) {
      await expect(reader.connect()).rejects.toThrow()
      expect(openFiles(directory)).toBe(0)
    }

    await reader.dispose()
    expect(existsSync(`${path}-wal`)).toBe(false)
  })

  it('is closed again when it is no database', async () => {
    writeFileSync(path, 'This is no database. '.repeat(200))
    const engine = await openLibsql(`file:${path}`)

    for (let round = 0; round < 30; round++) {
      await expect(engine.db.all(sql`select * from t`)).rejects.toThrow()
    }
    await engine.dispose()

    expect(openFiles(directory)).toBe(0)
  })
})

it('globals of the program are as they were', async () => {
  await using engine = await openLibsql(`file:${path}`)
  await engine.db.run(sql`select 1`)
  await engine.dispose()

  expect('gc' in globalThis).toBe(false)
})
