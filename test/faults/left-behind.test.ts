/**
 * What is opened and closed again leaves nothing behind, however often it is done: neither memory nor descriptors nor
 * anything that the event loop waits for. `LONG=1` does each 10,000 times and more, what waits for 20 ms and takes two
 * connections 4,000 times, ten at once, and an instance of PGlite, which takes seconds, 40 times.
 */
import { AsyncResource } from 'node:async_hooks'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Engine, type EngineOptions, SessionManager } from 'drizzle-celery'
import { AsyncResult, DatabaseBackend } from 'drizzle-celery/backend'
import { type SQL, sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { askMysql, askPostgres } from '../fixtures/catalogue.ts'
import { startHranaServer } from '../fixtures/hrana-server.ts'
import { startHranaSocketServer } from '../fixtures/hrana-socket-server.ts'
import { isLong, loops } from '../fixtures/loops.ts'
import { openMariadbServer } from '../fixtures/mariadb-server.ts'
import { openPgServer } from '../fixtures/pg-server.ts'
import { createMysql, createPostgres, describeNeeding } from '../fixtures/servers.ts'
import { codeFrom, failure, type PostgresDburi, times, withOptions } from './support.ts'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

/** Bytes each: half of what a listener on a signal takes, and above what a heap of this size sways by. */
const MOST = 1_200

/** The servers of the fixtures live in this process, and remember each request. */
const MOST_WITH_FIXTURE = 3_000

const TIMEOUT = { timeout: isLong ? 3_600_000 : 300_000 }
const FULL = { ...TIMEOUT, tags: 'full' }

for (const [need, create, nap, napping] of [
  [
    'postgresql',
    createPostgres,
    sql.raw('select pg_sleep(5)'),
    (dburi: string) =>
      askPostgres(
        dburi,
        "select from pg_stat_activity where datname = current_database() and query like '%sleep(5)'",
      ),
  ],
  [
    'mysql',
    createMysql,
    sql.raw('select sleep(5)'),
    (dburi: string) =>
      askMysql(
        dburi,
        "select 1 from information_schema.processlist where db = database() and info like '%sleep(5)'",
      ),
  ],
] as const) {
  describeNeeding(need, need, () => {
    /**
     * A statement that was given up goes on until the server is told, and its connection counts there until then. MariaDB can take
     * two seconds to interrupt a `sleep()`, so that batches which did not wait used up `max_connections`.
     */
    const untilEnded = (dburi: string) => () =>
      expect.poll(async () => (await napping(dburi)).length, { interval: 50 }).toBe(0)

    const withEngine = async (
      options: EngineOptions,
      work: (engine: Engine, dburi: string) => Promise<void>,
    ) => {
      await using database = await create()
      await using manager = new SessionManager({ prepare: 'none', engineOptions: options })
      await work(await manager.getEngine(database.dburi), database.dburi)
    }

    it('a connection leaves nothing behind when it is closed', FULL, () =>
      withEngine({ pooled: false }, (engine) => nothingLeft(() => openAndClose(engine))),
    )

    it('a session on a connection of its own leaves nothing behind', FULL, async () => {
      await using database = await create()
      await using manager = new SessionManager({ prepare: 'none' })
      const { sessionMaker } = await manager.createSession(database.dburi, { shortLivedSessions: true })

      await nothingLeft(async () => {
        await using session = sessionMaker()
        await ask(session, sql.raw('select 1'))
        await session.commit()
      })
    })

    it('a statement that took too long leaves nothing behind of itself and its connection', FULL, () =>
      withEngine({ statementTimeout: 0.02, poolSize: 1 }, (engine, dburi) =>
        nothingLeft(
          async () => {
            expect(await codeFrom(ask(engine, nap))).toBe('STATEMENT_TIMEOUT')
          },
          { rounds: loops(60, 2_000), atOnce: 10, between: untilEnded(dburi) },
        ),
      ),
    )

    it('a statement that was aborted leaves nothing behind, nor does its signal', FULL, async () => {
      await using database = await create()
      await using manager = new SessionManager({ prepare: 'none' })
      await nothingLeft(
        async () => {
          const stop = new AbortController()
          await using session = await manager.sessionFactory(database.dburi, { signal: stop.signal })
          setTimeout(() => stop.abort(), 20)
          expect(await codeFrom(ask(session, nap))).toBe('ABORTED')
        },
        { rounds: loops(60, 2_000), atOnce: 10, between: untilEnded(database.dburi) },
      )
    })

    it(
      'a signal that is never aborted remembers none of the statements and sessions it was given to',
      FULL,
      async () => {
        await using database = await create()
        await using manager = new SessionManager({ prepare: 'none' })
        const { signal } = new AbortController()

        await nothingLeft(async () => {
          await using session = await manager.sessionFactory(database.dburi, { signal })
          await Promise.all(Array.from({ length: 20 }, () => ask(session, sql.raw('select 1'))))
        })
      },
    )

    it('a database that is not there leaves nothing behind', FULL, () =>
      withEngine({}, async (engine) => {
        await using manager = new SessionManager({ prepare: 'none' })
        const missing = await manager.getEngine(
          engine.stats().dburi.replace(/\/dc_test_\w+/, '/dc_test_none'),
        )

        await nothingLeft(async () => {
          expect(await codeFrom(ask(missing, sql.raw('select 1')))).toBe('CONNECT_FAILED')
        })
      }),
    )

    it('a server that is not there leaves nothing behind', FULL, async () => {
      await using manager = new SessionManager({ prepare: 'none' })
      const engine = await manager.getEngine(`${need}://nobody@127.0.0.1:${await closedPort()}/none`)

      await nothingLeft(async () => {
        expect(await codeFrom(ask(engine, sql.raw('select 1')))).toBe('CONNECT_FAILED')
      })
    })
  })
}

describe('a password that is wrong', () => {
  const refused = async (dburi: string, code: string) => {
    await using manager = new SessionManager({ prepare: 'none' })
    const engine = await manager.getEngine(dburi as PostgresDburi)
    await nothingLeft(async () => {
      expect(await failure(engine.connect())).toMatchObject({ code: 'CONNECT_FAILED', cause: { code } })
    })
  }

  describeNeeding('private postgresql', 'of PostgreSQL', () => {
    it('leaves nothing behind', FULL, async () => {
      await using server = await openPgServer()
      const rules = join(server.data, 'pg_hba.conf')
      const guest = 'host all guest 127.0.0.1/32 scram-sha-256'
      writeFileSync(rules, `${guest}\n${readFileSync(rules, 'utf8')}`)
      await askPostgres(server.dburi, "create role guest login password 'right'; select pg_reload_conf()")

      await refused(server.dburi.replace('//postgres@', '//guest:wrong@'), '28P01')
    })
  })

  describeNeeding('private mariadb', 'of MySQL', () => {
    it('leaves nothing behind', FULL, async () => {
      await using server = await openMariadbServer()
      await askMysql(server.dburi, "create user guest@'%' identified by 'right'")

      await refused(server.dburi.replace('//root@', '//guest:wrong@'), 'ER_ACCESS_DENIED_ERROR')
    })
  })
})

describeNeeding('private mariadb', 'prepared statements of MySQL', () => {
  it('that are evicted, or whose connection is closed, are gone from the server', TIMEOUT, async () => {
    await using server = await openMariadbServer()
    await using manager = new SessionManager({ prepare: 'none' })
    const engine = await manager.getEngine(server.dburi as 'mysql://', { statementCacheSize: 8, poolSize: 2 })
    const kept = async () => {
      const [row] = await askMysql(server.dburi, "show global status like 'Prepared_stmt_count'")
      return Number(row?.['Value'])
    }
    const before = await kept()

    let most = 0
    for (let round = 0; round < 4; round++) {
      const held = await Promise.all([engine.connect(), engine.connect()])
      for (let text = 0; text < loops(50, 2_500); text++) {
        for (const { db } of held)
          await db.execute(sql`select ${text} + ${sql.raw(`${text} as text_${text}`)}`)
      }
      await Promise.all(held.map((connection) => connection.close()))
      // The server is told to forget one without an answer.
      await expect.poll(async () => (await kept()) - before).toBeLessThanOrEqual(16)
      most = Math.max(most, (await kept()) - before)
    }
    await manager.dispose()

    expect(most).toBe(16)
    await expect.poll(kept).toBe(before)
  })
})

describeNeeding('postgresql', 'waiting for results by LISTEN', () => {
  it('leaves nothing behind when nobody waits any more', FULL, async () => {
    await using database = await createPostgres()
    await using backend = new DatabaseBackend(withOptions(database.dburi, {}), { notify: true })
    await backend.getTaskMeta('none')

    await nothingLeft(
      async () => {
        await new AsyncResult('none', backend).get({ timeout: 0.03 }).catch(() => {})
      },
      { rounds: loops(60, 2_000), most: 2 * MOST, atOnce: 10 },
    )
  })
})

describe('libSQL', () => {
  it('a connection to a file leaves nothing behind when it is closed', FULL, () =>
    inDirectory(async (directory) => {
      await using manager = new SessionManager({ prepare: 'none' })
      const engine = await manager.getEngine(`file:${directory}/x.db` as const, { pooled: false })
      await nothingLeft(() => openAndClose(engine))
    }),
  )

  it('a file that is no database leaves nothing behind', FULL, () =>
    inDirectory(async (directory) => {
      writeFileSync(join(directory, 'x.db'), 'no database at all'.repeat(1_000))
      await using manager = new SessionManager({ prepare: 'none' })
      const engine = await manager.getEngine(`file:${directory}/x.db` as const)
      await nothingLeft(async () => {
        expect(await codeFrom(ask(engine, sql.raw('select * from sqlite_master')))).not.toBe(null)
      })
    }),
  )

  for (const [protocol, start] of [
    ['HTTP', startHranaServer],
    ['WebSockets', startHranaSocketServer],
  ] as const) {
    it(`a connection by ${protocol} leaves nothing behind when it is closed`, FULL, () =>
      inDirectory(async (directory) => {
        await using server = await start(join(directory, 'remote.db'))
        await using manager = new SessionManager({ prepare: 'none' })
        const engine = await manager.getEngine(server.dburi, { pooled: false })
        await nothingLeft(() => openAndClose(engine), { most: MOST_WITH_FIXTURE })
      }),
    )

    it(`a server that is not there leaves nothing behind, by ${protocol}`, FULL, async () => {
      await using manager = new SessionManager({ prepare: 'none' })
      const scheme = protocol === 'HTTP' ? 'http' : 'ws'
      const engine = await manager.getEngine(`${scheme}://127.0.0.1:${await closedPort()}`)
      await nothingLeft(
        async () => {
          expect(await codeFrom(ask(engine, sql.raw('select 1')))).not.toBe(null)
        },
        { most: MOST_WITH_FIXTURE },
      )
    })
  }
})

describe('a manager', () => {
  it('remembers few of the ways in which one dburi is written', FULL, () =>
    inDirectory(async (directory) => {
      await using manager = new SessionManager({ prepare: 'none' })
      let written = 0
      await nothingLeft(
        async () => {
          written++
          await manager.getEngine(`file:${directory}/x.db${' '.repeat(20_000 + written)}` as const)
        },
        { rounds: 1_000, most: 2_000 },
      )
    }),
  )

  it('leaves nothing on the promises of its process, however many there are', {
    ...TIMEOUT,
    tags: 'full',
  }, async () => {
    const managers = Array.from({ length: 200 }, () => new SessionManager({ prepare: 'none' }))
    for (const manager of managers) await manager.session(':memory:', async () => {})
    const before = await settled()

    const promises = Array.from({ length: 10_000 }, () => new Promise(() => {}))
    const after = await settled()

    expect((after.bytes - before.bytes) / promises.length).toBeLessThan(MOST)
    await Promise.all(managers.map((manager) => manager.dispose()))
  })
})

describe('a session', () => {
  it('is not kept by a job that it has begun, nor by all that begin the next one', TIMEOUT, async () => {
    await using manager = new SessionManager({ prepare: 'none' })
    let job = new AsyncResource('job')
    await nothingLeft(() =>
      job.runInAsyncScope(() =>
        manager.session(':memory:', async () => {
          job = new AsyncResource('job')
        }),
      ),
    )
  })
})

describe('PGlite', () => {
  it.skipIf(!isLong)(
    'an instance leaves nothing behind when it is closed (20 of them take a minute: LONG=1)',
    TIMEOUT,
    async () => {
      const instance = async () => {
        await using manager = new SessionManager({ prepare: 'none' })
        const { db } = await manager.getEngine('pglite:')
        await db.execute(sql`select 1`)
      }
      // An instance has 64 MB and more outside of the heap, which two forgotten ones would show.
      await nothingLeft(instance, { rounds: 20, most: 4_000_000 })
    },
  )
})

/**
 * Does something over and over, and compares what is there after each batch of rounds. What is left behind is there after
 * every batch; what the heap only sways by, or the runtime makes once, is not.
 */
async function nothingLeft(
  round: () => Promise<void>,
  { rounds = loops(300, 5_000), most = MOST, atOnce = 1, between }: Rounds = {},
): Promise<void> {
  const batch = async () => {
    for (let done = 0; done < rounds; done += atOnce) {
      await times(atOnce, round)
      await between?.()
    }
    return settled()
  }
  let before = await batch()
  let grown: Things = before
  for (let attempt = 0; attempt < 3; attempt++) {
    const after = await batch()
    grown = {
      files: after.files - before.files,
      handles: after.handles - before.handles,
      bytes: (after.bytes - before.bytes) / rounds,
    }
    if (grown.files <= 0 && grown.handles <= 0 && grown.bytes < most) return
    before = after
  }
  expect.fail(`After each ${rounds} rounds there is more, bytes for each of them: ${JSON.stringify(grown)}`)
}

interface Rounds {
  /** Of a batch; there are at least two. */
  readonly rounds?: number
  /** Bytes that each may leave. */
  readonly most?: number
  /** How many are done at a time: those that mostly wait. */
  readonly atOnce?: number
  /** Awaited before the next are done. */
  readonly between?: () => Promise<void>
}

interface Things {
  readonly files: number
  readonly handles: number
  readonly bytes: number
}

/** What was closed last may take a moment to be gone. */
async function settled(): Promise<Things> {
  for (let turn = 0; turn < 5; turn++) {
    collect()
    await sleep(50)
  }
  const { heapUsed, external } = process.memoryUsage()
  return {
    files: readdirSync('/proc/self/fd').length,
    handles: process.getActiveResourcesInfo().length,
    bytes: heapUsed + external,
  }
}

async function openAndClose(engine: Engine): Promise<void> {
  const connection = await engine.connect()
  await ask(connection, sql.raw('select 1'))
  await connection.close()
}

/** Whatever the dialect. */
async function ask({ db }: { readonly db: unknown }, statement: SQL): Promise<void> {
  if (runsBy(db, 'run')) await db.run(statement)
  else if (runsBy(db, 'execute')) await db.execute(statement)
  else throw new Error('This is no handle')
}

function runsBy<Name extends string>(
  db: unknown,
  name: Name,
): db is Record<Name, (statement: SQL) => PromiseLike<unknown>> {
  return typeof db === 'object' && db !== null && name in db
}

async function inDirectory(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-left-'))
  try {
    await work(directory)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** A port that nobody listens on. */
async function closedPort(): Promise<number> {
  const server = createServer()
  const port = await new Promise<number>((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : 0)
    })
  })
  await new Promise((resolve) => server.close(resolve))
  return port
}
