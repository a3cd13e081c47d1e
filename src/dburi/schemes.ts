import { DburiError } from '../errors.ts'
import { unreadable } from './query.ts'
import type { RegisteredSchemes, Scheme } from './types.ts'

export const POSTGRES = { dialect: 'postgresql', driver: 'postgres-js', grammar: 'server' } as const
export const PGLITE = { dialect: 'postgresql', driver: 'pglite' } as const
export const MYSQL = { dialect: 'mysql', driver: 'mysql2', grammar: 'server' } as const
export const LIBSQL = { dialect: 'sqlite', driver: 'libsql' } as const

/**
 * The schemes known without registration. A `+driver` that stands here has a meaning of its own; any other names a
 * Python driver, which changes nothing.
 */
export const SCHEMES = {
  postgresql: POSTGRES,
  postgres: POSTGRES,
  cockroachdb: POSTGRES,
  'postgresql+pglite': { ...PGLITE, grammar: 'slashes' },
  pglite: { ...PGLITE, grammar: 'opaque' },
  mysql: MYSQL,
  mariadb: { ...MYSQL, flavor: 'mariadb' },
  sqlite: { ...LIBSQL, grammar: 'slashes' },
  'sqlite+libsql': { ...LIBSQL, grammar: 'slashes', remoteScheme: 'libsql' },
  file: { ...LIBSQL, grammar: 'file' },
  libsql: { ...LIBSQL, grammar: 'remote', remoteScheme: 'libsql' },
  http: { ...LIBSQL, grammar: 'remote', remoteScheme: 'http' },
  https: { ...LIBSQL, grammar: 'remote', remoteScheme: 'https' },
  ws: { ...LIBSQL, grammar: 'remote', remoteScheme: 'ws' },
  wss: { ...LIBSQL, grammar: 'remote', remoteScheme: 'wss' },
} as const satisfies Readonly<Record<string, Scheme>>

/** A scheme as it was found in a text. */
interface Found {
  readonly scheme: Scheme
  /** What was written after its `+`. */
  readonly dbapi: string | null
  /** The text after its colon. */
  readonly rest: string
}

/** Registered schemes come before built-in ones, and a name with its `+driver` before the name alone. */
export function findScheme(text: string, registered: RegisteredSchemes): Found {
  const { name, rest } = splitScheme(text)
  const [, base = '', dbapi = null] = /^([^+]*)(?:\+(.*))?$/.exec(name) ?? []
  if (dbapi !== null && !/^\w[\w.-]*$/.test(dbapi)) {
    throw unreadable('UNPARSABLE', 'scheme', 'after the + of its scheme there must be the name of a driver')
  }

  for (const candidate of [name.toLowerCase(), base.toLowerCase()]) {
    const scheme = registeredScheme(candidate, rest, registered) ?? builtInScheme(candidate, dbapi)
    if (scheme !== undefined) return { scheme, dbapi, rest }
  }
  throw unsupported(base.toLowerCase(), registered)
}

/** The `db+` of Celery means nothing. */
function splitScheme(text: string): { name: string; rest: string } {
  const bare = text.replace(/^(db|database|sqla)\+/i, '')
  if (/^:memory:(\?|$)/.test(bare)) return { name: 'file', rest: bare }

  const name = /^([a-z][\w+.-]+):/i.exec(bare)?.[1]
  if (name === undefined) {
    throw unreadable('UNPARSABLE', 'scheme', `it does not begin with a scheme. ${hintWithoutScheme(bare)}`)
  }
  return { name, rest: bare.slice(name.length + 1) }
}

function hintWithoutScheme(text: string): string {
  if (/^([a-z]:[\\/]|[./\\~])/i.test(text)) return 'For a file, write file:path or sqlite:///path'
  if (/^\w+\s*=/.test(text)) return 'Write postgresql://user@host/database instead of the key=value form'
  return `Write postgresql://user@host/database, for example. ${listSchemes()}`
}

function registeredScheme(name: string, rest: string, registered: RegisteredSchemes): Scheme | undefined {
  const found = Object.hasOwn(registered, name) ? registered[name] : undefined
  if (found === undefined) return undefined
  const { dialect, driver } = found
  return { dialect, driver, grammar: rest.startsWith('//') ? 'server' : 'opaque' }
}

/** Only SQLAlchemy's own schemes take a `+driver`. */
function builtInScheme(name: string, dbapi: string | null): Scheme | undefined {
  const scheme = isBuiltIn(name) ? SCHEMES[name] : undefined
  const takesDriver = scheme?.grammar === 'server' || scheme?.grammar === 'slashes'
  return dbapi === null || takesDriver ? scheme : undefined
}

function isBuiltIn(name: string): name is keyof typeof SCHEMES {
  return Object.hasOwn(SCHEMES, name)
}

/** The error for a scheme that nobody opens, with what to write instead. */
function unsupported(scheme: string, registered: RegisteredSchemes): DburiError {
  const hint = FOREIGN.get(scheme)
  const problem =
    hint === undefined
      ? 'Cannot open the dburi: its scheme, the text before the first colon, is unknown'
      : `Cannot open a "${scheme}:" dburi. ${hint}`
  return new DburiError('UNSUPPORTED_DIALECT', 'scheme', `${problem}. ${listSchemes(registered)}`)
}

function listSchemes(registered: RegisteredSchemes = {}): string {
  return `Known schemes are ${[...Object.keys(SCHEMES), ...Object.keys(registered)].join(', ')}`
}

const NO_DATABASE = 'It is a backend of Celery, but no SQL database'
const NO_ADAPTER = 'There is no adapter for this database: registerAdapter() takes your own'

/** Schemes that others know. Only these are repeated in an error: an unknown one may be a misplaced password. */
const FOREIGN: ReadonlyMap<string, string> = new Map([
  ...hinted('Write postgresql:', 'postgre postgress postgressql postgesql postgressq pgsql psql pg'),
  ...hinted('Write mysql:', 'mysql2 mysqlx mysqldb pymysql'),
  ...hinted('Write mariadb:', 'maria'),
  ...hinted('Write sqlite:///path', 'sqlite3 pysqlite'),
  ...hinted('Write libsql:', 'turso'),
  ...hinted('Write postgresql://user@host/database, without "jdbc:"', 'jdbc'),
  ...hinted(NO_DATABASE, 'redis rediss sentinel amqp amqps pyamqp rpc cache memcache memcached pymemcache'),
  ...hinted(NO_DATABASE, 'mongodb couchdb couchbase couchbasev1 cassandra elasticsearch dynamodb arangodb'),
  ...hinted(NO_DATABASE, 'azureblockblob riak consul cosmosdbsql filesystem s3 gs gcs sqs kafka django-db'),
  ...hinted(NO_ADAPTER, 'mssql sqlserver oracle snowflake bigquery redshift db2 ibm_db_sa firebird sybase'),
  ...hinted(NO_ADAPTER, 'hana teradata teradatasql clickhouse duckdb trino presto hive databricks spanner'),
])

function hinted(hint: string, schemes: string): [string, string][] {
  return schemes.split(' ').map((scheme) => [scheme, hint])
}
