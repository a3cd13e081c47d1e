/** An SQL family, by drizzle-kit's word for it. */
export type Dialect = 'postgresql' | 'mysql' | 'sqlite'

// Types of packages that need not be installed: on both majors of Drizzle they cost nothing until they are used.

export type PostgresJsHandle = ReturnType<typeof import('drizzle-orm/postgres-js').drizzle>
export type PgliteHandle = ReturnType<typeof import('drizzle-orm/pglite').drizzle>
export type Mysql2Handle = ReturnType<typeof import('drizzle-orm/mysql2').drizzle>
export type LibsqlHandle = ReturnType<typeof import('drizzle-orm/libsql').drizzle>

/**
 * The Drizzle handle of a dialect when the driver is not known until run time. Every adapter of a dialect answers in
 * the same shapes: `execute` on PGlite gives an array of rows as postgres.js does.
 */
export interface HandleByDialect {
  postgresql: PostgresJsHandle
  mysql: Mysql2Handle
  sqlite: LibsqlHandle
}

/** What relational queries are typed by: the schema under Drizzle 0.45, the relations under 1.0. */
type Relational = PostgresJsHandle extends { readonly _: { readonly fullSchema: infer Schema } }
  ? Schema
  : PostgresJsHandle extends { readonly _: { readonly relations: infer Relations } }
    ? Relations
    : never

/** The models themselves, or what `defineRelations` gave among them. */
type RelationalOf<Models> = Models extends Relational ? Models : Extract<Models[keyof Models], Relational>

/** A handle whose relational queries (`db.query`) know `Models`. A handle of a registered adapter stays as it is. */
export type WithModels<Db, Models> =
  RelationalOf<Models> extends infer Known extends Relational
    ? [Known] extends [never]
      ? Db
      : Db extends PostgresJsHandle
        ? import('drizzle-orm/postgres-js').PostgresJsDatabase<Known> & Pick<Db, '$client'>
        : Db extends PgliteHandle
          ? import('drizzle-orm/pglite').PgliteDatabase<Known> & Pick<Db, '$client'>
          : Db extends Mysql2Handle
            ? import('drizzle-orm/mysql2').MySql2Database<Known> & Pick<Db, '$client'>
            : Db extends LibsqlHandle
              ? import('drizzle-orm/libsql').LibSQLDatabase<Known> & Pick<Db, '$client'>
              : Db
    : Db
