import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient, createWorker } from 'celery-node'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { CeleryNodeBackend, useDatabaseBackend } from '../../../src/backend/clients/celery-node.ts'
import { taskErrorOf } from '../../../src/backend/column.ts'
import { type BackendOptions, DatabaseBackend } from '../../../src/backend/database-backend.ts'
import { PyDateTime, PyDecimal, PyException, PyTuple } from '../../../src/pickle/index.ts'
import { CeleryWorker } from '../../fixtures/celery/worker.ts'
import { createPostgres, describeNeeding, python3, type TestDatabase } from '../../fixtures/servers.ts'

/** The clients and workers of the npm package celery-node, with this backend. */

/** What Celery's workers store of an exception that Python cannot pickle. */
const WRAPPED = {
  exc_type: 'UnpickleableExceptionWrapper',
  exc_message: PyTuple.of('shop', 'OutOfStock', PyTuple.of('chair: 3 left'), "OutOfStock('chair: 3 left')"),
  exc_module: 'celery.utils.serialization',
}

describe('on a database of its own', () => {
  let directory: string
  const opened: DatabaseBackend[] = []
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'dc-celery-node-'))
  })
  afterEach(async () => {
    for (const backend of opened.splice(0)) await backend.dispose()
    rmSync(directory, { recursive: true })
  })

  const open = (path = 'results.db', options?: BackendOptions) => {
    const backend = new DatabaseBackend(`file:${join(directory, path)}`, options)
    opened.push(backend)
    return backend
  }
  const clientOf = (backend: DatabaseBackend) => useDatabaseBackend(createClient('amqp://'), backend)

  it('is what a client and a worker use, which never connect to another', () => {
    const backend = open()
    const client = createClient('amqp://')

    expect(useDatabaseBackend(client, backend)).toBe(client)
    expect(client.backend).toBeInstanceOf(CeleryNodeBackend)
    expect(useDatabaseBackend(createWorker('amqp://'), backend).backend).toBeInstanceOf(CeleryNodeBackend)
  })

  it.each([
    ['something else', {}],
    ['what does not ask for its private field', { backend: {} }],
    ['one that has a backend', useTwice],
  ])('refuses %s', (_what, app) => {
    const given = typeof app === 'function' ? app() : app

    expect(() => useDatabaseBackend(given as { backend: object }, open())).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', option: 'app' }),
    )
  })

  it('leaves no trace in what it refuses', () => {
    const app = { backend: {} }

    expect(() => useDatabaseBackend(app, open())).toThrow('celery-node')
    expect(app).toStrictEqual({ backend: {} })
  })

  it('waits for a result, as plain JSON', async () => {
    const backend = open()
    const result = clientOf(backend).asyncResult('a task')
    const got = result.get(20_000, 5)
    await backend.markAsStarted('a task')
    await backend.markAsDone('a task', {
      pair: PyTuple.of(1, PyTuple.of('é')),
      price: new PyDecimal('129.50'),
      at: new PyDateTime({ year: 2024, month: 1, day: 2, hour: 3 }),
      big: 2n ** 64n,
      bytes: Uint8Array.of(1, 2, 255),
      set: new Set([1]),
      numbered: new Map([[1, 'one']]),
      paired: new Map([[PyTuple.of(1, 2), 'corner']]),
    })

    expect(await got).toStrictEqual({
      pair: [1, ['é']],
      price: '129.50',
      at: '2024-01-02T03:00:00',
      big: '18446744073709551616',
      bytes: 'AQL/',
      set: [1],
      numbered: { 1: 'one' },
      paired: [[[1, 2], 'corner']],
    })
    expect(await result.status()).toBe('SUCCESS')
  })

  it("throws celery-node's error for a task that failed, with the exception's parts and its traceback", async () => {
    const backend = open()
    const error = new PyException('builtins', 'ValueError', ['bad', 3])
    await backend.markAsFailure('a task', error, { traceback: 'Traceback …' })

    await expect(clientOf(backend).asyncResult('a task').get(20_000, 5)).rejects.toMatchObject({
      message: 'FAILURE',
      exc_type: 'ValueError',
      exc_module: 'builtins',
      exc_message: ['bad', 3],
      traceback: 'Traceback …',
    })
  })

  it('throws it for a revoked task, and gives the reason of a retry', async () => {
    const backend = open()
    await backend.markAsRevoked('revoked', 'terminated')
    await backend.markAsRetry('retried', new RangeError('later'))

    await expect(clientOf(backend).asyncResult('revoked').get(20_000, 5)).rejects.toMatchObject({
      message: 'REVOKED',
      exc_type: 'TaskRevokedError',
      exc_message: ['terminated'],
    })
    expect(await clientOf(backend).asyncResult('retried').result()).toMatchObject({ exc_type: 'ValueError' })
  })

  it('gives the exception that was raised where Celery has wrapped it', async () => {
    const backend = open()
    await backend.storeResult('failed', WRAPPED, 'FAILURE')
    await backend.storeResult('retried', WRAPPED, 'RETRY')
    const raised = { exc_type: 'OutOfStock', exc_module: 'shop', exc_message: ['chair: 3 left'] }

    await expect(clientOf(backend).asyncResult('failed').get(20_000, 5)).rejects.toMatchObject(raised)
    expect(await clientOf(backend).asyncResult('retried').result()).toMatchObject(raised)
  })

  it('gives all fields of a task under Celery’s names', async () => {
    const backend = open()
    await backend.markAsDone('a task', 1)

    expect(await new CeleryNodeBackend(backend).getTaskMeta('a task')).toEqual({
      task_id: 'a task',
      status: 'SUCCESS',
      result: 1,
      traceback: null,
      children: [],
      date_done: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
    })
    expect(await new CeleryNodeBackend(backend).getTaskMeta('unknown')).toMatchObject({ status: 'PENDING' })
  })

  it('throws what is wrong with a result that cannot be read, instead of waiting for ever', async () => {
    const backend = open('results.db', { pickle: { maxBytes: 100 } })
    await backend.markAsDone('large', 'x'.repeat(1_000))
    const loop: unknown[] = []
    loop.push(loop)
    await backend.markAsDone('loop', loop)

    await expect(clientOf(backend).asyncResult('large').get(20_000, 5)).rejects.toMatchObject({
      code: 'RESULT_TOO_LARGE',
    })
    await expect(clientOf(backend).asyncResult('loop').get(20_000, 5)).rejects.toMatchObject({
      code: 'RESULT_UNREADABLE',
    })
    expect(await clientOf(backend).asyncResult('large').status()).toBe('SUCCESS')
  })

  it('reads once for all concurrent callers', async () => {
    const backend = open()
    const ours = new CeleryNodeBackend(backend)
    for (const id of ['1', '2', '3']) await backend.markAsDone(id, Number(id))
    const questions = vi.spyOn(backend, 'getMany')

    const metas = await Promise.all(Array.from({ length: 300 }, (_, id) => ours.getTaskMeta(String(id))))

    expect(metas.map(({ result }) => result).slice(0, 5)).toEqual([null, 1, 2, 3, null])
    expect(metas.map(({ task_id }) => task_id)).toEqual(Array.from({ length: 300 }, (_, id) => String(id)))
    expect(questions).toHaveBeenCalledOnce()
  })

  it('says that it cannot read, once in each outage, and reads again when it can', async () => {
    const onError = vi.fn()
    const ours = new CeleryNodeBackend(open('missing/results.db'), { onError })

    const pending = [await ours.getTaskMeta('a task'), await ours.getTaskMeta('a task')]
    expect(pending).toMatchObject([{ status: 'PENDING' }, { status: 'PENDING' }])
    expect(onError).toHaveBeenCalledOnce()
    expect(onError).toHaveBeenCalledWith(expect.objectContaining({ code: 'FILE_UNUSABLE' }), null)

    mkdirSync(join(directory, 'missing'))
    await ours.storeResult('a task', 1, 'SUCCESS')
    expect(await ours.getTaskMeta('a task')).toMatchObject({ status: 'SUCCESS', result: 1 })
    expect(onError).toHaveBeenCalledOnce()
  })

  it('is ready when the database has answered, and rejects until then', async () => {
    const ours = new CeleryNodeBackend(open('missing/results.db'))

    await expect(ours.isReady()).rejects.toMatchObject({ code: 'FILE_UNUSABLE' })
    mkdirSync(join(directory, 'missing'))
    await ours.isReady()
    await opened[0]?.dispose()
    await ours.isReady()
  })

  it('stores the results of a worker, and failures in the words of Python', async () => {
    const backend = open()
    const ours = new CeleryNodeBackend(backend)

    await ours.storeResult('done', { total: 3 }, 'SUCCESS')
    await ours.storeResult('failed', new RangeError('too many'), 'FAILURE')
    await ours.storeResult('failed without a reason', undefined, 'FAILURE')

    expect(await backend.getResult('done')).toEqual({ total: 3 })
    expect(await backend.getResult('failed')).toMatchObject({
      excType: 'ValueError',
      excMessage: ['too many'],
    })
    expect(await backend.getResult('failed without a reason')).toMatchObject({ excType: 'Exception' })
  })

  it('stores that a task failed when its result cannot be written, as Celery does', async () => {
    const backend = open()
    await new CeleryNodeBackend(backend).storeResult('a task', () => {}, 'SUCCESS')

    expect(await backend.getState('a task')).toBe('FAILURE')
    expect(await backend.getResult('a task')).toMatchObject({ excType: 'PickleError' })
  })

  it('reports each result that cannot be stored, by a warning if there is no handler', async () => {
    const backend = open('missing/results.db')
    const onError = vi.fn()
    const warned = new Promise<Error>((resolve) => process.once('warning', resolve))

    await new CeleryNodeBackend(backend, { onError }).storeResult('one', 1, 'SUCCESS')
    await new CeleryNodeBackend(backend).storeResult('another', 2, 'SUCCESS')

    expect(onError).toHaveBeenCalledWith(expect.objectContaining({ code: 'FILE_UNUSABLE' }), 'one')
    expect(await warned).toMatchObject({
      code: 'DRIZZLE_CELERY_CELERY_NODE',
      message: expect.stringMatching(/the result of task "another": Cannot open .*there is no directory/),
    })
  })

  it('stores no words of the broker with what could not be sent', async () => {
    const canary = 'amqp://user:canary@host'
    const worker = {
      _backend: undefined as CeleryNodeBackend | undefined,
      get backend() {
        return this._backend ?? {}
      },
      broker: { publish: () => Promise.reject(new Error(`no answer from ${canary}`)) },
      createTaskHandler: () => (_message: unknown) => {},
    }
    const onError = vi.fn()
    const backend = open()
    useDatabaseBackend(worker, backend, { onError })
    const embed = { chain: [{ task: 'next', options: { task_id: 'next', queue: 'q' } }] }
    worker.createTaskHandler()({ headers: { id: 'one', task: 't' }, decode: () => [[], {}, embed] })
    await worker._backend?.storeResult('one', 1, 'SUCCESS')

    const next = await backend.getTaskMeta('next')
    expect([next.status, String(taskErrorOf(next))]).toEqual([
      'FAILURE',
      expect.not.stringContaining('canary'),
    ])
    const [[error]] = onError.mock.calls as [[Error]]
    expect(error).toMatchObject({ code: 'CHAIN_BROKEN', message: expect.not.stringContaining('canary') })
  })

  it('sends a chain within a group as the options of both say', async () => {
    const publish = vi.fn((..._message: unknown[]) => Promise.resolve())
    const worker = {
      _backend: undefined as CeleryNodeBackend | undefined,
      get backend() {
        return this._backend ?? {}
      },
      broker: { publish },
      createTaskHandler: () => (_message: unknown) => {},
    }
    useDatabaseBackend(worker, open())
    const [tell, cry, own] = ['tell', 'cry', 'own'].map((task) => ({ task, options: {} }))
    const chain = {
      ...{ task: 'celery.chain', subtask_type: 'chain', args: ['given'] },
      options: { link: tell, link_error: [cry], queue: 'special', countdown: 60 },
      kwargs: {
        tasks: [
          { task: 'b', options: { task_id: 'b', queue: 'usual' } },
          { task: 'c', options: { task_id: 'c', queue: 'usual', link_error: [own] } },
        ],
      },
    }
    const group = {
      ...{ task: 'celery.group', subtask_type: 'group', options: { task_id: 'g', priority: 7 } },
      kwargs: { tasks: [chain, { task: 'd', options: { task_id: 'd', queue: 'usual' } }] },
    }
    worker.createTaskHandler()({
      headers: { id: 'a', task: 'a' },
      decode: () => [[], {}, { chain: [group] }],
    })
    await worker._backend?.storeResult('a', 1, 'SUCCESS')

    expect(publish.mock.calls).toMatchObject([
      [
        [
          [1, 'given'],
          {},
          {
            errbacks: [cry],
            callbacks: null,
            chain: [
              {
                task: 'c',
                options: {
                  task_id: 'c',
                  group_id: 'g',
                  queue: 'usual',
                  link: [tell],
                  link_error: [own, cry],
                },
              },
            ],
          },
        ],
        ...['', 'special'],
        { id: 'b', eta: expect.any(String), group: null },
        { priority: 7 },
      ],
      [[[1], {}, { errbacks: null }], '', 'usual', { id: 'd', group: 'g', eta: null }, { priority: 7 }],
    ])
  })

  it('sends the errbacks of a task even where the rest of its chain cannot be stored as failed', async () => {
    const publish = vi.fn((..._message: unknown[]) => Promise.resolve())
    const worker = {
      _backend: undefined as CeleryNodeBackend | undefined,
      get backend() {
        return this._backend ?? {}
      },
      broker: { publish },
      createTaskHandler: () => (_message: unknown) => {},
    }
    const onError = vi.fn()
    useDatabaseBackend(worker, open('missing/results.db'), { onError })
    const embed = {
      errbacks: [{ task: 'tell', options: { queue: 'q' } }],
      chain: [{ task: 'next', options: { task_id: 'next' } }],
    }
    worker.createTaskHandler()({ headers: { id: 'one', task: 't' }, decode: () => [[], {}, embed] })
    await worker._backend?.storeResult('one', new TypeError('no'), 'FAILURE')

    expect(publish).toHaveBeenCalledExactlyOnceWith(
      [['one'], {}, expect.anything()],
      ...['', 'q'],
      ...[expect.objectContaining({ task: 'tell' }), expect.anything()],
    )
    expect(onError.mock.calls).toEqual([
      [expect.objectContaining({ code: 'FILE_UNUSABLE' }), 'one'],
      [expect.objectContaining({ code: 'FILE_UNUSABLE' }), 'one'],
    ])
  })

  function useTwice(): object {
    return clientOf(open())
  }
})

