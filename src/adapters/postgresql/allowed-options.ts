import { optionsOf } from '../../dburi/secrets.ts'
import type { Dburi } from '../../dburi/types.ts'
import { RawOptions, REPEATED_PARTS } from '../../driver/options.ts'
import { printable } from '../../driver/socket.ts'
import { MAX_RESPONSE_BYTES_NAMES } from '../../options/max-response-bytes.ts'
import { POOL_OPTION_NAMES } from '../../options/pool.ts'
import { STATEMENT_TIMEOUT_NAMES } from '../../options/statement-timeout.ts'
import { invalid, refused, toBoolean, toNumber, toWord, unknown } from '../../options/values.ts'
import {
  DRIVER_OPTIONS,
  type DriverOption,
  driverOption,
  MEANT_ANYWAY,
  STARTUP_SYNONYMS,
} from './spellings.ts'

/** The query arguments of a dburi, sorted by whom they are for. */
export interface ValidatedOptions {
  readonly given: RawPostgresOptions
  /** For the server, in its startup message. */
  readonly startup: Readonly<Record<string, string>>
}

/**
 * Sorts the arguments into the driver's, the server's and those without effect, and refuses the others.
 * @throws OptionError
 */
export function validateOptions(dburi: Dburi): ValidatedOptions {
  const given: RawPostgresOptions = new RawOptions()
  const startup = new Map<string, string>()
  const addToStartup = (name: string, text: string) => {
    const [parameter, value] = toStartupParameter(name, text)
    if (startup.has(parameter)) throw invalid(name, 'given once')
    startup.set(parameter, value)
  }

  let fallbackName: string | null = null
  for (const [name, value] of optionsOf(dburi)) {
    const agrees = REPEATED_PARTS.get(name)
    if (agrees?.(dburi, value) === false) throw refused(name, 'the dburi says something else')
    if (agrees !== undefined) continue

    if (typeof value === 'string' && MEANT_ANYWAY.get(name)?.test(value)) continue
    refuse(name)
    if (typeof value !== 'string') throw invalid(name, 'given once')
    const text = printable(name, value)
    if (hasNoEffect(name, text)) continue
    const option = driverOption(name, text)
    if (option !== null) given.addOnce(option.name, option.text, name)
    else if (name === 'fallback_application_name') fallbackName = text
    else if (name === 'schema') addToStartup('search_path', `"${text.replaceAll('"', '""')}"`)
    else if (name === 'options') {
      const { parameters, routing } = splitOptions(text)
      if (routing !== null) startup.set('options', routing)
      for (const [parameter, setting] of parameters) {
        refuse(parameter)
        addToStartup(parameter, setting)
      }
    } else if (Object.hasOwn(STARTUP_SYNONYMS, name)) addToStartup(STARTUP_SYNONYMS[name] ?? name, text)
    else if (isStartupParameter(name)) addToStartup(name, text)
    else throw unknown(name, knownNames())
  }

  if (fallbackName !== null && !startup.has('application_name')) startup.set('application_name', fallbackName)
  checkWithoutUse(given)
  return { given, startup: Object.fromEntries(startup) }
}

function refuse(name: string): void {
  const reason = REFUSED.get(name.toLowerCase())
  if (reason !== undefined) throw refused(name, reason)
}

/** Servers look into the schema "public" anyway. */
function hasNoEffect(name: string, text: string): boolean {
  return IGNORED.has(name) || (name === 'schema' && text === 'public')
}

/** Options whose only acceptable values are those that ask for what is so anyway. */
function checkWithoutUse(given: RawPostgresOptions): void {
  const encoding = given.text('client_encoding') ?? 'utf8'
  if (!/^(utf-?8|unicode|auto)$/i.test(encoding)) throw invalid('client_encoding', 'utf8')
  if (given.word('gssencmode', ['disable', 'prefer', 'require']) === 'require') {
    throw refused('gssencmode', 'GSSAPI encryption cannot be had here: use TLS')
  }
  given.word('min_protocol_version', ['3.0'])
}

function knownNames(): string[] {
  return [
    ...POOL_OPTION_NAMES,
    ...MAX_RESPONSE_BYTES_NAMES,
    ...DRIVER_OPTIONS,
    ...STARTUP_PARAMETERS,
    ...IGNORED,
    ...REPEATED_PARTS.keys(),
    'options',
    'schema',
    ...STATEMENT_TIMEOUT_NAMES,
  ]
}

export type RawPostgresOptions = RawOptions<DriverOption>

