import { SessionManager } from 'drizzle-celery'
import { AsyncResult, DatabaseBackend } from 'drizzle-celery/backend'
import { sql } from 'drizzle-orm'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { codeFrom, failure } from '../../faults/support.ts'
import { childRun, scenario } from '../../fixtures/child-run.ts'
import { describeNeeding, freshPostgres } from '../../fixtures/servers.ts'

/** What is pg's own; the rest is asked of it by the conformance suite and by the suites of both drivers. */
describeNeeding('postgresql', 'pg', () => {
  const database = freshPostgres({ scheme: 'postgresql+pg' })
  let manager: SessionManager

  beforeEach(() => {
    manager = new SessionManager()
  })
  afterEach(() => manager.dispose({ grace: 0 }))

  const engineOf = (options = '') => manager.getEngine(`${database.dburi as PgDburi}?pool_size=1&${options}`)

  it('refuses to have libpq connect past what the dburi says', async () => {
    vi.stubEnv('NODE_PG_FORCE_NATIVE', '1')
    try {
      await expect(engineOf('application_name=native')).rejects.toMatchObject({
        code: 'REFUSED_OPTION',
        option: 'NODE_PG_FORCE_NATIVE',
      })
    } finally {
      vi.unstubAllEnvs()
    }
  })

  describe('$client', () => {
    it('answers as pg does', async () => {
      const { $client } = (await engineOf()).db
      const plain = new pg.Client({ connectionString: database.dburi.replace('+pg', '') })
      await plain.connect()
      const facts = ({ command, rowCount, oid, rows, fields }: Answer) => ({
        ...{ command, rowCount, oid, rows },
        fields: fields.map(({ name, dataTypeID }) => [name, dataTypeID]),
      })
      try {
        for (const [text, values] of [
          ['create temp table things (n int)', []],
          ['insert into pg_temp.things values ($1), ($2)', ['1', '2']],
          ['select n, n as n, $1::text as t from pg_temp.things', ['x']],
          ['select from pg_temp.things where n = $1', [5]],
        ] as const) {
          const ours = await $client.query(text.replace('temp table', 'table').replace('pg_temp.', ''), [
            ...values,
          ])
          expect(facts(ours), text).toEqual(facts(await plain.query(text, [...values])))
        }
        const both = { text: 'select 1 as a, 2 as a', rowMode: 'array' } as const
        expect((await $client.query(both)).rows).toEqual((await plain.query({ ...both })).rows)
        const several = (await $client.query('select 1 as n; select 2 as n')) as unknown as Answer[]
        expect(several.map(({ rows }) => rows)).toEqual([[{ n: 1 }], [{ n: 2 }]])
      } finally {
        await plain.end()
      }
    })

    it('keeps to the transaction of its handle', async () => {
      const { engine, sessionMaker } = await manager.createSession(`${database.dburi as PgDburi}?pool_size=2`)
      await engine.db.execute(sql`create table kept (n int)`)
      await using session = sessionMaker()
      await session.db.$client.query('insert into kept values ($1)', [1])
      expect((await session.db.$client.query('select n from kept')).rowCount).toBe(1)
      await session.rollback()

      expect((await engine.db.$client.query('select n from kept')).rows).toEqual([])
      expect(await codeFrom(session.db.$client.query('commit'))).toBe('INVALID_STATEMENT')
    })

    it('refuses by name what it lacks', async () => {
      const { $client } = (await engineOf()).db
      for (const name of ['connect', 'end', 'on', 'release'])
        expect(() => Reflect.get($client, name)()).toThrow(`$client.${name}()`)
    })
  })

  it('gives every statement to the query of pg, which tracing tools patch', async () => {
    const query = vi.spyOn(pg.Client.prototype, 'query')
    try {
      const { db } = await engineOf()
      await db.execute(sql`select ${'traced'}::text as answer`)
      const [config] = (query.mock.calls as unknown[][]).at(-1) ?? []

      expect(config).toMatchObject({ text: 'select $1::text as answer', values: ['traced'] })
    } finally {
      query.mockRestore()
    }
  })

  it('sends parameters with their types', async () => {
    const { db } = await engineOf()
    const typeOf = async (value: unknown) =>
      (await db.execute(sql`select pg_typeof(${value})::text as type`))[0]?.['type']

    expect(await typeOf(true)).toBe('boolean')
    expect(await typeOf(1n)).toBe('bigint')
    expect(await typeOf(2n ** 70n)).toBe('numeric')
    expect(await typeOf(new Uint8Array([1]))).toBe('bytea')
  })

  it('reads values as the adapter for postgres.js does', async () => {
    const plain = await manager.getEngine(database.dburi.replace('+pg', '') as `postgresql://${string}`)
    const values =
      sql.raw(`select true as bool, '\\x00ff'::bytea as bytea, 9007199254740993 as int8, 1.50 as numeric,
      1.5::real as real, '2020-01-02'::date as date, '2020-01-02 03:04:05'::timestamp as timestamp, '1 day'::interval as i,
      '{"a":[1]}'::json as json, '{"b":null}'::jsonb as jsonb, '{t,NULL}'::bool[] as bools, '{1,2}'::int8[] as int8s,
      '{"\\\\x00"}'::bytea[] as byteas, '{2020-01-02}'::date[] as dates, '{1.5}'::numeric[] as numerics, '(1,2)'::point as p,
      array['{"c":1}'::jsonb] as jsonbs, 1 as "__proto__"`)
    const [theirs] = await plain.db.execute(values)
    const [ours] = await (await engineOf()).db.execute(values)

    expect(ours).toEqual(theirs)
    expect(Object.entries(ours ?? {})).toEqual(Object.entries(theirs ?? {}))
    expect(Object.keys(ours ?? {})).toContain('__proto__')
  })

  it('says with rows from execute() what postgres.js says', async () => {
    const { db } = await engineOf()
    const rows = await db.execute(sql`create table told as select generate_series(1, 3) n`)

    expect(rows).toMatchObject({ command: 'SELECT', count: 3 })
    expect(await db.execute(sql`create index on told (n)`)).toMatchObject({
      command: 'CREATE INDEX',
      count: null,
    })
    expect(await db.execute(sql`select n from told`)).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
  })

  it('looks for nothing in the environment of pg', async () => {
    const added = {
      PGOPTIONS: '-c search_path=pg_temp',
      PGAPPNAME: 'somebody',
      PGSSLNEGOTIATION: 'direct',
      PGREPLICATION: 'database',
      PGCLIENT_ENCODING: 'latin1',
    }
    Object.assign(process.env, added)
    try {
      const [row] = await (await engineOf('application_name=mine')).db.execute(sql`select
        current_setting('application_name') as name, current_setting('search_path') as path,
        current_setting('client_encoding') as encoding`)

      expect(row).toEqual({ name: 'mine', path: '"$user", public', encoding: 'UTF8' })
    } finally {
      for (const name of Object.keys(added)) delete process.env[name]
    }
  })

  it('is not changed by the parsers that a program sets for all of pg', async () => {
    const parse = pg.types.getTypeParser(23)
    pg.types.setTypeParser(23, () => 'changed' as never)
    try {
      expect(await (await engineOf()).db.execute(sql`select 1 as n`)).toEqual([{ n: 1 }])
    } finally {
      pg.types.setTypeParser(23, parse as never)
    }
  })

  it('stores results, and hears of them', async () => {
    await using backend = new DatabaseBackend(database.dburi, { notify: true })
    const waiting = new AsyncResult('heard', backend).get({ timeout: 20 })
    await backend.markAsDone('heard', { n: 1 })

    expect(await waiting).toEqual({ n: 1 })
    expect(await backend.getTaskMeta('heard')).toMatchObject({ status: 'SUCCESS', result: { n: 1 } })
  })

  it.each(['idle-exit', 'notify-exit'])(
    'lets the process exit by itself: %s',
    { tags: 'full', timeout: 120_000 },
    async (name) => {
      await using backend = new DatabaseBackend(database.dburi)
      await backend.markAsDone('there', 1)
      const result = await childRun(scenario(name), { arguments: [database.dburi], timeout: 90_000 })

      expect(result).toMatchObject({ exitCode: 0, timedOut: false, stderr: '' })
    },
  )

  it('shows no parameter that pg hangs on an error', async () => {
    const { db } = await engineOf()
    const error = await failure(db.execute(sql`select ${'canary'}::int`))

    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('canary')
    expect(await codeFrom(db.execute(sql`select ${'canary'}::int`))).toBe('SQLSTATE 22P02')
  })
})

type PgDburi = `postgresql+pg://${string}`

/** The facts of a result that both have. */
interface Answer {
  readonly command: string | null
  readonly rowCount: number | null
  readonly oid: number | null
  readonly rows: unknown[]
  readonly fields: readonly { readonly name: string; readonly dataTypeID: number }[]
}
