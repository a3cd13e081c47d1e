import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, createClient } from '@libsql/client'
import { eq, sql } from 'drizzle-orm'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { resultModels as postgresqlModels, type ResultModels } from '../../src/models/postgresql.ts'
import type { PreparedModels } from '../../src/schema/diff.ts'
import { prepareModels } from '../../src/schema/prepare.ts'
import { SessionManager } from '../../src/session/open-manager.ts'
import { failure, Observer, type PostgresDburi, pidOf, tally, times, withOptions } from '../faults/support.ts'
import {
  askPostgres,
  postgresqlCatalogue,
  readPostgresqlCatalogue,
  sqliteCatalogue,
} from '../fixtures/catalogue.ts'
import { type Child, scenario, startChild } from '../fixtures/child-run.ts'
import { atMost, isLong, loops } from '../fixtures/loops.ts'
import { openPgServer } from '../fixtures/pg-server.ts'
import { openPgBouncer } from '../fixtures/pgbouncer.ts'
import { openPglite } from '../fixtures/pglite-engine.ts'
import { POSTGRESQL_NAMES, preparePostgres, SQLITE_NAMES, schemaErrorOf } from '../fixtures/preparing.ts'
import { startPeers, startRacers, tell } from '../fixtures/racers.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'

const timeout = isLong ? 900_000 : 300_000
const directory = mkdtempSync(join(tmpdir(), 'dc-races-'))
afterAll(() => rmSync(directory, { recursive: true }))

const created = (reports: readonly PreparedModels[]) => reports.flatMap((report) => report.created).sort()
const milliseconds = (reports: readonly PreparedModels[]) => reports.map((report) => report.milliseconds)
const POSTGRESQL_SORTED = [...POSTGRESQL_NAMES].sort()

