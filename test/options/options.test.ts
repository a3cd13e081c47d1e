import { inspect } from 'node:util'
import { OptionError, SessionManager, type SessionManagerOptions } from 'drizzle-celery'
import { DatabaseBackend } from 'drizzle-celery/backend'
import { prepareModels } from 'drizzle-celery/schema'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'

/** What is not understood is refused by name, before anything is done. */

const MEMORY: string = ':memory:'
const canary = 'canary-7f3a9c'
let manager: SessionManager

beforeEach(() => {
  manager = new SessionManager({ prepare: 'none' })
})

afterEach(() => manager.dispose())

/** Each place that takes options, given some that no compiler would let through. */
const places: Record<string, (options: object) => unknown> = {
  SessionManager: (options) => new SessionManager(options),
  getEngine: (options) => manager.getEngine(MEMORY, options),
  createSession: (options) => manager.createSession(MEMORY, options),
  sessionFactory: (options) => manager.sessionFactory(MEMORY, options),
  session: (options) => manager.session(MEMORY, options, async () => {}),
  'prepareModels of a manager': async (options) =>
    manager.prepareModels(await manager.getEngine(MEMORY), options),
  prepareModels: async (options) =>
    prepareModels((await manager.getEngine(':memory:')) as Parameters<typeof prepareModels>[0], {}, options),
  engineOptions: (engineOptions) => new SessionManager({ engineOptions }),
  DatabaseBackend: (options) => new DatabaseBackend(MEMORY, { manager, ...options }),
  databaseEngineOptions: (databaseEngineOptions) => new DatabaseBackend(MEMORY, { databaseEngineOptions }),
  connect: async (options) => (await manager.getEngine(MEMORY)).connect(options),
  'dispose of an engine': async (options) => (await manager.getEngine(MEMORY)).dispose(options),
  dispose: (options) => manager.dispose(options),
  invalidate: (options) => manager.invalidate(MEMORY, options),
  begin: async (options) => (await manager.sessionFactory(MEMORY)).begin(options),
}

it('counts an option that is undefined as left out, also where the manager has it', async () => {
  await using rooted = new SessionManager({ engineOptions: { sqliteRoot: '/nowhere', poolSize: 3 } })
  const left = { sqliteRoot: undefined, poolSize: undefined, pooled: undefined, password: undefined }

  const refused = { code: 'REFUSED_OPTION', option: 'sqliteRoot' }
  await expect(rooted.getEngine('file:x.db', left)).rejects.toMatchObject(refused)
  await expect(rooted.sessionFactory('file:x.db', left)).rejects.toMatchObject(refused)
})

async function errorOf(work: () => unknown): Promise<OptionError> {
  try {
    await work()
  } catch (error) {
    expect(error).toBeInstanceOf(OptionError)
    if (error instanceof OptionError) return error
  }
  throw new Error('It was accepted')
}

describe.each(Object.entries(places))('%s', (_, take) => {
  it('refuses an unknown option by its name, and shows no value', async () => {
    const error = await errorOf(() => take({ noSuchThing: canary }))

    expect(error).toMatchObject({ code: 'UNKNOWN_OPTION', option: expect.stringMatching(/noSuchThing$/) })
    expect(inspect(error, { depth: 10 }) + error.stack).not.toContain(canary)
  })

  it('shows no name that no option could have', async () => {
    const error = await errorOf(() => take({ [`${canary}@x`]: 1 }))

    expect(error.code).toBe('UNKNOWN_OPTION')
    expect(inspect(error, { depth: 10 }) + error.stack).not.toContain(canary)
  })

  it('takes an option that is undefined for left out', { tags: 'full' }, async () => {
    await take({ noSuchThing: undefined })
  })
})

