import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConnectionLostError, causes } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Child, childRun, scenario, startChild } from '../../fixtures/child-run.ts'
import { openLibsql } from '../../fixtures/libsql-engine.ts'
import { expectNoSecret } from '../../fixtures/standard-check.ts'
import { conformance } from '../conformance.ts'

/** Embedded replicas, which read a file of their own, send their writes to a server, and fetch what is new there. */

const TOKEN = 'canary-token'

/** The server's process: calls of a replica's driver block the one they are made in. */
let server: Child
let directory: string
let databases = 0

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-replica-'))
  server = await startChild(scenario('hrana-server'), { timeout: 600_000 })
}, 120_000)
afterAll(async () => {
  server.end()
  await server.exited
  rmSync(directory, { recursive: true, force: true })
})

/** A new database at the server; `replica` gives the dburi of a replica of it. */
async function create() {
  const name = join(directory, `database-${databases++}`)
  const file = `${name}-server.db`
  const syncUrl = String(await server.call('open', { file, authToken: TOKEN }))
  let replicas = 0
  const replica = (token = TOKEN) => `file:${name}-${replicas++}.db?syncUrl=${syncUrl}&authToken=${token}`
  return {
    replica,
    paths: async () => (await server.call('paths', file)) as string[],
    stopReplicating: async () => {
      await server.call('stopReplicating', file)
    },
    drop: async () => {
      await server.call('close', file)
    },
  }
}

conformance('libsql, an embedded replica', {
  create: async () => {
    const { replica, drop } = await create()
    return { dburi: replica(), drop }
  },
  failureDooms: false,
  streams: false,
  unnamedOnly: 'a replica of libsql 0.5 sends NULL for them to this server, by the plain client too',
  isStatic: true,
})

describe('a replica', { timeout: 60_000 }, () => {
  it('fetches what others wrote when it is told to', async () => {
    const database = await create()
    await using one = await openLibsql(database.replica())
    await one.db.run(sql`create table t (w text)`)
    await one.db.run(sql`insert into t values ('one')`)
    await using other = await openLibsql(database.replica())
    await other.db.$client.sync()
    expect(await other.db.all(sql`select w from t`)).toEqual([{ w: 'one' }])

    await one.db.transaction(async (tx) => {
      await tx.run(sql`insert into t values ('again')`)
    })
    expect(await other.db.all(sql`select w from t`)).toEqual([{ w: 'one' }])
    await other.db.$client.sync()

    expect(await other.db.all(sql`select w from t`)).toEqual([{ w: 'one' }, { w: 'again' }])
    await database.drop()
  })

  it('reads without its server, and fails to write with an error', async () => {
    const database = await create()
    await using engine = await openLibsql(database.replica())
    await engine.db.run(sql`create table t (w text)`)
    await engine.db.run(sql`insert into t values ('kept')`)
    await database.drop()

    const error: unknown = await engine.db
      .run(sql`insert into t values ('no')`)
      .then(null, (reason) => reason)

    expect(error).toBeInstanceOf(Error)
    expectNoSecret([TOKEN], error, engine, engine.stats())
    expect(await engine.db.all(sql`select w from t`)).toEqual([{ w: 'kept' }])
  })

  it('does not say that a write was not done which it cannot fetch', async () => {
    const database = await create()
    await using engine = await openLibsql(database.replica())
    await engine.db.run(sql`create table t (w text)`)
    await database.stopReplicating()

    const write = engine.db.run(sql`insert into t values ('done')`)

    await expect(write).rejects.toSatisfy((error) =>
      causes(error).some((cause) => cause instanceof ConnectionLostError),
    )
    await database.drop()
  })

  it('refuses parameters by name where they would go to its server', async () => {
    const database = await create()
    await using engine = await openLibsql(database.replica())
    await engine.db.run(sql`create table t (w text)`)
    const { $client } = engine.db

    const write: unknown = await $client
      .execute({ sql: 'insert into t values (:w)', args: { w: 'lost' } })
      .catch((error: unknown) => error)

    expect(write).toMatchObject({ code: 'INVALID_STATEMENT' })
    expect(await engine.db.all(sql`select w from t`)).toEqual([])
    const { rows } = await $client.execute({ sql: 'select :w as w', args: { w: 'read' } })
    expect(rows).toMatchObject([{ w: 'read' }])
    await database.drop()
  })

  it('whose token is refused is a typed error without it', async () => {
    const database = await create()

    const result = await childRun(scenario('libsql-replica'), {
      arguments: [database.replica('wrong-canary')],
    })

    expect(result).toMatchObject({ exitCode: 0, signal: null })
    expect(result.emitted).toMatchObject([{ name: 'ConnectError', code: 'AUTH_REFUSED' }])
    expect(result.stdout + result.stderr).not.toContain('canary')
    await database.drop()
  })
})
