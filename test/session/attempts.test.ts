import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConnectionLostError, SessionManager, TransactionConflictError } from 'drizzle-celery'
import { type SQL, sql } from 'drizzle-orm'
import { int, mysqlTable } from 'drizzle-orm/mysql-core'
import { integer as pgInteger, pgTable } from 'drizzle-orm/pg-core'
import { integer, sqliteTable } from 'drizzle-orm/sqlite-core'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { loops } from '../fixtures/loops.ts'
import { describeNeeding, freshMysql, freshPostgres } from '../fixtures/servers.ts'

const TRANSFERS = loops(300, 1_000, 100)
const AT_ONCE = 8
const ACCOUNTS = 10

describe('work that a conflict undid', () => {
  const account = sqliteTable('account', { id: integer().primaryKey() })
  let folder: string
  let dburi: 'file:'
  let manager: SessionManager<{ sqlite: { account: typeof account } }>
  let conflicts: number
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'attempts-'))
    dburi = `file:${join(folder, 'attempts.db')}` as 'file:'
    manager = new SessionManager({ models: { sqlite: { account } } })
  })
  beforeEach(() => {
    conflicts = 0
    return manager.session(dburi, (db) => db.delete(account))
  })
  afterAll(async () => {
    await manager.dispose()
    rmSync(folder, { recursive: true })
  })

  const count = () => manager.session(dburi, { readOnly: true }, (db) => db.$count(account))
  const conflict = () => {
    conflicts++
    return new TransactionConflictError('others were in the way')
  }

  it('runs again in a new transaction, and is told which attempt it is', async () => {
    const attempts: number[] = []

    const result = await manager.session(dburi, { attempts: 3 }, async (db, _, attempt) => {
      attempts.push(attempt)
      await db.insert(account).values({ id: attempt })
      if (attempt < 3) throw new Error('a wrapped conflict', { cause: conflict() })
      return 'done'
    })

    expect(result).toBe('done')
    expect(attempts).toEqual([1, 2, 3])
    expect(await count()).toBe(1)
  })

  it('fails with the last conflict when its attempts are used up, and runs once by default', async () => {
    const once = manager.session(dburi, () => Promise.reject(conflict()))
    await expect(once).rejects.toBeInstanceOf(TransactionConflictError)
    expect(conflicts).toBe(1)

    const thrice = manager.session(dburi, { attempts: 3 }, () => Promise.reject(conflict()))
    await expect(thrice).rejects.toBeInstanceOf(TransactionConflictError)
    expect(conflicts).toBe(4)
  })

  it('does not run again after another error, nor where nobody knows what became of it', async () => {
    const errors = [
      new Error('no conflict'),
      new ConnectionLostError('lost', { cause: conflict() }),
      new Error('both', {
        cause: new TransactionConflictError('x', { cause: new ConnectionLostError('lost') }),
      }),
    ]
    for (const error of errors) {
      let runs = 0
      const work = () => {
        runs++
        return Promise.reject(error)
      }
      await expect(manager.session(dburi, { attempts: 3 }, work)).rejects.toBe(error)
      expect(runs).toBe(1)
    }
  })

  it('does not run again when it committed something by itself', async () => {
    const work = manager.session(dburi, { attempts: 3 }, async (db, session, attempt) => {
      await db.insert(account).values({ id: attempt })
      await session.commit()
      throw conflict()
    })

    await expect(work).rejects.toBeInstanceOf(TransactionConflictError)
    expect(conflicts).toBe(1)
    expect(await count()).toBe(1)
  })

  it('stops between two attempts when its signal is aborted', async () => {
    const controller = new AbortController()
    const work = manager.session(dburi, { attempts: 100, signal: controller.signal }, async () => {
      if (conflicts === 2) controller.abort(new Error('enough'))
      throw conflict()
    })

    await expect(work).rejects.toMatchObject({ code: 'ABORTED', cause: { message: 'enough' } })
    expect(conflicts).toBe(3)
  })

  it('refuses other counts, autocommit, and sessions that have no work to run again', async () => {
    const work = async () => {}
    for (const attempts of [0, 1.5, -1, Number.NaN, '3' as unknown as number]) {
      await expect(manager.session(dburi, { attempts }, work)).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        option: 'attempts',
      })
    }
    await expect(manager.session(dburi, { attempts: 2, autocommit: true }, work)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      option: 'attempts',
    })
    // @ts-expect-error there is no work to run again
    await expect(manager.sessionFactory(dburi, { attempts: 2 })).rejects.toMatchObject({
      code: 'UNKNOWN_OPTION',
    })
  })
})

/** Runs the statement on the handle of a session; rows come as arrays of values. */
type Ask = (query: SQL) => Promise<unknown[][]>

/** Runs work in a session of a dialect. */
type Run = (work: (ask: Ask, attempt: number) => Promise<void>) => Promise<void>

