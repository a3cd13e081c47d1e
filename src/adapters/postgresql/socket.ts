import { isIP, type Socket } from 'node:net'
import { checkServerIdentity, connect as connectTls, type TLSSocket } from 'node:tls'
import type { Route } from '../../driver/endpoints.ts'
import { addressOf, openSocket } from '../../driver/socket.ts'
import { AbortedError, ConnectError, type ConnectErrorCode, type ServerTarget } from '../../errors.ts'
import type { Encryption, LoadedTls } from './tls.ts'

export interface ConnectSocketOptions {
  readonly encryption: Encryption
  /** Needed unless `encryption` is `plain`. */
  readonly tls: LoadedTls | null
  /** For everything together: the name, the connection and the TLS handshake. In ms. */
  readonly connectTimeout: number
  /** How long the connection is idle before TCP probes it, in ms; `null` for never. */
  readonly keepAlive: number | null
  /** By which the address that is reached is known. */
  readonly route?: Route
  readonly signal?: AbortSignal | undefined
}

/**
 * Opens a connection to a PostgreSQL server up to the point where the startup message is due, TLS included.
 *
 * The socket has no listener of ours, and every byte of the server is still in it. Its `error` event is the
 * caller's at once: listen before anything but promises has had its turn, as postgres.js does with what its `socket`
 * option returns.
 *
 * @throws ConnectError, AbortedError; the socket is destroyed then
 */
export function connectSocket(endpoint: ServerTarget, options: ConnectSocketOptions): Promise<Socket> {
  const { encryption, tls, connectTimeout, keepAlive, route, signal } = options
  const address = addressOf(endpoint)
  if (signal?.aborted) return Promise.reject(aborted(address, signal))
  if (encryption !== 'plain' && tls === null)
    return Promise.reject(new TypeError('TLS needs its `tls` option'))

  // One closure with listeners instead of awaits: between two awaits an `error` would find nobody listening, and a
  // server could end the process.
  return new Promise((resolve, reject) => {
    let stage = 'accept the connection'
    let failure: ConnectErrorCode = 'CONNECT_FAILED'
    let isSettled = false
    let socket = openSocket(endpoint, keepAlive, connectTimeout, route?.lookup)
    route?.follow(socket)
    listen()
    socket.once('connect', onConnect)
    const timer = setTimeout(onTimeout, connectTimeout)
    signal?.addEventListener('abort', onAbort)

    function onConnect() {
      if (encryption === 'plain') return ready()
      if (tls?.negotiation === 'direct') return secure()

      stage = 'say whether it has TLS'
      socket.write(SSL_REQUEST)
      // Not `data`: without its listener the stream would go on flowing, and lose what follows the answer.
      socket.on('readable', onAnswer)
    }

    function onAnswer() {
      const answer: Buffer | null = socket.read()
      if (answer === null) return

      socket.off('readable', onAnswer)
      // Whoever can put bytes before the handshake could pass them off as the server's own (CVE-2021-23222).
      if (answer.length > 1) return fail('CONNECT_FAILED', 'said more than whether it has TLS')
      if (answer[0] === YES) return secure()
      if (answer[0] !== NO) return fail('CONNECT_FAILED', 'does not answer as PostgreSQL does')
      if (encryption === 'if-offered') return ready()
      fail('TLS_REFUSED', 'has no TLS, which sslmode demands')
    }

    function secure() {
      if (tls === null) return
      stage = 'finish the TLS handshake'
      failure = 'TLS_FAILED'
      unlisten()
      const secured = startTls(socket, endpoint, tls)
      socket = secured
      listen()
      secured.once('secureConnect', () => {
        // Direct TLS tells no protocols apart, so the server has to say that it speaks this one (as in libpq).
        if (tls.negotiation === 'postgres' || secured.alpnProtocol === 'postgresql') return ready()
        fail('TLS_FAILED', 'does not say that it speaks PostgreSQL over TLS')
      })
    }

    /** One turn later, so that an error that came along with the last bytes is still ours. */
    function ready() {
      stage = 'stay connected'
      setImmediate(() => {
        if (isSettled) return
        settle()
        resolve(socket)
      })
    }

    function listen() {
      socket.on('error', onError)
      socket.on('close', onClose)
    }

    function unlisten() {
      socket.off('error', onError)
      socket.off('close', onClose)
    }

    function onError(error: Error) {
      fail(failure, `did not ${stage}: ${reasonOf(error)}`, error)
    }

    function onClose() {
      fail(failure, `did not ${stage}: it closed the connection`)
    }

    function onTimeout() {
      fail('CONNECT_TIMEOUT', `did not ${stage} within ${connectTimeout} ms`)
    }

    function onAbort() {
      if (signal !== undefined) give(aborted(address, signal))
    }

    function fail(code: ConnectErrorCode, what: string, cause?: Error) {
      const message = `Cannot connect to PostgreSQL: ${address} ${what}`
      give(new ConnectError(code, endpoint, message, cause && { cause }))
    }

    function give(error: Error) {
      if (isSettled) return
      settle()
      // What is still on its way to a socket that is destroyed interests nobody, and must not end the process.
      socket.on('error', () => {})
      socket.destroy()
      reject(error)
    }

    function settle() {
      isSettled = true
      unlisten()
      socket.off('readable', onAnswer)
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  })
}

/**
 * Asks the server to stop what the backend is doing, over a connection of its own that `open` makes, with the same TLS.
 * Never rejects, and takes at most a second more than `open`: a cancel request is a wish. The server answers nothing,
 * may be too late, and whether it helped shows only on the connection whose statement was to stop.
 */
export async function cancelRequest(
  open: () => Promise<Socket>,
  backend: { readonly pid: number; readonly secret: number },
): Promise<void> {
  let socket: Socket
  try {
    socket = await open()
  } catch {
    return // as above: nothing is lost but the wish
  }
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, CANCEL_TIMEOUT)
    socket.on('error', () => {}) // `close` follows
    socket.once('close', () => {
      clearTimeout(timer)
      resolve()
    })
    // Not end(): poolers drop the request of a client that has hung up.
    socket.write(cancelMessage(backend))
    socket.resume()
  })
  socket.destroy()
}

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])
const YES = 'S'.charCodeAt(0)
const NO = 'N'.charCodeAt(0)
const CANCEL_CODE = 80_877_102
const CANCEL_TIMEOUT = 1_000

