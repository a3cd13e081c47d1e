import { SessionManager } from 'drizzle-celery'
import { DatabaseBackend } from 'drizzle-celery/backend'
import { sql } from 'drizzle-orm'
import { customType, integer, pgTable, timestamp } from 'drizzle-orm/pg-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseBytea } from '../../../src/adapters/postgresql/values.ts'
import { failure, Observer, withOptions } from '../../faults/support.ts'
import { openPgBouncer, type PgBouncer } from '../../fixtures/pgbouncer.ts'
import { describeNeeding, freshPostgres } from '../../fixtures/servers.ts'

/** Databases whose settings change what a server answers: what is read must not depend on them. */

const EVERY_BYTE = Uint8Array.from({ length: 256 }, (_, byte) => byte)

it.each([
  [String.raw`\x`, []],
  [String.raw`\x00ff5c`, [0, 255, 92]],
  ['', []],
  ['abc', [97, 98, 99]],
  [String.raw`\\x41`, [92, 120, 52, 49]],
  [String.raw`\000\377\\134`, [0, 255, 92, 49, 51, 52]],
])('the bytes of %j are %j', (text, bytes) => {
  expect([...parseBytea(text)]).toEqual(bytes)
})

it.each([String.raw`\xzzzz`, String.raw`\x00f`])(
  'no memory of the process is taken for the bytes of %j',
  (text) => {
    expect(() => parseBytea(text)).toThrow('in no known form')
  },
)

it.each([String.raw`\x00ff5c`, 'abc'])('the bytes of %j own their memory', (text) => {
  const { byteOffset, buffer } = parseBytea(text)

  expect([byteOffset, buffer.byteLength]).toEqual([0, 3])
})

const bytes = customType<{ data: Uint8Array }>({ dataType: () => 'bytea' })
const settings = pgTable('settings', {
  id: integer().primaryKey(),
  one: bytes(),
  many: bytes().array(),
  at: timestamp({ withTimezone: true, precision: 3 }),
})

describeNeeding('postgresql', 'a database with settings of its own', () => {
  const database = freshPostgres()
  let observer: Observer
  beforeAll(async () => {
    observer = new Observer(database.dburi)
    await observer.sql.unsafe(`alter database ${database.name} set bytea_output to 'escape'`)
    await observer.sql.unsafe(`alter database ${database.name} set datestyle to 'German, DMY'`)
    await observer.sql.unsafe(`alter database ${database.name} set timezone to 'Asia/Kathmandu'`)
  })
  afterAll(() => observer[Symbol.asyncDispose]())

  it('bytes and dates are read as they were written', () => readsAndWrites(database.dburi))

  it('others who connect do have those settings', async () => {
    await using other = new Observer(database.dburi)
    const [row] = await other.sql`select current_setting('datestyle') as style, '\\000'::bytea::text as text`

    expect(row).toEqual({ style: 'German, DMY', text: '\\000' })
  })

  describeNeeding('pgbouncer', 'behind PgBouncer', () => {
    let pooler: PgBouncer
    beforeAll(async () => {
      pooler = await openPgBouncer(database.dburi)
    })
    afterAll(() => pooler[Symbol.asyncDispose]())

    it('bytes and dates are read as they were written', () => readsAndWrites(pooler.dburi))

    it('a setting it does not know is refused by it', async () => {
      await using manager = new SessionManager()
      const dburi = withOptions(pooler.dburi, { bytea_output: 'hex' })

      const error = await failure((await manager.getEngine(dburi)).connect())

      expect(error).toMatchObject({ code: 'CONNECT_FAILED' })
    })
  })

  async function readsAndWrites(dburi: string): Promise<void> {
    await using backend = new DatabaseBackend(dburi)
    const result = { text: 'naïve', bytes: EVERY_BYTE }
    const before = Date.now()
    await backend.markAsDone('a', result)
    const meta = await backend.getTaskMeta('a')
    const { items } = await backend.list({ orderBy: 'dateDone' })
    expect(meta.result).toEqual(result)
    expect(Math.abs((meta.dateDone?.getTime() ?? 0) - before)).toBeLessThan(60_000)
    expect(items.map(({ dateDone }) => dateDone)).toEqual([meta.dateDone])

    await using manager = new SessionManager()
    const { db } = await manager.getEngine(withOptions(dburi, {}))
    await db.execute(
      sql`create table if not exists settings (id int primary key, one bytea, many bytea[], at timestamptz(3))`,
    )
    const at = new Date('2024-02-03T04:05:06.789Z')
    await db.delete(settings)
    await db.insert(settings).values({ id: 1, one: EVERY_BYTE, at })
    await db.execute(sql.raw(String.raw`update settings set many = array[one, '\x5c78'::bytea]`))
    const [row] = await db.select().from(settings)
    expect([...(row?.one ?? [])]).toEqual([...EVERY_BYTE])
    expect(row?.many?.map((each) => [...each])).toEqual([[...EVERY_BYTE], [92, 120]])
    expect(row?.at).toEqual(at)
  }
})
