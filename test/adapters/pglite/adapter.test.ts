import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { inspect } from 'node:util'
import { eq, sql } from 'drizzle-orm'
import { bigint, date, integer, json, pgTable, text, timestamp } from 'drizzle-orm/pg-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { pglite } from '../../../src/adapters/pglite/adapter.ts'
import { lockDirectory } from '../../../src/adapters/pglite/directory-lock.ts'
import { Instance } from '../../../src/adapters/pglite/instance.ts'
import { pgliteOptions } from '../../../src/adapters/pglite/options.ts'
import type { Connection } from '../../../src/driver/types.ts'
import {
  AbortedError,
  ClosedError,
  ConnectError,
  DatabaseLockedError,
  OptionError,
  PendingRollbackError,
  StatementError,
  TransactionAbortedError,
} from '../../../src/errors.ts'
import { readAcks } from '../../fixtures/ack-log.ts'
import { type Child, childRun, scenario, startChild } from '../../fixtures/child-run.ts'
import { atMost, loops } from '../../fixtures/loops.ts'
import {
  openPglite,
  type PgliteEngine,
  type PgliteSession,
  pgliteDburi,
  sessionOn,
} from '../../fixtures/pglite-engine.ts'
import { useInitdb } from '../../fixtures/pglite-template.ts'

useInitdb()

const rows = pgTable('rows', { id: integer().primaryKey(), name: text().notNull() })

let root: string
let template: string
let engine: PgliteEngine

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'pglite-'))
  template = join(root, 'template')
  await using made = await openPglite(template)
  await made.db.execute(sql`create table rows (id int primary key, name text not null)`)
  await made.dispose()
  engine = await openPglite(ownDirectory())
})

afterAll(async () => {
  await engine.dispose()
  rmSync(root, { recursive: true, force: true })
})

let directories = 0

/** A directory with the empty table `rows`; copying one is quicker than making one. */
function ownDirectory(): string {
  const directory = emptyPlace()
  cpSync(template, directory, { recursive: true })
  return directory
}

function emptyPlace(): string {
  return join(root, `directory-${directories++}`)
}

async function namesIn(opened: PgliteEngine | PgliteSession): Promise<string[]> {
  return (await opened.db.select().from(rows).orderBy(rows.id)).map(({ name }) => name)
}

/** Empties the shared table. */
async function emptied(): Promise<PgliteEngine> {
  await engine.db.delete(rows)
  return engine
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  )
  if (!(error instanceof Error)) throw new Error('It did not fail')
  return error
}

describe('statements that succeed in vain', () => {
  it.each([
    ['listen news', 'nobody would hear'],
    ['declare mine cursor with hold for select 1', 'Run it in a session'],
    ['select pg_try_advisory_lock(7)', 'Run it in a session'],
  ])('%s is refused', async (text, reason) => {
    await expect(engine.db.execute(sql.raw(text))).rejects.toMatchObject({
      cause: { code: 'INVALID_STATEMENT', message: expect.stringContaining(reason) },
    })
  })
})

describe('a statement that has run before', () => {
  it('takes a value of the type that a column has got since', async () => {
    const { db } = engine
    await db.execute(sql`create table altered (v real, at timestamp)`)
    const insert = (v: string) =>
      db.execute(sql`insert into altered values (${v}, ${'2024-06-01 12:00:00+05'})`)
    await insert('0.5')
    await db.execute(sql`alter table altered alter v type double precision, alter at type timestamptz`)
    await insert('0.1')

    const { rows } = await db.execute(
      sql`select v::text, (at at time zone 'utc')::text as at from altered order by v limit 1`,
    )
    expect(rows).toEqual([{ v: '0.1', at: '2024-06-01 07:00:00' }])
  })
})

