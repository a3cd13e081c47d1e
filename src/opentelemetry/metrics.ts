import type { Attributes, Meter } from '@opentelemetry/api'
import type { EngineStats } from '../engine/engine.ts'
import { channels, onEnd } from '../tracing/channels.ts'
import type { DatabaseContext } from '../tracing/contexts.ts'
import { errorAttributes, operationAttributes } from './attributes.ts'

/** What has the counters of engines: a `SessionManager`. */
export interface Counted {
  /** The engines that are open, and their counters. */
  stats(): { readonly engines: readonly EngineStats[] }
}

/** In seconds, as the conventions have them. */
const BOUNDARIES = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]

/**
 * Records how long statements take, by the stable conventions.
 * @returns what stops it
 */
export function recordStatements(meter: Meter): () => void {
  const duration = meter.createHistogram('db.client.operation.duration', {
    description: 'Duration of database client operations.',
    unit: 's',
    advice: { explicitBucketBoundaries: BOUNDARIES },
  })
  return onEnd(channels.statement, (context) =>
    duration.record(seconds(context), { ...operationAttributes(context), ...errorAttributes(context) }),
  )
}

/**
 * Records what pools do, by the conventions that are still experimental: names may change with them.
 * @param counted whose connections are counted
 * @returns what stops it
 */
export function recordPools(meter: Meter, counted: readonly Counted[]): () => void {
  const advice = { explicitBucketBoundaries: BOUNDARIES }
  const createTime = meter.createHistogram('db.client.connection.create_time', { unit: 's', advice })
  const waitTime = meter.createHistogram('db.client.connection.wait_time', { unit: 's', advice })
  const timeouts = meter.createCounter('db.client.connection.timeouts', { unit: '{timeout}' })
  const count = meter.createObservableUpDownCounter('db.client.connection.count', { unit: '{connection}' })
  const pending = meter.createObservableUpDownCounter('db.client.connection.pending_requests', {
    unit: '{request}',
  })
  const stops = [
    onEnd(channels.connect, (context) => {
      if (context.error === undefined) createTime.record(seconds(context), poolOf(context))
    }),
    onEnd(channels.checkout, (context) => {
      if (context.error === undefined) waitTime.record(seconds(context), poolOf(context))
      else if (context.errorCode === 'POOL_TIMEOUT') timeouts.add(1, poolOf(context))
    }),
  ]
  const observe: Parameters<Meter['addBatchObservableCallback']>[0] = (result) => {
    for (const { dburi, idle, checkedOut, running, waiting } of counted.flatMap(
      (each) => each.stats().engines,
    )) {
      const pool = poolOf({ dburi })
      const used = checkedOut + running
      result.observe(count, used, { ...pool, 'db.client.connection.state': 'used' })
      result.observe(count, Math.max(0, idle - running), { ...pool, 'db.client.connection.state': 'idle' })
      result.observe(pending, waiting, pool)
    }
  }
  meter.addBatchObservableCallback(observe, [count, pending])
  return () => {
    meter.removeBatchObservableCallback(observe, [count, pending])
    for (const stop of stops) stop()
  }
}

function poolOf({ dburi }: Pick<DatabaseContext, 'dburi'>): Attributes {
  return { 'db.client.connection.pool.name': dburi }
}

function seconds({ durationMs = 0 }: { readonly durationMs?: number }): number {
  return durationMs / 1_000
}
