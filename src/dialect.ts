import type { LibSQLDatabase } from 'drizzle-orm/libsql'
import type { MySql2Database } from 'drizzle-orm/mysql2'
import type { PgliteDatabase } from 'drizzle-orm/pglite'
import type { PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import type { Mysql2Client, PgliteClient, PostgresJsClient } from './driver-clients.ts'

/** An SQL family, by drizzle-kit's word for it. */
export type Dialect = 'postgresql' | 'mysql' | 'sqlite'

// Types of packages that need not be installed: on both majors of Drizzle they cost nothing until they are used.

export type PostgresJsHandle =
  ReturnType<typeof import('drizzle-orm/postgres-js').drizzle> extends PostgresJsDatabase<infer Known>
    ? PostgresJsDatabase<Known> & { readonly $client: PostgresJsClient }
    : never
export type PgliteHandle =
  ReturnType<typeof import('drizzle-orm/pglite').drizzle> extends PgliteDatabase<infer Known>
    ? PgliteDatabase<Known> & { readonly $client: PgliteClient }
    : never
export type Mysql2Handle =
  ReturnType<typeof import('drizzle-orm/mysql2').drizzle> extends MySql2Database<infer Known>
    ? MySql2Database<Known> & { readonly $client: Mysql2Client }
    : never
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
        ? PostgresJsDatabase<Known> & Pick<Db, '$client'>
        : Db extends PgliteHandle
          ? PgliteDatabase<Known> & Pick<Db, '$client'>
          : Db extends Mysql2Handle
            ? MySql2Database<Known> & Pick<Db, '$client'>
            : Db extends LibsqlHandle
              ? LibSQLDatabase<Known> & Pick<Db, '$client'>
              : Db
    : Db
