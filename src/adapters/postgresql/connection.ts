import type { Socket } from 'node:net'
import { ServerConnection, type ServerConnectionParts } from '../../driver/server-connection.ts'
import {
  isOwnError,
  type Statement,
  StatementCache,
  transactionControlRefused,
} from '../../driver/statement.ts'
import type { Connection, Cursor, RunOptions, TransactionOptions } from '../../driver/types.ts'
import { textOf, toError } from '../../errors.ts'
import { beginText, withConflict } from './begin.ts'
import { type Client, type ClientQuery, controlsTransaction, type QueryResult } from './client.ts'
import { declareCursor, type PostgresStatement } from './cursor.ts'
import {
  connectionIsGone,
  isReadOnly,
  isServerError,
  letsNobodyIn,
  lostBy,
  notServing,
  ONLY_READS,
  translated,
} from './errors.ts'
import { LastMessages } from './last-messages.ts'
import {
  isStale,
  mayBeOutdated,
  type Parsed,
  type PreparedStatement,
  PreparedStatements,
} from './prepared.ts'
import { type RelationalColumns, relationalColumnsOf } from './relational-json.ts'
import type { ServerMessages } from './server-messages.ts'
import {
  assertUseful,
  countsAsChange,
  type PostgresTraits,
  postgresTraits,
  schemaMayHaveChanged,
} from './statement.ts'
import { carryBegin, DeferredBegin } from './transaction.ts'
import { bindParameters } from './values.ts'

export interface ConnectionParts extends ServerConnectionParts {
  readonly client: Client
  /** Counts the statements that are sent. */
  readonly messages: Pick<ServerMessages, 'ask' | 'backend'>
  readonly prepare: boolean
  readonly statementCacheSize: number
  readonly exposeParameters: boolean
  /** Asks the server to stop what the backend is doing. */
  cancel(pid: number, secret: number): Promise<void>
  /** Whether a server that only reads is not the one that was asked for. */
  readonly isForWriting: boolean
}

/** One statement on its way to the server. */
interface Work extends Pick<ClientQuery, 'sql' | 'bound' | 'asArrays' | 'relational'> {
  /** `null` where it is not to be prepared. */
  readonly prepared: PreparedStatement | null
  readonly transaction: DeferredBegin | null
  /** It may begin or end a transaction or a savepoint. */
  readonly mayControl: boolean
  /** Whatever is against it, it may have been done. */
  readonly isCommit: boolean
}

/**
 * A driver's client with one socket. postgres.js would replace a lost socket silently, and leave statements unsettled
 * when one breaks at the wrong moment; so the loss of the socket is ours to notice: it settles every statement and ends
 * the connection for good.
 */
export class PostgresConnection extends ServerConnection implements Connection {
  readonly #parts: ConnectionParts
  readonly #client: Client
  readonly #socket: Socket
  readonly #texts: StatementCache<PostgresTraits & { readonly relational: RelationalColumns | null }>
  readonly #prepared: PreparedStatements
  /** Set with the first answer: a listener before the driver's own would take the first bytes from it. */
  #lastMessages: LastMessages | null = null
  /** Names mean what they meant when the connection was opened, so that what is prepared is right. */
  #isPathMoved = false
  #deallocating = 0
  /** Declared in the transaction. */
  #cursors = 0
  #transaction: DeferredBegin | null = null
  /** What refused a write of the transaction; the server itself is to be asked when that is over. */
  #doubt: Error | null = null

