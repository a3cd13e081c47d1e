import {
  aFlag,
  aSignal,
  aText,
  type Check,
  type Checks,
  isObject,
  oneOf,
  optionsLike,
} from '../check-options.ts'
import { invalid } from '../option-text.ts'
import type { Casing } from './casing.ts'
import type { MigrationsOptions } from './migrate.ts'
import type { PrepareMode, PrepareOptions } from './prepare-options.ts'

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
