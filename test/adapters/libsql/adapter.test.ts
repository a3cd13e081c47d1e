import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@libsql/client'
import { sql } from 'drizzle-orm'
import { blob, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  ConnectError,
  causes,
  OptionError,
  PendingRollbackError,
  StatementError,
  StorageError,
  TransactionConflictError,
} from '../../../src/errors.ts'
import { Session } from '../../../src/session/session.ts'
import { readAcks } from '../../fixtures/ack-log.ts'
import { type Child, childRun, scenario, startChild } from '../../fixtures/child-run.ts'
import { FaultProxy } from '../../fixtures/fault-proxy.ts'
import { freePort } from '../../fixtures/free-port.ts'
import { startHranaServer } from '../../fixtures/hrana-server.ts'
import { type OpenLibsqlOptions, openLibsql } from '../../fixtures/libsql-engine.ts'
import { atMost, isLong, loops } from '../../fixtures/loops.ts'

/** libSQL: what `conformance.ts` does not ask of every adapter. T37–T46 and T73 are those of the reliability study. */

const t = sqliteTable('t', { id: integer('id').primaryKey(), w: text('w') })

type Opened = Awaited<ReturnType<typeof openLibsql>>

let directory: string
let dburi: string
const opened: { dispose(options: { grace: number }): Promise<void> }[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-libsql-'))
  dburi = `file:${join(directory, 'x.db')}`
})

afterEach(async () => {
  for (const engine of opened.splice(0)) await engine.dispose({ grace: 0 })
  rmSync(directory, { recursive: true, force: true })
})

async function open(uri = dburi, options?: OpenLibsqlOptions): Promise<Opened> {
  const engine = await openLibsql(uri, options)
  opened.push(engine)
  return engine
}

async function openWithTable(uri = dburi, options?: OpenLibsqlOptions): Promise<Opened> {
  const engine = await open(uri, options)
  await engine.db.run(sql`create table t (id integer primary key, w text)`)
  return engine
}

async function count(engine: Pick<Opened, 'db'>): Promise<number> {
  return engine.db.$count(t)
}

/** The first of an error's causes that is one of ours. */
function reasonOf(error: unknown): unknown {
  return causes(error).find(
    (cause) => cause instanceof Error && cause.constructor.name !== 'DrizzleQueryError',
  )
}

async function failure(work: PromiseLike<unknown>): Promise<unknown> {
  try {
    await work
  } catch (error) {
    return reasonOf(error)
  }
  throw new Error('It did not fail')
}

describe('writers of several processes', () => {
  const writers = async (number: number, uri: string, ackFile = '') =>
    Promise.all(
      Array.from({ length: number }, (_, writer) =>
        startChild(scenario('libsql-writer'), {
          arguments: [uri, String(writer), ackFile],
          timeout: 300_000,
        }),
      ),
    )
  /** One that has the file locked until it is told to commit. */
  const locker = async () => {
    const child = await startChild(scenario('libsql-lock'), { arguments: [dburi], timeout: 300_000 })
    await child.call('lock')
    return child
  }
  const stop = async (children: Child[]) => {
    for (const child of children) child.end()
    await Promise.all(children.map((child) => child.exited))
  }

  it.each(['delete', 'wal'])(
    'all have their turn (T37): journal_mode=%s, by statements and by sessions',
    { tags: 'full', timeout: 300_000 },
    async (mode) => {
      const rows = loops(40, 200, 20)
      const engine = await openWithTable(`${dburi}?journal_mode=${mode}`)
      const children = await writers(8, `${dburi}?timeout=20`)

      const took: number[] = []
      for (const how of ['statement', 'session']) {
        const each = await Promise.all(children.map((child) => child.call('write', { count: rows, how })))
        took.push(...each.flat().map(Number))
      }
      await stop(children)

      expect(took).toHaveLength(2 * 8 * rows)
      expect(Math.max(...took)).toBeLessThan(atMost(2_000))
      expect(await count(engine)).toBe(2 * 8 * rows)
      expect(await engine.db.all(sql`pragma integrity_check`)).toEqual([{ integrity_check: 'ok' }])
    },
  )

  it.each(['delete', 'wal'])(
    'lose nothing they acknowledged when they are killed (T39): journal_mode=%s, by statements and by sessions',
    { tags: 'full', timeout: 600_000 },
    async (mode) => {
      const ackFile = join(directory, 'acks')
      await openWithTable(`${dburi}?journal_mode=${mode}`)

      for (let round = 0; round < loops(3, 10, 1); round++) {
        const children = await writers(4, dburi, ackFile)
        for (const [at, child] of children.entries()) {
          const how = at % 2 === 0 ? 'statement' : 'session'
          void child.call('writeForever', { how }).catch(() => {})
        }
        const before = readAcks(ackFile).length
        while (readAcks(ackFile).length === before) await sleep(10)
        await sleep(100 + Math.random() * 300)
        for (const child of children) child.kill()
        await Promise.all(children.map((child) => child.exited))

        const engine = await open()
        const acked = readAcks(ackFile)
        const rows = new Set((await engine.db.select({ w: t.w }).from(t)).map(({ w }) => w))
        expect(acked.length).toBeGreaterThan(0)
        expect(acked.filter((key) => !rows.has(key))).toEqual([])
        expect(await engine.db.all(sql`pragma integrity_check`)).toEqual([{ integrity_check: 'ok' }])
        const startedAt = performance.now()
        await engine.db.insert(t).values({ w: `after ${round}` })
        expect(performance.now() - startedAt).toBeLessThan(atMost(1_000))
      }
    },
  )

  it('wait for one that holds its transaction, without stopping the event loop (T40)', {
    tags: 'full',
  }, async () => {
    const engine = await openWithTable(`${dburi}?timeout=10`)
    const other = await locker()
    const delay = monitorEventLoopDelay({ resolution: 1 })

    delay.enable()
    await sleep(20)
    const inserting = engine.db.insert(t).values({ w: 'ours' }).execute()
    // A wait inside the driver would stop the loop until it was given up, and nobody would end what it waits for.
    for (let turn = 0; turn < 50; turn++) await sleep(10)
    await other.call('unlock')
    await inserting
    await sleep(20)
    delay.disable()

    if (isLong) expect(delay.max / 1e6).toBeLessThan(100)
    expect(await count(engine)).toBe(2)
    await stop([other])
  })

  it('give up at the timeout with an error that says so, and nothing is done', { tags: 'full' }, async () => {
    const engine = await openWithTable()
    const hurried = await open(`${dburi}?timeout=0.3`)
    const other = await locker()

    const session = new Session(hurried, {})
    expect(await failure(hurried.db.insert(t).values({ w: 'a statement' }))).toBeInstanceOf(
      TransactionConflictError,
    )
    expect(await failure(session.db.insert(t).values({ w: 'a session' }))).toBeInstanceOf(
      TransactionConflictError,
    )
    expect(await count(hurried)).toBe(0)
    await other.call('unlock')
    await session.db.insert(t).values({ w: 'again' })
    await session.commit()
    await session.close()

    expect((await engine.db.select().from(t)).map(({ w }) => w)).toEqual(['held', 'again'])
    await stop([other])
  })

  it('commit in spite of a reader, when it has finished', async () => {
    const engine = await openWithTable()
    const reader = createClient({ url: dburi })
    const reading = await reader.transaction('deferred')
    await reading.execute('select * from t')
    setTimeout(() => void reading.rollback(), 300)

    const session = new Session(engine, {})
    await session.db.insert(t).values({ w: 'a' })
    await session.commit()
    await session.close()

    expect((await reader.execute('select w from t')).rows[0]?.['w']).toBe('a')
    reader.close()
  })

  it('fail to commit when a reader never finishes, and nothing is done', async () => {
    const engine = await openWithTable(`${dburi}?timeout=0.3`)
    const reader = createClient({ url: dburi })
    const reading = await reader.transaction('deferred')
    await reading.execute('select * from t')

    const session = new Session(engine, {})
    await session.db.insert(t).values({ w: 'a' })
    expect(await failure(session.commit())).toBeInstanceOf(TransactionConflictError)
    expect(await failure(session.db.insert(t).values({ w: 'b' }))).toBeInstanceOf(PendingRollbackError)
    await session.rollback()
    await reading.rollback()
    await session.db.insert(t).values({ w: 'c' })
    await session.commit()
    await session.close()

    expect((await reader.execute('select w from t')).rows.map((row) => row['w'])).toEqual(['c'])
    reader.close()
  })
})

