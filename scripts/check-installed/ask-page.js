/** Asks the page at an address, or mounted by the program of a name, as browsers do, on the database of its second argument. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { DatabaseBackend } from 'drizzle-celery/backend'

const [where, dburi] = process.argv.slice(2)

const mounts = {
  async hono() {
    const { app } = await import('./hono.js')
    const { serve } = await import('@hono/node-server')
    return serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' })
  },

  async express() {
    const { app } = await import('./express.js')
    return app.listen(0, '127.0.0.1')
  },

  async fastify() {
    const { app } = await import('./fastify.js')
    await app.listen({ port: 0, host: '127.0.0.1' })
    return app.server
  },
}

const server = await mounts[where]?.()
if (server?.listening === false) await once(server, 'listening')
const address = server === undefined ? where : `http://127.0.0.1:${server.address().port}`
/** Of who may look; the option `allowedHosts` has the host. */
const ADMIN = { host: 'app.example.com', cookie: 'user=admin' }

const backend = new DatabaseBackend(dburi, { resultExtended: true })
for (const id of ['kept', 'unwanted']) await backend.storeResult(id, { sum: 3 }, 'SUCCESS')

assert.equal((await ask('/results', { cookie: 'user=guest' })).status, 401)
assert.equal((await ask('/results', { host: 'evil.example' })).status, 403)
const list = await ask('/results')
assert.deepEqual([list.status, list.text.includes('<tr data-id="kept">')], [200, true])
const [, style] = /<link rel="stylesheet" href="([^"]+)"/.exec(list.text)
assert.equal((await ask(style)).headers['content-type'], 'text/css; charset=utf-8')
assert.equal((await ask('/results', {}, undefined, 'HEAD')).status, 200)
assert.equal((await ask('/results/task?id=never')).status, 404)

const task = await ask('/results/task?id=unwanted')
assert.equal(task.status, 200)
const [, own] = /name="form" value="([^"]+)"/.exec(task.text)
assert.equal((await forget('of another page')).status, 403)
assert.equal((await forget(own)).status, 200)
assert.deepEqual(await Promise.all(['kept', 'unwanted'].map((id) => backend.taskResultExists(id))), [
  true,
  false,
])

await hear('/results/live', 'ready')
await hear('/results/live/task?id=kept', 'done')
console.log(`${where} shows, tells and forgets`)
await backend.dispose()
// What is kept by the program that mounts the page lives as long as it does.
process.exit()

function forget(form) {
  const headers = { 'content-type': 'application/x-www-form-urlencoded', origin: 'https://app.example.com' }
  return ask('/results/forget', headers, String(new URLSearchParams({ id: 'unwanted', form })), 'POST')
}

async function ask(path, headers = {}, body = undefined, method = 'GET') {
  const answer = await answerTo(path, headers, body, method)
  let text = ''
  for await (const chunk of answer.setEncoding('utf8')) text += chunk
  return { status: answer.statusCode, headers: answer.headers, text }
}

/** Waits for an event of a stream, and goes away. The only place may be taken by one who has just gone. */
async function hear(path, event) {
  let answer = await answerTo(path)
  for (; answer.statusCode === 503; answer = await answerTo(path)) {
    answer.resume()
    await sleep(50)
  }
  assert.equal(answer.headers['content-type'], 'text/event-stream; charset=utf-8')
  let text = ''
  for await (const chunk of answer.setEncoding('utf8')) {
    text += chunk
    if (text.includes(`event: ${event}\n`)) return
  }
  assert.fail(`${path} ended without the event ${event}`)
}

async function answerTo(path, headers = {}, body = undefined, method = 'GET') {
  const asked = request(`${address}${path}`, { method, headers: { ...ADMIN, ...headers }, agent: false })
  asked.end(body)
  const [answer] = await once(asked, 'response')
  return answer
}
