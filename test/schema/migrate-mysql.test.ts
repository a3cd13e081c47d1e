/** Migrations on MySQL whose server is lost on the way; for those of a whole cluster see faults/galera.test.ts. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { SessionManager } from 'drizzle-celery'
import { prepareModels } from 'drizzle-celery/schema'
import { type SQL, sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { ConnectionLostError, NotServingError, StatementTimeoutError } from '../../src/errors.ts'
import { runClaimed } from '../../src/schema/claims.ts'
import { Journal } from '../../src/schema/journal.ts'
import { rowsOf } from '../../src/schema/mysql/lock.ts'
import { describeNeeding, freshMysql } from '../fixtures/servers.ts'

describeNeeding('mysql', 'a migration', () => {
  const database = freshMysql()

  it('keeps its claim when nobody knows whether its first statement was run', async () => {
    await using manager = new SessionManager({ prepare: 'none' })
    const { db } = await manager.getEngine(database.dburi as 'mysql://')
    let isLost = false
    const locked = {
      introspect: () => Promise.reject(new Error('not asked for')),
      rows: (query: SQL) =>
        isLost ? Promise.reject(new ConnectionLostError('It was lost')) : rowsOf(db, query),
      run() {
        isLost = true
        return Promise.reject(new StatementTimeoutError(1))
      },
    }
    const schema = { ...locked, rows: (query: SQL) => rowsOf(db, query), isRace: () => false }
    const journal = new Journal(schema as never, 'journal')
    await journal.create(locked)
    const migration = { name: '0000_slow', hash: 'x', statements: ['create table t (id int)'] }
    const plan = () => ({ unnoted: [migration], pending: [migration] })

    await expect(runClaimed(plan, journal, locked)).rejects.toMatchObject({
      code: 'SCHEMA_MIGRATIONS',
      message: expect.stringContaining('Its first statement may have been run'),
      cause: expect.any(StatementTimeoutError),
    })

    expect([...((await journal.read(schema)) ?? [])]).toEqual([
      ['0000_slow', expect.stringMatching(/^begun 1 /)],
    ])
  })

  it.each([
    ['came half way', 'values (2)', 'statement 2 of 2', [{ n: 1 }]],
    ['was run and not noted', '(name, hash) values', 'was run, and that is not noted', [{ n: 1 }, { n: 2 }]],
  ])('that %s when its server stopped taking writes is not begun anew', async (_what, last, told, rows) => {
    const folder = mkdtempSync(join(tmpdir(), 'dc-migrate-mysql-'))
    mkdirSync(join(folder, '0000_half'))
    const steps = ['insert into half values (1)', 'insert into half values (2)']
    writeFileSync(join(folder, '0000_half/migration.sql'), steps.join(';\n--> statement-breakpoint\n'))
    await using manager = new SessionManager({ prepare: 'none' })
    const engine = await manager.getEngine(database.dburi as 'mysql://')
    for (const old of ['half', 'drizzle_celery_migrations'])
      await engine.db.execute(sql`drop table if exists ${sql.identifier(old)}`)
    await engine.db.execute(sql`create table half (n int)`)
    let isOver = false
    const target = {
      dialect: 'mysql' as const,
      db: engine.db,
      async connect() {
        const connection = await engine.connect()
        const execute = (query: SQL) => {
          const isLast = inspect(query, { depth: 5 }).includes(last)
          if (!isLast || isOver) return connection.db.execute(query)
          isOver = true
          return Promise.reject(new NotServingError('It takes no writes'))
        }
        return { db: { execute }, [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose]() }
      },
    }

    await expect(
      prepareModels(target, {}, { prepare: 'migrate', migrations: { folder } }),
    ).rejects.toMatchObject({
      code: 'SCHEMA_MIGRATIONS',
      message: expect.stringContaining(told),
    })

    expect((await engine.db.execute(sql`select n from half`))[0]).toEqual(rows)
    rmSync(folder, { recursive: true })
  })
})
