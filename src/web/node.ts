import type { IncomingMessage, ServerResponse } from 'node:http'
import { TLSSocket } from 'node:tls'

/** Answers a request, as Hono, Next.js, Deno and Bun have them. */
export type FetchHandler = (request: Request) => Promise<Response>

/** Methods that the Fetch standard forbids. */
const FORBIDDEN: ReadonlySet<string> = new Set(['CONNECT', 'TRACE', 'TRACK'])

/** Bytes of a form. */
const MOST_BYTES = 65_536

/**
 * A handler for `node:http`, Express and Fastify of one that takes a `Request`: `createServer(toNodeHandler(app))`,
 * `express().use('/results', toNodeHandler(app))`.
 */
export function toNodeHandler(
  handler: FetchHandler,
): (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void> {
  return async (incoming, outgoing) => {
    const gone = new AbortController()
    outgoing.on('close', () => gone.abort())
    try {
      const request = await requestOf(incoming, gone.signal)
      if (typeof request === 'number') outgoing.writeHead(request, { 'content-length': 0 }).end()
      else await send(await handler(request), outgoing, incoming.method === 'HEAD')
    } catch {
      // The browser went away, or it is too late to say what happened.
      if (outgoing.headersSent) outgoing.destroy()
      else outgoing.writeHead(500, { 'content-length': 0 }).end()
    }
  }
}

/** The request, or the status of the answer to one that is none. */
async function requestOf(incoming: IncomingMessage, signal: AbortSignal): Promise<Request | number> {
  // Express takes the path where it is mounted off `url`.
  const original: unknown = Reflect.get(incoming, 'originalUrl')
  const path = typeof original === 'string' ? original : (incoming.url ?? '')
  const scheme = incoming.socket instanceof TLSSocket ? 'https' : 'http'
  // The second is that of HTTP/2. Without any, one in the path would be taken for it.
  const host = incoming.headers.host || incoming.headers[':authority']
  const address = `${scheme}://${host}${path}`
  if (!host || host.includes('@') || !path.startsWith('/') || !URL.canParse(address)) return 400
  // No `Request` can be made of one.
  if (FORBIDDEN.has(incoming.method ?? 'GET')) return 405
  const headers = new Headers()
  for (let at = 0; at + 1 < incoming.rawHeaders.length; at += 2) {
    const [name = '', value = ''] = incoming.rawHeaders.slice(at, at + 2)
    if (!name.startsWith(':')) headers.append(name, value)
  }
  const { method = 'GET' } = incoming
  if (method === 'GET' || method === 'HEAD') return new Request(address, { method, headers, signal })
  const body = await bodyOf(incoming)
  if (body === null) return 413
  // Of what was read already, the length is another one.
  headers.delete('content-length')
  return new Request(address, { method, headers, body, signal })
}

/** The body, also one that a middleware has read; `null` where it is too long. */
async function bodyOf(incoming: IncomingMessage): Promise<string | null> {
  const parsed: unknown = Reflect.get(incoming, 'body')
  // One that leaves this form alone sets an empty body nevertheless, as Express 4 does.
  if (incoming.readableDidRead && typeof parsed === 'object' && parsed !== null) {
    const texts = Object.entries(parsed).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string',
    )
    return String(new URLSearchParams(texts))
  }
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of incoming) {
    length += chunk.length
    if (length > MOST_BYTES) return null
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

async function send(response: Response, outgoing: ServerResponse, isHead: boolean): Promise<void> {
  const headers: Record<string, string | string[]> = Object.fromEntries(response.headers)
  const cookies = response.headers.getSetCookie()
  if (cookies.length > 0) headers['set-cookie'] = cookies
  outgoing.writeHead(response.status, headers)
  const reader = response.body?.getReader()
  // A browser that has gone sends no event to wait for.
  if (reader === undefined || isHead || outgoing.destroyed) {
    await reader?.cancel()
    outgoing.end()
    return
  }
  // Ends a stream of events, too, which waits for the next one.
  outgoing.on('close', () => void reader.cancel().catch(() => {}))
  outgoing.flushHeaders()
  for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
    if (outgoing.destroyed) return
    if (!outgoing.write(chunk.value)) await drained(outgoing)
  }
  outgoing.end()
}

function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      outgoing.off('drain', done).off('close', done)
      resolve()
    }
    outgoing.on('drain', done).on('close', done)
  })
}
