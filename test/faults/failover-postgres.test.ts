/**
 * PostgreSQL that fails over while programs work: a primary, a standby, and a dburi that names both.
 *
 * @module-tag full
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { NotServingError, SessionManager } from 'drizzle-celery'
import { AsyncResult, DatabaseBackend } from 'drizzle-celery/backend'
import { sql } from 'drizzle-orm'
import pg from 'pg'
import postgres from 'postgres'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { causeOf } from '../adapters/conformance.ts'
import { type LoadReport, startLoad } from '../fixtures/failover-load.ts'
import { openHaproxy } from '../fixtures/haproxy.ts'
import { isLong } from '../fixtures/loops.ts'
import { openPgServer, type PgServer } from '../fixtures/pg-server.ts'
import { openPgBouncer } from '../fixtures/pgbouncer.ts'
import { describeNeeding, POSTGRES_SCHEMES } from '../fixtures/servers.ts'
import { nameFor } from '../fixtures/several-addresses.ts'
import { pidOf, until } from './support.ts'

/** A failover is seen below the drivers; a long run does it by both. */
const schemes = isLong ? POSTGRES_SCHEMES : POSTGRES_SCHEMES.slice(0, 1)

for (const scheme of schemes) {
  describeNeeding('private postgresql', `a failover of PostgreSQL (${scheme}:)`, () => {
    let primary: PgServer
    let standby: PgServer
    const at = (servers: readonly { readonly port: number }[], options = 'target_session_attrs=primary') =>
      `${scheme}://postgres@${servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}/postgres?${options}` as `postgresql://${string}`

    beforeEach(async () => {
      primary = await openPgServer({ settings: { fsync: 'off' } })
      standby = await primary.standby()
      // After the backup: the standby, once promoted, waits for nobody.
      await administer(primary, "alter system set synchronous_standby_names = '*'")
      await administer(primary, 'select pg_reload_conf()')
      // Commits wait for the standby only once the checkpointer has read the settings, as it does before a checkpoint.
      await administer(primary, 'checkpoint')
    })
    afterEach(async () => {
      await standby?.close()
      await primary?.close()
    })

    it('stores and counts outlast a crash, and those who wait go on waiting, whichever host is named first', async () => {
      const waiting = [at([primary, standby]), at([standby, primary])].map((dburi) => {
        const backend = new DatabaseBackend(dburi)
        return { backend, result: new AsyncResult('awaited', backend).get() }
      })
      const load = await startLoad(at([primary, standby]))
      await load.stores()

      await primary.killHard()
      await sleep(1_000)
      await standby.promote()
      const served = performance.now()
      await load.stores()
      const after = performance.now() - served
      const report = await load.end()
      await waiting[0]?.backend.storeResult('awaited', 'worth it', 'SUCCESS')

      expectKept(report)
      expect(await Promise.all(waiting.map(({ result }) => result))).toEqual(['worth it', 'worth it'])
      tell('crash and promotion', report, after)
      for (const { backend } of waiting) await backend.dispose()
    })

    it('stores and counts outlast a switchover', async () => {
      const load = await startLoad(at([primary, standby]))
      await load.stores()

      await primary.stop()
      await standby.promote()
      const served = performance.now()
      await load.stores()
      const after = performance.now() - served
      await primary.follow(standby)
      await sleep(500)
      const report = await load.end()

      expectKept(report)
      tell('switchover', report, after)
    })

    it.each(['read-write', 'any'])(
      'a server that was told to refuse writes is left for the other host (target_session_attrs=%s)',
      async (attrs) => {
        await standby.promote()
        await administer(primary, 'alter system reset synchronous_standby_names')
        await administer(primary, 'select pg_reload_conf()')
        const both = at([primary, standby], `target_session_attrs=${attrs}`)
        await using backend = new DatabaseBackend(both)
        await using other = new DatabaseBackend(at([standby], ''))
        await other.storeResult('there', 1, 'SUCCESS')
        await Promise.all([1, 2, 3].map((n) => backend.storeResult(`first-${n}`, n, 'SUCCESS')))

        await setReadOnly(primary, true)
        await Promise.all([1, 2, 3, 4, 5].map((n) => backend.storeResult(`second-${n}`, n, 'SUCCESS')))
        await backend.storeMany(
          Array.from({ length: 1_200 }, (_, n) => ({ taskId: `many-${n}`, result: n, state: 'SUCCESS' })),
        )

        expect(await other.getState('first-1')).toBe('PENDING')
        expect(await other.getState('second-5')).toBe('SUCCESS')
        expect(await other.getState('many-1199')).toBe('SUCCESS')
      },
    )

    it('a session that is refused a write since its server takes none is told so, and the next one works', async () => {
      await administer(primary, 'create table notes (id int)')
      await standby.promote()
      await administer(primary, 'alter system reset synchronous_standby_names')
      await setReadOnly(primary, true)
      await using manager = new SessionManager({ prepare: 'none' })
      const engine = await manager.getEngine(at([primary, standby], ''))

      const single = await causeOf(engine.db.execute(sql`insert into notes values (1)`))
      await engine.db.execute(sql`insert into notes values (2)`)

      expect(single).toBeInstanceOf(NotServingError)
      expect(single).toMatchObject({ code: 'NOT_SERVING', cause: { code: '25006' } })
      expect(await reads(standby, 'select id from notes')).toEqual([{ id: 2 }])
    })

    it('a transaction that is refused writes on a server that takes none leaves it at its end', async () => {
      await administer(primary, 'create table notes (id int)')
      await standby.promote()
      await administer(primary, 'alter system reset synchronous_standby_names')
      await setReadOnly(primary, true)
      await using manager = new SessionManager({
        prepare: 'none',
        engineOptions: { poolSize: 1, maxOverflow: 0 },
      })
      const dburi = at([primary, standby], '')
      const write = () => manager.session(dburi, (db) => db.execute(sql`insert into notes values (3)`))

      const refused = await causeOf(write())
      await until(
        async () => (await reads(standby, "select to_regclass('notes')::text as it"))[0]?.['it'] === 'notes',
      )
      await write()

      expect(refused).toMatchObject({ code: '25006' })
      expect(await reads(standby, 'select id from notes')).toEqual([{ id: 3 }])
    })

    it('that nobody is let in is certain at a statement, and not at a COMMIT', async () => {
      const raise = "raise exception 'the database system is starting up' using errcode = '57P03'"
      await administer(
        primary,
        `create table late (id int);
         create function late() returns trigger language plpgsql as $$ begin ${raise}; end $$;
         create constraint trigger late after insert on late deferrable initially deferred for each row execute function late()`,
      )
      await using manager = new SessionManager({ prepare: 'none' })
      const dburi = at([primary])
      const engine = await manager.getEngine(dburi)

      const single = await causeOf(engine.db.execute(sql.raw(`do $$ begin ${raise}; end $$`)))
      const commit = await causeOf(
        manager.session(dburi, (db) => db.execute(sql`insert into late values (1)`)),
      )

      expect(single).toMatchObject({ code: 'NOT_SERVING', cause: { code: '57P03' } })
      expect(commit).toMatchObject({ code: 'CONNECTION_LOST', cause: { code: '57P03' } })
    })

    it('a name with several addresses stands for several servers', async () => {
      await using name = await nameFor([standby.port, primary.port])
      await using manager = new SessionManager({ prepare: 'none' })
      const engine = await manager.getEngine(
        `${scheme}://postgres@${name.host}:${name.port}/postgres?target_session_attrs=primary` as 'postgresql://',
      )

      const [row] = await engine.db.execute(sql`select pg_is_in_recovery() as standby`)

      expect(row).toEqual({ standby: false })
    })

    it('a server told to refuse writes while a transaction is open is left after the one that it refuses', async () => {
      await administer(primary, 'create table notes (id int)')
      await standby.promote()
      await administer(primary, 'alter system reset synchronous_standby_names')
      await administer(primary, 'select pg_reload_conf()')
      await using manager = new SessionManager({
        prepare: 'none',
        engineOptions: { poolSize: 1, maxOverflow: 0 },
      })
      const session = await manager.sessionFactory(at([primary, standby], ''))
      const insert = (id: number) => session.db.execute(sql`insert into notes values (${id})`)
      await insert(1)
      await setReadOnly(primary, true)

      // PostgreSQL lets it end as it began.
      await insert(2)
      await session.commit()
      const refused = await causeOf(
        session.db.transaction((tx) => tx.execute(sql`insert into notes values (3)`)),
      )
      await session.commit()
      await insert(4)
      await session.commit()
      await session.close()

      expect(refused).toMatchObject({ code: '25006' })
      expect(await reads(primary, 'select id from notes order by id')).toEqual([{ id: 1 }, { id: 2 }])
      expect(await reads(standby, 'select id from notes order by id')).toEqual([{ id: 4 }])
    })

    it.each([
      ['that only reads', [], { accessMode: 'read only' }],
      ['that sets itself to only read', ['set transaction read only'], undefined],
      ['whose code gives that error', ['select refuse()'], undefined],
    ] as const)("a user's own transaction %s costs nobody his server", async (_, texts, options) => {
      const refusal = "begin raise exception 'no' using errcode = '25006'; end"
      await administer(primary, `create function refuse() returns int language plpgsql as $$ ${refusal} $$`)
      await using manager = new SessionManager({
        prepare: 'none',
        engineOptions: { poolSize: 1, maxOverflow: 0 },
      })
      const engine = await manager.getEngine(at([primary, standby], ''))
      const before = await pidOf(engine.db)

      const error = await causeOf(
        engine.db.transaction(async (tx) => {
          for (const text of texts) await tx.execute(sql.raw(text))
          await tx.execute(sql`create table nothing (id int)`)
        }, options),
      )

      expect(error).toMatchObject({ code: '25006' })
      expect(await pidOf(engine.db)).toBe(before)
    })

    it('nor does a connection that its user has told to only read', async () => {
      await using manager = new SessionManager({ prepare: 'none' })
      const engine = await manager.getEngine(at([primary, standby], ''))
      const connection = await engine.connect()
      const before = await pidOf(connection.db)
      await connection.db.execute(sql`set default_transaction_read_only = on`)

      const error = await causeOf(connection.db.execute(sql`create table nothing (id int)`))

      expect(error).toMatchObject({ code: '25006' })
      expect(await pidOf(connection.db)).toBe(before)
      await connection.close()
      await engine.db.execute(sql`create table something (id int)`)
    })

    describeNeeding('haproxy', 'behind HAProxy', () => {
      it('stores and counts outlast a crash of the server that it had chosen', async () => {
        await using proxy = await openHaproxy(
          [primary, standby].map((server) => ({ port: server.port, isFit: () => isPrimary(server) })),
        )
        const load = await startLoad(at([proxy], ''))
        await load.stores()

        await primary.killHard()
        await standby.promote()
        const served = performance.now()
        await load.stores()
        const after = performance.now() - served
        const report = await load.end()

        expectKept(report)
        tell('behind HAProxy', report, after)
      })
    })

    describeNeeding('pgbouncer', 'behind a pooler for each server', () => {
      // A pooler whose server was down tries again after 15 s.
      it('connections that outlive a demotion are left', {
        timeout: isLong ? 600_000 : 120_000,
      }, async () => {
        await using poolerOfFirst = await openPgBouncer(primary.dburi)
        await using poolerOfSecond = await openPgBouncer(standby.dburi)
        const poolers = [poolerOfFirst, poolerOfSecond].map(({ dburi }) => ({
          port: Number(new URL(dburi).port),
        }))
        for (const attrs of ['primary', 'any']) {
          const dburi = at(poolers, `target_session_attrs=${attrs}&pgbouncer=true`)
          await using backend = new DatabaseBackend(dburi)
          await Promise.all([1, 2, 3].map((n) => backend.storeResult(`before-${n}`, n, 'SUCCESS')))
          const [old, next] = attrs === 'primary' ? [primary, standby] : [standby, primary]
          // It would be promoted without what it has not been told.
          await until(async () => (await reads(old, FOLLOWERS)).length === 1)

          await old.stop()
          await next.promote()
          await old.follow(next)
          const states = await Promise.allSettled(
            Array.from({ length: 20 }, (_, n) => backend.storeResult(`after-${attrs}-${n}`, n, 'SUCCESS')),
          )

          expect(states.filter(({ status }) => status === 'rejected')).toEqual([])
          expect(await backend.getState(`after-${attrs}-19`)).toBe('SUCCESS')
        }
      })
    })
  })
}

