import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { splitOptions } from '../../../src/adapters/postgresql/allowed-options.ts'
import { orderEndpoints, postgresOptions } from '../../../src/adapters/postgresql/options.ts'
import { encryptionAttempts } from '../../../src/adapters/postgresql/tls.ts'
import type { Dburi } from '../../../src/dburi/types.ts'
import { ENGINE_CHECKS } from '../../../src/engine/options.ts'
import { OptionError } from '../../../src/errors.ts'
import { checkOptions } from '../../../src/options/check.ts'
import { takePoolOptions } from '../../../src/options/pool.ts'

const nowhere = {}

function dburiOf(parts: Partial<Dburi> = {}): Dburi {
  return {
    dialect: 'postgresql',
    driver: 'postgres-js',
    dbapi: null,
    host: 'db.example',
    port: null,
    user: 'ann',
    password: 'canary-1',
    database: 'results',
    options: {},
    ...parts,
  }
}

function planOf(options: Dburi['options'], parts: Partial<Dburi> = {}) {
  return postgresOptions(dburiOf({ options, ...parts }), nowhere)
}

/** The error of `run`, as `code option`, or what it returned. */
function outcomeOf(run: () => unknown): unknown {
  try {
    return run()
  } catch (error) {
    if (error instanceof OptionError) return `${error.code} ${error.option}`
    throw error
  }
}

