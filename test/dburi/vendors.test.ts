/** Strings as vendors show them: taken as they are, or refused by name with what to write instead, all in one error. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { inspect } from 'node:util'
import { type Engine, OptionError, parseDburi, SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mysqlOptions } from '../../src/adapters/mysql2/options.ts'
import { postgresOptions } from '../../src/adapters/postgresql/options.ts'
import { createMysql, describeNeeding } from '../fixtures/servers.ts'
import { VENDOR_DBURIS } from '../fixtures/vendor-dburis.ts'

const manager = new SessionManager()
let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'drizzle-celery-test-'))
  writeFileSync(join(folder, 'ca.pem'), rootCertificates[0] ?? '')
})

afterAll(async () => {
  await manager.dispose()
  rmSync(folder, { recursive: true })
})

const open = (dburi: string): Promise<Engine> =>
  manager.getEngine(dburi.replace(/=CA\b/, `=${folder}/ca.pem`))

describe('dburis of vendors', () => {
  it('are about 150', () => {
    expect(VENDOR_DBURIS.length).toBeGreaterThanOrEqual(150)
    expect(new Set(VENDOR_DBURIS.map(({ dburi }) => dburi)).size).toBe(VENDOR_DBURIS.length)
  })

  it.each(VENDOR_DBURIS.filter(({ refused }) => refused === undefined))(
    'of $from open: $dburi',
    async ({ dburi }) => {
      await open(dburi)
    },
  )

  it.each(VENDOR_DBURIS.filter(({ refused }) => refused !== undefined))(
    'of $from are refused, with what to write instead: $dburi',
    async ({ dburi, refused = {} }) => {
      const error: unknown = await open(dburi).catch((error) => error)

      if (!(error instanceof Error)) throw new Error('it was opened')
      expect(inspect(error)).not.toContain('s3cret')
      if ('dburi' in refused) {
        expect(error.message).toMatch(refused['dburi'] ?? '')
        return
      }
      if (!(error instanceof OptionError)) throw error
      expect(error.faults.map(({ option }) => option).sort()).toEqual(Object.keys(refused).sort())
      for (const { option, message } of error.faults) expect(message).toMatch(refused[option] ?? 'none')
    },
  )
})

describe('what they ask for is done', () => {
  const postgres = (options: string) => postgresOptions(parseDburi(`postgresql://h/d?${options}`), {})
  const mysql = (options: string) => mysqlOptions(parseDburi(`mysql://h/d?${options}`))

  it.each([
    ['sslmode=no-verify', { tls: { mode: 'require', verify: 'nothing' } }],
    ['ssl=no-verify', { tls: { mode: 'require', verify: 'nothing' } }],
    ['ssl-mode=verify-full', { tls: { mode: 'verify-full' } }],
    ['currentSchema=a,b', { startup: { search_path: 'a,b' } }],
    ['ApplicationName=jobs', { startup: { application_name: 'jobs' } }],
    ['prepared_statements=false', { prepare: false }],
    ['statement_cache_capacity=0', { prepare: false }],
    ['targetServerType=preferSecondary', { targetSessionAttrs: 'prefer-standby' }],
    ['loadBalanceHosts=true', { loadBalanceHosts: 'random' }],
    ['connectTimeout=3', { connectTimeout: 3_000 }],
    ['tcpKeepAlive=false', { keepAlive: null }],
  ])('by PostgreSQL: %s', (options, plan) => {
    expect(postgres(options)).toMatchObject(plan)
  })

  it.each([
    ['ssl-mode=REQUIRED', { tls: { mode: 'REQUIRED' } }],
    ['sslMode=VERIFY_CA', { tls: { mode: 'VERIFY_CA' } }],
    ['ssl={"minVersion":"TLSv1.3"}', { tls: { mode: 'VERIFY_IDENTITY', minVersion: 'TLSv1.3' } }],
    ['useSSL=false', { tls: { mode: 'DISABLED' } }],
    ['useSSL=true', { tls: { mode: 'REQUIRED' } }],
    ['useSSL=true&verifyServerCertificate=true', { tls: { mode: 'VERIFY_IDENTITY' } }],
    ['tls=skip-verify', { tls: { mode: 'REQUIRED' } }],
    ['charset=utf8mb4_unicode_ci', { collation: 'utf8mb4_unicode_ci' }],
    ['charset=UTF8_GENERAL_CI', { collation: 'utf8mb4_general_ci' }],
    ['charset=utf8mb4&collation=utf8mb4_bin', { collation: 'utf8mb4_bin' }],
    ['charset=utf8mb4', { collation: null }],
    ['serverTimezone=%2B09:00', { timeZone: '+09:00' }],
    ['connection_timeout=4', { connectTimeout: 4_000 }],
  ])('by MySQL: %s', (options, plan) => {
    expect(mysql(options)).toMatchObject(plan)
  })

  it.each([
    ['postgresql://h/d?statementTimeout=1.5', 1.5],
    ['postgresql://h/d?query_timeout=1500', 1.5],
    ['postgresql://h/d?socket_timeout=3', 3],
    ['postgresql://h/d?query_timeout=0', undefined],
    ['mysql://h/d?socketTimeout=3000', 3],
    ['file:x.db?socket_timeout=3', undefined],
  ])('by every engine: %s', async (dburi, statementTimeout) => {
    const engine: Engine = await manager.getEngine(dburi)

    expect(engine.limits.statementTimeout).toBe(statementTimeout)
  })

  it('but what the program says about statementTimeout wins', async () => {
    const engine: Engine = await manager.getEngine('postgresql://h/d?statementTimeout=9', {
      statementTimeout: 2,
    })

    expect(engine.limits.statementTimeout).toBe(2)
  })

  it.each([
    ['postgresql://h/d?sslmode=require&ssl-mode=disable', 'ssl-mode'],
    ['mysql://h/d?ssl_mode=REQUIRED&ssl-mode=DISABLED', 'ssl-mode'],
    ['file:x.db?timeout=1&busy_timeout=5', 'busy_timeout'],
    ['postgresql://h/d?statementTimeout=1&query_timeout=5', 'query_timeout'],
  ])('once: %s', async (dburi, option) => {
    const error: unknown = await manager.getEngine(dburi).catch((error) => error)

    expect(error).toMatchObject({ code: 'INVALID_OPTION', option })
  })

  it('and CockroachDB keeps its name', () => {
    expect(parseDburi('cockroachdb+psycopg2://h/d')).toMatchObject({
      dialect: 'postgresql',
      flavor: 'cockroachdb',
    })
    expect(parseDburi('postgresql://h/d')).not.toHaveProperty('flavor')
  })

  it("and PGlite's memory:// is PGlite in memory", async () => {
    expect(parseDburi('memory://')).toMatchObject({ driver: 'pglite', memory: true, database: null })
    expect(() => parseDburi('memory:data')).toThrow(/Known schemes/)
    const engine = await manager.getEngine('memory://')
    expect(engine.dialect satisfies 'postgresql').toBe('postgresql')
  })
})

describeNeeding('mysql', 'a collation in a dburi of MySQL', () => {
  it('is that of the session, which speaks utf8mb4', async () => {
    await using database = await createMysql()
    const asked = sql`select @@collation_connection as collation, @@character_set_client as client`
    const engine = await manager.getEngine(`${database.dburi as 'mysql://'}?charset=utf8_unicode_ci`)

    const [rows] = await engine.db.execute(asked)

    expect(rows).toEqual([{ collation: 'utf8mb4_unicode_ci', client: 'utf8mb4' }])
  })

  it('that the server does not have fails by its name', async () => {
    await using database = await createMysql()
    const engine = await manager.getEngine(`${database.dburi}?collation=utf8mb4_none_such_ci`)

    await expect(engine.connect()).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
      message: expect.stringContaining('utf8mb4_none_such_ci'),
    })
  })
})
