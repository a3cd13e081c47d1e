import { AsyncLocalStorage } from 'node:async_hooks'
import {
  type Attributes,
  context as active,
  type Context,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import { type Channel, channels, onEnd, onStart } from '../tracing/channels.ts'
import type { DatabaseContext, OutcomeContext, StatementContext } from '../tracing/contexts.ts'
import { databaseAttributes, errorAttributes, operationAttributes, textAttributes } from './attributes.ts'

/** What there may be spans of. */
export type SpanName = keyof typeof channels

/** A span that what happens meanwhile belongs to. */
interface Held {
  readonly span: Span
  /** The program's own when it began; where that is another one by now, it is the inner one. */
  readonly outer: Span | undefined
}

export interface SpanOptions {
  /** They have the text of their statement. */
  readonly hasText: boolean
  /** Statements have the span in a comment. */
  readonly comments: boolean
}

/** Makes spans of what the channels tell, until it is stopped. */
export class Spans {
  readonly #tracer: Tracer
  readonly #options: SpanOptions
  readonly #spans = new WeakMap<object, Span>()
  readonly #held = new AsyncLocalStorage<Held>()
  readonly #stops: (() => void)[] = []

  constructor(tracer: Tracer, names: readonly SpanName[], options: SpanOptions) {
    this.#tracer = tracer
    this.#options = options
    for (const name of names) this.#stops.push(STARTS[name](this))
  }

  stop(): void {
    for (const stop of this.#stops.splice(0)) stop()
  }

  /** Spans of a channel; what is done meanwhile belongs to one where it `holds`. */
  follow<Context extends OutcomeContext>(channel: Channel<Context>, span: SpanOf<Context>): () => void {
    const begin = (context: Context) => this.#begin(context, span)
    const unlisten = span.holds
      ? this.#hold(channel, begin)
      : onStart(channel, (context) => void begin(context))
    const stop = onEnd(channel, (context) => this.#end(context, span))
    return () => {
      unlisten()
      stop()
    }
  }

  /** What is done meanwhile belongs to the span. */
  #hold<Context extends OutcomeContext>(
    { start }: Channel<Context>,
    begin: (context: Context) => Span,
  ): () => void {
    start.bindStore(this.#held, (context) => ({ outer: trace.getActiveSpan(), span: begin(context) }))
    return () => void start.unbindStore(this.#held)
  }

  get options(): SpanOptions {
    return this.#options
  }

  #begin<Context extends OutcomeContext>(
    context: Context,
    { name, kind, attributes, within, begun }: SpanOf<Context>,
  ): Span {
    const options = { kind: kind ?? SpanKind.INTERNAL, attributes: attributes(context, this) }
    const span = this.#tracer.startSpan(name(context), options, this.#parent(within?.(context) ?? null))
    this.#spans.set(context, span)
    begun?.(context, span, this)
    return span
  }

  #end<Context extends OutcomeContext>(context: Context, { outcome }: SpanOf<Context>): void {
    const span = this.#spans.get(context)
    if (span === undefined) return
    const { error, errorCode } = context
    span.setAttributes({ ...errorAttributes(context), ...outcome?.(context) })
    // Its message may hold what the server says about values, its code does not.
    if (error !== undefined)
      span.setStatus({ code: SpanStatusCode.ERROR, ...(errorCode !== undefined && { message: errorCode }) })
    span.end()
  }

  #parent(within: object | null): Context {
    const now = active.active()
    const known = within === null ? undefined : this.#spans.get(within)
    if (known !== undefined) return trace.setSpan(now, known)
    const held = this.#held.getStore()
    return held !== undefined && trace.getSpan(now) === held.outer ? trace.setSpan(now, held.span) : now
  }
}

/** How the spans of a channel look. */
interface SpanOf<Context> {
  readonly name: (context: Context) => string
  readonly kind?: SpanKind
  /** What is known when it begins. */
  readonly attributes: (context: Context, spans: Spans) => Attributes
  readonly begun?: (context: Context, span: Span, spans: Spans) => void
  /** What is known when it ends. */
  readonly outcome?: (context: Context) => Attributes
  /** The context whose span is its parent. */
  readonly within?: (context: Context) => object | null
  readonly holds?: true
}

/** As sqlcommenter and W3C write it. */
function traceparent(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext()
  return `traceparent='00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}'`
}

const target = ({ database, serverAddress, dialect }: DatabaseContext) => database ?? serverAddress ?? dialect

/** By the conventions: `{operation} {target}`. */
const statementName = (context: StatementContext) => `${context.operation || 'STATEMENT'} ${target(context)}`

const STARTS: Readonly<Record<SpanName, (spans: Spans) => () => void>> = {
  connect: (spans) =>
    spans.follow(channels.connect, {
      name: (context) => `connect ${target(context)}`,
      attributes: databaseAttributes,
    }),
  checkout: (spans) =>
    spans.follow(channels.checkout, {
      name: (context) => `checkout ${target(context)}`,
      attributes: databaseAttributes,
    }),
  statement: (spans) =>
    spans.follow(channels.statement, {
      name: statementName,
      kind: SpanKind.CLIENT,
      attributes: (context, { options: { hasText } }) => ({
        ...operationAttributes(context),
        ...(hasText && textAttributes(context)),
      }),
      outcome: ({ rows }): Attributes => (rows === undefined ? {} : { 'db.response.returned_rows': rows }),
      within: ({ transaction }) => transaction,
      begun: (context, span, { options: { comments } }) => {
        if (comments) context.comment = traceparent(span)
      },
    }),
  transaction: (spans) =>
    spans.follow(channels.transaction, {
      name: (context) => `${context.depth === 0 ? 'transaction' : 'savepoint'} ${target(context)}`,
      attributes: databaseAttributes,
      outcome: ({ outcome }): Attributes =>
        outcome === undefined ? {} : { 'drizzle_celery.outcome': outcome },
      within: ({ outer }) => outer,
    }),
  session: (spans) =>
    spans.follow(channels.session, { name: () => 'session', attributes: () => ({}), holds: true }),
  prepare: (spans) =>
    spans.follow(channels.prepare, {
      name: (context) => `prepare ${target(context)}`,
      attributes: databaseAttributes,
      holds: true,
    }),
  store: (spans) =>
    spans.follow(channels.store, {
      name: (context) => `store ${target(context)}`,
      attributes: (context) => ({ ...databaseAttributes(context), 'db.operation.batch.size': context.count }),
      holds: true,
    }),
}
