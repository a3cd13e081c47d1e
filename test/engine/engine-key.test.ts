import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type SessionFactoryOptions, SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { askPostgres } from '../fixtures/catalogue.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'

/** Which calls share an engine, and which never do. */

let directory: string
let dburi: `file:${string}`
let manager: SessionManager

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-key-'))
  dburi = `file:${join(directory, 'results.db')}`
  manager = new SessionManager()
})

afterEach(async () => {
  vi.restoreAllMocks()
  await manager.dispose({ grace: 0 })
  rmSync(directory, { recursive: true })
})

function loggerOf(texts: string[]) {
  return { logQuery: (text: string) => void texts.push(text) }
}

describe('what a session may have for itself', () => {
  it.each<[string, (turn: number) => SessionFactoryOptions]>([
    ['logger', () => ({ logger: loggerOf([]) })],
    ['statementTimeout', (turn) => ({ statementTimeout: 1 + turn })],
    ['readOnly', (turn) => ({ readOnly: turn % 2 === 0 })],
    ['isolationLevel', (turn) => ({ isolationLevel: turn % 2 === 0 ? 'serializable' : 'read committed' })],
    ['signal', () => ({ signal: new AbortController().signal })],
    ['autocommit', (turn) => ({ autocommit: turn % 2 === 0 })],
    ['shortLivedSessions', (turn) => ({ shortLivedSessions: turn % 2 === 0 })],
  ])('makes no engine: %s', async (name, optionsOf) => {
    const engine = await manager.getEngine(dburi, { poolSize: 2 })
    for (let turn = 0; turn < 20; turn++) {
      const options = { poolSize: 2, ...optionsOf(turn) }
      await manager.session(dburi, options, (db) => db.all(sql`select 1`))
      await (await manager.createSession(dburi, options)).sessionMaker().close()
      if (name === 'logger' || name === 'statementTimeout') await manager.getEngine(dburi, options)
    }

    expect(manager.stats().engines).toHaveLength(1)
    expect(engine.stats().open).toBeLessThanOrEqual(2)
  })
})

describe('a logger', () => {
  it('is told of the statements of the call it was given to, and of no other', async () => {
    const heard: [string[], string[], string[]] = [[], [], []]
    const [ofEngine, ofSession, ofManager] = heard
    await using logging = new SessionManager({ engineOptions: { logger: loggerOf(ofManager) } })
    const engine = await logging.getEngine(dburi, { logger: loggerOf(ofEngine) })
    const plain = await logging.getEngine(dburi)
    await logging.prepareModels(plain)
    for (const texts of heard) texts.length = 0

    await engine.db.all(sql`select 'engine'`)
    await engine.db.transaction((tx) => tx.all(sql`select 'transaction'`))
    await using connection = await engine.connect()
    await connection.db.all(sql`select 'connection'`)
    await logging.session(dburi, { logger: loggerOf(ofSession) }, (db) => db.all(sql`select 'session'`))
    await logging.session(dburi, (db) => db.all(sql`select 'plain'`))
    await plain.db.all(sql`select 'plain engine'`)

    expect(ofEngine).toEqual(["select 'engine'", "select 'transaction'", "select 'connection'"])
    expect(ofSession).toEqual(["select 'session'"])
    expect(ofManager).toEqual(["select 'plain'", "select 'plain engine'"])
    expect(logging.stats().engines).toHaveLength(1)
  })

  it('has an engine of the same pool: the same one each time', async () => {
    const [one, other] = [loggerOf([]), loggerOf([])]
    const engine = await manager.getEngine(dburi, { logger: one })

    expect(await manager.getEngine(dburi, { logger: one })).toBe(engine)
    expect(await manager.getEngine(dburi, { logger: one, statementTimeout: 5 })).not.toBe(engine)
    expect(await manager.getEngine(dburi, { logger: other })).not.toBe(engine)
    expect(await manager.getEngine(dburi)).toBe(engine.origin)
    expect((await manager.createSession(dburi, { logger: one })).engine).toBe(engine)
    await engine.dispose()
    expect((await manager.getEngine(dburi, { logger: one })).isDisposed).toBe(false)
  })

  it('of the session that prepares the models is told of that', async () => {
    const texts: string[] = []
    await manager.session(dburi, { logger: loggerOf(texts) }, async () => {})

    expect(texts.join()).toMatch(/create table/i)
  })
})

