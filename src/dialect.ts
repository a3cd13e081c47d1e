/** An SQL family, by drizzle-kit's word for it. */
export type Dialect = 'postgresql' | 'mysql' | 'sqlite'

// Types of packages that need not be installed: on both majors of Drizzle they cost nothing until they are used.

export type PostgresJsHandle = ReturnType<typeof import('drizzle-orm/postgres-js').drizzle>
export type PgliteHandle = ReturnType<typeof import('drizzle-orm/pglite').drizzle>
export type LibsqlHandle = ReturnType<typeof import('drizzle-orm/libsql').drizzle>

/**
 * The Drizzle handle of a dialect when the driver is not known until run time. Every adapter of a dialect answers in
 * the same shapes: `execute` on PGlite gives an array of rows as postgres.js does.
 */
export interface HandleByDialect {
  postgresql: PostgresJsHandle
  sqlite: LibsqlHandle
}
