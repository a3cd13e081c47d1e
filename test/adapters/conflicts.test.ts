import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  ContentionError,
  causes,
  type Mysql2Handle,
  SessionManager,
  TransactionConflictError,
} from 'drizzle-celery'
import { DatabaseBackend } from 'drizzle-celery/backend'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isConflict, withConflict } from '../../src/adapters/postgresql/begin.ts'
import { failure } from '../faults/support.ts'
import { askPostgres } from '../fixtures/catalogue.ts'
import { scenario, startChild } from '../fixtures/child-run.ts'
import { openMariadbServer } from '../fixtures/mariadb-server.ts'
import { createPostgres, describeNeeding, freshMysql, freshPostgres } from '../fixtures/servers.ts'

/** What a conflict with another transaction undid has one error, whoever found it and whatever it met. */

let manager: SessionManager
beforeEach(() => {
  manager = new SessionManager({ prepare: 'none' })
})
afterEach(() => manager.dispose({ grace: 0 }))

/** The conflict in a chain of causes, and the code the driver gave what caused it. */
function conflictIn(error: unknown): { conflict: unknown; driverCode: unknown } {
  const conflict = causes(error).find((cause) => cause instanceof TransactionConflictError)
  const cause: unknown = conflict instanceof Error ? conflict.cause : undefined
  return { conflict, driverCode: Reflect.get(Object(cause), 'code') }
}

/** Those of several pieces of work that failed, with what. */
async function failuresOf(work: readonly Promise<unknown>[]): Promise<unknown[]> {
  return (await Promise.all(work.map(failure))).filter((error) => error !== undefined)
}

it('the name that went before is the same class', () => {
  expect(ContentionError).toBe(TransactionConflictError)
})

describeNeeding('postgresql', 'a conflict on PostgreSQL', () => {
  const database = freshPostgres()
  const dburi = () => database.dburi as 'postgresql://'
  const serializable = { isolationLevel: 'serializable' } as const

  beforeEach(async () => {
    const { db } = await manager.getEngine(dburi())
    await db.execute(sql`drop table if exists accounts`)
    await db.execute(sql`create table accounts (id int primary key, balance int not null)`)
    await db.execute(sql`insert into accounts values (1, 100), (2, 100)`)
  })

  it('at a statement: the row was changed since the snapshot', async () => {
    await using one = await manager.sessionFactory(dburi())
    await using other = await manager.sessionFactory(dburi())
    await one.begin(serializable)
    await one.db.execute(sql`select * from accounts`)
    await other.db.execute(sql`update accounts set balance = 0 where id = 1`)
    await other.commit()
    const error = await failure(one.db.execute(sql`update accounts set balance = ${1} where id = 1`))

    expect(conflictIn(error)).toMatchObject({
      conflict: {
        code: 'TRANSACTION_CONFLICT',
        message: expect.stringContaining('could not serialize access'),
      },
      driverCode: '40001',
    })
    // What it caused leads back to it.
    expect(causes(await failure(one.commit()))).toMatchObject([
      { code: 'TRANSACTION_ABORTED' },
      { code: 'TRANSACTION_CONFLICT' },
      { code: '40001' },
    ])
    await one.rollback()
    await one.db.execute(sql`update accounts set balance = 7 where id = 1`)
    await one.commit()
  })

  it('at commit(): two transactions that each read what the other wrote', async () => {
    await using one = await manager.sessionFactory(dburi())
    await using other = await manager.sessionFactory(dburi())
    for (const [session, id] of [
      [one, 1],
      [other, 2],
    ] as const) {
      await session.begin(serializable)
      await session.db.execute(sql`select sum(balance) from accounts`)
      await session.db.execute(sql`update accounts set balance = balance - 150 where id = ${id}`)
    }
    await one.commit()
    const error = await failure(other.commit())

    expect(error).toBeInstanceOf(TransactionConflictError)
    expect(conflictIn(error).driverCode).toBe('40001')
    expect(causes(await failure(other.db.execute(sql`select 1`)))).toMatchObject([
      {},
      { code: 'PENDING_ROLLBACK' },
      { code: 'TRANSACTION_CONFLICT' },
      { code: '40001' },
    ])
    await other.rollback()
    expect(await other.db.execute(sql`select balance from accounts order by id`)).toMatchObject([
      { balance: -50 },
      { balance: 100 },
    ])
  })

  it('in db.transaction(), where nothing wraps what the commit throws', async () => {
    const { db } = await manager.getEngine(dburi())
    const withdraw = (id: number, ready: () => Promise<unknown>) =>
      db.transaction(async (tx) => {
        await tx.execute(sql`select sum(balance) from accounts`)
        await tx.execute(sql`update accounts set balance = balance - 150 where id = ${id}`)
        await ready()
      }, serializable)
    let first: Promise<unknown> | undefined
    const second = withdraw(1, async () => {
      first = withdraw(2, async () => {})
      await first
    })

    const [error] = await failuresOf([second])
    expect(error).toBeInstanceOf(TransactionConflictError)
    await first
  })

  it('in a deadlock, to one of the two', { tags: 'full' }, async () => {
    await using one = await manager.sessionFactory(dburi())
    await using other = await manager.sessionFactory(dburi())
    const set = (session: typeof one, id: number) =>
      session.db.execute(sql`update accounts set balance = 0 where id = ${id}`)
    await set(one, 1)
    await set(other, 2)
    const errors = await failuresOf([set(one, 2), set(other, 1)])

    expect(errors.map(conflictIn)).toMatchObject([
      { conflict: { code: 'TRANSACTION_CONFLICT' }, driverCode: '40P01' },
    ])
  })

  it('in storeMany() that is not tried again', { tags: 'full' }, async () => {
    await using own = await createPostgres()
    // Whoever waits looks once, after this time, whether it waits in a circle: the circle must be closed by then.
    await askPostgres(own.dburi, `alter database ${own.name} set deadlock_timeout to '5s'`)
    await using backend = new DatabaseBackend(own.dburi, { resultBackendAlwaysRetry: false })
    await backend.storeMany(['a', 'b'].map((taskId) => ({ taskId, status: 'STARTED', result: null })))
    await using session = await manager.sessionFactory(own.dburi as 'postgresql://')
    const lock = (id: string) =>
      session.db.execute(sql`update celery_taskmeta set status = 'LOCKED' where task_id = ${id}`)
    await lock('b')
    await session.db.execute(sql`set local deadlock_timeout to '60s'`)
    const storing = failure(
      backend.storeMany(['a', 'b'].map((taskId) => ({ taskId, status: 'SUCCESS', result: 1 }))),
    )
    const waiting = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    while ((await askPostgres(own.dburi, waiting)).length === 0) await sleep(10)
    await lock('a')

    const error = await storing
    expect(error).toBeInstanceOf(TransactionConflictError)
    expect(conflictIn(error).driverCode).toBe('40P01')
  })

  it('is no matter of a lock that is not given, which undoes the statement only', async () => {
    await using one = await manager.sessionFactory(dburi())
    await one.db.execute(sql`update accounts set balance = 0 where id = 1`)
    const { db } = await manager.getEngine(dburi())
    const error = await failure(db.execute(sql`select * from accounts for update nowait`))

    expect(conflictIn(error).conflict).toBeUndefined()
    expect(causes(error).at(-1)).toMatchObject({ code: '55P03' })
  })
})

