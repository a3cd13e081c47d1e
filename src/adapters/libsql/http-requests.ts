import { isOwnError } from '../../driver/statement.ts'
import { ConnectionLostError, ResponseTooLargeError } from '../../errors.ts'

/**
 * How far the database had come by the answers of a server. A replica that is told so does not read before it has come as
 * far, so that reads see what was written through it (sqld: Hrana's `replication_index`).
 */
export class ReplicationIndex {
  #latest = -1n

  /** Reads it in an answer. */
  follow(body: Buffer): void {
    const at = body.lastIndexOf(INDEX)
    if (at === -1) return
    const [digits] =
      /^\d{1,20}/.exec(body.toString('latin1', at + INDEX.length, at + INDEX.length + 20)) ?? []
    if (digits !== undefined && BigInt(digits) > this.#latest) this.#latest = BigInt(digits)
  }

  /** A server that has not answered may have been set back, and would wait for ever for what it had before. */
  forget(): void {
    this.#latest = -1n
  }

  /** Writes it into the statements of a request. Within JSON's strings quotes are escaped, so only keys are met. */
  into(body: string): string {
    const index = this.#latest
    if (index < 0n) return body
    return body.replace(/"(?:stmt|batch)":\{/g, (key) => `${key}${INDEX}${index}",`)
  }
}

const INDEX = '"replication_index":"'

export interface HttpRequestsOptions {
  /** Where the database is: an `http:` or `https:` URL. */
  readonly url: string
  /** Milliseconds for a request, from its first byte to its answer's last. */
  readonly requestTimeout: number
  readonly maxResponseBytes: number
  /** One for all connections to the same database. */
  readonly replicationIndex: ReplicationIndex
}

/**
 * The `fetch` of a remote client. The client itself reads an answer of any size for any time, and sends the token and the
 * statements wherever the server's last answer told it to (`base_url`).
 */
export class HttpRequests {
  readonly #options: HttpRequestsOptions
  readonly #home: URL
  readonly #underWay = new Set<AbortController>()
  #isStopped = false

  constructor(options: HttpRequestsOptions) {
    this.#options = options
    this.#home = new URL(options.url)
  }

  /** What the client is given instead of the global `fetch`. */
  readonly fetch = async (request: Request): Promise<Response> => {
    this.#refuseStranger(new URL(request.url))
    const stop = new AbortController()
    this.#underWay.add(stop)
    const timeout = this.#isStopped ? FAREWELL_TIMEOUT : this.#options.requestTimeout
    const timer = setTimeout(() => stop.abort(), timeout)
    const { replicationIndex } = this.#options
    try {
      const response = await fetch(await asFarAs(replicationIndex, request), {
        redirect: 'manual',
        signal: stop.signal,
      })
      if (response.status >= 300 && response.status < 400) {
        stop.abort()
        throw elsewhere('redirects to another address')
      }
      const { ok, status, headers } = response
      const body = await (ok ? this.#wholeBody(response) : headOf(response))
      if (ok && body !== null) replicationIndex.follow(body)
      return new Response(body, { status, headers })
    } catch (error) {
      stop.abort()
      // What we throw ourselves is said of an answer.
      if (!isOwnError(error)) replicationIndex.forget()
      throw error
    } finally {
      clearTimeout(timer)
      this.#underWay.delete(stop)
    }
  }

  /** Ends what is under way. Later requests, by which the client closes its streams, are given little time. */
  stop(): void {
    this.#isStopped = true
    for (const request of this.#underWay) request.abort()
  }

  /** The next request of a stream goes to where the server says, and the token with it. */
  #refuseStranger({ protocol, host, hostname }: URL): void {
    const home = this.#home
    const isBeneath = hostname.endsWith(`.${home.hostname}`)
    const isSecure = protocol === 'https:' || home.protocol === 'http:'
    if (isSecure && (host === home.host || isBeneath)) return
    throw elsewhere('wants the next request sent to another host, or without TLS')
  }

  async #wholeBody(response: Response): Promise<Buffer | null> {
    const { maxResponseBytes } = this.#options
    const { body, headers } = response
    if (Number(headers.get('content-length')) > maxResponseBytes) {
      throw new ResponseTooLargeError(maxResponseBytes)
    }
    if (body === null) return null
    const chunks: Uint8Array[] = []
    let length = 0
    for await (const chunk of body) {
      length += chunk.byteLength
      if (length > maxResponseBytes) throw new ResponseTooLargeError(maxResponseBytes)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks, length)
  }
}

/** The same request, whose statements wait until their server has come as far. */
async function asFarAs(index: ReplicationIndex, request: Request): Promise<Request> {
  if (request.body === null) return request
  const { url, method, headers } = request
  return new Request(url, { method, headers, body: index.into(await request.text()) })
}

/** Milliseconds to close streams in, when the connection itself is closed. */
const FAREWELL_TIMEOUT = 5_000
/** Bytes of an error that are read: they end in a message. */
const ERROR_BYTES = 65_536

async function headOf({ body }: Response): Promise<Buffer | null> {
  if (body === null) return null
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body) {
    chunks.push(chunk)
    length += chunk.byteLength
    if (length >= ERROR_BYTES) break
  }
  return Buffer.concat(chunks).subarray(0, ERROR_BYTES)
}

function elsewhere(what: string): ConnectionLostError {
  return new ConnectionLostError(
    `The libSQL server ${what}, which is not followed: it would be given the token and the statements. ` +
      'Name the final address in the dburi. Whether a statement that was under way took effect is unknown.',
  )
}
