import { DburiError } from '../errors.ts'
import { unreadable } from './query.ts'
import type { Dburi, RegisteredSchemes, Scheme } from './types.ts'

const POSTGRES = {
  dialect: 'postgresql',
  driver: 'postgres-js',
  grammar: 'server',
  defaultPort: 5432,
} as const
const PGLITE = { dialect: 'postgresql', driver: 'pglite', memory: 'memory://' } as const
const MYSQL = { dialect: 'mysql', driver: 'mysql2', grammar: 'server', defaultPort: 3306 } as const
const LIBSQL = { dialect: 'sqlite', driver: 'libsql', memory: 'mode' } as const
const REMOTE = { dialect: 'sqlite', driver: 'libsql', grammar: 'remote' } as const

/**
 * The schemes known without registration. A `+driver` that stands here has a meaning of its own; any other names a
 * Python driver, which changes nothing. The first row of a driver is the one by which its dburis are printed.
 */
export const SCHEMES = {
  postgresql: POSTGRES,
  postgres: POSTGRES,
  cockroachdb: { ...POSTGRES, flavor: 'cockroachdb' },
  'postgresql+pg': { ...POSTGRES, driver: 'pg' },
  'postgres+pg': { ...POSTGRES, driver: 'pg' },
  'cockroachdb+pg': { ...POSTGRES, driver: 'pg', flavor: 'cockroachdb' },
  pglite: { ...PGLITE, grammar: 'opaque' },
  'postgresql+pglite': { ...PGLITE, grammar: 'slashes' },
  mysql: MYSQL,
  mariadb: { ...MYSQL, flavor: 'mariadb' },
  sqlite: { ...LIBSQL, grammar: 'slashes' },
  'sqlite+libsql': { ...LIBSQL, grammar: 'slashes', remoteScheme: 'libsql' },
  file: { ...LIBSQL, grammar: 'file' },
  libsql: { ...REMOTE, remoteScheme: 'libsql', defaultPort: 443 },
  http: { ...REMOTE, remoteScheme: 'http', defaultPort: 80, tls: 'never' },
  https: { ...REMOTE, remoteScheme: 'https', defaultPort: 443, tls: 'always' },
  ws: { ...REMOTE, remoteScheme: 'ws', defaultPort: 80, tls: 'never' },
  wss: { ...REMOTE, remoteScheme: 'wss', defaultPort: 443, tls: 'always' },
} as const satisfies Readonly<Record<string, Scheme>>

/** The row that speaks for a parsed dburi, with its name; `undefined` for registered drivers. */
export function rowOf({ driver, remoteScheme }: Dburi): [name: string, row: Scheme] | undefined {
  if (remoteScheme !== undefined) return [remoteScheme, SCHEMES[remoteScheme]]
  return Object.entries<Scheme>(SCHEMES).find(([, row]) => row.driver === driver)
}

/** Whether the database is a path, or in memory, and not on a server. */
export function isPath(dburi: Dburi): boolean {
  const [, row] = rowOf(dburi) ?? []
  return row?.memory !== undefined
}

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
  // PGlite's own word.
  if (/^memory:\/\/(\?|$)/.test(bare)) return { name: 'pglite', rest: bare.slice('memory://'.length) }

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
  ...hinted('Write pglite:./directory: IndexedDB is there in browsers only', 'idb opfs-ahp'),
  ...hinted('Write the postgresql:// dburi of the database itself, without the proxy', 'prisma'),
  ...hinted(NO_DATABASE, 'redis rediss sentinel amqp amqps pyamqp rpc cache memcache memcached pymemcache'),
  ...hinted(NO_DATABASE, 'mongodb couchdb couchbase couchbasev1 cassandra elasticsearch dynamodb arangodb'),
  ...hinted(NO_DATABASE, 'azureblockblob riak consul cosmosdbsql filesystem s3 gs gcs sqs kafka django-db'),
  ...hinted(NO_ADAPTER, 'mssql sqlserver oracle snowflake bigquery redshift db2 ibm_db_sa firebird sybase'),
  ...hinted(NO_ADAPTER, 'hana teradata teradatasql clickhouse duckdb trino presto hive databricks spanner'),
])

function hinted(hint: string, schemes: string): [string, string][] {
  return schemes.split(' ').map((scheme) => [scheme, hint])
}
