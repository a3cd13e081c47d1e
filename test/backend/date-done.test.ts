/** `date_done` as each version of Celery stores it, by values that real ones stored, and what is made of it. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { CeleryNodeBackend } from '../../src/backend/clients/celery-node.ts'
import { type BackendOptions, DatabaseBackend } from '../../src/backend/database-backend.ts'
import type { ListOptions } from '../../src/backend/list.ts'
import { AsyncResult } from '../../src/backend/results.ts'
import { createMysql, createPostgres, describeNeeding } from '../fixtures/servers.ts'
import { ask, newId } from './behaviour.ts'

type Dialect = 'sqlite' | 'mysql' | 'postgresql'
/** What a Celery stored at the instant `now`; `stored_by` for one whose clock ran fast. */
interface Vector {
  readonly celery: string
  readonly kind: string
  readonly dialect: Dialect
  readonly server_zone: string | null
  readonly timezone: string | null
  readonly now: string
  readonly stored_by?: string
  readonly date_done: string
}

const vectors = recordedDates()

/** A database of a dialect, on PostgreSQL with sessions in a zone, past everything the backend does. */
/** The days around a change of clocks. */
const DAYS_OF_MARCH = { since: new Date('2024-03-09'), until: new Date('2024-03-12') }

interface Place {
  open(options?: BackendOptions): DatabaseBackend
  ask(text: string): Promise<object[]>
  /** Stores a date: milliseconds that are shown as they are in UTC. */
  setDate(id: string, shown: number, table?: 'task' | 'group'): Promise<void>
}

const makers = {
  async sqlite() {
    const directory = mkdtempSync(join(tmpdir(), 'dc-dates-'))
    return {
      dburi: `file:${join(directory, 'results.db')}`,
      drop: async () => rmSync(directory, { recursive: true }),
    }
  },
  mysql: () => createMysql(),
  postgresql: (zone: string) => createPostgres({ timezone: zone }),
}

function place(dialect: Dialect, zone = 'UTC'): Place {
  const opened: DatabaseBackend[] = []
  let dburi = ''
  let drop: () => Promise<void>
  let plain: DatabaseBackend
  const open = (options?: BackendOptions) => {
    const backend = new DatabaseBackend(dburi, options)
    opened.push(backend)
    return backend
  }
  beforeAll(async () => {
    const made = await makers[dialect](zone)
    dburi = made.dburi
    drop = () => made.drop()
    plain = open()
    await plain.getState('makes the tables')
  })
  afterAll(async () => {
    for (const backend of opened) await backend.dispose()
    await drop()
  })
  const askPlain = (text: string) => ask(plain, dburi, text)
  const setDate = async (id: string, shown: number, table: 'task' | 'group' = 'task') => {
    const [name, column] =
      table === 'task' ? ['celery_taskmeta', 'task_id'] : ['celery_tasksetmeta', 'taskset_id']
    const text = new Date(shown).toISOString().replace('T', ' ').replace('Z', '000')
    await askPlain(`update ${name} set date_done = '${text}' where ${column} = '${id}'`)
  }
  return { open, ask: askPlain, setDate }
}

/** Suites that run where the server of the dialect is. */
function describeDialect(dialect: Dialect, name: string, suite: () => void): void {
  if (dialect === 'sqlite') describe(name, suite)
  else describeNeeding(dialect, name, suite)
}

function optionsOf([vector]: readonly Vector[]): BackendOptions {
  const celery = vector?.celery ?? ''
  return {
    timezone: vector?.timezone ?? null,
    // Main is what comes after the newest release.
    ...(celery.startsWith('main') ? {} : { celeryVersion: celery }),
  }
}

