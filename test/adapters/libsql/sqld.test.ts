import { generateKeyPairSync, sign } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { DatabaseBackend } from '../../../src/backend/database-backend.ts'
import { causes, DrizzleCeleryError } from '../../../src/errors.ts'
import { SessionManager } from '../../../src/session/open-manager.ts'
import { describeNeeding } from '../../fixtures/servers.ts'
import { openSqld, type SqldServer } from '../../fixtures/sqld-server.ts'

/** What only a real libSQL server does; the rest is in `remote.test.ts` and the conformance suite. */

let directory: string
const opened: AsyncDisposable[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dc-sqld-test-'))
})

afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each[Symbol.asyncDispose]()
  rmSync(directory, { recursive: true })
})

function kept<Resource extends AsyncDisposable>(resource: Resource): Resource {
  opened.push(resource)
  return resource
}

/** The error of this library that says why. */
async function failure(work: Promise<unknown>): Promise<DrizzleCeleryError | undefined> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  return causes(error).find((cause) => cause instanceof DrizzleCeleryError)
}

/** Stores a task in a session that stays open while something else is done. */
function storing(
  dburi: `http://${string}` | `ws://${string}`,
  taskId: string,
  meanwhile = async (): Promise<void> => {},
) {
  const manager = kept(new SessionManager())
  return manager.session(dburi, async (db, { models }) => {
    await db.insert(models.task).values({ taskId, status: 'SUCCESS' })
    await meanwhile()
  })
}

describeNeeding('sqld', 'a replica', () => {
  it('shows whoever wrote through it what they wrote', { timeout: 60_000 }, async () => {
    const primary = kept(await openSqld())
    const replica = kept(await openSqld({ primary }))
    const backend = kept(new DatabaseBackend(replica.http))
    const states: string[] = []
    for (let number = 0; number < 100; number++) {
      await backend.markAsDone(`t-${number}`, number)
      states.push(await backend.getState(`t-${number}`))
    }

    expect(states).toEqual(Array(100).fill('SUCCESS'))
    expect(await backend.counts()).toEqual({ SUCCESS: 100 })
  })

  it('shows whoever wrote through it by WebSockets what they wrote, in sessions', {
    timeout: 60_000,
  }, async () => {
    const primary = kept(await openSqld())
    const replica = kept(await openSqld({ primary }))
    const manager = kept(new SessionManager())
    const seen: number[] = []
    for (let number = 0; number < 50; number++) {
      const session = kept(await manager.sessionFactory(replica.sockets))
      const { db, models } = session
      await db.insert(models.task).values({ taskId: `t-${number}` })
      await session.commit()
      const reading = (options: { readOnly: boolean }) =>
        manager.session(replica.sockets, options, (db) => db.select().from(models.task))
      seen.push((await reading({ readOnly: number % 2 === 0 })).length)
    }

    expect(seen).toEqual(seen.map((_, number) => number + 1))
  })

  it('serves again after it and its primary were set back to nothing', { timeout: 120_000 }, async () => {
    const primary = kept(await openSqld())
    const replica = kept(await openSqld({ primary }))
    const manager = kept(new SessionManager())
    const { db } = await manager.getEngine(`${replica.http}?request_timeout=5`)
    await db.run(sql`create table t (w)`)
    for (let number = 0; number < 20; number++) await db.run(sql`insert into t values (${number})`)
    for (const server of [replica, primary]) {
      await server.killHard()
      server.empty()
    }
    await primary.start()
    await replica.start()

    // It waits for what it had, until it is known not to come.
    const answered = () => db.all(sql`select count(*) as count from sqlite_schema where name = 't'`).then()
    await expect.poll(() => answered().catch(() => null), { timeout: 60_000 }).toEqual([{ count: 0 }])
  })
})

describeNeeding('sqld', 'a transaction that is open for too long', () => {
  it('is undone by the server, and said to be', { timeout: 60_000 }, async () => {
    const server = kept(await openSqld())
    const reader = kept(new DatabaseBackend(server.http))
    await reader.counts()
    const blocked = (protocol: 'http' | 'sockets') => {
      const other = () => storing(server[protocol], `other over ${protocol}`)
      return failure(storing(server[protocol], `slow over ${protocol}`, other))
    }

    const expired = { code: 'TRANSACTION_EXPIRED' }
    expect(await blocked('http')).toMatchObject(expired)
    expect(await blocked('sockets')).toMatchObject(expired)
    expect((await reader.list()).items.map(({ taskId }) => taskId).sort()).toEqual([
      'other over http',
      'other over sockets',
    ])
  })

  it('leaves its session to a rollback, after which it goes on', { timeout: 60_000 }, async () => {
    const server = kept(await openSqld())
    const manager = kept(new SessionManager())
    const session = kept(await manager.sessionFactory(server.http))
    const { db, models } = session
    await db.insert(models.task).values({ taskId: 'undone' })
    await sleep(14_000)

    const insert = (taskId: string) => db.insert(models.task).values({ taskId }).then()
    expect(await failure(insert('too late'))).toMatchObject({ code: 'TRANSACTION_EXPIRED' })
    expect(await failure(insert('refused'))).toMatchObject({ code: 'PENDING_ROLLBACK' })
    await session.rollback()
    await insert('kept')
    await session.commit()
    expect((await db.select().from(models.task)).map(({ taskId }) => taskId)).toEqual(['kept'])
  })
})