/** Understood, and without effect here: what they ask for is so anyway, or cannot be had in Node and harms nobody. */
const IGNORED: ReadonlySet<string> = new Set([
  'gssdelegation',
  'gsslib',
  'keepalives_count',
  'keepalives_interval',
  'krbsrvname',
  'load_balance',
  'max_protocol_version',
  'passfile',
  'sslcompression',
  'tcp_user_timeout',
  'topology_keys',
  'uselibpqcompat',
])

const IN_THE_AUTHORITY = 'write it before the question mark'
export const NOT_ENFORCED = 'it asks for a protection that cannot be given here'
const OTHER_PERSON = 'it would run statements as somebody else'
const OTHER_MEANING = 'it changes what statements mean'
const OTHER_CODE = 'it loads code into the server'

const OPENED_WHEN_NEEDED = 'connections are opened when they are needed: leave it out'
const NOT_ONE_WAIT =
  'it counts waiting for a connection and connecting together: say pool_timeout and connect_timeout, in seconds'

/** Refused by name, with the reason. */
const REFUSED: ReadonlyMap<string, string> = new Map([
  ['role', OTHER_PERSON],
  ['session_authorization', OTHER_PERSON],
  ['session_replication_role', 'it turns triggers and foreign keys off'],
  ['replication', 'a replication connection is none for statements'],
  ['row_security', OTHER_MEANING],
  ['standard_conforming_strings', OTHER_MEANING],
  ['backslash_quote', OTHER_MEANING],
  ['escape_string_warning', OTHER_MEANING],
  ['transform_null_equals', OTHER_MEANING],
  ['array_nulls', OTHER_MEANING],
  ['quote_all_identifiers', OTHER_MEANING],
  ['xmlbinary', OTHER_MEANING],
  ['local_preload_libraries', OTHER_CODE],
  ['session_preload_libraries', OTHER_CODE],
  ['dynamic_library_path', OTHER_CODE],
  ['jit_provider', OTHER_CODE],
  ['allow_system_table_mods', 'it opens the catalogue to writing'],
  ['ignore_system_indexes', 'it is for repairing a broken catalogue'],
  ['zero_damaged_pages', 'it destroys data'],
  ['ignore_checksum_failure', 'it returns damaged data'],
  ['event_triggers', 'it turns event triggers off'],
  ['lo_compat_privileges', 'it turns permission checks off'],
  ['check_function_bodies', OTHER_MEANING],
  ['debug', 'it makes the driver print parameters and passwords'],
  ['onnotice', 'functions cannot come from a string'],
  ['socket', 'functions cannot come from a string'],
  ['fetch_types', 'the adapter decides it'],
  ['max_pipeline', 'the adapter decides it'],
  ['backoff', 'the adapter decides it'],
  ['publications', 'it belongs to replication'],
  ['username', IN_THE_AUTHORITY],
  ['pass', IN_THE_AUTHORITY],
  ['hostname', IN_THE_AUTHORITY],
  ['hostaddr', 'it would connect to another machine than the host names'],
  ['service', 'service files are not read: write the parameters themselves'],
  ['servicefile', 'service files are not read: write the parameters themselves'],
  ['requirepeer', NOT_ENFORCED],
  ['require_auth', NOT_ENFORCED],
  ['sslcrldir', 'directories of certificates are not read: use sslcrl'],
  ['sslkeylogfile', 'it writes the keys of the connection to a file'],
  ['scram_client_key', 'it is a secret that the driver cannot use'],
  ['scram_server_key', 'it is a secret that the driver cannot use'],
  ['rejectunauthorized', 'use sslmode=verify-full, or sslmode=require for TLS without verification'],
  ['sslidentity', 'PKCS #12 files are not read: use sslcert and sslkey'],
  ['sslfactory', 'classes of Java cannot be loaded: say what it is to do by sslmode'],
  ['sslhostnameverifier', 'classes of Java cannot be loaded: say what it is to do by sslmode'],
  ['connectiontimeoutmillis', NOT_ONE_WAIT],
  ['connectionstring', IN_THE_AUTHORITY],
  ['default_query_exec_mode', 'say prepare=false where statements are not to be prepared'],
  ['preferquerymode', 'say prepare=false where statements are not to be prepared'],
  ['max_connections', 'say pool_size and max_overflow'],
  ['pool_min_conns', OPENED_WHEN_NEEDED],
  ['pool_max_conn_lifetime', 'say pool_recycle, in seconds'],
  ['pool_max_conn_idle_time', 'say idle_timeout, in seconds'],
  ['min', OPENED_WHEN_NEEDED],
  ['init_sql', 'it runs a statement on every connection: use the option onConnect of engines'],
  ['initsql', 'it runs a statement on every connection: use the option onConnect of engines'],
])

type Check = (name: string, text: string) => void

const anything: Check = () => {}

