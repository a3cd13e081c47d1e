/** What the adapters are is what the packages ask for, by the packages' own types. */
import { createClient, createWorker } from 'celery-node'
import { Client, type MessageBroker, type ResultBackend } from 'celery-ts'
import type { DatabaseBackend } from 'drizzle-celery/backend'
import { CeleryNodeBackend, useDatabaseBackend } from 'drizzle-celery/celery-node'
import { CeleryTsBackend } from 'drizzle-celery/celery-ts'

/** Of celery-node, which exports neither its classes nor this interface by name. */
type NodeClient = ReturnType<typeof createClient>
type NodeWorker = ReturnType<typeof createWorker>

export function celeryNode(backend: DatabaseBackend): NodeClient['backend'] {
  const client: NodeClient = useDatabaseBackend(createClient('amqp://'), backend)
  const worker: NodeWorker = useDatabaseBackend(createWorker('amqp://'), backend, { onError: console.error })
  client.sendTask('add', [1, 2])
  worker.register('add', (a: number, b: number) => a + b)

  // @ts-expect-error: no client or worker
  useDatabaseBackend({ broker: {} }, backend)

  return new CeleryNodeBackend(backend)
}

export async function celeryTs(backend: DatabaseBackend, broker: MessageBroker): Promise<number> {
  const ours = new CeleryTsBackend(backend)
  const theirs: ResultBackend = ours
  const client = new Client({ backend: ours, brokers: [broker], id: 'shop' })
  await theirs.delete('a-task')
  return client
    .createTask<number>('add')
    .applyAsync({ args: [1, 2], kwargs: {} })
    .get()
}
