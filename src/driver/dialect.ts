import type { TablesRelationalConfig } from 'drizzle-orm'
import type { LibSQLDatabase } from 'drizzle-orm/libsql'
import type { MySql2Database } from 'drizzle-orm/mysql2'
import type { PgRemoteDatabase } from 'drizzle-orm/pg-proxy'
import type { PgliteDatabase } from 'drizzle-orm/pglite'
import type { PostgresJsDatabase } from 'drizzle-orm/postgres-js'

// Types of packages that need not be installed: on both majors of Drizzle they cost nothing until they are used. What one
// handle costs the compiler is held by scripts/check-installed/types.ts: never compare handles, nor infer through them.

type Meta = PostgresJsDatabase['_']

/** What relational queries are typed by: a schema under Drizzle 0.45, relations under 1.0. */
type Relational = 'fullSchema' extends keyof Meta ? Record<string, unknown> : TablesRelationalConfig

/** What Drizzle takes where nothing is given. */
type NoneRelational = Meta extends { readonly fullSchema: infer Schema }
  ? Schema
  : Meta extends { readonly relations: infer Relations }
    ? Relations
    : never

/** The Drizzle handle of PostgreSQL by postgres.js: one that knows `Known`, and without it any, as for a parameter. */
export type PostgresJsHandle<Known extends Relational = Relational> = PostgresJsDatabase<Known> & {
  readonly $client: PostgresJsClient
}
/** The same for pg, whose types are of no driver, so that those of postgres.js need not be there. */
export type PgHandle<Known extends Relational = Relational> = PgRemoteDatabase<Known> & {
  readonly $client: PgClient
}
/** The same for PGlite. */
export type PgliteHandle<Known extends Relational = Relational> = PgliteDatabase<Known> & {
  readonly $client: PgliteClient
}
/** The same for MySQL and MariaDB. */
export type Mysql2Handle<Known extends Relational = Relational> = MySql2Database<Known> & {
  readonly $client: Mysql2Client
}
/** The same for SQLite and libSQL. */
export type LibsqlHandle<Known extends Relational = Relational> = LibSQLDatabase<Known> & {
  readonly $client: ClientOf<typeof import('drizzle-orm/libsql').drizzle>
}

/** All of libSQL's client, by way of Drizzle, since the driver need not be installed. */
type ClientOf<Drizzle> = Drizzle extends (...args: never) => { readonly $client: infer Client }
  ? Client
  : never

/**
 * The Drizzle handle of a dialect when the driver is not known until run time. Every adapter of a dialect answers in
 * the same shapes: `execute` on PGlite gives an array of rows as postgres.js does. Only `$client` is the driver's own.
 */
export interface HandleByDialect<Known extends Relational = Relational> {
  postgresql: PostgresJsDatabase<Known> & {
    readonly $client: PostgresJsClient | PgClient | PgliteClient
  }
  mysql: Mysql2Handle<Known>
  sqlite: LibsqlHandle<Known>
}

interface Handles<Known extends Relational> extends HandleByDialect<Known> {
  'postgres-js': PostgresJsHandle<Known>
  pg: PgHandle<Known>
  pglite: PgliteHandle<Known>
  mysql2: Mysql2Handle<Known>
  libsql: LibsqlHandle<Known>
}

/** What is relational of models: themselves, or what `defineRelations` gave among them. */
type RelationalOf<Models> = Models extends Relational ? Models : Extract<Models[keyof Models], Relational>

type KnownOf<Models> =
  RelationalOf<Models> extends infer Known extends Relational
    ? [Known] extends [never]
      ? NoneRelational
      : Known
    : never

/**
 * The handle of a driver, or of a dialect, whose relational queries know `Models`. It is looked up by the name, so that
 * the compiler makes no other; that of a registered adapter is `Db`, as it is.
 */
export type HandleWith<Models, Name, Db> = Name extends keyof Handles<NoneRelational>
  ? Handles<KnownOf<Models>>[Name]
  : Db

// `$client` of a Drizzle handle: the part of a driver's client that keeps to the handle's pool, session and transaction.

type Row = Record<string, unknown>

/** What came back from PostgreSQL by postgres.js: the rows, and beside them what the server said of the statement. */
export type PostgresJsRows<Rows> = Rows & { readonly count: number; readonly command: string }

