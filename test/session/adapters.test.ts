import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DburiError, type NamedAdapter, OptionError, registerAdapter, SessionManager } from 'drizzle-celery'
import { libsql } from 'drizzle-celery/adapters/libsql'
import { pg } from 'drizzle-celery/adapters/pg'
import { postgresJs } from 'drizzle-celery/adapters/postgres-js'
import { DatabaseBackend } from 'drizzle-celery/backend'
import * as core from 'drizzle-celery/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

let directory: string
let dburi: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-test-'))
  dburi = `file:${join(directory, 'results.db')}`
})
afterEach(() => rmSync(directory, { recursive: true }))

/** An adapter of a program's own: libSQL's, by a scheme of its own. */
const own: NamedAdapter<'duckdb', 'sqlite'> = {
  driver: 'duckdb',
  dialect: 'sqlite',
  open: (given, options) => libsql.open({ ...given, driver: 'libsql' }, options),
}

describe.each([
  ['drizzle-celery', SessionManager],
  ['drizzle-celery/core', core.SessionManager],
])('adapters of the manager of %s', (_, Manager) => {
  it('open databases and nothing else', async () => {
    await using manager = new Manager({ adapters: [libsql] })
    const found = await manager.session(dburi, async (db, { models }) => {
      await db.insert(models.task).values({ taskId: 'here', status: 'SUCCESS' })
      return db.select({ taskId: models.task.taskId }).from(models.task)
    })
    const refused = manager.getEngine('postgresql://user@host/db' as string)

    expect(found).toEqual([{ taskId: 'here' }])
    await expect(refused).rejects.toBeInstanceOf(DburiError)
    await expect(refused).rejects.toMatchObject({ code: 'UNSUPPORTED_DIALECT', part: 'scheme' })
    await expect(refused).rejects.toThrow(/"postgres-js".* sqlite, sqlite\+libsql, file, .*wss\./)
  })

  it('of two drivers are told apart by the scheme', async () => {
    await using manager = new Manager({ adapters: [postgresJs, pg] })
    const engines = [
      await manager.getEngine('postgresql://user@host/db'),
      await manager.getEngine('postgresql+pg://user@host/db'),
    ]

    expect(engines.map(({ db }) => Object.hasOwn(db.$client, 'query'))).toEqual([false, true])
  })

  it('may be of a scheme of their own', async () => {
    await using manager = new Manager({ adapters: [own] })
    const engine = await manager.getEngine(`duckdb:${join(directory, 'own.db')}`)

    expect(engine.dialect).toBe('sqlite')
    await expect(manager.invalidate(`duckdb:${join(directory, 'own.db')}`)).resolves.toBeUndefined()
    expect(manager.stats().engines).toEqual([])
  })

  it('do not include those that are registered', async () => {
    const scheme = `registered${Manager === SessionManager ? 1 : 2}`
    registerAdapter(scheme, { dialect: 'sqlite', load: async () => own })
    await using manager = new Manager({ adapters: [libsql] })

    await expect(manager.getEngine(`${scheme}:x` as string)).rejects.toHaveProperty(
      'code',
      'UNSUPPORTED_DIALECT',
    )
  })

  it.each([
    ['none', []],
    ['no list', libsql],
    ['what is no adapter', [{ driver: 'libsql' }]],
    ['an adapter without a name', [{ dialect: 'sqlite', open: libsql.open }]],
    ['two for one driver', [libsql, libsql]],
    ['the name of a scheme', [{ ...libsql, driver: 'postgresql' }]],
    ['a name that is no scheme', [{ ...libsql, driver: 'Duck DB' }]],
  ])('cannot be %s', (_, adapters) => {
    expect(() => Reflect.construct(Manager, [{ adapters }])).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', option: 'adapters' }),
    )
  })

  it('serve a backend, by their own schemes too', async () => {
    await using manager = new Manager({ adapters: [own] })
    const backend = new DatabaseBackend(`duckdb:${join(directory, 'own.db')}`, { manager })
    await backend.storeResult('task', 42, 'SUCCESS')

    expect(await backend.getTaskMeta('task')).toMatchObject({ status: 'SUCCESS', result: 42 })
    await backend.dispose()
  })
})

it('the manager of core has no adapters but those it is given', () => {
  for (const given of [[], [{}], [{ adapters: undefined }]]) {
    expect(() => Reflect.construct(core.SessionManager, given)).toThrow(OptionError)
  }
  expect(new SessionManager()).toBeInstanceOf(core.SessionManager)
  expect(Object.keys(core)).not.toContain('registerAdapter')
})