describe.each(['sqlite', 'mysql', 'postgresql'] as const)('values that Celery stored on %s', (dialect) => {
  const ofDialect = vectors.filter((vector) => vector.dialect === dialect)
  for (const zone of new Set(ofDialect.map(({ server_zone }) => server_zone))) {
    describeDialect(dialect, `whose zone is ${zone}`, () => {
      const { open, ask } = place(dialect, zone ?? 'UTC')
      const groups = new Map<string, Vector[]>()
      for (const vector of ofDialect) {
        const group = `Celery ${vector.celery} with timezone ${vector.timezone}`
        if (vector.server_zone === zone) groups.set(group, [...(groups.get(group) ?? []), vector])
      }

      it.each([...groups])('%s: are read as the instants at which it did', async (_, group) => {
        const backend = open(optionsOf(group))
        const rows = group.map((vector) => ({ ...vector, taskId: newId() }))
        await backend.storeMany(rows.map(({ taskId, kind }) => ({ taskId, result: 1, state: stateOf(kind) })))
        for (const { taskId, date_done } of rows) {
          await ask(`update celery_taskmeta set date_done = '${date_done}' where task_id = '${taskId}'`)
        }

        const metas = await backend.getMany(rows.map(({ taskId }) => taskId))
        const { items } = await backend.list({ limit: 10_000 })
        const listed = new Map(items.map(({ taskId, dateDone }) => [taskId, dateDone]))

        for (const { taskId, kind, now, stored_by, date_done } of rows) {
          const read = metas.get(taskId)?.dateDone ?? null
          expect(listed.get(taskId)).toEqual(read)
          if (kind === 'progress') expect(read, date_done).toBeNull()
          else expect(secondsOff(read, now, stored_by), `${date_done}, stored at ${now}`).toBe(0)
        }
      })

      // PostgreSQL's clock cannot be set, and converts by itself.
      if (dialect === 'postgresql') return
      it.each([...groups])('%s: are stored here at the same instants', async (_, group) => {
        const backend = open(optionsOf(group))
        for (const { kind, now, date_done } of group) {
          if (kind === 'progress') continue
          const [single, many] = [newId(), newId()]
          const begun = Date.now()
          vi.useFakeTimers({ toFake: ['Date'], now: new Date(now) })
          await backend.markAsDone(single, 1)
          await backend.storeMany([{ taskId: many, result: 1 }])
          vi.useRealTimers()

          const rows = await ask(
            `select date_done from celery_taskmeta where task_id in ('${single}', '${many}')`,
          )
          // MySQL's clock goes on: how far it is ahead of UTC is what counts.
          const since = dialect === 'mysql' ? begun : Date.parse(now)
          expect(rows).toHaveLength(2)
          for (const row of rows) {
            const ahead = Date.parse(`${Reflect.get(row, 'date_done')}Z`) - since
            expect(quarters(ahead), now).toBe(quarters(Date.parse(`${date_done}Z`) - Date.parse(now)))
          }
        }
      })
    })
  }
})

