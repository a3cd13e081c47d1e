import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, createBroker, type MessageBroker, Status } from 'celery-ts'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { CeleryTsBackend } from '../../../src/backend/clients/celery-ts.ts'
import { DatabaseBackend } from '../../../src/backend/database-backend.ts'
import { TaskError } from '../../../src/backend/errors.ts'
import { PyTuple } from '../../../src/pickle/index.ts'
import { CeleryWorker } from '../../fixtures/celery/worker.ts'
import { createPostgres, describeNeeding, python3, type TestDatabase } from '../../fixtures/servers.ts'

/** The clients of the npm package celery-ts, with this backend. */

/** What Celery's workers store of an exception that Python cannot pickle. */
const WRAPPED = {
  exc_type: 'UnpickleableExceptionWrapper',
  exc_message: PyTuple.of('shop', 'OutOfStock', PyTuple.of('chair: 3 left'), "OutOfStock('chair: 3 left')"),
  exc_module: 'celery.utils.serialization',
}

describe('on a database of its own', () => {
  let directory: string
  let backend: DatabaseBackend
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'dc-celery-ts-'))
    backend = new DatabaseBackend(`file:${join(directory, 'results.db')}`)
  })
  afterEach(async () => {
    await backend.dispose()
    rmSync(directory, { recursive: true })
  })

  it('gives a result when it is there', async () => {
    const got = new CeleryTsBackend(backend).get<number[], Status>({ taskId: 'a task' })
    await backend.markAsStarted('a task')
    await backend.markAsDone('a task', PyTuple.of(1, 2))

    const message = await got
    expect(message).toStrictEqual({
      task_id: 'a task',
      status: Status.Success,
      result: [1, 2],
      traceback: null,
      children: [],
    })
  })

  it('rejects for a task that failed, whether it had before or does meanwhile', async () => {
    const ours = new CeleryTsBackend(backend)
    const got = ours.get({ taskId: 'a task' })
    await backend.markAsFailure('a task', new RangeError('too many'))

    for (const each of [got, ours.get({ taskId: 'a task' })]) {
      await expect(each).rejects.toMatchObject({ code: 'TASK_FAILED', excType: 'ValueError' })
    }
  })

  it('rejects with the exception that was raised where Celery has wrapped it', async () => {
    await backend.storeResult('a task', WRAPPED, 'FAILURE')

    await expect(new CeleryTsBackend(backend).get({ taskId: 'a task' })).rejects.toMatchObject({
      excType: 'OutOfStock',
      excModule: 'shop',
      excMessage: ['chair: 3 left'],
    })
  })

  it('rejects for a revoked task', async () => {
    await backend.markAsRevoked('a task', 'expired')

    await expect(new CeleryTsBackend(backend).get({ taskId: 'a task' })).rejects.toMatchObject({
      excType: 'TaskRevokedError',
    })
  })

  it('waits as many milliseconds as its timeout', async () => {
    await expect(new CeleryTsBackend(backend).get({ taskId: 'none', timeout: 10 })).rejects.toMatchObject({
      code: 'RESULT_TIMEOUT',
      timeout: 0.01,
    })
  })

  it('stores and deletes results', async () => {
    const ours = new CeleryTsBackend(backend)
    const message = { task_id: 'a task', children: [] }
    const failure = { exc_type: 'KeyError', exc_message: ['x'], exc_module: 'builtins' }
    const put = { ...message, result: failure, status: Status.Failure, traceback: 'Traceback …' }

    expect(await ours.put(put)).toBe('a task')
    expect(await backend.getResult('a task')).toMatchObject({ excType: 'KeyError', traceback: 'Traceback …' })
    expect(await ours.delete('a task')).toBe('a task')
    expect(await backend.taskResultExists('a task')).toBe(false)
  })

  it.each(['end', 'disconnect'] as const)('%s ends all waits, and leaves the backend open', async (how) => {
    const ours = new CeleryTsBackend(backend)
    const got = ours.get({ taskId: 'none' })
    got.catch(() => {})
    await ours[how]()

    await expect(got).rejects.toMatchObject({ code: 'ABORTED' })
    expect(await backend.getState('none')).toBe('PENDING')
  })

  it('names its database without the password', async () => {
    await using secret = new DatabaseBackend('db+postgresql+psycopg2://app:hunter2@db.example.com/results', {
      databaseCreateTablesAtSetup: false,
    })

    expect(new CeleryTsBackend(secret).uri()).toBe('postgresql+psycopg2://app:***@db.example.com/results')
  })
})

describeNeeding(['python celery', 'postgresql', 'rabbitmq'], 'with a Python worker, over RabbitMQ', () => {
  const queue = `dc_test_${randomUUID()}`
  const amqp = process.env['AMQP_URL'] ?? ''
  let database: TestDatabase
  let backend: DatabaseBackend
  let worker: CeleryWorker
  let broker: MessageBroker
  let client: Client
  beforeAll(async () => {
    database = await createPostgres()
    backend = new DatabaseBackend(database.dburi)
    worker = new CeleryWorker({
      python: python3() ?? '',
      backend: `db+${database.dburi}`,
      broker: amqp,
      queue,
    })
    broker = createBroker(amqp)
    client = new Client({
      backend: new CeleryTsBackend(backend),
      brokers: [broker],
      id: 'shop',
      taskDefaults: { queue },
    })
    await worker.ready()
  })
  afterAll(async () => {
    await client.end()
    await worker[Symbol.asyncDispose]()
    await backend.dispose()
    await database.drop()
  })

  it('a client awaits the result', async () => {
    const result = client.createTask<number>('shop.add').applyAsync({ args: [2, 3], kwargs: {} })

    expect(await result.get(25_000)).toBe(5)
  })

  it('and is thrown what the task raised', async () => {
    const result = client.createTask('shop.order').applyAsync({ args: ['chair'], kwargs: {} })

    const error = await result.get(25_000).catch((error: unknown) => error)
    expect(error).toBeInstanceOf(TaskError)
    expect(error).toMatchObject({
      excType: 'OutOfStock',
      excModule: 'worker_tasks',
      excMessage: ['chair', 3],
      traceback: expect.stringContaining('raise OutOfStock(article, 3)'),
    })
  })
})