describe('a wrong option', () => {
  it.each<[place: string, options: object, option: string, hint: string]>([
    ['SessionManager', { schema: {} }, 'schema', 'did you mean models?'],
    ['SessionManager', { mode: 'check' }, 'mode', 'did you mean prepare?'],
    ['SessionManager', { prepared: 'none' }, 'prepared', 'did you mean prepare?'],
    ['SessionManager', { url: canary }, 'url', 'the dburi is the first argument'],
    ['getEngine', { max: 1 }, 'max', 'did you mean poolSize?'],
    ['getEngine', { poolsize: 1 }, 'poolsize', 'did you mean poolSize?'],
    ['getEngine', { pool_size: 1 }, 'pool_size', 'did you mean poolSize?'],
    ['getEngine', { ssl: true }, 'ssl', 'write it into the dburi'],
    ['sessionFactory', { autoCommit: true }, 'autoCommit', 'did you mean autocommit?'],
    ['getEngine', { readOnly: true }, 'readOnly', 'give it to a session, or to its begin()'],
    ['prepareModels', { mode: 'check' }, 'mode', 'did you mean prepare?'],
    ['engineOptions', { max: 1 }, 'engineOptions.max', 'did you mean engineOptions.poolSize?'],
    ['begin', { accessMode: 'read only' }, 'accessMode', 'did you mean readOnly?'],
    ['dispose', { timeout: 1 }, 'timeout', 'did you mean grace?'],
  ])('of %s, %j: the one that was meant is named', async (place, options, option, hint) => {
    const error = await errorOf(() => places[place]?.(options))

    expect(error).toMatchObject({ code: 'UNKNOWN_OPTION', option })
    expect(error.message).toContain(hint)
    expect(error.message).not.toContain(canary)
  })

  it.each<[place: string, options: object, option: string]>([
    ['SessionManager', { prepare: 'chek' }, 'prepare'],
    ['SessionManager', { onDifference: true }, 'onDifference'],
    ['SessionManager', { maxEngines: -1 }, 'maxEngines'],
    ['SessionManager', { engineCallback: {} }, 'engineCallback'],
    ['SessionManager', { models: [] }, 'models'],
    ['SessionManager', { models: { users: {} } }, 'models'],
    ['SessionManager', { models: { postgresql: [] } }, 'models.postgresql'],
    ['SessionManager', { migrations: { sqlite: './drizzle' } }, 'migrations.sqlite'],
    ['prepareModels', { migrations: { folder: '' } }, 'migrations'],
    ['prepareModels', { migrations: { folder: 'x', table: '' } }, 'migrations.table'],
    ['SessionManager', { casing: 'snake' }, 'casing'],
    ['SessionManager', { pooled: 'no' }, 'pooled'],
    ['getEngine', { logger: {} }, 'logger'],
    ['getEngine', { password: 1 }, 'password'],
    ['getEngine', { sqliteRoot: '' }, 'sqliteRoot'],
    ['getEngine', { statementTimeout: 0 }, 'statementTimeout'],
    ['getEngine', { maxResponseBytes: 1_023 }, 'maxResponseBytes'],
    ['sessionFactory', { autocommit: 'yes' }, 'autocommit'],
    ['sessionFactory', { signal: {} }, 'signal'],
    ['session', { statementTimeout: '1' }, 'statementTimeout'],
    ['prepareModels', { prepare: 'chek' }, 'prepare'],
    ['prepareModels', { signal: true }, 'signal'],
    ['connect', { signal: {} }, 'signal'],
    ['dispose', { grace: -1 }, 'grace'],
    ['begin', { isolationLevel: 'snapshot' }, 'isolationLevel'],
  ])('of %s, %j, is refused before it is used', async (place, options, option) => {
    expect(await errorOf(() => places[place]?.(options))).toMatchObject({ code: 'INVALID_OPTION', option })
  })

  it.each(Object.keys(places).filter((place) => !/[eE]ngineOptions|^DatabaseBackend/.test(place)))(
    'of %s may be no text and no null',
    async (place) => {
      for (const none of [null, 'poolSize=1', []])
        expect((await errorOf(() => places[place]?.(none as unknown as object))).code).toBe('INVALID_OPTION')
    },
  )

  it('is told together with all others', async () => {
    const options = { poolsize: 1, autoCommit: true, statementTimeout: -1, poolSize: 0 }
    const error = await errorOf(() => manager.sessionFactory(MEMORY, options))

    expect(error.faults.map(({ code, option }) => `${code} ${option}`)).toEqual([
      'UNKNOWN_OPTION poolsize',
      'UNKNOWN_OPTION autoCommit',
      'INVALID_OPTION poolSize',
      'INVALID_OPTION statementTimeout',
    ])
    for (const { message } of error.faults) expect(error.message).toContain(message)
    expect(error.option).toBe('poolsize')
  })

  it('of a backend is told together with all others', async () => {
    const options = { resultexpires: 5, resultExtended: 1, wire: 'x', databaseTableNames: { tsk: 'a' } }
    const error = await errorOf(() => new DatabaseBackend(MEMORY, options as object))

    expect(error.faults.map(({ option }) => option).sort()).toEqual([
      'databaseTableNames.tsk',
      'resultExtended',
      'resultexpires',
      'wire',
    ])
  })

  it.each<[string, string[]]>([
    [
      'file:x.db?tiemout=1&mode=sideways&pool_size=0&poolsize=1',
      ['pool_size', 'tiemout', 'poolsize', 'mode'],
    ],
    ['postgresql://h/db?ssl_mod=require&connectTimeout=x&role=me', ['ssl_mod', 'role', 'connect_timeout']],
    ['pglite:?max_response_bytes=1kB&nonsense=1', ['max_response_bytes', 'nonsense']],
    ['file:x.db?max_response_bytes=2048&maxResponseBytes=2048', ['maxResponseBytes']],
    ['mysql://h/db?chrset=utf8&sql_mode=x&connect_timeout=-1', ['chrset', 'sql_mode', 'connect_timeout']],
    ['pglite:?debug=1&relaxedDurability=perhaps&nonsense=1', ['debug', 'relaxedDurability', 'nonsense']],
  ])('of the dburi %s is told together with all others', async (dburi, options) => {
    const error = await errorOf(() => manager.getEngine(dburi))

    expect(error.faults.map(({ option }) => option)).toEqual(options)
    expect(manager.stats().engines).toEqual([])
  })

  it.each([
    `postgresql://h/db?nonsense=${canary}`,
    `postgresql://h/db?options=-c nonsense=${canary}`,
    `postgresql://h/db?options=-c ${canary}!=1`,
    `postgresql://h/db?${canary}!=1`,
    `postgresql://h/db?sslmode=${canary}`,
    `mysql://h/db?nonsense=${canary}&charset=${canary}`,
    `file:x.db?nonsense=${canary}&mode=${canary}`,
    `libsql://h?nonsense=${canary}`,
    `pglite:?nonsense=${canary}`,
  ])('of %s is refused without its value', async (dburi) => {
    const error = await errorOf(() => manager.getEngine(dburi))

    expect(
      inspect(error, { depth: 10, showHidden: true }) + error.stack + JSON.stringify(error),
    ).not.toContain(canary)
  })
})