describeNeeding('sqld', 'a token', () => {
  const encoded = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')

  /** A server that wants tokens, and its dburi with one that makes these claims. */
  async function openLocked() {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const key = join(directory, 'key.pem')
    writeFileSync(key, publicKey.export({ type: 'spki', format: 'pem' }))
    const server = kept(await openSqld({ flags: [`--auth-jwt-key-file=${key}`] }))
    const withToken = (claims: object, protocol: 'http' | 'sockets' = 'http') => {
      const text = `${encoded({ alg: 'EdDSA', typ: 'JWT' })}.${encoded(claims)}`
      const signature = sign(null, Buffer.from(text), privateKey).toString('base64url')
      return `${server[protocol]}?authToken=${text}.${signature}` as const
    }
    return { server, withToken }
  }

  it.each(['http', 'sockets'] as const)(
    'that may only read is told from a lost connection, over %s',
    { timeout: 60_000 },
    async (protocol) => {
      const { withToken } = await openLocked()
      const manager = kept(new SessionManager())
      const reading = withToken({ a: 'ro' }, protocol)
      const selecting = () =>
        manager.session(reading, { readOnly: true }, (db, { models }) => db.select().from(models.task))
      const denied = { code: 'ACCESS_DENIED' }

      expect(await failure(selecting())).toMatchObject({ code: 'SCHEMA_PERMISSION' })
      await kept(new DatabaseBackend(withToken({ a: 'rw' }, protocol))).markAsDone('t', 1)
      expect(await selecting()).toHaveLength(1)
      const { db } = await manager.getEngine(reading)
      expect(await failure(kept(new DatabaseBackend(reading)).markAsDone('t', 2))).toMatchObject(denied)
      expect(await failure(db.run(sql`delete from celery_taskmeta`).then())).toMatchObject(denied)
      expect(await failure(db.$client.executeMultiple('delete from celery_taskmeta'))).toMatchObject(denied)
      const deleting = manager.session(reading, (db) => db.run(sql`delete from celery_taskmeta`))
      expect(await failure(deleting)).toMatchObject(denied)
      expect(await selecting()).toMatchObject([{ taskId: 't', result: expect.anything() }])
    },
  )

  it('that is not known is told from a lost connection', { timeout: 60_000 }, async () => {
    const { server, withToken } = await openLocked()
    const manager = kept(new SessionManager())

    for (const unknown of [server.http, withToken({ a: 'rw', exp: 1_000 })])
      expect(await failure(manager.getEngine(unknown).then((engine) => engine.connect()))).toMatchObject({
        code: 'AUTH_REFUSED',
      })
  })
})

describeNeeding('sqld', 'an embedded replica', () => {
  const embedded = (name: string, primary: string): `file:${string}` =>
    `file:${join(directory, name)}?syncUrl=${primary}`

  it('reads without its primary, and says who is away', { timeout: 60_000 }, async () => {
    const server: SqldServer = kept(await openSqld())
    const backend = kept(new DatabaseBackend(embedded('a.db', server.http), { resultBackendMaxRetries: 1 }))
    await backend.markAsDone('t', 1)
    await server.killHard()
    const away = { code: 'CONNECT_FAILED', host: '127.0.0.1', port: server.ports.http }

    expect(await backend.getState('t')).toBe('SUCCESS')
    const unstored = await backend.markAsDone('u', 1).catch((error: unknown) => error)
    expect(unstored).toMatchObject({ code: 'STORE_FAILED', isOutcomeUnknown: false, cause: away })
    const manager = kept(new SessionManager())
    expect(await failure(manager.sessionFactory(embedded('b.db', server.http)))).toMatchObject(away)
    const misspelt = embedded('c.db', 'http://no.such.host.invalid')
    expect(await failure(manager.sessionFactory(misspelt))).toMatchObject({
      code: 'CONNECT_FAILED',
      host: 'no.such.host.invalid',
      port: 80,
    })

    const patient = kept(new DatabaseBackend(embedded('d.db', server.http)))
    const stored = patient.markAsDone('v', 1)
    await sleep(500)
    await server.start()
    expect(await stored).toBe(true)
    expect(await patient.getState('v')).toBe('SUCCESS')
  })
})
