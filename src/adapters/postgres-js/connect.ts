import type { Socket } from 'node:net'
import { deadlineIn } from '../../driver/deadline.ts'
import { addressOf, inOneLine } from '../../driver/socket.ts'
import { AbortedError, ConnectError, type ServerTarget } from '../../errors.ts'
import { type Client, PostgresConnection } from './connection.ts'
import { isBusy, isServerError, type ServerError, scrub } from './errors.ts'
import { orderEndpoints, type PostgresPlan, type TargetSessionAttrs } from './options.ts'
import { ServerMessages } from './server-messages.ts'
import { cancelRequest, connectSocket } from './socket.ts'
import { type Encryption, encryptionAttempts, type LoadedTls } from './tls.ts'

/** What connections are made from. */
export interface ConnectParts {
  readonly plan: PostgresPlan
  readonly tls: LoadedTls | null
  readonly statementCacheSize: number
  readonly maxResponseBytes: number
  readonly exposeParameters: boolean
  password(): Promise<string | null>
  /** A postgres.js client on the one socket that `socket` gives it. */
  client(options: { socket: () => Socket; password: string | null }): Client
}

/**
 * Opens a connection to the first endpoint that can be reached and is what `target_session_attrs` asks for, and waits
 * until the server lets it in.
 * @throws ConnectError of the last endpoint, with those of all in its cause when there are several; AbortedError
 */
export async function connect(parts: ConnectParts, signal?: AbortSignal): Promise<PostgresConnection> {
  const { plan } = parts
  const failures: unknown[] = []
  for (const wanted of passesFor(plan.targetSessionAttrs)) {
    for (const endpoint of orderEndpoints(plan)) {
      for (const encryption of encryptionAttempts(endpoint, plan.tls)) {
        try {
          return await connectTo(parts, endpoint, encryption, wanted, signal)
        } catch (error) {
          if (error instanceof AbortedError || isFinal(error)) throw error
          failures.push(error)
          // Only a server that answers can have something against the encryption.
          if (!isServersNo(error)) break
        }
      }
    }
  }
  throw failures.length === 1 ? failures[0] : nobody(failures)
}

/** `prefer-standby` goes round a second time, taking any server. */
function passesFor(attrs: TargetSessionAttrs): readonly TargetSessionAttrs[] {
  return attrs === 'prefer-standby' ? ['standby', 'any'] : [attrs]
}