describe('a conflict on what speaks the protocol of PostgreSQL', () => {
  const says = (code: string, message: string) => Object.assign(new Error(message), { code })

  it.each([
    [
      '40001',
      'restart transaction: TransactionRetryWithProtoRefreshError: TransactionRetryError: retry txn (RETRY_SERIALIZABLE)',
    ],
    ['40001', 'restart transaction: TransactionRetryWithProtoRefreshError: WriteTooOldError'],
    [
      'CR000',
      'restart transaction: HandledRetryableTxnError: TransactionRetryError: retry txn (RETRY_WRITE_TOO_OLD)',
    ],
    ['40P01', 'deadlock detected'],
  ])('is what CockroachDB asks to be restarted: %s %s', (code, message) => {
    const cause = says(code, message)

    expect(isConflict(cause)).toBe(true)
    expect(withConflict(cause)).toMatchObject({ code: 'TRANSACTION_CONFLICT', cause })
  })

  it.each([
    ['40003', 'result is ambiguous: error=rpc error: code = Unavailable'],
    ['25P02', 'current transaction is aborted, commands ignored until end of transaction block'],
    ['23505', 'duplicate key value violates unique constraint "restart transaction"'],
    ['55P03', 'could not obtain lock on row in relation "t"'],
  ])('is nothing else: %s %s', (code, message) => {
    const error = says(code, message)

    expect(withConflict(error)).toBe(error)
  })
})

