/** What somebody did to a connection is not seen by whoever gets it next. */

import { type PostgresJsHandle, SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { childRun, scenario } from '../fixtures/child-run.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'
import { failure, Observer, pidOf, until, withOptions } from './support.ts'

type Runner = Pick<PostgresJsHandle, 'execute' | 'transaction'>

/** What can be left behind. `kept` marks what leaves nothing, so that the connection may stay. */
const deeds: Record<string, { readonly kept?: true; readonly texts: readonly string[] }> = {
  'a transaction that was not ended': { kept: true, texts: ['create table unfinished (id int)'] },
  'an error in a transaction': { kept: true, texts: ['select 1', 'select no_such_column'] },
  'SET LOCAL': { kept: true, texts: ['set local search_path to pg_catalog'] },
  'a temporary table that is dropped with its transaction': {
    kept: true,
    texts: ['create temp table leftover on commit drop as select 1 as id', 'insert into leftover values (2)'],
  },
  'a table of pg_temp that is dropped with its transaction': {
    kept: true,
    texts: ['create table pg_temp.leftover (id int) on commit drop'],
  },
  'a lock of the transaction': { kept: true, texts: ['select pg_advisory_xact_lock(42)'] },
  SET: { texts: ['set search_path to pg_catalog'] },
  'SET of a timeout': { texts: ['SET SESSION statement_timeout TO 1'] },
  'SET ROLE': { texts: ['set role pg_monitor'] },
  set_config: { texts: [`select set_config('search_path', 'pg_catalog', false)`] },
  'SET in a text of several statements': { texts: ['select 1; /* ; */ set search_path to pg_catalog'] },
  'a temporary table': { texts: ['create temp table leftover (id int)'] },
  'a temporary table from a query': { texts: ['select 1 as id into temporary leftover'] },
  'a table of pg_temp': { texts: ['create table pg_temp.leftover (id int)'] },
  'a table of "pg_temp"': { texts: ['create table if not exists "pg_temp" . leftover (id int)'] },
  'a table of PG_TEMP from a query': { texts: ['select 1 as id into PG_TEMP.leftover'] },
  'a view of pg_temp': { texts: ['create view pg_temp.leftover as select 1 as id'] },
  'a sequence of pg_temp': { texts: ['create /* in */ sequence pg_temp.leftover'] },
  'a table where pg_temp comes first': {
    texts: [`select set_config('search_path', 'pg_temp, public', true); create table leftover (id int)`],
  },
  'an advisory lock': { texts: ['select pg_advisory_lock(42)'] },
  'an advisory lock that was tried for': { texts: ['select pg_try_advisory_lock_shared(42)'] },
  LISTEN: { texts: ['listen news'] },
  'a prepared statement of its own': { texts: ['prepare mine as select 1'] },
  'a cursor that outlives its transaction': {
    texts: ['declare leftover cursor with hold for select 1', 'fetch 1 from leftover'],
  },
}

/** What the next one may not find, as one value to compare. */
const state = sql`
  select current_setting('search_path') as search_path, current_setting('statement_timeout') as statement_timeout,
    current_user as role, to_regclass('pg_temp.leftover')::text as temporary,
    (select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
    array(select pg_listening_channels()) as channels, (select count(*)::int from pg_cursors where is_holdable) as cursors,
    (select count(*)::int from pg_prepared_statements where from_sql) as prepared`

const clean = {
  search_path: '"$user", public',
  statement_timeout: '0',
  role: 'postgres',
  temporary: null,
  locks: 0,
  channels: [],
  cursors: 0,
  prepared: 0,
}

describeNeeding('postgresql', 'a connection that is handed over', () => {
  const database = freshPostgres()
  let manager: SessionManager
  let observer: Observer

  beforeEach(() => {
    manager = new SessionManager()
    observer = new Observer(database.dburi)
  })
  afterEach(async () => {
    await manager.dispose({ grace: 0 })
    await observer[Symbol.asyncDispose]()
  })

  /** The ways to hold a connection; each runs the texts and gives it back without tidying up. */
  const ways: Record<
    string,
    (dburi: ReturnType<typeof withOptions>, texts: readonly string[]) => Promise<number>
  > = {
    async 'a session'(dburi, texts) {
      const { sessionMaker } = await manager.createSession(dburi)
      await using session = sessionMaker()
      return await doAll(session.db, texts)
    },
    async 'a session that commits'(dburi, texts) {
      const { sessionMaker } = await manager.createSession(dburi)
      await using session = sessionMaker()
      const pid = await doAll(session.db, texts)
      await failure(session.commit())
      return pid
    },
    async 'an autocommit session'(dburi, texts) {
      const { sessionMaker } = await manager.createSession(dburi, { autocommit: true })
      await using session = sessionMaker()
      return await doAll(session.db, texts)
    },
    async 'engine.connect()'(dburi, texts) {
      const engine = await manager.getEngine(dburi)
      await using connection = await engine.connect()
      return await doAll(connection.db, texts)
    },
    async 'a transaction of the engine'(dburi, texts) {
      const { db } = await manager.getEngine(dburi)
      let pid = 0
      await failure(
        db.transaction(async (tx) => {
          pid = await doAll(tx, texts)
        }),
      )
      return pid
    },
    async 'the engine'(dburi, texts) {
      const { db } = await manager.getEngine(dburi)
      return await doAll(db, texts)
    },
  }

  const table = Object.keys(ways).flatMap((way) => Object.keys(deeds).map((deed) => [way, deed] as const))

  it.each(table)('T17 %s leaves nothing of %s to the next one', async (way, deed) => {
    const { kept, texts } = deeds[deed] ?? { texts: [] }
    await observer.sql`drop table if exists unfinished`
    const dburi = withOptions(database.dburi, { pool_size: '1', max_overflow: '0' })
    const engine = await manager.getEngine(dburi)

    const pid = (await ways[way]?.(dburi, texts)) ?? 0
    await using next = await engine.connect()
    const [found] = await next.db.execute(state)
    const nextPid = await pidOf(next.db)
    const backends = await observer.sql`select state from pg_stat_activity where pid = ${nextPid}`

    expect({ ...found }).toEqual(clean)
    expect(backends[0]?.['state']).toBe('idle')
    expect(engine.stats()).toMatchObject({ open: 1, checkedOut: 1 })
    // Another backend where something may have stayed; the same one where ending the transaction tidied up.
    const autocommits = ['an autocommit session', 'engine.connect()', 'the engine'].includes(way)
    if (!kept) expect(nextPid).not.toBe(pid)
    else if (!autocommits) expect(nextPid).toBe(pid)
    const locks = () => observer.sql`
      select from pg_locks join pg_database on pg_database.oid = pg_locks.database
      where locktype = 'advisory' and datname = current_database() and pid <> ${nextPid}`
    // A backend that takes longer than a second to end is not waited for.
    await until(async () => (await locks()).length === 0)
  })

  it('T17 ten sessions with a temporary table each, dropped on commit, are served by one backend', async () => {
    const { sessionMaker } = await manager.createSession(
      withOptions(database.dburi, { pool_size: '1', max_overflow: '0' }),
    )
    const pids = new Set<number>()
    for (let count = 0; count < 10; count++) {
      await using session = sessionMaker()
      await session.db.execute(sql`create temp table staging (id int) on commit drop`)
      await session.db.execute(sql`insert into staging values (${count})`)
      pids.add(await pidOf(session.db))
      await session.commit()
    }

    expect(pids.size).toBe(1)
  })

  it.each(['listen news', '/* all */ LISTEN "news"', 'select 1; listen news'])(
    'T17 %s is refused by every handle, since nobody would hear',
    async (text) => {
      const engine = await manager.getEngine(withOptions(database.dburi, {}))
      const refusal = { code: 'INVALID_STATEMENT', message: expect.stringContaining('nobody would hear') }
      const execute = (db: Runner) => failure(db.execute(sql.raw(text)))
      await using connection = await engine.connect()

      expect(await execute(engine.db)).toMatchObject({ cause: refusal })
      expect(await execute(connection.db)).toMatchObject({ cause: refusal })
      await engine.db.transaction(async (tx) => {
        expect(await execute(tx)).toMatchObject({ cause: refusal })
        await tx.execute(sql`select 1`)
      })
    },
  )

  it.each([
    'declare mine cursor with hold for select 1 as one',
    'DECLARE mine SCROLL CURSOR\nWITH HOLD FOR select 1 as one',
    'select pg_advisory_lock(7)',
    'select pg_catalog.pg_try_advisory_lock_shared(8)',
  ])(
    'T17 %s is refused by engine.db, whose connection nobody holds, and runs on one that is held',
    async (text) => {
      const engine = await manager.getEngine(withOptions(database.dburi, {}))
      expect(await failure(engine.db.execute(sql.raw(text)))).toMatchObject({
        cause: { code: 'INVALID_STATEMENT', message: expect.stringContaining('Run it in a session') },
      })

      await using connection = await engine.connect()
      await connection.db.execute(sql.raw(text))
      const [held] = await connection.db.execute(sql`
      select (select count(*) from pg_cursors where is_holdable)
        + (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as held`)
      expect(held).toEqual({ held: '1' })
    },
  )

  it('T17 a session that is forgotten in its transaction is rolled back before anybody gets its connection', async () => {
    const dburi = withOptions(database.dburi, { pool_size: '1', max_overflow: '0' })
    const { sessionMaker } = await manager.createSession(dburi)
    await observer.sql`create table if not exists rows (id int)`
    const one = sessionMaker()
    await one.db.execute(sql`insert into rows values (1)`)

    const other = sessionMaker()
    const waiting = other.db.execute(sql`select count(*)::int as count from rows`)
    await one.close()

    expect(await waiting).toEqual([{ count: 0 }])
    await other.close()
  })

  it('T17 who shares a connection with a SET finds it gone when the SET has ended', async () => {
    const engine = await manager.getEngine(withOptions(database.dburi, { pool_size: '1', max_overflow: '0' }))
    await engine.db.execute(sql`set search_path to pg_catalog`)
    await until(() => engine.stats().open === 0)

    const [found] = await engine.db.execute(state)

    expect({ ...found }).toEqual(clean)
  })

  it('T17 control: the driver alone hands all of it on', async () => {
    const run = await childRun(scenario('faults-naive'), { arguments: ['dirty connection', database.dburi] })

    expect(run.emitted).toEqual([{ path: 'pg_catalog', temp: true, locked: true }])
  })
})

/** Runs the texts one after the other, whatever becomes of them; gives the backend they ran on. */
async function doAll(db: Runner, texts: readonly string[]): Promise<number> {
  const pid = await pidOf(db)
  for (const text of texts) await failure(db.execute(sql.raw(text)))
  return pid
}
