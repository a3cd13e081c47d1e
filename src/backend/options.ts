import type { Engine, EngineOptions } from '../engine/engine.ts'
import { ENGINE_CHECKS } from '../engine/options.ts'
import { checkOptions } from '../options/check.ts'
import { LONGEST_TIMEOUT } from '../options/pool.ts'
import { invalid, unknown } from '../options/values.ts'
import { zoneOf } from '../pickle/zones.ts'
import type { Serializer } from './column.ts'
import { type CeleryVersion, NEWEST_CELERY } from './date-done.ts'
import {
  type SerializerName,
  type SerializerPackages,
  toSerializer,
  toSerializerPackages,
} from './serializers.ts'

/** One name for each of the two tables; the other's default stays when only one is given. */
export interface TableNames {
  readonly task?: string | undefined
  readonly group?: string | undefined
}

/**
 * How results are stored. Names and defaults are those of Celery's settings, in camelCase, unless stated otherwise.
 * `fromCeleryConfig` makes them of a `celeryconfig`.
 */
export interface DatabaseBackendOptions {
  /** Store a task's name, arguments, worker, retries and queue too. @default false */
  resultExtended?: boolean | undefined
  /**
   * Seconds, up to three centuries, after which `cleanup` deletes finished tasks and groups; `null` and `0` for never.
   * @default 86_400 (a day)
   */
  resultExpires?: number | null | undefined
  /**
   * Writes arguments, and with `wire: 'serializer'` results too: the name of one, or one of your own. Must be the one the
   * Celery workers use. `yaml` and `msgpack` need their package in `serializers`.
   * @default 'json'
   */
  resultSerializer?: SerializerName | Serializer | undefined
  /**
   * The packages for `yaml` and `msgpack`, which this one does not depend on: `{ yaml }` after `import * as yaml from 'yaml'`.
   * Not a setting of Celery.
   * @default {}
   */
  serializers?: SerializerPackages | undefined
  /**
   * The serializers, by name or content type, whose arguments may be read; a column of another is unreadable. Pickles
   * are only read as data here, so safety does not need it.
   * @default null (all)
   */
  resultAcceptContent?: readonly string[] | null | undefined
  /** Finished tasks and groups to keep in memory: -1 for none, `null` and `0` for all. @default -1 */
  resultCacheMax?: number | null | undefined
  /** @default { task: 'celery_taskmeta', group: 'celery_tasksetmeta' } */
  databaseTableNames?: TableNames | undefined
  /**
   * The PostgreSQL schema, or the database on MySQL, of each table and of its sequence.
   * @default that of the connection
   */
  databaseTableSchemas?: TableNames | undefined
  /** Create what is missing as soon as the backend is used, not only with the first session. @default true */
  databaseCreateTablesAtSetup?: boolean | undefined
  /** A connection of its own for every operation, closed afterwards. @default false */
  databaseShortLivedSessions?: boolean | undefined
  /** For the engine: how many connections, and how they are opened. @default {} */
  databaseEngineOptions?: EngineOptions | undefined
  /** Called with the engine before anything is done with it. */
  databaseEngineCallback?: ((engine: Engine) => void | Promise<void>) | null | undefined
  /**
   * Retry an operation that fails for a temporary reason, after growing waits. Celery documents this default since 5.7, and
   * three attempts before; its code has it off.
   * @default true
   */
  resultBackendAlwaysRetry?: boolean | undefined
  /**
   * Attempts after the first. What the server rolled back in favour of another writer (serialization failures and
   * deadlocks) has certainly not happened: unless this is 0, it is retried for 2 s without being counted.
   * @default Infinity, as in Celery; `retryDeadline` bounds them
   */
  resultBackendMaxRetries?: number | undefined
  /**
   * Milliseconds that bound the first wait; each later bound is twice the one before, up to 500 where the server is away or
   * breaks connections off. @default 10
   */
  resultBackendBaseSleepBetweenRetriesMs?: number | undefined
  /** Milliseconds that bound every wait. @default 10_000 */
  resultBackendMaxSleepBetweenRetriesMs?: number | undefined
  /**
   * The app's time zone: on SQLite and MySQL Celery since 5.5 stores the time at which a task was done as that of this zone.
   * PostgreSQL has a zone of its own, that of its sessions.
   * @default null (UTC)
   */
  timezone?: string | null | undefined
  /**
   * Whether the app's clock is UTC when `timezone` does not say; otherwise it is that of this process, which must run in the
   * zone of the workers.
   * @default true
   */
  enableUtc?: boolean | undefined
  /**
   * The Celery that shares the tables, as in `'5.4'` or `'5.6.3'`: versions differ in the zone in which they store dates, and
   * those of groups say nothing of their age from 5.4 to 5.6.2. Without a patch it is the first release. Not a setting of Celery.
   * @default '5.6.3', the newest release
   */
  celeryVersion?: string | undefined
  /**
   * The form of results. `pickle` is read by every Celery, `serializer` by 5.7 and later only: older ones cannot read even
   * the state of such a task. Not a setting of Celery.
   * @default 'pickle'
   */
  wire?: 'pickle' | 'serializer' | undefined
  /**
   * Let no later write replace a finished task: with Celery the last write wins. Not a setting of Celery.
   * @default false
   */
  protectReady?: boolean | undefined
  /**
   * Keep the name, the arguments and so on when a later write has none: Celery sets them to NULL. Not a setting of
   * Celery.
   * @default false
   */
  preserveExtended?: boolean | undefined
  /**
   * Seconds after which an operation is not retried any more and rejects; `null` for no limit. A store or a read outlasts a
   * server that is down, or takes no more clients, for so long. Not a setting of Celery.
   * @default 30, and `null` where `resultBackendMaxRetries` is given
   */
  retryDeadline?: number | null | undefined
  /**
   * On PostgreSQL, notify waiters of results as they are stored, by Python too, instead of polling every half
   * second. The first wait creates a trigger on the table of tasks, and while there are waits there is one connection more.
   * Where it cannot listen, behind a pooler for example, results are polled. With `'changes'` a second trigger notifies of
   * every state and value that is stored of an unfinished task, for those who watch: each PROGRESS of each task then costs its
   * writer a notification, watched or not. Not a setting of Celery.
   * @default false
   */
  notify?: boolean | 'changes' | undefined
}