describe('results', () => {
  it('are arrays of rows that also have the properties of PGlite', async () => {
    const { db } = await emptied()
    await db.insert(rows).values([
      { id: 1, name: 'ann' },
      { id: 2, name: 'bob' },
    ])

    const read: unknown = await db.execute(sql`select id, name from rows order by id`)
    const written: unknown = await db.execute(sql`update rows set name = ${'eve'}`)

    expect(read).toEqual([
      { id: 1, name: 'ann' },
      { id: 2, name: 'bob' },
    ])
    expect(read).toMatchObject({ rows: read, count: 2, affectedRows: 0, command: 'SELECT' })
    expect(read).toHaveProperty('fields', [
      { name: 'id', dataTypeID: 23 },
      { name: 'name', dataTypeID: 25 },
    ])
    expect(written).toHaveLength(0)
    expect(written).toMatchObject({ rows: [], count: 2, affectedRows: 2, command: 'UPDATE' })
    expect(inspect(read)).toBe("[ { id: 1, name: 'ann' }, { id: 2, name: 'bob' } ]")
    expect(JSON.stringify(read)).toBe('[{"id":1,"name":"ann"},{"id":2,"name":"bob"}]')
  })

  it('come back through every kind of query of Drizzle', async () => {
    const { db } = await emptied()

    const inserted = await db.insert(rows).values({ id: 1, name: 'ann' }).returning()
    const plain = await db.insert(rows).values({ id: 2, name: 'bob' }).onConflictDoNothing()
    const counted = await db.$count(rows)
    const prepared = db
      .select()
      .from(rows)
      .where(eq(rows.id, sql.placeholder('id')))
      .prepare('by_id')

    expect(inserted).toEqual([{ id: 1, name: 'ann' }])
    expect(plain.affectedRows).toBe(1)
    expect(counted).toBe(2)
    expect(await prepared.execute({ id: 2 })).toEqual([{ id: 2, name: 'bob' }])
    expect(await prepared.execute({ id: 3 })).toEqual([])
  })

  it('of several statements in one text are a list of theirs', async () => {
    const { db } = await emptied()

    const answers: unknown = await db.execute(
      sql`insert into rows values (1, 'ann'), (2, 'bob'); select 7 as n`,
    )
    const executed = await db.$client.exec('select 1 as a; select 2 as b')
    const single = await db.$client.exec('select 1 as a')

    expect(answers).toMatchObject([{ affectedRows: 2 }, [{ n: 7 }]])
    expect(executed).toEqual([[{ a: 1 }], [{ b: 2 }]])
    expect(single).toEqual([[{ a: 1 }]])
  })

  it('of an empty text have no rows', async () => {
    expect(await engine.db.execute(sql.raw('-- nothing'))).toEqual([])
  })
})

describe('values', () => {
  it('of bytea are Uint8Array both ways', async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte)

    const [row] = (await engine.db.execute(
      sql`select ${bytes} as one, ${Buffer.from('x')}::bytea as two, ''::bytea as none`,
    )) as unknown as Record<string, unknown>[]

    expect(row?.['one']).toBeInstanceOf(Uint8Array)
    expect(row).toEqual({ one: bytes, two: new Uint8Array([120]), none: new Uint8Array() })
  })

  it('of dates and times stay strings in raw SQL, and are what the column says in Drizzle', async () => {
    const dates = pgTable('dates', { at: timestamp(), day: date(), days: date().array() })
    await engine.db.execute(sql`create table dates (at timestamp, day date, days date[])`)
    const at = new Date('2026-02-03T04:05:06.789Z')

    await engine.db.insert(dates).values({ at, day: '2026-02-03', days: ['2026-02-03'] })

    expect(await engine.db.execute(sql`select * from dates`)).toEqual([
      { at: '2026-02-03 04:05:06.789', day: '2026-02-03', days: '{2026-02-03}' },
    ])
    expect(await engine.db.select({ at: dates.at, day: dates.day }).from(dates)).toEqual([
      { at, day: '2026-02-03' },
    ])
    expect(await engine.db.execute(sql`select ${at}::timestamptz as t, interval '1 day' as i`)).toEqual([
      { t: '2026-02-03 04:05:06.789+00', i: '1 day' },
    ])
  })

  it('of arrays, JSON, bigint and boolean come through', async () => {
    const kinds = pgTable('kinds', {
      list: text().array(),
      data: json(),
      big: bigint({ mode: 'bigint' }),
      flag: integer(),
    })
    await engine.db.execute(sql`create table kinds (list text[], data json, big bigint, flag int)`)
    const row = { list: ['a"b', 'c\\d', 'e,f'], data: { a: [1, null] }, big: 2n ** 60n, flag: null }

    await engine.db.insert(kinds).values(row)
    const raw = await engine.db.execute(
      sql`select ${true} as yes, ${sql.param(['x', null])}::text[] as list, ${sql.param([1, 'a', { b: 2 }])}::json as data`,
    )

    expect(await engine.db.select().from(kinds)).toEqual([row])
    expect(raw).toEqual([{ yes: true, list: ['x', null], data: [1, 'a', { b: 2 }] }])
  })

  it.each([
    ['undefined', undefined],
    ['a symbol', Symbol('canary')],
    ['a function', () => {}],
    ['an invalid Date', new Date(Number.NaN)],
  ])('that cannot be sent are refused by position: %s', async (_, value) => {
    const client = engine.db.$client

    const error = await failure(client.query('select $1, $2', [1, value]))

    expect(error).toBeInstanceOf(StatementError)
    expect(error.message).toMatch(/parameter 2/)
  })

  it('may number 65,534 and no more', async () => {
    const many = (count: number) => Array.from({ length: count }, () => sql`${1}`)

    const {
      rows: [row],
    } = await engine.db.execute(sql`select array_length(array[${sql.join(many(65_534), sql`,`)}], 1) as n`)
    const error = await failure(engine.db.execute(sql`select array[${sql.join(many(65_535), sql`,`)}]`))

    expect(row).toEqual({ n: 65_534 })
    expect(error.cause).toMatchObject({ code: 'INVALID_PARAMETER' })
  })
})

