import { Readable } from 'node:stream'
import { keepingParams, refusedMembers, showClient } from '../../driver/client.ts'
import type { Mysql2Client, Mysql2Handle, Mysql2Query } from '../../driver/dialect.ts'
import type { Statement } from '../../driver/statement.ts'
import type { Cursor, Executor, Transaction, TransactionOptions } from '../../driver/types.ts'
import { StatementError } from '../../errors.ts'

/** Rows or a header, and where there are rows the columns, which nobody is told. */
type Answer = Promise<[answer: unknown, fields: readonly never[] | undefined]>

/**
 * All that Drizzle 0.45 and 1.0 ask of a mysql2 pool, and of the connections they take from it. The `typeCast` of its
 * queries, which leaves dates as text, is not needed: the connection does that.
 */
export interface DrizzleClient {
  query(query: Mysql2Query, params?: unknown[]): Answer
  execute(sql: string, params?: unknown[]): Answer
  /** Called for each transaction and each `iterator()`, which asks for the `connection` of it. */
  getConnection(): Promise<DrizzleClient & { readonly connection?: StreamingConnection }>
  release(): void
}

/** What `iterator()` asks of a connection. */
interface StreamingConnection {
  query(query: Mysql2Query, params?: unknown[]): { stream(): Readable }
  /** Called when the loop is over. */
  end(): void
  on(event: 'error', listener: (error: Error) => void): void
  off(event: 'error', listener: (error: Error) => void): void
}

/** What there is of a Drizzle handle, be it of a database or of a transaction. */
interface Handle {
  readonly session: DrizzleSession
  transaction(work: (inner: Handle) => Promise<unknown>, options?: DrizzleOptions): Promise<unknown>
}

/** How Drizzle's handles begin a transaction. */
interface DrizzleOptions extends Pick<TransactionOptions, 'isolationLevel' | 'withConsistentSnapshot'> {
  readonly accessMode?: 'read only' | 'read write'
}

/**
 * The Drizzle handle whose statements go to `executor`. Drizzle begins and ends transactions by SQL text on a connection
 * that it takes from the pool, and nested ones by savepoints on that same connection, where a statement of the outer
 * handle cannot be told from one of the inner. Here every level, also a nested one, takes a client of its own.
 */
export function handleOver(executor: Executor, drizzle: (client: DrizzleClient) => object): Mysql2Handle {
  const client = new Client(executor)
  const db = drizzle(client)
  // No type of Drizzle's says this for both majors.
  const handle = db as unknown as Handle
  nest(handle, client, handle.transaction)
  return showClient<Mysql2Handle>(db, () => mysql2Client(executor))
}

/**
 * Makes `transaction()` of a handle do on its client's level what `takeFromPool`, that of a database, does on a pool, and
 * mends its session.
 */
function nest(handle: Handle, client: Client, takeFromPool: Handle['transaction']): void {
  countIdsExactly(handle.session)
  handle.transaction = (work, options = {}) => {
    const level = new Level(client.executor, optionsOf(options))
    client.next = level
    return takeFromPool.call(handle, (inner) => {
      nest(inner, level, takeFromPool)
      return level.within(() => work(inner))
    })
  }
}

function optionsOf({
  isolationLevel,
  accessMode,
  withConsistentSnapshot,
}: DrizzleOptions): TransactionOptions {
  return {
    ...(isolationLevel !== undefined && { isolationLevel }),
    ...(withConsistentSnapshot !== undefined && { withConsistentSnapshot }),
    ...(accessMode === 'read only' && { readOnly: true }),
  }
}

class Client implements DrizzleClient {
  readonly #executor: Executor
  /** The level that `getConnection` is about to be asked for. */
  next: Level | null = null

  constructor(executor: Executor) {
    this.#executor = executor
  }

  /** Where statements, and transactions inside this level, go. */
  get executor(): Executor {
    return this.#executor
  }

  query(query: Mysql2Query, params?: unknown[]): Answer {
    return answerOf(this.executor, query, params)
  }

  execute(sql: string, params?: unknown[]): Answer {
    return this.query({ sql }, params)
  }

  async getConnection(): ReturnType<DrizzleClient['getConnection']> {
    const level = this.next
    this.next = null
    return level ?? new Iterating(this.executor)
  }

  release(): void {}
}

/** Rows that the stream of an `iterator()` fetches at once. */
const BATCH = 100

/** The connection that `iterator()` takes: it has a row stream, and nothing else that would go past the session. */
class Iterating extends Client {
  #cursor: Cursor | null = null
  readonly connection: StreamingConnection = {
    query: ({ sql, rowsAsArray = false }, params = []) => {
      const rows = this.#rows({ sql, params: [...params], asArrays: rowsAsArray })
      return { stream: () => Readable.from(rows, { objectMode: true, highWaterMark: 1 }) }
    },
    // Nobody waits for it; what is asked of the connection next does.
    end: () => void this.#cursor?.close(),
    // A lost connection fails the stream itself.
    on() {},
    off() {},
  }

