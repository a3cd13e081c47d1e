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
    const begin = (told: Context) => this.#begin(told, span)
    const unlisten = span.holds ? this.#hold(channel, begin) : onStart(channel, (told) => void begin(told))
    const stop = onEnd(channel, (told) => this.#end(told, span))
    return () => {
      unlisten()
      stop()
    }
  }

  /** What is done meanwhile belongs to the span. */
  #hold<Context extends OutcomeContext>(
    { start }: Channel<Context>,
    begin: (told: Context) => Span,
  ): () => void {
    start.bindStore(this.#held, (told) => ({ outer: trace.getActiveSpan(), span: begin(told) }))
    return () => void start.unbindStore(this.#held)
  }

  get options(): SpanOptions {
    return this.#options
  }

  #begin<Context extends OutcomeContext>(
    told: Context,
    { name, kind, attributes, within, begun }: SpanOf<Context>,
  ): Span {
    const options = { kind: kind ?? SpanKind.INTERNAL, attributes: attributes(told, this) }
    const span = this.#tracer.startSpan(name(told), options, this.#parent(within?.(told) ?? null))
    this.#spans.set(told, span)
    begun?.(told, span, this)
    return span
  }

  #end<Context extends OutcomeContext>(told: Context, { outcome }: SpanOf<Context>): void {
    const span = this.#spans.get(told)
    if (span === undefined) return
    const { error, errorCode } = told
    span.setAttributes({ ...errorAttributes(told), ...outcome?.(told) })
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
  readonly name: (told: Context) => string
  readonly kind?: SpanKind
  /** What is known when it begins. */
  readonly attributes: (told: Context, spans: Spans) => Attributes
  readonly begun?: (told: Context, span: Span, spans: Spans) => void
  /** What is known when it ends. */
  readonly outcome?: (told: Context) => Attributes
  /** The context whose span is its parent. */
  readonly within?: (told: Context) => object | null
  readonly holds?: true
}

/** As sqlcommenter and W3C write it. */
function traceparent(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext()
  return `traceparent='00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}'`
}

const target = ({ database, serverAddress, dialect }: DatabaseContext) => database ?? serverAddress ?? dialect

/** By the conventions: `{operation} {target}`. */
const statementName = (told: StatementContext) => `${told.operation || 'STATEMENT'} ${target(told)}`

const STARTS: Readonly<Record<SpanName, (spans: Spans) => () => void>> = {
  connect: (spans) =>
    spans.follow(channels.connect, {
      name: (told) => `connect ${target(told)}`,
      attributes: databaseAttributes,
    }),
  checkout: (spans) =>
    spans.follow(channels.checkout, {
      name: (told) => `checkout ${target(told)}`,
      attributes: databaseAttributes,
    }),
  statement: (spans) =>
    spans.follow(channels.statement, {
      name: statementName,
      kind: SpanKind.CLIENT,
      attributes: (told, { options: { hasText } }) => ({
        ...operationAttributes(told),
        ...(hasText && textAttributes(told)),
      }),
      outcome: ({ rows }): Attributes => (rows === undefined ? {} : { 'db.response.returned_rows': rows }),
      within: ({ transaction }) => transaction,
      begun: (told, span, { options: { comments } }) => {
        if (comments) told.comment = traceparent(span)
      },
    }),
  transaction: (spans) =>
    spans.follow(channels.transaction, {
      name: (told) => `${told.depth === 0 ? 'transaction' : 'savepoint'} ${target(told)}`,
      attributes: databaseAttributes,
      outcome: ({ outcome }): Attributes =>
        outcome === undefined ? {} : { 'drizzle_celery.outcome': outcome },
      within: ({ outer }) => outer,
    }),
  session: (spans) =>
    spans.follow(channels.session, { name: () => 'session', attributes: () => ({}), holds: true }),
  prepare: (spans) =>
    spans.follow(channels.prepare, {
      name: (told) => `prepare ${target(told)}`,
      attributes: databaseAttributes,
      holds: true,
    }),
  store: (spans) =>
    spans.follow(channels.store, {
      name: (told) => `store ${target(told)}`,
      attributes: (told) => ({ ...databaseAttributes(told), 'db.operation.batch.size': told.count }),
      holds: true,
    }),
}