describe('what the client has a call of its own for, beside another writer', () => {
  const CALLS: Readonly<Record<string, (client: Opened['db']['$client']) => Promise<unknown>>> = {
    executeMultiple: (client) =>
      client.executeMultiple("insert into t (w) values ('a'); insert into t (w) values ('b')"),
    batch: (client) => client.batch(["insert into t (w) values ('a')", "insert into t (w) values ('b')"]),
    migrate: (client) => client.migrate(["insert into t (w) values ('a')", "insert into t (w) values ('b')"]),
  }

  async function lock(): Promise<() => Promise<void>> {
    const other = createClient({ url: dburi })
    const transaction = await other.transaction('write')
    return async () => {
      await transaction.rollback()
      other.close()
    }
  }

  it.each(Object.entries(CALLS))('%s waits until it has finished', async (_, call) => {
    const engine = await openWithTable()
    const unlock = await lock()

    const called = call(engine.db.$client)
    expect(await Promise.race([called.then(() => 'done'), sleep(300, 'waiting')])).toBe('waiting')
    await unlock()
    await called

    expect(await count(engine)).toBe(2)
  })

  it.each(Object.entries(CALLS))('%s gives up at the timeout, and nothing is done', async (_, call) => {
    await openWithTable()
    const engine = await open(`${dburi}?timeout=0.3`)
    const unlock = await lock()

    const error = await failure(call(engine.db.$client))

    expect(error).toBeInstanceOf(TransactionConflictError)
    expect(String(error)).toMatch(/for 0\.3 s .*Nothing was done/)
    expect(error).toHaveProperty('cause.code', 'SQLITE_BUSY')
    await unlock()
    await call(engine.db.$client)
    expect(await count(engine)).toBe(2)
  })

  it('a script says how far it came, keeps what it set, and goes on from there', {
    tags: 'full',
  }, async () => {
    await openWithTable()
    // Long enough for the second script, which is to outlast the lock.
    const engine = await open(`${dburi}?timeout=3`)
    const script = `
      create temp table mine (w text);
      create temp trigger copied after insert on mine begin
        insert into t (w) values (case new.w when 'x' then 'semi;colon' end);
      end;
      -- nothing; of this
      savepoint s; insert into mine values ('x'); release s;`
    const connection = await engine.connect()
    const unlock = await lock()

    expect(String(await failure(connection.db.$client.executeMultiple(script)))).toContain(
      'The first 2 of the 3 statements of the script are done',
    )
    const called = connection.db.$client.executeMultiple("insert into mine values ('x')")
    await sleep(100)
    await unlock()
    await called

    expect(await engine.db.select({ w: t.w }).from(t)).toEqual([{ w: 'semi;colon' }])
    await connection.close()
  })
})

describe('SQLITE_BUSY', () => {
  it.each(['delete', 'wal'])(
    'leaves no connection whose writes are lost (T38): journal_mode=%s',
    async (mode) => {
      const engine = await openWithTable(`${dburi}?journal_mode=${mode}&timeout=0.1`)
      const other = createClient({ url: dburi, timeout: 1_000 })
      const lock = await other.transaction('write')
      const tries = [engine.db.insert(t).values({ w: 'never' }), engine.db.insert(t).values({ w: 'neither' })]
      for (const error of await Promise.all(tries.map(failure)))
        expect(error).toBeInstanceOf(TransactionConflictError)
      await lock.rollback()

      let seen = 0
      for (let at = 0; at < 100; at++) {
        await engine.db.insert(t).values({ w: String(at) })
        const { rows } = await other.execute('select count(*) from t')
        seen += rows[0]?.[0] === at + 1 ? 1 : 0
      }
      await other.execute("insert into t (w) values ('other')")

      expect(seen).toBe(100)
      expect(await count(engine)).toBe(101)
      other.close()
    },
  )

  it('does not let the next statement run on the connection that met it', { tags: 'full' }, async () => {
    const engine = await openWithTable(`${dburi}?timeout=30`)
    const other = createClient({ url: dburi })
    const lock = await other.transaction('write')

    const writes = Array.from({ length: 64 }, (_, at) =>
      engine.db
        .insert(t)
        .values({ w: String(at) })
        .execute(),
    )
    const reads = await Promise.all(Array.from({ length: 64 }, () => count(engine)))
    setTimeout(() => void lock.rollback(), 200)
    await Promise.all(writes)

    expect(new Set(reads)).toEqual(new Set([0]))
    expect((await other.execute('select count(*) from t')).rows[0]?.[0]).toBe(64)
    other.close()
  })

  it('breaks a connection whose pragmas, attached databases or temporary tables would be gone', async () => {
    const engine = await openWithTable(`${dburi}?timeout=0.1`)
    const other = createClient({ url: dburi })
    const lock = await other.transaction('write')
    const connection = await engine.connect()
    await connection.db.run(sql`create temp table mine (id integer)`)

    expect(await failure(connection.db.insert(t).values({ w: 'a' }))).toBeInstanceOf(TransactionConflictError)
    expect(await failure(connection.db.insert(t).values({ w: 'a' }))).toBeInstanceOf(TransactionConflictError)
    await connection.close()
    await lock.rollback()
    await engine.db.insert(t).values({ w: 'b' })

    expect((await other.execute('select w from t')).rows.map((row) => row['w'])).toEqual(['b'])
    other.close()
  })
})

