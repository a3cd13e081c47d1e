import type { Statement } from '../driver/statement.ts'
import type { Connection, Cursor, RunOptions, TransactionOptions } from '../driver/types.ts'
import { ConnectError, type ConnectTarget } from '../errors.ts'
import { channels, traced } from '../tracing/channels.ts'
import type {
  CheckoutContext,
  ConnectContext,
  DatabaseContext,
  StatementContext,
  TransactionContext,
} from '../tracing/contexts.ts'
import type { Pool } from './pool.ts'
import type { HolderOptions, Lease } from './pool-rules.ts'

/** Each connection as tracing events name it. */
const known = new WeakMap<Connection, DatabaseContext & { readonly connection: number }>()

let opened = 0

type Connect = (signal: AbortSignal) => Promise<Connection>

/** The same, seen by who listens to `drizzle-celery:connect`. */
export function seenConnecting(database: DatabaseContext, connect: Connect): Connect {
  const noted = async (signal: AbortSignal) => {
    const connection = await connect(signal)
    known.set(connection, { ...at(database, connection.target), connection: ++opened })
    return connection
  }
  return (signal) => {
    if (!channels.connect.hasSubscribers) return noted(signal)
    const context: ConnectContext = { ...database }
    const attempt = () =>
      noted(signal).catch((error: unknown) => {
        if (error instanceof ConnectError) Object.assign(context, at(database, targetOf(error)))
        throw error
      })
    return traced(channels.connect, context, attempt, (connection) =>
      Object.assign(context, known.get(connection)),
    )
  }
}

function at(database: DatabaseContext, target: ConnectTarget | undefined): DatabaseContext {
  if (target === undefined || 'file' in target) return database
  if ('path' in target) return { ...database, serverAddress: target.path, serverPort: null }
  return { ...database, serverAddress: target.host, serverPort: target.port }
}

function targetOf({ host, port, socket }: ConnectError): ConnectTarget | undefined {
  if (socket !== null) return { path: socket }
  return host === null || port === null ? undefined : { host, port }
}

/** Checks out a connection, at once where one is free, seen by who listens to `drizzle-celery:checkout`. */
export function checkedOut(
  pool: Pool<Connection>,
  database: DatabaseContext,
  options: HolderOptions,
): Lease<Connection> | Promise<Lease<Connection>> {
  if (!channels.checkout.hasSubscribers) return pool.checkoutNow(options) ?? pool.checkout(options)
  return traced(channels.checkout, checkoutOf(database, 'lease'), () => pool.checkout(options))
}

/** Each by its name, as below for statements: V8 takes several microseconds to make the same of a spread. */
function checkoutOf(
  { dialect, dburi, database, serverAddress, serverPort }: DatabaseContext,
  holder: CheckoutContext['holder'],
): CheckoutContext {
  return { dialect, dburi, database, serverAddress, serverPort, holder }
}

/** Runs a statement on a connection that is shared, and has who listens see the wait for it. */
export function shared(
  pool: Pool<Connection>,
  database: DatabaseContext,
  { run, signal }: { run(connection: Connection): Promise<unknown>; signal: AbortSignal | undefined },
): Promise<unknown> {
  if (!channels.checkout.hasSubscribers) return pool.share(run, signal)
  let answer: Promise<unknown> | undefined
  const granted = () =>
    new Promise<void>((resolve, reject) => {
      answer = pool.share((connection) => {
        resolve()
        return run(connection)
      }, signal)
      answer.catch(reject)
    })
  return traced(channels.checkout, checkoutOf(database, 'statement'), granted).then(() => answer)
}

/** Runs a statement, seen by who listens to `drizzle-celery:statement`. */
export function seenRunning<Result>(
  connection: Connection,
  statement: Statement,
  options: RunOptions | undefined,
  transaction: SeenTransaction | null,
  run: (statement: Statement) => Promise<Result>,
): Promise<Result> {
  const database = channels.statement.hasSubscribers ? known.get(connection) : undefined
  if (database === undefined) return run(statement)
  const context = contextOf(database, statement, options?.askedAt, transaction)
  return traced(
    channels.statement,
    context,
    () => run(commented(statement, context.comment)),
    (result) => {
      const rows = rowsIn(result)
      if (rows !== undefined) context.rows = rows
    },
  )
}

/**
 * Opens a cursor. For who listens to `drizzle-celery:statement` it is one statement, which ends when its last rows were
 * fetched, a fetch failed, or it was closed.
 */
