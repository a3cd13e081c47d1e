import type { Dialect } from '../dburi/types.ts'
import {
  aFlag,
  aSignal,
  aText,
  type Check,
  type Checks,
  isObject,
  oneOf,
  optionsLike,
} from '../options/check.ts'
import { invalid } from '../options/values.ts'
import type { MigrationsOptions } from './migrate.ts'
import type { MysqlTarget } from './mysql/lock.ts'
import type { Casing } from './names.ts'
import type { PostgresqlTarget } from './postgresql/database.ts'
import type { SqliteTarget } from './sqlite/database.ts'

/** The database to prepare: an `Engine`, or any Drizzle handle with its dialect. */
export type PrepareTarget<D extends Dialect = Dialect> = {
  [Each in D]: { readonly dialect: Each } & TargetByDialect[Each]
}[D]

export interface TargetByDialect {
  postgresql: PostgresqlTarget
  mysql: MysqlTarget
  sqlite: SqliteTarget
}

/**
 * - `'create'`: creates what is missing, and never touches what is there.
 * - `'upgrade'`: also adds missing columns that are nullable or have a default, and missing indexes.
 * - `'check'`: creates nothing and reports.
 * - `'migrate'`: runs a drizzle-kit migrations folder.
 * - `'none'`: does nothing.
 */
export type PrepareMode = 'create' | 'upgrade' | 'check' | 'migrate' | 'none'

/** How one call of `prepareModels` brings a database up to the models. */
export interface PrepareOptions {
  /** @default 'create' */
  readonly prepare?: PrepareMode | undefined
  /**
   * What becomes of a difference between a table that is there and its model, and of what `'check'` finds missing:
   * nothing but the report, a warning of the process, or a `SchemaError` with code `SCHEMA_DIFFERENCE`, before anything
   * is created; what `'migrate'` leaves is known when its migrations ran.
   * @default 'ignore'
   */
  readonly onDifference?: 'ignore' | 'warn' | 'error' | undefined
  /** The migrations of `'migrate'`. */
  readonly migrations?: MigrationsOptions | undefined
  /**
   * MySQL: `'upgrade'` also makes columns as wide as their models have them, where that changes no value: `BLOB` becomes
   * `LONGBLOB`, `DATETIME` `DATETIME(6)`, `VARCHAR(50)` `VARCHAR(155)`. The server rewrites the table meanwhile.
   * @default false
   */
  readonly widen?: boolean | undefined
  /** The `casing` your handles are made with (Drizzle 0.45). */
  readonly casing?: Casing | undefined
  /** Ends the wait between two attempts; a running transaction is not interrupted. */
  readonly signal?: AbortSignal | undefined
}

/** What a manager checks before it loads what prepares models. */
export const PREPARE_MODES: readonly string[] = [
  'create',
  'upgrade',
  'check',
  'migrate',
  'none',
] satisfies PrepareMode[]

export const DIFFERENCE_MODES: readonly string[] = ['ignore', 'warn', 'error'] satisfies NonNullable<
  PrepareOptions['onDifference']
>[]

export const CASINGS: readonly string[] = ['snake_case', 'camelCase'] satisfies Casing[]

const MIGRATIONS_CHECKS: Checks<MigrationsOptions> = { folder: aText, table: aText, baseline: aText }

const migrations: Check = (name, value) =>
  isObject(value) && Reflect.get(value, 'folder')
    ? optionsLike(MIGRATIONS_CHECKS)(name, value)
    : [invalid(name, "given for 'migrate': { folder: './drizzle' }")]

export const PREPARE_CHECKS: Checks<PrepareOptions> = {
  prepare: oneOf(...PREPARE_MODES),
  onDifference: oneOf(...DIFFERENCE_MODES),
  migrations,
  widen: aFlag,
  casing: oneOf(...CASINGS),
  signal: aSignal,
}
