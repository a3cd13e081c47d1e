/** The backend on MySQL and MariaDB: what it does everywhere, and what is peculiar to tables there. */
import { createConnection } from 'mysql2/promise'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { UTC } from '../../src/backend/clock.ts'
import { type BackendOptions, DatabaseBackend } from '../../src/backend/database-backend.ts'
import { dateRulesOf } from '../../src/backend/date-done.ts'
import { dialect as mysql } from '../../src/backend/statements/mysql.ts'
import { SessionManager } from '../../src/session/open-manager.ts'
import { celeryDdl, mysqlCeleryDdl } from '../fixtures/celery/peer.ts'
import { createMysql, describeNeeding, type TestDatabase } from '../fixtures/servers.ts'
import { behavesAsCelery, keepsItsPromises, newId } from './behaviour.ts'

interface Place {
  readonly database: TestDatabase
  open(options?: BackendOptions): DatabaseBackend
  /** Rows of a statement, past everything the backend does. */
  ask(text: string, params?: unknown[]): Promise<Record<string, unknown>[]>
}

/** A database with Celery's tables, or ours, for the suite this is called in. */
function place(ddl: (dburi: string) => readonly string[] | Promise<readonly string[]>): Place {
  let database: TestDatabase | undefined
  const manager = new SessionManager()
  const opened = (): TestDatabase => {
    if (database === undefined) throw new Error('The database exists only while tests run')
    return database
  }
  const ask = async (text: string, params: unknown[] = []) => {
    const connection = await createConnection({ uri: opened().dburi, dateStrings: true })
    try {
      const [rows] = await connection.query(text, params)
      return rows as Record<string, unknown>[]
    } finally {
      await connection.end()
    }
  }
  beforeAll(async () => {
    database = await createMysql()
    for (const statement of await ddl(database.dburi)) await ask(statement)
  })
  afterAll(async () => {
    await manager.dispose()
    await database?.drop()
  })
  return {
    get database() {
      return opened()
    },
    open: (options) => new DatabaseBackend(opened().dburi, { manager, ...options }),
    ask,
  }
}

const idOf = async ({ ask }: Place, taskId: string) =>
  Number((await ask(`select id from celery_taskmeta where task_id = '${taskId}'`))[0]?.['id'])

