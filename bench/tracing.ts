import { tracingChannel } from 'node:diagnostics_channel'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { SessionManager } from 'drizzle-celery'
import { task } from 'drizzle-celery/models/sqlite'
import { instrument } from 'drizzle-celery/opentelemetry'
import { eq, sql } from 'drizzle-orm'
import { type Comparison, median, type Operation, round } from './measure.ts'
import { report, reportRatio } from './report.ts'

/** Channels that a single statement looks at. */
const LOOKS = 2
const ROUNDS = 7
const NAMES = ['connect', 'checkout', 'statement', 'transaction', 'session'] as const

/**
 * What being seen costs a prepared select: in memory, where a statement takes least and this most, and on PostgreSQL where
 * there is one.
 */
export async function tracing(): Promise<void> {
  const server = process.env['POSTGRES_URL']
  await using manager = new SessionManager({ engineOptions: { poolSize: 1, maxOverflow: 0 } })
  await on('in memory', manager, ':memory:', 20_000)
  if (server === undefined) console.log('  not measured on PostgreSQL: POSTGRES_URL is not set')
  else await on('PostgreSQL', manager, server, 3_000)
}

async function on(name: string, manager: SessionManager, dburi: string, operations: number): Promise<void> {
  // The tables are alike, and so is what Drizzle asks of them.
  const { db } = await manager.getEngine(dburi as ':memory:')
  await manager.prepareModels(await manager.getEngine(dburi as ':memory:'))
  const select = db
    .select()
    .from(task)
    .where(eq(task.taskId, sql.placeholder('taskId')))
    .prepare()
  const operation = () => select.execute({ taskId: 'bench' })

  const alone = await round(operation, operations)
  report(`${name}: nobody listens, share of a prepared select`, (100 * looking() * LOOKS) / alone, '%', {
    most: 1,
  })
  reportRatio(
    `${name}: with a subscriber to all channels`,
    await comparing(operation, operations, subscribed),
    // In memory a statement is a few calls, of which each more is seen.
    ...(name === 'PostgreSQL' ? [0.9] : []),
  )
  reportRatio(`${name}: with OpenTelemetry`, await comparing(operation, operations, instrumented))
}

/** Microseconds of one look whether somebody listens. */
function looking(): number {
  const channel = tracingChannel('drizzle-celery:statement')
  const looks = 5_000_000
  let seen = 0
  const startedAt = performance.now()
  for (let look = 0; look < looks; look++) if (channel.hasSubscribers) seen++
  const took = performance.now() - startedAt
  if (seen > 0) throw new Error('Somebody listens: the figure would be of something else')
  return (took * 1_000) / looks
}

/** The same operation, alone and while somebody listens, in turns. */
async function comparing(
  operation: Operation,
  operations: number,
  listen: () => () => void,
): Promise<Comparison> {
  const ratios: number[] = []
  const times: { alone: number[]; seen: number[] } = { alone: [], seen: [] }
  for (let turn = 0; turn < ROUNDS; turn++) {
    const before = await round(operation, operations)
    const stop = listen()
    const seen = await round(operation, operations)
    stop()
    const alone = (before + (await round(operation, operations))) / 2
    times.alone.push(alone)
    times.seen.push(seen)
    ratios.push(alone / seen)
  }
  return {
    ratio: median(ratios),
    baselineMicroseconds: median(times.alone),
    oursMicroseconds: median(times.seen),
  }
}

function subscribed(): () => void {
  const nothing = () => {}
  const handlers = { start: nothing, end: nothing, asyncStart: nothing, asyncEnd: nothing, error: nothing }
  const all = NAMES.map((name) => tracingChannel(`drizzle-celery:${name}`))
  for (const channel of all) channel.subscribe(handlers)
  return () => {
    for (const channel of all) channel.unsubscribe(handlers)
  }
}

function instrumented(): () => void {
  const spanProcessors = [new SimpleSpanProcessor(new InMemorySpanExporter())]
  const instrumentation = instrument({ tracerProvider: new BasicTracerProvider({ spanProcessors }) })
  return () => instrumentation.disable()
}
