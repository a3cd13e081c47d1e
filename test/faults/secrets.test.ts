/** Whatever breaks, no password and no bound parameter comes out, and nothing a caller bound can forge a log line. */
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { causes, DrizzleCeleryError, SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { childRun, scenario } from '../fixtures/child-run.ts'
import { FaultProxy } from '../fixtures/fault-proxy.ts'
import { isLong } from '../fixtures/loops.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'
import { expectNoSecret } from '../fixtures/standard-check.ts'
import { codeOf, failure, Observer, pidOf, tally, until, withOptions, withPassword } from './support.ts'

const password = 'canary-p4ssw0rd/@:'
const parameter = 'canary-p4r4m3t3r'
const slow = { timeout: isLong ? 600_000 : 120_000 }
/** What would begin a line, or a terminal's escape, in a log. */
const forged = [
  'a\nERROR forged',
  'b\r\nforged',
  'c\u001b[2Jforged',
  'd\u2028forged',
  'e\u2029forged',
  'f\u0085forged',
]

describeNeeding('postgresql', 'what comes out', () => {
  const database = freshPostgres()
  let observer: Observer
  let proxy: FaultProxy
  let manager: SessionManager

  beforeEach(async () => {
    observer = new Observer(database.dburi)
    await observer.sql`create table if not exists faults (id text primary key, age int, short varchar(3))`
    await observer.sql`truncate faults`
    proxy = await FaultProxy.before(database.dburi)
    manager = new SessionManager()
  })
  afterEach(async () => {
    await manager.dispose({ grace: 0 })
    await proxy.close()
    await observer[Symbol.asyncDispose]()
  })

  const dburi = (options: Record<string, string> = {}) =>
    withOptions(withPassword(proxy.dburi, password), {
      pool_size: '1',
      max_overflow: '0',
      pool_timeout: '2',
      connect_timeout: '3',
      ...options,
    })

  /** Fails in every way that a parameter was near; gives the errors. */
  async function failEverywhere(id: string): Promise<unknown[]> {
    // As those of the dburi: enough for what is to be answered.
    const options = { statementTimeout: 3 }
    const { engine, sessionMaker } = await manager.createSession(dburi(), options)
    const insert = (db: typeof engine.db) => db.execute(sql`insert into faults (id) values (${id})`)
    await insert(engine.db)
    const errors: unknown[] = []
    const collect = async (promise: PromiseLike<unknown>) => {
      errors.push(await failure(promise))
    }

    // What the server refuses, and repeats in its words.
    await collect(insert(engine.db))
    await collect(engine.db.execute(sql`insert into faults (id, age) values ('x', ${id})`))
    await collect(engine.db.execute(sql`insert into faults (id, short) values ('x', ${id})`))
    await collect(engine.db.execute(sql`select ${id}::int`))
    await collect(engine.db.execute(sql`select ${id}::timestamptz`))
    await collect(engine.db.execute(sql`select ${JSON.stringify({ id })}::int`))
    await collect(engine.db.execute(sql`select ${[id]}::int[]`))
    await collect(engine.db.execute(sql`select no_such_column where ${id} = ''`))
    await collect(engine.db.execute(sql`select set_config('no such setting', ${id}, true)`))
    // What we refuse.
    await collect(engine.db.execute(sql`insert into faults (id, age) values (${id}, ${Symbol(id)})`))
    await collect(engine.db.execute(sql`select ${id}, ${new Date(Number.NaN)}`))
    await collect(engine.db.execute(sql`commit; select ${id}`))
    // A transaction that is doomed, lost, timed out, crowded out, closed.
    const session = sessionMaker()
    await collect(insert(session.db))
    await collect(session.commit())
    await collect(insert(session.db))
    await session.rollback()
    await collect(session.db.execute(sql`select pg_sleep(30), ${id}::text`))
    await collect(insert(session.db))
    await session.rollback()
    await session.db.execute(sql`select 1`)
    await collect(insert(engine.db))
    const pid = await pidOf(session.db)
    const busy = failure(session.db.execute(sql`select pg_sleep(30), ${id}::text`))
    await observer.terminate(pid)
    errors.push(await busy)
    await collect(insert(session.db))
    await session.close()
    await collect(insert(session.db))
    await until(() => engine.stats().open === 0)
    // A server that cannot be reached, with the statement on its way to it.
    for (const mode of ['close-on-accept', 'reset-on-accept', 'hang-on-accept'] as const) {
      proxy.mode = mode
      await collect(insert(engine.db))
    }
    proxy.mode = 'pass'
    await collect(engine.db.transaction((tx) => insert(tx as unknown as typeof engine.db)))
    await manager.dispose({ grace: 0 })
    await collect(insert(engine.db))
    return errors
  }

  it('T63 no error, whatever broke, shows a password or a bound parameter', {
    ...slow,
    tags: 'full',
  }, async () => {
    const errors = await failEverywhere(parameter)

    const codes = tally(errors.map(codeOf))
    console.log(`T63: ${errors.length} errors ${JSON.stringify(codes)}`)
    expect(errors.every((error) => error instanceof Error)).toBe(true)
    expect(Object.keys(codes).length).toBeGreaterThan(12)
    expect(Object.keys(codes).filter((code) => code.startsWith('untyped'))).toEqual([])
    expectNoSecret([password, parameter], ...errors, ...errors.flatMap(causes), ...errors.map(printed))
  })

  it('T63 no object that a caller holds shows the password', async () => {
    const { engine, sessionMaker } = await manager.createSession(dburi())
    const session = sessionMaker()
    await session.db.execute(sql`select ${parameter}::text`)
    const found: unknown[] = []
    await session.db.transaction(async (tx) => {
      found.push(tx, printed(tx))
    })
    await session.close()
    const connection = await engine.connect()
    const objects = { manager, engine, session, connection, 'engine.db': engine.db, 'session.db': session.db }

    for (const [name, held] of Object.entries(objects)) found.push(held, printed(held), { [name]: held })
    found.push(manager.stats(), engine.stats(), connection.db, printed(connection.db))
    await connection.close()

    expectNoSecret([password, parameter], ...found)
    expect(JSON.stringify(manager)).toContain('postgres')
  })

  it('T63 the password of a function, and of one that fails, is not shown either', async () => {
    const given = await manager.getEngine(dburi(), { password: async () => `${password}!` })
    const failing = await manager.getEngine(dburi(), {
      password: async () => {
        throw new Error('the vault is closed')
      },
    })
    await given.db.execute(sql`select 1`)
    const error = await failure(failing.db.execute(sql`select ${parameter}::text`))

    expect(causes(error).map(String).join('\n')).toContain('the vault is closed')
    expectNoSecret([password, parameter], error, given, failing, manager, printed(given))
  })

  it('T63 control: the sweep finds the password in what the driver holds', async () => {
    const client = postgres(dburi(), { max: 1 })

    expect(() => expectNoSecret([password], client.options)).toThrow('Secret 1')
    expect(() => expectNoSecret([parameter], new Error(`Key (id)=(${parameter})`))).toThrow('Secret 1')
    await client.end()
  })

  it('T63 parameters are shown to those who ask for it, the password never', async () => {
    const engine = await manager.getEngine(dburi(), { exposeParameters: true })
    const error = await failure(engine.db.execute(sql`select ${parameter}::int`))

    expect(String(error)).toContain(parameter)
    expectNoSecret([password], error)
  })

  it('T75 what a caller bound never comes into an error or a warning, so no line can be forged', {
    ...slow,
    tags: 'full',
  }, async () => {
    const write = vi.spyOn(process, 'emitWarning')
    const errors = await failEverywhere(forged.join(' '))

    for (const error of errors.flatMap(causes)) {
      if (!(error instanceof Error)) continue
      expect(error.message).not.toContain('forged')
      expect(error.stack).not.toContain('forged')
      if (error instanceof DrizzleCeleryError)
        expect(error.message.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\u2028\u2029]/u)
    }
    expect(write).not.toHaveBeenCalled()
    write.mockRestore()
  })

  it('T75 what a dburi holds cannot forge a line either', async () => {
    for (const text of forged.slice(0, 3)) {
      const encoded = encodeURIComponent(text)
      const dburis = [
        `postgresql://postgres@127.0.0.1:${proxy.port}/${encoded}`,
        `postgresql://${encoded}@127.0.0.1:${proxy.port}/postgres`,
        `postgresql://postgres@127.0.0.1:${proxy.port}/postgres?application_name=${encoded}`,
        `postgresql://postgres@127.0.0.1:${proxy.port}/postgres?${encoded}=1`,
      ]
      for (const each of dburis) {
        const error = await failure(manager.getEngine(each).then((engine) => manager.prepareModels(engine)))
        // The server's own words, in a cause, are the server's.
        const own = causes(error).filter((cause) => cause instanceof DrizzleCeleryError)
        for (const line of [
          ...own.map(({ message }) => message),
          inspect(manager),
          JSON.stringify(manager),
        ]) {
          expect(line).not.toMatch(/[\p{Cc}\u2028\u2029][^\n]*forged/u)
        }
      }
    }
  })

  it('T63 nothing is printed by the process itself while connections break', {
    ...slow,
    tags: 'full',
  }, async () => {
    const run = childRun(scenario('faults-chaos'), {
      arguments: [dburi(), database.dburi, '1'],
      timeout: 100_000,
    })
    await until(() => proxy.open > 0)
    for (const how of ['rst', 'fin', 'rst'] as const) {
      await sleep(200)
      proxy.kill(how)
    }
    const result = await run

    expect(result).toMatchObject({ exitCode: 0, stdout: '', stderr: '' })
    expectNoSecret([password], JSON.stringify(result))
  })
})

/** What `console.log` would print of it. */
function printed(value: unknown): string {
  return inspect(value, { colors: true })
}
