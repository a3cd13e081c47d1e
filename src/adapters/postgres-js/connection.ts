import type { Socket } from 'node:net'
import type { Connection, TransactionOptions } from '../../adapter.ts'
import { textOf } from '../../causes.ts'
import { ClosedError, ConnectionLostError } from '../../errors.ts'
import { BEGIN, beginText } from '../../postgresql/begin.ts'
import { withConflict } from '../../postgresql/conflict.ts'
import { type RelationalColumns, relationalColumnsOf } from '../../postgresql/relational-json.ts'
import { isOwnError, type Statement, type StatementTraits, traitsOf } from '../../statement.ts'
import { StatementCache } from '../../statement-cache.ts'
import { CLOSE_TIMEOUT, UnderWay } from '../../under-way.ts'
import { type QueryResult, readRelational, refusalOf, resultOf } from './answer.ts'
import { Begun } from './begun.ts'
import { carryBegin } from './carried-begin.ts'
import { LastWord } from './last-word.ts'
import { type Spelled, spellParameters, type Typed } from './parameters.ts'
import { connectionIsGone, isServerError, scrub } from './server-error.ts'
import { isStale, leaveStaleToUs } from './stale.ts'

/** Rows on their way, as postgres.js has them. */
export interface PendingQuery extends PromiseLike<QueryResult> {
  values(): PromiseLike<QueryResult>
  /** Rows as arrays of bytes. */
  raw(): PromiseLike<QueryResult>
}

/** What we use of a postgres.js client made with `max: 1`. */
export interface Client {
  unsafe(sql: string, params: Spelled[], options: { prepare: boolean; simple?: boolean }): PendingQuery
  typed: Typed
  end(options: { timeout: number }): Promise<void>
}

export interface ConnectionParts {
  readonly client: Client
  /** The one socket the client was given; it never gets another. */
  readonly socket: Socket
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
  readonly spelled: Spelled[]
  readonly asArrays: boolean
  /** The columns that are rows as JSON, where Drizzle is to read them. */
  readonly relational: RelationalColumns | null
  readonly transaction: Begun | null
  /** It may begin or end a transaction or a savepoint. */
  readonly mayControl: boolean
}

const PREPARED = { prepare: true, simple: false }
const UNPREPARED = { prepare: false }

/**
 * One postgres.js client with one socket. postgres.js would replace a lost socket silently, and leave statements
 * unsettled when one breaks at the wrong moment; so the loss of the socket is ours to notice: it settles every
 * statement and ends the connection for good.
 */
export class PostgresConnection implements Connection {
  readonly #parts: ConnectionParts
  readonly #client: Client
  readonly #socket: Socket
  readonly #texts: StatementCache<StatementTraits & { readonly relational: RelationalColumns | null }>
  readonly #prepared = new Set<string>()
  readonly #underWay: UnderWay
  /** From the first answer on: whoever listens before postgres.js does takes what the server says at once from it. */
  #lastWord: LastWord | null = null
  #lost: Error | null = null
  #isTainted = false
  #backend: QueryResult['state']
  #transaction: Begun | null = null
  #closed: Promise<void> | null = null
  onLost: (() => void) | null = null

