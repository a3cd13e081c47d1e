import { createMysql, createPostgres, type TestDatabase } from '../../test/fixtures/servers.ts'

export interface Driver {
  /** Its npm package. */
  readonly name: string
  /** The name of its adapter. */
  readonly adapter: string
  /** Drizzle's name for the type of its handles. */
  readonly drizzle: string
  readonly dialect: string
  readonly dburi: string
  /** What Drizzle's factory of such handles is given. @default the dburi */
  readonly argument?: string
  /** What makes a database, on the server that a variable names. Without it, `dburi` opens a new one by itself. */
  readonly server?: { readonly variable: string; create(): Promise<TestDatabase> }
}

export const drivers: readonly Driver[] = [
  {
    name: 'postgres',
    adapter: 'postgres-js',
    drizzle: 'postgres-js',
    dialect: 'postgresql',
    dburi: 'postgresql://user@host/results',
    server: { variable: 'POSTGRES_URL', create: createPostgres },
  },
  {
    name: 'pg',
    adapter: 'pg',
    drizzle: 'pg-proxy',
    dialect: 'postgresql',
    dburi: 'postgresql+pg://user@host/results',
    argument: 'async () => ({ rows: [] })',
    server: { variable: 'POSTGRES_URL', create: () => createPostgres({ scheme: 'postgresql+pg' }) },
  },
  {
    name: 'mysql2',
    adapter: 'mysql2',
    drizzle: 'mysql2',
    dialect: 'mysql',
    dburi: 'mysql://user@host/results',
    server: { variable: 'MYSQL_URL', create: createMysql },
  },
  {
    name: '@libsql/client',
    adapter: 'libsql',
    drizzle: 'libsql',
    dialect: 'sqlite',
    dburi: 'file:results.db',
  },
  {
    name: '@electric-sql/pglite',
    adapter: 'pglite',
    drizzle: 'pglite',
    dialect: 'postgresql',
    dburi: 'pglite:./results',
  },
]
