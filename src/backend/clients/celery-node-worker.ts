import { hostname } from 'node:os'
import { PyException } from '../../pickle/values.ts'
import type { DatabaseBackend } from '../database-backend.ts'
import { ChainBrokenError } from '../errors.ts'
import type { TaskRequest } from '../writing.ts'
import { CeleryNodeBroker, queueOf } from './celery-node-broker.ts'
import {
  callbackMessages,
  childrenOf,
  errbackMessages,
  idsOf,
  type Message,
  nextMessages,
  type Received,
  receivedOf,
  type Signature,
  UnsentError,
} from './celery-node-message.ts'

/** What celery-node's workers do not do themselves. */
export interface WorkerOptions {
  /**
   * The queue of a task in a chain that names none and that the worker does not run itself, as Celery's
   * `task_default_queue`, or for each task as its `task_routes`.
   * @default 'celery'
   */
  readonly queue?: string | ((task: string) => string) | undefined
}

/**
 * The tasks that a worker of celery-node has received and not yet stored. Its backend is told an id and a result only; here is
 * what else their messages said.
 */
export class ReceivedTasks {
  readonly #backend: DatabaseBackend
  readonly #broker: CeleryNodeBroker
  readonly #worker: object
  readonly #received = new Map<string, Received>()

  constructor(worker: object, backend: DatabaseBackend, { queue = 'celery' }: WorkerOptions = {}) {
    this.#worker = worker
    this.#backend = backend
    this.#broker = new CeleryNodeBroker(worker, typeof queue === 'string' ? () => queue : queue)
  }

  /** Sees each message that the worker gets. A client has no such method. */
  listen(): void {
    const create: unknown = Reflect.get(this.#worker, 'createTaskHandler')
    if (typeof create !== 'function') return
    Reflect.set(this.#worker, 'createTaskHandler', () => {
      const handle: (message: unknown) => unknown = create.call(this.#worker)
      return (message: unknown) => this.#handled(handle, message)
    })
  }

  /** The task whose result is about to be stored. */
  take(taskId: string): Received | null {
    const received = this.#received.get(taskId) ?? null
    this.#received.delete(taskId)
    return received
  }

  /** What a row has of a task besides its result. */
  requestOf(received: Received): TaskRequest {
    const { task, args, kwargs, retries } = received
    const children = childrenOf(received)
    const request = { task, args, kwargs, retries, queue: queueOf(this.#worker) ?? null }
    return {
      ...request,
      worker: `celery-node@${hostname()}`,
      children: children.length > 0 ? children : null,
    }
  }

  /**
   * Sends what comes after a task. What cannot be sent fails, with the rest of its chain, so that nobody waits for it; as the
   * rest of its chain fails with a task that failed.
   * @throws ChainBrokenError for what could not be sent
   */
  async follow(
    received: Received,
    outcome: { readonly result: unknown } | { readonly failure: unknown },
  ): Promise<void> {
    const { chain, callbacks } = received
    if ('failure' in outcome) {
      try {
        await this.#fail(chain, outcome.failure)
      } finally {
        await this.#send(received, [], () => errbackMessages(received))
      }
      return
    }
    try {
      await this.#send(received, chain, () => nextMessages(received, outcome.result))
    } finally {
      await this.#send(received, callbacks, () => callbackMessages(received, outcome.result))
    }
  }

  async #send(
    { id }: Received,
    waiting: readonly Signature[],
    messages: () => readonly Message[],
  ): Promise<void> {
    try {
      for (const message of messages()) await this.#broker.send(message)
    } catch (cause) {
      const why = cause instanceof UnsentError ? cause.message : 'the broker did not take the message'
      const error = new ChainBrokenError(id, why, cause)
      await this.#fail(waiting, new PyException('celery.exceptions', 'CeleryError', [error.message]))
      throw error
    }
  }

  async #fail(signatures: readonly Signature[], failure: unknown): Promise<void> {
    for (const id of idsOf(signatures)) await this.#backend.storeResult(id, failure, 'FAILURE')
  }

  #handled(handle: (message: unknown) => unknown, message: unknown): unknown {
    const received = receivedOf(message)
    if (received === null) return handle(message)
    this.#received.set(received.id, received)
    try {
      return handle(message)
    } catch (error) {
      // It has no handler for the task: nothing will be stored of it.
      this.#received.delete(received.id)
      throw error
    }
  }
}