describe('options', () => {
  it('may be of any class', async () => {
    class Defaults {
      get poolSize() {
        return 2
      }
    }
    class Options extends Defaults {
      autocommit = true
    }
    await using session = await manager.sessionFactory(MEMORY, new Options())
    await session.begin()

    expect(session.engine).toBe(await manager.getEngine(MEMORY, { poolSize: 2 }))
    expect(() => new SessionManager(Object.create(null) as SessionManagerOptions<object>)).not.toThrow()
  })
})

describe('session()', () => {
  const work = async () => 'done'
  const call = (...given: unknown[]) => Reflect.apply(manager.session, manager, given) as Promise<unknown>

  it.each<[string, unknown[]]>([
    ['options last', [MEMORY, work, { poolSize: 1 }]],
    ['no work', [MEMORY]],
    ['options only', [MEMORY, { poolSize: 1 }]],
    ['work that is none', [MEMORY, {}, 'work']],
  ])('refuses %s with the right order, before anything is opened', async (_, given) => {
    const error = await errorOf(() => call(...given))

    expect(error.message).toContain('session(dburi, options, async (db) => …)')
    expect(manager.stats().engines).toEqual([])
  })

  it('takes options that are undefined', async () => {
    expect(await call(MEMORY, undefined, work)).toBe('done')
    expect(await call(MEMORY, work, undefined)).toBe('done')
  })
})

describe('what is no dburi', () => {
  it('is refused by what it is, wherever a dburi is taken', async () => {
    const engine = await manager.getEngine(MEMORY)
    const takers: ((dburi: string) => unknown)[] = [
      (dburi) => manager.getEngine(dburi),
      (dburi) => manager.createSession(dburi),
      (dburi) => manager.sessionFactory(dburi),
      (dburi) => manager.session(dburi, async () => {}),
      (dburi) => manager.invalidate(dburi),
      (dburi) => new DatabaseBackend(dburi),
    ]
    for (const take of takers) {
      for (const [given, message] of [
        [undefined, /DATABASE_URL/],
        [5, /is a number/],
        [engine, /is an engine or a session/],
        [new URL('file:x.db'), /new URL\(\)/],
      ] as const) {
        const refused = (async () => take(given as unknown as string))()
        await expect(refused).rejects.toMatchObject({
          part: 'dburi',
          message: expect.stringMatching(message),
        })
      }
    }
  })

  it('is no engine either', async () => {
    const prepare = (engine: unknown) => Reflect.apply(manager.prepareModels, manager, [engine])

    await expect(prepare('postgresql://h/db')).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      option: 'engine',
    })
    await expect(prepare(undefined)).rejects.toMatchObject({ code: 'INVALID_OPTION', option: 'engine' })
  })
})

describeNeeding('postgresql', 'a URL', () => {
  const database = freshPostgres()

  it('opens what its text opens', async () => {
    const engine = await manager.getEngine(new URL(database.dburi))

    expect(await manager.getEngine(database.dburi)).toBe(engine)
    expect(engine.dialect === 'postgresql' && (await engine.db.execute(sql`select 1 as one`))).toEqual([
      { one: 1 },
    ])
  })
})

describeNeeding('postgresql', 'a statementTimeout that is given to createSession()', () => {
  const database = freshPostgres()

  it('holds its engine too, and nobody else', async () => {
    const { engine } = await manager.createSession(database.dburi, { statementTimeout: 0.2 })
    const plain = await manager.getEngine(database.dburi)
    if (engine.dialect !== 'postgresql' || plain.dialect !== 'postgresql')
      throw new Error('unexpected dialect')
    const sleep = sql`select pg_sleep(0.4)`
    const failed = engine.db.transaction((tx) => tx.execute(sleep))

    await expect(failed).rejects.toMatchObject({ cause: { code: 'STATEMENT_TIMEOUT' } })
    await expect(plain.db.execute(sleep)).resolves.toHaveLength(1)
  })
})
