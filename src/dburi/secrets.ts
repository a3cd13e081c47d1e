import type { Dburi, Options } from './types.ts'

const MASK = '***'
const SECRET_NAME = /pass|pwd|token|secret|key|credential/i
/**
 * Secrets inside a value: `{"passphrase":"…"}`, `-c app.token=…`, `https://user:password@host`. A name is looked for
 * backwards from the sign behind it: forwards, a long value would be read to its end from each word that might be one.
 */
const SECRET_VALUE = /[=:](?<=(pass|pwd|token|secret|key|credential)[\w.-]*["']?\s*.)|:\/\/[^/]*@/i

/**
 * Keeps passwords out of logs and of copies. Secrets stay properties, but none that is enumerated, so that spreading,
 * `Object.assign` and `structuredClone` leave them out; printing shows what `withoutSecrets` leaves.
 */
export function hideSecrets(dburi: Dburi): Dburi {
  const options: Options = Object.defineProperties(
    {},
    Object.fromEntries(
      optionsOf(dburi).map(([name, value]) => [name, { value, enumerable: !isSecret(name, value) }]),
    ),
  )
  const shown = { value: () => withoutSecrets(hidden) }
  const hidden: Dburi = Object.defineProperties(
    { ...dburi, options },
    {
      password: { value: dburi.password, enumerable: dburi.password === null },
      toJSON: shown,
      [Symbol.for('nodejs.util.inspect.custom')]: shown,
    },
  )
  return hidden
}

/** All options of a dburi, the secret ones too. */
export function optionsOf({
  options,
}: Pick<Dburi, 'options'>): [name: string, value: string | readonly string[]][] {
  return Object.getOwnPropertyNames(options).flatMap((name) => {
    const value = options[name]
    return value === undefined ? [] : [[name, value]]
  })
}

/** The same dburi with other options. */
export function withOptions(dburi: Dburi, options: Options): Dburi {
  return hideSecrets({ ...dburi, password: dburi.password, options })
}

/** A copy with `***` for the password, for every option that looks like a secret, and for every one that nobody knows. */
export function withoutSecrets(dburi: Dburi): Dburi {
  const options = optionsOf(dburi).map(([name, value]) => [
    name,
    SHOWN_OPTIONS.has(name) && !isSecret(name, value) ? value : MASK,
  ])
  return {
    ...dburi,
    password: dburi.password === null ? null : MASK,
    options: Object.fromEntries(options),
  }
}

function isSecret(name: string, value: string | readonly string[]): boolean {
  return SECRET_NAME.test(name) || [value].flat().some((text) => SECRET_VALUE.test(text))
}

/** Options of a dburi whose values may be printed. Of all others only the names are: a value may be a misplaced secret. */
const SHOWN_OPTIONS: ReadonlySet<string> = new Set([
  // Pools
  ...['pool_size', 'max_overflow', 'pool_timeout', 'pool_recycle', 'pool_pre_ping'],
  ...['poolSize', 'maxOverflow', 'poolTimeout', 'poolRecycle', 'poolPrePing'],
  ...['max', 'connectionLimit', 'connection_limit', 'max_lifetime', 'idle_timeout', 'idleTimeout'],
  // Answers
  ...['max_response_bytes', 'maxResponseBytes'],
  // Where the database is
  ...[
    'host',
    'port',
    'user',
    'dbname',
    'db',
    'database',
    'unix_socket',
    'socketPath',
    'schema',
    'search_path',
  ],
  // TLS
  ...[
    'ssl',
    'sslmode',
    'sslrootcert',
    'sslcert',
    'sslcrl',
    'sslsni',
    'sslnegotiation',
    'sslaccept',
    'tls',
    'secure',
  ],
  ...['ssl_ca', 'ssl_cert', 'ssl_mode', 'ssl_disabled', 'ssl_check_hostname', 'ssl_verify_cert'],
  ...['ssl_verify_identity', 'ssl_min_protocol_version', 'ssl_max_protocol_version', 'channel_binding'],
  // PostgreSQL
  ...['application_name', 'fallback_application_name', 'client_encoding', 'connect_timeout', 'options'],
  ...['target_session_attrs', 'load_balance', 'load_balance_hosts', 'topology_keys', 'keepalives'],
  ...['keepalives_idle', 'keepalives_interval', 'keepalives_count', 'pgbouncer', 'prepare'],
  ...['prepare_threshold', 'statement_cache_size', 'prepared_statement_cache_size', 'statement_timeout'],
  ...['lock_timeout', 'idle_in_transaction_session_timeout', 'TimeZone', 'DateStyle'],
  // MySQL
  ...['charset', 'connectTimeout', 'enableKeepAlive', 'timezone', 'timeZone', 'time_zone'],
  // SQLite and PGlite
  ...['timeout', 'mode', 'uri', 'cache', 'journal_mode', 'syncUrl', 'sync_url', 'syncInterval'],
  ...['sync_interval', 'readYourWrites', 'read_your_writes', 'offline', 'check_same_thread'],
  ...['relaxedDurability', 'relaxed_durability', 'request_timeout', 'requestTimeout'],
])