describe('writers of one process', () => {
  it('are served in order when one of them is a transaction (T41)', async () => {
    const engine = await openWithTable()
    const another = await open()
    const session = new Session(engine, {})
    await session.db.insert(t).values({ w: 'session' })

    const order: string[] = []
    const outside = [
      engine.db
        .insert(t)
        .values({ w: 'same engine' })
        .then(() => order.push('same engine')),
      another.db
        .insert(t)
        .values({ w: 'another' })
        .then(() => order.push('another')),
      another.db
        .transaction((tx) => tx.insert(t).values({ w: 'transaction' }))
        .then(() => order.push('transaction')),
    ]
    expect(await count(engine)).toBe(0)
    await session.commit()
    await session.close()
    await Promise.all(outside)

    expect(order).toEqual(['same engine', 'another', 'transaction'])
    expect(await count(engine)).toBe(4)
  })

  it('fail with a typed error when one of them waits for itself (T41)', { tags: 'full' }, async () => {
    const engine = await openWithTable(`${dburi}?timeout=3`)
    const delay = monitorEventLoopDelay({ resolution: 1 })
    const session = new Session(engine, {})
    await session.db.insert(t).values({ w: 'a' })

    delay.enable()
    await sleep(20)
    const error = await failure(engine.db.insert(t).values({ w: 'b' }))
    await sleep(20)
    delay.disable()

    expect(error).toBeInstanceOf(TransactionConflictError)
    // A wait inside the driver would stop the loop for the whole timeout.
    expect(delay.max / 1e6).toBeLessThan(isLong ? 100 : 2_900)
    await session.commit()
    await session.close()
  })

  it('are known by the file, however its path is written', async () => {
    symlinkSync(directory, `${directory}-link`)
    const engine = await openWithTable(`${dburi}?timeout=0.2`)
    const linked = await open(`file:${directory}-link/../${directory.split('/').at(-1)}/x.db?timeout=0.2`)
    const session = new Session(engine, {})
    await session.db.insert(t).values({ w: 'a' })

    const error = await failure(linked.db.insert(t).values({ w: 'b' }))

    expect(error).toBeInstanceOf(TransactionConflictError)
    expect(String(error)).toContain('of this process')
    await session.close()
    rmSync(`${directory}-link`)
  })

  it('leave the queue when they are stopped', async () => {
    const engine = await openWithTable()
    const session = new Session(engine, {})
    await session.db.insert(t).values({ w: 'a' })
    const stopped = new Session(engine, {}, { statementTimeout: 0.05, autocommit: true })

    await expect(stopped.db.insert(t).values({ w: 'never' })).rejects.toThrow()
    await session.commit()
    await session.close()
    await stopped.close()
    await engine.db.insert(t).values({ w: 'b' })

    expect((await engine.db.select().from(t)).map(({ w }) => w)).toEqual(['a', 'b'])
  })

  it('let readers pass', async () => {
    const engine = await openWithTable()
    const session = new Session(engine, {})
    await session.db.insert(t).values({ w: 'a' })
    const waiting = engine.db.insert(t).values({ w: 'b' }).execute()

    expect(await count(engine)).toBe(0)
    expect(await engine.db.all(sql`with c as (select * from t) select * from c`)).toEqual([])
    await session.commit()
    await session.close()
    await waiting
  })

  it.each([
    ['a file', () => dburi],
    ['memory', () => ':memory:'],
  ])(
    'say of a read-only transaction in %s that it is one, not that the file is read-only',
    async (_, uri) => {
      const engine = await open(uri())
      await engine.db.run(sql`create table if not exists t (id integer primary key, w text)`)
      const session = new Session(engine, {})
      await session.begin({ readOnly: true })
      const errors = [
        await failure(session.db.insert(t).values({ w: 'a' })),
        await failure(session.db.run(sql`create table b (x)`)),
        await failure(session.db.transaction((tx) => tx.delete(t))),
      ]
      await session.rollback()
      await session.db.insert(t).values({ w: 'a' })
      await session.commit()
      await session.close()

      for (const error of errors) {
        expect(error).toMatchObject({ code: 'INVALID_STATEMENT', cause: { code: 'SQLITE_READONLY' } })
        expect(String(error)).toContain('in a read-only transaction: begin one without readOnly')
      }
    },
  )

  it('that only read lock out no writer of this process or another', async () => {
    const uri = `${dburi}?journal_mode=wal&timeout=0.5`
    const engine = await openWithTable(uri)
    const session = new Session(engine, {}, { readOnly: true })
    expect(await session.db.select().from(t)).toEqual([])

    await engine.db.insert(t).values({ w: 'node' })
    const other = `require('@libsql/client').createClient({ url: 'file:${join(directory, 'x.db')}' }).execute("insert into t (w) values ('other')")`
    execFileSync(process.execPath, ['-e', other])
    expect(await session.db.select().from(t)).toEqual([])
    await session.commit()

    expect((await session.db.select().from(t)).map(({ w }) => w)).toEqual(['node', 'other'])
    await session.close()
  })

  it.each([
    ['has only read', false],
    ['has written', true],
  ])('say of one in their way that it %s', async (_, writes) => {
    const engine = await openWithTable(`${dburi}?timeout=0.2`)
    await using session = new Session(engine, {})
    await session.db.select().from(t)
    if (writes) await session.db.insert(t).values({ w: 'a' })
    await using other = new Session(engine, {})
    const errors = [
      await failure(engine.db.insert(t).values({ w: 'b' })),
      await failure(other.db.insert(t).values({ w: 'b' })),
    ]

    for (const error of errors) {
      expect(error).toBeInstanceOf(TransactionConflictError)
      const { message } = error as TransactionConflictError
      expect(message).toMatch(/a transaction of this process has had it for \d+\.\d s/)
      if (writes) expect(message).not.toMatch(/only read|readOnly/)
      else expect(message).toMatch(/has only read so far.*`readOnly: true`/)
      expect(message).not.toContain('wrote')
    }
  })

  it('refuse to write in a read-only transaction, and only there', async () => {
    const engine = await openWithTable(`${dburi}?journal_mode=wal`)
    const session = new Session(engine, {})
    await session.begin({ readOnly: true })

    expect(await session.db.select().from(t)).toEqual([])
    await engine.db.insert(t).values({ w: 'others may' })
    expect(await failure(session.db.insert(t).values({ w: 'a' }))).toBeInstanceOf(StatementError)
    await session.rollback()
    await session.db.insert(t).values({ w: 'b' })
    await session.commit()
    await session.close()

    expect(await count(engine)).toBe(2)
  })

  it('commit false when the database itself has rolled back', async () => {
    const engine = await openWithTable()
    await engine.db.insert(t).values({ id: 1, w: 'a' })
    const session = new Session(engine, {})
    await session.db.insert(t).values({ id: 2, w: 'b' })
    await failure(session.db.run(sql`insert or rollback into t (id) values (1)`))
    await failure(session.db.insert(t).values({ id: 3 }))

    expect(await failure(session.commit())).toMatchObject({ code: 'TRANSACTION_ABORTED' })
    await session.close()
    expect(await count(engine)).toBe(1)
  })
})