  override async query(): Answer {
    throw new StatementError(
      'INVALID_STATEMENT',
      'Cannot take the connection itself, as migrate() of Drizzle does: it would go past the session. ' +
        "Run migrations by prepareModels() with prepare: 'migrate'.",
    )
  }

  async *#rows(statement: Statement): AsyncGenerator<unknown> {
    const { executor } = this
    if (executor.openCursor === undefined) throw new StatementError('INVALID_STATEMENT', NO_ITERATOR)
    const cursor = await executor.openCursor(statement, BATCH)
    this.#cursor = cursor
    try {
      for (let isMore = true; isMore; ) {
        const rows = await cursor.fetch()
        yield* rows
        isMore = rows.length >= BATCH
      }
    } finally {
      await cursor.close()
    }
  }
}

const NO_ITERATOR = 'Cannot iterate over rows here: use session.stream() or engine.stream().'

/** The connection of one transaction. What Drizzle sends around the work begins and ends it. */
class Level extends Client {
  readonly #options: TransactionOptions
  #transaction: Transaction | null = null
  /** `around`: what Drizzle sends begins and ends the transaction. */
  #phase: 'around' | 'work' | 'over' = 'around'

  constructor(outer: Executor, options: TransactionOptions) {
    super(outer)
    this.#options = options
  }

  override get executor(): Executor {
    return this.#transaction ?? super.executor
  }

  async within<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#phase = 'work'
    try {
      return await work()
    } finally {
      this.#phase = 'around'
    }
  }

  override async query(query: Mysql2Query, params?: unknown[]): Answer {
    if (this.#phase !== 'around') return super.query(query, params)
    switch (query.sql) {
      case 'begin':
        this.#transaction = await super.executor.begin(this.#options)
        break
      case 'commit':
        await this.#transaction?.commit()
        this.#phase = 'over'
        break
      case 'rollback':
        this.#phase = 'over'
        await this.#transaction?.rollback()
        break
      default:
        // A handle that outlived its transaction.
        return super.query(query, params)
    }
    return [{}, []]
  }
}

async function answerOf(
  executor: Executor,
  { sql, values, rowsAsArray = false }: Mysql2Query,
  params: unknown[] = values ?? [],
): Answer {
  const answer = await executor.run({ sql, params, asArrays: rowsAsArray })
  return [answer, Array.isArray(answer) ? [] : undefined]
}

/** The `$client` of a handle over `executor`. */
function mysql2Client(executor: Executor): Mysql2Client {
  const kept = keepingParams(executor)
  const query: Mysql2Client['query'] = async <Result>(query: string | Mysql2Query, params?: unknown[]) => {
    const [answer, fields] = await answerOf(kept, typeof query === 'string' ? { sql: query } : query, params)
    // What it is, the caller says.
    return [answer as Result, fields]
  }
  return { ...REFUSED, query, execute: query }
}

const REFUSED = refusedMembers(
  '$client',
  [
    'beginTransaction',
    'changeUser',
    'commit',
    'destroy',
    'escape',
    'escapeId',
    'format',
    'getConnection',
    'on',
    'once',
    'ping',
    'prepare',
    'promise',
    'release',
    'releaseConnection',
    'rollback',
    'unprepare',
  ],
  'Use query() or execute() of it, which return promises, db.transaction(), or a client of your own.',
  'end',
)

/** What we use of Drizzle's session, which both majors have. */
export interface DrizzleSession {
  readonly client: DrizzleClient
  prepareQuery(...args: unknown[]): object
}

/**
 * Has `$returningId()` count beyond 2^53. Drizzle counts from `insertId` on by `i++` until it has counted `affectedRows`:
 * numbers stand still there, and mysql2's string, which it gives for such an id, grows longer and longer. Given both as
 * bigint the same loop ends, and its ids are right.
 */
function countIdsExactly(session: DrizzleSession): void {
  const { prepareQuery } = session
  session.prepareQuery = (...args) => prepareQuery.apply(returnsIds(args) ? counting(session) : session, args)
}

/** 0.45 is told which columns to return, 1.0 what makes them of the header. */
function returnsIds([, mode, mapper, , returning]: readonly unknown[]): boolean {
  return returning !== undefined || (mode === 'raw' && mapper !== undefined)
}

/** The same session on a client whose headers can be counted from. */
function counting(session: DrizzleSession): DrizzleSession {
  const { client } = session
  const query: DrizzleClient['query'] = async (...args) => {
    const [answer, fields] = await client.query(...args)
    return [countable(answer), fields]
  }
  return Object.create(session, { client: { value: { query } } })
}

function countable(answer: unknown): unknown {
  if (!isHeader(answer)) return answer
  const { insertId, affectedRows } = answer
  if (Number(insertId) + affectedRows <= Number.MAX_SAFE_INTEGER) return answer
  return { ...answer, insertId: BigInt(insertId), affectedRows: BigInt(affectedRows) }
}

interface Header {
  readonly insertId: number | string
  readonly affectedRows: number
}

function isHeader(answer: unknown): answer is Header {
  return typeof answer === 'object' && answer !== null && 'insertId' in answer && 'affectedRows' in answer
}
