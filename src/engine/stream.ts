import type { Statement } from '../driver/statement.ts'
import type { Cursor, DrizzleLogger, Executor } from '../driver/types.ts'
import { StatementError } from '../errors.ts'
import { type Checks, check } from '../options/check.ts'

/** How rows are streamed. */
export interface StreamOptions {
  /** Rows that are fetched at once, and are in memory at one time. @default 500 */
  batch?: number | undefined
}

/** What each option of a stream must be. */
export const STREAM_CHECKS: Checks<StreamOptions> = {
  batch: check(
    (value) => Number.isSafeInteger(value) && Number(value) >= 1 && Number(value) <= 1_000_000,
    'a whole number of rows from 1 to 1000000',
  ),
}

/** Where the rows of a stream come from. */
export interface StreamSource {
  /** A Drizzle handle whose statements go to `executor`. */
  handle(executor: Executor, logger?: DrizzleLogger): unknown
  /** Opens a cursor where the handle of the source would run the statement. */
  openCursor(statement: Statement, batch: number): Promise<Cursor>
}

/**
 * The rows of a query of Drizzle, mapped as Drizzle maps them. The query is run for each batch on a handle whose client
 * answers with the next batch: so the mapper is always the one of the Drizzle that is installed.
 * @throws StatementError for what is no select of Drizzle's
 */
export async function* streamRows<Row>(
  query: PromiseLike<readonly Row[]>,
  { batch = 500 }: StreamOptions,
  source: StreamSource,
): AsyncGenerator<Row, void, undefined> {
  let cursor: Cursor | null = null
  const executor: Executor = {
    async run(statement) {
      if (cursor === null) {
        if (!SELECT.test(statement.sql)) throw notStreamed('its text begins with no SELECT, WITH or VALUES')
        // A failed batch has the array blanked that it was given.
        cursor = await source.openCursor({ ...statement, params: [...statement.params] }, batch)
      }
      return await cursor.fetch()
    },
    begin: () => Promise.reject(notStreamed('it is a transaction')),
  }
  const prepareOn = (logger?: DrizzleLogger) => preparedOn<Row>(query, source.handle(executor, logger))
  try {
    // The first batch is logged as the statement; the others are no statements of the user's.
    let rows = await prepareOn().execute()
    yield* rows
    if (rows.length < batch) return
    const others = prepareOn(SILENT)
    do {
      rows = await others.execute()
      yield* rows
    } while (rows.length >= batch)
  } finally {
    await opened(cursor)?.close()
  }
}

const SELECT = /^[\s(]*(?:select|with|values|table)\b/i

const SILENT: DrizzleLogger = { logQuery() {} }

/** The compiler does not see that closures assign it. */
function opened(cursor: Cursor | null): Cursor | null {
  return cursor
}

interface Prepared<Row> {
  execute(): Promise<readonly Row[]>
}

/** The query of a Drizzle handle, prepared as if it were one of another handle. */
function preparedOn<Row>(query: unknown, handle: unknown): Prepared<Row> {
  const isQuery = typeof query === 'object' && query !== null && 'session' in query
  const session: unknown = Object(handle).session
  if (!isQuery || typeof session !== 'object') throw notStreamed(NO_QUERY)
  const own: object = Object.create(query, { session: { value: session } })
  // MySQL's has only the public one, which PostgreSQL's wants a name for.
  const prepare: unknown = Reflect.get(own, '_prepare') ?? Reflect.get(own, 'prepare')
  if (typeof prepare !== 'function') throw notStreamed(NO_QUERY)
  const prepared: unknown = prepare.call(own)
  if (!isPrepared<Row>(prepared) || prepared === own) throw notStreamed(NO_QUERY)
  return prepared
}

function isPrepared<Row>(value: unknown): value is Prepared<Row> {
  return typeof value === 'object' && value !== null && 'execute' in value
}

const NO_QUERY =
  'it is no query of a Drizzle handle. Give it what db.select().from(…) or db.query.….findMany() returns, not awaited'

function notStreamed(why: string): StatementError {
  return new StatementError('INVALID_STATEMENT', `Cannot stream the rows of this: ${why}.`)
}

/** Why a connection opens no cursor. */
export function noCursors(): StatementError {
  return new StatementError(
    'INVALID_STATEMENT',
    'Cannot stream rows here: the driver of this database gives all rows of a statement at once. Read pages by a key, as ' +
      'in where(gt(table.id, last)).orderBy(table.id).limit(500).',
  )
}