describe('an engineKey', () => {
  const inline = (options: object = {}) =>
    manager.getEngine('libsql://h', { password: async () => 't', ...options })

  it('lets password functions written inline share an engine, and keeps different keys apart', async () => {
    const engine = await inline({ engineKey: 'a' })

    expect(await inline({ engineKey: 'a' })).toBe(engine)
    expect(await inline({ engineKey: 'b' })).not.toBe(engine)
    expect(await inline()).not.toBe(engine)
    expect(await manager.getEngine('libsql://h', { engineKey: 'a' })).not.toBe(engine)
    expect(await manager.getEngine('libsql://h', { engineKey: 'a', password: 't' })).not.toBe(engine)
    expect(await inline({ engineKey: 'a', poolSize: 2 })).not.toBe(engine)
    expect(await manager.getEngine('libsql://other', { engineKey: 'a', password: () => 't' })).not.toBe(
      engine,
    )
  })

  it('is a text, for one engine and not for all of a manager', async () => {
    await expect(manager.getEngine(dburi, { engineKey: '' })).rejects.toMatchObject({ option: 'engineKey' })
    const all = { engineOptions: { engineKey: 'a' } }
    expect(() => new SessionManager(all as object)).toThrow(/engineOptions\.engineKey/)
  })
})

describe('many engines of one dburi', () => {
  const secret = 'canary-7f3a9c'
  const uri = `libsql://h?authToken=${secret}`

  it('are told of once, with the option that differs and the way out, and no secret', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    for (let turn = 0; turn < 5; turn++) await manager.getEngine(uri, { password: () => secret, poolSize: 2 })
    expect(warn).not.toHaveBeenCalled()
    for (let turn = 0; turn < 10; turn++)
      await manager.getEngine(uri, { password: () => secret, poolSize: 2 })

    expect(warn).toHaveBeenCalledOnce()
    const [message, options] = warn.mock.calls[0] ?? []
    expect(options).toMatchObject({ code: 'DRIZZLE_CELERY_MANY_ENGINES' })
    expect(message).toMatch(/6 engines of libsql:\/\/h.*differ in password\..*engineKey/)
    expect(message).not.toMatch(/canary|poolSize/)

    for (let size = 1; size < 10; size++) await manager.getEngine(dburi, { poolSize: size })
    expect(warn).toHaveBeenCalledTimes(2)
    expect(warn.mock.calls[1]?.[0]).toMatch(/differ in poolSize\./)
    expect(warn.mock.calls[1]?.[0]).not.toContain('engineKey')
    for (let turn = 0; turn < 6; turn++) await manager.getEngine(':memory:', { onConnect: () => {} })
    expect(warn.mock.calls[2]?.[0]).toMatch(/differ in onConnect\..*engineKey/)
  })

  it('are not told of where few of them are kept, or the dburis differ', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    await using few = new SessionManager({ maxEngines: 3 })
    for (let turn = 0; turn < 10; turn++) {
      await few.getEngine(uri, { password: () => secret })
      await manager.getEngine(`libsql://h${turn}`, { password: () => secret })
      const engine = await manager.getEngine(uri, { password: () => secret })
      await engine.dispose()
    }

    expect(warn).not.toHaveBeenCalled()
  })
})

describeNeeding('postgresql', 'password functions', () => {
  const database = freshPostgres()

  it('written inline leave one engine and its connections with an engineKey', async () => {
    for (let turn = 0; turn < 15; turn++) {
      const options = { password: async () => 'token', engineKey: 'app' }
      await manager.session(database.dburi as 'postgresql://', options, (db) => db.execute(sql`select 1`))
    }

    expect(manager.stats().engines).toMatchObject([{ open: 1 }])
  })

  it('of two users never meet in one engine, whatever their keys', async () => {
    const users = [`one_${process.pid}`, `two_${process.pid}`]
    for (const user of users) await askPostgres(database.dburi, `create role ${user} login`)
    try {
      for (const engineKey of [undefined, 'shared']) {
        const engines = await Promise.all(
          users.map((user) => {
            const uri = new URL(database.dburi)
            uri.username = user
            return manager.getEngine(uri.href as 'postgresql://', {
              password: () => user,
              ...(engineKey && { engineKey }),
            })
          }),
        )
        const who = await Promise.all(
          engines.map(async ({ db }) => {
            const [row] = Array.from(await db.execute<{ u: string }>(sql`select current_user u`))
            return row?.u
          }),
        )
        expect(who).toEqual(users)
        expect(new Set(engines).size).toBe(2)
      }
    } finally {
      await manager.dispose()
      for (const user of users) await askPostgres(database.dburi, `drop role ${user}`)
    }
  })
})
