import { type MessageContext, redactMessage } from '../../driver/redact.ts'
import {
  AccessDeniedError,
  ConnectError,
  ConnectionLostError,
  ResponseTooLargeError,
  StatementError,
  StorageError,
  type StorageErrorCode,
  textOf,
} from '../../errors.ts'

/** Others hold the database: the statement was not done, and what it ran on must be opened anew before its next use. */
export function isContention(error: unknown): boolean {
  return LOCKED.test(textOf(error, 'code') ?? '')
}

/** Also by its extended codes, as servers may say it: SQLITE_BUSY_SNAPSHOT. */
const LOCKED = /^SQLITE_(?:BUSY|LOCKED|PROTOCOL)(?:_|$)/

/** The transaction ended without us: the database rolled it back because of an error, or the server forgot it. */
export function isTransactionClosed(error: unknown): boolean {
  return textOf(error, 'code') === 'TRANSACTION_CLOSED'
}

/** The database, or the transaction, takes no writes. */
export function isReadOnly(error: unknown): boolean {
  return textOf(error, 'code') === 'SQLITE_READONLY'
}

/** What SQLite says of a text it cannot run, among them the plans a schema change made stale. */
export function isSqlError(error: unknown): boolean {
  return textOf(error, 'code') === 'SQLITE_ERROR'
}

const LOST = /^(?:HRANA_|STREAM_|AUTH_|TRANSACTION_TIMEOUT$|UNKNOWN$|INTERNAL_ERROR$|CLIENT_CLOSED$)/

/**
 * A remote server that could not be asked, or whose answer did not come or made no sense: the outcome is unknown. Or it takes
 * our token no longer: the next connection asks for a new one.
 */
export function isLoss(error: unknown): boolean {
  if (error instanceof ConnectionLostError || error instanceof ResponseTooLargeError) return true
  const code = textOf(error, 'code')
  if (code === 'SERVER_ERROR') return statusOf(error) >= 500 || statusOf(error) === 401
  if (code !== undefined) return LOST.test(code)
  // Where its JSON, or a number in it, could not be read, the client hands on what the parser threw.
  return !isParameterError(error)
}

/** The server does not know our token. */
export function isUnauthorized(error: unknown): boolean {
  return statusOf(error) === 401 || (textOf(error, 'code') ?? '').startsWith('AUTH_')
}

/** A server has ended the transaction by itself, and says so before it does anything else. */
export function isExpired(error: unknown): boolean {
  const code = textOf(error, 'code') ?? ''
  // A replica passes on what its primary said as text.
  const isProxied = code === 'PROXY_ERROR' && /Transaction timed-out/.test(textOf(error, 'message') ?? '')
  return code === 'TRANSACTION_TIMEOUT' || code === 'STREAM_EXPIRED' || isProxied
}

/** Where the primary of an embedded replica is. */
export interface Primary {
  readonly host: string
  readonly port: number
}

/**
 * What an embedded replica could not do since its primary is away or refused it, as a typed error; else `null`.
 * @param isOpening no statement was sent yet
 */
