import { createMysql, createPostgres, type TestDatabase } from '../../test/fixtures/servers.ts'

export interface Driver {
  /** Its npm package. */
  readonly name: string
  /** Drizzle's name for it. */
  readonly drizzle: string
  readonly dialect: string
  readonly dburi: string
  /** What makes a database, on the server that a variable names. Without it, `dburi` opens a new one by itself. */
  readonly server?: { readonly variable: string; create(): Promise<TestDatabase> }
}

export const drivers: readonly Driver[] = [
  {
    name: 'postgres',
    drizzle: 'postgres-js',
    dialect: 'postgresql',
    dburi: 'postgresql://user@host/results',
    server: { variable: 'POSTGRES_URL', create: createPostgres },
  },
  {
    name: 'mysql2',
    drizzle: 'mysql2',
    dialect: 'mysql',
    dburi: 'mysql://user@host/results',
    server: { variable: 'MYSQL_URL', create: createMysql },
  },
  { name: '@libsql/client', drizzle: 'libsql', dialect: 'sqlite', dburi: 'file:results.db' },
  { name: '@electric-sql/pglite', drizzle: 'pglite', dialect: 'postgresql', dburi: 'pglite:./results' },
]