  constructor(parts: ConnectionParts) {
    this.#parts = parts
    this.#client = parts.client
    this.#socket = parts.socket
    this.#underWay = new UnderWay(parts.socket)
    this.#texts = new StatementCache(parts.statementCacheSize, (sql) => ({
      ...traitsOf(sql),
      relational: relationalColumnsOf(sql),
    }))
    parts.socket.on('error', (error) => this.#hungUp(error))
    parts.socket.on('close', () => this.#hungUp(new Error('The server closed the connection')))
  }

  get lost(): Error | null {
    return this.#lost
  }

  get tainted(): boolean {
    return this.#isTainted
  }

  /** The process that serves it, by the word of whoever let it in: of a pooler, that is no process of the server. */
  get pid(): number | undefined {
    return this.#backend?.pid
  }

  run(statement: Statement): Promise<unknown> {
    const { sql, params, asArrays } = statement
    try {
      const text = this.#texts.look(sql)
      if (text.taints) this.#isTainted = true
      const spelled = spellParameters(params, this.#client.typed)
      const transaction = this.#transaction
      // Without parameters the simple protocol saves a round trip, and takes several statements.
      const prepare =
        params.length > 0 && text.isKept && this.#parts.prepare && this.#mayPrepare(sql, spelled)
      const relational = asArrays ? text.relational : null
      const work = { sql, params, spelled, asArrays, relational, transaction, mayControl: text.isSavepoint }
      return transaction === null ? this.#send(work, prepare) : this.#sendIn(transaction, work, prepare)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** A text is prepared once for each set of types its parameters are sent as. */
  #mayPrepare(sql: string, params: readonly Spelled[]): boolean {
    let types = ''
    for (let at = 0; at < params.length; at++) {
      const param = params[at]
      if (typeof param === 'object' && param !== null) types += `${at}:${param.type} `
    }
    const signature = types === '' ? sql : types + sql
    if (this.#prepared.has(signature)) return true
    if (this.#prepared.size >= this.#parts.statementCacheSize) return false
    this.#prepared.add(signature)
    return true
  }

  /** Without options BEGIN waits for the first statement, which carries it. */
  async begin(options: TransactionOptions): Promise<void> {
    const transaction = new Begun(beginText(options))
    this.#transaction = transaction
    if (transaction.begin === BEGIN) return
    transaction.beginning()
    try {
      await this.#control(transaction.begin)
      transaction.ready()
    } catch (error) {
      if (this.#transaction === transaction) this.#transaction = null
      throw error
    }
  }

  #sendIn(transaction: Begun, work: Work, prepare: boolean): Promise<QueryResult> {
    if (transaction.isUnsent) return this.#beginWith(transaction, work, prepare)
    return transaction.inTurn(() => {
      transaction.sent++
      return this.#send(work, prepare)
    })
  }

  /** Begins a transaction with its first statement, which carries BEGIN where it can. */
  #beginWith(transaction: Begun, work: Work, prepare: boolean): Promise<QueryResult> {
    // What postgres.js has still to write would be overtaken, and the simple protocol has no end that BEGIN could share.
    if (!this.#underWay.isEmpty || work.spelled.length === 0) {
      this.#opens(transaction, this.#control(transaction.begin))
      return this.#sendIn(transaction, work, prepare)
    }
    carryBegin(this.#socket, transaction.begin)
    transaction.sent++
    const first = this.#send(work, prepare, { carriesBegin: true })
    this.#opens(transaction, first)
    return first
  }

  /** Nothing follows BEGIN before its answer. If the server did not begin, what follows would autocommit. */
  #opens(transaction: Begun, answer: Promise<unknown>): void {
    transaction.beginning()
    answer.then(
      () => transaction.ready(),
      (error: unknown) => {
        // When it was begun again, that answer has told.
        if (!transaction.isBeginning) return
        if (!this.#lastWord?.isFailedTransaction) {
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
      return this.#control(sql)
    }
    if (transaction === null) return end()
    if (!transaction.isUnsent) return transaction.inTurn(end)
    this.#transaction = null
    return Promise.resolve(null)
  }

  async ping(): Promise<void> {
    this.#backend = (await this.#control('select 1')).state
    this.#lastWord ??= new LastWord(this.#socket)
  }

  discard(reason: Error): void {
    const isWorking = !this.#underWay.isEmpty
    this.#break(reason)
    if (isWorking && this.#backend) void this.#parts.cancel(this.#backend.pid, this.#backend.secret)
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#lost !== null) return
    if (!this.#underWay.isEmpty) {
      this.discard(new ClosedError('connection'))
      return
    }
    this.#lost = new ClosedError('connection')
    await this.#underWay.close(() => void this.#client.end({ timeout: CLOSE_TIMEOUT / 1_000 }))
  }

  #control(sql: string): Promise<QueryResult> {
    return this.#send(
      {
        sql,
        spelled: [],
        asArrays: false,
        relational: null,
        transaction: null,
        mayControl: true,
      },
      false,
    )
  }

  #send(work: Work, prepare: boolean, { carriesBegin = false } = {}): Promise<QueryResult> {
    if (this.#lost !== null) return this.#recover(work, this.#lost)
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => {
        if (this.#underWay.settles(fail)) this.#recover(work, error).then(resolve, reject)
      }
      this.#underWay.add(fail)
      const query = this.#client.unsafe(work.sql, work.spelled, prepare ? PREPARED : UNPREPARED)
      if (prepare) leaveStaleToUs(query)
      ;(work.relational ? query.raw() : work.asArrays ? query.values() : query).then((answer) => {
        if (!this.#underWay.settles(fail)) return
        const result = resultOf(answer, carriesBegin)
        if (work.relational !== null) readRelational(result, work.relational)
        const refusal = refusalOf(result, work.mayControl)
        if (refusal === null) return resolve(result)
        reject(refusal)
        // What comes next would run outside of the holder's transaction, or amid the data of a COPY.
        this.discard(refusal)
      }, fail)
    })
  }

  async #recover(work: Work, error: unknown): Promise<QueryResult> {
    if (isStale(error)) return this.#again(work, error)
    throw this.#judged(error, work)
  }

  /**
   * Runs a statement again that was not run, since the schema changed under its prepared form. Only where nothing else
   * is lost with it: outside a transaction, or as the first statement of one, which is then begun anew.
   */
  async #again(work: Work, error: unknown): Promise<QueryResult> {
    const { transaction } = work
    const isOver = this.#transaction !== transaction
    if (isOver || (transaction !== null && transaction.sent > 1)) throw this.#judged(error, work)
    if (transaction === null) return this.#send(work, false)
    transaction.sent = 0
    const again = this.#control('rollback').then(() => this.#beginWith(transaction, work, false))
    this.#opens(transaction, again)
    return again
  }

  #judged(error: unknown, { sql, spelled }: Work): unknown {
    const { exposeParameters } = this.#parts
    if (!isServerError(error)) {
      // Whatever is not the server's word leaves the protocol in doubt.
      if (this.#lost === null) {
        this.discard(
          this.#lastWord?.farewell() ?? (error instanceof Error ? error : new Error(String(error))),
        )
      }
      return error instanceof ConnectionLostError ? error : this.#lost
    }

    const judged = exposeParameters ? error : scrub(error, sql, spelled)
    if (connectionIsGone(error)) this.discard(judged)
    return withConflict(judged)
  }

  /** The server's own word on why it ends the connection says more than how the socket ended. */
  #hungUp(reason: Error): void {
    if (this.#lost === null) this.#break(this.#lastWord?.farewell() ?? reason)
  }

  #break(reason: Error): void {
    if (this.#lost !== null) return
    const lost = lostBy(reason)
    // What comes later is surely not done, when we closed it ourselves; what is under way may be, whoever broke it.
    this.#lost = reason instanceof ClosedError ? reason : lost
    this.#socket.destroy()
    this.#underWay.failAll(lost)
    void this.#client.end({ timeout: 0 })
    this.onLost?.()
  }
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
