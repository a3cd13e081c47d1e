import type { Socket } from 'node:net'
import { stopAfter, unlessStopped } from '../../driver/deadline.ts'
import { type Endpoints, isForWriting, type Route, type TargetSessionAttrs } from '../../driver/endpoints.ts'
import { addressOf, inOneLine } from '../../driver/socket.ts'
import { AbortedError, ConnectError, type ServerTarget, toError } from '../../errors.ts'
import type { Client } from './client.ts'
import { PostgresConnection } from './connection.ts'
import { isBusy, isServerError, type ServerError, scrub } from './errors.ts'
import { orderEndpoints, type PostgresPlan } from './options.ts'
import { ServerMessages } from './server-messages.ts'
import { cancelRequest, connectSocket } from './socket.ts'
import { type Encryption, encryptionAttempts, type LoadedTls } from './tls.ts'

/** What connections are made from. */
export interface ConnectParts {
  readonly plan: PostgresPlan
  readonly endpoints: Endpoints
  readonly tls: LoadedTls | null
  readonly statementCacheSize: number
  readonly maxResponseBytes: number
  readonly exposeParameters: boolean
  password(): Promise<string | null>
  /** A driver's client on a socket that is connected, and encrypted where it is to be. */
  client(options: ClientOptions): Client
}

export interface ClientOptions {
  readonly socket: Socket
  readonly password: string | null
}

/**
 * Opens a connection to the first endpoint that can be reached and is what `target_session_attrs` asks for, and waits
 * until the server lets it in.
 * @throws ConnectError of the last endpoint, with those of all in its cause when there are several; AbortedError
 */
export function connect(parts: ConnectParts, signal?: AbortSignal): Promise<PostgresConnection> {
  const { plan, endpoints } = parts
  const attempt = (route: Route, wanted: TargetSessionAttrs, failures: ConnectError[]) =>
    connectBy(route, parts, { wanted, failures, signal })
  return endpoints.first('PostgreSQL', plan.targetSessionAttrs, () => orderEndpoints(plan), attempt)
}

interface Attempt {
  readonly wanted: TargetSessionAttrs
  /** Why there is no connection yet. */
  readonly failures: ConnectError[]
  readonly signal: AbortSignal | undefined
}

/** A connection to one server; `null` where there is none, and others are worth a try. */
async function connectBy(
  route: Route,
  parts: ConnectParts,
  { wanted, failures, signal }: Attempt,
): Promise<PostgresConnection | null> {
  for (const encryption of encryptionAttempts(route.target, parts.plan.tls)) {
    try {
      return await connectTo(parts, route, encryption, wanted, signal)
    } catch (error) {
      if (!(error instanceof ConnectError) || isFinal(error)) throw error
      failures.push(error)
      // Only a server that answers can have something against the encryption.
      if (!isServersNo(error)) return null
    }
  }
  return null
}

async function connectTo(
  parts: ConnectParts,
  route: Route,
  encryption: Encryption,
  wanted: TargetSessionAttrs,
  signal: AbortSignal | undefined,
): Promise<PostgresConnection> {
  const { plan, tls, endpoints } = parts
  const { target: endpoint } = route
  const { connectTimeout, keepAlive } = plan
  const startedAt = performance.now()
  const open = (way: Route, stop?: AbortSignal) =>
    connectSocket(endpoint, { encryption, tls, connectTimeout, keepAlive, route: way, signal: stop })

  const password = await passwordFor(endpoint, parts, signal)
  const socket = await open(route, signal)
  const { place } = route
  const again = route.again()
  const { scramMaxIterations } = plan
  const { maxResponseBytes } = parts
  const messages = new ServerMessages({ endpoint, maxResponseBytes, scramMaxIterations }, (error) =>
    connection.discard(error),
  )
  const connection = new PostgresConnection({
    socket,
    client: clientOn(socket, () => parts.client({ socket: messages.stand(socket), password })),
    messages,
    target: endpoint,
    prepare: plan.prepare,
    statementCacheSize: parts.statementCacheSize,
    exposeParameters: parts.exposeParameters,
    cancel: (pid, secret) => cancelRequest(() => open(again), { pid, secret }),
    isForWriting: isForWriting(plan.targetSessionAttrs),
    passOver: (reason) => endpoints.passOver(place, reason),
  })
  const left = Math.max(1, connectTimeout - (performance.now() - startedAt))
  const over = stopAfter(left, signal, (isAborted) =>
    connection.discard(
      isAborted
        ? new Error('The signal was aborted', { cause: signal?.reason })
        : tooSlow(endpoint, connectTimeout),
    ),
  )
  try {
    await connection.ping()
    const vet = vetting(endpoint, wanted)
    await vet?.(connection)
    messages.opened()
    connection.opened(vet, (opened) => endpoints.joined(place, opened))
    return connection
  } catch (error) {
    connection.discard(toError(error))
    if (signal?.aborted) throw new AbortedError('Stopped connecting to PostgreSQL', { cause: signal.reason })
    throw refused(endpoint, error)
  } finally {
    over()
  }
}

/** A driver that cannot make a client leaves no socket open. */
function clientOn(socket: Socket, make: () => Client): Client {
  try {
    return make()
  } catch (error) {
    socket.destroy()
    throw error
  }
}

async function passwordFor(
  endpoint: ServerTarget,
  parts: ConnectParts,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  const { connectTimeout } = parts.plan
  try {
    return await unlessStopped(parts.password(), connectTimeout, signal)
  } catch (cause) {
    const why = cause instanceof Error ? `: ${inOneLine(cause.message)}` : ''
    const message = `Cannot connect to PostgreSQL: the password for ${addressOf(endpoint)} could not be had${why}`
    throw new ConnectError('CONNECT_FAILED', endpoint, message, { cause })
  }
}

const READ_ONLY = 'show transaction_read_only'
const RECOVERY = 'select pg_catalog.pg_is_in_recovery() as standby'

/** What a server must answer, and to which question, for each `target_session_attrs` (libpq's meanings). */
const WANTED: Readonly<Record<TargetSessionAttrs, readonly [question: string, answer: boolean] | null>> = {
  any: null,
  primary: [RECOVERY, false],
  standby: [RECOVERY, true],
  'prefer-standby': null,
  'read-write': [READ_ONLY, false],
  'read-only': [READ_ONLY, true],
}

/**
 * Asks a server whether it is still what is wanted; `null` where any will do.
 * @throws ConnectError `NO_SUITABLE_HOST`, from what it returns
 */
function vetting(
  endpoint: ServerTarget,
  wanted: TargetSessionAttrs,
): ((connection: PostgresConnection) => Promise<void>) | null {
  const rule = WANTED[wanted]
  if (rule === null) return null
  const [sql, answer] = rule
  return async (connection) => {
    const rows = await connection.run({ sql, params: [], asArrays: true })
    const said: unknown = Array.isArray(rows) ? rows[0]?.[0] : undefined
    if ((said === true || said === 'on') === answer) return
    throw new ConnectError(
      'NO_SUITABLE_HOST',
      endpoint,
      `Cannot use PostgreSQL at ${addressOf(endpoint)}: it is not what target_session_attrs=${wanted} asks for`,
    )
  }
}

/** Rejected by the server, not by the network. */
function isServersNo(error: ConnectError): error is ConnectError & { cause: ServerError } {
  return isServerError(error.cause)
}

/** The password or the database is wrong, and other endpoints will say the same. */
function isFinal(error: ConnectError): boolean {
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
    {
      cause: isServers ? scrub(reason, { sql: '', params: [] }) : reason,
      isServerBusy: isServers && isBusy(reason),
    },
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
