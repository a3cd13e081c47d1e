import { toPlain, toWord } from '../../options/values.ts'

/** What the driver understands of libpq, asyncpg, JDBC, node-postgres, postgres.js and Prisma. */
export const DRIVER_OPTIONS = [
  'channel_binding',
  'client_encoding',
  'connect_timeout',
  'gssencmode',
  'keepalives',
  'keepalives_idle',
  'load_balance_hosts',
  'min_protocol_version',
  'pgbouncer',
  'prepare',
  'prepare_threshold',
  'prepared_statement_cache_size',
  'scramMaxIterations',
  'ssl',
  'ssl_max_protocol_version',
  'ssl_min_protocol_version',
  'sslaccept',
  'sslcert',
  'sslcertmode',
  'sslcrl',
  'sslkey',
  'sslmode',
  'sslnegotiation',
  'sslpassword',
  'sslrootcert',
  'sslsni',
  'statement_cache_size',
  'target_session_attrs',
] as const

export type DriverOption = (typeof DRIVER_OPTIONS)[number]

interface Given {
  readonly name: DriverOption
  readonly text: string
}

/**
 * An option of the driver in whatever spelling, and what its value means; `null` if it is none.
 * @throws OptionError for the value of one that has words of its own
 */
export function driverOption(name: string, text: string): Given | null {
  const underscored = name.replaceAll('-', '_')
  const synonym = Object.hasOwn(SYNONYMS, underscored) ? SYNONYMS[underscored] : undefined
  if (synonym !== undefined) return synonym(name, text)
  const plain = toPlain(name)
  const known = DRIVER_OPTIONS.find((option) => option === name || toPlain(option) === plain)
  return known === undefined ? null : { name: known, text }
}

const same =
  (name: DriverOption) =>
  (_: string, text: string): Given => ({ name, text })

/** By others' words for its values. */
const translated =
  (name: DriverOption, words: Readonly<Record<string, string>>) =>
  (spelling: string, text: string): Given => ({
    name,
    text: words[toWord(spelling, text, Object.keys(words))] ?? text,
  })

/** What others call an option of ours: Rails, JDBC, sqlx and pgx. */
const SYNONYMS: Readonly<Record<string, (name: string, text: string) => Given>> = {
  encoding: same('client_encoding'),
  charset: same('client_encoding'),
  characterEncoding: same('client_encoding'),
  prepared_statements: same('prepare'),
  statement_cache_capacity: same('prepared_statement_cache_size'),
  loginTimeout: same('connect_timeout'),
  tcpKeepAlive: same('keepalives'),
  ssl_ca: same('sslrootcert'),
  loadBalanceHosts: translated('load_balance_hosts', { true: 'random', false: 'disable' }),
  targetServerType: translated('target_session_attrs', {
    any: 'any',
    primary: 'primary',
    master: 'primary',
    secondary: 'standby',
    slave: 'standby',
    preferSecondary: 'prefer-standby',
    preferSlave: 'prefer-standby',
  }),
}

/** What JDBC and Rails call a parameter of the server. */
export const STARTUP_SYNONYMS: Readonly<Record<string, string>> = {
  ApplicationName: 'application_name',
  currentSchema: 'search_path',
  min_messages: 'client_min_messages',
}

/** Options that ask for what is so anyway, where their value is one of these. */
export const MEANT_ANYWAY: ReadonlyMap<string, RegExp> = new Map([
  // Heroku's JDBC strings: TLS whose certificate is not looked at, as sslmode=require has it.
  ['sslfactory', /^org\.postgresql\.ssl\.NonValidatingFactory$/],
  // Parameters are sent without a type where the statement says it.
  ['stringtype', /^unspecified$/],
  ['reWriteBatchedInserts', /./],
  ['binary_parameters', /./],
  ['disable_prepared_binary_result', /./],
  ['binaryTransfer', /./],
  ['defaultRowFetchSize', /./],
  ['description_cache_capacity', /./],
  ['statement_limit', /./],
  // What Vercel adds to Supabase's.
  ['supa', /./],
  ['workaround', /./],
  // YugabyteDB's smart drivers.
  ['yb_servers_refresh_interval', /./],
  ['fallback_to_topology_keys_only', /./],
  ['failed_host_reconnect_delay_secs', /./],
])
