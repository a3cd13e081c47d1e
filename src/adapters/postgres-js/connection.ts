import type { Socket } from 'node:net'
import { CLOSE_TIMEOUT, InFlight } from '../../driver/socket.ts'
import { isOwnError, type Statement, StatementCache } from '../../driver/statement.ts'
import type { Connection, RunOptions, TransactionOptions } from '../../driver/types.ts'
import { ClosedError, ConnectionLostError, ResponseTooLargeError, textOf } from '../../errors.ts'
import { beginText, withConflict } from '../postgresql/begin.ts'
import { type RelationalColumns, relationalColumnsOf } from '../postgresql/relational-json.ts'
import {
  assertUseful,
  countsAsChange,
  type PostgresTraits,
  postgresTraits,
  schemaMayHaveChanged,
} from '../postgresql/statement.ts'
import { connectionIsGone, isServerError, scrub } from './errors.ts'
import { LastMessages } from './last-messages.ts'
import {
  isStale,
  mayBeOutdated,
  type Parsed,
  type PreparedStatement,
  PreparedStatements,
  Query,
  type SendQuery,
  sendQueryOf,
} from './prepared.ts'
import { type QueryResult, readRelational, refusalOf, resultOf } from './results.ts'
import type { ServerMessages } from './server-messages.ts'
import { carryBegin, DeferredBegin } from './transaction.ts'
import { type BoundValue, bindParameters, type Typed } from './values.ts'

/** What we use of a postgres.js client made with `max: 1`. */
export interface Client {
  unsafe(sql: string): object
  typed: Typed
  end(options: { timeout: number }): Promise<void>
}

export interface ConnectionParts {
  readonly client: Client
  /** The one socket the client was given; it never gets another. */
  readonly socket: Socket
  /** What is told of each statement that is sent. */
  readonly messages: Pick<ServerMessages, 'ask'>
  readonly prepare: boolean
  readonly statementCacheSize: number
  readonly exposeParameters: boolean
  /** Asks the server to stop what the backend is doing. */
  cancel(pid: number, secret: number): Promise<void>
}

/** One statement on its way to the server. */
interface Work {
  readonly sql: string
  /** The parameters as they are sent. */
  readonly bound: BoundValue[]
  readonly asArrays: boolean
  /** The columns that are rows as JSON, where Drizzle is to read them. */
  readonly relational: RelationalColumns | null
  /** `null` where it is not to be prepared. */
  readonly prepared: PreparedStatement | null
  readonly transaction: DeferredBegin | null
  /** It may begin or end a transaction or a savepoint. */
  readonly mayControl: boolean
}

/**
 * One postgres.js client with one socket. postgres.js would replace a lost socket silently, and leave statements
 * unsettled when one breaks at the wrong moment; so the loss of the socket is ours to notice: it settles every
 * statement and ends the connection for good.
 */
export class PostgresConnection implements Connection {
  readonly #parts: ConnectionParts
  readonly #client: Client
  readonly #sendQuery: SendQuery
  readonly #socket: Socket
  readonly #texts: StatementCache<PostgresTraits & { readonly relational: RelationalColumns | null }>
  readonly #prepared: PreparedStatements
  readonly #inFlight: InFlight
  /** Set with the first answer: a listener before postgres.js's own would take the first bytes from it. */
  #lastMessages: LastMessages | null = null
  #lost: Error | null = null
  #isTainted = false
  /** Names mean what they meant when the connection was opened, so that what is prepared is right. */
  #isPathMoved = false
  #deallocating = 0
  #backend: QueryResult['state']
  #transaction: DeferredBegin | null = null
  #closed: Promise<void> | null = null
  onLost: (() => void) | null = null

