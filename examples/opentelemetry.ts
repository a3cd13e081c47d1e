/**
 * Spans of a session, printed to the console. Needs `@opentelemetry/api`, `@opentelemetry/context-async-hooks` and
 * `@opentelemetry/sdk-trace-base`, which programs mostly have with an SDK that is set up already.
 *
 *     npx tsx examples/opentelemetry.ts
 */
import { context, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { BasicTracerProvider, ConsoleSpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { SessionManager } from 'drizzle-celery'
import { instrument } from 'drizzle-celery/opentelemetry'

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
const spanProcessors = [new SimpleSpanProcessor(new ConsoleSpanExporter())]
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors }))

const manager = new SessionManager()
const instrumentation = instrument({ managers: [manager] })

await trace.getTracer('example').startActiveSpan('request', async (span) => {
  await manager.session(':memory:', async (db, { models }) => {
    await db.insert(models.task).values({ taskId: 'task-1', status: 'SUCCESS' })
  })
  span.end()
})

instrumentation.disable()
await manager.dispose()
