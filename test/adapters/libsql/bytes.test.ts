import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { relationalConfig } from 'drizzle-major/relational'
import { eq, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/libsql'
import { blob, customType, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Child, scenario, startChild } from '../../fixtures/child-run.ts'
import { startHranaServer } from '../../fixtures/hrana-server.ts'
import { startHranaSocketServer } from '../../fixtures/hrana-socket-server.ts'
import { openLibsql } from '../../fixtures/libsql-engine.ts'

/** BLOBs: in the very shape in which Drizzle's own libSQL handle has them, in memory that holds nothing else. */

/** Says what Drizzle hands to custom types. */
const seen = customType<{ data: unknown; driverData: unknown }>({
  dataType: () => 'blob',
  fromDriver: (value) => shapeOf(value),
})
/** The vector column as it is copied around for libSQL, for the Buffers of Drizzle 0.45 and the ArrayBuffers of 1.0. */
const vector = customType<{ data: number[]; driverData: Buffer | ArrayBuffer }>({
  dataType: () => 'F32_BLOB(3)',
  fromDriver: (value) => [...new Float32Array(value instanceof ArrayBuffer ? value : value.buffer)],
})

const blobs = sqliteTable('blobs', {
  id: integer('id').primaryKey(),
  v: vector('v'),
  b: blob('b', { mode: 'buffer' }),
  j: blob('j', { mode: 'json' }),
  n: blob('n', { mode: 'bigint' }),
  x: seen('x'),
  w: text('w'),
})
const SETUP = [
  'create table blobs (id integer primary key, v F32_BLOB(3), b blob, j blob, n blob, x, w text)',
  `insert into blobs values (1, vector32('[1.5, 2.5, 3.5]'), x'00ff10', cast('{"a": [1]}' as blob), cast('12' as blob), x'07', x'08')`,
  `insert into blobs values (2, vector32('[0, -1, 1e10]'), x'', cast('null' as blob), cast('-3' as blob), zeroblob(5000), zeroblob(9))`,
  `insert into blobs values (3, null, zeroblob(200000), cast('"x"' as blob), null, zeroblob(200000), 'text')`,
]

/** Where the type of a handle says which tables it knows; here both handles know the same. */
type Db = Awaited<ReturnType<typeof openLibsql>>['db']
type Relational = { query: { blobs: { findMany(): PromiseLike<unknown> } } }

const raw = sql`select id, v, b, x, w from blobs order by id`
const star = sql`select *, b || x'01' as e from blobs order by id`
const text0 = 'select v, b, x, w from blobs where id = ?'
const QUESTIONS: Readonly<Record<string, (db: Db) => PromiseLike<unknown>>> = {
  'select()': (db) => db.select().from(blobs),
  'select() of one': (db) => db.select().from(blobs).where(eq(blobs.id, 1)).get(),
  'select().values()': (db) => db.select({ b: blobs.b, x: blobs.x }).from(blobs).values(),
  'db.query': (db) => (db as unknown as Relational).query.blobs.findMany(),
  'returning()': (db) => db.update(blobs).set({ id: 1 }).where(eq(blobs.id, 1)).returning(),
  'db.all': (db) => db.all(raw),
  'db.all of a star': (db) => db.all(star),
  'db.get': (db) => db.get(raw),
  'db.values': (db) => db.values(raw),
  'db.run': (db) => db.run(star),
  'db.batch': (db) => db.batch([db.select().from(blobs), db.all(raw), db.get(raw), db.run(raw)]),
  'db.transaction': (db) => db.transaction(async (tx) => [await tx.select().from(blobs), await tx.all(raw)]),
  'client.execute': (db) => db.$client.execute({ sql: text0, args: [1] }),
  'client.execute of returning': (db) =>
    db.$client.execute('update blobs set id = id where id = 1 returning v, b, x, w'),
  'client.batch': (db) => db.$client.batch([{ sql: text0, args: [2] }, 'select * from blobs']),
  'client.transaction': async (db) => {
    const transaction = await db.$client.transaction('read')
    const result = await transaction.execute({ sql: text0, args: [3] })
    await transaction.commit()
    return result
  },
}

let directory: string
const closings: (() => unknown)[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-bytes-'))
})
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close()
  rmSync(directory, { recursive: true, force: true })
})

/** A database with the table in it: through Drizzle's own handle, and through ours. */
interface Pair {
  readonly plain: Db
  readonly ours: Db
}

function plainHandle(connection: { url: string; authToken?: string; syncUrl?: string }): Db {
  const config: object = relationalConfig({ blobs })
  const db = drizzle({ connection, ...config }) as unknown as Db
  closings.push(() => db.$client.close())
  return db
}

async function ourHandle(dburi: string): Promise<Db> {
  const { schema, relations }: { schema?: object; relations?: object } = relationalConfig({ blobs })
  const engine = await openLibsql(dburi, { models: { ...schema, ...(relations && { relations }) } })
  closings.push(() => engine.dispose())
  return engine.db
}

