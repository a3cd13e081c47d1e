/** Spans and metrics by the real SDK, with its exporters in memory, on each database. */
import { tracingChannel } from 'node:diagnostics_channel'
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import {
  OptionError,
  type PostgresJsHandle,
  type Session,
  type SessionFor,
  SessionManager,
} from 'drizzle-celery'
import type { ResultModels } from 'drizzle-celery/models/postgresql'
import { type Instrumentation, type InstrumentOptions, instrument } from 'drizzle-celery/opentelemetry'
import * as relational from 'drizzle-major/relational'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { drizzleMajor } from '../fixtures/drizzle-major.ts'
import { createMysql, createPostgres, describeNeeding } from '../fixtures/servers.ts'

const CANARY = 'canary-parameter'

beforeAll(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
})
afterAll(() => context.disable())

/** An SDK of its own, and what it was given. */
function sdk() {
  const spanExporter = new InMemorySpanExporter()
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spanExporter)] })
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  const meterProvider = new MeterProvider({ readers: [reader] })
  const metrics = async () => {
    await reader.forceFlush()
    const all = exporter
      .getMetrics()
      .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics))
    return new Map(
      all.map(({ descriptor, dataPoints }) => [descriptor.name, { unit: descriptor.unit, dataPoints }]),
    )
  }
  return { tracerProvider, meterProvider, spans: () => spanExporter.getFinishedSpans(), metrics }
}

type AnySession = Session<'postgresql', PostgresJsHandle, ResultModels>
type Related = SessionFor<'postgresql:', { postgresql: typeof relational.postgresqlModels }>

interface Subject {
  create(): Promise<{ dburi: string; drop(): Promise<unknown> }>
  readonly attributes: Readonly<Record<string, unknown>>
  readonly noTable: string
  /** Whether its driver gives rows one by one. @default true */
  readonly streams?: boolean
}

describeNeeding('postgresql', 'PostgreSQL', () => {
  const server = {
    'db.system.name': 'postgresql',
    'server.port': expect.any(Number),
    'db.namespace': expect.any(String),
  }
  spansOf('postgres-js', { create: () => createPostgres(), attributes: server, noTable: '42P01' })
  spansOf('pg', {
    create: () => createPostgres({ scheme: 'postgresql+pg' }),
    attributes: server,
    noTable: '42P01',
  })
})
describeNeeding('mysql', 'MySQL', () =>
  spansOf('mysql2', {
    create: createMysql,
    attributes: { 'db.system.name': 'mysql', 'server.address': expect.any(String) },
    noTable: 'ER_NO_SUCH_TABLE',
  }),
)
spansOf('libsql', {
  create: async () => ({ dburi: ':memory:', drop: async () => {} }),
  attributes: { 'db.system.name': 'sqlite' },
  noTable: 'SQLITE_ERROR',
  streams: false,
})
spansOf('pglite', {
  create: async () => ({ dburi: 'pglite:', drop: async () => {} }),
  attributes: { 'db.system.name': 'postgresql' },
  noTable: '42P01',
})

