import { is, Table } from 'drizzle-orm'
import { checkOptions } from '../check-options.ts'
import { refuseUnless } from '../option-text.ts'
import { type Casing, checkCasing } from './casing.ts'
import type { MigrationsOptions } from './migrate.ts'
import type { MysqlTarget } from './mysql/target.ts'
import type { PostgresqlTarget } from './postgresql/database.ts'
import { PREPARE_CHECKS } from './prepare-checks.ts'
import type { SqliteTarget } from './sqlite/target.ts'

/** The database to prepare: an `Engine`, or any Drizzle handle with its dialect. */
export type PrepareTarget =
  | ({ readonly dialect: 'postgresql' } & PostgresqlTarget)
  | ({ readonly dialect: 'sqlite' } & SqliteTarget)
  | ({ readonly dialect: 'mysql' } & MysqlTarget)

/**
 * - `'create'`: creates what is missing, and never touches what is there.
 * - `'upgrade'`: also adds missing columns that are nullable or have a default, and missing indexes.
 * - `'check'`: creates nothing and reports.
 * - `'migrate'`: runs a drizzle-kit migrations folder.
 * - `'none'`: does not even look.
 */
export type PrepareMode = 'create' | 'upgrade' | 'check' | 'migrate' | 'none'

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
  /** Ends the waiting between two attempts; a transaction under way is not interrupted. */
  readonly signal?: AbortSignal | undefined
}

/** @throws OptionError that tells all that is wrong with the options */
export function checkPrepareOptions(
  { dialect }: PrepareTarget,
  models: Readonly<Record<string, unknown>>,
  options: PrepareOptions,
): void {
  refuseUnless(['postgresql', 'sqlite', 'mysql'].includes(dialect), 'dialect', 'postgresql, sqlite or mysql')
  const areModels = typeof models === 'object' && models !== null && !isTable(models)
  refuseUnless(areModels, 'models', 'an object that has the tables as its properties')
  checkOptions('prepareModels', options, PREPARE_CHECKS)
  const { prepare = 'create', casing, migrations, widen = false } = options
  checkCasing(casing)
  refuseUnless(!widen || (dialect === 'mysql' && prepare === 'upgrade'), 'widen', "for MySQL, with 'upgrade'")
  const isThere = prepare !== 'migrate' || migrations !== undefined
  refuseUnless(isThere, 'migrations', "given for 'migrate': { folder: './drizzle' }")
}

/** Drizzle's `is` knows no object without a prototype, such as `import * as models`. */
function isTable(value: object): boolean {
  return Object.getPrototypeOf(value) !== null && is(value, Table)
}
