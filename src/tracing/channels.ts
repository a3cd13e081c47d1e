import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import { causes, DrizzleCeleryError, textOf } from '../errors.ts'
import type {
  CheckoutContext,
  ConnectContext,
  OutcomeContext,
  PrepareContext,
  SessionContext,
  StatementContext,
  StoreContext,
  TransactionContext,
} from './contexts.ts'

/** A tracing channel of Node, whose context is this. */
export type Channel<Context extends object> = TracingChannel<unknown, Context>

/**
 * What can be seen from outside, by `node:diagnostics_channel`: each is a tracing channel `drizzle-celery:<name>`, with
 * the events `start`, `end`, `asyncStart`, `asyncEnd` and `error`. While nobody listens a context is not even made.
 */
export const channels: {
  readonly connect: Channel<ConnectContext>
  readonly checkout: Channel<CheckoutContext>
  readonly statement: Channel<StatementContext>
  readonly transaction: Channel<TransactionContext>
  readonly session: Channel<SessionContext>
  readonly prepare: Channel<PrepareContext>
  readonly store: Channel<StoreContext>
} = {
  connect: tracingChannel('drizzle-celery:connect'),
  checkout: tracingChannel('drizzle-celery:checkout'),
  statement: tracingChannel('drizzle-celery:statement'),
  transaction: tracingChannel('drizzle-celery:transaction'),
  session: tracingChannel('drizzle-celery:session'),
  prepare: tracingChannel('drizzle-celery:prepare'),
  store: tracingChannel('drizzle-celery:store'),
}

/** Does some work, as an event of a channel where somebody listens to it. */
export function seen<Context extends OutcomeContext, Result>(
  channel: Channel<Context>,
  contextOf: () => NoInfer<Context>,
  work: () => Promise<Result>,
  describe?: (result: Result, context: Context) => void,
): Promise<Result> {
  return channel.hasSubscribers ? traced(channel, contextOf(), work, describe) : work()
}

/**
 * Does some work as an event of a channel that somebody listens to: what `tracePromise` of Node does, but for half of its
 * time, and what the work resolves to is in no context. Rows are nobody else's.
 */
export function traced<Context extends OutcomeContext, Result>(
  channel: Channel<Context>,
  context: NoInfer<Context>,
  work: () => Promise<Result>,
  describe?: (result: Result, context: Context) => void,
): Promise<Result> {
  const { start, end, asyncStart, asyncEnd, error } = channel
  const startedAt = performance.now()
  const over = () => {
    asyncStart.publish(context)
    asyncEnd.publish(context)
  }
  const done = (result: Result) => {
    context.durationMs = performance.now() - startedAt
    describe?.(result, context)
    over()
    return result
  }
  const failed = (reason: unknown) => {
    context.durationMs = performance.now() - startedAt
    context.error = reason
    describeError(context, reason)
    error.publish(context)
    over()
    throw reason
  }
  return start.runStores(context, () => {
    try {
      return work().then(done, failed)
    } finally {
      end.publish(context)
    }
  })
}

/** Calls a function at the end of each operation of a channel. @returns stops it */
export function onEnd<Context extends OutcomeContext>(
  { asyncEnd }: Channel<Context>,
  tell: (context: Context) => void,
): () => void {
  return listen(asyncEnd, tell)
}

/** Calls a function at the start of each operation of a channel. @returns stops it */
export function onStart<Context extends OutcomeContext>(
  { start }: Channel<Context>,
  tell: (context: Context) => void,
): () => void {
  return listen(start, tell)
}

interface Subscribable {
  subscribe(listener: (context: unknown) => void): void
  unsubscribe(listener: (context: unknown) => void): void
}

/** The types of Node's channels leave out what each is told, which the channels above say. */
function listen<Context>(channel: Subscribable, tell: (context: Context) => void): () => void {
  const listener = (context: unknown) => tell(context as Context)
  channel.subscribe(listener)
  return () => channel.unsubscribe(listener)
}

/** The driver's error is the innermost one; ours stand around it. */
function describeError(context: OutcomeContext, error: unknown): void {
  const all = causes(error)
  const server = all.findLast((cause) => !(cause instanceof DrizzleCeleryError) && textOf(cause, 'code'))
  const code =
    textOf(server, 'code') ??
    textOf(
      all.find((cause) => textOf(cause, 'code')),
      'code',
    )
  if (code === undefined) return
  context.errorCode = code
  context.isServerError = server !== undefined
}