const RETRY_DEADLINE = 30

/** The options with their defaults filled in. */
export interface SettledBackendOptions {
  readonly resultExtended: boolean
  /** `null` for never. */
  readonly resultExpires: number | null
  readonly resultSerializer: Serializer
  /** `null` for all. */
  readonly resultAcceptContent: readonly string[] | null
  /** -1 for none, 0 for all. */
  readonly resultCacheMax: number
  readonly databaseTableNames: TableNames
  readonly databaseTableSchemas: TableNames
  readonly databaseCreateTablesAtSetup: boolean
  readonly databaseShortLivedSessions: boolean
  readonly databaseEngineOptions: EngineOptions
  readonly databaseEngineCallback: ((engine: Engine) => void | Promise<void>) | null
  readonly resultBackendAlwaysRetry: boolean
  readonly resultBackendMaxRetries: number
  readonly resultBackendBaseSleepBetweenRetriesMs: number
  readonly resultBackendMaxSleepBetweenRetriesMs: number
  /** The zone that `timezone` and `enableUtc` result in. */
  readonly timezone: string
  readonly enableUtc: boolean
  readonly celeryVersion: CeleryVersion
  readonly wire: 'pickle' | 'serializer'
  readonly protectReady: boolean
  readonly preserveExtended: boolean
  readonly retryDeadline: number | null
  readonly notify: boolean | 'changes'
}

/**
 * Fills in the defaults. What is `undefined` counts as left out.
 * @throws OptionError naming the option that is unknown or of a wrong value, never with the value
 */
