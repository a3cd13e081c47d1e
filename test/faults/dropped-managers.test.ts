/** A manager that nobody can reach any more leaves no connections open; one that somebody can is left alone. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createConnection } from 'mysql2/promise'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Child, scenario, startChild } from '../fixtures/child-run.ts'
import { startHranaServer } from '../fixtures/hrana-server.ts'
import { startHranaSocketServer } from '../fixtures/hrana-socket-server.ts'
import { describeNeeding, freshMysql, freshPostgres } from '../fixtures/servers.ts'
import { Observer, until, withOptions } from './support.ts'

interface Warned {
  readonly code: string
  readonly message: string
}

const DROPPED = 15
const CODE = 'DRIZZLE_CELERY_UNCLOSED_ENGINE'

// The first child has all of the project's TypeScript compiled.
const slow = { tags: 'full', timeout: 180_000 }

const forgetful = () =>
  startChild(scenario('dropped-managers'), { nodeFlags: ['--expose-gc', '--no-warnings'], timeout: 170_000 })

async function end(child: Child): Promise<void> {
  child.end()
  expect(await child.exited).toMatchObject({ exitCode: 0, stderr: '' })
}

/** Has managers dropped, and tells of what the process was warned. */
async function drop(child: Child, dburi: string): Promise<Warned[]> {
  await child.call('drop', { dburi, count: DROPPED })
  return (await child.call('collect', { until: DROPPED, within: 20_000 })) as Warned[]
}

function expectOneFor(warnings: readonly Warned[], name: string): void {
  expect(warnings.map(({ code }) => code)).toEqual(Array(DROPPED).fill(CODE))
  for (const { message } of warnings) {
    expect(message).toContain(name)
    expect(message).toMatch(/its connections are closed.*created[\s\S]*dropped-managers/)
  }
}

describeNeeding('postgresql', 'managers of PostgreSQL that are dropped', () => {
  const database = freshPostgres()

  it('have their connections closed, and a warning says so', slow, async () => {
    await using observer = new Observer(database.dburi)
    const child = await forgetful()
    const warnings = await drop(child, withOptions(database.dburi, { application_name: 'dc-dropped' }))

    expectOneFor(warnings, '127.0.0.1')
    await until(async () => (await observer.backends('dc-dropped')).length === 0)
    await end(child)
  })

  it('are left alone as long as anything made of them is in use or can be', slow, async () => {
    await using observer = new Observer(database.dburi)
    const locker = await observer.sql.reserve()
    await locker`select pg_advisory_lock(4711)`
    const child = await forgetful()
    const names = (await child.call('keep', database.dburi)) as string[]
    // What is young is watched after a second.
    const early = (await child.call('collect', { until: 1, within: 3_000 })) as Warned[]
    expect(early).toEqual([])
    await locker`select pg_advisory_unlock(4711)`
    locker.release()
    expect(await child.call('use')).toEqual(Object.fromEntries(names.map((name) => [name, 1])))

    const late = (await child.call('collect', { until: names.length, within: 20_000 })) as Warned[]
    const told = names.filter((name) =>
      late.some(({ message }) => message.includes(`application_name=${encodeURIComponent(name)}`)),
    )
    expect(told).toEqual(names)
    await end(child)
  })
})

describeNeeding('mysql', 'managers of MySQL that are dropped', () => {
  const database = freshMysql()

  it('have their connections closed, and a warning says so', slow, async () => {
    const observer = await createConnection(database.dburi)
    const others = async () => {
      const [rows] = await observer.query(
        'select id from information_schema.processlist where db = database() and id <> connection_id()',
      )
      return Array.isArray(rows) ? rows.length : -1
    }
    const child = await forgetful()
    const warnings = await drop(child, database.dburi)

    expectOneFor(warnings, database.name)
    await until(async () => (await others()) === 0)
    await end(child)
    await observer.end()
  })
})

describe('managers of libSQL that are dropped', () => {
  let directory: string
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'dc-dropped-'))
  })
  afterAll(() => rmSync(directory, { recursive: true }))

  it('have their WebSockets closed, and a warning says so', slow, async () => {
    await using server = await startHranaSocketServer(join(directory, 'sockets.db'))
    const child = await forgetful()
    const warnings = await drop(child, server.dburi)

    expectOneFor(warnings, '127.0.0.1')
    await until(() => server.openSockets === 0)
    await end(child)
  })

  it('have their streams over HTTP closed, and a warning says so', slow, async () => {
    await using server = await startHranaServer(join(directory, 'http.db'))
    const child = await forgetful()
    const warnings = await drop(child, server.dburi)

    expectOneFor(warnings, '127.0.0.1')
    await until(() => server.openStreams === 0)
    await end(child)
  })

  it('have their files closed, and a warning says so', slow, async () => {
    const child = await forgetful()
    const warnings = await drop(child, `file:${join(directory, 'file.db')}`)

    expectOneFor(warnings, 'file.db')
    await end(child)
  })
})
