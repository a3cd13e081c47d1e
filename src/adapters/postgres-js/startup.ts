import { invalid, refused, toBoolean, toNumber, toWord } from '../../option-text.ts'

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
export const STARTUP_PARAMETERS: readonly string[] = Object.keys(PARAMETERS)

const BY_LOWER_CASE: ReadonlyMap<string, string> = new Map(
  STARTUP_PARAMETERS.map((name) => [name.toLowerCase(), name]),
)

export function isStartupParameter(name: string): boolean {
  return BY_LOWER_CASE.has(name.toLowerCase())
}

/**
 * The proper name and the value of a server parameter.
 * @throws OptionError when the parameter is not one that may be set, or not to this
 */
export function toStartupParameter(name: string, text: string): readonly [name: string, value: string] {
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
 * as the server does. The parameters then travel one by one, so that what was judged is what the server gets.
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
