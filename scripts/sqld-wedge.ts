/**
 * How often sqld's write lock wedges (reads are answered, writes never again) under eight concurrent writers: by this
 * package, and by `@libsql/client` alone with a client for each writer.
 *
 *     SQLD=… npx tsx scripts/sqld-wedge.ts [runs] [seconds a run]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@libsql/client'
import { SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { openSqld } from '../test/fixtures/sqld-server.ts'

const WRITERS = 8
/** Seconds without a write after which the lock counts as wedged: sqld's own limits are 5 and 10. */
const SILENCE = 20

const [runs = 50, seconds = 6] = process.argv.slice(2).map(Number)

interface Writers {
  /** Reads a number and writes the next one, in a transaction. */
  step(writer: number): Promise<unknown>
  end(): Promise<void>
}

const kinds: Record<string, (dburi: `http://${string}`) => Writers> = {
  'this package': (dburi) => {
    const manager = new SessionManager({ models: { sqlite: {} }, engineOptions: { poolSize: WRITERS } })
    return {
      step: (writer) =>
        manager.session(dburi, async (db) => {
          await db.all(sql`select n from t where w = ${writer}`)
          await db.run(sql`update t set n = n + 1 where w = ${writer}`)
        }),
      end: () => manager.dispose({ grace: 0 }),
    }
  },
  'the bare client': (dburi) => {
    const clients = Array.from({ length: WRITERS }, () => createClient({ url: dburi }))
    return {
      async step(writer) {
        const transaction = await clients[writer]?.transaction('write')
        try {
          await transaction?.execute({ sql: 'select n from t where w = ?', args: [writer] })
          await transaction?.execute({ sql: 'update t set n = n + 1 where w = ?', args: [writer] })
          await transaction?.commit()
        } finally {
          transaction?.close()
        }
      },
      async end() {
        for (const client of clients) client.close()
      },
    }
  },
}

async function isWedged(open: (dburi: `http://${string}`) => Writers): Promise<boolean> {
  await using server = await openSqld()
  const setup = createClient({ url: server.http })
  await setup.executeMultiple(
    `create table t (w integer primary key, n integer);
     insert into t select value, 0 from json_each('[0,1,2,3,4,5,6,7]')`,
  )
  setup.close()
  const writers = open(server.http)
  let wroteAt = performance.now()
  let isOver = false
  const loops = Array.from({ length: WRITERS }, async (_, writer) => {
    while (!isOver) {
      await writers.step(writer).then(
        () => {
          wroteAt = performance.now()
        },
        () => {},
      )
    }
  })
  const endsAt = performance.now() + seconds * 1_000
  const isSilent = () => performance.now() - wroteAt > SILENCE * 1_000
  while (performance.now() < endsAt || performance.now() - wroteAt > 1_000) {
    if (isSilent()) break
    await sleep(100)
  }
  isOver = true
  const wedged = isSilent()
  await writers.end()
  await Promise.race([Promise.all(loops), sleep(1_000)])
  return wedged
}

const wedged = new Map(Object.keys(kinds).map((kind) => [kind, 0]))
for (let run = 0; run < runs; run++) {
  for (const [kind, open] of Object.entries(kinds)) {
    if (await isWedged(open)) wedged.set(kind, (wedged.get(kind) ?? 0) + 1)
  }
  if (run % 10 === 9) console.log(`${run + 1} runs each, wedged:`, Object.fromEntries(wedged))
}
process.exit()