describe('errors', () => {
  const canary = 'CANARY-1f9c'

  it('keep what PostgreSQL says of them, by the names of both drivers', async () => {
    const { db } = await emptied()
    await db.insert(rows).values({ id: 1, name: 'ann' })

    const { cause } = await failure(db.insert(rows).values({ id: 1, name: canary }))

    expect(cause).toMatchObject({
      code: '23505',
      severity: 'ERROR',
      constraint: 'rows_pkey',
      constraint_name: 'rows_pkey',
      table: 'rows',
      table_name: 'rows',
      schema_name: 'public',
    })
    expect(cause).not.toHaveProperty('detail')
  })

  it.each([
    ['22P02', sql`select ${canary}::int`],
    ['23505', sql`insert into secrets values (${canary}), (${canary})`],
    ['23502', sql`insert into secrets values (${canary}, null)`],
    ['22003', sql`select ${7_777_777_777_777}::int`],
    ['22P02', sql`select ${`{${canary}`}::json`],
    ['42601', sql`select ${canary} frm x y`],
    ['P0001', sql`select fail(${canary})`],
  ])('show no parameter: %s', async (code, statement) => {
    await engine.db.execute(
      sql`create table if not exists secrets (name text primary key, must int not null default 1)`,
    )
    await engine.db.execute(sql`create or replace function fail(t text) returns int language plpgsql as
      $$ begin raise exception 'no % here', t using detail = t, hint = t; end $$`)

    const error = await failure(engine.db.execute(statement))

    expect(error.cause).toMatchObject({ code })
    const shown = [inspect(error, { depth: 9, showHidden: true }), error.stack, JSON.stringify(error)].join()
    expect(shown).not.toContain(canary)
    expect(shown).not.toContain('7777777777777')
  })

  it('show parameters when they may', async () => {
    await using exposing = await openPglite(ownDirectory(), { exposeParameters: true })

    const error = await failure(exposing.db.execute(sql`select ${canary}::int`))

    expect(error.cause).toMatchObject({
      code: '22P02',
      message: expect.stringContaining(canary),
      params: [canary],
    })
  })

  it('stop no later statement', async () => {
    const { db } = await emptied()

    const outcomes = await Promise.allSettled([
      db.execute(sql`select 1/0`),
      db.execute(sql`selec`),
      db.execute(sql`select ${'x'}::int`),
      db.execute(sql`insert into rows values (1, 'ann'); select 1/0`),
      db.execute(sql`select 1`),
    ])

    expect(outcomes.map(({ status }) => status)).toEqual([
      'rejected',
      'rejected',
      'rejected',
      'rejected',
      'fulfilled',
    ])
    expect(await namesIn(engine)).toEqual([]) // several statements in one text are one transaction
  })

  it.each(['begin', 'commit', 'rollback', 'select 1; commit', "select '\0'"])('refuse %j', async (text) => {
    const error = await failure(engine.db.execute(sql.raw(text)))

    expect(error.cause).toBeInstanceOf(StatementError)
  })
})

describe('a session', () => {
  it('keeps what it commits and nothing else', async () => {
    await emptied()
    await using session = sessionOn(engine)

    await session.db.insert(rows).values({ id: 1, name: 'kept' })
    await session.commit()
    await session.db.insert(rows).values({ id: 2, name: 'undone' })
    await session.rollback()
    await session.db.insert(rows).values({ id: 3, name: 'left' })
    await session.close()

    expect(await namesIn(engine)).toEqual(['kept'])
  })

  it('refuses to commit after a statement failed, and says which', async () => {
    await emptied()
    await using session = sessionOn(engine)
    await session.db.insert(rows).values({ id: 1, name: 'lost' })
    await session.db.execute(sql`select 1/0`).catch(() => {})

    const error = await failure(session.commit())

    expect(error).toBeInstanceOf(TransactionAbortedError)
    expect(error.cause).toMatchObject({ code: '22012' })
    await expect(session.db.execute(sql`select 1`)).rejects.toThrow()
    await session.rollback()
    await session.db.insert(rows).values({ id: 2, name: 'anew' })
    await session.commit()
    expect(await namesIn(engine)).toEqual(['anew'])
  })

  it('rejects a commit that a deferred constraint forbids', async () => {
    await engine.db.execute(sql`create table deferred (id int unique deferrable initially deferred)`)
    await using session = sessionOn(engine)
    await session.db.execute(sql`insert into deferred values (1), (1)`)

    const error = await failure(session.commit())

    expect(error).toMatchObject({ code: '23505' })
    await session.rollback()
    expect(await engine.db.execute(sql`select * from deferred`)).toEqual([])
  })

  it('nests transactions: each keeps or undoes its own part', async () => {
    await emptied()
    await using session = sessionOn(engine)

    await session.db.insert(rows).values({ id: 1, name: 'outer' })
    await session.db.transaction(async (tx) => {
      await tx.insert(rows).values({ id: 2, name: 'inner' })
      await failure(
        tx.transaction(async (deeper) => {
          await deeper.insert(rows).values({ id: 3, name: 'deepest' })
          await deeper.insert(rows).values({ id: 1, name: 'taken' })
        }),
      )
      await tx.transaction((deeper) => deeper.insert(rows).values({ id: 4, name: 'deep' }))
    })
    await failure(
      session.db.transaction(async (tx) => {
        await tx.insert(rows).values({ id: 5, name: 'undone' })
        tx.rollback()
      }),
    )
    await session.commit()

    expect(await namesIn(engine)).toEqual(['outer', 'inner', 'deep'])
  })

  it.each(['read committed', 'repeatable read', 'serializable'] as const)(
    'begins %s',
    async (isolationLevel) => {
      await using session = sessionOn(engine)

      await session.begin({ isolationLevel, readOnly: true, deferrable: true })

      expect(
        await session.db.execute(
          sql`select current_setting('transaction_isolation') as i, current_setting('transaction_read_only') as r,
          current_setting('transaction_deferrable') as d`,
        ),
      ).toEqual([{ i: isolationLevel, r: 'on', d: 'on' }])
      const error = await failure(session.db.insert(rows).values({ id: 1, name: 'x' }))
      expect(error.cause).toMatchObject({ code: '25006' })
    },
  )

  it('takes its turn while another is in a transaction', async () => {
    await emptied()
    await using first = sessionOn(engine)
    await first.db.insert(rows).values({ id: 1, name: 'first' })

    const others = Array.from({ length: 5 }, async (_, index) => {
      await using session = sessionOn(engine)
      const seen = await namesIn(session)
      await session.db.insert(rows).values({ id: index + 2, name: `${index + 2}` })
      await session.commit()
      return seen.length
    })
    const single = engine.db.$count(rows)
    await first.rollback()

    expect(await Promise.all(others)).toEqual([0, 1, 2, 3, 4])
    expect(await single).toBe(5)
  })

  it('refuses use after close', async () => {
    const session = sessionOn(engine)
    await session.db.execute(sql`select 1`)
    await session.close()

    const error = await failure(session.db.execute(sql`select 1`))

    expect(error.cause).toBeInstanceOf(ClosedError)
  })
})

describe('a new connection', () => {
  it('finds the data of the one before, and nothing else of it', async () => {
    const settled = { statementCacheSize: 256, maxResponseBytes: 2 ** 30, exposeParameters: false }
    const database = await pglite.open(pgliteDburi(ownDirectory()), settled)
    const run = (connection: Connection, text: string) =>
      connection.run({ sql: text, params: [], asArrays: false })
    const first = await database.connect()
    await run(first, `insert into rows values (1, 'kept')`)
    await run(first, 'set search_path = pg_catalog')
    await run(first, 'create temporary table rows (id int)')
    await first.begin({})
    await run(first, `insert into public.rows values (2, 'undone')`)

    first.discard(new Error('enough'))
    const second = await database.connect()

    expect(await run(second, 'select name, current_schema from rows')).toEqual([
      { name: 'kept', current_schema: 'public' },
    ])
    expect([first.tainted, second.tainted]).toEqual([true, false])
    await expect(run(first, 'select 1')).rejects.toMatchObject({ code: 'CONNECTION_LOST' })
    await database.release?.()
  })
})

describe('db.transaction', () => {
  it('of the engine commits on return and rolls back on throw', async () => {
    const { db } = await emptied()

    const returned = await db.transaction(async (tx) => {
      await tx.insert(rows).values({ id: 1, name: 'kept' })
      return 'it'
    })
    const error = await failure(
      db.transaction(async (tx) => {
        await tx.insert(rows).values({ id: 2, name: 'undone' })
        throw new Error('no')
      }),
    )

    expect(returned).toBe('it')
    expect(error.message).toBe('no')
    expect(await namesIn(engine)).toEqual(['kept'])
  })

  it('rejects when a failure inside was swallowed', async () => {
    const { db } = await emptied()

    const error = await failure(
      db.transaction(async (tx) => {
        await tx.insert(rows).values({ id: 1, name: 'lost' })
        await tx.execute(sql`select 1/0`).catch(() => {})
      }),
    )

    expect(error).toBeInstanceOf(TransactionAbortedError)
    expect(await namesIn(engine)).toEqual([])
  })

  it('takes Drizzle’s settings', async () => {
    const level = await engine.db.transaction(
      async (tx) => await tx.execute(sql`select current_setting('transaction_isolation') as level`),
      { isolationLevel: 'serializable' },
    )

    expect(level).toEqual([{ level: 'serializable' }])
  })
})

describe('a statement that is stopped', () => {
  it('rejects at once; what it did is rolled back before anybody else has a turn', async () => {
    await emptied()
    const controller = new AbortController()
    await using session = sessionOn(engine, { signal: controller.signal })
    await session.db.insert(rows).values({ id: 1, name: 'undone' })

    const slow = failure(session.db.execute(sql`insert into rows select 2, 'slow' from pg_sleep(0.2)`))
    const queued = failure(session.db.execute(sql`insert into rows values (3, 'queued')`))
    const other = namesIn(engine)
    // Drizzle sends a statement when it is awaited, a microtask later.
    await null
    controller.abort()

    expect((await slow).cause).toBeInstanceOf(AbortedError)
    expect((await queued).cause).toBeInstanceOf(AbortedError)
    expect(await other).toEqual([])
    expect((await failure(session.db.execute(sql`select 1`))).cause).toBeInstanceOf(PendingRollbackError)
    await session.close()
    expect(await namesIn(engine)).toEqual([])
  })

  it('takes those with it that wait behind it, before they do anything', async () => {
    await emptied()
    const controller = new AbortController()
    await using session = sessionOn(engine, { autocommit: true, signal: controller.signal })
    await session.db.execute(sql`select 1`)

    const { $client } = session.db
    const statements = [
      failure($client.query('select pg_sleep(0.05)')),
      failure($client.query(`insert into rows values (1, 'too late')`)),
    ]
    controller.abort()
    await Promise.all(statements)

    expect(await namesIn(engine)).toEqual([])
  })
})

describe('a database in memory', () => {
  let memory: PgliteEngine

  beforeAll(async () => {
    memory = await openPglite(null)
    await memory.db.execute(sql`create table mine (id int)`)
  })

  afterAll(() => memory.dispose())

  it('belongs to its engine alone', { tags: 'full' }, async () => {
    await using other = await openPglite(null)

    const error = await failure(other.db.execute(sql`select * from mine`))

    expect(error.cause).toMatchObject({ code: '42P01' })
  })

  it('loses none of its data when a statement is stopped by its deadline', async () => {
    await memory.db.execute(sql`create table kept (id int)`)
    await memory.db.execute(sql`insert into kept values (1)`)
    await using session = sessionOn(memory)

    await session.db.execute(sql`insert into kept values (2)`)
    const { db } = session.with({ statementTimeout: 0.02 })
    const timedOut = failure(
      Promise.all([
        db.execute(sql`select pg_sleep(0.1)`),
        db.execute(sql`select pg_sleep(0.1)`),
        db.execute(sql`insert into kept values (3)`),
      ]),
    )

    expect((await timedOut).cause).toMatchObject({ code: 'STATEMENT_TIMEOUT' })
    expect((await failure(session.commit())).cause).toMatchObject({ code: 'STATEMENT_TIMEOUT' })
    expect(await memory.db.execute(sql`select id from kept`)).toEqual([{ id: 1 }])
    await session.rollback()
    await session.db.execute(sql`insert into kept values (4)`)
    await session.commit()
    expect(await memory.db.execute(sql`select id from kept`)).toEqual([{ id: 1 }, { id: 4 }])
    expect(memory.stats()).toMatchObject({ open: 1, checkedOut: 0 })
  })
})

describe('an engine', () => {
  it('starts PGlite once, at the first use', async () => {
    const directory = ownDirectory()
    await using lazy = await openPglite(directory)
    const before = existsSync(`${directory}.lock`)

    await Promise.all([
      lazy.db.execute(sql`select 1`),
      lazy.db.execute(sql`select 1`),
      lazy.connect().then((held) => held.close()),
    ])

    expect(before).toBe(false)
    expect(existsSync(`${directory}.lock`)).toBe(true)
  })

  it('disposed of while it starts leaves no lock', async () => {
    const directory = ownDirectory()
    const brief = await openPglite(directory)
    const started = failure(brief.db.execute(sql`select 1`))

    await brief.dispose({ grace: 0 })

    expect(await started).toBeInstanceOf(Error)
    expect(existsSync(`${directory}.lock`)).toBe(false)
    await using again = await openPglite(directory)
    expect(await again.db.$count(rows)).toBe(0)
  })

  it('disposed of refuses every use and keeps its data for the next', { tags: 'full' }, async () => {
    const directory = ownDirectory()
    const first = await openPglite(directory)
    await first.db.insert(rows).values({ id: 1, name: 'kept' })
    await using forgotten = sessionOn(first)
    await forgotten.db.insert(rows).values({ id: 2, name: 'uncommitted' })

    await first.dispose({ grace: 0 })
    await first.dispose()

    expect((await failure(first.db.execute(sql`select 1`))).cause).toBeInstanceOf(ClosedError)
    expect(readdirSync(root).filter((name) => name.startsWith(`${relative(root, directory)}.`))).toEqual([])
    await using second = await openPglite(directory)
    expect(await namesIn(second)).toEqual(['kept'])
  })

  it.each([
    ['a file', (place: string) => writeFileSync(place, 'x'), '', 'not a directory'],
    ['a place without a parent directory', () => {}, 'missing/deeper', 'there is no directory'],
    ['a link to nowhere', (place: string) => symlinkSync(`${place}-nowhere`, place), '', 'link to nowhere'],
    [
      'somebody else’s directory',
      (place: string) => {
        mkdirSync(place)
        writeFileSync(join(place, 'thesis.tex'), '')
      },
      '',
      'holds other files, such as "thesis.tex"',
    ],
    [
      'another version’s directory',
      (place: string) => {
        cpSync(template, place, { recursive: true })
        writeFileSync(join(place, 'PG_VERSION'), '9.6')
      },
      '',
      'initialized by PostgreSQL version 9.6',
    ],
  ])('fails typed on %s, and leaves no lock', async (_, make, below, reason) => {
    const place = emptyPlace()
    make(place)
    await using broken = await openPglite(join(place, below))

    const error = await failure(broken.connect())

    expect(error).toBeInstanceOf(ConnectError)
    expect(error).toMatchObject({ code: 'FILE_UNUSABLE', file: join(place, below) })
    expect(error.message).toContain(reason)
    expect(existsSync(`${place}.lock`)).toBe(false)
  })

  it('can start after it failed to', async () => {
    const place = join(emptyPlace(), 'inner')
    await using early = await openPglite(place)
    const error = await failure(early.db.execute(sql`select 1`))

    cpSync(template, place, { recursive: true })

    expect(error.cause).toBeInstanceOf(ConnectError)
    expect(await early.db.$count(rows)).toBe(0)
  })

  it('opens nothing outside sqliteRoot', async () => {
    const inside = await openPglite(join(root, 'inside'), { sqliteRoot: root })
    const outside = openPglite(join(tmpdir(), 'outside'), { sqliteRoot: root })

    await expect(outside).rejects.toBeInstanceOf(OptionError)
    await inside.dispose()
  })

  it.each([
    ['left open in memory', false, ''],
    ['left open in a directory', true, ''],
    ['disposed of', true, 'disposes'],
  ])(
    'lets the process exit by itself: %s',
    { tags: 'full', timeout: 120_000 },
    async (_, inDirectory, disposes) => {
      const directory = inDirectory ? ownDirectory() : ''

      const result = await childRun(scenario('pglite-exit'), {
        arguments: [directory, disposes],
        timeout: 100_000,
      })

      expect(result).toMatchObject({ exitCode: 0, stdout: '', stderr: '', emitted: [[{ one: 1 }]] })
      expect(result.lingered).toBeLessThan(loops(10_000, 500))
    },
  )

  it.each(['prepareModels', 'session', 'timeout', 'waitFor'])(
    'lets the process exit by itself though PostgreSQL has set its alarm clock: after %s',
    { tags: 'full', timeout: 120_000 },
    async (use) => {
      const result = await childRun(scenario('pglite-exit-after'), { arguments: [use], timeout: 100_000 })

      expect(result).toMatchObject({ exitCode: 0, stdout: '', stderr: '', emitted: [use] })
      // The alarms are set to 10 s and more.
      expect(result.lingered).toBeLessThan(7_000)
    },
  )
})

describe('an instance in doubt', () => {
  it('loses its connection, and serves the next when it has recovered', async () => {
    let isBroken = false
    const driver = {
      query: async () => ({ rows: [], fields: [] }),
      close: async () => {},
      exec: async () => {
        if (isBroken) throw new Error('unreachable')
        return [{ rows: [], fields: [] }]
      },
    }
    const instance = new Instance(null, async () => driver)
    await instance.open()
    isBroken = true

    const error = await failure(instance.open())
    isBroken = false
    await instance.open()

    expect(error).toMatchObject({ code: 'FILE_UNUSABLE', cause: { message: 'unreachable' } })
    await instance.close()
    await expect(instance.open()).rejects.toBeInstanceOf(ClosedError)
  })
})

describe('options', () => {
  it('are few', () => {
    const plan = pgliteOptions(pgliteDburi('x', { relaxed_durability: 'true' }))

    expect(plan).toEqual({ path: 'x', relaxedDurability: true })
    expect(pgliteOptions(pgliteDburi(null))).toEqual({ path: null, relaxedDurability: false })
  })

  it.each([
    ['debug', 'REFUSED_OPTION'],
    ['dataDir', 'REFUSED_OPTION'],
    ['search_path', 'REFUSED_OPTION'],
    ['sslmode', 'REFUSED_OPTION'],
    ['extensions', 'REFUSED_OPTION'],
    ['relaxeddurabilty', 'UNKNOWN_OPTION'],
    ['whatever', 'UNKNOWN_OPTION'],
  ])('that are not theirs are refused by name: %s', (name, code) => {
    const judge = () => pgliteOptions(pgliteDburi('x', { [name]: '1' }))

    expect(judge).toThrow(expect.objectContaining({ code, option: name }))
  })

  it.each([
    { relaxedDurability: 'perhaps' },
    { relaxedDurability: ['1', '0'] },
    { relaxedDurability: '1', relaxed_durability: '1' },
  ])('with a wrong value are refused: %j', (options) => {
    expect(() => pgliteOptions(pgliteDburi('x', options))).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    )
  })
})

