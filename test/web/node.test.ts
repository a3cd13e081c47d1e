/** The page behind `node:http`, as Express and Fastify use it too. */
import { once } from 'node:events'
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import { expect, it, onTestFinished, vi } from 'vitest'
import { resultsApp, toNodeHandler } from '../../src/web/index.ts'
import { form, formTokenIn, inMemory, TOKEN } from './serving.ts'

const bearer = { authorization: `Bearer ${TOKEN}` }

async function listening(handler: (incoming: IncomingMessage, outgoing: ServerResponse) => unknown) {
  const server: Server = createServer((incoming, outgoing) => void handler(incoming, outgoing))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

it('serves pages, HEAD, cookies and forms', async () => {
  await using backend = inMemory()
  await backend.storeResult('t', 1, 'SUCCESS')
  const port = await listening(
    toNodeHandler(resultsApp(backend, { token: TOKEN, timeout: 25, readOnly: false })),
  )
  const origin = `http://127.0.0.1:${port}`

  const page = await fetch(`${origin}/task?id=t`, { headers: bearer })
  expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
  const head = await fetch(origin, { method: 'HEAD', headers: bearer })
  expect([head.status, await head.text()]).toEqual([200, ''])
  const welcome = await fetch(`${origin}/?token=${TOKEN}`)
  const [cookie = ''] = welcome.headers.getSetCookie()
  expect((await fetch(origin, { headers: { cookie: cookie.split(';')[0] ?? '' } })).status).toBe(200)
  const fields = { id: 't', form: formTokenIn(await page.text()) }
  const forgotten = await fetch(`${origin}/forget`, form(fields, { ...bearer, origin }))
  expect([forgotten.status, await backend.taskResultExists('t')]).toEqual([200, false])
})

it('knows the path that Express took off, and the form that a middleware has read', async () => {
  await using backend = inMemory()
  await backend.storeResult('t', 1, 'SUCCESS')
  const app = toNodeHandler(
    resultsApp(backend, { token: TOKEN, timeout: 25, basePath: '/results', readOnly: false }),
  )
  const port = await listening(async (incoming, outgoing) => {
    const body: Buffer[] = []
    for await (const chunk of incoming) body.push(chunk)
    const fields = Object.fromEntries(new URLSearchParams(Buffer.concat(body).toString()))
    const url = incoming.url ?? ''
    await app(
      Object.assign(incoming, {
        ...{ originalUrl: url, url: url.replace('/results', '') || '/' },
        ...(incoming.method === 'POST' && { body: fields }),
      }),
      outgoing,
    )
  })
  const origin = `http://127.0.0.1:${port}`

  const page = await fetch(`${origin}/results/task?id=t`, { headers: bearer })
  expect(page.status).toBe(200)
  const fields = { id: 't', form: formTokenIn(await page.text()) }
  const forgotten = await fetch(`${origin}/results/forget`, form(fields, { ...bearer, origin }))
  expect([forgotten.status, await backend.taskResultExists('t')]).toEqual([200, false])
})

it('reads a form that a middleware for other bodies has left, with an empty body in its place', async () => {
  const app = toNodeHandler(async (request) => new Response(await request.text()))
  const port = await listening((incoming, outgoing) => app(Object.assign(incoming, { body: {} }), outgoing))
  const response = await fetch(`http://127.0.0.1:${port}/`, form({ id: 't' }))

  expect(await response.text()).toBe('id=t')
})

it('is done with a request whose browser went away before the answer', async () => {
  let arrive = () => {}
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve
  })
  const cancelled = vi.fn()
  let handled: Promise<void> | undefined
  const app = toNodeHandler(async ({ signal }) => {
    arrive()
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    return new Response(new ReadableStream({ cancel: cancelled }))
  })
  const port = await listening((incoming, outgoing) => {
    handled = app(incoming, outgoing)
  })
  const request = httpRequest({ port, host: '127.0.0.1' }).on('error', () => {})
  request.end()
  await arrived
  request.destroy()

  await handled
  expect(cancelled).toHaveBeenCalledOnce()
})

it('refuses a host, an address and a body that it cannot take', async () => {
  await using backend = inMemory()
  const port = await listening(toNodeHandler(resultsApp(backend, { token: TOKEN })))
  const answerTo = async (head: string) => {
    const socket = connect(port, '127.0.0.1')
    socket.end(`${head}\r\nConnection: close\r\n\r\n`)
    let text = ''
    for await (const chunk of socket) text += chunk
    return text.split('\r\n')[0]
  }

  expect(await answerTo('GET / HTTP/1.1\r\nHost: evil.example')).toContain(' 403 ')
  expect(await answerTo('GET http://localhost/ HTTP/1.1\r\nHost: localhost')).toContain(' 400 ')
  expect(await answerTo('GET / HTTP/1.1\r\nHost: ')).toContain(' 400 ')
  expect(await answerTo('GET //localhost/ HTTP/1.0')).toContain(' 400 ')
  expect(await answerTo('GET / HTTP/1.1\r\nHost: user@localhost')).toContain(' 400 ')
  expect(await answerTo('TRACE / HTTP/1.1\r\nHost: localhost')).toContain(' 405 ')
  expect(await answerTo('GET //evil.example/ HTTP/1.1\r\nHost: localhost')).toContain(' 401 ')
  const long = await fetch(`http://127.0.0.1:${port}/forget`, {
    method: 'POST',
    headers: bearer,
    body: 'x'.repeat(100_000),
  })
  expect(long.status).toBe(413)
})

it('takes the host of HTTP/2, and none from the path', async () => {
  await using backend = inMemory()
  const app = toNodeHandler(resultsApp(backend, { token: TOKEN }))
  const server = createHttp2Server((incoming, outgoing) => {
    // Fastify gives them under the types of node:http, too.
    void app(incoming as unknown as IncomingMessage, outgoing as unknown as ServerResponse)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  onTestFinished(() => {
    session.destroy()
    server.close()
  })
  const statusOf = async (headers: OutgoingHttpHeaders) => {
    const [answer] = await once(session.request(headers).resume(), 'response')
    return answer[':status']
  }

  expect(await statusOf({ ':path': '/' })).toBe(401)
  expect(await statusOf({ ':path': '//localhost/', ':authority': 'evil.example' })).toBe(403)
})

it('ends a stream of events when its browser goes away', async () => {
  await using backend = inMemory()
  await backend.storeResult('t', 1, 'SUCCESS')
  const list = vi.spyOn(backend, 'list')
  const port = await listening(
    toNodeHandler(resultsApp(backend, { token: TOKEN, liveInterval: 0.02, maxStreams: 1 })),
  )
  const open = () => httpRequest({ port, host: '127.0.0.1', path: '/live', headers: bearer }).end()
  const first = open()
  const [response] = await once(first, 'response')
  expect(response.headers['content-type']).toBe('text/event-stream; charset=utf-8')
  await expect.poll(() => list.mock.calls.length).toBeGreaterThan(2)
  first.destroy()

  // The only place is free again.
  await expect
    .poll(async () => {
      const next = open()
      const [answer] = await once(next, 'response')
      next.destroy()
      return answer.statusCode
    })
    .toBe(200)
})

it('answers 500 and nothing more where a handler fails', async () => {
  const port = await listening(toNodeHandler(() => Promise.reject(new Error('canary'))))
  const response = await fetch(`http://127.0.0.1:${port}/`)

  expect([response.status, await response.text()]).toEqual([500, ''])
})
