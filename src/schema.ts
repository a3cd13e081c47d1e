import type { Dialect } from './dialect.ts'
import { DrizzleCeleryError } from './errors.ts'
import type { Casing } from './schema/casing.ts'
import { type Definition, statementsOf } from './schema/definition.ts'
import { postgresqlDefinitions } from './schema/postgresql/definitions.ts'
import { sqliteDefinitions } from './schema/sqlite/definitions.ts'

export type { Casing } from './schema/casing.ts'
export type { MigrationsOptions } from './schema/migrate.ts'
export { prepareModels } from './schema/prepare-models.ts'
export type { PrepareMode, PrepareOptions, PrepareTarget } from './schema/prepare-options.ts'
export type { Difference, PreparedModels } from './schema/report.ts'

/** How the statements are written. */
export interface DdlOptions {
  /** The `casing` your handles are made with (Drizzle 0.45). */
  readonly casing?: Casing
}

/**
 * The statements that create `models` in an empty database, in an order in which they can run, each without a semicolon:
 * what `prepareModels` would run. For those who run their own migrations, or whose program may not create tables.
 * @throws SchemaError when a model is beyond what can be created
 */
export function ddl(
  models: Readonly<Record<string, unknown>>,
  dialect: Dialect,
  { casing }: DdlOptions = {},
): string[] {
  return statementsOf(definitionsOf(models, dialect, casing))
}

function definitionsOf(
  models: Readonly<Record<string, unknown>>,
  dialect: Dialect,
  casing: Casing | undefined,
): Definition[] {
  switch (dialect) {
    case 'postgresql':
      return postgresqlDefinitions(models, casing)
    case 'sqlite':
      return sqliteDefinitions(models, casing)
    case 'mysql':
      throw new DrizzleCeleryError(
        'UNSUPPORTED_DIALECT',
        'Cannot write DDL for MySQL yet: there is no adapter for it.',
      )
  }
}