/** The accounts that a transfer moves money between. */
function accountsOf(number: number): [from: number, to: number] {
  return [number % ACCOUNTS, (number + 1 + (number % (ACCOUNTS - 1))) % ACCOUNTS]
}

function change(ask: Ask, id: number, by: number): Promise<unknown> {
  return ask(sql`update account set balance = balance + ${by} where id = ${id}`)
}

/** Money goes round among a few accounts; every transfer reads before it writes, so that many of them meet. */
async function transferAll(run: Run): Promise<void> {
  let begun = 0
  const teller = async () => {
    while (begun < TRANSFERS) {
      const [from, to] = accountsOf(begun++)
      await run(async (ask) => {
        await ask(sql`select balance from account where id = ${from}`)
        await change(ask, from, -1)
        await change(ask, to, 1)
      })
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, teller))
}

/** Two transfers, there and back, that have each changed one account when they want the other: a deadlock. */
async function transferCrosswise(run: Run): Promise<{ repeated: number }> {
  let repeated = 0
  let waiting = 2
  let meet = () => {}
  const met = new Promise<void>((resolve) => {
    meet = resolve
  })
  const transfer = (from: number, to: number) =>
    run(async (ask, attempt) => {
      await change(ask, from, -1)
      if (attempt > 1) repeated++
      else if (--waiting === 0) meet()
      if (attempt === 1) await met
      await change(ask, to, 1)
    })
  await Promise.all([transfer(0, 1), transfer(1, 0)])
  return { repeated }
}

/** What the accounts must have when each transfer was done once. */
function expectedBalances(): number[] {
  const balances = Array<number>(ACCOUNTS).fill(0)
  for (let number = 0; number < TRANSFERS; number++) {
    const [from, to] = accountsOf(number)
    balances[from] = (balances[from] ?? 0) - 1
    balances[to] = (balances[to] ?? 0) + 1
  }
  return balances
}

async function balances(run: Run): Promise<unknown[]> {
  let rows: unknown[][] = []
  await run(async (ask) => {
    rows = await ask(sql`select balance from account order by id`)
  })
  return rows.flat()
}

async function open(run: Run): Promise<void> {
  await run(async (ask) => {
    for (let id = 0; id < ACCOUNTS; id++) await ask(sql`insert into account values (${id}, 0)`)
  })
}

const MANY = { attempts: 1_000 }

describeNeeding('postgresql', `${TRANSFERS} transfers on PostgreSQL, serializable`, () => {
  const database = freshPostgres()

  it('are each done once', { tags: 'full', timeout: 120_000 }, async () => {
    const account = pgTable('account', { id: pgInteger().primaryKey(), balance: pgInteger().notNull() })
    await using manager = new SessionManager({ models: { postgresql: { account } } })
    const options = { ...MANY, isolationLevel: 'serializable' } as const
    const run: Run = (work) =>
      manager.session(database.dburi as 'postgresql://', options, (db, _, attempt) =>
        work(async (query) => (await db.execute(query)).map((row) => Object.values(row)), attempt),
      )
    await open(run)

    const { repeated } = await transferCrosswise(run)
    await transferAll(run)

    expect(await balances(run)).toEqual(expectedBalances())
    expect(repeated).toBeGreaterThan(0)
  })
})

describeNeeding('mysql', `${TRANSFERS} transfers on MariaDB`, () => {
  const database = freshMysql()

  it('are each done once', { timeout: 120_000 }, async () => {
    const account = mysqlTable('account', { id: int().primaryKey(), balance: int().notNull() })
    await using manager = new SessionManager({ models: { mysql: { account } } })
    const run: Run = (work) =>
      manager.session(database.dburi as 'mysql://', MANY, (db, _, attempt) =>
        work(async (query) => {
          const [answer] = await db.execute(query)
          return Array.isArray(answer) ? answer.map((row) => Object.values(row)) : []
        }, attempt),
      )
    await open(run)

    const { repeated } = await transferCrosswise(run)
    await transferAll(run)

    expect(await balances(run)).toEqual(expectedBalances())
    expect(repeated).toBeGreaterThan(0)
  })
})

describe(`${TRANSFERS} transfers on a SQLite file`, () => {
  it('are each done once', { timeout: 120_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'attempts-'))
    const account = sqliteTable('account', { id: integer().primaryKey(), balance: integer().notNull() })
    const manager = new SessionManager({ models: { sqlite: { account } } })
    const dburi = `file:${join(folder, 'bank.db')}` as 'file:'
    const run: Run = (work) =>
      manager.session(dburi, MANY, (db, _, attempt) =>
        work(async (query) => (await db.run(query)).rows.map((row) => Array.from(row)), attempt),
      )
    try {
      await open(run)

      await transferAll(run)

      expect(await balances(run)).toEqual(expectedBalances())
    } finally {
      await manager.dispose()
      rmSync(folder, { recursive: true })
    }
  })
})