export function settleBackendOptions(options: DatabaseBackendOptions = {}): SettledBackendOptions {
  const {
    resultExtended = false,
    resultExpires = 86_400,
    resultSerializer = 'json',
    serializers = {},
    resultAcceptContent = null,
    resultCacheMax = -1,
    databaseTableNames = {},
    databaseTableSchemas = {},
    databaseCreateTablesAtSetup = true,
    databaseShortLivedSessions = false,
    databaseEngineOptions = {},
    databaseEngineCallback = null,
    resultBackendAlwaysRetry = true,
    resultBackendMaxRetries = Number.POSITIVE_INFINITY,
    resultBackendBaseSleepBetweenRetriesMs = 10,
    resultBackendMaxSleepBetweenRetriesMs = 10_000,
    timezone = null,
    enableUtc = true,
    celeryVersion = NEWEST_CELERY,
    wire = 'pickle',
    protectReady = false,
    preserveExtended = false,
    retryDeadline = options.resultBackendMaxRetries === undefined ? RETRY_DEADLINE : null,
    notify = false,
    ...others
  } = options
  const isUtc = toFlag('enableUtc', enableUtc)
  const settled: SettledBackendOptions = {
    resultExtended: toFlag('resultExtended', resultExtended),
    resultExpires: orNull('resultExpires', resultExpires, toSeconds) || null,
    resultSerializer: toSerializer(
      'resultSerializer',
      resultSerializer,
      toSerializerPackages('serializers', serializers),
    ),
    resultAcceptContent: orNull('resultAcceptContent', resultAcceptContent, toTexts),
    resultCacheMax: orNull('resultCacheMax', resultCacheMax, toCacheMax) ?? 0,
    databaseTableNames: toTableNames('databaseTableNames', databaseTableNames),
    databaseTableSchemas: toTableNames('databaseTableSchemas', databaseTableSchemas),
    databaseCreateTablesAtSetup: toFlag('databaseCreateTablesAtSetup', databaseCreateTablesAtSetup),
    databaseShortLivedSessions: toFlag('databaseShortLivedSessions', databaseShortLivedSessions),
    databaseEngineOptions: toEngineOptions('databaseEngineOptions', databaseEngineOptions),
    databaseEngineCallback: orNull('databaseEngineCallback', databaseEngineCallback, toCallback),
    resultBackendAlwaysRetry: toFlag('resultBackendAlwaysRetry', resultBackendAlwaysRetry),
    resultBackendMaxRetries: toRetries('resultBackendMaxRetries', resultBackendMaxRetries),
    resultBackendBaseSleepBetweenRetriesMs: toMilliseconds(
      'resultBackendBaseSleepBetweenRetriesMs',
      resultBackendBaseSleepBetweenRetriesMs,
    ),
    resultBackendMaxSleepBetweenRetriesMs: toMilliseconds(
      'resultBackendMaxSleepBetweenRetriesMs',
      resultBackendMaxSleepBetweenRetriesMs,
    ),
    timezone: orNull('timezone', timezone, toTimezone) ?? (isUtc ? 'UTC' : localTimezone()),
    enableUtc: isUtc,
    celeryVersion: toCeleryVersion('celeryVersion', celeryVersion),
    wire: toWire('wire', wire),
    protectReady: toFlag('protectReady', protectReady),
    preserveExtended: toFlag('preserveExtended', preserveExtended),
    retryDeadline: orNull('retryDeadline', retryDeadline, toDeadline),
    notify: toNotify('notify', notify),
  }
  for (const [name, value] of Object.entries(others)) {
    if (value !== undefined) throw unknown(name, [...Object.keys(settled), 'serializers'])
  }
  return settled
}

/**
 * Checks of the options' values. All throw an OptionError with the name and what is expected, never with the value.
 */
type Reader<Value> = (name: string, value: unknown) => Value

/** The same, or `null`. */
export function orNull<Value>(name: string, value: unknown, read: Reader<Value>): Value | null {
  return value === null ? null : read(name, value)
}

export function toFlag(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw invalid(name, 'true or false')
  return value
}

export function toSeconds(name: string, value: unknown): number {
  if (typeof value === 'number' && value >= 0 && value <= MOST_SECONDS) return value
  throw invalid(name, `a number of seconds from 0 to ${MOST_SECONDS}, or null for never`)
}

