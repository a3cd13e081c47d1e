/** `notify`: results that are heard of by LISTEN and NOTIFY instead of being asked for. */
import { getEventListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { SchemaError, SessionManager } from 'drizzle-celery'
import { AsyncResult, type BackendOptions, DatabaseBackend } from 'drizzle-celery/backend'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { listenerOn, ResultListener } from '../../src/backend/notify.ts'
import type { TableAccess } from '../../src/backend/tables.ts'
import type { Subscription } from '../../src/driver/types.ts'
import { failure, Observer, until, withOptions } from '../faults/support.ts'
import { BackendPeer } from '../fixtures/celery/backend-peer.ts'
import { childRun, scenario } from '../fixtures/child-run.ts'
import { openPgBouncer } from '../fixtures/pgbouncer.ts'
import { describeNeeding, freshPostgres, python3 } from '../fixtures/servers.ts'

describeNeeding('postgresql', 'notify', () => {
  const database = freshPostgres()
  let observer: Observer
  let opened: DatabaseBackend[]
  beforeEach(() => {
    observer = new Observer(database.dburi)
    opened = []
  })
  afterEach(async () => {
    for (const backend of opened) await backend.dispose()
    await observer.sql.unsafe('drop schema public cascade; create schema public')
    await observer[Symbol.asyncDispose]()
  })

  const open = (options: BackendOptions = {}, dburi: string = database.dburi) => {
    const backend = new DatabaseBackend(withOptions(dburi, { application_name: NAME }), {
      notify: true,
      ...options,
    })
    opened.push(backend)
    return backend
  }
  const listening = async () =>
    (await observer.backends(NAME)).filter(({ query }) => query.startsWith('listen'))
  /** The server needs a moment to see that a connection is closed. */
  const untilGone = () => until(async () => (await observer.backends(NAME)).length === 0, PATIENT)
  const untilListening = (count = 1) => until(async () => (await listening()).length === count, PATIENT)
  const store = (id: string, status = 'SUCCESS', table = 'celery_taskmeta') => observer.sql`
    insert into ${observer.sql(table)} (id, task_id, status)
    values (nextval('task_id_sequence'), ${id}, ${status})
    on conflict (task_id) do update set status = excluded.status`
  const get = (backend: DatabaseBackend, id: string) => new AsyncResult(id, backend).get()

  /**
   * Which tasks a backend asks for alone from now on: somebody else always waits as well, so that these are the ones it was
   * told of. Whoever does not listen asks every half second: when nobody has asked for longer, it listens, and everybody
   * was asked for.
   */
  async function questionsOf(backend: DatabaseBackend): Promise<() => string[][]> {
    get(backend, 'never').catch(() => {})
    const finished = vi.spyOn(backend, 'finished')
    let asked = -1
    while (asked !== finished.mock.calls.length) {
      asked = finished.mock.calls.length
      await Promise.allSettled(finished.mock.results.map(({ value }) => value))
      await sleep(1_200)
    }
    const questions = () => finished.mock.calls.slice(asked).map(([ids]) => [...ids])
    return () => questions().filter((ids) => ids.length === 1)
  }

  it('with changes, who watches is told of what any program stores of a task that is not done', {
    tags: 'full',
  }, async () => {
    await using before = open()
    const waiting = get(before, 'never').catch(() => {})
    await untilListening()
    const backend = open({ notify: 'changes' })
    const seen: string[] = []
    const watching = (async () => {
      for await (const { status } of backend.watch('a')) seen.push(status)
    })()
    await untilListening(2)
    await until(() => seen.length === 1)
    await questionsOf(backend)
    const marks = vi.mocked(backend.finished).mockClear()

    for (const [at, status] of ['STARTED', 'PROGRESS', 'SUCCESS'].entries()) {
      await store('a', status)
      await until(() => seen.length === at + 2)
    }
    await watching

    expect(seen).toEqual(['PENDING', 'STARTED', 'PROGRESS', 'SUCCESS'])
    // Polled when told, and not in between.
    expect(marks.mock.calls.length).toBeLessThanOrEqual(4)
    const triggers = await observer.sql`select tgname from pg_trigger where not tgisinternal order by 1`
    expect(triggers.map(({ tgname }) => tgname)).toEqual([
      'drizzle_celery_notify',
      'drizzle_celery_notify_changes',
    ])
    await before.dispose()
    await waiting
  })

  it('without changes, who watches is polled for beside those who are notified', async () => {
    const backend = open()
    const seen: string[] = []
    const watching = (async () => {
      for await (const { status } of backend.watch('a')) seen.push(status)
    })()
    await untilListening()
    await until(() => seen.length === 1)
    for (const [at, status] of ['STARTED', 'PROGRESS', 'SUCCESS'].entries()) {
      await store('a', status)
      await until(() => seen.length === at + 2)
    }
    await watching

    expect(seen).toEqual(['PENDING', 'STARTED', 'PROGRESS', 'SUCCESS'])
  })

  it('a result that any program stores is notified, and its task alone is polled', {
    tags: 'full',
  }, async () => {
    const backend = open()
    const waiting = ['a', 'b', 'c'].map((id) => get(backend, id))
    const questions = await questionsOf(backend)
    await untilListening()

    await store('b', 'STARTED')
    await store('a')
    await waiting[0]
    await store('b')
    await waiting[1]
    await open({ notify: false }).markAsDone('c', 'three')

    expect(await waiting[2]).toBe('three')
    expect(questions()).toEqual([['a'], ['b'], ['c']])
  })

  it('a result stored before the first wait is found as well, and so is one stored at once', async () => {
    const backend = open()
    await backend.markAsDone('before', 1)

    expect(await get(backend, 'before')).toBe(1)
    for (let at = 0; at < 20; at++) {
      const waiting = get(backend, `at once ${at}`)
      await store(`at once ${at}`)
      expect(await waiting).toBe(null)
    }
  })

  it('a result that is rolled back is not notified', { tags: 'full' }, async () => {
    const backend = open()
    const waiting = ['a', 'b'].map((id) => get(backend, id))
    const questions = await questionsOf(backend)

    await failure(
      observer.sql.begin(async (sql) => {
        await sql`insert into celery_taskmeta (id, task_id, status) values (1000, 'a', 'SUCCESS')`
        throw new Error('rolled back')
      }),
    )
    await store('b')
    await waiting[1]

    expect(questions()).toEqual([['b']])
    await store('a')
    await waiting[0]
  })

  it('two tables do not notify each other', { tags: 'full' }, async () => {
    const one = open()
    const other = open({ databaseTableNames: { task: 'jobs', group: 'job_groups' } })
    const waiting = [get(one, 'a'), get(other, 'a'), get(one, 'b')]
    const questions = await Promise.all([questionsOf(one), questionsOf(other)])

    await store('a', 'SUCCESS', 'jobs')
    await waiting[1]
    await store('b')
    await waiting[2]

    expect(questions.map((asked) => asked())).toEqual([[['b']], [['a']]])
    await store('a')
    await waiting[0]
  })

  it('a lost connection is replaced, and results stored meanwhile are polled', { tags: 'full' }, async () => {
    const backend = open()
    const waiting = ['a', 'b'].map((id) => get(backend, id))
    await questionsOf(backend)
    const [first] = await listening()

    await observer.terminate(first?.pid ?? 0)
    await store('a')
    await waiting[0]
    await untilListening()
    const questions = await questionsOf(backend)
    await store('b')
    await waiting[1]

    expect((await listening())[0]?.pid).not.toBe(first?.pid)
    expect(questions()).toEqual([['b']])
  })

  it('10,000 waits share one connection, which is closed after the last of them', {
    tags: 'full',
  }, async () => {
    const backend = open()
    const ids = Array.from({ length: 10_000 }, (_, at) => `t-${at}`)
    const waiting = Promise.all(ids.map((id) => get(backend, id)))
    await untilListening()
    await sleep(300)
    expect(await listening()).toHaveLength(1)

    await backend.storeMany(ids.map((taskId) => ({ taskId, result: taskId })))

    expect(await waiting).toEqual(ids)
    await untilListening(0)
    expect(await get(backend, 't-1')).toBe('t-1')
    await backend.dispose()
    await untilGone()
  })

  it('disposing of the engine or of the backend leaves no connection, also while there are waits', async () => {
    const backend = open()
    const waiting = failure(get(backend, 'never'))
    await untilListening()
    await backend.manager.dispose()
    expect(await waiting).toHaveProperty('code', 'CLOSED')
    await untilGone()

    const other = open()
    const further = failure(get(other, 'never'))
    await untilListening()
    await other.dispose()
    expect(await further).toHaveProperty('code', 'CLOSED')
    await untilGone()
  })

  it('a listening connection is closed with its engine, and its handler is called', async () => {
    const manager = new SessionManager()
    const engine = await manager.getEngine(withOptions(database.dburi, { application_name: NAME }))
    const heard: string[] = []
    const hearing = { onMessage: (text: string) => heard.push(text), onLost: () => heard.push('lost') }
    const listening = await engine.listen?.('a "channel"', hearing)
    await observer.sql`select pg_notify('a "channel"', 'müßig')`
    await until(() => heard.length > 0, PATIENT)

    await manager.dispose()

    expect(heard).toEqual(['müßig', 'lost'])
    await untilGone()
    await listening?.close()
    await expect(engine.listen?.('later', hearing)).rejects.toHaveProperty('code', 'CLOSED')
  })

  it('a program that has its result ends by itself', { tags: 'full', timeout: 120_000 }, async () => {
    await open({ notify: false }).markAsDone('there', 1)

    const result = await childRun(scenario('notify-exit'), { arguments: [database.dburi], timeout: 90_000 })

    expect(result).toMatchObject({ exitCode: 0, timedOut: false, stderr: '', emitted: [1, 'heard'] })
  })

  it('nothing is created unless it is asked for', async () => {
    const backend = open({ notify: false })
    await backend.markAsDone('a', 1)
    await get(backend, 'a')

    expect(await triggers()).toEqual([])
    expect(await observer.sql`select from pg_proc where proname like 'drizzle_celery%'`).toHaveLength(0)
  })

  it('any number of concurrent first waits create one trigger', { tags: 'full' }, async () => {
    await open({ notify: false }).counts()
    for (let round = 0; round < 4; round++) {
      await observer.sql.unsafe('drop function if exists drizzle_celery_notify cascade')
      const backends = Array.from({ length: 12 }, () => open())
      const waiting = backends.map((backend) => get(backend, `round ${round}`))
      await untilListening(12)
      await store(`round ${round}`)
      await Promise.all(waiting)
      await Promise.all(backends.map((backend) => backend.dispose()))

      expect(await triggers()).toEqual(['celery_taskmeta'])
      // The next round is not to take them for its own.
      await untilListening(0)
    }
  })

  it('a renamed table still notifies', { tags: 'full' }, async () => {
    const before = open()
    const first = get(before, 'a')
    await untilListening()
    await store('a')
    await first
    await before.dispose()
    await observer.sql`alter table celery_taskmeta rename to jobs`

    const backend = open({ databaseTableNames: { task: 'jobs' } })
    const waiting = get(backend, 'b')
    const questions = await questionsOf(backend)
    await store('b', 'SUCCESS', 'jobs')
    await waiting

    expect(questions()).toEqual([['b']])
  })

  describe('a role that may not create the trigger', () => {
    beforeEach(async () => {
      await open({ notify: false }).counts()
      await observer.sql.unsafe(`create role ${ROLE} login`)
      await observer.sql.unsafe(`grant usage on schema public to ${ROLE}`)
      await observer.sql.unsafe(`grant select, insert, update on all tables in schema public to ${ROLE}`)
    })
    afterEach(() => observer.sql.unsafe(`drop owned by ${ROLE} cascade; drop role ${ROLE}`))
    const asRole = () => {
      const dburi = new URL(database.dburi)
      dburi.username = ROLE
      return open({}, dburi.href)
    }

    it('gets the statements that a privileged role can run, and is notified afterwards', {
      tags: 'full',
    }, async () => {
      const backend = asRole()

      const error = await failure(get(backend, 'a'))

      expect(error).toBeInstanceOf(SchemaError)
      if (!(error instanceof SchemaError)) return
      expect(error.code).toBe('SCHEMA_PERMISSION')
      expect(error.message).toContain('create trigger drizzle_celery_notify')
      await observer.sql.unsafe(error.statements.join(';\n'))
      const waiting = get(backend, 'a')
      const questions = await questionsOf(backend)
      await store('a')
      expect(await waiting).toBe(null)
      expect(questions()).toEqual([['a']])
    })

    it('can itself once it has the rights that are named', { tags: 'full' }, async () => {
      const backend = asRole()
      const error = await failure(get(backend, 'a'))
      if (!(error instanceof SchemaError)) throw error
      await observer.sql.unsafe(error.grant ?? '')

      const waiting = get(backend, 'a')
      const questions = await questionsOf(backend)
      await store('a')
      await waiting

      expect(questions()).toEqual([['a']])
    })
  })

  describeNeeding('pgbouncer', 'behind PgBouncer in transaction mode', () => {
    it('results are polled, with one warning', async () => {
      await using pooler = await openPgBouncer(database.dburi)
      const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
      const backend = open({}, pooler.dburi)

      const waiting = get(backend, 'a')
      await until(() => warned.mock.calls.length > 0, PATIENT)
      await store('a')

      expect(await waiting).toBe(null)
      expect(await listening()).toEqual([])
      expect(warned.mock.calls.map(([, options]) => options)).toEqual([
        { code: 'DRIZZLE_CELERY_CANNOT_LISTEN' },
      ])
      warned.mockRestore()
      await backend.dispose()
    })
  })

  describeNeeding('python celery', 'with real Celery', () => {
    it('a result that Python stores is notified', async () => {
      using peer = new BackendPeer(python3() ?? '')
      await peer.ready()
      const backend = open()
      const waiting = [get(backend, 'a'), get(backend, 'b')]
      const questions = await questionsOf(backend)

      await peer.ask({ command: 'mark', dburi: database.dburi, id: 'a', how: 'started', python: '{}' })
      await peer.ask({ command: 'mark', dburi: database.dburi, id: 'a', how: 'done', python: '{"sum": 3}' })
      expect(await waiting[0]).toEqual({ sum: 3 })
      await peer.ask({ command: 'mark', dburi: database.dburi, id: 'b', how: 'done', python: '4' })
      expect(await waiting[1]).toBe(4)

      expect(questions()).toEqual([['a'], ['b']])
    })
  })

  async function triggers(): Promise<string[]> {
    const rows = await observer.sql<{ table: string }[]>`
      select tgrelid::regclass::text as table from pg_trigger where tgname like 'drizzle_celery%' order by 1`
    return rows.map(({ table }) => table)
  }
})

it.each(['file::memory:', 'sqlite://', 'pglite:', 'mysql://localhost/x'])(
  'notify is refused on %s at once',
  (dburi) => {
    expect(() => new DatabaseBackend(dburi, { notify: true })).toThrowError(
      expect.objectContaining({ code: 'REFUSED_OPTION', option: 'notify' }),
    )
  },
)

it('closing waits for no connection that is still being opened, which is closed when it is there', async () => {
  let answer: (listening: Subscription) => void = () => {}
  const opening = new Promise<Subscription>((resolve) => {
    answer = resolve
  })
  const told: unknown[] = []
  const listener = new ResultListener({ open: () => opening, onFailure: (error) => told.push(error) })
  listener.start({ onListening: (isListening) => told.push(isListening), onResult() {} })

  await listener.close()
  await new Promise<void>((close) => answer({ close: async () => close() }))

  expect(told).toEqual([])
})

it('keeps nothing of the connections that were lost', async () => {
  const listening: number[] = []
  const again = new Promise<void>((resolve) => {
    const listener = new ResultListener({
      async open({ onLost }, signal) {
        listening.push(getEventListeners(signal, 'abort').length)
        if (listening.length === 3) void listener.close().then(resolve)
        setImmediate(onLost)
        return { close: async () => {} }
      },
      onFailure() {},
    })
    listener.start({ onListening() {}, onResult() {} })
  })
  await again

  expect(new Set(listening).size).toBe(1)
})

it('notify is refused at the wait where a registered adapter cannot listen', async () => {
  const answers = { use: (work: (tables: object) => unknown) => work({ engine: {} }) }
  const refused = new Promise((resolve) => {
    // All that is used of the tables.
    listenerOn(answers as unknown as TableAccess, { withChanges: false, fail: resolve }).start({
      onListening() {},
      onResult() {},
    })
  })

  expect(await refused).toMatchObject({ code: 'REFUSED_OPTION', option: 'notify' })
})

const PATIENT = { within: 20_000 }
const NAME = 'dc-notify'
const ROLE = `dc_notify_${process.pid}`
