import type { TransactionOptions } from './adapter.ts'
import { aFlag, type Checks, oneOf } from './check-options.ts'
import type { Dialect } from './dialect.ts'
import { OptionError } from './errors.ts'
import { together } from './option-text.ts'

/** What each option of a transaction must be. */
export const TRANSACTION_CHECKS: Checks<TransactionOptions> = {
  isolationLevel: oneOf('read uncommitted', 'read committed', 'repeatable read', 'serializable'),
  readOnly: aFlag,
  deferrable: aFlag,
  withConsistentSnapshot: aFlag,
}

const NAMES = ['isolationLevel', 'readOnly', 'deferrable', 'withConsistentSnapshot'] as const

/** The only dialect that has the option. SQLite is always serializable, which is what any isolation level asks for or more. */
const ONLY_IN: { readonly [Name in keyof TransactionOptions]?: Dialect } = {
  deferrable: 'postgresql',
  withConsistentSnapshot: 'mysql',
}

/** The options of a transaction among others; what is left out, or undefined, is as in `under`. */
export function transactionOptionsOf(
  options: TransactionOptions,
  under: TransactionOptions = {},
): TransactionOptions {
  const given = NAMES.filter((name) => options[name] !== undefined)
  return { ...under, ...Object.fromEntries(given.map((name) => [name, options[name]])) }
}

/** @throws OptionError for what another dialect has */
export function refuseOfOthers(dialect: Dialect, options: TransactionOptions): void {
  refuse(options, (name) => {
    const only = ONLY_IN[name]
    return only === undefined || only === dialect ? null : `is for ${only}, and this is ${dialect}`
  })
}

/** @throws OptionError where statements belong to no transaction that could have them */
export function refuseAll(options: TransactionOptions): void {
  refuse(options, () => 'goes not with autocommit: give it to begin(), where a transaction is to have it')
}

function refuse(options: TransactionOptions, why: (name: keyof TransactionOptions) => string | null): void {
  const errors = NAMES.flatMap((name) => {
    const reason = options[name] ? why(name) : null
    return reason === null ? [] : [new OptionError('INVALID_OPTION', name, `The option ${name} ${reason}`)]
  })
  if (errors.length > 0) throw together(errors)
}