describe('files', () => {
  it.each<[string, (path: string) => string]>([
    ['a missing directory', (path) => join(path, 'nowhere', 'x.db')],
    ['a directory', (path) => path],
    [
      'a file as a directory',
      (path) => {
        writeFileSync(join(path, 'file'), '')
        return join(path, 'file', 'x.db')
      },
    ],
    [
      'garbage',
      (path) => {
        writeFileSync(join(path, 'garbage.db'), 'This is no database. '.repeat(200))
        return join(path, 'garbage.db')
      },
    ],
  ])('that are %s cannot be opened, and the error has the path (T43)', async (_, make) => {
    const path = make(directory)
    const engine = await open(`file:${path}`)

    const error = await failure(engine.db.run(sql`select 1 from sqlite_schema`))

    expect([error instanceof ConnectError, error instanceof StorageError]).toContain(true)
    expect(String(error)).toContain(path)
  })

  it('of zero bytes are empty databases', async () => {
    writeFileSync(join(directory, 'x.db'), '')

    expect(await count(await openWithTable())).toBe(0)
  })

  it('that are damaged give right data or a typed error (T43)', { timeout: 120_000 }, async () => {
    const engine = await openWithTable()
    await engine.db.run(
      sql`with recursive g(i) as (select 1 union all select i + 1 from g where i < 500) insert into t select i, 'row ' || i from g`,
    )
    await engine.dispose()
    const whole = readFileSync(join(directory, 'x.db'))
    const file = join(directory, 'damaged.db')
    const expected = Array.from({ length: 500 }, (_, at) => `row ${at + 1}`).join()

    const wrong: string[] = []
    for (let round = 0; round < loops(40, 200, 20); round++) {
      const damaged = Buffer.from(whole)
      const at = Math.floor((round / loops(40, 200, 20)) * whole.length)
      if (round % 10 === 9) writeFileSync(file, whole.subarray(0, at))
      else {
        damaged[at] = (damaged[at] ?? 0) ^ 0xff
        writeFileSync(file, damaged)
      }
      const other = await openLibsql(`file:${file}`)
      try {
        const rows = await other.db.select({ w: t.w }).from(t).orderBy(t.id)
        const isGood = JSON.stringify(await other.db.all(sql`pragma integrity_check`)).includes('"ok"')
        if (rows.map(({ w }) => w).join() !== expected && isGood)
          wrong.push(`byte ${at}: ${rows.length} rows`)
      } catch (error) {
        const reason = reasonOf(error)
        if (!(reason instanceof StorageError || reason instanceof ConnectError || isNoTable(reason)))
          throw error
      }
      await other.dispose()
    }

    // A flipped byte inside a value is no damage SQLite could know of; all rows are there.
    expect(wrong.filter((each) => !each.endsWith(': 500 rows'))).toEqual([])
  })

  function isNoTable(error: unknown): boolean {
    return error instanceof Error && /no such table|malformed/.test(error.message)
  }

  it('that may only be read can be read by sessions, and refuse writes by their path (T43)', async () => {
    await (await openWithTable()).db.insert(t).values({ w: 'a' })
    execFileSync('chmod', ['0755', directory])
    execFileSync('chmod', ['0444', join(directory, 'x.db')])

    const result = await childRun(scenario('libsql-read-only'), { arguments: [join(directory, 'x.db')] })

    const refused = { code: 'STORAGE_READ_ONLY', path: join(directory, 'x.db') }
    expect(result).toMatchObject({ exitCode: 0, stderr: '', emitted: [[{ w: 'a' }], refused, refused] })
  })

  it('are opened read-only by mode=ro, and not created by mode=rw', async () => {
    await (await openWithTable()).db.insert(t).values({ w: 'a' })
    const engine = await open(`${dburi}?mode=ro`)
    const session = new Session(engine, {})

    expect(await session.db.select().from(t)).toEqual([{ id: 1, w: 'a' }])
    expect(await failure(session.db.insert(t).values({ w: 'b' }))).toMatchObject({
      code: 'STORAGE_READ_ONLY',
    })
    await session.close()
    for (const mode of ['ro', 'rw']) {
      const missing = await open(`file:${join(directory, 'missing.db')}?mode=${mode}`)
      expect(await failure(missing.db.run(sql`select 1`))).toMatchObject({ code: 'FILE_UNUSABLE' })
    }
    expect(existsSync(join(directory, 'missing.db'))).toBe(false)
  })

  it.each(['a b.db', 'a%20b.db', 'ü?#&=.db', "it's.db", 'x;y.db', '日本.db', 'file:x.db'])(
    'may be called %s, also read-only',
    async (name) => {
      const path = `file:${directory}/${encodeURIComponent(name)}`
      await (await openWithTable(path)).db.insert(t).values({ w: name })

      const readers = await Promise.all([open(path), open(`${path}?mode=ro`)])

      for (const reader of readers) expect(await reader.db.select().from(t)).toEqual([{ id: 1, w: name }])
      expect(readdirSync(directory)).toEqual([name])
    },
  )
})