describe.each(['sqlite', 'mysql', 'postgresql'] as const)('dates of a local zone on %s', (dialect) => {
  describe.each(['America/Los_Angeles', 'Asia/Tokyo'])('%s', (timezone) => {
    describeDialect(dialect, 'beside the newest Celery', () => {
      const { open, ask, setDate } = place(dialect, timezone)
      const hour = { timezone, resultExpires: 3_600 }

      it('are stored in it, read as what they are, listed, and kept by cleanup', async () => {
        const backend = open(hour)
        const [taskId, group] = [newId(), newId()]
        await backend.markAsDone(taskId, 1)
        await backend.saveGroup(group, [taskId])

        const [row] = await ask(`select date_done from celery_taskmeta where task_id = '${taskId}'`)
        const [groupRow] = await ask('select date_done from celery_tasksetmeta')
        const { dateDone } = await backend.getTaskMeta(taskId)
        const since = new Date(Date.now() - 3_600_000)
        const until = new Date(Date.now() + 3_600_000)
        const listed = async (options: ListOptions) =>
          (await backend.list(options)).items.map((item) => item.taskId)

        expect(
          Math.abs(Date.parse(`${Reflect.get(row ?? {}, 'date_done')}Z`) - shownIn(timezone)),
        ).toBeLessThan(10_000)
        // Groups are in UTC, but where the database converts an aware datetime.
        const now = dialect === 'postgresql' ? shownIn(timezone) : Date.now()
        expect(Math.abs(Date.parse(`${Reflect.get(groupRow ?? {}, 'date_done')}Z`) - now)).toBeLessThan(
          10_000,
        )
        expect(Math.abs(Number(dateDone) - Date.now())).toBeLessThan(10_000)
        expect(await new AsyncResult(taskId, backend).dateDone).toEqual(dateDone)
        expect(await listed({ since, until })).toEqual([taskId])
        expect(await listed({ until: since })).toEqual([])
        expect(await listed({ since: until })).toEqual([])
        expect(await backend.cleanup()).toEqual({ tasks: 0, groups: 0 })

        await setDate(taskId, shownIn(timezone, Date.now() - 2 * 86_400_000))
        await setDate(group, Date.now() - 4 * 86_400_000, 'group')
        expect(await backend.cleanup()).toEqual({ tasks: 1, groups: 1 })
      })

      it('that expired a moment ago are deleted', async () => {
        const backend = open({ timezone, resultExpires: 60 })
        const [expired, fresh] = [newId(), newId()]
        await backend.storeMany([expired, fresh].map((taskId) => ({ taskId, result: 1 })))
        await setDate(expired, shownIn(timezone, Date.now() - 90_000))

        expect(await backend.cleanup()).toEqual({ tasks: 1, groups: 0 })
        expect(await backend.getState(fresh)).toBe('SUCCESS')
        await backend.forget(fresh)
      })

      it('that an older Celery stored are kept as long as they may be fresh', async () => {
        const taskId = newId()
        for (const backend of [open(hour), open({ ...hour, celeryVersion: '5.3' })]) {
          await backend.markAsDone(taskId, 1)
          for (const fresh of [Date.now(), Date.now() - 1_800_000, shownIn(timezone)]) {
            await setDate(taskId, fresh)
            expect(await backend.cleanup()).toEqual({ tasks: 0, groups: 0 })
          }
          await setDate(taskId, Date.now() - 2 * 86_400_000)
          expect(await backend.cleanup()).toEqual({ tasks: 1, groups: 0 })
        }
      })
    })
  })

  describeDialect(dialect, 'when clocks are changed', () => {
    const timezone = 'America/Los_Angeles'
    const { open, ask, setDate } = place(dialect, timezone)

    it('are the later ones of an hour that is shown twice, in every order and page', async () => {
      await ask('create index by_state on celery_taskmeta (status, date_done, id)')
      const backend = open({ timezone })
      const shown = ['00:59:59', '01:00:00', '01:30:00', '01:59:59', '02:00:00']
      const instants = ['07:59:59', '09:00:00', '09:30:00', '09:59:59', '10:00:00']
      const taskIds = shown.map(() => newId())
      await backend.storeMany(taskIds.map((taskId) => ({ taskId, result: 1 })))
      for (const [at, time] of shown.entries()) {
        await setDate(taskIds[at] ?? '', Date.parse(`2024-11-03T${time}Z`))
      }
      const listed = async (options: ListOptions) => {
        const times: string[] = []
        for (let { cursor } = options; cursor !== null; ) {
          const page = await backend.list({ ...options, orderBy: 'dateDone', limit: 2, cursor })
          times.push(...page.items.map(({ dateDone }) => String(dateDone?.toISOString().slice(11, 19))))
          cursor = page.cursor
        }
        return times
      }

      for (const filter of [{}, { state: 'SUCCESS' }]) {
        for (const order of ['asc', 'desc'] as const) {
          const inOrder = (times: readonly string[]) => (order === 'asc' ? times : times.toReversed())
          const options = { ...filter, order }
          expect(await listed(options)).toEqual(inOrder(instants))
          for (const time of ['07:30:00', '08:00:00', '08:30:00', '08:59:59', ...instants]) {
            const instant = new Date(`2024-11-03T${time}Z`)
            const [before, after] = [[], []] as [string[], string[]]
            for (const each of instants) (each < time ? before : after).push(each)
            const what = `${JSON.stringify(options)} ${time}`
            expect(await listed({ ...options, until: instant }), what).toEqual(inOrder(before))
            expect(await listed({ ...options, since: instant }), what).toEqual(inOrder(after))
          }
        }
      }
    })

    it('go by the offset before in an hour that is never shown', async () => {
      const backend = open({ timezone })
      const taskId = newId()
      await backend.markAsDone(taskId, 1)
      await setDate(taskId, Date.parse('2024-03-10T02:30:00Z'))

      const { dateDone } = await backend.getTaskMeta(taskId)

      expect(dateDone?.toISOString()).toBe('2024-03-10T10:30:00.000Z')
      // Elsewhere the hour behind it, which is read as the same instants, would be listed with it.
      if (dialect !== 'postgresql') return
      for (const state of [undefined, 'SUCCESS'])
        for (const order of ['asc', 'desc'] as const)
          for (const [time, isLater] of [
            ['10:15', true],
            ['10:30', true],
            ['10:31', false],
          ] as const) {
            const instant = new Date(`2024-03-10T${time}Z`)
            const listed = async (times: ListOptions) => {
              const options = { state, order, orderBy: 'dateDone', ...DAYS_OF_MARCH, ...times } as const
              return (await backend.list(options)).items.map((task) => task.taskId)
            }
            expect(await listed({ since: instant }), time).toEqual(isLater ? [taskId] : [])
            expect(await listed({ until: instant }), time).toEqual(time === '10:31' ? [taskId] : [])
          }
    })
  })

  describeDialect(dialect, 'of an hour that clocks will show again', () => {
    const timezone = 'America/Los_Angeles'
    const { open, setDate } = place(dialect, setBackInHalfAnHour())

    afterEach(() => {
      vi.useRealTimers()
    })

    it('are kept by cleanup beside an older Celery, though they are read as times to come', async () => {
      const backend = open({ timezone, celeryVersion: '5.3', resultExpires: 3_600 })
      const taskId = newId()
      await backend.markAsDone(taskId, 1)
      // PostgreSQL and MySQL have clocks of their own.
      const serverNow = Date.now()
      const now = Date.parse('2024-11-03T08:30:00Z')
      if (dialect !== 'postgresql') vi.useFakeTimers({ toFake: ['Date'], now })
      const summer = -7 * 3_600_000
      await setDate(taskId, (dialect === 'sqlite' ? now : serverNow) + summer)

      expect(await backend.cleanup()).toEqual({ tasks: 0, groups: 0 })
      expect(await backend.getState(taskId)).toBe('SUCCESS')
    })
  })

  describeDialect(dialect, 'that Celery gives to what is not done', () => {
    const { open, ask, setDate } = place(dialect)

    it('are no dates here', async () => {
      const backend = open()
      const [progress, done] = [newId(), newId()]
      await backend.storeMany([
        { taskId: progress, result: { current: 1 }, state: 'PROGRESS' },
        { taskId: done, result: 1 },
      ])
      await setDate(progress, Date.now())

      const metas = await backend.getMany([progress, done])
      const listed = async (options: ListOptions) =>
        (await backend.list(options)).items.map(({ taskId, dateDone }) => [taskId, dateDone !== null])
      const [since, until] = [new Date(0), new Date(Date.now() + 60_000)]

      expect(metas.get(progress)).toMatchObject({ status: 'PROGRESS', dateDone: null })
      expect((await backend.getTaskMeta(progress)).dateDone).toBeNull()
      expect(await new AsyncResult(progress, backend).dateDone).toBeNull()
      expect(await new CeleryNodeBackend(backend).getTaskMeta(progress)).toMatchObject({ date_done: null })
      expect(await listed({ order: 'asc' })).toEqual([
        [progress, false],
        [done, true],
      ])
      for (const options of [{ orderBy: 'dateDone' }, { since }, { until }] as const) {
        expect(await listed(options)).toEqual([[done, true]])
        expect(await listed({ ...options, state: 'PROGRESS' })).toEqual([])
      }
      await backend.forget(progress)
      await backend.forget(done)
    })

    it('delete nothing where they are those of the process, and groups only once they were seen long ago', async () => {
      const options = { celeryVersion: '5.5.3', resultExpires: 0.5 }
      const [backend, later] = [open(options), open(options)]
      const [progress, done, group, fresh] = [newId(), newId(), newId(), newId()]
      const monthAgo = Date.now() - 30 * 86_400_000
      await backend.markAsDone(done, 1)
      await backend.storeResult(progress, 1, 'PROGRESS')
      await backend.saveGroup(group, [done])
      for (const taskId of [done, progress]) await setDate(taskId, monthAgo)
      await setDate(group, monthAgo, 'group')

      expect(await backend.cleanup()).toEqual({ tasks: 1, groups: 0 })
      await sleep(600)
      await backend.saveGroup(fresh, [done])
      await setDate(fresh, monthAgo, 'group')
      expect(await later.cleanup()).toEqual({ tasks: 0, groups: 0 })
      expect(await backend.cleanup()).toEqual({ tasks: 0, groups: 1 })

      expect(await backend.restoreGroup(group)).toBeNull()
      expect(await backend.restoreGroup(fresh)).not.toBeNull()
      expect(await backend.getState(progress)).toBe('PROGRESS')
    })

    it('delete no fresh group that has the number of one that was seen', async () => {
      const backend = open({ celeryVersion: '5.5.3', resultExpires: 0.5 })
      const [seen, fresh] = [newId(), newId()]
      const idOf = async (group: string) => {
        const [row] = await ask(`select id from celery_tasksetmeta where taskset_id = '${group}'`)
        return Number(Reflect.get(row ?? {}, 'id'))
      }
      await backend.saveGroup(seen, [])
      const id = await idOf(seen)
      await backend.cleanup()
      await sleep(600)
      // As if the table were made anew.
      await backend.deleteGroup(seen)
      await backend.cleanup()
      await backend.saveGroup(fresh, [])
      await ask(`update celery_tasksetmeta set id = ${id} where taskset_id = '${fresh}'`)
      await setDate(fresh, Date.now() - 30 * 86_400_000, 'group')

      expect(await backend.cleanup()).toEqual({ tasks: 0, groups: 0 })
      expect(await idOf(fresh)).toBe(id)
    })
  })
})