describe('the lock of a directory (T48)', () => {
  const STARTERS = 20
  let starters: Starters

  beforeAll(async () => {
    starters = await startMany(STARTERS)
  }, 180_000)

  afterAll(() => starters[Symbol.asyncDispose]())

  it('refuses a second process at once, with the pid of the holder', {
    tags: 'full',
    timeout: 120_000,
  }, async () => {
    const directory = ownDirectory()
    await using holder = await startChild(scenario('pglite-holder'), { timeout: 100_000 })
    await using second = await startChild(scenario('pglite-holder'), { timeout: 100_000 })
    await holder.call('open', directory)

    const refusal = (await second.call('open', directory)) as { holder: number; milliseconds: number }

    expect(refusal.holder).toBe(holder.pid)
    expect(refusal.milliseconds).toBeLessThan(loops(10_000, 1_000))
    await holder.call('dispose')
    expect(await second.call('open', directory)).toMatchObject({ holder: null })
  })

  it('refuses a second engine of the same process, by whatever spelling', async () => {
    const directory = ownDirectory()
    const linked = emptyPlace()
    symlinkSync(directory, linked)
    await using first = await openPglite(directory)
    await first.db.execute(sql`select 1`)

    for (const spelling of [directory, `${directory}/`, linked, relative(process.cwd(), directory)]) {
      await using second = await openPglite(spelling)
      const { cause: error } = await failure(second.db.execute(sql`select 1`))

      expect(error).toBeInstanceOf(DatabaseLockedError)
      expect(error).toMatchObject({ code: 'DATABASE_LOCKED', pid: process.pid, path: directory })
    }
    expect(await first.db.$count(rows)).toBe(0)
  })

  it('of a process that was killed is taken over, with all it acknowledged', {
    tags: 'full',
    timeout: 120_000,
  }, async () => {
    const directory = ownDirectory()
    const acks = `${directory}.acks`
    const rounds = process.env['LONG'] ? 20 : 3
    const openings: number[] = []
    for (let round = 0; round < rounds; round++) {
      await using writer = await startChild(scenario('pglite-holder'))
      const { milliseconds } = (await writer.call('open', directory)) as { milliseconds: number }
      openings.push(milliseconds)
      const writing = failure(writer.call('write', { acks, from: round * 100_000 }))
      await until(() => readAcks(acks).length >= (round + 1) * 50)
      writer.kill()
      await writing
      await writer.exited
    }

    await using reopened = await openPglite(directory)
    const found = new Set((await reopened.db.select({ id: rows.id }).from(rows)).map(({ id }) => String(id)))
    const acknowledged = readAcks(acks)

    expect(acknowledged.filter((id) => !found.has(id))).toEqual([])
    expect(acknowledged.length).toBeGreaterThanOrEqual(rounds * 50)
    // Loading PGlite is part of it, and a busy machine makes some rounds slow.
    expect(Math.min(...openings)).toBeLessThan(atMost(2_000))
  })

  it('goes to exactly one of 20 that start at once', { tags: 'full' }, async () => {
    const directory = ownDirectory()

    const answers = (await starters.all('open', directory)) as { holder: number | null }[]

    const winner = starters.children[answers.findIndex(({ holder }) => holder === null)]
    expect(answers.filter(({ holder }) => holder === null)).toHaveLength(1)
    expect(new Set(answers.map(({ holder }) => holder))).toEqual(new Set([null, winner?.pid]))
    await winner?.call('dispose')
  })

  it.each([
    ['a process that died', () => ({ pid: 2 ** 22 + 1, startedAt: 'x/1' })],
    ['an earlier process with the same pid', () => ({ pid: process.pid, startedAt: 'x/1' })],
    [
      'a process that died while it took over from one that died',
      () => ({ pid: 2 ** 22 + 1, startedAt: null }),
      true,
    ],
  ])('left by %s goes to exactly one of 20, round after round', async (_, holder, inLine = false) => {
    const directory = emptyPlace()
    for (let round = 0; round < 25; round++) {
      const dead = { id: `dead-${round}`, host: hostname(), ...holder() }
      writeFileSync(`${directory}.lock`, JSON.stringify(dead))
      if (inLine)
        writeFileSync(`${directory}.lock.${dead.id}`, JSON.stringify({ ...dead, id: `heir-${round}` }))

      const answers = await starters.all('lock', directory)

      const winner = starters.children[answers.indexOf(null)]
      expect(answers.filter((answer) => answer === null)).toHaveLength(1)
      expect(new Set(answers)).toEqual(new Set([null, winner?.pid]))
      await winner?.call('release')
    }
    expect(litterOf(directory)).toEqual([])
  })

  it('never has two holders while they come, go and are killed', { tags: 'full' }, async () => {
    const directory = emptyPlace()

    const storms = await Promise.allSettled(
      starters.children.map((child, index) =>
        child.call('storm', { directory, milliseconds: 3_000, dies: index % 2 === 0 }),
      ),
    )

    const held = storms.map((storm) => (storm.status === 'fulfilled' ? Number(storm.value) : storm.reason))
    const survivors = held.filter((_, index) => index % 2 === 1)
    expect(survivors.filter((turns) => turns instanceof Error)).toEqual([])
    expect(survivors.reduce((sum, turns) => sum + turns, 0)).toBeGreaterThan(10)
    await lockDirectory(directory).then((last) => last.release())
    expect(litterOf(directory)).toEqual([])
  })

  it('of a process on another host is respected', async () => {
    const directory = emptyPlace()
    writeFileSync(
      `${directory}.lock`,
      JSON.stringify({ id: 'a', pid: 1, startedAt: null, host: 'elsewhere' }),
    )

    await expect(lockDirectory(directory)).rejects.toThrow(/"elsewhere".*delete/)
  })

  it('leaves a file alone that is no lock', async () => {
    const directory = emptyPlace()
    writeFileSync(`${directory}.lock`, 'yarn lockfile v1')
    await using unlucky = await openPglite(directory)

    const { cause: error } = await failure(unlucky.db.execute(sql`select 1`))

    expect(error).toBeInstanceOf(ConnectError)
    expect(error).toMatchObject({ message: expect.stringContaining('move it away') })
  })

  it('released after somebody else took it leaves that one’s alone', async () => {
    const directory = emptyPlace()
    const first = await lockDirectory(directory)
    rmSync(`${directory}.lock`)
    const second = await lockDirectory(directory)

    first.release()

    await expect(lockDirectory(directory)).rejects.toBeInstanceOf(DatabaseLockedError)
    second.release()
    await lockDirectory(directory).then((third) => third.release())
  })

  function litterOf(directory: string): string[] {
    return readdirSync(root).filter((name) => name.startsWith(`${relative(root, directory)}.`))
  }
})

