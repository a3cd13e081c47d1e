import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { type PlainJson, toPlainJson } from '../plain-json.ts'

/** Celery's message protocol 2, as far as a worker of celery-node needs it: what came, and what comes next. */

/** What a message says of its task. */
export interface Received {
  readonly id: string
  readonly task: string
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
  readonly retries: number | null
  readonly rootId: string
  readonly priority: unknown
  /** Its sender wants no result. */
  readonly ignoresResult: boolean
  /** Sent when the task has succeeded. */
  readonly callbacks: readonly Signature[]
  /** Sent when it has failed. */
  readonly errbacks: readonly Signature[]
  /** The tasks after this one, the next one last. */
  readonly chain: readonly Signature[]
}

/** A task to send, as Celery writes one into messages. */
export type Signature = Readonly<Record<string, unknown>>

/** A message for celery-node's `broker.publish`. */
export interface Message {
  readonly id: string
  readonly task: string
  readonly body: readonly [PlainJson, PlainJson, object]
  readonly headers: Readonly<Record<string, unknown>>
  readonly properties: Readonly<Record<string, unknown>>
  /** Where it goes, if the signature says so. */
  readonly exchange: string | undefined
  readonly routingKey: string | undefined
  readonly queue: string | undefined
}

/** What a message of celery-node says; `null` for one of protocol 1, which knows no chains. */
export function receivedOf(message: unknown): Received | null {
  if (!isRecord(message) || !isRecord(message['headers'])) return null
  const { id, task, retries, root_id, ignore_result } = message['headers']
  const body = typeof message['decode'] === 'function' ? message['decode']() : null
  if (typeof id !== 'string' || typeof task !== 'string' || !Array.isArray(body)) return null
  const [args, kwargs, embed] = body
  const next = isRecord(embed) ? embed : {}
  return {
    ...{ id, task },
    args: Array.isArray(args) ? args : [],
    kwargs: isRecord(kwargs) ? kwargs : {},
    retries: Number.isInteger(retries) ? Number(retries) : null,
    rootId: typeof root_id === 'string' ? root_id : id,
    priority: isRecord(message['properties']) ? message['properties']['priority'] : undefined,
    ignoresResult: ignore_result === true,
    callbacks: signaturesIn(next['callbacks']),
    errbacks: signaturesIn(next['errbacks']),
    chain: signaturesIn(next['chain']),
  }
}

/** The messages of the next task in its chain, which gets what this one returned. */
export function nextMessages(received: Received, result: unknown): Message[] {
  const next = received.chain.at(-1)
  if (next === undefined) return []
  return messagesOf(next, [toPlainJson(result)], received, received.chain.slice(0, -1))
}

/** The messages of its callbacks, which get it, too. */
export function callbackMessages(received: Received, result: unknown): Message[] {
  return received.callbacks.flatMap((signature) =>
    messagesOf(signature, [toPlainJson(result)], received, null),
  )
}

/** The ids of the tasks that it starts when it has succeeded, as far as its sender has given them one. */
export function childrenOf({ callbacks, chain }: Received): string[] {
  const started = [...callbacks, ...chain.slice(-1)].filter(
    ({ subtask_type }) => typeof subtask_type !== 'string',
  )
  return started.flatMap((signature) => textOf(optionsOf(signature)['task_id']) ?? [])
}

/** The messages that follow on failure: errbacks get the id of the task, as from a worker that does not know them. */
export function errbackMessages(received: Received): Message[] {
  return received.errbacks.flatMap((signature) => messagesOf(signature, [received.id], received, null))
}

/** The ids of all that a chain still has to run. When it breaks, they fail. */
export function idsOf(chain: readonly Signature[]): string[] {
  return chain.flatMap((signature) => {
    const { task_id } = optionsOf(signature)
    const { header, body } = isRecord(signature['kwargs']) ? signature['kwargs'] : {}
    const inner = [...membersOf(signature), ...signaturesIn([header, body])]
    return [...(typeof task_id === 'string' ? [task_id] : []), ...idsOf(inner)]
  })
}

