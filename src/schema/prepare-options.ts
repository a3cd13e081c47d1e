import { is, Table } from 'drizzle-orm'
import { checkOptions } from '../check-options.ts'
import { refuseUnless } from '../option-text.ts'
import { checkCasing } from './casing.ts'
import { PREPARE_CHECKS, type PrepareOptions, type PrepareTarget } from './prepare-checks.ts'

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
