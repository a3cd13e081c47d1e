import type { EngineOptions } from '../engine/options.ts'
import { OptionError } from '../errors.ts'
import type { PoolOptions } from '../options/pool.ts'
import { invalid, unknown } from '../options/values.ts'
import type { Serializer } from './column.ts'
import {
  type DatabaseBackendOptions,
  orNull,
  toCacheMax,
  toCallback,
  toEngineOptions,
  toFlag,
  toMilliseconds,
  toRecord,
  toRetries,
  toSeconds,
  toTableNames,
  toTexts,
  toTimezone,
} from './options.ts'
import { type SerializerName, toSerializer } from './serializers.ts'

/**
 * The options of a backend from the settings of a Celery app, so that both do the same: `result_extended`,
 * `CELERY_RESULT_EXTENDED` as it was called before Celery 4, or in the namespace `CELERY` of a Django project. A timedelta
 * is given in seconds or as `{ weeks, days, hours, minutes, seconds, milliseconds, microseconds }`, as Python's is made.
 * Settings that are not about this backend are ignored, and so is `result_backend`: the backend itself takes the dburi. What
 * is for Python only is named in one warning (`DRIZZLE_CELERY_LEFT_OUT`): a callback given by its dotted name, and in
 * `database_engine_options` what is for SQLAlchemy and its drivers, `connect_args` and `isolation_level` for example.
 *
 * @throws OptionError naming the setting that is of a wrong value, or given under two of its names, or that begins with
 * `result_` or `database_` and is none of Celery's
 */
export function fromCeleryConfig(config: Readonly<Record<string, unknown>>): DatabaseBackendOptions {
  const given = new Map<string, Given>()
  for (const [name, value] of Object.entries(config)) {
    const setting = settingOf(name)
    if (setting === null) continue
    const other = given.get(setting)
    if (other !== undefined) {
      const message = `The setting ${name} is given twice: it is ${other.name} by another name`
      throw new OptionError('INVALID_OPTION', name, message)
    }
    given.set(setting, { name, value })
  }

  const options: DatabaseBackendOptions = {}
  const leftOut: string[] = []
  for (const [setting, read] of READERS) {
    const found = given.get(setting)
    if (found !== undefined) Object.assign(options, read(found.name, found.value, leftOut))
  }
  if (leftOut.length > 0) warn(leftOut)
  return options
}

function warn(leftOut: readonly string[]): void {
  process.emitWarning(
    `Settings of the celeryconfig that are for Python only are left out: ${leftOut.join(', ')}. ` +
      'Say what is meant by the dburi or by options of the backend',
    { code: 'DRIZZLE_CELERY_LEFT_OUT' },
  )
}

interface Given {
  /** Its name in the config. */
  readonly name: string
  readonly value: unknown
}

/** Adds to `leftOut` the names of what it leaves out. */
type Read = (name: string, value: unknown, leftOut: string[]) => DatabaseBackendOptions

/** Each setting, and the options it makes. A later one overrules an earlier one. */
const READERS: ReadonlyMap<string, Read> = new Map<string, Read>([
  ['accept_content', (name, value) => ({ resultAcceptContent: toTexts(name, value) })],
  [
    'result_accept_content',
    // Without it, Celery goes by accept_content.
    (name, value) => (value === null ? {} : { resultAcceptContent: toTexts(name, value) }),
  ],
  ['result_extended', (name, value) => ({ resultExtended: toFlag(name, value) })],
  ['result_expires', (name, value) => ({ resultExpires: orNull(name, value, toTimespan) })],
  ['result_serializer', (name, value) => ({ resultSerializer: toNamedSerializer(name, value) })],
  ['result_cache_max', (name, value) => ({ resultCacheMax: orNull(name, value, toCacheMax) })],
  ['result_backend_always_retry', (name, value) => ({ resultBackendAlwaysRetry: toFlag(name, value) })],
  ['result_backend_max_retries', (name, value) => ({ resultBackendMaxRetries: toRetries(name, value) })],
  [
    'result_backend_base_sleep_between_retries_ms',
    (name, value) => ({ resultBackendBaseSleepBetweenRetriesMs: toMilliseconds(name, value) }),
  ],
  [
    'result_backend_max_sleep_between_retries_ms',
    (name, value) => ({ resultBackendMaxSleepBetweenRetriesMs: toMilliseconds(name, value) }),
  ],
  ['database_table_names', (name, value) => ({ databaseTableNames: toTableNames(name, value ?? {}) })],
  ['database_table_schemas', (name, value) => ({ databaseTableSchemas: toTableNames(name, value ?? {}) })],
  [
    'database_create_tables_at_setup',
    (name, value) => ({ databaseCreateTablesAtSetup: toFlag(name, value) }),
  ],
  ['database_short_lived_sessions', (name, value) => ({ databaseShortLivedSessions: toFlag(name, value) })],
  [
    'database_engine_options',
    (name, value, leftOut) => ({ databaseEngineOptions: toPool(name, value ?? {}, leftOut) }),
  ],
  [
    'database_engine_callback',
    (name, value, leftOut) => {
      // `proj.db:prepare`, which only Python can import.
      if (typeof value !== 'string') return { databaseEngineCallback: orNull(name, value, toCallback) }
      leftOut.push(name)
      return {}
    },
  ],
  ['timezone', (name, value) => ({ timezone: orNull(name, value, toTimezone) })],
  ['enable_utc', (name, value) => ({ enableUtc: toFlag(name, value) })],
])