describe('disposing', () => {
  it('settles everything that waits', async () => {
    const brief = await openPglite(ownDirectory())
    const held = await brief.connect()
    const statements = Array.from({ length: 5 }, () => held.db.execute(sql`select pg_sleep(0.02)`))
    const settled = Promise.allSettled([...statements, brief.db.execute(sql`select 1`), brief.connect()])

    await brief.dispose({ grace: 0 })

    const outcomes = (await settled).map((outcome) => (outcome.status === 'rejected' ? outcome.reason : null))
    const last = outcomes.slice(-3).map((error) => (error.cause instanceof Error ? error.cause : error))
    expect(last).toMatchObject([{ code: 'CLOSED' }, { code: 'CLOSED' }, { code: 'CLOSED' }])
  })
})

interface Starters extends AsyncDisposable {
  readonly children: readonly Child[]
  /** Gives all the same command at once. */
  all(command: string, argument: unknown): Promise<unknown[]>
}

async function startMany(count: number): Promise<Starters> {
  const children = await Promise.all(
    Array.from({ length: count }, () => startChild(scenario('pglite-holder'), { timeout: 300_000 })),
  )
  return {
    children,
    all: (command, argument) => Promise.all(children.map((child) => child.call(command, argument))),
    async [Symbol.asyncDispose]() {
      await Promise.all(children.map((child) => child[Symbol.asyncDispose]()))
    },
  }
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5))
}