describeNeeding('postgresql', 'prepareModels on PostgreSQL in a race', () => {
  const database = freshPostgres()
  const ask = (text: string) => askPostgres(database.dburi, text)
  const catalogue = () => postgresqlCatalogue(database.dburi)
  const prepare = async () => await (await preparePostgres(database.dburi)).report
  const empty = () => ask('drop schema public cascade; create schema public')
  const rounds = loops(5, 20, 2)
  const racers = loops(32, 32, 8)
  beforeEach(async () => {
    await empty()
  })

  /** The catalogue as one call makes it that nobody disturbs; the database is empty again afterwards. */
  async function reference(): Promise<unknown> {
    await prepare()
    const made = await catalogue()
    await empty()
    return made
  }

  /** Processes that prepare `dburi` at once, round after round, each from an empty database. */
  async function race(name: string, racers: number, dburi: string): Promise<void> {
    const expected = await reference()
    await using children = await startRacers(racers, dburi)

    const took: number[] = []
    for (let round = 0; round < rounds; round++) {
      await empty()
      const reports = await children.prepare()

      expect(created(reports)).toEqual(POSTGRESQL_SORTED)
      expect(await catalogue()).toEqual(expected)
      took.push(...milliseconds(reports))
    }
    tell(name, racers, rounds, took)
  }

  it(`${racers} processes × ${rounds} rounds all succeed`, { timeout }, async () => {
    await race('PostgreSQL', racers, database.dburi)
  })

  describeNeeding('python celery', 'against real Celery, which takes no lock', () => {
    const each = loops(6, 16, 3)
    const celery = () => database.dburi.replace('postgresql:', 'postgresql+psycopg2:')

    it.each(['read committed', 'repeatable read', 'serializable'])(
      `${each} of ours and ${each} create_all × ${rounds} rounds all succeed when the default is %s`,
      { timeout },
      async (isolation) => {
        await ask(`alter database ${database.name} set default_transaction_isolation to '${isolation}'`)
        using peers = await startPeers(each)
        await using children = await startRacers(each, database.dburi)

        const took: number[] = []
        for (let round = 0; round < rounds; round++) {
          await empty()
          const [reports] = await Promise.all([children.prepare(), peers.prepare(celery())])

          expect(await prepare()).toMatchObject({ created: [], present: POSTGRESQL_NAMES })
          took.push(...milliseconds(reports))
        }
        expect(await ask('show default_transaction_isolation')).toEqual([
          { default_transaction_isolation: isolation },
        ])
        await ask(`alter database ${database.name} reset default_transaction_isolation`)
        tell(`PostgreSQL with Celery, ${isolation}`, each, rounds, took)
      },
    )
  })

  describeNeeding('pgbouncer', 'through PgBouncer in transaction mode', () => {
    const racers = loops(12, 32, 6)

    it(`${racers} processes × ${rounds} rounds all succeed on 8 connections to the server`, {
      timeout,
    }, async () => {
      await using pooler = await openPgBouncer(database.dburi)

      await race('PgBouncer', racers, pooler.dburi)

      // Idle, they stay open: there never were more. One is ours, who ask.
      const [open] = await ask(
        'select count(*)::int as n from pg_stat_activity where datname = current_database()',
      )
      expect((open as { n: number }).n).toBeGreaterThan(2)
      expect((open as { n: number }).n).toBeLessThanOrEqual(9)
    })

    it('sessions commit and roll back, and statements run that were prepared on another server connection', async () => {
      await using pooler = await openPgBouncer(database.dburi)
      await using manager = new SessionManager()
      const { task } = postgresqlModels()

      await manager.session(pooler.dburi, (db) => db.insert(task).values({ taskId: 'kept' }))
      const undone = manager.session(pooler.dburi, async (db) => {
        await db.insert(task).values({ taskId: 'undone' })
        throw new Error('Enough')
      })
      await expect(undone).rejects.toThrow('Enough')
      await using other = new SessionManager({ engineOptions: { poolSize: 1, maxOverflow: 0 } })
      const engine = await other.getEngine(pooler.dburi)
      const select = engine.db
        .select({ taskId: task.taskId })
        .from(task)
        .where(eq(task.taskId, sql.placeholder('taskId')))
        .prepare('races_select')
      const before = [await pidOf(engine.db), await select.execute({ taskId: 'kept' })]
      // The server connection that was free last goes to the next who asks, for the length of its transaction.
      await using session = await manager.sessionFactory(pooler.dburi)
      const taken = await pidOf(session.db)
      const left = await session.db.execute(sql`select name, statement from pg_prepared_statements`)
      const after = [await pidOf(engine.db), await select.execute({ taskId: 'kept' })]

      expect(taken).toBe(before[0])
      // Nothing is prepared by a name, which the next client of that connection would stumble over.
      expect([...left]).toEqual([])
      expect(after[0]).not.toBe(before[0])
      expect(after[1]).toEqual(before[1])
      expect(await engine.db.select({ taskId: task.taskId }).from(task)).toEqual([{ taskId: 'kept' }])
    })

    it('64 selects at once are answered, by more than one server connection', async () => {
      await using pooler = await openPgBouncer(database.dburi)
      await using manager = new SessionManager()
      const { task } = postgresqlModels()
      const ids = Array.from({ length: 64 }, (_, index) => `task ${index}`)
      await manager.session(pooler.dburi, (db) => db.insert(task).values(ids.map((taskId) => ({ taskId }))))
      const { db } = await manager.getEngine(pooler.dburi)

      const rows = await Promise.all(
        ids.map((taskId) => db.select({ taskId: task.taskId }).from(task).where(eq(task.taskId, taskId))),
      )
      const pids = await times(64, async () => {
        const [row] = await db.execute<{ pid: number }>(
          sql`select pg_backend_pid() as pid from pg_sleep(0.05)`,
        )
        return row?.pid
      })

      expect(rows).toEqual(ids.map((taskId) => [{ taskId }]))
      expect(new Set(pids).size).toBeGreaterThan(1)
    })
  })

  describe('when the holder of the lock', () => {
    async function holder(): Promise<Child> {
      const child = await startChild(scenario('prepare-held'), {
        arguments: [database.dburi],
        timeout: 120_000,
      })
      expect(await child.call('hold', 1)).toBe('held')
      return child
    }

    it('is stopped, others time out after 5 s', { tags: 'full', timeout }, async () => {
      await using child = await holder()
      child.kill('SIGSTOP')

      const waits = await times(4, async () => {
        const startedAt = performance.now()
        const { report } = await preparePostgres(database.dburi)
        return { error: await schemaErrorOf(report), after: performance.now() - startedAt }
      })

      for (const { error, after } of waits) {
        expect(error.code).toBe('SCHEMA_LOCK_TIMEOUT')
        expect(after).toBeGreaterThan(4_900)
        // The deadline is the server's; what is beyond it is this machine.
        expect(after).toBeLessThan(atMost(7_500))
      }
      expect(await ask(`select relname from pg_class where relnamespace = 'public'::regnamespace`)).toEqual(
        [],
      )
    })

    it('is killed, others continue at once', { tags: 'full', timeout }, async () => {
      await using child = await holder()
      child.kill('SIGSTOP')
      const waiting = times(4, prepare)
      const queue = `select from pg_locks l join pg_database d on d.oid = l.database
        where d.datname = current_database() and l.locktype = 'advisory' and not l.granted`
      await expect.poll(() => ask(queue)).toHaveLength(4)

      const killedAt = performance.now()
      child.kill('SIGKILL')
      const reports = await waiting
      const after = performance.now() - killedAt

      expect(created(reports)).toEqual(POSTGRESQL_SORTED)
      expect(after).toBeLessThan(atMost(2_000))
      if (isLong) console.log(`4 who waited were done ${Math.round(after)} ms after the holder was killed`)
    })
  })

  describe('when a process is killed in the middle', () => {
    it('between any two of its statements, the next call creates everything', {
      tags: 'full',
      timeout,
    }, async () => {
      const expected = await reference()
      let held = 0
      for (;;) {
        await empty()
        await using child = await startChild(scenario('prepare-held'), { arguments: [database.dburi] })
        if ((await child.call('hold', held)) === 'prepared') break
        child.kill()
        await child.exited

        expect(await prepare()).toMatchObject({ created: POSTGRESQL_NAMES, present: [] })
        expect(await catalogue()).toEqual(expected)
        held += 1
      }

      // The lock, the look, two sequences, two tables, two indexes, the commit.
      expect(held).toBe(9)
    })

    it(`at a moment chosen by chance, ${loops(8, 50, 4)} times, the next call completes it`, {
      tags: 'full',
      timeout,
    }, async () => {
      const expected = await reference()
      const usual = await usualDuration(database.dburi, empty)
      const moments: string[] = []
      for (let round = 0; round < loops(8, 50, 4); round++) {
        await empty()
        moments.push(await killedAtRandom(database.dburi, usual))

        const { created: made, present } = await prepare()

        // All of it, by one of the two.
        expect([made, present]).toContainEqual(POSTGRESQL_NAMES)
        expect(await catalogue()).toEqual(expected)
        moments[round] += made.length > 0 ? ', nothing done' : ', all done'
      }
      if (isLong) console.log(`Killed on PostgreSQL: ${JSON.stringify(tally(moments))}`)
    })
  })
})