export function seenStreaming(
  connection: Connection,
  statement: Statement,
  batch: number,
  transaction: SeenTransaction | null,
  open: (statement: Statement) => Promise<Cursor>,
): Promise<Cursor> {
  const database = channels.statement.hasSubscribers ? known.get(connection) : undefined
  if (database === undefined) return open(statement)
  const context = contextOf(database, statement, undefined, transaction)
  return new Promise((resolve, reject) => {
    const streaming = () =>
      new Promise<void>((over, failed) => {
        const sent = open(commented(statement, context.comment))
        sent.then((cursor) => resolve(noting(cursor, batch, context, { over, failed })), failed)
      })
    // What fails later is told by the fetch.
    traced(channels.statement, context, streaming).catch(reject)
  })
}

/** The same cursor, whose rows are counted. */
function noting(
  cursor: Cursor,
  batch: number,
  context: StatementContext,
  { over, failed }: { over(): void; failed(error: unknown): void },
): Cursor {
  context.rows = 0
  return {
    async fetch() {
      try {
        const rows = await cursor.fetch()
        context.rows = (context.rows ?? 0) + rows.length
        if (rows.length < batch) over()
        return rows
      } catch (error) {
        failed(error)
        throw error
      }
    },
    close: () => cursor.close().finally(over),
  }
}

function contextOf(
  database: DatabaseContext & { readonly connection: number },
  { sql, params }: Statement,
  askedAt: number | undefined,
  transaction: SeenTransaction | null,
): StatementContext {
  return {
    dialect: database.dialect,
    dburi: database.dburi,
    database: database.database,
    serverAddress: database.serverAddress,
    serverPort: database.serverPort,
    connection: database.connection,
    text: sql,
    operation: operationOf(sql),
    isParameterized: params.length > 0,
    poolWaitMs: askedAt === undefined ? 0 : performance.now() - askedAt,
    transaction: transaction?.context ?? null,
  }
}

/** A transaction that somebody sees. */
export interface SeenTransaction {
  readonly context: TransactionContext
  ended(outcome: 'commit' | 'rollback'): void
  failed(error: unknown): void
}

/** A transaction or savepoint begins; `null` if nobody listens to `drizzle-celery:transaction`. */
export function seenBeginning(
  connection: Connection,
  depth: number,
  outer: SeenTransaction | null,
  { isolationLevel, readOnly = false }: TransactionOptions,
): SeenTransaction | null {
  const database = channels.transaction.hasSubscribers ? known.get(connection) : undefined
  if (database === undefined) return null
  const context: TransactionContext = {
    ...database,
    depth,
    outer: outer?.context ?? null,
    isolationLevel: isolationLevel ?? null,
    readOnly,
  }
  let end = (_outcome: 'commit' | 'rollback') => {}
  let failed = (_error: unknown) => {}
  const life = new Promise<'commit' | 'rollback'>((resolve, reject) => {
    end = resolve
    failed = reject
  })
  const seen = traced(
    channels.transaction,
    context,
    () => life,
    (outcome) => {
      context.outcome = outcome
    },
  )
  // Its error is the caller's, who has it already.
  seen.catch(() => {})
  return { context, ended: end, failed }
}

/** On a line of its own, since the text may end with a comment up to the end of its line. */
function commented(statement: Statement, comment: string | undefined): Statement {
  if (comment === undefined) return statement
  return { ...statement, sql: `${statement.sql}\n/*${comment.replaceAll(/\*\/|\/\*|\0/g, '')}*/` }
}

/** A comment ends where it first can: were there several ways to read many of them, all would be tried. */
function operationOf(sql: string): string {
  return /^(?:\s|--.*\n|\/\*(?:[^*]|\*(?!\/))*\*\/|\()*(\w+)/.exec(sql)?.[1]?.toUpperCase() ?? ''
}

/** Of whatever shape a driver's answer has: an array with a count, rows beside a number, or a header of MySQL's. */
function rowsIn(result: unknown): number | undefined {
  if (typeof result !== 'object' || result === null) return undefined
  for (const name of ['count', 'affectedRows', 'rowsAffected']) {
    const count: unknown = Reflect.get(result, name)
    if (typeof count === 'number' && count > 0) return count
  }
  const rows: unknown = Reflect.get(result, 'rows') ?? result
  return Array.isArray(rows) ? rows.length : 0
}
