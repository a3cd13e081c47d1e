/**
 * Spans and metrics of OpenTelemetry, made of what the tracing channels tell.
 *
 * @module
 */
import { type MeterProvider, metrics, type TracerProvider, trace } from '@opentelemetry/api'
import { aFlag, type Check, type Checks, check, checkOptions, isObject } from '../options/check.ts'
import { invalid } from '../options/values.ts'
import { channels } from '../tracing/channels.ts'
import { type Counted, recordPools, recordStatements } from './metrics.ts'
import { type SpanName, Spans } from './spans.ts'

export type { Counted, SpanName }

/** What is made of what the channels tell. */
export interface InstrumentOptions {
  /** @default the global one */
  tracerProvider?: TracerProvider | undefined
  /** @default the global one */
  meterProvider?: MeterProvider | undefined
  /** What there are spans of; none for an empty list. @default all but `checkout` */
  spans?: readonly SpanName[] | undefined
  /**
   * Whether spans have the text of their statement (`db.query.text`): with placeholders where there were parameters, and `?`
   * where literals were written.
   * @default true
   */
  queryText?: boolean | undefined
  /**
   * Whether statements are sent with the `traceparent` of their span in a comment (sqlcommenter), for the server's own logs.
   * Each text is another one then: nothing is prepared for the next time, which costs a good part of the speed.
   * @default false
   */
  sqlComments?: boolean | undefined
  /**
   * Managers whose pools are counted, for `db.client.connection.count` and `.pending_requests`.
   * @default none
   */
  managers?: readonly Counted[] | undefined
  /**
   * Whether there are metrics of pools (`db.client.connection.*`).
   * @experimental as they are in OpenTelemetry's conventions: names may change with those
   * @default true
   */
  poolMetrics?: boolean | undefined
}

/** What has been instrumented. */
export interface Instrumentation extends Disposable {
  /** Stops it. Safe to call twice. */
  disable(): void
}

const SCOPE = 'drizzle-celery'
const NAMES: readonly SpanName[] = ['connect', 'statement', 'transaction', 'session', 'prepare', 'store']

const isProvider = (method: string) =>
  check((value) => isObject(value) && method in value, `a provider with ${method}()`)

const spanNames: Check = (name, value) =>
  Array.isArray(value) && value.every((each) => Object.hasOwn(channels, each))
    ? []
    : [invalid(name, `a list of ${Object.keys(channels).join(', ')}`)]

const CHECKS: Checks<InstrumentOptions> = {
  tracerProvider: isProvider('getTracer'),
  meterProvider: isProvider('getMeter'),
  spans: spanNames,
  queryText: aFlag,
  sqlComments: aFlag,
  managers: check(
    (value) => Array.isArray(value) && value.every((each) => isObject(each) && 'stats' in each),
    'a list of managers',
  ),
  poolMetrics: aFlag,
}

/**
 * Makes spans and metrics of all databases of this process, by OpenTelemetry's stable conventions for databases, until
 * it is disabled. Spans belong to the one that was active, or to the session and the transaction that they are in.
 * @throws OptionError
 */
export function instrument(options: InstrumentOptions = {}): Instrumentation {
  checkOptions('instrument', options, CHECKS)
  const {
    spans: names = NAMES,
    queryText = true,
    sqlComments = false,
    managers = [],
    poolMetrics = true,
  } = options
  const tracer = (options.tracerProvider ?? trace).getTracer(SCOPE)
  const meter = (options.meterProvider ?? metrics).getMeter(SCOPE)
  const spans = new Spans(tracer, names, { hasText: queryText, comments: sqlComments })
  const stops = [
    () => spans.stop(),
    recordStatements(meter),
    ...(poolMetrics ? [recordPools(meter, managers)] : []),
  ]
  const disable = () => {
    for (const stop of stops.splice(0)) stop()
  }
  return { disable, [Symbol.dispose]: disable }
}
