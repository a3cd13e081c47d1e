import type { LibSQLDatabase } from 'drizzle-orm/libsql'
import type { MySql2Database } from 'drizzle-orm/mysql2'
import type { PgliteDatabase } from 'drizzle-orm/pglite'
import type { PostgresJsDatabase } from 'drizzle-orm/postgres-js'

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