describe('sqliteRoot (T73)', () => {
  it('lets through what lies under it', async () => {
    mkdirSync(join(directory, 'root/sub'), { recursive: true })
    symlinkSync(join(directory, 'root/sub'), join(directory, 'root/inside'))

    for (const path of ['x.db', 'sub/y.db', 'inside/z.db', '..db']) {
      const engine = await open(`file:${directory}/root/${path}`, { sqliteRoot: `${directory}/root` })
      await engine.db.run(sql`create table t (id integer primary key)`)
    }

    expect(readdirSync(join(directory, 'root/sub')).sort()).toEqual(['y.db', 'z.db'])
  })

  it.each([
    ['climbs', '/root/../out.db'],
    ['climbs, encoded', '/root/%2e%2e/out.db'],
    ['climbs and comes back', '/root/../root/out.db'],
    ['lies elsewhere', '/out.db'],
    ['is a sister of the same beginning', '/root-two.db'],
    ['is a link out', '/root/link.db'],
    ['is a link to nowhere outside', '/root/dangling.db'],
    ['has a directory that is a link out', '/root/away/out.db'],
    ['is the root itself', '/root'],
    ['is a log of SQLite', '/root/x.db-wal'],
    ['is an index of SQLite', '/root/x.db-shm'],
    ['is a journal of SQLite', '/root/x.db-journal'],
  ])('refuses a path that %s, before anything is opened', async (_, path) => {
    mkdirSync(join(directory, 'root'))
    mkdirSync(join(directory, 'elsewhere'))
    writeFileSync(join(directory, 'elsewhere/real.db'), '')
    symlinkSync(join(directory, 'elsewhere/real.db'), join(directory, 'root/link.db'))
    symlinkSync(join(directory, 'nowhere/out.db'), join(directory, 'root/dangling.db'))
    symlinkSync(join(directory, 'elsewhere'), join(directory, 'root/away'))

    for (const uri of [`file:${directory}${path}`, `sqlite:///${directory}${path}?timeout=1`]) {
      const refused = open(uri, { sqliteRoot: join(directory, 'root') })
      await expect(refused).rejects.toMatchObject({ code: 'REFUSED_OPTION', option: 'sqliteRoot' })
    }

    expect(readdirSync(directory).sort()).toEqual(['elsewhere', 'root'])
    expect(readdirSync(join(directory, 'elsewhere'))).toEqual(['real.db'])
  })

  it('refuses pysqlite URIs that lead out, and an empty path', async () => {
    const options = { sqliteRoot: directory }
    const uris = [
      `sqlite:///file:${directory}/%252e%252e/out.db?uri=true`,
      'sqlite:///file:/etc/x.db?uri=1',
      'sqlite:///file:?uri=1',
    ]

    for (const uri of uris) await expect(open(uri, options)).rejects.toMatchObject({ code: 'REFUSED_OPTION' })
    await (await open(':memory:', options)).db.run(sql`select 1`)
  })
})

describe(':memory:', () => {
  it('keeps its tables through transactions, lost connections and sessions with connections of their own (T45)', async () => {
    const engine = await openWithTable(':memory:')

    for (let at = 0; at < 100; at++) {
      const session = new Session(engine, {}, { shortLivedSessions: at % 3 === 0 })
      await session.db.insert(t).values({ w: String(at) })
      await (at % 2 === 0 ? session.commit() : session.rollback())
      await session.close()
    }
    const aborting = new AbortController()
    const lost = new Session(engine, {}, { signal: aborting.signal })
    await lost.db.insert(t).values({ w: 'lost' })
    aborting.abort()
    await failure(lost.db.select().from(t))
    await lost.close()

    expect(await count(engine)).toBe(50)
  })

  it('is one database for all sessions of an engine, and another for each engine (T45)', async () => {
    const one = await openWithTable(':memory:')
    const other = await openWithTable('file::memory:?cache=shared')
    const third = await openWithTable('sqlite:///file:memdb1?mode=memory&cache=shared&uri=true')
    await one.db.insert(t).values({ w: 'a' })

    await using session = new Session(one, {})
    expect(await session.db.select().from(t)).toEqual([{ id: 1, w: 'a' }])
    expect([await count(other), await count(third)]).toEqual([0, 0])
  })

  it('lets its sessions take turns (T45)', async () => {
    const engine = await openWithTable(':memory:')

    await Promise.all(
      Array.from({ length: 20 }, async (_, at) => {
        await using session = new Session(engine, {})
        const before = await session.db.$count(t)
        await session.db.insert(t).values({ id: before + 1, w: String(at) })
        await session.commit()
      }),
    )

    expect(await count(engine)).toBe(20)
  })
})