const FOLLOWERS = "select from pg_stat_replication where state = 'streaming'"

/** What was acknowledged is there once, and no store failed. */
function expectKept({ lost, doubled, uncounted, failures }: LoadReport): void {
  expect({ lost, doubled, uncounted, failures }).toEqual({ lost: 0, doubled: 0, uncounted: 0, failures: {} })
}

function tell(what: string, report: LoadReport, after: number): void {
  console.info(
    `${what}: ${JSON.stringify(report)}, stored ${Math.round(after)} ms after a server could serve`,
  )
  if (isLong) expect(after).toBeLessThan(1_000)
}

async function administer(server: PgServer, text: string): Promise<void> {
  const client = postgres(server.dburi, { max: 1, onnotice: () => {} })
  await client.unsafe(text)
  await client.end()
}

/** The backends that are there have been told as well when a new one knows it: both are the work of the same process. */
async function setReadOnly(server: PgServer, isReadOnly: boolean): Promise<void> {
  const value = isReadOnly ? 'on' : 'off'
  await administer(server, `alter system set default_transaction_read_only = ${value}`)
  await administer(server, 'select pg_reload_conf()')
  const isKnown = async () => (await reads(server, 'show transaction_read_only'))[0]
  await until(async () => (await isKnown())?.['transaction_read_only'] === value)
}

/** By a client that may be cut off at any time. */
async function isPrimary(server: PgServer): Promise<boolean> {
  const client = new pg.Client({ connectionString: server.dburi })
  client.on('error', () => {})
  try {
    await client.connect()
    const { rows } = await client.query('select pg_is_in_recovery() as it')
    return rows[0]?.it === false
  } finally {
    client.end().catch(() => {})
  }
}

async function reads(server: PgServer, text: string): Promise<readonly Record<string, unknown>[]> {
  const client = postgres(server.dburi, { max: 1 })
  try {
    return [...(await client.unsafe(text))]
  } finally {
    await client.end()
  }
}
