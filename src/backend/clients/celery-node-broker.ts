import { type Message, UnsentError } from './celery-node-message.ts'

/** Sends messages by the broker of a worker of celery-node. */
export class CeleryNodeBroker {
  readonly #worker: object
  readonly #queueOf: (task: string) => string
  /** RabbitMQ's. What goes wrong on it closes it, and must not close the one that the worker consumes from. */
  #channel: Promise<AmqpChannel> | null = null
  /** The ids of messages for which there was no queue. */
  readonly #returned = new Set<unknown>()

  /** @param queueOf where a task goes whose signature does not say it */
  constructor(worker: object, queueOf: (task: string) => string) {
    this.#worker = worker
    this.#queueOf = queueOf
  }

  /** Resolves when the broker has the message, in a queue. */
  async send(message: Message): Promise<void> {
    const broker: unknown = Reflect.get(this.#worker, 'broker')
    const exchange = message.exchange ?? ''
    const named = message.exchange === undefined ? message.queue : message.routingKey
    const key = named ?? message.queue ?? this.#ownQueue(message.task) ?? this.#queueOf(message.task)
    if (hasConnection(broker)) return this.#sendByAmqp(broker, exchange, key, message)
    if (!canPublish(broker)) throw new TypeError('The worker has no broker of celery-node 0.5')
    await broker.publish(message.body, exchange, key, message.headers, message.properties)
  }

  /** A task that the worker runs itself is sent to the queue that it consumes. */
  #ownQueue(task: string): string | undefined {
    const handlers: unknown = Reflect.get(this.#worker, 'handlers')
    const isOwn = typeof handlers === 'object' && handlers !== null && Object.hasOwn(handlers, task)
    return isOwn ? queueOf(this.#worker) : undefined
  }

  async #sendByAmqp(broker: AmqpBroker, exchange: string, key: string, message: Message): Promise<void> {
    const channel = await this.#open(broker)
    if (await this.#isRouted(channel, exchange, key, message)) return
    if (exchange !== '')
      throw new UnsentError(`The exchange ${JSON.stringify(exchange)} has no queue for the next task`)
    // Its worker has not run yet. Where the queue is there, declaring it in another way than its worker did would fail.
    await channel.assertQueue(key, { durable: true })
    await this.#isRouted(channel, exchange, key, message)
  }

  /** Resolves when RabbitMQ has confirmed the message, with whether there was a queue for it: it returns it before if not. */
  async #isRouted(channel: AmqpChannel, exchange: string, key: string, message: Message): Promise<boolean> {
    const { body, headers, properties, id } = message
    const content = Buffer.from(JSON.stringify(body))
    const json = { contentType: 'application/json', contentEncoding: 'utf-8' }
    const options = { ...json, ...properties, headers, deliveryMode: 2, mandatory: true }
    await new Promise<void>((resolve, reject) => {
      channel.publish(exchange, key, content, options, (error) => (error ? reject(error) : resolve()))
    })
    return !this.#returned.delete(id)
  }

  #open(broker: AmqpBroker): Promise<AmqpChannel> {
    this.#channel ??= broker.connect.then(async (connection) => {
      const channel = await connection.createConfirmChannel()
      // The error is that of the call as well, or of what waits for its confirmation.
      channel.on('error', () => {})
      channel.on('return', ({ properties }) => this.#returned.add(properties.correlationId))
      channel.on('close', () => {
        this.#channel = null
      })
      return channel
    })
    this.#channel.catch(() => {
      this.#channel = null
    })
    return this.#channel
  }
}

/** The queue that a worker of celery-node consumes. */
export function queueOf(worker: object): string | undefined {
  const conf: unknown = Reflect.get(worker, 'conf')
  const queue: unknown =
    typeof conf === 'object' && conf !== null ? Reflect.get(conf, 'CELERY_QUEUE') : undefined
  return typeof queue === 'string' ? queue : undefined
}

/** What is used of amqplib, whose broker in celery-node keeps its connection. */
interface AmqpBroker {
  readonly connect: Promise<{ createConfirmChannel(): Promise<AmqpChannel> }>
}

interface AmqpChannel {
  on(event: 'error' | 'close', listener: () => void): unknown
  on(
    event: 'return',
    listener: (returned: { readonly properties: { readonly correlationId?: unknown } }) => void,
  ): unknown
  assertQueue(queue: string, options: object): Promise<unknown>
  publish(
    exchange: string,
    key: string,
    content: Buffer,
    options: object,
    onConfirm: (error: unknown) => void,
  ): unknown
}

interface PublishingBroker {
  publish(body: unknown, exchange: string, key: string, headers: object, properties: object): Promise<unknown>
}

function hasConnection(broker: unknown): broker is AmqpBroker {
  return (
    typeof broker === 'object' && broker !== null && 'connect' in broker && broker.connect instanceof Promise
  )
}

function canPublish(broker: unknown): broker is PublishingBroker {
  return (
    typeof broker === 'object' &&
    broker !== null &&
    'publish' in broker &&
    typeof broker.publish === 'function'
  )
}
