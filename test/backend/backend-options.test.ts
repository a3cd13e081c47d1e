import { describe, expect, it, vi } from 'vitest'
import { fromCeleryConfig } from '../../src/backend/celery-config.ts'
import { jsonSerializer, pickleSerializer, type Serializer } from '../../src/backend/column.ts'
import { type DatabaseBackendOptions, settleBackendOptions } from '../../src/backend/options.ts'
import { OptionError } from '../../src/errors.ts'

/** As a caller that TypeScript does not hold back. */
function settle(options: Record<string, unknown>) {
  return settleBackendOptions(options as DatabaseBackendOptions)
}

function errorOf(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('Nothing was thrown')
}

describe('settleBackendOptions', () => {
  it("fills in Celery's defaults and ours", () => {
    expect(settleBackendOptions()).toEqual({
      resultExtended: false,
      resultExpires: 86_400,
      resultSerializer: jsonSerializer,
      resultAcceptContent: null,
      resultCacheMax: -1,
      databaseTableNames: {},
      databaseTableSchemas: {},
      databaseCreateTablesAtSetup: true,
      databaseShortLivedSessions: false,
      databaseEngineOptions: {},
      databaseEngineCallback: null,
      resultBackendAlwaysRetry: true,
      resultBackendMaxRetries: Number.POSITIVE_INFINITY,
      resultBackendBaseSleepBetweenRetriesMs: 10,
      resultBackendMaxSleepBetweenRetriesMs: 10_000,
      timezone: 'UTC',
      enableUtc: true,
      celeryVersion: [5, 6, 3],
      wire: 'pickle',
      protectReady: false,
      preserveExtended: false,
      retryDeadline: 30,
      notify: false,
    })
  })

  it('takes undefined for left out', () => {
    const nothing = Object.fromEntries(Object.keys(settle({})).map((name) => [name, undefined]))

    expect(settle(nothing)).toEqual(settle({}))
  })

  it('takes 0 and null for never, and for all', () => {
    expect(settle({ resultExpires: 0 }).resultExpires).toBeNull()
    expect(settle({ resultExpires: null }).resultExpires).toBeNull()
    expect(settle({ resultCacheMax: null }).resultCacheMax).toBe(0)
  })

  it("takes a serializer by name, or one of the user's own", () => {
    const own: Serializer = { ...jsonSerializer, name: 'own' }

    expect(settle({ resultSerializer: 'pickle' }).resultSerializer).toBe(pickleSerializer)
    expect(settle({ resultSerializer: own }).resultSerializer).toBe(own)
  })

  it('says which zone it comes to', () => {
    const { timeZone } = new Intl.DateTimeFormat().resolvedOptions()

    expect(settle({ timezone: 'Asia/Tokyo' }).timezone).toBe('Asia/Tokyo')
    expect(settle({ timezone: 'Asia/Tokyo', enableUtc: false }).timezone).toBe('Asia/Tokyo')
    expect(settle({ enableUtc: false }).timezone).toBe(timeZone)
  })

  it('takes zones of the IANA database, and no offsets', () => {
    expect(settle({ timezone: 'america/los_angeles' }).timezone).toBe('America/Los_Angeles')
    for (const timezone of ['+01:00', '', 60]) {
      expect(errorOf(() => settle({ timezone }))).toMatchObject({ option: 'timezone' })
    }
  })

  it('takes a version of Celery by its first parts', () => {
    for (const [version, parts] of [
      ['5.2', [5, 2, 0]],
      ['5.6.3', [5, 6, 3]],
      ['5.5.0rc2', [5, 5, 0]],
      ['5.7.0a1.dev3', [5, 7, 0]],
      ['6.0', [6, 0, 0]],
    ] as const) {
      expect(settle({ celeryVersion: version }).celeryVersion).toEqual(parts)
    }
    for (const wrong of ['5', 'main', '', 'v5.4', '5.4.x', '5.4.0.0', ' 5.4', 5.4, null, [5, 4]]) {
      expect(errorOf(() => settle({ celeryVersion: wrong }))).toMatchObject({
        option: 'celeryVersion',
      })
    }
  })

  it('refuses a wrong value by the name of its option, without showing it', () => {
    const wrong: Record<string, unknown> = {
      resultExtended: 'secret',
      resultExpires: -1,
      resultSerializer: 'yaml',
      resultAcceptContent: 'secret',
      resultCacheMax: -2,
      databaseTableNames: 'secret',
      databaseTableSchemas: [],
      databaseCreateTablesAtSetup: 1,
      databaseShortLivedSessions: 'secret',
      databaseEngineOptions: 5,
      databaseEngineCallback: 'secret',
      resultBackendAlwaysRetry: null,
      resultBackendMaxRetries: 1.5,
      resultBackendBaseSleepBetweenRetriesMs: -1,
      resultBackendMaxSleepBetweenRetriesMs: Number.NaN,
      timezone: 'Mars/Olympus',
      enableUtc: 'secret',
      celeryVersion: 'secret',
      wire: 'secret',
      protectReady: 0,
      preserveExtended: 0,
      retryDeadline: 0,
      notify: 'on',
    }

    expect(Object.keys(wrong)).toEqual(Object.keys(settle({})))
    for (const [option, value] of Object.entries(wrong)) {
      const error = errorOf(() => settle({ [option]: value }))

      expect(error).toBeInstanceOf(OptionError)
      expect(error).toMatchObject({ code: 'INVALID_OPTION', option })
      expect(String(error)).not.toContain('secret')
    }
    expect(errorOf(() => settle({ databaseTableNames: { task: '' } }))).toMatchObject({
      option: 'databaseTableNames.task',
    })
    expect(errorOf(() => settle({ databaseEngineOptions: { poolSize: 0 } }))).toMatchObject({
      option: 'poolSize',
    })
  })

  it('refuses an unknown option, and says which was meant', () => {
    expect(errorOf(() => settle({ resultExtend: true }))).toMatchObject({
      code: 'UNKNOWN_OPTION',
      option: 'resultExtend',
      message: expect.stringContaining('resultExtended'),
    })
    expect(errorOf(() => settle({ databaseTableNames: { tasks: 'x' } }))).toMatchObject({
      code: 'UNKNOWN_OPTION',
      option: 'databaseTableNames.tasks',
    })
  })
})