/** Why a message cannot be sent, in words that may be stored. */
export class UnsentError extends Error {
  static override readonly name: string = 'UnsentError'
}

function unknownCanvas(task: string): UnsentError {
  return new UnsentError(
    `A worker of celery-node cannot start a ${task} here: it sends tasks, chains of them, and groups and chords of these`,
  )
}

function messagesOf(
  signature: Signature,
  partial: readonly PlainJson[],
  received: Received,
  chain: readonly Signature[] | null,
): Message[] {
  const kind = signature['subtask_type']
  const isLast = chain === null || chain.length === 0
  if (kind === 'chord') return chordOf(signature, partial, received, chain)
  if (kind === 'group' && isLast)
    return groupOf(signature, optionsOf(signature)['task_id'], partial, received).map(
      ({ message }) => message,
    )
  if (kind === 'chain' && isLast) return [chainOf(signature, null, partial, received).message]
  // Chains are flat in a chain, and a group before another task is a chord there.
  if (kind === 'group' || kind === 'chain') throw unknownCanvas(`celery.${kind}`)
  return [messageOf(signature, partial, received, chain)]
}

/** What a group or chord has begun with, and the id of the task whose result is waited for. */
interface Member {
  readonly message: Message
  readonly resultId: string
}

/** Its own options overrule those of its members. */
function groupOf(group: Signature, id: unknown, partial: readonly PlainJson[], received: Received): Member[] {
  const { sending } = optionsApart(group)
  return membersOf(group).map((member) =>
    chainOf({ ...member, options: { ...optionsOf(member), ...sending } }, id, partial, received),
  )
}

/**
 * The first task of a chain, which has those after it with it; a task is a chain of one. The last one is the member of the group.
 * @throws UnsentError where there is a group or a chord among them
 */
function chainOf(
  signature: Signature,
  groupId: unknown,
  partial: readonly PlainJson[],
  received: Received,
): Member {
  const isChain = signature['subtask_type'] === 'chain'
  const steps = isChain ? stepsWithOptionsOf(signature) : [signature]
  const canvas = steps.find(({ subtask_type }) => typeof subtask_type === 'string')
  if (canvas !== undefined) throw unknownCanvas(`celery.${canvas['subtask_type']}`)
  const last = steps.pop()
  if (last === undefined) throw unknownCanvas('celery.chain without tasks')
  const own = optionsOf(last)
  const resultId = textOf(own['task_id']) ?? randomUUID()
  const options = { ...own, group_id: own['group_id'] ?? groupId, task_id: resultId }
  const given = isChain ? argsOf(signature, partial) : partial
  const [first = last, ...others] = [...steps, { ...last, options }]
  return {
    message: messageOf(first, given, received, others.length > 0 ? others.reverse() : null),
    resultId,
  }
}

/** The tasks of a chain and of the chains in it, in their order. */
function stepsOf(signature: Signature): Signature[] {
  return signature['subtask_type'] === 'chain' ? membersOf(signature).flatMap(stepsOf) : [signature]
}

/**
 * The tasks of a chain that has options itself: errbacks are for each of them, callbacks and what its result is known by for the
 * last one, and how it is sent for the first (Celery's `_chain.run`).
 */
function stepsWithOptionsOf(chain: Signature): Signature[] {
  const { link, errbacks, identity, sending } = optionsApart(chain)
  return stepsOf(chain).map((step, at, { length }) => {
    const isLast = at === length - 1
    const own = optionsOf(step)
    return {
      ...step,
      options: {
        ...(isLast && identity),
        ...own,
        ...(at === 0 && sending),
        link: joined(own['link'], isLast ? link : []),
        link_error: joined(own['link_error'], errbacks),
      },
    }
  })
}

/** The options of a group or chain, by what they are for. */
function optionsApart(canvas: Signature) {
  const { link, link_error, task_id, group_id, group_index, chord, root_id, parent_id, ...sending } =
    optionsOf(canvas)
  return { link, errbacks: link_error, identity: { task_id, group_id, group_index, chord }, sending }
}