describeNeeding('private postgresql', 'a call when all is there', () => {
  it('is one select in the server’s log, prints nothing, and waits for no lock', {
    tags: 'full',
    timeout,
  }, async () => {
    await using server = await openPgServer({ settings: { log_statement: 'all' } })
    const child = await startChild(scenario('prepare-models'), {
      arguments: [server.dburi],
      timeout: 120_000,
    })
    await child.call('prepare')
    // What the tables were made with is parsed anew once they are there, and the server told to forget the old forms: the
    // last of them behind the answer, and before the next statement.
    await child.call('prepare')
    await child.call('prepare')
    const before = server.log.length

    await child.call('prepare')

    const said = server.log
      .slice(before)
      .split('\n')
      .filter((line) => /LOG:|ERROR:|WARNING:|NOTICE:/.test(line) && !/LOG:.*checkpoint/.test(line))
    expect(said).toHaveLength(1)
    expect(said[0]).toMatch(/LOG: {2}(?:execute \S+|statement): select/)
    expect(server.log.slice(before)).not.toMatch(/\b(?:lock|create|begin)\b/i)

    // Somebody keeps the lock of prepareModels, and the tables to himself.
    const key = /pg_advisory_xact_lock\((\d+)\)/.exec(server.log)?.[1]
    await using observer = new Observer(server.dburi)
    await observer.sql.begin(async (tx) => {
      await tx.unsafe(`select pg_advisory_xact_lock(${key})`)
      await tx.unsafe('lock table celery_taskmeta, celery_tasksetmeta in access exclusive mode')
      expect(await child.call('prepare')).toMatchObject({ created: [], present: POSTGRESQL_NAMES })
    })

    child.end()
    expect(await child.exited).toMatchObject({ exitCode: 0, stdout: '', stderr: '' })
  })
})