function spansOf(name: string, { create, attributes, noTable, streams = true }: Subject): void {
  describe(`OpenTelemetry on ${name}`, () => {
    let dburi: string
    let drop: () => Promise<unknown>
    let manager: SessionManager
    let seen: ReturnType<typeof sdk>
    let instrumentation: Instrumentation

    let inserted = 0

    beforeAll(async () => {
      ;({ dburi, drop } = await create())
      manager = new SessionManager()
      await inSession(async () => {})
    })
    beforeEach(() => {
      seen = sdk()
    })
    afterEach(() => instrumentation.disable())
    afterAll(async () => {
      await manager.dispose({ grace: 0 })
      await drop()
    })

    const start = (options: InstrumentOptions = {}) => {
      const { tracerProvider, meterProvider } = seen
      instrumentation = instrument({ tracerProvider, meterProvider, managers: [manager], ...options })
    }
    const inSession = (work: (session: AnySession) => Promise<unknown>) =>
      manager.session(dburi, (_, session) => work(session as never))
    const insert = ({ db, models }: AnySession) =>
      db.insert(models.task).values({ taskId: `${CANARY}-${inserted++}`, status: 'SUCCESS' })
    const shared = async () => (await manager.getEngine(dburi)).db as unknown as PostgresJsHandle
    const last = (name: RegExp) => seen.spans().findLast((span) => name.test(span.name))

    it('makes a client span of a statement, by the stable conventions', async () => {
      start()
      await inSession(insert)

      const span = last(/^INSERT /)
      expect(span).toMatchObject({ kind: SpanKind.CLIENT, status: { code: SpanStatusCode.UNSET } })
      expect(span?.attributes).toMatchObject({
        ...attributes,
        'db.operation.name': 'INSERT',
        'db.query.text': expect.stringMatching(/^insert into .*celery_taskmeta/),
      })
      expect(JSON.stringify(seen.spans().map(plain))).not.toContain(CANARY)
    })

    it('has spans belong to the session, the transaction and the savepoint that they are in', async () => {
      await inSession(insert)
      start()
      const { tracerProvider } = seen
      const outer = tracerProvider.getTracer('test').startSpan('request')
      await context.with(trace.setSpan(context.active(), outer), () =>
        inSession(async ({ db, models }) => {
          await db.transaction(async (tx) => void (await tx.select().from(models.task)))
        }),
      )

      const names = (span: ReadableSpan | undefined): string[] => {
        const parent = seen
          .spans()
          .find((each) => each.spanContext().spanId === span?.parentSpanContext?.spanId)
        return span === undefined ? [] : [span.name.split(' ')[0] ?? '', ...names(parent)]
      }
      expect(names(last(/^SELECT /))).toEqual(['SELECT', 'savepoint', 'transaction', 'session'])
      expect(last(/^session/)?.parentSpanContext?.spanId).toBe(outer.spanContext().spanId)
    })

    it("puts a statement under the program's own span, where that is the inner one", async () => {
      await inSession(insert)
      start({ spans: ['session', 'statement'] })
      const tracer = seen.tracerProvider.getTracer('test')
      const own = await manager.session(dburi, async (_, session) => {
        const span = tracer.startSpan('own')
        const { db, models } = session as never as AnySession
        await context.with(
          trace.setSpan(context.active(), span),
          async () => void (await db.select().from(models.task)),
        )
        return span
      })

      expect(last(/^SELECT /)?.parentSpanContext?.spanId).toBe(own.spanContext().spanId)
    })

    const hasNoLateral = drizzleMajor === '1.0' && name === 'mysql2'
    const why = hasNoLateral ? ' (not under 1.0: MariaDB lacks its lateral joins)' : ''
    it.skipIf(hasNoLateral)(
      `has relational queries and streams be statements like others${why}`,
      async () => {
        start()
        const { mysqlModels: mysql, postgresqlModels: postgresql, sqliteModels: sqlite } = relational
        await using related = new SessionManager({ models: { mysql, postgresql, sqlite } })
        const rows = await related.session(dburi, async (_, session) => {
          const { db, models } = session as never as Related
          await db.insert(models.author).values([{ fullName: CANARY }, { fullName: 'Bob' }])
          await db.insert(models.book).values([{ authorId: 1 }, { authorId: 1 }])
          const query = () => db.query.author.findMany({ with: { books: true }, limit: 2 })
          const rows = await query()
          if (streams) for await (const _ of session.stream(query(), { batch: 1 }));
          return rows
        })

        expect(rows.map(({ books }) => books.length)).toEqual([2, 0])
        const spans = seen.spans().filter(({ name }) => /^SELECT /.test(name))
        const told = { ...attributes, 'db.operation.name': 'SELECT', 'db.response.returned_rows': 2 }
        const ofBooks = spans.filter((span) => /\bbook\b/.test(String(span.attributes['db.query.text'])))
        expect(ofBooks.map((span) => span.attributes)).toEqual(
          (streams ? [told, told] : [told]).map((each) => expect.objectContaining(each)),
        )
        expect(JSON.stringify(seen.spans().map(plain))).not.toContain(CANARY)
      },
    )

    it('names a failure as the server does', async () => {
      const db = await shared()
      start()
      await Promise.resolve(db.select({ v: sql`${CANARY}` }).from(sql`nowhere`)).catch(() => {})

      const span = last(/^SELECT /)
      expect(span?.status.code).toBe(SpanStatusCode.ERROR)
      expect(span?.attributes).toMatchObject({ 'error.type': noTable, 'db.response.status_code': noTable })
      expect(JSON.stringify(seen.spans().map(plain))).not.toContain(CANARY)
    })

    it('leaves out what was written as a literal, and all texts where it is told to', async () => {
      const db = await shared()
      start()
      await db.select({ v: sql.raw(`'${CANARY}'`) }).from(sql`(select 1) as t`)
      expect(last(/^SELECT /)?.attributes['db.query.text']).toBe('select ? from (select ?) as t')

      instrumentation.disable()
      start({ queryText: false })
      await db.select({ v: sql`1` }).from(sql`(select 1) as t`)
      expect(last(/^SELECT /)?.attributes).not.toHaveProperty('db.query.text')
    })

    it('records the duration of statements, and what the pool does', async () => {
      await using fresh = new SessionManager()
      start({ managers: [fresh] })
      await fresh.session(dburi, (_, session) => insert(session as never))
      const recorded = await seen.metrics()

      const duration = recorded.get('db.client.operation.duration')
      expect(duration?.unit).toBe('s')
      expect(duration?.dataPoints.map((point) => point.attributes['db.operation.name'])).toContain('INSERT')
      for (const point of duration?.dataPoints ?? []) expect(point.attributes).toMatchObject(attributes)
      for (const pool of ['create_time', 'wait_time', 'count', 'pending_requests'])
        expect(recorded.get(`db.client.connection.${pool}`)?.dataPoints.length).toBeGreaterThan(0)
    })

    it('sends the span in a comment, where it is told to', async () => {
      const db = await shared()
      const sent: string[] = []
      start({ sqlComments: true })
      const { start: begun } = tracingChannel('drizzle-celery:statement')
      const note = (told: unknown) => void sent.push(String(Reflect.get(Object(told), 'comment')))
      begun.subscribe(note)
      const rows = await db.select({ v: sql`${CANARY}` }).from(sql`(select 1) as t -- the end`)
      begun.unsubscribe(note)

      const { traceId, spanId } = last(/^SELECT /)?.spanContext() ?? {}
      expect(sent).toEqual([`traceparent='00-${traceId}-${spanId}-01'`])
      expect(rows).toEqual([{ v: CANARY }])
    })

    it('says nothing any more once it is disabled', async () => {
      start()
      instrumentation.disable()
      instrumentation.disable()
      await inSession(insert)

      expect(seen.spans()).toEqual([])
    })
  })
}

