import type { TransactionOptions } from '../../adapter.ts'
import { toWord } from '../../option-text.ts'

const ISOLATION_LEVELS = ['read uncommitted', 'read committed', 'repeatable read', 'serializable'] as const

/**
 * The statements that begin a transaction, in order.
 * @throws OptionError when the isolation level is none: it becomes part of a statement
 */
export function beginTexts({
  isolationLevel,
  readOnly,
  withConsistentSnapshot,
}: TransactionOptions): string[] {
  const modes = [withConsistentSnapshot && 'with consistent snapshot', readOnly && 'read only'].filter(
    Boolean,
  )
  const start = modes.length === 0 ? 'start transaction' : `start transaction ${modes.join(', ')}`
  if (isolationLevel === undefined) return [start]
  const level = toWord('isolationLevel', isolationLevel, ISOLATION_LEVELS)
  return [`set transaction isolation level ${level}`, start]
}
