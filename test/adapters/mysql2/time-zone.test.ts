import { ConnectError, type Mysql2Handle, SessionManager } from 'drizzle-celery'
import { DatabaseBackend } from 'drizzle-celery/backend'
import { sql } from 'drizzle-orm'
import { datetime, int, mysqlTable, timestamp } from 'drizzle-orm/mysql-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { type MariadbServer, openMariadbServer } from '../../fixtures/mariadb-server.ts'
import { describeNeeding } from '../../fixtures/servers.ts'
import { causeOf } from '../conformance.ts'

/** What a server that is not in UTC makes of dates. */

const dates = mysqlTable('dates', {
  id: int('id').primaryKey(),
  stamped: timestamp('stamped').defaultNow(),
  dated: datetime('dated').default(sql`current_timestamp`),
  givenStamp: timestamp('given_stamp'),
  givenDate: datetime('given_date'),
})

describeNeeding('private mariadb', 'a server whose time zone is +09:00', () => {
  let server: MariadbServer
  let manager: SessionManager<{ mysql: { dates: typeof dates } }>

  beforeAll(async () => {
    server = await openMariadbServer({ settings: () => ['--default-time-zone=+09:00'] })
  }, 60_000)
  afterAll(() => server?.close())
  beforeEach(() => {
    manager = new SessionManager({ models: { mysql: { dates } } })
  })
  afterEach(async () => {
    const { db } = await manager.getEngine(dburi())
    await db.execute(sql`drop table if exists dates`)
    await manager.dispose({ grace: 0 })
  })

  const dburi = (options = '') => `mysql://root@127.0.0.1:${server.port}/mysql${options}` as const
  const zoneOf = async (db: Pick<Mysql2Handle, 'execute'>) => {
    const [rows] = await db.execute(sql`select @@session.time_zone as zone`)
    return Reflect.get(Object(Reflect.get(rows, 0)), 'zone')
  }
  const NINE_HOURS = 9 * 3_600_000
  /** To a tenth of an hour: the two clocks are one. */
  const hoursOff = (date: Date | null | undefined, from: Date) =>
    Math.round((Number(date) - from.getTime()) / 360_000) / 10 + 0

  it('has sessions in UTC, so that what the database fills in and what is given are the same instants', async () => {
    const now = new Date('2026-06-01T12:00:00Z')
    await manager.session(dburi(), async (db) => {
      expect(await zoneOf(db)).toBe('+00:00')
      await db.insert(dates).values({ id: 1, givenStamp: now, givenDate: now })
      await db.insert(dates).values({ id: 2, givenStamp: sql`${now}` })
    })
    const { db } = await manager.getEngine(dburi())
    const [first, second] = await db.select().from(dates).orderBy(dates.id)
    const [told] = await db.$client.query<object[]>(
      'select unix_timestamp(given_stamp) * 1000 as given, abs(unix_timestamp(stamped) - unix_timestamp()) < 60 as isNow from dates',
    )

    expect(hoursOff(first?.stamped, new Date())).toBe(0)
    expect(hoursOff(first?.dated, new Date())).toBe(0)
    expect([first?.givenStamp, first?.givenDate, second?.givenStamp]).toEqual([now, now, now])
    expect(told.map((row) => Object.values(row).map(Number))).toEqual([
      [now.getTime(), 1],
      [now.getTime(), 1],
    ])
  })

  it('has every connection in UTC: shared, checked out, of transactions, without a pool', async () => {
    const engine = await manager.getEngine(dburi('?pool_size=1'))
    await using connection = await engine.connect()
    await using unpooled = new SessionManager({ pooled: false })
    const zones = [
      await zoneOf(engine.db),
      await zoneOf(connection.db),
      await engine.db.transaction((tx) => zoneOf(tx)),
      await zoneOf((await unpooled.getEngine(dburi())).db),
    ]

    expect(zones).toEqual(['+00:00', '+00:00', '+00:00', '+00:00'])
  })

  it('reads what is in datetime columns unchanged, and keeps the old way of the rest for who asks for it', async () => {
    const old = await manager.getEngine(dburi('?time_zone=server'))
    await manager.prepareModels(old)
    expect(await zoneOf(old.db)).toBe('+09:00')
    const given = new Date('2026-06-01T12:00:00Z')
    await old.db.insert(dates).values({ id: 1, givenStamp: given, givenDate: given })

    const byProgram = await manager.getEngine(dburi(), { timeZone: 'server' })
    const [before] = await byProgram.db.select().from(dates)
    const [now] = await (await manager.getEngine(dburi())).db.select().from(dates)

    expect(before).toMatchObject({ givenStamp: given, givenDate: given })
    expect(hoursOff(before?.dated, new Date())).toBe(9)
    // The instant that was stored, which was nine hours too early.
    expect(now).toMatchObject({ givenDate: given, givenStamp: new Date(given.getTime() - NINE_HOURS) })
    expect(now?.dated).toEqual(before?.dated)
  })

  it('is told any other zone', async () => {
    expect(await zoneOf((await manager.getEngine(dburi('?time_zone=-03:00'))).db)).toBe('-03:00')
    expect(await zoneOf((await manager.getEngine(dburi(), { timeZone: '+05:30' })).db)).toBe('+05:30')
  })

  it.each([
    ['Europe/Berlin', /'Europe\/Berlin'.*mysql_tzinfo_to_sql/],
    ['+14:30', /'\+14:30'.*an offset from -12:59 to \+13:00 always is/],
  ])('says which zone it does not know, and what would help: %s', async (timeZone, message) => {
    const { db } = await manager.getEngine(dburi(), { timeZone })
    const error = await causeOf(db.execute(sql`select 1`))

    expect(error).toBeInstanceOf(ConnectError)
    expect(error).toMatchObject({
      message: expect.stringMatching(message),
      cause: { errno: 1298 },
    })
  })

  it.each(['', '?time_zone=server'])('changes nothing about date_done of results: "%s"', async (options) => {
    await using backend = new DatabaseBackend(dburi(options))
    await backend.markAsDone(`task ${options}`, 1)
    const { dateDone } = await backend.getTaskMeta(`task ${options}`)

    expect(hoursOff(dateDone as Date | null, new Date())).toBe(0)
  })
})