/** The certificate is checked against the host we were told, also when that is an IP address; Node alone would not. */
function startTls(socket: Socket, endpoint: ServerTarget, tls: LoadedTls): TLSSocket {
  const host = 'host' in endpoint ? endpoint.host : ''
  return connectTls({
    socket,
    secureContext: tls.context,
    servername: tls.sni && isIP(host) === 0 ? host : '',
    rejectUnauthorized: tls.verify !== 'nothing',
    checkServerIdentity: (_, certificate) =>
      tls.verify === 'full' ? checkServerIdentity(host, certificate) : undefined,
    ...(tls.negotiation === 'direct' && { ALPNProtocols: ['postgresql'] }),
  })
}

function cancelMessage({ pid, secret }: { readonly pid: number; readonly secret: number }): Buffer {
  const message = Buffer.alloc(16)
  message.writeUInt32BE(message.length, 0)
  message.writeUInt32BE(CANCEL_CODE, 4)
  message.writeUInt32BE(pid >>> 0, 8)
  message.writeUInt32BE(secret >>> 0, 12)
  return message
}

/** An `AggregateError`, of a host with several addresses, says nothing itself: its first error does. */
function reasonOf(error: Error): string {
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error
  if (!(first instanceof Error)) return error.name
  const isUntrusted = 'code' in first && UNTRUSTED.has(first.code)
  return isUntrusted ? `${first.message}; name the file of its CA with sslrootcert` : first.message
}

const UNTRUSTED: ReadonlySet<unknown> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])

function aborted(address: string, signal: AbortSignal): AbortedError {
  return new AbortedError(`Stopped connecting to ${address}: the signal was aborted`, {
    cause: signal.reason,
  })
}
