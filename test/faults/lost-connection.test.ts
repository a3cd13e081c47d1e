/** A connection that breaks costs its holder one typed error, and nobody else anything. */
import { setTimeout as sleep } from 'node:timers/promises'
import { SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ChildResult, childRun, scenario } from '../fixtures/child-run.ts'
import { FaultProxy } from '../fixtures/fault-proxy.ts'
import { atMost, isLong, loops } from '../fixtures/loops.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'
import { startCheck } from '../fixtures/standard-check.ts'
import {
  codeFrom,
  codeOf,
  failure,
  Observer,
  outcome,
  pidOf,
  tally,
  times,
  until,
  withOptions,
} from './support.ts'

/** Children of these take seconds even where nobody else is at work. */
const slow = { timeout: isLong ? 600_000 : 150_000 }

describeNeeding('postgresql', 'a lost connection', () => {
  const database = freshPostgres()
  let observer: Observer

  beforeEach(async () => {
    observer = new Observer(database.dburi)
    await observer.sql`create table if not exists faults (id text primary key)`
    await observer.sql`truncate faults`
    await observer.sql`create table if not exists slow (id text)`
    await observer.sql`
      create or replace function slow() returns trigger language plpgsql as
      $$ begin perform pg_sleep(30); return null; end $$`
    await observer.sql`drop trigger if exists slow on slow`
    await observer.sql`
      create constraint trigger slow after insert on slow deferrable initially deferred
      for each row execute function slow()`
  })
  afterEach(() => observer[Symbol.asyncDispose]())

  describe('in a child process that handles nothing', () => {
    const rounds = loops(3, 20)

    it('T03 T05 a backend killed inside a transaction costs one typed error, never the process', {
      ...slow,
      tags: 'full',
    }, async () => {
      const result = await childRun(scenario('faults-lost-connection'), {
        arguments: [database.dburi, String(rounds)],
        timeout: 120_000,
      })

      expect(result).toMatchObject({ exitCode: 0, stdout: '', stderr: '' })
      // A loss that was noticed before the next statement is a transaction that is gone; caused by the loss.
      expect(result.emitted).toEqual([
        { name: 'idle', codes: { PENDING_ROLLBACK: rounds }, left: 0 },
        { name: 'busy', codes: { CONNECTION_LOST: rounds }, left: 0 },
        { name: 'at commit', codes: { CONNECTION_LOST: rounds }, left: 0 },
        { name: 'in a savepoint', codes: { PENDING_ROLLBACK: rounds }, left: 0 },
        { name: 'busy in a savepoint', codes: { CONNECTION_LOST: rounds }, left: 0 },
        { name: 'used, then closed', codes: { PENDING_ROLLBACK: rounds }, left: 0 },
        { name: 'closed untouched', codes: { null: rounds }, left: 0 },
        { name: 'closed, then killed', codes: { null: rounds }, left: 0 },
      ])
    })

    it('T03 control: the driver alone ends the process', async () => {
      const result = await naive('lost transaction', database.dburi)

      expect(result.exitCode).not.toBe(0)
      expect(result.emitted).toEqual([])
    })
  })

  describe('in this process', () => {
    let manager: SessionManager
    beforeEach(() => {
      manager = new SessionManager()
    })
    afterEach(() => manager.dispose({ grace: 0 }))

    it('T04 nothing runs through the handle of a lost transaction while others use the pool', async () => {
      const rounds = loops(20, 200)
      const dburi = withOptions(database.dburi, { pool_size: '2', max_overflow: '0' })
      const { engine, sessionMaker } = await manager.createSession(dburi)
      let isOver = false
      let stored = 0
      const others = times(3, async (worker) => {
        while (!isOver) {
          if (worker === 0) {
            await engine.db.execute(sql`insert into faults values (${`good ${stored}`})`)
            stored++
          } else await engine.db.transaction((tx) => tx.execute(sql`select pg_sleep(0.001)`))
        }
      })

      const codes: (string | null)[] = []
      for (let round = 0; round < rounds; round++) {
        const session = sessionMaker()
        const pid = await pidOf(session.db)
        const lost = failure(session.db.execute(sql`select pg_sleep(30)`))
        await observer.terminate(pid)
        expect(codeOf(await lost)).toBe('CONNECTION_LOST')
        await sleep(1)
        codes.push(await codeFrom(session.db.execute(sql`insert into faults values (${`bad ${round}`})`)))
        await session.close()
        // However slow the machine is, others use the pool in each round.
        await until(() => stored > round)
      }
      isOver = true
      await others

      expect(tally(codes)).toEqual({ PENDING_ROLLBACK: rounds })
      expect(await observer.count('faults', 'bad%')).toBe(0)
      expect(await observer.count('faults', 'good%')).toBe(stored)
      expect(engine.stats()).toMatchObject({ checkedOut: 0, waiting: 0, running: 0 })
    })

    it('T04 the same holds for the handles of db.transaction() and of savepoints', async () => {
      const rounds = loops(5, 50)
      const dburi = withOptions(database.dburi, { pool_size: '1', max_overflow: '0' })
      const engine = await manager.getEngine(dburi)
      const codes: (string | null)[] = []

      for (let round = 0; round < rounds; round++) {
        let other: Promise<unknown> = Promise.resolve()
        const failed = engine.db.transaction(async (tx) => {
          const inner = tx.transaction(async (savepoint) => {
            const lost = failure(savepoint.execute(sql`select pg_sleep(30)`))
            await observer.terminate(await pidOfSleeper(observer, 'drizzle-celery'))
            await lost
            // The only place in the pool is taken by somebody else, on another backend.
            other = failure(engine.db.execute(sql`select pg_sleep(0.01)`))
            await sleep(1)
            codes.push(await codeFrom(savepoint.execute(sql`insert into faults values ('bad')`)))
          })
          codes.push(
            await codeFrom(inner),
            await codeFrom(tx.execute(sql`insert into faults values ('bad')`)),
          )
          throw new Error('as a user would')
        })
        expect(await failure(failed)).toHaveProperty('message', 'as a user would')
        expect(await other).toBeUndefined()
      }

      expect(tally(codes)).toEqual({ PENDING_ROLLBACK: 3 * rounds })
      expect(await observer.count('faults')).toBe(0)
    })

    it('T04 control: the driver alone writes the row, or dies', async () => {
      const result = await naive('lost handle', database.dburi)

      const isRowThere = result.emitted[0] === 1
      expect(isRowThere || result.exitCode !== 0).toBe(true)
    })

    it('a connection that is lost says so by type, whoever holds it', async () => {
      const engine = await manager.getEngine(withOptions(database.dburi, {}))
      const connection = await engine.connect()
      await observer.terminate(await pidOf(connection.db))
      await until(() => engine.stats().checkedOut === 0)
      const codes = [
        await codeFrom(connection.db.execute(sql`select 1`)),
        await codeFrom(connection.db.transaction((tx) => tx.execute(sql`select 1`))),
      ]
      await connection.close()

      expect(codes).toEqual(['CONNECTION_LOST', 'CONNECTION_LOST'])
    })

    it('what comes after a lost transaction is told why it was lost', async () => {
      const { engine, sessionMaker } = await manager.createSession(withOptions(database.dburi, {}))
      await using session = sessionMaker()
      await observer.terminate(await pidOf(session.db))
      // Before it is noticed, the COMMIT would be sent, and what became of it could not be known.
      await until(() => engine.stats().checkedOut === 0)
      const gone = await failure(session.commit())

      expect(gone).toMatchObject({ code: 'PENDING_ROLLBACK', cause: { code: 'CONNECTION_LOST' } })
    })
  })

  describe('by a reset', () => {
    const turns: Record<string, () => Promise<unknown>> = {
      'the same tick': () => Promise.resolve(),
      setImmediate: () => new Promise((resolve) => setImmediate(resolve)),
      '1 ms': () => sleep(1),
    }

    it.each(Object.entries(turns))('T06 a retry after %s settles at once', async (_, turn) => {
      const check = startCheck()
      const rounds = loops(15, 100)
      const proxy = await FaultProxy.before(database.dburi)
      const manager = new SessionManager()
      const engine = await manager.getEngine(withOptions(proxy.dburi, { pool_size: '1', max_overflow: '0' }))
      const retries: { state: string; after: number }[] = []

      for (let round = 0; round < rounds; round++) {
        await engine.db.execute(sql`select 1`)
        const busy = failure(engine.db.execute(sql`select pg_sleep(30)`))
        // There is only something to lose, and a backend to end, once the statement has passed the proxy.
        const sleeper = await pidOfSleeper(observer, 'drizzle-celery')
        const retry = busy.then(async (error) => {
          expect(codeOf(error)).toBe('CONNECTION_LOST')
          await turn()
          return outcome(engine.db.execute(sql`select 1`), 5_000)
        })
        proxy.kill('rst')
        retries.push(await retry)
        // The server has not heard of the reset and goes on: a hundred of these are all the backends it has.
        await observer.terminate(sleeper)
      }
      await manager.dispose({ grace: 0 })
      await proxy.close()

      expect(tally(retries.map(({ state }) => state))).toEqual({ fulfilled: rounds })
      expect(Math.max(...retries.map(({ after }) => after))).toBeLessThan(atMost(1_000))
      await check.nothingLeftOpen()
    })

    it('T06 control: with the driver alone a retry in the same tick never settles', {
      ...slow,
      tags: 'full',
    }, async () => {
      await using proxy = await FaultProxy.before(database.dburi)
      const running = naive('retry after a reset', proxy.dburi)
      await pidOfSleeper(observer, 'postgres.js')
      proxy.kill('rst')

      expect((await running).emitted).toEqual(['pending'])
    })
  })
})

/** The backend of a client that sleeps in this database. */
async function pidOfSleeper(observer: Observer, application: string): Promise<number> {
  let pid = 0
  const isFound = async () => {
    const [row] = await observer.sql`
      select pid from pg_stat_activity
      where datname = current_database() and application_name = ${application} and wait_event = 'PgSleep'`
    pid = Number(row?.['pid'] ?? 0)
    return pid !== 0
  }
  await until(isFound)
  return pid
}

function naive(what: string, dburi: string): Promise<ChildResult> {
  return childRun(scenario('faults-naive'), { arguments: [what, dburi] })
}
