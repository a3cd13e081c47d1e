import type { Socket } from 'node:net'
import type { Connection as Driver, SslOptions } from 'mysql2'
import { addressOf, inOneLine, openSocket } from '../../endpoint.ts'
import { AbortedError, ConnectError, type ConnectErrorCode, type ServerTarget } from '../../errors.ts'
import { MysqlConnection } from './connection.ts'
import type { MysqlPlan } from './options.ts'
import type { Integers } from './parameters.ts'
import { isServerError, made } from './server-error.ts'
import { encryptionAttempts } from './tls-plan.ts'

/** What connections are made from. */
export interface ConnectParts {
  readonly plan: MysqlPlan
  readonly ssl: SslOptions | null
  readonly integers: Integers
  readonly statementCacheSize: number
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
 * Opens a connection to the first endpoint that can be reached, and waits until the server lets it in.
 * @throws ConnectError of the last endpoint, with those of all in its cause when there are several; AbortedError
 */
export async function connect(parts: ConnectParts, signal?: AbortSignal): Promise<MysqlConnection> {
  const failures: ConnectError[] = []
  for (const endpoint of parts.plan.endpoints) {
    for (const encryption of encryptionAttempts(endpoint, parts.plan.tls)) {
      try {
        return await connectTo(parts, endpoint, encryption === 'tls' ? parts.ssl : null, signal)
      } catch (error) {
        if (!(error instanceof ConnectError) || isFinal(error)) throw error
        failures.push(error)
        if (error.code !== 'TLS_REFUSED') break
      }
    }
  }
  throw failures.length === 1 ? failures[0] : nobody(failures)
}

/** The user, the password or the database is wrong, and other endpoints will say the same. */
function isFinal({ cause }: ConnectError): boolean {
  return isServerError(cause) && [1044, 1045, 1049, 1698].includes(cause.errno)
}

async function connectTo(
  parts: ConnectParts,
  endpoint: ServerTarget,
  ssl: SslOptions | null,
  signal: AbortSignal | undefined,
): Promise<MysqlConnection> {
  const { keepAlive, connectTimeout } = parts.plan
  const deadline = AbortSignal.timeout(connectTimeout)
  const stop = signal === undefined ? deadline : AbortSignal.any([deadline, signal])
  const stopped = new Promise<never>((_, reject) => {
    stop.addEventListener('abort', () => reject(stop.reason), { once: true })
  })
  let socket: Socket | undefined
  let stage = 'the password could not be had'
  try {
    stop.throwIfAborted()
    const password = await Promise.race([parts.password(), stopped])
    stage = 'it did not let us in'
    socket = openSocket(endpoint, keepAlive, connectTimeout)
    if ('host' in endpoint) verifyAs(socket, endpoint.host)
    const driver = parts.driver({ socket, endpoint, password, ssl })
    await Promise.race([ready(driver), stopped])
    return new MysqlConnection({
      ...parts,
      driver,
      socket,
      kill: (threadId) => kill(parts, endpoint, ssl, threadId),
    })
  } catch (error) {
    socket?.destroy()
    if (signal?.aborted) throw new AbortedError('Stopped connecting to MySQL', { cause: signal.reason })
    throw refusal(endpoint, error, deadline.aborted ? `${stage} within ${connectTimeout} ms` : stage)
  }
}

/**
 * The certificate is checked against the host we were told, also when that is an IP address: mysql2 tells Node names only,
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
 * Asks the server to end a connection and what it is doing, over another one. Never rejects: it is a wish, and a server
 * that cannot be reached ends what it does for nobody by itself, sooner or later.
 */
async function kill(
  parts: ConnectParts,
  endpoint: ServerTarget,
  ssl: SslOptions | null,
  threadId: number,
): Promise<void> {
  try {
    const connection = await connectTo(parts, endpoint, ssl, undefined)
    await connection.run({ sql: `kill ${Number(threadId)}`, params: [], asArrays: false }).catch(() => {})
    await connection.close()
  } catch {
    // As above: nothing is lost but the wish.
  }
}

function refusal(endpoint: ServerTarget, error: unknown, stage: string): ConnectError {
  const address = addressOf(endpoint)
  const { code, what, cause } = reasonOf(error, stage)
  return new ConnectError(code, endpoint, `Cannot connect to MySQL: ${address}: ${what}`, { cause })
}

interface Reason {
  readonly code: ConnectErrorCode
  readonly what: string
  readonly cause: unknown
}

function reasonOf(error: unknown, stage: string): Reason {
  if (isServerError(error)) {
    const what = `it refuses the connection: ${inOneLine(error.message)} (${error.code})`
    return { code: 'CONNECT_FAILED', what, cause: made(error, error.message) }
  }
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return { code: 'CONNECT_TIMEOUT', what: stage, cause: error }
  }
  const told = error instanceof AggregateError ? error.errors[0] : error
  const message = told instanceof Error ? inOneLine(told.message) : 'for no reason that was given'
  const what = `${stage}: ${message}`
  switch (told instanceof Error && 'code' in told ? told.code : undefined) {
    case 'HANDSHAKE_NO_SSL_SUPPORT':
      return { code: 'TLS_REFUSED', what: 'it has no TLS, which ssl_mode demands', cause: error }
    case 'HANDSHAKE_SSL_ERROR':
      return { code: 'TLS_FAILED', what: `it did not finish the TLS handshake: ${message}`, cause: error }
    default:
      return { code: 'CONNECT_FAILED', what, cause: error }
  }
}

function nobody(failures: readonly ConnectError[]): ConnectError {
  const last = failures.at(-1)
  const target =
    last?.socket != null ? { path: last.socket } : { host: last?.host ?? '', port: last?.port ?? 0 }
  const reasons = failures.map(({ message }) => message)
  return new ConnectError(
    last?.code ?? 'CONNECT_FAILED',
    target,
    `Cannot connect to MySQL: none of the hosts will do.\n- ${reasons.join('\n- ')}`,
    { cause: new AggregateError(failures) },
  )
}
