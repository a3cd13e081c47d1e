/** Why PostgreSQL ended a connection: what it said last is the cause of CONNECTION_LOST, wherever nobody was listening. */
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { causes, SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LastMessages } from '../../src/adapters/postgresql/last-messages.ts'
import { openPgServer, type PgServer } from '../fixtures/pg-server.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'
import { failure, Observer, pidOf, until, withOptions } from './support.ts'

/** The codes in a chain of causes, without Drizzle's error around it. */
function codesOf(error: unknown): unknown[] {
  return causes(error).flatMap((cause) => Reflect.get(Object(cause), 'code') ?? [])
}

let manager: SessionManager
beforeEach(() => {
  manager = new SessionManager({ prepare: 'none' })
})
afterEach(() => manager.dispose({ grace: 0 }))

describeNeeding('postgresql', 'the reason why PostgreSQL hung up', () => {
  const database = freshPostgres()
  let observer: Observer
  beforeEach(() => {
    observer = new Observer(database.dburi)
  })
  afterEach(() => observer[Symbol.asyncDispose]())

  it('is told of a session that was idle in its transaction for too long', async () => {
    await using session = await manager.sessionFactory(withOptions(database.dburi, {}))
    // By the last statement, not by the dburi: whatever comes before may take its time.
    await session.db.execute(sql`set local idle_in_transaction_session_timeout = 100`)
    await until(() => session.engine.stats().open === 0)

    expect(codesOf(await failure(session.db.execute(sql`select 1`)))).toEqual([
      'PENDING_ROLLBACK',
      'CONNECTION_LOST',
      '25P03',
    ])
    expect(codesOf(await failure(session.commit()))).toEqual(['PENDING_ROLLBACK', 'CONNECTION_LOST', '25P03'])
    await session.rollback()
    await session.db.execute(sql`select 1`)
  })

  it('is told of a connection that was idle for too long', async () => {
    const engine = await manager.getEngine(withOptions(database.dburi, {}))
    await using connection = await engine.connect()
    await connection.db.execute(sql`set idle_session_timeout = 100`)
    await until(() => engine.stats().open === 0)
    const error = await failure(connection.db.execute(sql`select 1`))

    expect(codesOf(error)).toEqual(['CONNECTION_LOST', '57P05'])
    expect(causes(error).at(-1)).toMatchObject({
      message: 'terminating connection due to idle-session timeout',
      severity: 'FATAL',
    })
  })

  it.each([
    ['a statement without parameters', sql`select pg_sleep(30)`],
    ['a statement with parameters', sql`select pg_sleep(${30}), ${'canary'}::text`],
  ])('is told of %s that ran when somebody ended it, in all ways to run one', async (_, statement) => {
    const dburi = withOptions(database.dburi, { application_name: 'lost-reason' })
    const engine = await manager.getEngine(dburi)
    await using session = await manager.sessionFactory(dburi)
    await using connection = await engine.connect()
    const running = [
      engine.db.execute(statement),
      engine.db.transaction((tx) => tx.execute(statement)),
      session.db.execute(statement),
      session.db.transaction((tx) => tx.execute(statement)),
      connection.db.execute(statement),
    ].map(failure)
    // The savepoint of a session waits behind its statement.
    await until(async () => {
      const backends = await observer.backends('lost-reason')
      return (
        backends.filter(({ query, state }) => state === 'active' && query.includes('pg_sleep')).length === 4
      )
    })
    for (const { pid } of await observer.backends('lost-reason')) await observer.terminate(pid)
    const errors = await Promise.all(running)

    for (const error of errors) {
      expect(codesOf(error).slice(-2)).toEqual(['CONNECTION_LOST', '57P01'])
      for (const cause of causes(error))
        expect(String(Reflect.get(Object(cause), 'stack'))).not.toContain('canary')
    }
  })

  it('is told of a transaction that nobody was using just then', async () => {
    const engine = await manager.getEngine(database.dburi as 'postgresql://')
    const error = await failure(
      engine.db.transaction(async (tx) => {
        await observer.terminate(await pidOf(tx as unknown as typeof engine.db))
        await until(() => engine.stats().checkedOut === 0)
        await tx.execute(sql`select 1`)
      }),
    )

    expect(codesOf(error).slice(-2)).toEqual(['CONNECTION_LOST', '57P01'])
  })
})