async function fill({ $client }: Db): Promise<void> {
  for (const statement of SETUP) await $client.execute(statement)
}

async function file(): Promise<Pair> {
  const dburi = `file:${join(directory, 'x.db')}`
  const plain = plainHandle({ url: dburi })
  await fill(plain)
  return { plain, ours: await ourHandle(dburi) }
}

async function memory(): Promise<Pair> {
  const pair = { plain: plainHandle({ url: ':memory:' }), ours: await ourHandle(':memory:') }
  await fill(pair.plain)
  await fill(pair.ours)
  return pair
}

async function overHttp(): Promise<Pair> {
  const server = await startHranaServer(join(directory, 'remote.db'))
  closings.push(() => server.close())
  return remote(server.dburi)
}

async function overWebSockets(): Promise<Pair> {
  const server = await startHranaSocketServer(join(directory, 'remote.db'))
  closings.push(() => server.close())
  return remote(server.dburi)
}

async function remote(dburi: string): Promise<Pair> {
  const plain = plainHandle({ url: dburi.replace('libsql:', 'http:').replace(/\?.*/, '') })
  await fill(plain)
  return { plain, ours: await ourHandle(dburi) }
}

/** The server's process: calls of a replica's driver block the one they are made in. */
let server: Child
beforeAll(async () => {
  server = await startChild(scenario('hrana-server'), { timeout: 600_000 })
}, 120_000)
afterAll(async () => {
  server.end()
  await server.exited
})

async function replica(): Promise<Pair> {
  const authToken = 'token'
  const syncUrl = String(await server.call('open', { file: join(directory, 'server.db'), authToken }))
  closings.push(() => server.call('close', join(directory, 'server.db')))
  const plain = plainHandle({ url: `file:${join(directory, 'plain.db')}`, syncUrl, authToken })
  await fill(plain)
  const ours = await ourHandle(`file:${join(directory, 'ours.db')}?syncUrl=${syncUrl}&authToken=${authToken}`)
  await ours.$client.sync()
  return { plain, ours }
}

const DATABASES = {
  file,
  ':memory:': memory,
  'HTTP server': overHttp,
  'WebSocket server': overWebSockets,
  replica,
}

describe.each(Object.entries(DATABASES))('bytes from a %s', (_, open) => {
  it('are what the plain handle gives, in every way to ask for them', {
    tags: 'full',
    timeout: 60_000,
  }, async () => {
    const { plain, ours } = await open()

    for (const [name, ask] of Object.entries(QUESTIONS)) {
      const expected = shapesIn(await ask(plain))
      // The first time a text is described, the second time it is known; large ones are then read another way.
      for (let round = 0; round < 3; round++) expect(shapesIn(await ask(ours)), name).toEqual(expected)
    }
  })

  it('own their memory', { timeout: 60_000 }, async () => {
    const { ours } = await open()

    for (const [name, ask] of Object.entries(QUESTIONS)) {
      const shapes = shapesIn(await ask(ours)).filter(isShape)
      expect(shapes.length, name).toBeGreaterThan(1)
      for (const { offset, size, memory } of shapes) expect([name, offset, memory]).toEqual([name, 0, size])
    }
    expect((await ours.select().from(blobs)).map(({ v }) => v)).toEqual([
      [1.5, 2.5, 3.5],
      [0, -1, 1e10],
      null,
    ])
  })
})

/** How bytes lie in memory. */
interface Shape {
  readonly type: string
  readonly digest: string
  readonly offset: number
  readonly size: number
  /** The size of the memory they lie in. */
  readonly memory: number
}

function shapeOf(value: unknown): Shape | null {
  if (value instanceof ArrayBuffer) {
    const { byteLength } = value
    return { type: 'ArrayBuffer', digest: digestOf(value), offset: 0, size: byteLength, memory: byteLength }
  }
  if (!ArrayBuffer.isView(value)) return null
  const { byteLength, byteOffset, buffer } = value
  const digest = digestOf(buffer, byteOffset, byteLength)
  const { name } = value.constructor
  return { type: name, digest, offset: byteOffset, size: byteLength, memory: buffer.byteLength }
}

function digestOf(memory: ArrayBufferLike, offset?: number, length?: number): string {
  return createHash('sha1')
    .update(Buffer.from(memory, offset, length))
    .digest('hex')
}

function isShape(value: unknown): value is Shape {
  return typeof value === 'object' && value !== null && 'memory' in value
}

/** All bytes in a result, in order, and all else that is no row. */
function shapesIn(value: unknown): unknown[] {
  if (isShape(value)) return [value]
  const shape = shapeOf(value)
  if (shape !== null) return [shape]
  if (typeof value !== 'object' || value === null) return typeof value === 'bigint' ? [value] : []
  const positions = 'length' in value && !Array.isArray(value) ? Array.prototype.slice.call(value) : []
  return [...Object.values(value), ...positions].flatMap(shapesIn)
}