describe('instrument()', () => {
  it('refuses what it does not know', () => {
    const wrong = { spans: ['statment'], queryText: 'yes', tracer: {} } as unknown as InstrumentOptions
    expect(() => instrument(wrong)).toThrow(OptionError)
  })

  it('sees what a session without manager.session() does', async () => {
    const { tracerProvider, meterProvider, spans } = sdk()
    using _ = instrument({ tracerProvider, meterProvider, spans: ['statement', 'transaction'] })
    await using manager = new SessionManager()
    const session = await manager.sessionFactory(':memory:')
    await session.db.select().from(session.models.task)
    await session.close()

    const transaction = spans().findLast(({ name }) => name.startsWith('transaction'))
    expect(transaction?.attributes).toMatchObject({ 'drizzle_celery.outcome': 'rollback' })
  })
})

function plain({ name, attributes, status, events }: ReadableSpan) {
  return { name, attributes, status, events }
}

describeNeeding('postgresql', 'the comment of a statement', () => {
  it('is what the server has of it', async () => {
    const { tracerProvider, meterProvider, spans } = sdk()
    await using database = await createPostgres()
    await using manager = new SessionManager({ prepare: 'none' })
    const { db } = await manager.getEngine(database.dburi as 'postgresql://')
    using _ = instrument({ tracerProvider, meterProvider, sqlComments: true })
    const asked = sql`select query from pg_stat_activity where pid = pg_backend_pid()`
    const [row] = Array.from(await db.execute<{ query: string }>(asked))

    const spanId = spans()
      .findLast(({ name }) => name.startsWith('SELECT'))
      ?.spanContext().spanId
    expect(row?.query).toMatch(new RegExp(`traceparent='00-[0-9a-f]{32}-${spanId}-01'`))
  })
})