describe('texts that are no UTF-8 (T44)', () => {
  const bad = 'a\ufffdb'

  it('come with U+FFFD in whatever shape they are asked for, and the process lives', {
    timeout: 60_000,
  }, async () => {
    const shapes: [string, unknown][] = [
      ['select "s" from "t" where "t"."id" = 1', [{ s: bad }]],
      ['select s, v from t order by s desc limit 1', [{ s: 'ok', v: null }]],
      ['select id, n, d, b, x from t', [{ id: 1, n: bad, d: bad, b: bad, x: bad }, expect.anything()]],
      ['select * from t where id = 1', [{ id: 1, s: bad, v: bad, n: bad, d: bad, b: bad, x: bad }]],
      ['select t.*, count(*) from t where id = 1', [expect.objectContaining({ s: bad, 'count(*)': 1 })]],
      ['select s as z from t order by z', [{ z: bad }, { z: 'ok' }]],
      ['select distinct s from t', [{ s: bad }, { s: 'ok' }]],
      ['select s from t union select v from t', [{ s: null }, { s: bad }, { s: 'ok' }]],
      ['select s from t order by 1', [{ s: bad }, { s: 'ok' }]],
      ['select max(v) as m, count(*) as c from t', [{ m: bad, c: 2 }]],
      ["select s || '!' as e from t", [{ e: `${bad}!` }, { e: 'ok!' }]],
      ["values (1, cast(x'ff' as text))", [{ column1: 1, column2: '\ufffd' }]],
      ['with c as (select s from t) select * from c', [{ s: bad }, { s: 'ok' }]],
      ['select a.s, b.s as o from t a join t b on a.id = b.id where a.id = 1', [{ s: bad, o: bad }]],
      ['select s from w', [{ s: bad }, { s: 'ok' }, { s: bad }, { s: 7 }]],
      ['select (select s from t limit 1) as q', [{ q: bad }]],
      ['select s from t where id = 1 -- with a comment', [{ s: bad }]],
      ['select s from t where id = 1 /* never closed', [{ s: bad }]],
      [';; select s from t where id = 1 ;', [{ s: bad }]],
      ['select [s], `s`, "s" from t where id = 1', [{ s: bad }]],
      ['update t set id = id where id = 1 returning s', [{ s: bad }]],
      [
        'update or ignore t set id = id where id = 1 returning *',
        [expect.objectContaining({ s: bad, x: bad })],
      ],
      [
        "insert into t (id, s) values (9, cast(x'ff' as text)) returning s as a, s || 'x' as b, (select s from t limit 1) c",
        [{ a: '\ufffd', b: '\ufffdx', c: bad }],
      ],
      ["replace into t (id, s) values (9, 'q') returning *, id", [expect.objectContaining({ s: 'q' })]],
      ['with k as (select 9 as i) delete from t where id in (select i from k) returning "s"', [{ s: 'q' }]],
      ['explain query plan select s from t', expect.anything()],
      ['select json_group_array(hex(s)) as j from t', [{ j: '["61FF62","6F6B"]' }]],
      ['select nope from t', { error: expect.stringContaining('no such column: nope') }],
      ['select s from t)', { error: expect.stringContaining('near ")"') }],
      ['select s from t where', { error: expect.stringContaining('incomplete input') }],
      ['select s from t; drop table t', { error: expect.stringContaining('several statements') }],
      ['select count(*) as c from t', [{ c: 2 }]],
    ]

    const result = await childRun(scenario('libsql-shapes'), {
      arguments: [JSON.stringify(shapes.map(([statement]) => statement))],
    })

    expect(result).toMatchObject({ exitCode: 0, signal: null, stderr: '' })
    for (const [at, [statement, rows]] of shapes.entries())
      expect(result.emitted[at], statement).toEqual(rows)
  })

  it('are read exactly otherwise: types, NUL, blobs, large and fractional numbers, names', async () => {
    const engine = await open(':memory:')
    await engine.db.run(sql`create table v (s text, n integer, r real, b blob, x, d decimal(10, 2))`)
    const values = [
      ['"quoted" \\ \u0000 \u001f \u2028 😀', "''", "''", "x''", "'text'", '1.5'],
      ["x'00'", "'text'", '0.1 + 0.2', "'text'", "x'1335'", "x'ff'"],
      ['null', '9007199254740993', '5.0', "x'00ff10'", '-9223372036854775808', '123456789012345678'],
      ["'real'", '0.30000000000000004', 'null', 'null', '1e300', 'null'],
      ["'null'", '1234567890123456.0', '9e999', '17', "''", '7'],
    ]
    for (const [s, ...others] of values) {
      const first = s?.startsWith('"') ? sql`${s}` : sql.raw(s ?? '')
      await engine.db.run(sql`insert into v values (${first}, ${sql.raw(others.join(', '))})`)
    }

    const expected = [
      ['"quoted" \\ \u0000 \u001f \u2028 😀', '', '', bytes(), 'text', 1.5],
      [bytes(0), 'text', 0.1 + 0.2, 'text', bytes(0x13, 0x35), bytes(0xff)],
      [null, 9007199254740993n, 5, bytes(0, 255, 16), -9223372036854775808n, 123456789012345678n],
      ['real', 0.30000000000000004, null, null, 1e300, null],
      ['null', 1234567890123456, Number.POSITIVE_INFINITY, 17, '', 7],
    ]
    for (const [at, row] of expected.entries()) {
      const [s, n, r, b, x, d] = row
      const where = sql.raw(`where rowid = ${at + 1}`)
      expect(
        bytesIn(await engine.db.all(sql`select "s", "n", "r", "b", "x", "d" from "v" ${where}`)),
      ).toEqual([{ s, n, r, b, x, d }])
      expect(bytesIn(await engine.db.all(sql`select * from v ${where}`))).toEqual([{ s, n, r, b, x, d }])
      expect(bytesIn(await engine.db.all(sql`update v set s = s ${where} returning *`))).toEqual([
        { s, n, r, b, x, d },
      ])
    }
    const named = sql`select n, n, "s" as "a""b", 1 as length from v where rowid = 2`
    expect(bytesIn(await engine.db.all(named))).toEqual([
      expect.objectContaining({ n: 'text', 'a"b': bytes(0) }),
    ])
    // A row of the driver under Drizzle 0.45, an array under 1.0.
    const [row] = await engine.db.values(named)
    expect(bytesIn([{ ...[row?.[0], row?.[1], row?.[2], row?.[3]] }])).toEqual([
      { ...['text', 'text', bytes(0), 1] },
    ])
  })

  it('are read exactly in a column of their own, whatever their length', async () => {
    const engine = await open(':memory:')
    await engine.db.run(sql`create table v (s text)`)
    const values = [
      '',
      'b',
      'b0',
      '6162',
      '\u0000',
      ...[63, 64, 2_500].flatMap((count) => ['ä'.repeat(count), `ä\u0000${'é'.repeat(count)}`]),
    ]
    const blobs = [bytes(), bytes(0), bytes(0x62, 0xff), bytes(...Buffer.alloc(5_000, 0xb0))]
    for (const value of values) await engine.db.run(sql`insert into v values (${value})`)
    for (const blob of blobs) await engine.db.run(sql`insert into v values (${Buffer.from(blob.bytes)})`)
    await engine.db.run(
      sql`insert into v values (null), (cast(x'ff' as text)), (cast(zeroblob(200) || x'ff' as text))`,
    )

    const rows = await engine.db.all(sql`select s from v order by rowid`)

    const damaged = ['\ufffd', `${'\u0000'.repeat(200)}\ufffd`]
    expect(bytesIn(rows)).toEqual([...values, ...blobs, null, ...damaged].map((s) => ({ s })))
  })

  it('are read rightly after the table has changed', async () => {
    const engine = await openWithTable()
    const another = createClient({ url: dburi })
    await engine.db.insert(t).values({ w: 'a' })
    const star = () => engine.db.all(sql`select * from t`)
    const list = () => engine.db.all(sql`select "id", "w" from "t"`)
    expect([await star(), await list()]).toEqual([[{ id: 1, w: 'a' }], [{ id: 1, w: 'a' }]])

    await another.execute('alter table t add column n integer default 7')
    expect([await star(), await list()]).toEqual([[{ id: 1, w: 'a', n: 7 }], [{ id: 1, w: 'a' }]])
    await another.execute('alter table t rename column w to v')
    expect([await star(), String(await failure(list()))]).toEqual([
      [{ id: 1, v: 'a', n: 7 }],
      expect.stringContaining('no such column'),
    ])
    await another.batch([
      'drop table t',
      'create table t (id text, w integer)',
      "insert into t values ('x', 5)",
    ])

    expect([await star(), await list()]).toEqual([[{ id: 'x', w: 5 }], [{ id: 'x', w: 5 }]])
    another.close()
  })

  it('and large blobs come back as they were written, many at once', async () => {
    const file = sqliteTable('f', { id: integer('id').primaryKey(), b: blob('b', { mode: 'buffer' }) })
    const engine = await open()
    await engine.db.run(sql`create table f (id integer primary key, b blob)`)
    const blobs = [
      Buffer.alloc(0),
      Buffer.from('small'),
      Buffer.alloc(200_000, 7),
      Buffer.alloc(1_000_000, 255),
    ]

    for (const b of blobs) await engine.db.insert(file).values({ b })
    for (let round = 0; round < 2; round++) {
      const reads = await Promise.all(blobs.map(() => engine.db.select().from(file)))
      for (const rows of reads)
        expect(rows.map(({ b }, at) => b?.equals(blobs[at] ?? b))).toEqual([true, true, true, true])
    }

    const raw = await engine.db.all<{ b: ArrayBuffer }>(sql`select b from f`)
    expect(raw.map(({ b }) => b.byteLength)).toEqual([0, 5, 200_000, 1_000_000])
  })
})