describeNeeding('private postgresql', 'the reason why a whole server hung up', () => {
  it('is its shutdown at once', async () => {
    await using server = await openPgServer()
    const { busy, idle } = await connectionsOf(server)
    await server.stopImmediate()

    for (const error of await Promise.all([busy, idle()])) {
      expect(codesOf(error)).toEqual(['CONNECTION_LOST', '57P01'])
      expect(causes(error).at(-1)).toMatchObject({ severity: 'WARNING' })
    }
  })

  it('is the crash of another of its processes', async () => {
    await using server = await openPgServer()
    await using observer = new Observer(server.dburi)
    const { busy, idle } = await connectionsOf(server)
    const [row] = await observer.sql`select pg_backend_pid() as pid`
    process.kill(Number(row?.['pid']), 'SIGKILL')

    for (const error of await Promise.all([busy, idle()])) {
      expect(codesOf(error)).toEqual(['CONNECTION_LOST', '57P02'])
    }
  })

  /** What becomes of a statement under way, and of one on a connection that was idle, when the server is gone. */
  async function connectionsOf(server: PgServer) {
    const engine = await manager.getEngine(server.dburi as 'postgresql://')
    const connection = await engine.connect()
    const pid = await pidOf(connection.db)
    const busy = failure(engine.db.execute(sql`select pg_sleep(30)`))
    await until(async () => {
      await using observer = new Observer(server.dburi)
      const [row] =
        await observer.sql`select count(*)::int as busy from pg_stat_activity where query like '%sleep(30)' and pid <> ${pid}`
      return row?.['busy'] === 1
    })
    const idle = async () => {
      await until(() => engine.stats().open === 0)
      const error = await failure(connection.db.execute(sql`select 1`))
      await connection.close()
      return error
    }
    return { busy, idle }
  }
})

describeNeeding('private postgresql', 'the reason why a transaction was ended', () => {
  it('is that it took too long as a whole, from PostgreSQL 17 on', async ({ skip }) => {
    await using server = await openPgServer({ prefer: 'embedded', settings: {} })
    if (Number(/\d+/.exec(server.version.replace(/^\D*/, ''))?.[0]) < 17)
      skip('this server has no transaction_timeout')
    await using session = await manager.sessionFactory(withOptions(server.dburi, {}))
    await session.db.execute(sql`set local transaction_timeout = 100`)
    await until(() => session.engine.stats().open === 0)

    expect(codesOf(await failure(session.db.execute(sql`select 1`)))).toEqual([
      'PENDING_ROLLBACK',
      'CONNECTION_LOST',
      '25P04',
    ])
  })
})

describe('the last word of a server', () => {
  const message = (type: string, body: string) => {
    const bytes = Buffer.from(`${type}\0\0\0\0${body}`)
    bytes.writeUInt32BE(bytes.length - 1, 1)
    return bytes
  }
  const error = (fields: readonly string[]) => message('E', `${fields.join('\0')}\0\0`)
  const farewell = error([
    'SFATAL',
    'VFATAL',
    'C57P01',
    'Mterminating connection',
    'Dcanary',
    'Hcanary',
    'Wcanary',
    'RProcessInterrupts',
  ])
  const heard = (...chunks: Buffer[]) => {
    const socket = new EventEmitter()
    const lastWord = new LastMessages(socket as Socket)
    for (const chunk of chunks) socket.emit('data', chunk)
    return lastWord.farewell()
  }

  it.each([
    ['alone', [farewell]],
    ['behind an answer', [Buffer.concat([Buffer.alloc(70_000, 'E'), message('Z', 'I'), farewell])]],
    ['byte by byte', Array.from(farewell, (byte) => Buffer.from([byte]))],
    ['cut in two', [farewell.subarray(0, 20), farewell.subarray(20)]],
  ])('is read when it comes %s', (_, chunks) => {
    const found = heard(...chunks)

    expect(found).toMatchObject({ code: '57P01', severity: 'FATAL', message: 'terminating connection' })
    expect(JSON.stringify({ ...found, stack: found?.stack })).not.toContain('canary')
  })

  it.each([
    ['nothing', []],
    ['an error that the connection outlives', [error(['SERROR', 'VERROR', 'C42601', 'Msyntax error'])]],
    ['something behind it', [farewell, message('Z', 'I')]],
    ['half of it', [farewell.subarray(0, 30)]],
    ['no SQLSTATE', [error(['SFATAL', 'VFATAL', 'Mterminating connection'])]],
    ['many beginnings', [Buffer.alloc(10_000, 'E')]],
  ])('is none where the server said %s', (_, chunks) => {
    expect(heard(...chunks)).toBeNull()
  })

  it('is in any language, and shows nothing that is quoted', () => {
    expect(heard(error(['SFATAL', 'C3D000', 'MDatenbank "canary" wird gelöscht']))).toMatchObject({
      code: '3D000',
      severity: 'FATAL',
      message: 'Datenbank "[hidden]" wird gelöscht',
    })
  })
})