  constructor(parts: ConnectionParts) {
    super(parts)
    this.#parts = parts
    this.#client = parts.client
    this.#socket = parts.socket
    this.#texts = new StatementCache(parts.statementCacheSize, (sql) => ({
      ...postgresTraits(sql),
      relational: relationalColumnsOf(sql),
    }))
    this.#prepared = new PreparedStatements(parts.prepare ? parts.statementCacheSize : 0)
  }

  protected override get isInTransaction(): boolean {
    return this.#transaction !== null
  }

  protected override lostBy(reason: Error): Error {
    return lostBy(reason)
  }

  protected override drop(): void {
    this.#client.drop()
  }

  protected override end(): void {
    this.#client.end()
  }

  protected override stopWork(): void {
    const { backend } = this.#parts.messages
    if (backend !== null) void this.#parts.cancel(backend.pid, backend.secret)
  }

  /** The backend's process id; behind a pooler it is the pooler's own. */
  get pid(): number | undefined {
    return this.#parts.messages.backend?.pid
  }

  run(
    statement: PostgresStatement,
    { isShared = false, isSetUp = false }: RunOptions = {},
  ): Promise<unknown> {
    const { sql, params, asArrays, cursorOf } = statement
    try {
      const text = this.#texts.look(sql)
      if (text.taints && !isSetUp) this.tainted = true
      assertUseful(text, isShared)
      const bound = bindParameters(params, this.#client.typed)
      const transaction = this.#transaction
      // Nothing is prepared yet on a connection that is being set up.
      if (text.movesSearchPath && !isSetUp) this.#movePath(transaction, text.taints)
      // Without parameters the simple protocol takes several statements.
      const mayPrepare = params.length > 0 && !this.#isPathMoved && !transaction?.isPathMoved
      const prepared = mayPrepare ? this.#prepared.get(sql, bound, text.isRepeated) : null
      const { relational: columns } = cursorOf === undefined ? text : this.#texts.look(cursorOf)
      const relational = asArrays ? columns : null
      const mayControl = text.isSavepoint
      const work = { sql, bound, asArrays, relational, prepared, transaction, mayControl, isCommit: false }
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

  openCursor(statement: Statement, batch: number): Promise<Cursor> {
    return declareCursor(`dc_cursor_${++this.#cursors}`, statement, batch, (each) => this.run(each))
  }

  async begin(options: TransactionOptions): Promise<void> {
    this.beginLater(options)
  }

  /** BEGIN waits for the first statement, which carries it. */
  beginLater(options: TransactionOptions): void {
    this.#cursors = 0
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
    // What the driver has still to write would be overtaken, and the simple protocol has no end that BEGIN could share.
    const isIdle = this.inFlight.isEmpty && this.#deallocating === 0
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
          this.discard(toError(error))
        }
        transaction.ready()
      },
    )
  }

  async commit(): Promise<boolean> {
    const answer = await this.#end('commit')
    if (this.#doubt !== null) await this.#dispelDoubt(this.#doubt)
    return answer === null || answer.command === 'COMMIT'
  }

  async rollback(): Promise<void> {
    await this.#end('rollback')
    if (this.#doubt !== null) await this.#dispelDoubt(this.#doubt)
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

  savepoint(name: string): Promise<void> {
    return this.#inTransaction(`savepoint ${name}`)
  }

  release(name: string): Promise<void> {
    return this.#inTransaction(`release savepoint ${name}`)
  }

  rollbackTo(name: string): Promise<void> {
    return this.#inTransaction(`rollback to savepoint ${name}`)
  }

  /** Follows what of a changed schema is parsed: a savepoint keeps the change or undoes it. */
  async #inTransaction(sql: string): Promise<void> {
    const transaction = this.#transaction
    const answer = this.#control(sql, transaction)
    if (transaction?.changesSchema) followSchemaChange(answer, transaction)
    await answer
  }

  async ping(): Promise<void> {
    if (!(await this.vetted())) await this.#control('select 1')
    this.#lastMessages ??= new LastMessages(this.#socket)
  }

  /**
   * Asks the server itself whether it takes no writes any more, outside of the transaction that was refused one: a
   * transaction of the user's that only reads is refused with the same error.
   * @param refusal what it refused the write with
   */
  async #dispelDoubt(refusal: Error): Promise<Error> {
    this.#doubt = null
    // A connection that breaks has its own end.
    const [answer] = await this.#control(ONLY_READS).catch(() => [])
    if (textOf(answer, 'reads') !== 'only') return refusal
    const error = notServing(refusal)
    this.passOver(error)
    return error
  }

  #control(sql: string, transaction: DeferredBegin | null = null): Promise<QueryResult> {
    const { bound, asArrays, relational, prepared, mayControl } = CONTROL
    // Each by its name: V8 takes longer to make the same of a spread.
    const work = {
      sql,
      bound,
      asArrays,
      relational,
      prepared,
      transaction,
      mayControl,
      isCommit: sql === 'commit',
    }
    return transaction === null ? this.#send(work) : this.#sendIn(transaction, work)
  }

  #send(work: Work, { carriesBegin = false } = {}): Promise<QueryResult> {
    if (this.lost !== null) return this.#recover(work, null, this.lost)
    return new Promise((resolve, reject) => {
      const parsed = work.prepared?.use() ?? null
      const isParsedNow = parsed !== null && parsed.named === null
      const fail = (error: unknown) => {
        if (!this.inFlight.settles(fail)) return
        if (isParsedNow) work.prepared?.answered(parsed, sent.named)
        this.#recover(work, isParsedNow ? null : parsed, error).then(resolve, reject)
      }
      this.inFlight.add(fail)
      this.#parts.messages.ask()
      const { sql, bound, asArrays, relational } = work
      const sent = this.#client.send({ sql, bound, asArrays, relational, parsed, carriesBegin })
      sent.answer.then((result) => {
        if (!this.inFlight.settles(fail)) return
        if (isParsedNow) work.prepared?.answered(parsed, sent.named)
        if (work.mayControl || !controlsTransaction(result)) return resolve(result)
        const refusal = transactionControlRefused()
        reject(refusal)
        // What comes next would run outside of the holder's transaction.
        this.discard(refusal)
      }, fail)
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
    for (const { named, isReplaced } of this.#prepared.takeUnused()) {
      this.#deallocating++
      this.#parts.messages.ask()
      this.#client.deallocate(named, isReplaced).answer.then(over, over)
    }
  }

  /** @param parsed what it was run from, where that was parsed before */
  async #recover(work: Work, parsed: Parsed | null, error: unknown): Promise<QueryResult> {
    const { prepared } = work
    if (prepared !== null && parsed !== null && isServerError(error) && mayBeOutdated(error)) {
      prepared.drop(parsed)
      if (this.#isAlone(work) && (isStale(error) || prepared.mayRepeat())) return this.#again(work)
    }
    const failure = this.#translateError(error, work)
    if (!isServerError(failure) || !isReadOnly(failure) || !this.#parts.isForWriting) throw failure
    if (this.#transaction === null && work.transaction === null) throw await this.#dispelDoubt(failure)
    this.#doubt = failure
    throw failure
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

  #translateError(error: unknown, { sql, bound, isCommit }: Work): unknown {
    if (!isServerError(error)) {
      // Not a server error: the protocol's state is unknown, so drop the connection.
      if (this.lost === null) {
        this.discard(this.#lastMessages?.farewell() ?? toError(error))
      }
      return isOwnError(error) ? error : this.lost
    }

    const params = bound.map((param) => (typeof param === 'object' && param !== null ? param.value : param))
    const failure = translated(error, { sql, params }, this.#parts)
    if (letsNobodyIn(error)) {
      const reason = isCommit ? lostBy(failure) : notServing(failure)
      this.passOver(reason)
      return reason
    }
    if (connectionIsGone(error)) this.discard(failure)
    return withConflict(failure)
  }

  /** The server's own word on why it ends the connection says more than how the socket ended. */
  protected override hungUp(reason: Error): void {
    if (this.lost === null) super.hungUp(this.#lastMessages?.farewell() ?? reason)
  }
}

/** A statement of our own. */
const CONTROL = { bound: [], asArrays: false, relational: null, prepared: null, mayControl: true }

/**
 * What was parsed before the answer may be outdated: until a change is committed, others are parsed as if it was not
 * made. What is sent from now on comes behind it, so it may not run from what was parsed before either.
 */
function followSchemaChange(answer: Promise<unknown>, transaction: DeferredBegin | null): void {
  if (transaction !== null) transaction.changesSchema = true
  schemaMayHaveChanged()
  answer.then(schemaMayHaveChanged, schemaMayHaveChanged)
}
