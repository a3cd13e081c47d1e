import { DburiError } from '../errors.ts'
import { SCHEMES } from './schemes.ts'
import type { RegisteredSchemes } from './types.ts'

/** The error for a scheme that nobody opens, with what to write instead. */
export function unsupported(scheme: string, registered: RegisteredSchemes): DburiError {
  const hint = FOREIGN.get(scheme)
  const problem =
    hint === undefined
      ? 'Cannot open the dburi: its scheme, the text before the first colon, is unknown'
      : `Cannot open a "${scheme}:" dburi. ${hint}`
  return new DburiError('UNSUPPORTED_DIALECT', 'scheme', `${problem}. ${listSchemes(registered)}`)
}

export function listSchemes(registered: RegisteredSchemes = {}): string {
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
