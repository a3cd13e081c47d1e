import type { Dialect } from '../dburi/types.ts'
import { assertOption } from '../options/values.ts'
import { statementsOf } from './definition.ts'
import { mysqlDefinitions } from './mysql/definitions.ts'
import { type Casing, checkCasing } from './names.ts'
import { postgresqlDefinitions } from './postgresql/definitions.ts'
import { sqliteDefinitions } from './sqlite/definitions.ts'

export type { Difference, PreparedModels } from './diff.ts'
export type { MigrationsOptions } from './migrate.ts'
export type { Casing } from './names.ts'
export type { PrepareMode, PrepareOptions, PrepareTarget } from './options.ts'
export { prepareModels } from './prepare.ts'

/** How the statements are written. */
export interface DdlOptions {
  /** The `casing` your handles are made with (Drizzle 0.45). */
  readonly casing?: Casing
  /** Which server it is for, where they differ: MariaDB has sequences, and no indexes over expressions. @default 'mysql' */
  readonly flavor?: 'mysql' | 'mariadb'
}

/**
 * The statements that create `models` in an empty database, in an order in which they can run, each without a semicolon:
 * what `prepareModels` would run. For those who run their own migrations, or whose program may not create tables.
 * @throws SchemaError when a model is beyond what can be created; OptionError for an option that is none here
 */
export function ddl(
  models: Readonly<Record<string, unknown>>,
  dialect: Dialect,
  options: DdlOptions = {},
): string[] {
  checkCasing(options.casing)
  assertOption([undefined, 'mysql', 'mariadb'].includes(options.flavor), 'flavor', 'mysql or mariadb')
  return statementsOf(DEFINITIONS[dialect](models, options.casing, options.flavor))
}

const DEFINITIONS = {
  postgresql: postgresqlDefinitions,
  sqlite: sqliteDefinitions,
  mysql: mysqlDefinitions,
}