function bytes(...values: number[]): { bytes: number[] } {
  return { bytes: values }
}

/** Rows whose ArrayBuffers show what is in them. */
function bytesIn(rows: unknown): object[] {
  const shown = (value: unknown) => (value instanceof ArrayBuffer ? bytes(...new Uint8Array(value)) : value)
  return (rows as object[]).map((row) =>
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name, shown(value)])),
  )
}

describe('the client of a handle', () => {
  it('does what libSQL promises of it', async () => {
    const engine = await openWithTable()
    const { $client } = engine.db
    const results = await $client.batch([
      "insert into t (w) values ('a')",
      { sql: 'insert into t (w) values (?)', args: ['b'] },
      ['insert into t (w) values (:w)', { w: 'c' }],
      'select w from t',
    ])

    expect(results.map(({ rowsAffected }) => rowsAffected)).toEqual([1, 1, 1, 0])
    expect(results[0]?.lastInsertRowid).toBe(1n)
    const [row] = results[3]?.rows ?? []
    expect([row?.[0], row?.['w'], row?.length, Object.keys(row ?? {})]).toEqual(['a', 'a', 1, ['w']])
    expect(results[3]).toMatchObject({ columns: ['w'], columnTypes: ['TEXT'] })

    await expect(
      $client.batch(["insert into t (w) values ('d')", 'insert into nope values (1)']),
    ).rejects.toThrow('nope')
    await $client.executeMultiple("insert into t (w) values ('e'); insert into t (w) values ('f;')")
    const transaction = await $client.transaction('write')
    await transaction.execute("insert into t (w) values ('g')")
    await transaction.rollback()
    expect([transaction.closed, $client.closed, $client.protocol]).toEqual([true, false, 'file'])
    $client.close()
    expect((await engine.db.select().from(t)).map(({ w }) => w)).toEqual(['a', 'b', 'c', 'e', 'f;'])
  })

  it('migrates with foreign keys unchecked, outside of transactions only', async () => {
    const engine = await openWithTable()
    await engine.db.run(sql`create table child (t integer references t (id) on delete cascade)`)
    await engine.db.insert(t).values({ id: 1 })
    await engine.db.run(sql`insert into child values (1)`)

    await engine.db.$client.migrate([
      'create table new (id integer primary key, w text)',
      'drop table t',
      'alter table new rename to t',
    ])
    const session = new Session(engine, {})
    const refused = await failure(session.db.$client.migrate(['drop table t']))
    await session.close()

    expect(await engine.db.all(sql`select * from child`)).toEqual([{ t: 1 }])
    expect(refused).toBeInstanceOf(StatementError)
    expect(await failure(engine.db.run(sql`insert into child values (5)`))).toMatchObject({
      code: 'SQLITE_CONSTRAINT',
    })
  })

  it('makes triggers, whose end is not that of a transaction', async () => {
    const engine = await openWithTable()
    const trigger =
      "create trigger twice after insert on t begin insert into t (w) select 'again' where new.w = 'a'; end"

    await engine.db.run(sql.raw(trigger))
    await engine.db.$client.executeMultiple(`drop trigger twice; ${trigger}; delete from t`)
    await engine.db.insert(t).values({ w: 'a' })

    expect(await count(engine)).toBe(2)
    for (const text of ['begin', 'end', `${trigger}; end`]) {
      expect(await failure(engine.db.run(sql.raw(text)))).toBeInstanceOf(StatementError)
    }
  })

  it('nests db.transaction() and keeps what only the inner one undid', async () => {
    const engine = await openWithTable()

    await engine.db.transaction(async (tx) => {
      await tx.insert(t).values({ w: 'outer' })
      await tx
        .transaction(async (inner) => {
          await inner.insert(t).values({ w: 'inner' })
          throw new Error('undone')
        })
        .catch(() => {})
    })

    expect((await engine.db.select().from(t)).map(({ w }) => w)).toEqual(['outer'])
  })

  it('shows no parameter in an error, and refuses what cannot be bound', async () => {
    const engine = await openWithTable()
    const canary = 'canary-f00d'
    await engine.db.run(sql`create virtual table words using fts5 (word)`)

    const errors = [
      await engine.db
        .all(sql`select * from words where words match ${`"${canary}`}`)
        .catch((error: unknown) => error),
      await engine.db.run(sql`insert into t (id) values (${canary})`).catch((error: unknown) => error),
      await engine.db.$client
        .execute({ sql: 'select ?', args: [{ canary } as never] })
        .catch((error: unknown) => error),
      await engine.db.$client
        .execute({ sql: 'select ?', args: [Number.NaN] })
        .catch((error: unknown) => error),
    ]

    for (const error of errors) {
      for (const cause of causes(error))
        expect(`${cause instanceof Error ? cause.stack : cause}`).not.toContain(canary)
    }
    expect(reasonOf(errors[3])).toMatchObject({ code: 'INVALID_PARAMETER' })
  })
})

describe('options', () => {
  it.each([
    ['vfs=unix-none', 'REFUSED_OPTION', 'vfs'],
    ['nolock=1', 'REFUSED_OPTION', 'nolock'],
    ['immutable=1', 'REFUSED_OPTION', 'immutable'],
    ['load_extension=x', 'REFUSED_OPTION', 'load_extension'],
    ['authToken=secret', 'REFUSED_OPTION', 'authToken'],
    ['offline=1', 'REFUSED_OPTION', 'offline'],
    ['tls=0', 'REFUSED_OPTION', 'tls'],
    ['timeuot=1', 'UNKNOWN_OPTION', 'timeuot'],
    ['timeout=soon', 'INVALID_OPTION', 'timeout'],
    ['timeout=-1', 'INVALID_OPTION', 'timeout'],
    ['timeout=1&timeout=2', 'INVALID_OPTION', 'timeout'],
    ['mode=rx', 'INVALID_OPTION', 'mode'],
    ['journal_mode=off', 'INVALID_OPTION', 'journal_mode'],
    ['syncUrl=https://user:pass@host', 'INVALID_OPTION', 'syncUrl'],
    ['syncUrl=https://host&journal_mode=wal', 'REFUSED_OPTION', 'journal_mode'],
    ['syncUrl=https://host&sync_url=https://host', 'INVALID_OPTION', 'sync_url'],
  ])('?%s is refused by name', async (query, code, option) => {
    const refused = open(`${dburi}?${query}`)

    await expect(refused).rejects.toMatchObject({ code, option })
    await expect(refused).rejects.toBeInstanceOf(OptionError)
    expect(readdirSync(directory)).toEqual([])
  })

  it('that only pysqlite knows have no effect', async () => {
    const uri = `${dburi}?check_same_thread=false&isolation_level=IMMEDIATE&detect_types=3&cached_statements=5&cache=private`

    expect(await count(await openWithTable(uri))).toBe(0)
  })

  it('make a replica, whose server cannot be reached: a typed error with the address of the server', {
    timeout: 60_000,
  }, async () => {
    const port = await freePort()
    const result = await childRun(scenario('libsql-replica'), {
      arguments: [`${dburi}?syncUrl=http://127.0.0.1:${port}&authToken=canary`],
    })

    expect(result).toMatchObject({ exitCode: 0, signal: null })
    expect(result.emitted).toEqual([
      { name: 'ConnectError', code: 'CONNECT_FAILED', host: '127.0.0.1', port },
    ])
    expect(result.stdout + result.stderr).not.toContain('canary')
  })
})

describe('a remote server', () => {
  it('is asked over HTTP by libsql: and http:, in sessions and single statements', async () => {
    await using server = await startHranaServer(join(directory, 'remote.db'), { authToken: 'canary' })
    const [engine, http] = await Promise.all([
      openWithTable(server.dburi),
      open(server.dburi.replace('libsql:', 'http:').replace('?tls=0&', '?')),
    ])

    await using session = new Session(engine, {})
    await session.db.insert(t).values({ w: 'a' })
    await session.rollback()
    await session.db.insert(t).values({ w: 'b' })
    await session.commit()
    await http.db.batch([http.db.insert(t).values({ w: 'c' }), http.db.insert(t).values({ w: 'd' })])

    expect((await http.db.select().from(t)).map(({ w }) => w)).toEqual(['b', 'c', 'd'])
    expect(
      bytesIn(await http.db.all(sql`select 9007199254740993 as big, x'00ff' as bytes, 1 as one`)),
    ).toEqual([{ big: 9007199254740993n, bytes: bytes(0, 255), one: 1 }])
    expect(server.requests.every(({ authorization }) => authorization === 'Bearer canary')).toBe(true)
  })

  it('asks for the token whenever a connection is opened', async () => {
    await using server = await startHranaServer(join(directory, 'remote.db'), { authToken: 'right' })
    const uri = server.dburi.replace(/&.*/, '')
    const tokens = ['wrong', 'right']
    const engine = await open(uri, { password: async () => tokens.shift() ?? 'right' })

    const refused = await failure(engine.db.run(sql`select 1`))
    await engine.db.run(sql`select 1`)

    expect(refused).toMatchObject({ code: 'AUTH_REFUSED', host: '127.0.0.1' })
    expect(String(refused)).not.toContain('wrong')
  })

  it('that cannot be reached is a typed error, over HTTP and WebSockets', async () => {
    const port = await freePort()

    for (const scheme of ['http', 'ws']) {
      const engine = await open(`${scheme}://127.0.0.1:${port}`)
      expect(await failure(engine.db.run(sql`select 1`))).toMatchObject({ code: 'CONNECT_FAILED', port })
    }
  })

  it('that goes away leaves a lost connection, and the next one is new', async () => {
    const file = join(directory, 'remote.db')
    const server = await startHranaServer(file)
    const engine = await openWithTable(server.dburi)
    const session = new Session(engine, {})
    await session.db.insert(t).values({ w: 'a' })
    await server.close()

    expect(await failure(session.db.select().from(t))).toMatchObject({ code: 'CONNECTION_LOST' })
    expect(await failure(session.db.select().from(t))).toBeInstanceOf(PendingRollbackError)
    await session.rollback()
    expect(await failure(session.db.select().from(t))).toMatchObject({ code: 'CONNECT_FAILED' })
    await session.close()
  })

  it('that falls silent keeps nobody waiting for longer than the grace and the statement timeout', async () => {
    await using server = await startHranaServer(join(directory, 'remote.db'))
    await using proxy = await FaultProxy.before(server.dburi)
    const engine = await openWithTable(proxy.dburi)
    const session = new Session(engine, {})
    const committing = new Session(engine, {})
    await session.db.select().from(t)
    await committing.begin({ readOnly: true })
    await committing.db.select().from(t)
    proxy.mode = 'blackhole'

    const { db } = session.with({ statementTimeout: 0.3 })
    expect(await failure(db.select().from(t))).toMatchObject({ code: 'STATEMENT_TIMEOUT' })
    expect(await failure(session.commit())).toBeInstanceOf(PendingRollbackError)
    const commit = failure(committing.commit())
    const startedAt = performance.now()
    await engine.dispose({ grace: 0.2 })
    expect(await commit).toBeInstanceOf(Error)
    expect(performance.now() - startedAt).toBeLessThan(atMost(2_000))
    await session.close()
    await committing.close()
  })

  it('that forgets a transaction leaves a session that wants a rollback', async () => {
    await using server = await startHranaServer(join(directory, 'remote.db'))
    const engine = await openWithTable(server.dburi)
    const session = new Session(engine, {})
    await session.db.insert(t).values({ w: 'a' })
    server.expireStreams()

    await failure(session.db.insert(t).values({ w: 'b' }))
    expect(await failure(session.db.insert(t).values({ w: 'c' }))).toBeInstanceOf(PendingRollbackError)
    await session.rollback()
    await session.db.insert(t).values({ w: 'd' })
    await session.commit()
    await session.close()

    expect((await engine.db.select().from(t)).map(({ w }) => w)).toEqual(['d'])
  })
})
