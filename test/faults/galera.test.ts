/**
 * A Galera cluster of three nodes: its tables, its migrations, and nodes that leave it while programs work.
 *
 * @module-tag full
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { SchemaError, SessionManager } from 'drizzle-celery'
import { DatabaseBackend } from 'drizzle-celery/backend'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import type { PreparedModels } from '../../src/schema/diff.ts'
import { causeOf } from '../adapters/conformance.ts'
import { type Child, scenario, startChild } from '../fixtures/child-run.ts'
import { startLoad } from '../fixtures/failover-load.ts'
import { type Galera, type GaleraNode, openGalera } from '../fixtures/galera.ts'
import { isLong } from '../fixtures/loops.ts'
import { describeNeeding } from '../fixtures/servers.ts'
import { times, until } from './support.ts'

const timeout = isLong ? 900_000 : 300_000

describeNeeding('galera', 'a Galera cluster', () => {
  let cluster: Galera
  let node: readonly [GaleraNode, GaleraNode, GaleraNode]
  let directory: string
  let databases = 0
  let database: string

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'dc-galera-'))
    cluster = await openGalera(30)
    const [first, second, third] = cluster.nodes
    if (first === undefined || second === undefined || third === undefined) throw new Error('Too few nodes')
    node = [first, second, third]
  }, timeout)
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true, force: true })
  })
  beforeEach(async () => {
    database = `test_${++databases}`
    await node[0].run(`create database ${database}`)
    for (const each of node)
      await until(async () => (await each.run(`show databases like '${database}'`)).length === 1)
  })

  /** A drizzle-kit folder of these migrations, in order. */
  function folderOf(migrations: Readonly<Record<string, readonly string[]>>): string {
    const folder = mkdtempSync(join(directory, 'migrations-'))
    mkdirSync(join(folder, 'meta'))
    const entries = Object.keys(migrations).map((tag, idx) => ({
      idx,
      version: '5',
      when: idx,
      tag,
      breakpoints: true,
    }))
    writeFileSync(
      join(folder, 'meta/_journal.json'),
      JSON.stringify({ version: '7', dialect: 'mysql', entries }),
    )
    for (const [tag, statements] of Object.entries(migrations)) {
      writeFileSync(join(folder, `${tag}.sql`), statements.join(';\n--> statement-breakpoint\n'))
    }
    return folder
  }
  let migrators: Child[] = []
  /** A process that is connected to this node, and stands ready to migrate. */
  async function startMigrator(at: GaleraNode): Promise<Child> {
    const child = await startChild(scenario('migrate'), {
      arguments: [cluster.dburi(database, [at])],
      timeout,
    })
    migrators.push(child)
    return child
  }
  afterEach(async () => {
    await Promise.all(migrators.map((child) => child[Symbol.asyncDispose]()))
    migrators = []
  })
  const migrate = async (child: Child, folder: string, table = 'journal') =>
    ((await child.call('migrate', { folder, table })) as PreparedModels).migrated

  it('prepares the default models from all nodes at once, and draws ids from them', { timeout }, async () => {
    const managers = times(9, async (at) => {
      const manager = new SessionManager()
      const dburi = cluster.dburi(database, node.slice(at % 3, (at % 3) + 1))
      await manager.session(dburi, { attempts: 10 }, (db, { models }) =>
        db.insert(models.task).values({ taskId: `task-${at}`, status: 'SUCCESS' }),
      )
      await manager.dispose()
    })
    await managers

    for (const each of node) {
      const count = async () =>
        (await each.run('select count(distinct id) as n from celery_taskmeta', database))[0]?.['n']
      await until(async () => Number(await count()) === 9)
    }
  })

  it('runs each migration once, whatever node a process is connected to', { timeout }, async () => {
    const children = await times(9, (at) => startMigrator(node[at % 3] ?? node[0]))
    for (let round = 0; round < 20; round++) {
      const table = `journal_${round}`
      const folder = folderOf({
        '0000_made': [
          `create table acc_${round} (id int primary key, cents int)`,
          `insert into acc_${round} values (1, 100), (2, 100)`,
        ],
        '0001_doubled': [1, 2].map((id) => `update acc_${round} set cents = cents * 2 where id = ${id}`),
      })

      const outcomes = await Promise.allSettled(children.map((child) => migrate(child, folder, table)))

      expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([])
      const ran = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? outcome.value : []))
      expect(ran.sort()).toEqual(['0000_made', '0001_doubled'])
      expect(await node[0].run(`select id, cents from acc_${round} order by id`, database)).toEqual([
        { id: 1, cents: 200 },
        { id: 2, cents: 200 },
      ])
      expect(
        await node[0].run(`select name, length(hash) as n from ${table} order by name`, database),
      ).toEqual([
        { name: '0000_made', n: 64 },
        { name: '0001_doubled', n: 64 },
      ])
    }
  })

  it('notes a baseline once, and runs nothing of it', { timeout }, async () => {
    await node[0].run('create table acc (id int primary key)', database)
    const folder = folderOf({
      '0000_there': ['create table acc (id int primary key)'],
      '0001_there': ['alter table acc add column nothing int'],
      '0002_new': ['alter table acc add column cents int'],
    })
    const reports = await times(6, async (at) => {
      const manager = new SessionManager({ models: { mysql: {} } })
      const engine = await manager.getEngine(cluster.dburi(database, node.slice(at % 3, (at % 3) + 1)))
      const options = { prepare: 'migrate', migrations: { folder, baseline: '0001_there' } } as const
      const report = await manager.prepareModels(engine, options)
      await manager.dispose()
      return report.migrated
    })

    expect(reports.flat()).toEqual(['0002_new'])
  })

  it('tells of a migration whose process was killed in the middle, and runs it nowhere again', {
    timeout,
  }, async () => {
    const folder = folderOf({
      '0000_slow': [
        'create table acc (id int primary key)',
        'insert into acc select 1 from (select sleep(600)) as s',
        'insert into acc values (2)',
      ],
    })
    const killed = await startMigrator(node[0])
    const other = await startMigrator(node[1])
    const begun = migrate(killed, folder).catch((error: unknown) => error)
    const isSleeping = async () =>
      (
        await node[0].run(
          "select 1 from information_schema.processlist where info like 'insert into acc select%'",
        )
      ).length > 0
    await until(isSleeping)

    killed.kill()
    await begun
    const error = String(await migrate(other, folder).catch((reason: unknown) => reason))

    expect(error).toMatch(/0000_slow was begun by \S+:\d+:\w+, who gives no sign of life any more/)
    expect(error).toContain('statement 2 of 3 was begun, and may have been run')
    expect(error).toContain("DELETE FROM `journal` WHERE name = '0000_slow'")
    expect(await node[1].run('select id from acc where id = 2', database)).toEqual([])
  })

  it('begins no migration where the pool has no connection for signs of life', { timeout }, async () => {
    const folder = folderOf({ '0000_made': ['create table acc (id int primary key)'] })
    await using manager = new SessionManager({ models: { mysql: {} } })
    const dburi = `${cluster.dburi(database)}?pool_size=1&max_overflow=0&pool_timeout=3` as const
    const engine = await manager.getEngine(dburi)

    const error = await causeOf(
      manager.prepareModels(engine, { prepare: 'migrate', migrations: { folder, table: 'journal' } }),
    )

    expect(error).toMatchObject({ code: 'SCHEMA_MIGRATIONS' })
    expect(String(error)).toMatch(/second connection.*Nothing was changed/)
    expect(await node[0].run('select name from journal', database)).toEqual([])
  })

  it.skipIf(!isLong)(
    'waits for a statement that takes longer than the silence of a dead process (by LONG=1)',
    { timeout },
    async () => {
      const folder = folderOf({
        '0000_long': ['create table acc (id int primary key)', 'do sleep(18)', 'insert into acc values (1)'],
      })
      const first = await startMigrator(node[0])
      const second = await startMigrator(node[1])

      const ran = await Promise.all([migrate(first, folder), migrate(second, folder)])

      expect(ran.flat()).toEqual(['0000_long'])
    },
  )

  it.skipIf(!isLong)(
    'waits for DDL that holds up all writes for longer than that (by LONG=1)',
    { timeout },
    async () => {
      await node[0].run('create table big (id int primary key auto_increment, x char(200))', database)
      await node[0].run("insert into big (x) values (repeat('x', 200))", database)
      // Until a copy of it takes long enough to silence its process; the copies go on on all nodes at once.
      let took = 0
      for (let rows = 1; took < 25_000; rows *= 2) {
        await node[0].run('insert into big (x) select x from big', database)
        if (rows < 100_000) continue
        const startedAt = performance.now()
        await node[0].run('alter table big force, algorithm = copy', database)
        took = performance.now() - startedAt
      }
      const folder = folderOf({ '0000_long': ['alter table big add column y int first, algorithm = copy'] })
      const first = await startMigrator(node[0])
      const second = await startMigrator(node[1])

      const ran = await Promise.all([migrate(first, folder), migrate(second, folder)])

      console.info(`DDL of ${Math.round(took)} ms`)
      expect(ran.flat()).toEqual(['0000_long'])
    },
  )

  it.skipIf(!isLong)(
    'takes over from a process that was killed before it began (by LONG=1)',
    { timeout },
    async () => {
      const folder = folderOf({ '0000_made': ['create table acc (id int primary key)'] })
      await node[1].run(
        'create table drizzle_celery_migrations (name varchar(255) primary key, hash varchar(64) not null, applied_at timestamp default current_timestamp not null)',
        database,
      )
      await node[1].run(
        "insert into drizzle_celery_migrations (name, hash) values ('0000_made', 'begun 0 gone:1:2')",
        database,
      )
      await using manager = new SessionManager({ models: { mysql: {} } })
      const engine = await manager.getEngine(cluster.dburi(database, [node[2]]))

      const { migrated } = await manager.prepareModels(engine, { prepare: 'migrate', migrations: { folder } })

      expect(migrated).toEqual(['0000_made'])
    },
  )

  it('frees a migration whose first statement the server refuses', { timeout }, async () => {
    await using manager = new SessionManager({ models: { mysql: {} } })
    const engine = await manager.getEngine(cluster.dburi(database))
    const run = (migrations: Record<string, string[]>) =>
      manager.prepareModels(engine, { prepare: 'migrate', migrations: { folder: folderOf(migrations) } })

    const refused = await causeOf(run({ '0000_made': ['create table nonsense'] }))
    const half = await causeOf(run({ '0000_made': ['create table acc (id int primary key)', 'nonsense'] }))
    const again = await causeOf(run({ '0000_made': ['create table acc (id int primary key)'] }))

    expect(refused).toBeInstanceOf(SchemaError)
    expect(String(refused)).toContain('None of its statements was run')
    expect(String(half)).toMatch(
      /statements up to 1 were run and stay.*UPDATE `drizzle_celery_migrations` SET hash/,
    )
    expect(String(again)).toContain('statement 2 of 1 was begun')
  })

  it('1,000 transfers that meet each other are all made, and the sum stays', { timeout }, async () => {
    const transfers = 1_000
    await node[0].run(
      'create table accounts (id int primary key, balance int not null) engine=innodb',
      database,
    )
    await node[0].run('insert into accounts values (1, 1000), (2, 1000), (3, 1000), (4, 1000)', database)
    await node[0].run('create table made (id int primary key) engine=innodb', database)
    const manager = new SessionManager({ models: { mysql: {} }, prepare: 'none' })
    let left = transfers
    await Promise.all(
      node.flatMap((at) =>
        Array.from({ length: 4 }, async () => {
          const dburi = cluster.dburi(database, [at])
          while (left > 0) {
            const id = left--
            const [from, to] =
              id % 2 === 0 ? [1 + (id % 4), 1 + ((id + 1) % 4)] : [1 + ((id + 1) % 4), 1 + (id % 4)]
            await manager.session(dburi, { attempts: 100 }, async (db) => {
              await db.execute(sql`update accounts set balance = balance - 1 where id = ${from}`)
              await db.execute(sql`update accounts set balance = balance + 1 where id = ${to}`)
              await db.execute(sql`insert into made values (${id})`)
            })
          }
        }),
      ),
    )
    await manager.dispose()

    for (const each of node) {
      const count = async () => Number((await each.run('select count(*) as n from made', database))[0]?.['n'])
      await until(async () => (await count()) === transfers)
      expect(Number((await each.run('select sum(balance) as s from accounts', database))[0]?.['s'])).toBe(
        4_000,
      )
    }
  })

  // A cluster each: one that a node has just come back to sometimes breaks down by itself when it leaves again.
  it.each(['a stop in good order', 'kill -9', 'isolation'])(
    'stores and counts outlast %s of the first node',
    { timeout },
    async (what) => {
      await using own = await openGalera(4)
      const [first, second] = own.nodes
      if (first === undefined || second === undefined) throw new Error('Too few nodes')
      await first.run('create database app')
      const load = await startLoad(own.dburi('app'))
      await load.stores()
      await sleep(500)

      if (what === 'kill -9') await first.server.killHard()
      else if (what === 'isolation') await first.isolate()
      else await first.server.stop()
      // As soon as the others have settled without it, they take writes.
      const write = () => second.run('replace into app.counter values (2, 0)')
      await until(() => write().then(Boolean, () => false), { within: 20_000 })
      const served = performance.now()
      await load.stores()
      const after = performance.now() - served
      await using another = new DatabaseBackend(own.dburi('app'))
      await another.storeResult('of a new process', 1, 'SUCCESS')
      await sleep(1_000)
      if (isLong && what !== 'isolation') {
        // It comes back, and gets what it missed from another node, which serves meanwhile.
        await first.server.start()
        await first.serves(3)
        await load.stores()
        await sleep(1_000)
      }
      const { lost, doubled, uncounted, failures, ...figures } = await load.end()

      console.info(
        `${what}: ${JSON.stringify(figures)}, stored ${Math.round(after)} ms after the others served`,
      )
      expect({ lost, doubled, uncounted, failures }).toEqual({
        lost: 0,
        doubled: 0,
        uncounted: 0,
        failures: {},
      })
      if (isLong) expect(after).toBeLessThan(1_000)
    },
  )
})
