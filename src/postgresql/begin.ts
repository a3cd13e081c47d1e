import type { TransactionOptions } from '../adapter.ts'
import { OptionError } from '../errors.ts'

const ISOLATION_LEVELS: readonly string[] = [
  'read uncommitted',
  'read committed',
  'repeatable read',
  'serializable',
] satisfies TransactionOptions['isolationLevel'][]

/** Begins a transaction with the server's defaults. */
export const BEGIN = 'begin'

/**
 * The statement that begins a transaction.
 * @throws OptionError when the isolation level is none: it becomes part of the statement
 */
export function beginText({ isolationLevel, readOnly, deferrable }: TransactionOptions): string {
  if (isolationLevel !== undefined && !ISOLATION_LEVELS.includes(isolationLevel)) {
    throw new OptionError(
      'INVALID_OPTION',
      'isolationLevel',
      `The option isolationLevel must be one of ${ISOLATION_LEVELS.join(', ')}`,
    )
  }
  const parts = [
    BEGIN,
    isolationLevel && `isolation level ${isolationLevel}`,
    readOnly && 'read only',
    deferrable && 'deferrable',
  ]
  return parts.filter(Boolean).join(' ')
}
