import type { Dialect } from '../dburi/types.ts'
import { assertOption } from '../options/values.ts'
import { statementsOf } from './definition.ts'
import { dialect as mysql } from './mysql/database.ts'
import { type Casing, checkCasing } from './names.ts'
import { dialect as postgresql } from './postgresql/database.ts'
import { dialect as sqlite } from './sqlite/database.ts'

/** How the statements are written. */
export interface DdlOptions {
  /** The `casing` your handles are made with (Drizzle 0.45). */
  readonly casing?: Casing | undefined
  /** Which server it is for, where they differ: MariaDB has sequences, and no indexes over expressions. @default 'mysql' */
  readonly flavor?: 'mysql' | 'mariadb' | undefined
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
  return statementsOf(DIALECTS[dialect].definitions(models, options.casing, options.flavor))
}

/** Loaded at once, unlike in `prepare.ts`, since `ddl` is synchronous. */
const DIALECTS = { postgresql, mysql, sqlite }
