import type { TransactionOptions } from '../../driver/types.ts'
import { OptionError, StatementError, TransactionConflictError } from '../../errors.ts'

const ISOLATION_LEVELS: readonly string[] = [
  'read uncommitted',
  'read committed',
  'repeatable read',
  'serializable',
] satisfies TransactionOptions['isolationLevel'][]

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
    'begin',
    isolationLevel && `isolation level ${isolationLevel}`,
    readOnly && 'read only',
    deferrable && 'deferrable',
  ]
  return parts.filter(Boolean).join(' ')
}

const MODES: ReadonlyMap<string, TransactionOptions> = new Map<string, TransactionOptions>([
  ['isolation level read uncommitted', { isolationLevel: 'read uncommitted' }],
  ['isolation level read committed', { isolationLevel: 'read committed' }],
  ['isolation level repeatable read', { isolationLevel: 'repeatable read' }],
  ['isolation level serializable', { isolationLevel: 'serializable' }],
  ['read only', { readOnly: true }],
  ['read write', {}],
  ['deferrable', { deferrable: true }],
  ['not deferrable', {}],
])

/**
 * Reads what SQL has behind BEGIN, such as `isolation level serializable, read only`.
 * @throws StatementError when it says anything else
 */
export function readBeginOptions(text: string): TransactionOptions {
  const options: TransactionOptions = {}
  let rest = text.trim().toLowerCase().replace(/\s+/g, ' ')
  while (rest !== '') {
    const [mode, means] = [...MODES].find(([mode]) => rest.startsWith(mode)) ?? []
    const next = mode === undefined ? null : /^(?: ?, ?| |$)/.exec(rest.slice(mode.length))
    if (mode === undefined || next === null) throw notAnOption(text)
    Object.assign(options, means)
    rest = rest.slice(mode.length + next[0].length)
  }
  return options
}

function notAnOption(text: string): StatementError {
  return new StatementError(
    'INVALID_STATEMENT',
    `Cannot begin a transaction with ${JSON.stringify(text)}: it takes ${[...MODES.keys()].join(', ')}.`,
  )
}

/** What is looked at in an error of the server: its SQLSTATE and its message. */
type ServerError = Error & { readonly code: string }

/** Serialization failure and deadlock. Not 40003 (statement completion unknown): CockroachDB's ambiguous result. */
const CONFLICTS: ReadonlySet<string> = new Set(['40001', '40P01'])

/** CockroachDB asks for a restart in its message, with a reason such as RETRY_SERIALIZABLE, whatever the SQLSTATE. */
const RESTART = /^restart transaction\b/

/** Whether the server undid the transaction for the sake of another one. */
export function isConflict({ code, message }: ServerError): boolean {
  return CONFLICTS.has(code) || RESTART.test(message)
}

/** The error to throw for one of the server: as it came, or as the cause of a conflict. */
export function withConflict(error: ServerError): Error {
  if (!isConflict(error)) return error
  return new TransactionConflictError(
    `PostgreSQL undid the transaction because of another one: ${error.message} (${error.code}). ` +
      'Nothing of it was kept: roll back, and run all of it again.',
    { cause: error },
  )
}