describe('prepareModels on PGlite in a race', () => {
  const rounds = loops(4, 20, 2)

  it(`50 callers × ${rounds} rounds all succeed`, { tags: 'full', timeout }, async () => {
    const engine = await openPglite(null)
    const ask = async (text: string) => {
      const answer: unknown = await engine.db.execute(sql.raw(text))
      return (Array.isArray(answer) ? answer : (answer as { rows: unknown[] }).rows) as unknown[]
    }
    const catalogue = () => readPostgresqlCatalogue(ask, 'public')
    await prepareModels(engine, { ...postgresqlModels() })
    const expected = await catalogue()

    for (let round = 0; round < rounds; round++) {
      await ask('drop schema public cascade')
      await ask('create schema public')
      const reports = await times(50, () => prepareModels(engine, { ...postgresqlModels() }))

      expect(created(reports)).toEqual(POSTGRESQL_SORTED)
      expect(await catalogue()).toEqual(expected)
    }
    await engine.dispose()
  })
})

describe('prepareModels on libSQL in a race', () => {
  const rounds = loops(5, 20, 2)
  let files = 0
  let path = ''
  let client: Client
  beforeEach(() => {
    files += 1
    path = join(directory, `${files}.sqlite`)
    client = createClient({ url: `file:${path}` })
    return () => client.close()
  })

  async function empty(): Promise<void> {
    await client.execute('pragma busy_timeout = 5000')
    for (const name of SQLITE_NAMES) await client.execute(`drop table if exists ${name}`)
  }

  async function prepare(): Promise<PreparedModels> {
    await using racer = await startRacers(1, `file:${path}`)
    const [report] = await racer.prepare()
    if (report === undefined) throw new Error('No report')
    return report
  }

  it(`8 processes × ${rounds} rounds all succeed`, { tags: 'full', timeout }, async () => {
    await using children = await startRacers(8, `file:${path}`)

    const took: number[] = []
    for (let round = 0; round < rounds; round++) {
      await empty()
      const reports = await children.prepare()

      expect(reports.flatMap((report) => report.created)).toEqual(SQLITE_NAMES)
      took.push(...milliseconds(reports))
    }
    tell('libSQL', 8, rounds, took)
  })

  describeNeeding('python celery', 'against real Celery, which takes no lock', () => {
    it(`4 of ours and 4 create_all × ${rounds} rounds all succeed`, { timeout }, async () => {
      using peers = await startPeers(4)
      await using children = await startRacers(4, `file:${path}`)

      const took: number[] = []
      for (let round = 0; round < rounds; round++) {
        await empty()
        const [reports] = await Promise.all([children.prepare(), peers.prepare(`sqlite:///${path}`)])

        const [again] = await children.prepare()
        expect(again?.created).toEqual([])
        took.push(...milliseconds(reports))
      }
      tell('libSQL with Celery', 4, rounds, took)
    })
  })

  describe('when a process is killed in the middle', () => {
    let expected: unknown
    beforeEach(async () => {
      await prepare()
      expected = await sqliteCatalogue(client)
      await empty()
    })
    const integrity = async () =>
      (await client.execute('pragma integrity_check')).rows[0]?.['integrity_check']

    it('between any two of its statements, the next call creates everything', {
      tags: 'full',
      timeout,
    }, async () => {
      let held = 0
      for (;;) {
        await empty()
        await using child = await startChild(scenario('prepare-held'), { arguments: [`file:${path}`] })
        if ((await child.call('hold', held)) === 'prepared') break
        child.kill()
        await child.exited

        expect(await prepare()).toMatchObject({ created: SQLITE_NAMES, present: [] })
        expect(await sqliteCatalogue(client)).toEqual(expected)
        expect(await integrity()).toBe('ok')
        held += 1
      }

      // The look, two tables, two uniques, two indexes, the commit.
      expect(held).toBeGreaterThanOrEqual(6)
    })

    it(`at a moment chosen by chance, ${loops(8, 50, 4)} times, the next call completes it`, {
      tags: 'full',
      timeout,
    }, async () => {
      const usual = await usualDuration(`file:${path}`, empty)
      const moments: string[] = []
      for (let round = 0; round < loops(8, 50, 4); round++) {
        await empty()
        moments.push(await killedAtRandom(`file:${path}`, usual))

        const { created: made, present } = await prepare()

        expect([made, present]).toContainEqual(SQLITE_NAMES)
        expect(await sqliteCatalogue(client)).toEqual(expected)
        expect(await integrity()).toBe('ok')
        moments[round] += made.length > 0 ? ', nothing done' : ', all done'
      }
      if (isLong) console.log(`Killed on libSQL: ${JSON.stringify(tally(moments))}`)
    })
  })
})