function errorOf(run: () => unknown): OptionError {
  try {
    run()
  } catch (error) {
    if (error instanceof OptionError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('defaults', () => {
  it('fills in what a bare dburi leaves out', () => {
    const plan = planOf({})

    expect(plan).toMatchObject({
      endpoints: [{ host: 'db.example', port: 5432 }],
      loadBalanceHosts: 'disable',
      targetSessionAttrs: 'any',
      user: 'ann',
      database: 'results',
      connectTimeout: 10_000,
      keepAlive: 60_000,
      startup: { application_name: 'drizzle-celery', DateStyle: 'ISO' },
      prepare: true,
    })
    expect(plan.password()).toBe('canary-1')
  })

  it('takes from the environment only what the dburi leaves out', () => {
    const env = {
      PGHOST: 'env.example',
      PGPORT: '5433',
      PGUSER: 'eve',
      PGPASSWORD: 'canary-2',
      PGDATABASE: 'envdb',
      PGSSLMODE: 'require',
    }
    const empty = postgresOptions(dburiOf({ host: null, user: null, password: null, database: null }), env)
    const full = postgresOptions(dburiOf({ port: 1234, options: { sslmode: 'disable' } }), env)

    expect(empty).toMatchObject({
      endpoints: [{ host: 'env.example', port: 5433 }],
      user: 'eve',
      database: 'envdb',
      tls: { mode: 'require', isDefault: false },
    })
    expect(empty.password()).toBe('canary-2')
    expect(full).toMatchObject({
      endpoints: [{ host: 'db.example', port: 1234 }],
      user: 'ann',
      database: 'results',
      tls: { mode: 'disable' },
    })
    expect(full.password()).toBe('canary-1')
  })

  it('names the database after the user, and the user after the one of the operating system', () => {
    const plan = postgresOptions(dburiOf({ host: null, user: null, database: null }), nowhere)

    expect(plan.endpoints).toEqual([{ host: 'localhost', port: 5432 }])
    expect(plan.user).not.toBe('')
    expect(plan.database).toBe(plan.user)
  })

  it.each<[string, Partial<Dburi>, object, unknown]>([
    [
      'several hosts',
      {
        hosts: [
          { host: 'a', port: 1 },
          { host: 'b', port: null },
        ],
      },
      {},
      [
        { host: 'a', port: 1 },
        { host: 'b', port: 5432 },
      ],
    ],
    ['a socket directory', { host: null, socket: '/run/pg' }, {}, [{ path: '/run/pg/.s.PGSQL.5432' }]],
    [
      'a socket directory and a port',
      { host: null, socket: '/run/pg/', port: 5433 },
      {},
      [{ path: '/run/pg/.s.PGSQL.5433' }],
    ],
    ['a socket itself', { host: null, socket: '/s/.s.PGSQL.9' }, {}, [{ path: '/s/.s.PGSQL.9' }]],
    [
      'a socket of Cloud SQL',
      { host: null, socket: '/cloudsql/p:r:i' },
      {},
      [{ path: '/cloudsql/p:r:i/.s.PGSQL.5432' }],
    ],
    ['a socket in PGHOST', { host: null }, { PGHOST: '/run/pg' }, [{ path: '/run/pg/.s.PGSQL.5432' }]],
    [
      'lists in PGHOST and PGPORT',
      { host: null },
      { PGHOST: 'a,b', PGPORT: '1,2' },
      [
        { host: 'a', port: 1 },
        { host: 'b', port: 2 },
      ],
    ],
    [
      'one PGPORT for all',
      { host: null },
      { PGHOST: 'a,b', PGPORT: '7' },
      [
        { host: 'a', port: 7 },
        { host: 'b', port: 7 },
      ],
    ],
    ['a host beside PGPORT', { host: 'a' }, { PGPORT: '7' }, [{ host: 'a', port: 5432 }]],
    ['IPv6', { host: '::1' }, {}, [{ host: '::1', port: 5432 }]],
  ])('endpoints: %s', (_, parts, env, endpoints) => {
    expect(postgresOptions(dburiOf(parts), env).endpoints).toEqual(endpoints)
  })

  it.each(['0', '65536', 'x', '5432.5', '0x10'])('refuses PGPORT=%s', (PGPORT) => {
    expect(outcomeOf(() => postgresOptions(dburiOf({ host: null }), { PGPORT }))).toBe(
      'INVALID_OPTION PGPORT',
    )
  })
})

describe('secrets', () => {
  it('shows no password when the plan is inspected, printed or serialised', () => {
    const plan = planOf({ sslpassword: 'canary-3', sslcert: 'c.pem', sslkey: 'k.pem' })
    const shown = inspect(plan, { depth: 10, showHidden: true }) + JSON.stringify(plan) + String(plan)

    expect(shown).not.toContain('canary')
    expect(plan.tls.keyPassword()).toBe('canary-3')
  })

  it.each<[string, Dburi['options'], Partial<Dburi>]>([
    ['a repeated password', { password: 'canary-4' }, {}],
    ['a wrong value', { sslmode: 'canary-5' }, {}],
    ['an unknown option', { token: 'canary-6' }, {}],
    ['a control character', { search_path: 'canary-7\n' }, {}],
    ['options', { options: '-c role=canary-8' }, {}],
    ['a broken word of options', { options: 'canary-9' }, {}],
  ])('repeats no value in the error for %s', (_, options, parts) => {
    const error = errorOf(() => planOf(options, parts))

    expect(
      inspect(error, { depth: 10, showHidden: true }) + error.stack + JSON.stringify(error),
    ).not.toContain('canary')
  })

  it('cannot be made to forge a line of a log by the name of an option', () => {
    expect(errorOf(() => planOf({ 'x\nERROR forged': '1' })).message).not.toContain('\n')
  })
})

describe('pool options', () => {
  it.each<[Dburi['options'], unknown]>([
    [
      { pool_size: '7', max_overflow: '-1' },
      { poolSize: 7, maxOverflow: -1 },
    ],
    [
      { poolSize: '7', maxOverflow: '0' },
      { poolSize: 7, maxOverflow: 0 },
    ],
    [
      { pool_timeout: '2.5', pool_recycle: '-1' },
      { poolTimeout: 2.5, poolRecycle: -1 },
    ],
    [
      { poolTimeout: '1', poolRecycle: '60', poolPrePing: 'False' },
      { poolTimeout: 1, poolRecycle: 60, poolPrePing: false },
    ],
    [{ pool_pre_ping: 'true' }, { poolPrePing: true }],
    [{ max: '20' }, { poolSize: 20, maxOverflow: 0 }],
    [
      { connection_limit: '1', pgbouncer: 'true' },
      { poolSize: 1, maxOverflow: 0 },
    ],
    [{ max_lifetime: '1800' }, { poolRecycle: 1800 }],
    [{ max_lifetime: '0' }, { poolRecycle: -1 }],
    [{ idle_timeout: '20' }, { idleTimeout: 20 }],
    [{ idleTimeout: '0' }, { idleTimeout: 0 }],
    [{ idle_timeout: '-1' }, 'INVALID_OPTION idle_timeout'],
    [{ idle_timeout: '2147484' }, 'INVALID_OPTION idle_timeout'],
    [{ idle_timeout: '20', idleTimeout: '20' }, 'INVALID_OPTION idleTimeout'],
    [{ pool_size: '0' }, 'INVALID_OPTION pool_size'],
    [{ pool_size: '5.5' }, 'INVALID_OPTION pool_size'],
    [{ pool_size: '0x5' }, 'INVALID_OPTION pool_size'],
    [{ pool_size: '1e1' }, 'INVALID_OPTION pool_size'],
    [{ pool_size: ' 5' }, 'INVALID_OPTION pool_size'],
    [{ pool_size: 'five' }, 'INVALID_OPTION pool_size'],
    [{ pool_size: ['5', '5'] }, 'INVALID_OPTION pool_size'],
    [{ max_overflow: '-2' }, 'INVALID_OPTION max_overflow'],
    [{ pool_timeout: '0' }, { poolTimeout: 2_147_483 }],
    [{ pool_timeout: '-1' }, 'INVALID_OPTION pool_timeout'],
    [{ pool_timeout: '2147484' }, 'INVALID_OPTION pool_timeout'],
    [{ pool_recycle: '0' }, 'INVALID_OPTION pool_recycle'],
    [{ pool_recycle: '-2' }, 'INVALID_OPTION pool_recycle'],
    [{ pool_pre_ping: 'maybe' }, 'INVALID_OPTION pool_pre_ping'],
    [{ pool_size: '5', poolSize: '6' }, 'INVALID_OPTION poolSize'],
    [{ max: '5', max_overflow: '1' }, 'INVALID_OPTION max_overflow'],
  ])('%j is %j', (options, expected) => {
    expect(outcomeOf(() => takePoolOptions(options, 'postgresql').pool)).toEqual(expected)
  })

  it("leaves idleTimeout to MySQL's drivers, some of which have it in milliseconds", () => {
    const options = { idle_timeout: '20', idleTimeout: '60000' }

    expect(takePoolOptions(options, 'mysql')).toEqual({
      pool: { idleTimeout: 20 },
      rest: { idleTimeout: '60000' },
    })
  })

  it('leaves the others to the driver', () => {
    const rest = { sslmode: 'require', host: ['a', 'b'] }

    expect(takePoolOptions({ pool_size: '3', ...rest }, 'postgresql')).toEqual({
      pool: { poolSize: 3 },
      rest,
    })
  })

  it.each<[object, string | undefined]>([
    [{}, undefined],
    [{ poolSize: 1, maxOverflow: -1, poolTimeout: 0.1, poolRecycle: -1, poolPrePing: false }, undefined],
    [{ poolSize: undefined }, undefined],
    [{ poolSize: 0 }, 'INVALID_OPTION poolSize'],
    [{ poolSize: '5' }, 'INVALID_OPTION poolSize'],
    [{ poolSize: Number.NaN }, 'INVALID_OPTION poolSize'],
    [{ maxOverflow: Number.POSITIVE_INFINITY }, 'INVALID_OPTION maxOverflow'],
    [{ poolTimeout: Number.POSITIVE_INFINITY }, 'INVALID_OPTION poolTimeout'],
    [{ poolTimeout: -1 }, 'INVALID_OPTION poolTimeout'],
    [{ poolRecycle: 0 }, 'INVALID_OPTION poolRecycle'],
    [{ idleTimeout: 0 }, undefined],
    [{ idleTimeout: -1 }, 'INVALID_OPTION idleTimeout'],
    [{ idleTimeout: '60' }, 'INVALID_OPTION idleTimeout'],
    [{ idleTimeoutMillis: 60_000 }, 'UNKNOWN_OPTION idleTimeoutMillis'],
    [{ poolPrePing: 'true' }, 'INVALID_OPTION poolPrePing'],
    [{ poolPrePing: null }, 'INVALID_OPTION poolPrePing'],
  ])('validates %j to %j', (pool, expected) => {
    expect(outcomeOf(() => checkOptions('the engine', pool, ENGINE_CHECKS))).toEqual(expected)
  })
})

describe('TLS', () => {
  const remote = { host: 'db.example', port: 5432 }
  const loopback = { host: '127.0.0.1', port: 5432 }
  const socket = { path: '/run/pg/.s.PGSQL.5432' }

  it.each<[Dburi['options'], string, string[]]>([
    [{}, 'nothing', ['if-offered']],
    [{ sslmode: 'disable' }, 'nothing', ['plain']],
    [{ sslmode: 'allow' }, 'nothing', ['plain', 'required']],
    [{ sslmode: 'prefer' }, 'nothing', ['if-offered']],
    [{ sslmode: 'require' }, 'nothing', ['required']],
    [{ sslmode: 'verify-ca' }, 'ca', ['required']],
    [{ sslmode: 'verify-full' }, 'full', ['required']],
    [{ sslmode: 'require', sslrootcert: 'ca.pem' }, 'ca', ['required']],
    [{ sslmode: 'prefer', sslrootcert: 'ca.pem' }, 'ca', ['if-offered']],
    [{ sslrootcert: 'system' }, 'full', ['required']],
    [{ sslmode: 'verify-full', sslrootcert: 'system' }, 'full', ['required']],
    [{ ssl: 'true' }, 'nothing', ['required']],
    [{ ssl: '1' }, 'nothing', ['required']],
    [{ ssl: 'require' }, 'nothing', ['required']],
    [{ ssl: 'verify-full' }, 'full', ['required']],
    [{ ssl: 'prefer' }, 'nothing', ['if-offered']],
    [{ ssl: 'false' }, 'nothing', ['plain']],
    [{ ssl: 'true', sslmode: 'verify-full' }, 'full', ['required']],
    [{ sslmode: 'require', channel_binding: 'require' }, 'full', ['required']],
    [{ channel_binding: 'require' }, 'full', ['required']],
    [{ sslmode: 'require', channel_binding: 'prefer' }, 'nothing', ['required']],
    [{ sslmode: 'require', sslaccept: 'strict' }, 'full', ['required']],
    [{ sslmode: 'require', sslaccept: 'accept_invalid_certs' }, 'nothing', ['required']],
  ])('%j verifies %s and tries %j', (options, verify, attempts) => {
    const { tls } = planOf(options)

    expect(tls.verify).toBe(verify)
    expect(encryptionAttempts(remote, tls)).toEqual(attempts)
  })

  it.each<[Dburi['options'], typeof remote | typeof socket, string[]]>([
    [{}, loopback, ['plain']],
    [{}, { host: 'localhost', port: 1 }, ['plain']],
    [{}, { host: '::1', port: 1 }, ['plain']],
    [{}, { host: '127.example', port: 1 }, ['if-offered']],
    [{ sslmode: 'prefer' }, loopback, ['if-offered']],
    [{ sslrootcert: 'ca.pem' }, loopback, ['if-offered']],
    [{ sslmode: 'verify-full' }, loopback, ['required']],
    [{ sslmode: 'verify-full' }, socket, ['plain']],
  ])('%j at %j tries %j', (options, endpoint, attempts) => {
    expect(encryptionAttempts(endpoint, planOf(options).tls)).toEqual(attempts)
  })

  it.each<[Dburi['options'], string]>([
    [{ ssl: 'no-verify', sslmode: 'disable' }, 'INVALID_OPTION ssl'],
    [{ sslmode: 'off' }, 'INVALID_OPTION sslmode'],
    [{ sslmode: 'REQUIRE' }, 'INVALID_OPTION sslmode'],
    [{ sslmode: ['require', 'disable'] }, 'INVALID_OPTION sslmode'],
    [{ ssl: '{"rejectUnauthorized":false}' }, 'INVALID_OPTION ssl'],
    [{ ssl: 'false', sslmode: 'require' }, 'INVALID_OPTION ssl'],
    [{ ssl: 'true', sslmode: 'prefer' }, 'INVALID_OPTION ssl'],
    [{ sslmode: 'require', sslrootcert: 'system' }, 'INVALID_OPTION sslrootcert'],
    [{ sslmode: 'disable', channel_binding: 'require' }, 'REFUSED_OPTION channel_binding'],
    [{ sslmode: 'disable', sslaccept: 'strict' }, 'REFUSED_OPTION sslaccept'],
    [{ channel_binding: 'yes' }, 'INVALID_OPTION channel_binding'],
    [{ sslcert: 'c.pem' }, 'INVALID_OPTION sslcert'],
    [{ sslkey: 'k.pem' }, 'INVALID_OPTION sslkey'],
    [{ sslcertmode: 'require' }, 'REFUSED_OPTION sslcertmode'],
    [{ sslnegotiation: 'direct' }, 'INVALID_OPTION sslnegotiation'],
    [{ sslmode: 'prefer', sslnegotiation: 'direct' }, 'INVALID_OPTION sslnegotiation'],
    [{ ssl_min_protocol_version: 'SSLv3' }, 'INVALID_OPTION ssl_min_protocol_version'],
  ])('%j is refused: %s', (options, expected) => {
    expect(outcomeOf(() => planOf(options))).toBe(expected)
  })

  it('refuses channel binding on a socket', () => {
    const options = { channel_binding: 'require' }

    expect(outcomeOf(() => planOf(options, { host: null, socket: '/run/pg' }))).toBe(
      'REFUSED_OPTION channel_binding',
    )
  })

  it('keeps the file names and versions', () => {
    const { tls } = planOf({
      sslmode: 'verify-ca',
      sslrootcert: '/ca.pem',
      sslcert: '/c.pem',
      sslkey: '/k.pem',
      sslcrl: '/crl.pem',
      ssl_min_protocol_version: 'TLSv1.2',
      ssl_max_protocol_version: 'TLSv1.3',
      sslsni: '0',
      sslnegotiation: 'direct',
    })

    expect(tls).toMatchObject({
      ca: '/ca.pem',
      cert: '/c.pem',
      key: '/k.pem',
      crl: '/crl.pem',
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.3',
      sni: false,
      negotiation: 'direct',
    })
  })
})

describe('the driver', () => {
  it.each<[Dburi['options'], Partial<Dburi>, boolean]>([
    [{}, {}, true],
    [{}, { port: 6432 }, false],
    [{}, { port: 6543 }, false],
    [{}, { host: 'ep-cool-123-pooler.us-east-2.aws.neon.tech' }, false],
    [{}, { host: 'ep-cool-123.us-east-2.aws.neon.tech' }, true],
    [{}, { host: 'aws-0-eu.pooler.supabase.com', port: 6543 }, false],
    [{}, { host: 'aws-0-eu.pooler.supabase.com', port: 5432 }, true],
    [{}, { host: null, socket: '/run/pgbouncer', port: 6432 }, false],
    [
      {},
      {
        hosts: [
          { host: 'a', port: 5432 },
          { host: 'b', port: 6432 },
        ],
      },
      false,
    ],
    [{ pgbouncer: 'true' }, {}, false],
    [{ pgbouncer: 'false' }, {}, true],
    [{ prepare: 'false' }, {}, false],
    [{ prepare: 'true' }, { port: 6432 }, true],
    [{ statement_cache_size: '0' }, {}, false],
    [{ statement_cache_size: '100' }, {}, true],
    [{ prepared_statement_cache_size: '0' }, {}, false],
    [{ prepare_threshold: '0' }, {}, false],
    [{ prepare_threshold: 'None' }, {}, false],
    [{ prepare_threshold: '5' }, {}, true],
  ])('%j with %j prepares: %s', (options, parts, expected) => {
    expect(planOf(options, parts).prepare).toBe(expected)
  })

  it.each<[Dburi['options'], object | string]>([
    [{ connect_timeout: '3' }, { connectTimeout: 3_000 }],
    [{ connect_timeout: '0.5' }, { connectTimeout: 500 }],
    [{ connect_timeout: '0' }, 'INVALID_OPTION connect_timeout'],
    [{ connect_timeout: 'abc' }, 'INVALID_OPTION connect_timeout'],
    [{ connect_timeout: '99999999' }, 'INVALID_OPTION connect_timeout'],
    [{ keepalives: '0' }, { keepAlive: null }],
    [{ keepalives: '1', keepalives_idle: '30' }, { keepAlive: 30_000 }],
    [{ keepalives: '2' }, 'INVALID_OPTION keepalives'],
    [{ target_session_attrs: 'read-write' }, { targetSessionAttrs: 'read-write' }],
    [{ target_session_attrs: 'prefer-standby' }, { targetSessionAttrs: 'prefer-standby' }],
    [{ target_session_attrs: 'master' }, 'INVALID_OPTION target_session_attrs'],
    [{ load_balance_hosts: 'random' }, { loadBalanceHosts: 'random' }],
    [{ load_balance_hosts: 'yes' }, 'INVALID_OPTION load_balance_hosts'],
    [{ client_encoding: 'utf8' }, { startup: { application_name: 'drizzle-celery', DateStyle: 'ISO' } }],
    [{ client_encoding: 'UTF-8' }, {}],
    [{ client_encoding: 'latin1' }, 'INVALID_OPTION client_encoding'],
    [{ gssencmode: 'prefer' }, {}],
    [{ gssencmode: 'require' }, 'REFUSED_OPTION gssencmode'],
    [{ min_protocol_version: '3.0' }, {}],
    [{ min_protocol_version: '3.2' }, 'INVALID_OPTION min_protocol_version'],
  ])('%j is %j', (options, expected) => {
    const outcome = outcomeOf(() => planOf(options))

    if (typeof expected === 'string') expect(outcome).toBe(expected)
    else expect(outcome).toMatchObject(expected)
  })

  it('drops what has no effect here', () => {
    const options = {
      krbsrvname: 'postgres',
      keepalives_interval: '10',
      keepalives_count: '3',
      tcp_user_timeout: '5000',
      sslcompression: '0',
      passfile: '/p',
      load_balance: 'true',
      topology_keys: 'c.r.z',
      schema: 'public',
      uselibpqcompat: 'true',
    }
    const plan = planOf(options)

    expect(plan.startup).toEqual({ application_name: 'drizzle-celery', DateStyle: 'ISO' })
  })
})

describe('server parameters', () => {
  it.each<[Dburi['options'], object | string]>([
    [{ application_name: 'worker 1' }, { application_name: 'worker 1' }],
    [{ fallback_application_name: 'fb' }, { application_name: 'fb' }],
    [{ fallback_application_name: 'fb', application_name: 'app' }, { application_name: 'app' }],
    [{ search_path: 'celery,public' }, { search_path: 'celery,public' }],
    [{ schema: 'my"celery' }, { search_path: '"my""celery"' }],
    [{ schema: 'a', search_path: 'b' }, 'INVALID_OPTION search_path'],
    [
      { statement_timeout: '5000', lock_timeout: '5s' },
      { statement_timeout: '5000', lock_timeout: '5s' },
    ],
    [{ statement_timeout: '-1' }, 'INVALID_OPTION statement_timeout'],
    [{ idle_in_transaction_session_timeout: '1min' }, { idle_in_transaction_session_timeout: '1min' }],
    [{ timezone: 'UTC' }, { TimeZone: 'UTC' }],
    [{ timezone: 'UTC', TimeZone: 'UTC' }, 'INVALID_OPTION TimeZone'],
    [{ datestyle: 'ISO, DMY' }, { DateStyle: 'ISO, DMY' }],
    [{ DateStyle: 'German' }, 'INVALID_OPTION DateStyle'],
    [{ IntervalStyle: 'iso_8601' }, { IntervalStyle: 'iso_8601' }],
    [{ IntervalStyle: 'other' }, 'INVALID_OPTION IntervalStyle'],
    [{ bytea_output: 'escape' }, 'INVALID_OPTION bytea_output'],
    [{ extra_float_digits: '3' }, { extra_float_digits: '3' }],
    [{ extra_float_digits: '9' }, 'INVALID_OPTION extra_float_digits'],
    [
      { default_transaction_isolation: 'repeatable read' },
      { default_transaction_isolation: 'repeatable read' },
    ],
    [{ default_transaction_read_only: 'on' }, { default_transaction_read_only: 'on' }],
    [
      { jit: 'off', work_mem: '64MB' },
      { jit: 'off', work_mem: '64MB' },
    ],
    [{ options: '-c search_path=celery -clock_timeout=5s' }, { search_path: 'celery', lock_timeout: '5s' }],
    [{ options: '--statement-timeout=9' }, { statement_timeout: '9' }],
    [{ options: '-c search_path=a\\ b,c' }, { search_path: 'a b,c' }],
    [{ options: 'endpoint=ep-cool-1' }, { options: 'endpoint=ep-cool-1' }],
    [{ options: '--cluster=cow-12' }, { options: '--cluster=cow-12' }],
    [{ options: 'reference=abc -c jit=off' }, { options: 'reference=abc', jit: 'off' }],
    [{ options: '-c role=postgres' }, 'REFUSED_OPTION role'],
    [{ options: '-c ROLE=postgres' }, 'REFUSED_OPTION ROLE'],
    [{ options: '-crole=postgres' }, 'REFUSED_OPTION role'],
    [{ options: '--role=postgres' }, 'REFUSED_OPTION role'],
    [
      { options: '-c search_path=x -c session_replication_role=replica' },
      'REFUSED_OPTION session_replication_role',
    ],
    [{ options: '--session-replication-role=replica' }, 'REFUSED_OPTION session_replication_role'],
    [{ options: '-\\c role=x' }, 'REFUSED_OPTION role'],
    [{ options: '-c rol\\e=x' }, 'REFUSED_OPTION role'],
    [{ options: '-c app.tenant=1' }, 'REFUSED_OPTION app.tenant'],
    [{ options: '-c user=postgres' }, 'REFUSED_OPTION user'],
    [{ options: '-P' }, 'INVALID_OPTION options'],
    [{ options: '-d 5' }, 'INVALID_OPTION options'],
    [{ options: '-e' }, 'INVALID_OPTION options'],
    [{ options: '-c' }, 'INVALID_OPTION options'],
    [{ options: '-c jit' }, 'INVALID_OPTION options'],
    [{ options: '-cB' }, 'INVALID_OPTION options'],
    [{ options: '-c search_path=a', search_path: 'b' }, 'INVALID_OPTION search_path'],
    [{ options: ['-c jit=on', '-c jit=off'] }, 'INVALID_OPTION options'],
  ])('%j is %j', (options, expected) => {
    const outcome = outcomeOf(() => planOf(options).startup)

    const isError = typeof expected === 'string'
    const always = { application_name: 'drizzle-celery', DateStyle: 'ISO' }
    expect(outcome).toEqual(isError ? expected : { ...always, ...expected })
  })

  it('splits options as the server does', () => {
    expect(splitOptions('  -c  a=1\t--b-c=x\\ y -cd=\\\\ ')).toEqual({
      parameters: [
        ['a', '1'],
        ['b_c', 'x y'],
        ['d', '\\'],
      ],
      routing: null,
    })
  })
})

describe('what is said twice', () => {
  const several = {
    hosts: [
      { host: 'a', port: 1 },
      { host: 'b', port: 2 },
    ],
    host: 'a',
    port: 1,
  }

  it.each<[Dburi['options'], Partial<Dburi>, string]>([
    [{ user: 'postgres' }, {}, 'REFUSED_OPTION user'],
    [{ user: ['ann', 'postgres'] }, {}, 'REFUSED_OPTION user'],
    [{ password: 'other' }, {}, 'REFUSED_OPTION password'],
    [{ dbname: 'other' }, {}, 'REFUSED_OPTION dbname'],
    [{ database: 'other' }, {}, 'REFUSED_OPTION database'],
    [{ host: 'evil.example' }, {}, 'REFUSED_OPTION host'],
    [{ host: ['a', 'evil'] }, several, 'REFUSED_OPTION host'],
    [{ host: '/evil' }, { socket: '/run/pg' }, 'REFUSED_OPTION host'],
    [{ port: '1' }, {}, 'REFUSED_OPTION port'],
    [{ port: '1,3' }, several, 'REFUSED_OPTION port'],
    [{ USER: 'postgres' }, {}, 'UNKNOWN_OPTION USER'],
  ])('%j is refused when the dburi says something else', (options, parts, expected) => {
    expect(outcomeOf(() => planOf(options, parts))).toBe(expected)
  })

  it.each<[Dburi['options'], Partial<Dburi>]>([
    [{ user: 'ann', password: 'canary-1', dbname: 'results', host: 'db.example' }, {}],
    [{ host: ['a:1', 'b:2'] }, several],
    [{ host: 'a,b', port: '1,2' }, several],
    [
      { host: '/run/pg', port: '5433' },
      { host: null, socket: '/run/pg', port: 5433 },
    ],
  ])('%j is fine when it is the same', (options, parts) => {
    expect(outcomeOf(() => planOf(options, parts).user)).toBe('ann')
  })
})

describe('dangerous and unknown options', () => {
  const refusedNames = [
    ...['role', 'ROLE', 'session_authorization', 'session_replication_role', 'replication', 'row_security'],
    ...['standard_conforming_strings', 'backslash_quote', 'escape_string_warning', 'transform_null_equals'],
    ...['array_nulls', 'quote_all_identifiers', 'xmlbinary', 'local_preload_libraries'],
    ...['session_preload_libraries', 'dynamic_library_path', 'jit_provider', 'allow_system_table_mods'],
    ...['ignore_system_indexes', 'zero_damaged_pages', 'ignore_checksum_failure', 'event_triggers'],
    ...['lo_compat_privileges', 'check_function_bodies', 'debug', 'onnotice', 'socket', 'fetch_types'],
    ...['max_pipeline', 'backoff', 'publications', 'username', 'pass', 'hostname', 'hostaddr', 'service'],
    ...['servicefile', 'requirepeer', 'require_auth', 'sslcrldir', 'sslkeylogfile', 'scram_client_key'],
    ...['scram_server_key', 'rejectUnauthorized'],
  ]
  const unknownNames = [
    ...['log_statement', 'shared_preload_libraries', 'data_directory', 'hba_file', 'app.tenant', 'fsync'],
    ...['password_encryption', 'pool_class', 'echo', 'x', 'types', 'transform', '__proto__'],
    ...['constructor', 'toString', 'uri', 'authToken', 'tls', 'mode', 'temp_tablespaces', 'a\u0000b'],
  ]

  it.each(refusedNames)('%s is refused by name, with a reason', (name) => {
    const error = errorOf(() => planOf(Object.fromEntries([[name, '1']])))

    expect(error).toMatchObject({ code: 'REFUSED_OPTION', option: name })
    expect(error.message).toMatch(/ is refused: .{10}/)
  })

  it.each(unknownNames)('%j is unknown', (name) => {
    expect(outcomeOf(() => planOf(Object.fromEntries([[name, '1']])))).toBe(
      `UNKNOWN_OPTION ${/^\w[\w.]*$/.test(name) ? name : ''}`,
    )
  })

  it.each([
    ['sslmod', 'sslmode'],
    ['poolsize', 'pool_size'],
    ['statment_timeout', 'statement_timeout'],
    ['connectTimeut', 'connect_timeout'],
  ])('%s asks whether %s was meant', (name, meant) => {
    expect(errorOf(() => planOf({ [name]: '1' })).message).toContain(`did you mean ${meant}?`)
  })

  it.each(['\u0000', '\n', '\u001b', '\u007f'])(
    'refuses the control character %j in every value',
    (character) => {
      for (const name of [
        'application_name',
        'search_path',
        'sslmode',
        'sslrootcert',
        'options',
        'passfile',
      ]) {
        const options = { [name]: `x${character}statement_timeout` }
        expect(outcomeOf(() => planOf(options))).toBe(`INVALID_OPTION ${name}`)
      }
      expect(outcomeOf(() => planOf({}, { user: `a${character}` }))).toBe('INVALID_OPTION user')
      expect(outcomeOf(() => planOf({}, { database: `a${character}` }))).toBe('INVALID_OPTION database')
      expect(outcomeOf(() => planOf({}, { host: `a${character}` }))).toBe('INVALID_OPTION host')
    },
  )
})

describe('the strings of providers', () => {
  it('Neon, pooled', () => {
    const host = 'ep-cool-darkness-123456-pooler.us-east-2.aws.neon.tech'
    const plan = planOf({ sslmode: 'require', channel_binding: 'require' }, { host })

    expect(plan).toMatchObject({ prepare: false, tls: { verify: 'full', ca: null, sni: true } })
    expect(plan.startup).toEqual({ application_name: 'drizzle-celery', DateStyle: 'ISO' })
  })

  it('asyncpg behind PgBouncer', () => {
    const plan = planOf({ ssl: 'require', prepared_statement_cache_size: '0' }, { port: 6432 })

    expect(plan).toMatchObject({ prepare: false, tls: { mode: 'require', verify: 'nothing' } })
  })

  it('YugabyteDB on loopback', () => {
    const plan = planOf({ load_balance: 'true', topology_keys: 'c.r.z' }, { host: '127.0.0.1', port: 5433 })

    expect(plan.startup).toEqual({ application_name: 'drizzle-celery', DateStyle: 'ISO' })
  })
})

describe('orderEndpoints', () => {
  const endpoints = ['a', 'b', 'c', 'd'].map((host) => ({ host, port: 1 }))

  it('keeps the order as written', () => {
    expect(orderEndpoints({ endpoints, loadBalanceHosts: 'disable' })).toEqual(endpoints)
  })

  it('shuffles for random, losing none', () => {
    const seen = new Set<string>()
    for (let round = 0; round < 500; round++) {
      const order = orderEndpoints({ endpoints, loadBalanceHosts: 'random' })
      expect(
        [...order].sort((a, b) => ('host' in a && 'host' in b ? a.host.localeCompare(b.host) : 0)),
      ).toEqual(endpoints)
      seen.add(JSON.stringify(order))
    }

    expect(seen.size).toBe(24)
  })
})
