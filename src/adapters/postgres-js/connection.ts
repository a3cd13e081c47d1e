import type { Socket } from 'node:net'
import type { Connection, TransactionOptions } from '../../adapter.ts'
import { textOf } from '../../causes.ts'
import { ClosedError, ConnectionLostError, type StatementError } from '../../errors.ts'
import { beginText } from '../../postgresql/begin.ts'
import {
  hideParams,
  isOwnError,
  type Statement,
  traitsOf,
  transactionControlRefused,
} from '../../statement.ts'
import { StatementCache } from '../../statement-cache.ts'
import { type Spelled, spellParameters, type Typed } from './parameters.ts'
import { connectionIsGone, isServerError, scrub } from './server-error.ts'

/** Rows on their way, as postgres.js has them. */
export interface PendingQuery extends PromiseLike<QueryResult> {
  values(): PromiseLike<QueryResult>
}

/** What postgres.js resolves to: the rows, and beside them what the server said. */
export interface QueryResult {
  readonly command: string | undefined
  readonly state: { readonly pid: number; readonly secret: number } | undefined
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

/** How the transaction began, and how many statements it has had. */
interface Begun {
  readonly begin: string
  statements: number
}

/** One statement on its way to the server. */
interface Work {
  readonly sql: string
  readonly params: unknown[]
  /** The parameters as they are sent. */
  readonly spelled: Spelled[]
  readonly asArrays: boolean
  readonly transaction: Begun | null
  /** It may begin or end a transaction or a savepoint. */
  readonly mayControl: boolean
}

const PREPARED = { prepare: true, simple: false }
const UNPREPARED = { prepare: false }

const CLOSE_TIMEOUT = 1_000

/**
 * One postgres.js client with one socket. postgres.js would replace a lost socket silently, and leave statements
 * unsettled when one breaks at the wrong moment; so the loss of the socket is ours to notice: it settles every
 * statement and ends the connection for good.
 */
export class PostgresConnection implements Connection {
  readonly #parts: ConnectionParts
  readonly #client: Client
  readonly #socket: Socket
  readonly #texts: StatementCache
  readonly #prepared = new Set<string>()
  /** Settles each statement under way when the connection breaks. */
  readonly #running = new Set<(error: Error) => void>()
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
    this.#texts = new StatementCache(parts.statementCacheSize, traitsOf)
    parts.socket.on('error', (error) => this.#break(error))
    parts.socket.on('close', () => this.#break(new Error('The server closed the connection')))
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
      if (transaction !== null) transaction.statements++
      // Without parameters the simple protocol saves a round trip, and takes several statements.
      const prepare =
        params.length > 0 && text.isKept && this.#parts.prepare && this.#mayPrepare(sql, spelled)
      return this.#send(
        { sql, params, spelled, asArrays, transaction, mayControl: text.isSavepoint },
        prepare,
      )
    } catch (error) {
      if (!this.#parts.exposeParameters) hideParams(params)
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

  /** A text began or ended a transaction that we know nothing of: whatever comes next would run outside of ours. */
  #escaped(): StatementError {
    const error = transactionControlRefused()
    this.discard(error)
    return error
  }

  async begin(options: TransactionOptions): Promise<void> {
    const begin = beginText(options)
    const transaction = { begin, statements: 0 }
    this.#transaction = transaction
    try {
      await this.#control(begin)
    } catch (error) {
      if (this.#transaction === transaction) this.#transaction = null
      throw error
    }
  }

  async commit(): Promise<boolean> {
    this.#transaction = null
    const { command } = await this.#control('commit')
    return command === 'COMMIT'
  }

  async rollback(): Promise<void> {
    this.#transaction = null
    await this.#control('rollback')
  }

  async ping(): Promise<void> {
    this.#backend = (await this.#control('select 1')).state
  }

  discard(reason: Error): void {
    const isWorking = this.#running.size > 0
    this.#break(reason)
    if (isWorking && this.#backend) void this.#parts.cancel(this.#backend.pid, this.#backend.secret)
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#lost !== null) return
    if (this.#running.size > 0) {
      this.discard(new ClosedError('connection'))
      return
    }
    this.#lost = new ClosedError('connection')
    const closed = new Promise<void>((resolve) => this.#socket.once('close', () => resolve()))
    this.#socket.ref()
    const giveUp = setTimeout(() => this.#socket.destroy(), CLOSE_TIMEOUT)
    void this.#client.end({ timeout: CLOSE_TIMEOUT / 1_000 })
    await closed
    clearTimeout(giveUp)
  }

  #control(sql: string): Promise<QueryResult> {
    return this.#send(
      { sql, params: [], spelled: [], asArrays: false, transaction: null, mayControl: true },
      false,
    )
  }

  #send(work: Work, prepare: boolean): Promise<QueryResult> {
    if (this.#lost !== null) return this.#recover(work, this.#lost)
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => {
        if (this.#settles(fail)) this.#recover(work, error).then(resolve, reject)
      }
      // An idle connection keeps no process alive; one that works does.
      if (this.#running.size === 0) this.#socket.ref()
      this.#running.add(fail)
      const query = this.#client.unsafe(work.sql, work.spelled, prepare ? PREPARED : UNPREPARED)
      if (prepare) leaveStaleToUs(query)
      ;(work.asArrays ? query.values() : query).then((result) => {
        if (!this.#settles(fail)) return
        if (work.mayControl || !controlsTransaction(result)) resolve(result)
        else reject(this.#escaped())
      }, fail)
    })
  }

  /** Whether a statement is settled by this, and was not before. */
  #settles(fail: (error: Error) => void): boolean {
    if (!this.#running.delete(fail)) return false
    if (this.#running.size === 0) this.#socket.unref()
    return true
  }

  async #recover(work: Work, error: unknown): Promise<QueryResult> {
    if (isStale(error)) return this.#again(work, error)
    throw this.#judged(error, work.params, work.spelled)
  }

  /**
   * Runs a statement again that was not run, since the schema changed under its prepared form. Only where nothing else
   * is lost with it: outside a transaction, or as the first statement of one, which is then begun anew.
   */
  async #again(work: Work, error: unknown): Promise<QueryResult> {
    const { transaction } = work
    const isOver = this.#transaction !== transaction
    if (isOver || (transaction !== null && transaction.statements > 1)) throw this.#judged(error, work.params)
    if (transaction === null) return this.#send(work, false)
    // All three at once, so that no statement of the holder's slips in between.
    const begun = Promise.all([this.#control('rollback'), this.#control(transaction.begin)])
    const [result] = await Promise.all([this.#send(work, false), begun])
    return result
  }

  #judged(error: unknown, params: unknown[], spelled: readonly Spelled[] = []): unknown {
    const { exposeParameters } = this.#parts
    if (!isServerError(error)) {
      // Whatever is not the server's word leaves the protocol in doubt.
      if (this.#lost === null) this.discard(error instanceof Error ? error : new Error(String(error)))
      if (!exposeParameters) hideParams(params)
      return error instanceof ConnectionLostError ? error : this.#lost
    }

    const judged = exposeParameters ? error : scrub(error, spelled)
    if (!exposeParameters) hideParams(params)
    if (connectionIsGone(error)) this.discard(judged)
    return judged
  }

  #break(reason: Error): void {
    if (this.#lost !== null) return
    const lost = lostBy(reason)
    // What comes later is surely not done, when we closed it ourselves; what is under way may be, whoever broke it.
    this.#lost = reason instanceof ClosedError ? reason : lost
    this.#socket.destroy()
    for (const fail of this.#running) fail(lost)
    void this.#client.end({ timeout: 0 })
    this.onLost?.()
  }
}

const CONTROLS = new Set(['BEGIN', 'START TRANSACTION', 'COMMIT', 'ROLLBACK', 'PREPARE TRANSACTION'])

/** By the server's own word; of several statements, for any of them. */
function controlsTransaction(result: QueryResult): boolean {
  if (result.command !== undefined) return CONTROLS.has(result.command)
  return Array.isArray(result) && result.some((each: QueryResult) => CONTROLS.has(each.command ?? ''))
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

/** The errors of statements that were not run, since a schema change or a DEALLOCATE made their prepared form unusable. */
const stale = new WeakSet<object>()

function isStale(error: unknown): boolean {
  return typeof error === 'object' && error !== null && stale.has(error)
}

/**
 * postgres.js runs a stale statement again by itself, without regard for what it has sent behind it: when that is stale
 * as well, neither ever settles. It first notes the error in `retried`, and sends no query that is cancelled.
 */
const leaving: PropertyDescriptorMap & ThisType<UntypedQuery> = {
  retried: {
    set(error: object) {
      stale.add(error)
      this.cancelled = true
      this.reject(error)
    },
  },
}

/** Missing from postgres.js's types. */
interface UntypedQuery {
  cancelled: unknown
  reject(error: object): void
}

/** The prototype of postgres.js's queries, and ours over it: a property of each query would make it far slower. */
const prototypes = new WeakMap<object, object>()

function leaveStaleToUs(query: PendingQuery): void {
  const theirs: object = Object.getPrototypeOf(query)
  let ours = prototypes.get(theirs)
  if (ours === undefined) {
    ours = Object.create(theirs, leaving) as object
    prototypes.set(theirs, ours)
  }
  Object.setPrototypeOf(query, ours)
}