/** Celery has one or a list of them. */
function joined(own: unknown, others: unknown): unknown[] | undefined {
  const all = [own, others].flat().filter((each) => each !== undefined && each !== null)
  return all.length > 0 ? all : undefined
}

/** Its header, and what waits for it in a worker of Celery's and sends its body then, as with each result backend that counts nothing. */
function chordOf(
  chord: Signature,
  partial: readonly PlainJson[],
  received: Received,
  chain: readonly Signature[] | null,
): Message[] {
  const { task_id: id } = optionsOf(chord)
  const { header, body } = isRecord(chord['kwargs']) ? chord['kwargs'] : {}
  if (!isRecord(header) || !isRecord(body)) throw unknownCanvas('celery.chord')
  const members = groupOf(header, id, partial, received)
  const { queue } = optionsOf(body)
  const after =
    chain === null || chain.length === 0 ? body : { ...body, options: { ...optionsOf(body), chain } }
  const unlock = {
    task: 'celery.chord_unlock',
    args: [id, after],
    kwargs: { result: members.map(({ resultId }) => [[resultId, null], null]) },
    options: { queue, countdown: 1 },
    immutable: true,
  }
  return [...members.map(({ message }) => message), messageOf(unlock, [], received, null)]
}

/** Of a group, a chord's header or a chain. */
function membersOf({ kwargs }: Signature): Signature[] {
  return isRecord(kwargs) ? signaturesIn(kwargs['tasks']) : []
}

/** As Celery's `Signature.apply_async` and `AMQP.as_task_v2` make one. */
function messageOf(
  signature: Signature,
  partial: readonly PlainJson[],
  { id: parentId, rootId, priority }: Received,
  chain: readonly Signature[] | null,
): Message {
  const options = optionsOf(signature)
  const task = String(signature['task'])
  const id = textOf(options['task_id']) ?? randomUUID()
  const args = argsOf(signature, partial)
  const kwargs = toPlainJson(signature['kwargs'] ?? {})
  const { link, link_error, chord, eta, countdown, expires, time_limit, soft_time_limit } = options
  return {
    ...{ id, task },
    body: [
      args,
      kwargs,
      { callbacks: link ?? null, errbacks: link_error ?? null, chain, chord: chord ?? null },
    ],
    headers: {
      ...(isRecord(options['headers']) ? options['headers'] : {}),
      ...{ lang: 'js', task, id, root_id: rootId, parent_id: parentId, retries: 0 },
      ...{ group: options['group_id'] ?? null, group_index: options['group_index'] ?? null },
      ...{ shadow: options['shadow'] ?? null, ignore_result: options['ignore_result'] === true },
      ...{ eta: timeOf(countdown || eta), expires: timeOf(expires) },
      timelimit: [time_limit ?? null, soft_time_limit ?? null],
      ...{ argsrepr: JSON.stringify(args), kwargsrepr: JSON.stringify(kwargs) },
      origin: `${process.pid}@${hostname()}`,
    },
    properties: {
      ...{ correlationId: id, replyTo: textOf(options['reply_to']) ?? '' },
      priority: options['priority'] ?? priority,
    },
    exchange: textOf(options['exchange']),
    routingKey: textOf(options['routing_key']),
    queue: textOf(options['queue']),
  }
}

/** With what it is given behind, unless it wants nothing. */
function argsOf({ args, immutable }: Signature, partial: readonly PlainJson[]): PlainJson[] {
  const own = toPlainJson(Array.isArray(args) ? args : [])
  return [...(immutable === true ? [] : partial), ...(Array.isArray(own) ? own : [])]
}

/** Seconds from now, or the text of a time. */
function timeOf(time: unknown): string | null {
  if (typeof time === 'number') return new Date(Date.now() + time * 1_000).toISOString()
  return textOf(time) ?? null
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

function optionsOf({ options }: Signature): Readonly<Record<string, unknown>> {
  return isRecord(options) ? options : {}
}

function signaturesIn(value: unknown): Signature[] {
  return Array.isArray(value) ? value.filter(isRecord) : []
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