describeNeeding('mysql', 'on MySQL or MariaDB', () => {
  describe.each([
    ['of ours', () => []],
    ['of Celery’s', mysqlCeleryDdl],
    ['of Celery’s that count by themselves', () => celeryDdl('mysql')],
  ] as const)('with tables %s', (_, ddl) => {
    const there = place(ddl)
    behavesAsCelery({ dialect: 'mysql', open: there.open })
    keepsItsPromises({ dialect: 'mysql', open: there.open })

    it('a store over a row draws no id', async () => {
      await using backend = there.open()
      await using guarded = there.open({ protectReady: true })
      const [id, next, last] = [newId(), newId(), newId()]
      await backend.markAsDone(id, 0)

      for (let number = 0; number < 10; number++) await backend.markAsDone(id, number)
      await backend.storeMany([{ taskId: id, result: 1 }])
      await guarded.markAsDone(id, 'other')
      await guarded.storeMany([{ taskId: id, result: 'other' }])
      await backend.markAsDone(next, 1)
      await backend.storeMany([
        { taskId: id, result: 2 },
        { taskId: last, result: 2 },
      ])

      const ids = await Promise.all([id, next, last].map((taskId) => idOf(there, taskId)))
      expect(ids.map((each) => each - (ids[0] ?? 0))).toEqual([0, 1, 2])
      expect(await backend.getResult(id)).toBe(2)
    })

    it('many writers of the same thousands of tasks all get through', async () => {
      await using backend = there.open()
      const prefix = newId()
      const results = (writer: number) =>
        Array.from({ length: 1_200 }, (_, number) => ({ taskId: `${prefix}-${number}`, result: writer }))

      const counts = await Promise.all(
        Array.from({ length: 6 }, (_, writer) => backend.storeMany(results(writer))),
      )

      const metas = await backend.getMany(results(0).map(({ taskId }) => taskId))
      expect(counts).toEqual(Array(6).fill(1_200))
      expect(new Set([...metas.values()].map(({ result }) => result)).size).toBe(1)
    })
  })

  describe('ids', () => {
    const ours = place(() => [])
    const celerys = place(mysqlCeleryDdl)

    it('that differ in case are two tasks in a table of ours', async () => {
      await using backend = ours.open()
      const id = newId()

      await backend.markAsDone(id, 'small')
      await backend.markAsDone(id.toUpperCase(), 'great')
      await backend.storeMany([
        { taskId: `${id}x`, result: 1 },
        { taskId: `${id}X`, result: 2 },
      ])
      await backend.saveGroup(id, ['a'])
      await backend.saveGroup(id.toUpperCase(), ['b'])

      expect(await backend.getResult(id)).toBe('small')
      expect(await backend.getResult(id.toUpperCase())).toBe('great')
      const metas = await backend.getMany([`${id}x`, `${id}X`])
      expect([...metas.values()].map(({ result }) => result)).toEqual([1, 2])
      expect((await backend.restoreGroup(id))?.members).toEqual([{ id: 'a', parent: null }])
    })

    it.each([
      ['case, in a table of Celery’s', celerys, (id: string) => id.toUpperCase()],
      ['blanks at the end', ours, (id: string) => `${id} `],
      ['blanks at the end, in a table of Celery’s', celerys, (id: string) => `${id}  `],
    ])('that differ in %s are refused, and the other’s row stays', async (_, there, likeness) => {
      await using backend = there.open()
      await using guarded = there.open({ protectReady: true })
      const id = newId()
      const like = likeness(id)
      await backend.markAsDone(id, 'first')
      await backend.saveGroup(id, ['a'])

      const refused = { name: 'StatementError', code: 'INVALID_PARAMETER' }
      await expect(backend.markAsDone(like, 'second')).rejects.toMatchObject(refused)
      await expect(backend.markAsDone(like, 'second')).rejects.toThrow(JSON.stringify(id))
      await expect(guarded.markAsDone(like, 'second')).rejects.toMatchObject(refused)
      await expect(backend.saveGroup(like, ['b'])).rejects.toMatchObject(refused)
      const other = newId()
      for (const results of [
        [
          { taskId: other, result: 1 },
          { taskId: like, result: 2 },
        ],
        [
          { taskId: other, result: 1 },
          { taskId: likeness(other), result: 2 },
        ],
      ]) {
        await expect(backend.storeMany(results)).rejects.toMatchObject(refused)
        await expect(guarded.storeMany(results)).rejects.toMatchObject(refused)
      }

      expect(await backend.getResult(id)).toBe('first')
      expect(await backend.taskResultExists(other)).toBe(false)
      expect(await backend.getState(like)).toBe('PENDING')
      expect(await backend.getResult(like)).toBeNull()
      expect([...(await backend.getMany([like])).values()]).toMatchObject([{ status: 'PENDING' }])
      expect(await backend.finished([like])).toEqual(new Map())
      expect(await backend.restoreGroup(like)).toBeNull()
      await backend.forget(like)
      await backend.deleteGroup(like)
      expect(await backend.getResult(id)).toBe('first')
      expect(await backend.restoreGroup(id)).not.toBeNull()
    })

    it.each([
      ['ours', ours],
      ['Celery’s', celerys],
    ])('are found by their index in tables of %s', async (_, there) => {
      await using backend = there.open()
      const id = newId()
      await backend.markAsDone(id, 1)
      const names = {
        task: 'celery_taskmeta',
        group: 'celery_tasksetmeta',
        taskSchema: undefined,
        groupSchema: undefined,
      }
      const unknown = new Map()
      const facts = {
        task: unknown,
        group: unknown,
        hasTaskSequence: false,
        hasGroupSequence: false,
        indexes: new Set<string>(),
        mostBytes: null,
      }
      const { get, getMany, state, finished, forget } = mysql.statements(names, facts, {
        written: [],
        read: [],
        preserveExtended: false,
        maxResultBytes: 1,
        dates: dateRulesOf(mysql.convertsDates, [5, 6, 3], UTC),
      })

      for (const { sql, params } of [get(id), getMany([id]), state(id), finished([id]), forget(id)]) {
        const [plan] = await there.ask(`explain ${sql}`, params)
        expect(plan).toMatchObject({ key: 'task_id' })
      }
    })

    it('more than MySQL takes parameters are asked for in several statements', async () => {
      await using backend = ours.open()
      const id = newId()
      await backend.markAsDone(id, 1)

      const ids = Array.from({ length: 70_000 }, (_, number) => `${id}-${number}`)

      expect(await backend.finished([...ids, id])).toEqual(new Map([[id, 'SUCCESS']]))
    })

    it('are not all: states are case-sensitive as well', async () => {
      await using backend = celerys.open({ protectReady: true })
      const id = newId()

      await backend.storeResult(id, 1, 'Success')

      expect(await backend.finished([id])).toEqual(new Map())
      expect(await backend.storeResult(id, 2, 'SUCCESS')).toBe(true)
      expect((await backend.list({ state: 'Success' })).items).toEqual([])
      expect(await backend.finished([id])).toEqual(new Map([[id, 'SUCCESS']]))
    })
  })

  describe('what does not fit', () => {
    const celerys = place(mysqlCeleryDdl)
    const ours = place(() => [])

    it('in Celery’s columns of 64 KiB is refused with its size, and nothing is stored', async () => {
      await using backend = celerys.open({ resultExtended: true })
      const id = newId()
      const large = Buffer.alloc(65_536)

      const refused = { name: 'BackendError', code: 'RESULT_TOO_LARGE' }
      const stored = backend.markAsDone(id, large)
      await expect(stored).rejects.toMatchObject(refused)
      await expect(stored).rejects.toThrow(/6\d{4} bytes: the column result .* holds 65535.*upgrade/)
      await expect(
        backend.markAsFailure(id, new Error('x'), { traceback: 'ü'.repeat(33_000) }),
      ).rejects.toThrow(/66000 bytes: the column traceback/)
      await expect(backend.markAsDone(id, 1, { request: { args: ['x'.repeat(65_536)] } })).rejects.toThrow(
        /column args/,
      )
      await expect(
        backend.storeMany([
          { taskId: newId(), result: 1 },
          { taskId: id, result: large },
        ]),
      ).rejects.toMatchObject(refused)
      await expect(backend.saveGroup(id, Array.from({ length: 3_000 }, newId))).rejects.toMatchObject(refused)

      expect(await backend.taskResultExists(id)).toBe(false)
      await backend.markAsDone(id, Buffer.alloc(65_000, 7))
      expect(await backend.getResult(id)).toHaveLength(65_000)
    })

    it('there fits once they are widened', async () => {
      const { dburi } = celerys.database
      await using manager = new SessionManager()
      await using before = new DatabaseBackend(dburi, { manager })
      const id = newId()
      await before.markAsDone(id, 'kept')
      const engine = await manager.getEngine(dburi)

      await manager.prepareModels(engine, { prepare: 'upgrade', widen: true })

      await using backend = new DatabaseBackend(dburi, { manager })
      const [large, next] = [newId(), newId()]
      await backend.markAsDone(large, Buffer.alloc(100_000))
      await backend.storeMany([{ taskId: next, result: Buffer.alloc(100_000) }])
      expect(await backend.getResult(large)).toHaveLength(100_000)
      expect(await backend.getResult(id)).toBe('kept')
    })

    it('there fits in ours, up to what the server takes at once', async () => {
      await using backend = ours.open()
      const id = newId()
      const [row] = await ours.ask('select @@max_allowed_packet as most')
      const most = Number(row?.['most'])

      await backend.markAsDone(id, Buffer.alloc(1_000_000, 7), { traceback: 'ü'.repeat(100_000) })
      await expect(backend.markAsDone(newId(), Buffer.alloc(most))).rejects.toMatchObject({
        code: 'RESULT_TOO_LARGE',
        message: expect.stringContaining('max_allowed_packet'),
      })

      expect(await backend.getResult(id)).toHaveLength(1_000_000)
      expect(await backend.getTraceback(id)).toHaveLength(100_000)
    })

    it.each([
      ['utf8mb3', ['ü', 'ł', '–'], ['😀']],
      ['latin1', ['ü', '–', '€'], ['ł', '😀']],
      ['latin2', ['u'], ['😀']],
    ])('characters that %s does not have are refused', async (charset, fits, others) => {
      const there = ours
      await using manager = new SessionManager({ prepare: 'none' })
      const tableNames = { task: `tasks_${charset}`, group: `groups_${charset}` }
      for (const [like, table] of [
        ['celery_taskmeta', tableNames.task],
        ['celery_tasksetmeta', tableNames.group],
      ]) {
        await there.ask(`create table ${table} like ${like}`)
        await there.ask(`alter table ${table} convert to character set ${charset}`)
      }
      await using backend = there.open({ databaseTableNames: tableNames, resultExtended: true, manager })

      for (const text of fits) {
        const id = newId()
        await backend.storeResult(`${id}${text}`, { text: '😀' }, 'FAILURE', {
          traceback: text,
          request: { task: text },
        })
        expect(await backend.getTaskMeta(`${id}${text}`)).toMatchObject({ traceback: text, name: text })
        await backend.saveGroup(`${id}${text}`, [])
        expect(await backend.restoreGroup(`${id}${text}`)).toMatchObject({ members: [] })
      }
      for (const text of others) {
        const id = newId()
        const refused = { name: 'StatementError', message: expect.stringContaining(charset) }
        await expect(backend.markAsDone(id + text, 1)).rejects.toMatchObject(refused)
        await expect(backend.markAsFailure(id, 1, { traceback: text })).rejects.toMatchObject(refused)
        await expect(backend.saveGroup(id + text, [])).rejects.toMatchObject(refused)
        expect(await backend.restoreGroup(id + text)).toBeNull()
        expect((await backend.getMany([id + text, id])).get(id + text)?.status).toBe('PENDING')
        expect(await backend.finished([id + text])).toEqual(new Map())
        await backend.forget(id + text)
        await backend.deleteGroup(id + text)
        expect(await backend.getState(id + text)).toBe('PENDING')
        expect(await backend.getState(id)).toBe('PENDING')
      }
    })
  })

  describe('tables', () => {
    const there = place(() => [])

    it('may lie in another database, with their sequences', async () => {
      await using other = await createMysql()
      await using backend = there.open({
        databaseTableNames: { task: 'my`task' },
        databaseTableSchemas: { task: other.name, group: other.name },
      })

      await backend.markAsDone('x', 1)
      await backend.saveGroup('g', ['x'])

      const found = await there.ask(
        `select table_name as name from information_schema.tables where table_schema = '${other.name}' and table_type = 'BASE TABLE'`,
      )
      expect(await backend.getResult('x')).toBe(1)
      expect(found.map(({ name }) => name).sort()).toEqual(['celery_tasksetmeta', 'my`task'])
    })

    it('hold dates in UTC with microseconds', async () => {
      await using backend = there.open()
      const id = newId()
      await backend.markAsDone(id, 0)

      const [row] = await there.ask(
        `select date_done, abs(timestampdiff(second, date_done, utc_timestamp())) < 60 as is_utc
         from celery_taskmeta where task_id = '${id}'`,
      )
      expect(row).toMatchObject({ is_utc: 1, date_done: expect.stringMatching(/\.\d{6}$/) })
    })

    it('that are not there and must not be created are told of', async () => {
      await using empty = await createMysql()
      await using manager = new SessionManager({ prepare: 'none' })
      await using backend = new DatabaseBackend(empty.dburi, { manager })

      await expect(backend.getState('x')).rejects.toThrow(
        /no table celery_taskmeta and no table celery_tasksetmeta/,
      )
    })
  })
})