describe('fromCeleryConfig', () => {
  it('carries over every setting that is about this backend', () => {
    const callback = () => {}
    const options = fromCeleryConfig({
      result_extended: true,
      result_expires: 3_600,
      result_serializer: 'pickle',
      result_accept_content: ['pickle'],
      result_cache_max: 100,
      result_backend_always_retry: true,
      result_backend_max_retries: Number.POSITIVE_INFINITY,
      result_backend_base_sleep_between_retries_ms: 20,
      result_backend_max_sleep_between_retries_ms: 500,
      database_table_names: { task: 'tasks', group: 'groups' },
      database_table_schemas: { task: 'celery', group: null },
      database_create_tables_at_setup: false,
      database_short_lived_sessions: true,
      database_engine_options: { pool_size: 3, pool_pre_ping: false, echo: true, pool_timeout: null },
      database_engine_callback: callback,
      timezone: 'Europe/Paris',
      enable_utc: false,
    })

    expect(settleBackendOptions(options)).toMatchObject({
      resultExtended: true,
      resultExpires: 3_600,
      resultSerializer: pickleSerializer,
      resultAcceptContent: ['pickle'],
      resultCacheMax: 100,
      resultBackendAlwaysRetry: true,
      resultBackendMaxRetries: Number.POSITIVE_INFINITY,
      resultBackendBaseSleepBetweenRetriesMs: 20,
      resultBackendMaxSleepBetweenRetriesMs: 500,
      databaseTableNames: { task: 'tasks', group: 'groups' },
      databaseTableSchemas: { task: 'celery' },
      databaseCreateTablesAtSetup: false,
      databaseShortLivedSessions: true,
      databaseEngineOptions: { poolSize: 3, poolPrePing: false },
      databaseEngineCallback: callback,
      timezone: 'Europe/Paris',
      enableUtc: false,
    })
  })

  it.each([
    ['CELERY_RESULT_SERIALIZER', 'pickle', { resultSerializer: pickleSerializer }],
    ['CELERY_TASK_RESULT_EXPIRES', 60, { resultExpires: 60 }],
    ['CELERY_MAX_CACHED_RESULTS', 5_000, { resultCacheMax: 5_000 }],
    ['CELERY_RESULT_DB_TABLENAMES', { task: 't' }, { databaseTableNames: { task: 't' } }],
    ['CELERY_RESULT_DB_SHORT_LIVED_SESSIONS', true, { databaseShortLivedSessions: true }],
    ['CELERY_RESULT_ENGINE_OPTIONS', { pool_recycle: 60 }, { databaseEngineOptions: { poolRecycle: 60 } }],
    ['CELERY_ACCEPT_CONTENT', ['json'], { resultAcceptContent: ['json'] }],
    ['CELERY_TIMEZONE', 'UTC', { timezone: 'UTC' }],
    ['DATABASE_TABLE_SCHEMAS', { task: 's' }, { databaseTableSchemas: { task: 's' } }],
    ['CELERY_DATABASE_TABLE_SCHEMAS', { task: 's' }, { databaseTableSchemas: { task: 's' } }],
    ['ENABLE_UTC', false, { enableUtc: false }],
  ])('knows %s, from before Celery 4 or from Django', (name, value, options) => {
    expect(fromCeleryConfig({ [name]: value })).toEqual(options)
  })

  it('reads a timedelta as seconds or by its fields', () => {
    expect(fromCeleryConfig({ result_expires: { days: 1, seconds: 30 } })).toEqual({ resultExpires: 86_430 })
    expect(fromCeleryConfig({ result_expires: { days: 0, seconds: 1, microseconds: 500_000 } })).toEqual({
      resultExpires: 1.5,
    })
    expect(fromCeleryConfig({ result_expires: null })).toEqual({ resultExpires: null })
    expect(
      fromCeleryConfig({ result_expires: { weeks: 1, hours: 1, minutes: 1, milliseconds: 500 } }),
    ).toEqual({
      resultExpires: 604_800 + 3_600 + 60 + 0.5,
    })
    for (const wrong of [{}, { years: 1 }, { days: '1' }, { days: -1 }, [], '60', true]) {
      expect(errorOf(() => fromCeleryConfig({ result_expires: wrong }))).toMatchObject({
        code: 'INVALID_OPTION',
        option: 'result_expires',
      })
    }
  })

  it('names all that is for Python only in one warning, and carries over the rest', () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue()
    const database_engine_options = {
      ...{ pool_size: 3, connect_args: { password: 'secret' }, isolation_level: 'READ COMMITTED' },
      ...{ pool_use_lifo: true, poolclass: null },
    }

    const options = fromCeleryConfig({
      database_engine_options,
      database_engine_callback: 'proj.db:callback',
    })

    expect(options).toEqual({ databaseEngineOptions: { poolSize: 3 } })
    expect(warned).toHaveBeenCalledTimes(1)
    const [text, details] = warned.mock.calls[0] ?? []
    expect(details).toEqual({ code: 'DRIZZLE_CELERY_LEFT_OUT' })
    expect(text).toContain(
      'database_engine_options.connect_args, database_engine_options.isolation_level, ' +
        'database_engine_options.poolclass, database_engine_callback.',
    )
    expect(text).not.toContain('secret')
    warned.mockRestore()
  })

  it('takes yaml and msgpack by the packages that the backend is given', async () => {
    const yaml = { parse: (text: string) => text.trim(), stringify: (value: unknown) => `${value}\n` }
    const msgpack = { encode: () => Uint8Array.of(0xc0), decode: () => null }
    const serializers = { yaml, msgpack }
    const settled = (name: string) =>
      settleBackendOptions({ ...fromCeleryConfig({ result_serializer: name }), serializers }).resultSerializer

    expect(settled('yaml')).toMatchObject({ name: 'yaml', contentType: 'application/x-yaml' })
    expect(settled('msgpack')).toMatchObject({ name: 'msgpack', contentType: 'application/x-msgpack' })
    expect(settled('yaml').decode(settled('yaml').encode('é'))).toBe('é')
    expect([...settled('msgpack').encode(null)]).toEqual([0xc0])
    for (const wrong of [{}, null, { yaml: {} }, { yaml: { parse: 1, stringify: 1 } }]) {
      const error = errorOf(() => settle({ resultSerializer: 'yaml', serializers: wrong }))
      expect(error).toMatchObject({ code: 'INVALID_OPTION' })
    }
  })

  it('goes by accept_content only where result_accept_content says nothing', () => {
    const config = { result_accept_content: ['pickle'], accept_content: ['json'] }

    expect(fromCeleryConfig(config)).toEqual({ resultAcceptContent: ['pickle'] })
    expect(fromCeleryConfig({ ...config, result_accept_content: null })).toEqual({
      resultAcceptContent: ['json'],
    })
  })

  it('passes over what is not about this backend', () => {
    const config = {
      broker_url: 'amqp://',
      task_serializer: 'json',
      result_backend: 'db+postgresql://u:secret@h/db',
      database_url: 'postgresql://u:secret@h/db',
      result_compression: null,
      result_chord_join_timeout: 3,
      CELERY_RESULT_DBURI: 'postgresql://u:secret@h/db',
      CELERYD_CONCURRENCY: 2,
      DATABASES: {},
      DATABASE_ROUTERS: [],
      ourOwn: 1,
    }

    expect(fromCeleryConfig(config)).toEqual({})
  })

  it('refuses what is wrong by the name it was given', () => {
    const wrong: [Record<string, unknown>, string, string][] = [
      [{ CELERY_RESULT_SERIALIZER: 'toml' }, 'CELERY_RESULT_SERIALIZER', 'INVALID_OPTION'],
      [{ result_extended: 'yes' }, 'result_extended', 'INVALID_OPTION'],
      [{ result_extend: true }, 'result_extend', 'UNKNOWN_OPTION'],
      [{ CELERY_RESULT_EXTEND: true }, 'CELERY_RESULT_EXTEND', 'UNKNOWN_OPTION'],
      [{ database_table_name: {} }, 'database_table_name', 'UNKNOWN_OPTION'],
      [{ database_table_names: { tasks: 'x' } }, 'database_table_names.tasks', 'UNKNOWN_OPTION'],
      [{ database_engine_options: { pool_size: 'secret' } }, 'poolSize', 'INVALID_OPTION'],
      [{ database_engine_callback: 7 }, 'database_engine_callback', 'INVALID_OPTION'],
      [{ result_expires: 1, CELERY_TASK_RESULT_EXPIRES: 2 }, 'CELERY_TASK_RESULT_EXPIRES', 'INVALID_OPTION'],
    ]
    for (const [config, option, code] of wrong) {
      const error = errorOf(() => fromCeleryConfig(config))

      expect(error).toMatchObject({ option, code })
      expect(String(error)).not.toContain('secret')
    }
  })
})