const duration: Check = (name, text) => {
  if (!/^\d{1,10} ?(us|ms|s|min|h|d)?$/.test(text)) throw invalid(name, 'a duration such as 5000, 5s or 1min')
}

const bytes: Check = (name, text) => {
  if (!/^\d{1,10} ?(B|kB|MB|GB|TB)?$/.test(text)) throw invalid(name, 'an amount of memory such as 64MB')
}

const oneOf =
  (...words: string[]): Check =>
  (name, text) => {
    toWord(name, text.toLowerCase(), words)
  }

const digits: Check = (name, text) => {
  const value = toNumber(name, text)
  if (!Number.isInteger(value) || value < -15 || value > 3)
    throw invalid(name, 'a whole number from -15 to 3')
}

/** Dates are read as ISO by postgres.js and Drizzle; the order of day and month in input is the user's choice. */
const isoDates: Check = (name, text) => {
  if (!/^ISO(, ?(MDY|DMY|YMD))?$/i.test(text)) throw invalid(name, 'ISO: no other style can be read')
}

/** The server's parameters a dburi may set, and what their values must be. */
const PARAMETERS: Readonly<Record<string, Check>> = {
  application_name: anything,
  search_path: anything,
  TimeZone: anything,
  DateStyle: isoDates,
  IntervalStyle: oneOf('postgres', 'postgres_verbose', 'sql_standard', 'iso_8601'),
  bytea_output: oneOf('hex'),
  extra_float_digits: digits,
  statement_timeout: duration,
  lock_timeout: duration,
  idle_in_transaction_session_timeout: duration,
  idle_session_timeout: duration,
  transaction_timeout: duration,
  default_transaction_isolation: oneOf(
    'read uncommitted',
    'read committed',
    'repeatable read',
    'serializable',
  ),
  default_transaction_read_only: toBoolean,
  default_transaction_deferrable: toBoolean,
  synchronous_commit: oneOf('on', 'off', 'local', 'remote_write', 'remote_apply'),
  client_min_messages: oneOf(
    ...['debug5', 'debug4', 'debug3', 'debug2', 'debug1', 'log', 'notice', 'warning', 'error'],
  ),
  plan_cache_mode: oneOf('auto', 'force_generic_plan', 'force_custom_plan'),
  jit: toBoolean,
  work_mem: bytes,
}

/** By their proper names; the server itself does not tell upper from lower case. */
const STARTUP_PARAMETERS: readonly string[] = Object.keys(PARAMETERS)

const BY_LOWER_CASE: ReadonlyMap<string, string> = new Map(
  STARTUP_PARAMETERS.map((name) => [name.toLowerCase(), name]),
)

function isStartupParameter(name: string): boolean {
  return BY_LOWER_CASE.has(name.toLowerCase())
}

/**
 * The proper name and the value of a server parameter.
 * @throws OptionError when the parameter is not one that may be set, or not to this
 */
function toStartupParameter(name: string, text: string): readonly [name: string, value: string] {
  const parameter = BY_LOWER_CASE.get(name.toLowerCase())
  const check = parameter === undefined ? undefined : PARAMETERS[parameter]
  if (parameter === undefined || check === undefined) {
    throw refused(name, `options may only set ${STARTUP_PARAMETERS.join(', ')}`)
  }
  check(name, text)
  return [parameter, text]
}

/**
 * Reads libpq's `options`: `-c name=value` and `--name=value`, split at blanks with `\` before a blank that is meant,
 * as the server does. The parameters then travel one by one, so that what was checked is what the server gets.
 * `routing` is what a provider wants to find in `options` itself: Neon's `endpoint=…` and `project=…`, Supabase's
 * `reference=…`, and CockroachDB's `--cluster=…`.
 * @throws OptionError for any other switch of the server's command line
 */
export function splitOptions(text: string): {
  parameters: readonly (readonly [name: string, value: string])[]
  routing: string | null
} {
  const parameters: [string, string][] = []
  const routing: string[] = []
  const words = (text.match(/(?:\\.|\S)+/g) ?? []).map((word) => word.replaceAll(/\\(.)/g, '$1')).values()
  for (const word of words) {
    if (/^(endpoint|project|reference|--cluster)=[\w.-]+$/.test(word)) {
      routing.push(word)
      continue
    }

    const setting = word === '-c' ? words.next().value : /^(?:-c|--)(.+)$/s.exec(word)?.[1]
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(setting ?? '') ?? []
    if (name === undefined || value === undefined) throw invalid('options', 'a list of -c name=value')
    parameters.push([name.replaceAll('-', '_'), value])
  }
  return { parameters, routing: routing.length === 0 ? null : routing.join(' ') }
}