  constructor(parts: ConnectionParts) {
    this.#parts = parts
    this.#client = parts.client
    this.#sendQuery = sendQueryOf(parts.client)
    this.#socket = parts.socket
    this.#inFlight = new InFlight(parts.socket)
    this.#texts = new StatementCache(parts.statementCacheSize, (sql) => ({
      ...postgresTraits(sql),
      relational: relationalColumnsOf(sql),
    }))
    this.#prepared = new PreparedStatements(parts.prepare ? parts.statementCacheSize : 0)
    parts.socket.on('error', (error) => this.#hungUp(error))
    parts.socket.on('close', () => this.#hungUp(new Error('The server closed the connection')))
  }

  get lost(): Error | null {
    return this.#lost
  }

  get tainted(): boolean {
    return this.#isTainted
  }

  /** The backend's process id; behind a pooler it is the pooler's own. */
  get pid(): number | undefined {
    return this.#backend?.pid
  }

  run(statement: Statement, { isShared = false }: RunOptions = {}): Promise<unknown> {
    const { sql, params, asArrays } = statement
    try {
      const text = this.#texts.look(sql)
      if (text.taints) this.#isTainted = true
      assertUseful(text, isShared)
      const bound = bindParameters(params, this.#client.typed)
      const transaction = this.#transaction
      if (text.movesSearchPath) this.#movePath(transaction, text.taints)
      // Without parameters the simple protocol takes several statements.
      const mayPrepare = params.length > 0 && !this.#isPathMoved && !transaction?.isPathMoved
      const prepared = mayPrepare ? this.#prepared.get(sql, bound, text.isRepeated) : null
      const relational = asArrays ? text.relational : null
      const mayControl = text.isSavepoint
      const work = { sql, bound, asArrays, relational, prepared, transaction, mayControl }
      const answer = transaction === null ? this.#send(work) : this.#sendIn(transaction, work)
      const changesSchema =
        text.changesSchema ||
        (text.callsFunction && countsAsChange(sql)) ||
        (text.isSavepoint && transaction?.changesSchema === true)
      if (changesSchema) followSchemaChange(answer, transaction)
      return answer
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** What is prepared would be wrong behind it, and is of no use: the server analyses it anew whenever the path is another. */
  #movePath(transaction: DeferredBegin | null, isLeftBehind: boolean): void {
    if (transaction === null || isLeftBehind) this.#isPathMoved = true
    else transaction.isPathMoved = true
  }

  /** Only for a connection whose client reports notifications. */
  async listen(channel: string): Promise<void> {
    await this.#control(`listen "${channel.replaceAll('"', '""')}"`)
  }

  /** BEGIN waits for the first statement, which carries it. */
  async begin(options: TransactionOptions): Promise<void> {
    this.#transaction = new DeferredBegin(beginText(options))
  }

  #sendIn(transaction: DeferredBegin, work: Work): Promise<QueryResult> {
    if (transaction.isUnsent) return this.#beginWith(transaction, work)
    return transaction.inTurn(() => {
      transaction.sent++
      return this.#send(work)
    })
  }

  /** Begins a transaction with its first statement, which carries BEGIN where it can. */
  #beginWith(transaction: DeferredBegin, work: Work): Promise<QueryResult> {
    // What postgres.js has still to write would be overtaken, and the simple protocol has no end that BEGIN could share.
    const isIdle = this.#inFlight.isEmpty && this.#deallocating === 0
    if (!isIdle || work.bound.length === 0) {
      this.#opens(transaction, this.#control(transaction.begin))
      return this.#sendIn(transaction, work)
    }
    carryBegin(this.#socket, transaction.begin)
    transaction.sent++
    const first = this.#send(work, { carriesBegin: true })
    this.#opens(transaction, first)
    return first
  }

  /** Nothing follows BEGIN before its answer. If the server did not begin, what follows would autocommit. */
  #opens(transaction: DeferredBegin, answer: Promise<unknown>): void {
    transaction.beginning()
    answer.then(
      () => transaction.ready(),
      (error: unknown) => {
        // Restarted meanwhile; the second BEGIN decides.
        if (!transaction.isBeginning) return
        if (!this.#lastMessages?.isFailedTransaction) {
          this.discard(error instanceof Error ? error : new Error(String(error)))
        }
        transaction.ready()
      },
    )
  }

  async commit(): Promise<boolean> {
    const answer = await this.#end('commit')
    return answer === null || answer.command === 'COMMIT'
  }

  async rollback(): Promise<void> {
    await this.#end('rollback')
  }

  /** Ends the transaction behind all that was asked of it; `null` when the server has not heard of it. */
  #end(sql: 'commit' | 'rollback'): Promise<QueryResult | null> {
    const transaction = this.#transaction
    const end = () => {
      this.#transaction = null
      const ended = this.#control(sql)
      if (transaction?.changesSchema) followSchemaChange(ended, null)
      return ended
    }
    if (transaction === null) return end()
    if (!transaction.isUnsent) return transaction.inTurn(end)
    this.#transaction = null
    return Promise.resolve(null)
  }

  async ping(): Promise<void> {
    this.#backend = (await this.#control('select 1')).state
    this.#lastMessages ??= new LastMessages(this.#socket)
  }

  discard(reason: Error): void {
    const isWorking = !this.#inFlight.isEmpty
    this.#break(reason)
    if (isWorking && this.#backend) void this.#parts.cancel(this.#backend.pid, this.#backend.secret)
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#lost !== null) return
    if (!this.#inFlight.isEmpty) {
      this.discard(new ClosedError('connection'))
      return
    }
    this.#lost = new ClosedError('connection')
    await this.#inFlight.close(() => void this.#client.end({ timeout: CLOSE_TIMEOUT / 1_000 }))
  }

  #control(sql: string): Promise<QueryResult> {
    return this.#send({
      sql,
      bound: [],
      asArrays: false,
      relational: null,
      prepared: null,
      transaction: null,
      mayControl: true,
    })
  }

  #send(work: Work, { carriesBegin = false } = {}): Promise<QueryResult> {
    if (this.#lost !== null) return this.#recover(work, null, this.#lost)
    return new Promise((resolve, reject) => {
      const parsed = work.prepared?.use() ?? null
      const isParsedNow = parsed !== null && parsed.named === null
      const rows = work.relational ? true : work.asArrays ? 'values' : false
      const query = new Query(
        work.sql,
        work.bound,
        rows,
        parsed !== null,
        isParsedNow ? 'its text' : 'nothing',
      )
      const fail = (error: unknown) => {
        if (!this.#inFlight.settles(fail)) return
        if (isParsedNow) work.prepared?.answered(parsed, query.named)
        this.#recover(work, isParsedNow ? null : parsed, error).then(resolve, reject)
      }
      this.#inFlight.add(fail)
      this.#parts.messages.ask()
      query.answer.then((answer) => {
        if (!this.#inFlight.settles(fail)) return
        if (isParsedNow) work.prepared?.answered(parsed, query.named)
        const result = resultOf(answer, carriesBegin)
        if (work.relational !== null) readRelational(result, work.relational)
        const refusal = refusalOf(result, work.mayControl)
        if (refusal === null) return resolve(result)
        reject(refusal)
        // What comes next would run outside of the holder's transaction, or amid the data of a COPY.
        this.discard(refusal)
      }, fail)
      this.#sendQuery(query)
      if (this.#prepared.hasUnused && this.#transaction === null) this.#deallocate()
    })
  }

  /**
   * Has the server forget what nobody uses any more. Never in a transaction, which would fail with it where the name is
   * gone already, by a DEALLOCATE of somebody else.
   */
  #deallocate(): void {
    const over = () => {
      this.#deallocating--
    }
    for (const { name, forgotten } of this.#prepared.takeUnused()) {
      this.#deallocating++
      const forgets = forgotten === null ? 'nothing' : { signature: forgotten }
      this.#parts.messages.ask()
      const query = new Query(`deallocate "${name}"`, [], false, false, forgets)
      query.answer.then(over, over)
      this.#sendQuery(query)
    }
  }

  /** @param parsed what it was run from, where that was parsed before */
  async #recover(work: Work, parsed: Parsed | null, error: unknown): Promise<QueryResult> {
    const { prepared } = work
    if (prepared !== null && parsed !== null && isServerError(error) && mayBeOutdated(error)) {
      prepared.drop(parsed)
      if (this.#isAlone(work) && (isStale(error) || prepared.mayRepeat())) return this.#again(work)
    }
    throw this.#translateError(error, work)
  }

  /** Nothing else is lost with a statement that fails: it autocommits, or is the first one of its transaction. */
  #isAlone({ transaction }: Work): boolean {
    return this.#transaction === transaction && (transaction === null || transaction.sent === 1)
  }

  /** Runs a statement again that was not run, since the schema changed under its prepared form. */
  async #again(work: Work): Promise<QueryResult> {
    const { transaction } = work
    const unprepared = { ...work, prepared: null }
    if (transaction === null) return this.#send(unprepared)
    transaction.sent = 0
    const again = this.#control('rollback').then(() => this.#beginWith(transaction, unprepared))
    this.#opens(transaction, again)
    return again
  }

  #translateError(error: unknown, { sql, bound }: Work): unknown {
    const { exposeParameters } = this.#parts
    if (!isServerError(error)) {
      // Not a server error: the protocol's state is unknown, so drop the connection.
      if (this.#lost === null) {
        this.discard(
          this.#lastMessages?.farewell() ?? (error instanceof Error ? error : new Error(String(error))),
        )
      }
      return isOwnError(error) ? error : this.#lost
    }

    const judged = exposeParameters ? error : scrub(error, sql, bound)
    if (connectionIsGone(error)) this.discard(judged)
    return withConflict(judged)
  }

  /** The server's own word on why it ends the connection says more than how the socket ended. */
  #hungUp(reason: Error): void {
    if (this.#lost === null) this.#break(this.#lastMessages?.farewell() ?? reason)
  }

  #break(reason: Error): void {
    if (this.#lost !== null) return
    const lost = lostBy(reason)
    // What comes later is surely not done, when we closed it ourselves; what is under way may be, whoever broke it.
    this.#lost = reason instanceof ClosedError ? reason : lost
    this.#socket.destroy()
    this.#inFlight.failAll(reason instanceof ResponseTooLargeError ? reason : lost)
    void this.#client.end({ timeout: 0 })
    this.onLost?.()
  }
}

/**
 * What was parsed before the answer may be outdated: until a change is committed, others are parsed as if it was not
 * made. What is sent from now on comes behind it, so it may not run from what was parsed before either.
 */
function followSchemaChange(answer: Promise<unknown>, transaction: DeferredBegin | null): void {
  if (transaction !== null) transaction.changesSchema = true
  schemaMayHaveChanged()
  answer.then(schemaMayHaveChanged, schemaMayHaveChanged)
}

function lostBy(reason: Error): ConnectionLostError {
  return new ConnectionLostError(
    'The connection to PostgreSQL was lost. A statement that was under way may or may not have taken effect.',
    { cause: withoutStatement(reason) },
  )
}

/** postgres.js hangs the statement and its parameters on whatever error breaks its socket; this is what says why. */
function withoutStatement(reason: Error): Error {
  if (isOwnError(reason) || isServerError(reason)) return reason
  const { message, cause } = reason
  const code = textOf(reason, 'code')
  return Object.assign(
    new Error(message, cause === undefined ? {} : { cause }),
    code !== undefined && { code },
  )
}