export function primaryError(error: unknown, primary: Primary, isOpening = false): Error | null {
  const message = textOf(error, 'message') ?? ''
  // A replica fetches what its write has changed: the write itself is done by then.
  const isFetching = !isOpening && /^(?:Sync|Replication)\(/.test(message)
  const status = /^WriteDelegation\(status: (\w+)/.exec(message)?.[1]
  if (!isFetching && (message.startsWith('sync error') || /error trying to connect/.test(message))) {
    const { host, port } = primary
    const isRefused = /^sync error: Unauthorized/.test(message)
    const what = isRefused ? 'refuses the authToken' : 'cannot be reached; what is here can be read'
    return new ConnectError(
      isRefused ? 'AUTH_REFUSED' : 'CONNECT_FAILED',
      primary,
      `The primary of the replica at ${host}:${port} ${what}.`,
      { cause: error },
    )
  }
  if (status === undefined && !isFetching) return null
  if (status !== undefined && /^(?:PermissionDenied|Unauthenticated)$/.test(status))
    return new AccessDeniedError({ cause: error })
  return new ConnectionLostError(
    "The replica's primary did not answer to a write, or to who asked for its effects. It may or may not have taken effect.",
    { cause: error },
  )
}

function statusOf(error: unknown): number {
  const cause: unknown = error instanceof Error ? error.cause : undefined
  const status: unknown =
    typeof cause === 'object' && cause !== null ? Reflect.get(cause, 'status') : undefined
  return typeof status === 'number' ? status : 0
}

const STORAGE: Readonly<Record<string, readonly [StorageErrorCode, string]>> = {
  SQLITE_FULL: ['STORAGE_FULL', 'the disk is full'],
  SQLITE_READONLY: ['STORAGE_READ_ONLY', 'it is read-only'],
  SQLITE_CORRUPT: ['STORAGE_CORRUPT', 'it is damaged'],
  SQLITE_NOTADB: ['STORAGE_CORRUPT', 'it is no SQLite database, or encrypted with another key'],
  SQLITE_CANTOPEN: ['STORAGE_FAILED', 'it cannot be opened'],
  SQLITE_IOERR: ['STORAGE_FAILED', 'the disk fails'],
}

/** A driver's error as we throw it: what the file has done to us by its path, wrong parameters by our own type. */
export function translateError(error: unknown, file: string | null): unknown {
  const code = textOf(error, 'code')
  if (statusOf(error) === 403) return new AccessDeniedError({ cause: error })
  const storage = code === undefined ? undefined : STORAGE[code]
  if (storage !== undefined && file !== null) {
    const [kind, reason] = storage
    return new StorageError(kind, file, `Cannot use the database file ${file}: ${reason}`, { cause: error })
  }
  if (code === undefined && isParameterError(error)) {
    return new StatementError('INVALID_PARAMETER', `Cannot bind a parameter: ${error.message}`, {
      cause: error,
    })
  }
  return error
}

function isParameterError(error: unknown): error is Error {
  return (
    error instanceof Error &&
    /passed as argument|can only bind|^Unsupported type of value/.test(error.message)
  )
}

/** A statement that failed, and the values of its parameters, given by position or by name. */
export interface Sent {
  readonly sql: string
  readonly values: readonly unknown[]
  readonly writes: boolean
}

/** Whether a token says of itself that it may only read, as those of sqld and Turso do: a JWT with `a: 'ro'`, unless `p` says more. */
export function onlyReads(authToken: string | null): boolean {
  const claims = authToken?.split('.')[1] ?? ''
  try {
    const { a, p } = JSON.parse(Buffer.from(claims, 'base64url').toString())
    return a === 'ro' && p === undefined
  } catch {
    // No JWT: what it may do is the server's secret.
    return false
  }
}

/** Takes the values of parameters out of the messages of an error and its causes, in place. */
export function scrub(error: unknown, { sql, values }: Sent): void {
  if (values.length === 0) return
  for (let link = error; link instanceof Error; link = link.cause) {
    const { message } = link
    const clean = redactMessage(message, { sql, params: values, ...aboutOf(link) })
    if (clean === message) continue
    link.message = clean
    if (link.stack !== undefined) link.stack = link.stack.replaceAll(message, () => clean)
  }
}

/** SQLite names what a constraint is on; only RAISE in a trigger makes a message of values. */
function aboutOf(error: Error): Pick<MessageContext, 'about' | 'names'> {
  const code = textOf(error, 'extendedCode') ?? textOf(error, 'code') ?? ''
  if (code === 'SQLITE_CONSTRAINT_TRIGGER') return { about: 'raised' }
  const location = /\bconstraint failed: (?:index ')?(.+?)'?$/.exec(error.message)?.[1] ?? ''
  // The client puts the code before SQLite's own words.
  return { about: 'names', names: [...location.split(', '), location, `${textOf(error, 'code')}:`] }
}

/**
 * Until an error's stack is asked for, V8 keeps what its frames worked on: here a statement, which keeps the file open
 * for as long as somebody has the error.
 */
export function releaseFrames(error: unknown): void {
  for (let link = error; link instanceof Error; link = link.cause) void link.stack
}
