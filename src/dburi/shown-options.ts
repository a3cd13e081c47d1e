/** Options of a dburi whose values may be printed. Of all others only the names are: a value may be a misplaced secret. */
export const SHOWN_OPTIONS: ReadonlySet<string> = new Set([
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
