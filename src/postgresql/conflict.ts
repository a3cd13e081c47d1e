import { TransactionConflictError } from '../errors.ts'

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