/** A statement that runs once, when it is first awaited. */
export interface PostgresJsQuery<Rows>
  extends Pick<Promise<PostgresJsRows<Rows>>, 'then' | 'catch' | 'finally'> {
  /** The rows as arrays of values. */
  values(): Promise<unknown[][]>
}

/** Runs SQL text as postgres.js does; parameters are `$1`, `$2`, … */
interface PostgresJsRunner {
  unsafe<Rows extends readonly object[] = Row[]>(sql: string, params?: unknown[]): PostgresJsQuery<Rows>
}

/** `$client` of a handle by postgres.js. */
export interface PostgresJsClient extends PostgresJsRunner {
  /** Kept when `work` resolves, undone when it rejects; inside a transaction it is a savepoint. */
  begin<Result>(work: PostgresJsWork<Result>): Promise<PostgresJsSettled<Result>>
  /** @param options such as `isolation level serializable read only deferrable` */
  begin<Result>(options: string, work: PostgresJsWork<Result>): Promise<PostgresJsSettled<Result>>
}

/** What `begin` and `savepoint` hand to their work. */
export interface PostgresJsTransactionClient extends PostgresJsRunner {
  savepoint<Result>(work: PostgresJsWork<Result>): Promise<PostgresJsSettled<Result>>
  savepoint<Result>(name: string, work: PostgresJsWork<Result>): Promise<PostgresJsSettled<Result>>
}

export type PostgresJsWork<Result> = (client: PostgresJsTransactionClient) => Result

/** What work resolves to; if it returned a list, to what each of that resolves to. */
export type PostgresJsSettled<Result> = Result extends readonly unknown[]
  ? { [Index in keyof Result]: Awaited<Result[Index]> }
  : Awaited<Result>

/** A statement for `$client` of a handle by pg. */
export interface PgQuery {
  readonly text: string
  readonly values?: unknown[]
  readonly rowMode?: 'array'
}

/** What came back from PostgreSQL by pg. */
export interface PgResult<Row> {
  /** The first word of what the server says it was; `null` for an empty statement. */
  readonly command: string | null
  /** Rows written, or given by a statement that writes none. */
  readonly rowCount: number | null
  readonly oid: number | null
  readonly rows: Row[]
  readonly fields: readonly { readonly name: string; readonly dataTypeID: number }[]
}

/** `$client` of a handle by pg. */
export interface PgClient {
  /** A text of several statements gives a list of results, as pg does. */
  query<Answer = Row>(query: string | PgQuery, values?: unknown[]): Promise<PgResult<Answer>>
}

/** What came back from PGlite: an array of rows that has them, and the rest, by PGlite's names as well. */
export type PgliteRows<Row> = Row[] & {
  readonly rows: Row[]
  readonly fields: readonly { readonly name: string; readonly dataTypeID: number }[]
  readonly affectedRows: number
}

/** `$client` of a handle by PGlite. */
export interface PgliteClient {
  query<Answer = Row>(
    sql: string,
    params?: unknown[],
    options?: { readonly rowMode?: 'array' | 'object' },
  ): Promise<PgliteRows<Answer>>
  /** Runs a text of several statements. */
  exec(sql: string): Promise<PgliteRows<Row>[]>
  /** Kept when `work` resolves, undone when it rejects; inside a transaction it is a savepoint. */
  transaction<Result>(work: (client: PgliteClient) => Result | Promise<Result>): Promise<Result>
}

/** A statement for `$client` of a handle by mysql2. */
export interface Mysql2Query {
  readonly sql: string
  readonly values?: unknown[]
  readonly rowsAsArray?: boolean
}

/** `$client` of a handle by mysql2. Parameters are sent apart from the text, and never put into it. */
export interface Mysql2Client {
  /** Resolves to the rows or the header; mysql2's column metadata is not passed on. */
  query<Answer = unknown>(
    query: string | Mysql2Query,
    params?: unknown[],
  ): Promise<[answer: Answer, fields: readonly never[] | undefined]>
  /** The same as `query`. */
  execute<Answer = unknown>(
    query: string | Mysql2Query,
    params?: unknown[],
  ): Promise<[answer: Answer, fields: readonly never[] | undefined]>
}
