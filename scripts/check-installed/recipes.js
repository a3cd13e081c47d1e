/** Writes a row by the recipe that it is given the name of, reads it by the same, and prints what it read. */
import { once } from 'node:events'
import { createServer } from 'node:http'

const recipe = process.argv[2] ?? ''
const body = `${recipe} was here`

const recipes = {
  async next() {
    const { GET, POST } = await import('./next.js')
    const send = (path, init) => (init ? POST(new Request(`http://localhost${path}`, init)) : GET())
    return writeAndRead(send)
  },

  async fastify() {
    const { app } = await import('./fastify.js')
    const address = await app.listen({ port: 0 })
    const notes = await writeAndRead((path, init) => fetch(address + path, init))
    await app.close()
    return notes
  },

  async express() {
    const { app } = await import('./express.js')
    return served(app)
  },

  async hono() {
    const { app } = await import('./hono.js')
    return writeAndRead((path, init) => app.request(path, init))
  },

  async nest() {
    const { NestFactory } = await import('@nestjs/core')
    const { AppModule } = await import('./nest.js')
    const app = await NestFactory.create(AppModule, { logger: false })
    await app.listen(0)
    const address = await app.getUrl()
    const notes = await writeAndRead((path, init) => fetch(address + path, init))
    await app.close()
    return notes
  },

  async lambda() {
    const { handler } = await import('./lambda.js')
    return JSON.parse((await handler({ body })).body)
  },

  async worker() {
    const { work } = await import('./worker.js')
    await work({ data: { body } })
    const { dburi, manager, note } = await import('./db.js')
    return manager.session(dburi, (db) => db.select().from(note))
  },
}

const notes = await recipes[recipe]()
console.log(notes.at(-1).body)
const { manager } = await import('./db.js')
await manager.dispose()

async function writeAndRead(send) {
  const headers = { 'content-type': 'application/json' }
  const written = await send('/notes', { method: 'POST', headers, body: JSON.stringify({ body }) })
  if (written.status !== 201) throw new Error(`POST gave ${written.status}`)
  return (await send('/notes')).json()
}

async function served(listener) {
  const server = createServer(listener).listen(0)
  await once(server, 'listening')
  const { port } = server.address()
  const notes = await writeAndRead((path, init) => fetch(`http://localhost:${port}${path}`, init))
  server.close()
  return notes
}