describeNeeding(['python celery', 'postgresql', 'rabbitmq'], 'beside Python, over RabbitMQ', () => {
  const queues = { python: `dc_test_${randomUUID()}`, node: `dc_test_${randomUUID()}` }
  const broker = process.env['AMQP_URL'] ?? ''
  let database: TestDatabase
  let backend: DatabaseBackend
  let pythonWorker: CeleryWorker
  let pythonClient: CeleryWorker
  let client: ReturnType<typeof createClient>
  let worker: ReturnType<typeof createWorker>
  const problems: { error: unknown; taskId: string | null }[] = []
  beforeAll(async () => {
    database = await createPostgres()
    backend = new DatabaseBackend(database.dburi, { resultExtended: true })
    const theirs = { python: python3() ?? '', backend: `db+${database.dburi}`, broker }
    pythonWorker = new CeleryWorker({ ...theirs, queue: queues.python })
    pythonClient = new CeleryWorker({ ...theirs, queue: queues.node, works: false })
    client = useDatabaseBackend(createClient(broker, undefined, queues.python), backend)
    const told = (error: unknown, taskId: string | null) => problems.push({ error, taskId })
    const options = { queue: queues.python, onError: told }
    worker = useDatabaseBackend(createWorker(broker, undefined, queues.node), backend, options)
    vi.spyOn(console, 'info').mockImplementation(() => {})
    worker.register('node.add', (a: number, b: number) => a + b)
    worker.register('node.fail', (message: string) => Promise.reject(new TypeError(message)))
    worker.register('node.odd', () => () => {})
    worker.register('node.text', (...texts: unknown[]) => texts.slice(0, -1).join(' '))
    await worker.start()
    await Promise.all([pythonWorker.ready(), pythonClient.ready()])
  })
  afterAll(async () => {
    vi.restoreAllMocks()
    await client.disconnect()
    await worker.disconnect()
    await pythonWorker[Symbol.asyncDispose]()
    await pythonClient[Symbol.asyncDispose]()
    await backend.dispose()
    await database.drop()
  })

  it("a client of celery-node awaits a Python worker's result", async () => {
    const result = client.createTask('shop.values').applyAsync([])

    expect(await result.get(25_000, 50)).toStrictEqual({
      pair: [1, 2],
      price: '129.50',
      none: null,
      text: 'é',
    })
  })

  it('and the exception that it raised', async () => {
    const result = client.createTask('shop.divide').applyAsync([1, 0])

    await expect(result.get(25_000, 50)).rejects.toMatchObject({
      message: 'FAILURE',
      exc_type: 'ZeroDivisionError',
      exc_module: 'builtins',
      exc_message: ['division by zero'],
      traceback: expect.stringContaining('one / other'),
    })
  })

  it('a Python client gets the result of a worker of celery-node', async () => {
    const id = await pythonClient.send('node.add', [2, 3])

    expect(await pythonClient.get(id)).toEqual({ value: '5' })
  })

  it('and is thrown the exception that it knows', async () => {
    const id = await pythonClient.send('node.fail', ['no such article'])

    expect(await pythonClient.get(id)).toEqual({
      type: 'TypeError',
      module: 'builtins',
      args: "('no such article',)",
    })
  })

  it('and gets an error for a result that cannot be written', async () => {
    const id = await pythonClient.send('node.odd')

    expect(await pythonClient.get(id)).toMatchObject({ type: 'PickleError' })
  })
  describe('what comes after a task of its worker', () => {
    const node = (task: string, ...args: unknown[]) => ({ task, args, options: { queue: queues.node } })
    const ofPython = (task: string, ...args: unknown[]) => ({ task, args, options: { queue: queues.python } })

    it('is the rest of its chain, there and in Python, each with what the last one returned', async () => {
      const chain = [
        node('node.add', 1, 2),
        node('node.add', 10),
        { task: 'shop.add', args: [100] },
        node('node.add', 1_000),
      ]
      const { ids } = await pythonClient.apply({ chain })

      expect(await pythonClient.get(ids[0] ?? '')).toEqual({ value: '1113' })
      expect(await Promise.all(ids.map((id) => pythonClient.get(id)))).toEqual(
        ['1113', '113', '13', '3'].map((value) => ({ value })),
      )
    })

    it('gets nothing of it where it is immutable, and waits as long as it says', async () => {
      const later = {
        ...node('node.add', 5, 6),
        immutable: true,
        options: { queue: queues.node, countdown: 0.1 },
      }
      const { ids } = await pythonClient.apply({ chain: [node('node.add', 1, 2), later] })

      expect(await pythonClient.get(ids[0] ?? '')).toEqual({ value: '11' })
    })

    it('is a group at its end, and a chord before its end', async () => {
      const group = { group: [ofPython('shop.add', 10), node('node.add', 20)] }
      const ended = await pythonClient.apply({ chain: [node('node.add', 1, 2), group] })
      const added = await pythonClient.apply({
        chain: [node('node.add', 1, 2), group, ofPython('shop.total')],
      })

      expect(await Promise.all(ended.members.map((id) => pythonClient.get(id)))).toEqual([
        { value: '13' },
        { value: '23' },
      ])
      expect(await pythonClient.get(added.ids[0] ?? '')).toEqual({ value: '36' })
    })

    it('fails with it', async () => {
      const chain = [node('node.fail', 'no such article'), node('node.add', 1), ofPython('shop.add', 2)]
      const { ids } = await pythonClient.apply({ chain })

      const failure = { type: 'TypeError', module: 'builtins', args: "('no such article',)" }
      expect(await Promise.all(ids.map((id) => pythonClient.get(id)))).toEqual([failure, failure, failure])
    })

    it('is chains within a group, whose last tasks are its members', async () => {
      const inner = {
        chain: [node('node.add', 1), { chain: [ofPython('shop.add', 2), node('node.add', 3)] }],
      }
      const group = { group: [inner, ofPython('shop.add', 10), { chain: [node('node.add', 20)] }] }
      const ended = await pythonClient.apply({ chain: [node('node.add', 1, 2), group] })
      const added = await pythonClient.apply({
        chain: [node('node.add', 1, 2), group, ofPython('shop.total')],
      })

      expect(await Promise.all(ended.members.map((id) => pythonClient.get(id)))).toEqual(
        ['9', '13', '23'].map((value) => ({ value })),
      )
      expect(await pythonClient.get(added.ids[0] ?? '')).toEqual({ value: '45' })
    })

    it('fails where it cannot be started, and nobody waits for it', async () => {
      const group = { group: [ofPython('shop.add', 1), ofPython('shop.add', 2)] }
      const inner = { chain: [ofPython('shop.add', 1), group, ofPython('shop.total')] }
      const { members } = await pythonClient.apply({
        chain: [node('node.add', 1, 2), { group: [inner, ofPython('shop.add', 3)] }],
      })

      expect(await pythonClient.get(members[1] ?? '')).toMatchObject({
        type: 'CeleryError',
        args: expect.stringContaining('cannot start a celery.chord'),
      })
      await expect.poll(() => problems).toHaveLength(1)
      expect(problems[0]?.error).toMatchObject({
        code: 'CHAIN_BROKEN',
        message: expect.stringContaining('celery.chord'),
      })
    })

    it('are its callbacks, a chain too, and its errbacks with its id', async () => {
      const [linked, chained, told] = [randomUUID(), randomUUID(), randomUUID()]
      const links = (task: string, task_id: string, ...args: unknown[]) => ({
        ...{ task, args },
        options: { queue: queues.node, task_id },
      })
      await pythonClient.apply({ ...node('node.add', 1, 2), link: links('node.add', linked, 5) })
      const chain = [ofPython('shop.add', 6), links('node.add', chained, 7)]
      await pythonClient.apply({ ...node('node.add', 1, 2), link: { chain } })
      const { ids } = await pythonClient.apply({
        ...node('node.fail', 'x'),
        link_error: links('node.text', told, 'failed'),
      })

      expect(await pythonClient.get(linked)).toEqual({ value: '8' })
      expect(await pythonClient.get(chained)).toEqual({ value: '16' })
      expect(await pythonClient.get(told)).toEqual({ value: `'${ids[0]} failed'` })
    })

    it('waits in a queue whose worker has not run yet', async () => {
      const queue = `dc_test_${randomUUID()}`
      const { ids } = await pythonClient.apply({
        chain: [node('node.add', 1, 2), { task: 'late.add', args: [3], options: { queue } }],
      })
      expect(await pythonClient.get(ids[1] ?? '')).toEqual({ value: '3' })

      const late = useDatabaseBackend(createWorker(broker, undefined, queue), backend)
      late.register('late.add', (a: number, b: number) => a + b)
      await late.start()

      expect(await pythonClient.get(ids[0] ?? '')).toEqual({ value: '6' })
      // A worker of celery-node ends with its process if the queue that it consumes goes away.
      await late.disconnect()
      await pythonClient.deleteQueue(queue)
    })
  })

  it('a task of its worker is stored with name, arguments, worker and queue', async () => {
    const id = await pythonClient.send('node.add', [2, 3])
    await pythonClient.get(id)

    expect(await backend.getTaskMeta(id)).toMatchObject({
      name: 'node.add',
      args: [2, 3],
      kwargs: {},
      worker: expect.stringMatching(/^celery-node@./),
      queue: queues.node,
      retries: 0,
    })
  })

  it('is not stored where whoever sent it wants no result', async () => {
    const ignored = await pythonClient.send('node.add', [1, 1], { ignore_result: true })
    // One connection's messages come one after the other, and so do a worker's results.
    await pythonClient.get(await pythonClient.send('node.add', [2, 2]))

    expect(await backend.getState(ignored)).toBe('PENDING')
  })
})