/** Names from before Celery 4 that are more than the new one in capitals. */
const OLD_NAMES: ReadonlyMap<string, string> = new Map([
  ['CELERY_MAX_CACHED_RESULTS', 'result_cache_max'],
  ['CELERY_TASK_RESULT_EXPIRES', 'result_expires'],
  ['CELERY_RESULT_DB_SHORT_LIVED_SESSIONS', 'database_short_lived_sessions'],
  ['CELERY_RESULT_DB_TABLENAMES', 'database_table_names'],
  ['CELERY_RESULT_ENGINE_OPTIONS', 'database_engine_options'],
])

/** Celery's other settings that begin like ours. */
const OTHERS: ReadonlySet<string> = new Set([
  'database_url',
  'result_backend',
  'result_backend_thread_safe',
  'result_backend_transport_options',
  'result_chord_join_timeout',
  'result_chord_ordered',
  'result_chord_retry_interval',
  'result_compression',
  'result_dburi',
  'result_exchange',
  'result_exchange_type',
  'result_persistent',
])

/** The setting with this name; `null` when it is not about this backend. */
function settingOf(name: string): string | null {
  const old = OLD_NAMES.get(name)
  if (old !== undefined) return old
  const isOld = /^[A-Z\d_]+$/.test(name)
  const setting = isOld ? name.toLowerCase().replace(/^celery_/, '') : name
  if (READERS.has(setting)) return setting
  // In capitals and without the namespace it may be a setting of any other library.
  const isOurs = /^(result|database)_/.test(setting) && (!isOld || name.startsWith('CELERY_'))
  if (isOurs && !OTHERS.has(setting)) throw unknown(name, READERS.keys())
  return null
}

function toTimespan(name: string, value: unknown): number {
  if (typeof value !== 'object') return toSeconds(name, value)
  const fields = Object.entries(toRecord(name, value))
  const isTimedelta = fields.every(([field, count]) => UNITS.has(field) && Number.isFinite(count))
  if (fields.length === 0 || !isTimedelta)
    throw invalid(name, 'seconds, or an object with days, hours, minutes, seconds and so on')
  const seconds = fields.reduce((sum, [field, count]) => sum + Number(count) * (UNITS.get(field) ?? 0), 0)
  return toSeconds(name, seconds)
}

/** The seconds in a field of a timedelta. */
const UNITS: ReadonlyMap<string, number> = new Map([
  ['weeks', 604_800],
  ['days', 86_400],
  ['hours', 3_600],
  ['minutes', 60],
  ['seconds', 1],
  ['milliseconds', 1e-3],
  ['microseconds', 1e-6],
])

/** SQLAlchemy's names for the options of a pool. */
const POOL: ReadonlyMap<string, keyof PoolOptions> = new Map([
  ['pool_size', 'poolSize'],
  ['max_overflow', 'maxOverflow'],
  ['pool_timeout', 'poolTimeout'],
  ['pool_recycle', 'poolRecycle'],
  ['pool_pre_ping', 'poolPrePing'],
])

/** What SQLAlchemy writes in its log, and how. */
const LOGGING: ReadonlySet<string> = new Set([
  'echo',
  'echo_pool',
  'hide_parameters',
  'logging_name',
  'pool_logging_name',
])

/** What else SQLAlchemy takes is for itself and its drivers. */
function toPool(name: string, value: unknown, leftOut: string[]): EngineOptions {
  const pool: Record<string, unknown> = {}
  for (const [option, setting] of Object.entries(toRecord(name, value))) {
    const ours = POOL.get(option)
    if (ours !== undefined) pool[ours] = setting ?? undefined
    else if (!LOGGING.has(option) && !isOurs(option, setting)) leftOut.push(`${name}.${option}`)
  }
  return toEngineOptions(name, pool)
}

/** What this library does in any case. */
function isOurs(option: string, setting: unknown): boolean {
  return (option === 'pool_use_lifo' || option === 'future') && setting === true
}

/** The package of `yaml` or `msgpack` is given to the backend. */
function toNamedSerializer(name: string, value: unknown): SerializerName | Serializer {
  return value === 'yaml' || value === 'msgpack' ? value : toSerializer(name, value, {})
}