describeNeeding('postgresql', 'the models of a manager', () => {
  const database = freshPostgres()
  const another = freshPostgres()
  const ask = (text: string) => askPostgres(database.dburi, text)
  const dburi = () => withOptions(database.dburi, {})
  beforeEach(async () => {
    for (const { dburi } of [database, another]) {
      await askPostgres(
        dburi,
        `drop schema public cascade; create schema public;
        drop schema if exists one cascade; drop schema if exists two cascade; create schema one; create schema two`,
      )
    }
  })

  const inSchema = (name: string) => {
    const { taskIdSequence, task, tasksetIdSequence, group } = postgresqlModels({
      schemas: { task: name, group: name },
    })
    return { taskIdSequence, task, tasksetIdSequence, group }
  }

  it('are prepared once in each of two databases, two schemas and under two names', async () => {
    const one = inSchema('one')
    const two = inSchema('two')
    const named = postgresqlModels({ tableNames: { task: 'jobs', group: 'sets' } })
    const models = { ...prefixed('one', one), ...prefixed('two', two), ...prefixed('named', named) }
    await using manager = new SessionManager({ models: { postgresql: models } })
    const engines = [
      await manager.getEngine(dburi()),
      await manager.getEngine(withOptions(another.dburi, {})),
    ]

    for (const engine of engines) {
      const first = await manager.prepareModels(engine)

      expect(first.created).toHaveLength(12)
      expect(first.created).toEqual(
        expect.arrayContaining(['one.celery_taskmeta', 'two.celery_taskmeta', 'jobs', 'sets']),
      )
      expect(await manager.prepareModels(engine)).toBe(first)
    }
    for (const { task } of [one, two, named] satisfies Pick<ResultModels, 'task'>[]) {
      for (const engine of engines) {
        await engine.db.insert(task).values({ taskId: 'a' })
        expect(await engine.db.select({ id: task.id, taskId: task.taskId }).from(task)).toHaveLength(1)
      }
    }
  })

  it('are prepared by one call, whatever the number of concurrent callers', async () => {
    await using manager = new SessionManager()
    const engine = await manager.getEngine(dburi())

    const reports = await times(20, () => manager.prepareModels(engine))

    expect(new Set(reports).size).toBe(1)
    expect(reports[0]?.created).toEqual(POSTGRESQL_NAMES)
  })

  it('are prepared again after invalidate', async () => {
    await using manager = new SessionManager()
    await manager.session(dburi(), async () => {})
    await ask('drop table celery_taskmeta')

    await manager.invalidate(dburi())
    const report = await manager.prepareModels(await manager.getEngine(dburi()))

    expect(report.created).toEqual(['celery_taskmeta'])
  })

  it('that were dropped fail the statement that uses them, and are made again when options are given', async () => {
    await using manager = new SessionManager()
    const { task } = postgresqlModels()
    const use = () => manager.session(dburi(), (db) => db.insert(task).values({ taskId: 'a' }))
    await use()
    await ask('drop table celery_taskmeta')

    const error = await failure(use())
    const engine = await manager.getEngine(dburi())
    const known = await manager.prepareModels(engine)
    const stillError = await failure(use())
    const report = await manager.prepareModels(engine, {})

    expect(error).toMatchObject({ cause: { code: '42P01' } })
    expect(stillError).toMatchObject({ cause: { code: '42P01' } })
    expect(known.created).toEqual(POSTGRESQL_NAMES)
    expect(report.created).toEqual(['celery_taskmeta'])
    await use()
    expect(await ask('select task_id from celery_taskmeta')).toEqual([{ task_id: 'a' }])
  })

  it('whose preparation failed are prepared by the next caller', async () => {
    const role = `dc_races_role_${process.pid}`
    await ask(
      `drop role if exists ${role}; create role ${role} login; grant usage on schema public to ${role}`,
    )
    const asRole = new URL(database.dburi)
    asRole.username = role
    await using manager = new SessionManager()
    const use = () => manager.session(asRole.href as PostgresDburi, async () => {})

    const errors = await Promise.all([failure(use()), failure(use())])
    await ask(`grant create on schema public to ${role}`)
    await use()
    const owners = await ask(`select distinct tableowner from pg_tables where schemaname = 'public'`)
    await manager.dispose()
    await ask(`drop owned by ${role} cascade; drop role ${role}`)

    expect(errors).toEqual([
      expect.objectContaining({ code: 'SCHEMA_PERMISSION' }),
      expect.objectContaining({ code: 'SCHEMA_PERMISSION' }),
    ])
    expect(owners).toEqual([{ tableowner: role }])
  })
})

function prefixed(prefix: string, models: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(models).map(([name, model]) => [`${prefix} ${name}`, model]))
}

/** How long a call takes in a process that has loaded and connected, from an empty database. */
async function usualDuration(dburi: string, empty: () => Promise<unknown>): Promise<number> {
  await using child = await startChild(scenario('prepare-models'), { arguments: [dburi] })
  await child.call('check')
  const startedAt = performance.now()
  await child.call('prepare')
  const took = performance.now() - startedAt
  await empty()
  return took
}

/** Kills a process that prepares, at a moment of the time that it usually takes, or shortly after; tells whether it had answered. */
async function killedAtRandom(dburi: string, usual: number): Promise<string> {
  const child = await startChild(scenario('prepare-models'), { arguments: [dburi] })
  await child.call('check')
  let moment = 'killed at work'
  child.call('prepare').then(
    () => {
      moment = 'killed too late'
    },
    () => {},
  )
  await sleep(Math.random() * 1.3 * usual)
  child.kill()
  await child.exited
  return moment
}