describeNeeding('mysql', 'a conflict on MariaDB', () => {
  const database = freshMysql()
  const dburi = () => database.dburi as 'mysql://'

  beforeEach(async () => {
    const { db } = await manager.getEngine(dburi())
    await db.execute(sql`create or replace table accounts (id int primary key, balance int not null)`)
    await db.execute(sql`insert into accounts values (1, 100), (2, 100)`)
  })

  it('in a deadlock, to one of the two, which is rolled back', async () => {
    await using one = await manager.sessionFactory(dburi())
    await using other = await manager.sessionFactory(dburi())
    await set(one.db, 1)
    await set(other.db, 2)
    const errors = await failuresOf([set(one.db, 2), set(other.db, 1)])
    const victim = await failuresOf([one.commit(), other.commit()])

    expect(errors.map(conflictIn)).toMatchObject([
      { conflict: { code: 'TRANSACTION_CONFLICT' }, driverCode: 'ER_LOCK_DEADLOCK' },
    ])
    expect(victim.map(causes)).toMatchObject([
      [{ code: 'TRANSACTION_ABORTED' }, { code: 'TRANSACTION_CONFLICT' }, { errno: 1213 }],
    ])
  })

  it('with snapshot isolation: the row was changed since the snapshot', async () => {
    await using one = await manager.sessionFactory(dburi())
    await using other = await manager.sessionFactory(dburi())
    await one.db.execute(sql`set session innodb_snapshot_isolation = on`)
    await one.db.execute(sql`select * from accounts`)
    await set(other.db, 1)
    await other.commit()
    const error = await failure(set(one.db, 1))

    expect(conflictIn(error)).toMatchObject({
      conflict: { code: 'TRANSACTION_CONFLICT' },
      driverCode: 'ER_CHECKREAD',
    })
  })

  it('when a lock is waited for in vain: by the statement that is its own transaction, not by one in another', async () => {
    await using holder = await manager.sessionFactory(dburi())
    await set(holder.db, 1)
    await using session = await manager.sessionFactory(dburi())
    await session.db.execute(sql`set session innodb_lock_wait_timeout = 1`)
    await set(session.db, 2)
    const inTransaction = await failure(set(session.db, 1))
    await session.commit()
    await using autocommit = await manager.sessionFactory(dburi(), { autocommit: true })
    await autocommit.db.execute(sql`set session innodb_lock_wait_timeout = 1`)
    const alone = await failure(set(autocommit.db, 1))

    // The transaction stands, with what it did before, and the statement can be tried again.
    expect(conflictIn(inTransaction).conflict).toBeUndefined()
    expect(causes(inTransaction).at(-1)).toMatchObject({ errno: 1205 })
    const { db } = await manager.getEngine(dburi())
    const [rows] = await db.execute(sql`select balance from accounts where id = 2`)
    expect(rows).toEqual([{ balance: 0 }])
    expect(conflictIn(alone)).toMatchObject({
      conflict: { code: 'TRANSACTION_CONFLICT' },
      driverCode: 'ER_LOCK_WAIT_TIMEOUT',
    })
  })
})

describeNeeding('private mariadb', 'a conflict on a MariaDB with innodb_rollback_on_timeout', () => {
  it('when a lock is waited for in vain: all of the transaction is undone', async () => {
    await using server = await openMariadbServer({
      settings: () => ['--innodb-rollback-on-timeout=1', '--innodb-lock-wait-timeout=1'],
    })
    const dburi = server.dburi as 'mysql://'
    const { db } = await manager.getEngine(dburi)
    await db.execute(sql`create table accounts (id int primary key, balance int not null) engine=innodb`)
    await db.execute(sql`insert into accounts values (1, 100), (2, 100)`)
    await using holder = await manager.sessionFactory(dburi)
    await set(holder.db, 1)
    await using session = await manager.sessionFactory(dburi)
    await set(session.db, 2)
    const error = await failure(set(session.db, 1))
    const late = await failure(set(session.db, 2))
    await session.rollback()

    expect(conflictIn(error)).toMatchObject({
      conflict: { code: 'TRANSACTION_CONFLICT' },
      driverCode: 'ER_LOCK_WAIT_TIMEOUT',
    })
    expect(causes(late)).toMatchObject([
      {},
      { code: 'TRANSACTION_ABORTED' },
      { code: 'TRANSACTION_CONFLICT' },
      { errno: 1205 },
    ])
    const [rows] = await db.execute(sql`select balance from accounts where id = 2`)
    expect(rows).toEqual([{ balance: 100 }])
  })
})

describe('a conflict on SQLite', () => {
  it('with another process that holds the file: of a statement, and of a transaction', {
    tags: 'full',
    timeout: 90_000,
  }, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-conflicts-'))
    const file = `file:${join(directory, 'x.db')}` as const
    const dburi = `${file}?timeout=0.2` as const
    const { db } = await manager.getEngine(dburi)
    await db.run(sql`create table t (id integer primary key, w text)`)
    const other = await startChild(scenario('libsql-lock'), { arguments: [file], timeout: 60_000 })
    await other.call('lock')

    await using session = await manager.sessionFactory(dburi)
    const insert = sql`insert into t (w) values (${'a'})`
    const errors = [await failure(db.run(insert)), await failure(session.db.run(insert))]
    await other.call('unlock')
    other.end()
    await other.exited
    await session.rollback()
    await session.db.run(insert)
    await session.commit()

    expect(errors.map(conflictIn)).toMatchObject([
      { conflict: { code: 'TRANSACTION_CONFLICT' }, driverCode: 'SQLITE_BUSY' },
      { conflict: { code: 'TRANSACTION_CONFLICT' }, driverCode: 'SQLITE_BUSY' },
    ])
    await manager.dispose({ grace: 0 })
    rmSync(directory, { recursive: true, force: true })
  })
})

async function set(db: Mysql2Handle, id: number): Promise<void> {
  await db.execute(sql`update accounts set balance = 0 where id = ${id}`)
}
