import { type MessageContext, redactMessage } from '../../driver/redact.ts'

/** What is looked at in an error of the server. */
export interface ErrorFacts {
  readonly message: string
  /** SQLSTATE. */
  readonly code: string
  /** The function of the server that threw it. */
  readonly routine?: string | undefined
}

/** What the statement was that failed. */
export interface FailedStatement {
  readonly sql: string
  /** Its parameters as they were sent. */
  readonly params: readonly unknown[]
}

/**
 * The server's message without what may repeat a parameter.
 * @param names that the server gave beside it: of the table, the column, the constraint
 */
export function redactedMessage(
  error: ErrorFacts,
  { sql, params }: FailedStatement,
  names: readonly string[],
): string {
  const { message, code } = error
  const about = aboutOf(error)
  // Integrity errors quote names only: values stand in their detail.
  const isViolation = about === 'names' && code.startsWith('23') && names.length > 0
  return redactMessage(message, { sql, params, about, names: isViolation ? namesIn(message) : names })
}

function aboutOf({ code, routine }: ErrorFacts): MessageContext['about'] {
  if (routine === RAISE || !SERVERS.test(code)) return 'raised'
  return ABOUT_NAMES.test(code) ? 'names' : 'values'
}

/** What throws for RAISE in PL/pgSQL, also with the SQLSTATE of one of the server's errors. */
const RAISE = 'exec_stmt_raise'

/** The classes of the server's own errors. P0001 is RAISE's own, class 38 that of other languages. */
const SERVERS = /^(?!38|P0001)(?:[0-5]|F0|HV|P0|XX)/

/** Integrity, transaction state, unknown or wrong names, and the state of objects. */
const ABOUT_NAMES = /^(?:23|25|3B|3D|3F|42|55)/

function namesIn(message: string): string[] {
  return Array.from(message.matchAll(/"([^"]*)"/g), ([, name = '']) => name)
}