/** Three centuries ago is a date in every database. */
const MOST_SECONDS = 10_000_000_000

function toDeadline(name: string, value: unknown): number {
  if (typeof value === 'number' && value > 0 && value <= LONGEST_TIMEOUT) return value
  throw invalid(name, `a number of seconds above 0, up to ${LONGEST_TIMEOUT}, or null for none`)
}

/** Milliseconds that a timer can wait. */
export function toMilliseconds(name: string, value: unknown): number {
  if (typeof value === 'number' && value >= 0 && value <= LONGEST_TIMEOUT * 1_000) return value
  throw invalid(name, 'a number of milliseconds from 0')
}

export function toRetries(name: string, value: unknown): number {
  if (value === Number.POSITIVE_INFINITY || isWhole(value, 0)) return value
  throw invalid(name, 'a whole number from 0, or Infinity')
}

export function toCacheMax(name: string, value: unknown): number {
  if (!isWhole(value, -1)) throw invalid(name, 'a whole number from 0, -1 for none, or null for all')
  return value
}

function isWhole(value: unknown, least: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= least
}

export function toTexts(name: string, value: unknown): readonly string[] {
  if (!Array.isArray(value) || !value.every(isText)) throw invalid(name, 'an array of names or content types')
  return value
}

export function toTableNames(name: string, value: unknown): TableNames {
  const names: { task?: string; group?: string } = {}
  for (const [table, text] of Object.entries(toRecord(name, value))) {
    if (table !== 'task' && table !== 'group')
      throw unknown(`${name}.${table}`, [`${name}.task`, `${name}.group`])
    if (text === undefined || text === null) continue
    if (!isText(text)) throw invalid(`${name}.${table}`, 'a name')
    names[table] = text
  }
  return names
}

export function toEngineOptions(name: string, value: unknown): EngineOptions {
  const options = toRecord(name, value)
  checkOptions(name, options, ENGINE_CHECKS)
  return options
}

export function toRecord(name: string, value: unknown): Readonly<Record<string, unknown>> {
  if (!isRecord(value)) throw invalid(name, 'an object')
  return value
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function toCallback(name: string, value: unknown): (engine: Engine) => void | Promise<void> {
  if (!isCallback(value)) throw invalid(name, 'a function')
  return value
}

function isCallback(value: unknown): value is (engine: Engine) => void | Promise<void> {
  return typeof value === 'function'
}

/** A zone of this runtime, by the name it has there. */
export function toTimezone(name: string, value: unknown): string {
  if (!isText(value) || zoneOf(value) === null)
    throw invalid(name, 'the name of a time zone, as in Europe/Paris')
  return new Intl.DateTimeFormat('en-US', { timeZone: value }).resolvedOptions().timeZone
}

/** The zone of this process. @throws OptionError where it is not in the time zone database */
function localTimezone(): string {
  return toTimezone('timezone', new Intl.DateTimeFormat().resolvedOptions().timeZone)
}

/** A release or a pre-release; without a patch, the first one. */
function toCeleryVersion(name: string, value: unknown): CeleryVersion {
  const match = isText(value) ? VERSION.exec(value) : null
  if (match === null) throw invalid(name, "a version of Celery, as in '5.4' or '5.6.3'")
  const [, major, minor, patch = 0] = match
  return [Number(major), Number(minor), Number(patch)]
}

const VERSION = /^(\d{1,3})\.(\d{1,3})(?:\.(\d{1,3}))?(?:\.?(?:a|b|rc|dev|post)\d{1,9})*$/

function toWire(name: string, value: unknown): 'pickle' | 'serializer' {
  if (value === 'pickle' || value === 'serializer') return value
  throw invalid(name, "'pickle' or 'serializer'")
}

function toNotify(name: string, value: unknown): boolean | 'changes' {
  if (typeof value === 'boolean' || value === 'changes') return value
  throw invalid(name, "true, false or 'changes'")
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}