/** What clocks show in a zone, as if it were UTC; told by other means than those that are tested. */
function shownIn(timeZone: string, instant = Date.now()): number {
  return Date.parse(`${new Date(instant).toLocaleString('sv-SE', { timeZone })}Z`)
}

/** A zone, as POSIX writes it, whose clocks go from 7 hours behind UTC to 8 half an hour from now. */
function setBackInHalfAnHour(): string {
  const change = new Date(Date.now() + 1_800_000 - 7 * 3_600_000)
  const day = Math.floor((change.getTime() - Date.UTC(change.getUTCFullYear(), 0, 1)) / 86_400_000)
  return `WIN8SUM7,${(day + 180) % 365},${day}/${change.toISOString().slice(11, 19)}`
}

/** A zone's offset, without the time that it took to store something. */
function quarters(milliseconds: number): number {
  return Math.floor(milliseconds / 900_000)
}

/** Seconds by which a date misses the time in which it was stored. */
function secondsOff(read: Date | null, now: string, storedBy: string | undefined): number {
  const date = Number(read ?? Number.NaN)
  // MySQL rounds or cuts to seconds, and a store took some time under the faked clock.
  const [first, last] = [
    Date.parse(now) - 1_000,
    storedBy === undefined ? Date.parse(now) + 20_000 : Date.parse(storedBy) + 1_000,
  ]
  const off = date < first ? date - first : date > last ? date - last : 0
  const isShownTwice = now.startsWith('2024-11-03T08:3') && off >= 3_500_000 && off <= 3_600_000
  return isShownTwice ? 0 : off / 1_000
}

function stateOf(kind: string): string {
  return kind === 'progress' ? 'PROGRESS' : 'SUCCESS'
}

function recordedDates(): readonly Vector[] {
  const file = new URL('../fixtures/celery/date-done.json', import.meta.url)
  const { columns, rows, kinds_columns, kinds } = JSON.parse(readFileSync(file, 'utf8'))
  const named = (names: string[], values: unknown[][]) =>
    values.map((row) => Object.fromEntries(row.map((value, at) => [names[at], value])))
  const all = [
    ...named(columns, rows).map((vector) => ({ ...vector, kind: 'ready' })),
    ...named(kinds_columns, kinds),
  ] as unknown as Vector[]
  // The dates of groups are for cleanup only.
  return all.filter(({ kind }) => kind !== 'group')
}
