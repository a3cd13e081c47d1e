import type { Socket } from 'node:net'
import type { Connection as Driver, SslOptions } from 'mysql2'
import { deadlineIn, TooSlow } from '../../driver/deadline.ts'
import { type Endpoints, isForWriting, type Route, type TargetSessionAttrs } from '../../driver/endpoints.ts'
import { addressOf, inOneLine, openSocket } from '../../driver/socket.ts'
import {
  AbortedError,
  ConnectError,
  type ConnectErrorCode,
  NotServingError,
  type ServerTarget,
} from '../../errors.ts'
import { type ConnectionParts, MysqlConnection } from './connection.ts'
import { isBusy, isServerError, made } from './errors.ts'
import type { MysqlPlan } from './options.ts'
import { ServerPackets } from './server-packets.ts'
import { encryptionAttempts } from './tls.ts'
import type { Integers } from './values.ts'
import { vetting } from './vetting.ts'

/** What connections are made from. */
export interface ConnectParts {
  readonly plan: MysqlPlan
  readonly endpoints: Endpoints
  readonly ssl: SslOptions | null
  readonly integers: Integers
  readonly statementCacheSize: number
  readonly maxResponseBytes: number
  readonly exposeParameters: boolean
  password(): Promise<string | null>
  /** A mysql2 connection on a socket that is about to be connected. */
  driver(options: DriverOptions): Driver
}

export interface DriverOptions {
  readonly socket: Socket
  readonly endpoint: ServerTarget
  readonly password: string | null
  readonly ssl: SslOptions | null
}

/**
 * Opens a connection to the first endpoint that can be reached and serves as `target_session_attrs` asks, and waits until
 * the server lets it in.
 * @throws ConnectError of the last endpoint, with those of all in its cause when there are several; AbortedError
 */
export function connect(parts: ConnectParts, signal?: AbortSignal): Promise<MysqlConnection> {
  const { plan, endpoints } = parts
  const attempt = (route: Route, wanted: TargetSessionAttrs, failures: ConnectError[]) =>
    connectBy(route, parts, { wanted, failures, signal })
  return endpoints.first('MySQL', plan.targetSessionAttrs, () => plan.endpoints, attempt)
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
): Promise<MysqlConnection | null> {
  const attempts = encryptionAttempts(route.target, parts.plan.tls)
  for (const encryption of attempts) {
    try {
      const ssl = encryption === 'tls' ? parts.ssl : null
      const again = () => route.again()
      const kill: ConnectionParts['kill'] = (threadId, port, what) =>
        end(parts, again(), ssl, { threadId, port, what })
      return await connectTo(parts, route, ssl, { kill, wanted, signal })
    } catch (error) {
      if (!(error instanceof ConnectError) || isFinal(error)) throw error
      if (error.code === 'TLS_REFUSED' && encryption !== attempts.at(-1)) continue
      failures.push(error)
      return null
    }
  }
  return null
}

/** The user, the password or the database is wrong, and other endpoints will say the same. */
function isFinal({ cause }: ConnectError): boolean {
  return isServerError(cause) && [1044, 1045, 1049, 1698].includes(cause.errno)
}

interface ConnectOptions extends Pick<ConnectionParts, 'kill'> {
  /** What the server must be; `null` for whatever it is. */
  readonly wanted: TargetSessionAttrs | null
  readonly signal?: AbortSignal | undefined
}

async function connectTo(
  parts: ConnectParts,
  route: Route,
  ssl: SslOptions | null,
  { kill, wanted, signal }: ConnectOptions,
): Promise<MysqlConnection> {
  const { plan, endpoints } = parts
  const { keepAlive, connectTimeout, targetSessionAttrs } = plan
  const { target: endpoint } = route
  const deadline = deadlineIn(connectTimeout, signal)
  let socket: Socket | undefined
  let stage = 'the password could not be had'
  try {
    const password = await Promise.race([parts.password(), deadline.stopped])
    stage = 'it did not let us in'
    socket = openSocket(endpoint, keepAlive, connectTimeout, route.lookup)
    route.follow(socket)
    if ('host' in endpoint) verifyAs(socket, endpoint.host)
    const driver = parts.driver({ socket, endpoint, password, ssl })
    const packets = new ServerPackets(driver, parts.maxResponseBytes)
    await Promise.race([ready(driver), deadline.stopped])
    const { place } = route
    const connection = new MysqlConnection({
      ...parts,
      driver,
      packets,
      socket,
      target: endpoint,
      kill,
      isForWriting: isForWriting(targetSessionAttrs),
      passOver: (reason) => endpoints.passOver(place, reason),
    })
    await Promise.race([connection.start(plan), deadline.stopped])
    const isOneOfSeveral = plan.endpoints.length > 1 || route.isSeveral
    const vet = wanted && vetting(endpoint, { wanted, isOneOfSeveral })
    if (vet !== null) await Promise.race([vet(connection), deadline.stopped])
    packets.opened()
    connection.opened(vet, (opened) => endpoints.joined(place, opened))
    return connection
  } catch (error) {
    socket?.destroy()
    if (signal?.aborted) throw new AbortedError('Stopped connecting to MySQL', { cause: signal.reason })
    if (error instanceof ConnectError) throw error
    const why = error instanceof NotServingError ? error.cause : error
    throw refusal(endpoint, why, error instanceof TooSlow ? `${stage} within ${connectTimeout} ms` : stage)
  } finally {
    deadline.over()
  }
}