async function connectTo(
  parts: ConnectParts,
  endpoint: ServerTarget,
  encryption: Encryption,
  wanted: TargetSessionAttrs,
  signal: AbortSignal | undefined,
): Promise<PostgresConnection> {
  const { plan, tls } = parts
  const { connectTimeout, keepAlive } = plan
  const startedAt = performance.now()
  const open = (stop?: AbortSignal) =>
    connectSocket(endpoint, { encryption, tls, connectTimeout, keepAlive, signal: stop })

  const password = await passwordFor(endpoint, parts, signal)
  const socket = await open(signal)
  const { scramMaxIterations } = plan
  const { maxResponseBytes } = parts
  const messages = new ServerMessages({ endpoint, maxResponseBytes, scramMaxIterations }, (error) =>
    connection.discard(error),
  )
  const connection = new PostgresConnection({
    socket,
    client: parts.client({ socket: once(messages.stand(socket)), password }),
    messages,
    prepare: plan.prepare,
    statementCacheSize: parts.statementCacheSize,
    exposeParameters: parts.exposeParameters,
    cancel: (pid, secret) => cancelRequest(open, { pid, secret }),
  })
  const timer = setTimeout(
    () => connection.discard(tooSlow(endpoint, connectTimeout)),
    Math.max(1, connectTimeout - (performance.now() - startedAt)),
  )
  const onAbort = () => connection.discard(new Error('The signal was aborted', { cause: signal?.reason }))
  signal?.addEventListener('abort', onAbort)
  try {
    await connection.ping()
    await check(connection, endpoint, wanted)
    messages.opened()
    return connection
  } catch (error) {
    connection.discard(error instanceof Error ? error : new Error(String(error)))
    if (signal?.aborted) throw new AbortedError('Stopped connecting to PostgreSQL', { cause: signal.reason })
    throw refused(endpoint, error)
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
}

async function passwordFor(
  endpoint: ServerTarget,
  parts: ConnectParts,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  const { connectTimeout } = parts.plan
  const deadline = deadlineIn(connectTimeout, signal)
  try {
    return await Promise.race([parts.password(), deadline.stopped])
  } catch (cause) {
    const why = cause instanceof Error ? `: ${inOneLine(cause.message)}` : ''
    const message = `Cannot connect to PostgreSQL: the password for ${addressOf(endpoint)} could not be had${why}`
    throw new ConnectError('CONNECT_FAILED', endpoint, message, { cause })
  } finally {
    deadline.over()
  }
}

/** A second call is postgres.js trying to replace a lost connection behind our back. */
function once(socket: Socket): () => Socket {
  let isTaken = false
  return () => {
    if (isTaken) throw new Error('The connection is lost')
    isTaken = true
    return socket
  }
}

const RECOVERY = 'select pg_catalog.pg_is_in_recovery() as standby'
const READ_ONLY = 'show transaction_read_only'

/** What a server must answer, and to which question, for each `target_session_attrs` (libpq's meanings). */
const WANTED: Readonly<Record<TargetSessionAttrs, readonly [question: string, answer: boolean] | null>> = {
  any: null,
  primary: [RECOVERY, false],
  standby: [RECOVERY, true],
  'prefer-standby': null,
  'read-write': [READ_ONLY, false],
  'read-only': [READ_ONLY, true],
}

async function check(
  connection: PostgresConnection,
  endpoint: ServerTarget,
  wanted: TargetSessionAttrs,
): Promise<void> {
  const rule = WANTED[wanted]
  if (rule === null) return
  const [question, answer] = rule
  const rows = await connection.run({ sql: question, params: [], asArrays: true })
  const said: unknown = Array.isArray(rows) ? rows[0]?.[0] : undefined
  if ((said === true || said === 'on') === answer) return
  throw new ConnectError(
    'NO_SUITABLE_HOST',
    endpoint,
    `Cannot use PostgreSQL at ${addressOf(endpoint)}: it is not what target_session_attrs=${wanted} asks for`,
  )
}

/** Rejected by the server, not by the network. */
function isServersNo(error: unknown): error is ConnectError & { cause: ServerError } {
  return error instanceof ConnectError && isServerError(error.cause)
}

/** The password or the database is wrong, and other endpoints will say the same. */
function isFinal(error: unknown): boolean {
  return isServersNo(error) && (error.cause.code === '28P01' || error.cause.code === '3D000')
}

function refused(endpoint: ServerTarget, error: unknown): Error {
  if (error instanceof ConnectError) return error
  const reason = deepestCause(error)
  if (reason instanceof ConnectError) return reason
  const isServers = isServerError(reason)
  const why = isServers
    ? `refuses the connection: ${inOneLine(reason.message)} (SQLSTATE ${reason.code})`
    : `broke the connection off before it let us in${reason instanceof Error ? `: ${reason.message}` : ''}`
  return new ConnectError(
    'CONNECT_FAILED',
    endpoint,
    `Cannot connect to PostgreSQL: ${addressOf(endpoint)} ${why}`,
    { cause: isServers ? scrub(reason, '', []) : reason, isServerBusy: isServers && isBusy(reason) },
  )
}

function deepestCause(error: unknown): unknown {
  let cause = error
  while (!isServerError(cause) && !(cause instanceof ConnectError) && cause instanceof Error && cause.cause) {
    cause = cause.cause
  }
  return cause
}

function tooSlow(endpoint: ServerTarget, connectTimeout: number): ConnectError {
  return new ConnectError(
    'CONNECT_TIMEOUT',
    endpoint,
    `Cannot connect to PostgreSQL: ${addressOf(endpoint)} did not let us in within ${connectTimeout} ms`,
  )
}

function nobody(failures: unknown[]): Error {
  const last = failures.findLast((failure) => failure instanceof ConnectError)
  if (last === undefined) return new AggregateError(failures, 'Cannot connect to PostgreSQL')
  const target =
    last.socket !== null ? { path: last.socket } : { host: last.host ?? '', port: last.port ?? 0 }
  const reasons = failures.map((failure) => (failure instanceof Error ? failure.message : String(failure)))
  return new ConnectError(
    last.code,
    target,
    `Cannot connect to PostgreSQL: none of the hosts will do.\n- ${reasons.join('\n- ')}`,
    {
      cause: new AggregateError(failures),
      isServerBusy: failures.some((failure) => failure instanceof ConnectError && failure.isServerBusy),
    },
  )
}