/**
 * The certificate is checked against the host we were told, also when that is an IP address: mysql2 passes names only to Node,
 * and Node then takes what the socket says, which an IP address never wrote there, or else `localhost`.
 */
function verifyAs(socket: Socket, host: string): void {
  Object.assign(socket, { _host: host })
}

/** When the server has let us in. Its listener for errors stays, lest one that comes late end the process. */
function ready(driver: Driver): Promise<void> {
  return new Promise((resolve, reject) => {
    driver.on('error', reject)
    driver.once('connect', () => resolve())
  })
}

/**
 * Asks the server to end a connection and what it is doing, or only that, over another one. Never rejects, and takes at most a second
 * more than that one: it is a wish. Another server may bear the same name by now, and its connection of that number be
 * somebody else's: unless it came from our port, nothing is ended.
 */
async function end(
  parts: ConnectParts,
  route: Route,
  ssl: SslOptions | null,
  {
    threadId,
    port,
    what,
  }: { readonly threadId: number; readonly port: number | null; readonly what: 'connection' | 'query' },
): Promise<void> {
  try {
    // Nobody ends this one in turn.
    const connection = await connectTo(parts, route, ssl, { kill: async () => {}, wanted: null })
    const timer = setTimeout(() => connection.discard(new Error('The server did not answer')), KILL_TIMEOUT)
    try {
      const found = await connection.run({
        sql: 'select 1 from information_schema.processlist where id = ? and (? is null or host like ?)',
        params: [threadId, port, `%:${port}`],
        asArrays: true,
      })
      const isOurs = Array.isArray(found) && found.length > 0
      const sql = `kill ${what} ${Number(threadId)}`
      if (isOurs) await connection.run({ sql, params: [], asArrays: false })
    } finally {
      clearTimeout(timer)
      await connection.close()
    }
  } catch {
    // As above: nothing is lost but the wish.
  }
}

const KILL_TIMEOUT = 1_000

function refusal(endpoint: ServerTarget, error: unknown, stage: string): ConnectError {
  const address = addressOf(endpoint)
  const { code, what, cause } = reasonOf(error, stage)
  return new ConnectError(code, endpoint, `Cannot connect to MySQL: ${address}: ${what}`, {
    cause,
    isServerBusy: isServerError(cause) && isBusy(cause),
  })
}

const UNKNOWN_TIME_ZONE = 1298

interface Reason {
  readonly code: ConnectErrorCode
  readonly what: string
  readonly cause: unknown
}

function reasonOf(error: unknown, stage: string): Reason {
  if (isServerError(error) && error.errno === UNKNOWN_TIME_ZONE) {
    const what = `${inOneLine(error.message)} (${error.code}). Names are known where mysql_tzinfo_to_sql was run; an offset from -12:59 to +13:00 always is`
    return { code: 'CONNECT_FAILED', what, cause: made(error, error.message) }
  }
  if (isServerError(error)) {
    const what = `it refuses the connection: ${inOneLine(error.message)} (${error.code})`
    return { code: 'CONNECT_FAILED', what, cause: made(error, error.message) }
  }
  if (error instanceof TooSlow) {
    return { code: 'CONNECT_TIMEOUT', what: stage, cause: error }
  }
  const first = error instanceof AggregateError ? error.errors[0] : error
  const message = first instanceof Error ? inOneLine(first.message) : 'for no reason that was given'
  const what = `${stage}: ${message}`
  switch (first instanceof Error && 'code' in first ? first.code : undefined) {
    case 'HANDSHAKE_NO_SSL_SUPPORT':
      return { code: 'TLS_REFUSED', what: 'it has no TLS, which ssl_mode demands', cause: error }
    case 'HANDSHAKE_SSL_ERROR':
      return { code: 'TLS_FAILED', what: `it did not finish the TLS handshake: ${message}`, cause: error }
    default:
      return { code: 'CONNECT_FAILED', what, cause: error }
  }
}
