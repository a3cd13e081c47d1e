import type { Connection as Driver } from 'mysql2'
import { unlessStopped } from '../../driver/deadline.ts'
import { ServerConnection, type ServerConnectionParts } from '../../driver/server-connection.ts'
import {
  holderNeeded,
  isOwnError,
  type Statement,
  StatementCache,
  transactionControlRefused,
} from '../../driver/statement.ts'
import type { Connection, Cursor, RunOptions, TransactionOptions } from '../../driver/types.ts'
import { ConnectionLostError, StatementError, TransactionAbortedError, toError } from '../../errors.ts'
import { toWord } from '../../options/values.ts'
import {
  connectionIsGone,
  isServerError,
  isStale,
  notServing,
  refusesWrites,
  rollsBack,
  type ServerError,
  scrub,
  type Unfit,
  unfitness,
  withConflict,
} from './errors.ts'
import type { MysqlPlan } from './options.ts'
import { type Answer, type Begin, flowOf, optionsOf, plain, send, type Work } from './query.ts'
import { RowStream } from './row-stream.ts'
import type { ServerPackets } from './server-packets.ts'
import { type MysqlTraits, mysqlTraits } from './statement.ts'
import { type BoundValue, bindParameters, type Integers } from './values.ts'

export interface ConnectionParts extends ServerConnectionParts {
  readonly driver: Driver
  /** Counts what is asked of the server. */
  readonly packets: Pick<ServerPackets, 'ask'>
  readonly integers: Integers
  readonly statementCacheSize: number
  readonly exposeParameters: boolean
  /** Asks the server to end a connection, known to it by our port, and what it is doing, or only that. */
  kill(threadId: number, port: number | null, what: 'connection' | 'query'): Promise<void>
  /** Whether a server that only reads is not the one that was asked for. */
  readonly isForWriting: boolean
}

/** A transaction on its way, and why the server has ended it before its time. */
interface Open {
  failure: unknown
}

/**
 * One mysql2 connection. One statement is on its way at a time, since each may tell that the next one must not run:
 * MySQL rolls a whole transaction back at a deadlock, commits it at a CREATE TABLE, and would then run what follows
 * outside of any.
 */
export class MysqlConnection extends ServerConnection implements Connection {
  readonly #parts: ConnectionParts
  readonly #texts: StatementCache<MysqlTraits>
  #lastTurn: Promise<unknown> = Promise.resolve()
  /** Those whose turn it is, or will be. */
  #turns = 0
  /** One begins at this moment. */
  #isSending = false
  #transaction: Open | null = null
  /** Its rows come by the connection's one stream: nothing else can until they end. */
  #cursor: RowStream | null = null
  /** Whether the server's answers say if they leave a transaction open; some proxies' do not. */
  #reportsStatus = true
  /** By which the server knows us; `null` for a Unix socket. */
  readonly #port: number | null

  constructor(parts: ConnectionParts) {
    super(parts)
    this.#parts = parts
    this.#texts = new StatementCache(parts.statementCacheSize, mysqlTraits)
    this.#port = parts.socket.localPort ?? null
    parts.driver.on('error', (error) => this.hungUp(error))
  }

  protected override get isInTransaction(): boolean {
    return this.#transaction !== null
  }

  protected override lostBy(reason: Error): Error {
    return lostBy(reason)
  }

  protected override drop(): void {
    this.#parts.driver.destroy()
  }

  protected override end(): void {
    this.#parts.driver.end()
  }

  protected override stopWork(): void {
    void this.#parts.kill(this.#parts.driver.threadId, this.#port, 'connection')
  }

  async run(
    { sql, params, asArrays }: Statement,
    { isShared = false, isSetUp = false }: RunOptions = {},
  ): Promise<unknown> {
    let bound: BoundValue[] = []
    try {
      const text = this.#texts.look(sql)
      const transaction = this.#transaction
      this.#assertNotStreaming()
      if (transaction !== null && text.commits) throw wouldCommit()
      if (text.taints && !isSetUp) this.tainted = true
      if (text.needsHolder && isShared)
        throw holderNeeded('SELECT … FOR UPDATE in a transaction locks rows until its end.')
      bound = bindParameters(params, this.#parts.integers)
      const work = { sql, bound, asArrays, mayEnd: text.taints }
      return await this.#inTurn(() => this.#perform(work, transaction))
    } catch (error) {
      throw this.#translateError(error, { sql, bound })
    }
  }

  async openCursor({ sql, params, asArrays }: Statement, batch: number): Promise<Cursor> {
    this.#assertNotStreaming()
    const { taints } = this.#texts.look(sql)
    if (taints) this.tainted = true
    const bound = bindParameters(params, this.#parts.integers)
    const rows: RowStream = new RowStream(batch, {
      pause: () => flowOf(this.#parts.driver).pause(),
      resume: () => {
        this.#parts.packets.ask()
        flowOf(this.#parts.driver).resume()
      },
      stop: () => this.#stop(rows),
    })
    this.#cursor = rows
    const transaction = this.#transaction
    const work = { sql, bound, asArrays, mayEnd: taints, rows }
    const ended = (error: unknown) => {
      if (this.#cursor === rows) this.#cursor = null
      rows.end(error)
    }
    this.#inTurn(() => this.#perform(work, transaction)).then(
      () => ended(null),
      (error: unknown) => ended(this.#translateError(error, work)),
    )
    return rows
  }

  /** @throws StatementError while rows may still be fetched; what comes when they are given up waits for its turn */
  #assertNotStreaming(): void {
    if (this.#cursor !== null && !this.#cursor.isClosed) throw isStreaming()
  }

  /** Ends a statement whose rows nobody wants any more, without its transaction. */
  async #stop(rows: RowStream): Promise<void> {
    const { driver, kill } = this.#parts
    const killed = kill(driver.threadId, this.#port, 'query')
    await unlessStopped(rows.over(), STOP_TIMEOUT).catch(() => {})
    if (!rows.isOver) this.discard(new Error('The server did not end a statement that it was asked to end'))
    await killed
    // Where the statement had ended before, this is what the server ends instead.
    await this.#control(() => this.#send(plain('do 0'))).catch(() => {})
  }

  /**
   * Has each statement commit by itself, whatever the server's default is, as PyMySQL does; sets the time zone, where it
   * is not the server's, and the collation where one is asked for.
   */
  async start({ timeZone, collation }: Pick<MysqlPlan, 'timeZone' | 'collation'>): Promise<void> {
    const zone = timeZone === null ? '' : `, time_zone = '${timeZone}'`
    const comparing = collation === null ? '' : `, collation_connection = '${collation}'`
    await this.#control(() => this.#send(plain(`set autocommit = 1${zone}${comparing}`)))
  }

  async begin(options: TransactionOptions): Promise<void> {
    const texts = beginTexts(options)
    const transaction: Open = { failure: null }
    this.#transaction = transaction
    try {
      await this.#inTurn(async () => {
        for (const text of texts) this.#reportsStatus = (await this.#send(plain(text))).isOpen === true
      })
    } catch (error) {
      if (this.#transaction === transaction) this.#transaction = null
      const translated = this.#translateError(error, NOTHING_SENT)
      // An isolation level without its transaction would be the next one's.
      if (texts.length > 1) this.discard(translated)
      throw translated
    }
  }

  async commit(): Promise<boolean> {
    if (this.#cursor !== null) await this.#cursor.close()
    const transaction = this.#transaction
    this.#transaction = null
    return await this.#control(async () => {
      if (transaction?.failure != null) return false
      await this.#send(COMMIT)
      return true
    }, COMMIT)
  }

  async rollback(): Promise<void> {
    if (this.#cursor !== null) await this.#cursor.close()
    this.#transaction = null
    await this.#control(() => this.#send(plain('rollback')))
  }

  savepoint(name: string): Promise<void> {
    return this.#inTransaction(`savepoint ${name}`)
  }

  release(name: string): Promise<void> {
    return this.#inTransaction(`release savepoint ${name}`)
  }

  async rollbackTo(name: string): Promise<void> {
    if (this.#cursor !== null) await this.#cursor.close()
    return this.#inTransaction(`rollback to savepoint ${name}`)
  }

  async #inTransaction(sql: string): Promise<void> {
    this.#assertNotStreaming()
    const transaction = this.#transaction
    await this.#control(() => this.#perform(plain(sql), transaction))
  }

  async ping(): Promise<void> {
    if (await this.vetted()) return
    await this.#control(() => this.#ask((done) => this.#parts.driver.ping((error) => done(error))))
  }

  /** Whether the server says that it cannot serve as it was asked to. */
  #unfitness(error: ServerError, isCommit = false): Unfit | null {
    return this.#parts.isForWriting || !refusesWrites(error) ? unfitness(error, isCommit) : null
  }

  /** Runs work when all that came before it is settled, however it went. It throws nothing: what fails rejects. */
  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    // A subscriber of mysql2's tracing channel runs while a statement is sent: what it asks for comes behind that one.
    if (this.#isSending) return this.#lastTurn.then(() => this.#inTurn(work))
    this.#isSending = this.#turns++ === 0
    const turn = this.#isSending ? work() : this.#lastTurn.then(work)
    this.#isSending = false
    const over = () => {
      this.#turns--
    }
    this.#lastTurn = turn.then(over, over)
    return turn
  }

  async #control<Result>(work: () => Promise<Result>, sent: Failed = NOTHING_SENT): Promise<Result> {
    try {
      return await this.#inTurn(work)
    } catch (error) {
      throw this.#translateError(error, sent)
    }
  }

  async #perform(work: Work, transaction: Open | null): Promise<unknown> {
    if (transaction?.failure != null) throw new TransactionAbortedError({ cause: transaction.failure })
    let sent: Answer
    try {
      sent = await this.#send(work)
    } catch (error) {
      sent = await this.#sendFresh(error, work, transaction)
    }
    let { isOpen } = sent
    // Rows come without a word on the transaction, also those of an EXECUTE IMMEDIATE that ended it.
    if (isOpen === null && work.mayEnd && this.#reportsStatus && transaction !== null)
      isOpen = await this.#isOpen()
    if (this.#reportsStatus && isOpen !== null && isOpen !== (transaction !== null)) throw this.#escaped()
    return sent.answer
  }

  /** What was prepared may be gone, behind a proxy or after a schema change; the statement was not run then. */
  async #sendFresh(error: unknown, work: Work, transaction: Open | null): Promise<Answer> {
    if (!isStale(error)) throw await this.#failed(error, work, transaction)
    // By the same options as it was prepared, which mysql2's type does not say.
    this.#parts.driver.unprepare(optionsOf(work) as never)
    try {
      return await this.#send(work)
    } catch (again) {
      throw await this.#failed(again, work, transaction)
    }
  }

  /** What to throw for a statement that failed, which may have cost its transaction. */
  async #failed(error: unknown, work: Work, transaction: Open | null): Promise<unknown> {
    if (!isServerError(error)) return error
    const isOver = transaction === null || this.#unfitness(error) !== null
    const isUndone = isOver || (await this.#isUndone(error))
    const translated = this.#translateError(error, work, isUndone)
    if (transaction !== null && isUndone) transaction.failure = translated
    return translated
  }

  /** A failed statement may have cost the whole transaction: a deadlock does, and so may a lock waited for too long. */
  async #isUndone(error: ServerError): Promise<boolean> {
    if (!this.#reportsStatus || (await this.#isOpen()) !== false) return false
    if (!rollsBack(error)) throw this.#escaped()
    return true
  }

  async #isOpen(): Promise<boolean | null> {
    return (await this.#send(plain('do 0'))).isOpen
  }

  #send(work: Work): Promise<Answer> {
    return send(this.#parts.driver, work, (begin) => this.#ask(begin))
  }

  /** Whatever the driver does or forgets to do, the loss of the connection settles it. */
  #ask(begin: Begin): Promise<unknown> {
    if (this.lost !== null) return Promise.reject(this.lost)
    return new Promise((resolve, reject) => {
      const fail = (error: Error) => {
        if (this.inFlight.settles(fail)) reject(error)
      }
      this.inFlight.add(fail)
      this.#parts.packets.ask()
      try {
        begin((error, answer) => {
          if (error) fail(error)
          else if (this.inFlight.settles(fail)) resolve(answer)
        })
      } catch (error) {
        fail(toError(error))
      }
    })
  }

  /** A text began or ended a transaction that we know nothing of: whatever comes next would run outside of ours. */
  #escaped(): StatementError {
    const error = transactionControlRefused()
    this.discard(error)
    return error
  }

  #translateError(error: unknown, { sql, bound, isCommit }: Failed, isUndone = false): Error {
    if (isServerError(error)) {
      const translated = this.#parts.exposeParameters ? error : scrub(error, sql, bound)
      const unfit = this.#unfitness(error, isCommit)
      if (unfit !== null) {
        const reason = unfit === 'not done' ? notServing(translated) : lostBy(translated)
        this.passOver(reason)
        return reason
      }
      if (connectionIsGone(error)) this.discard(translated)
      return withConflict(translated, isUndone)
    }
    if (isOwnError(error)) return error
    // Not a server error: the protocol's state is unknown, so drop the connection.
    this.discard(toError(error))
    return this.lost ?? lostBy(new Error('The connection broke'))
  }
}

/** What failed: whatever is against a COMMIT, it may have been done. */
type Failed = Pick<Work, 'sql' | 'bound'> & { readonly isCommit?: true }

/** Our own statements have no parameters that an error could show. */
const NOTHING_SENT: Failed = { sql: '', bound: [] }

const COMMIT = { ...plain('commit'), isCommit: true } as const

/** Milliseconds that a server is given to end a statement, and we to be connected to ask for it. */
const STOP_TIMEOUT = 5_000

function isStreaming(): StatementError {
  return new StatementError(
    'STREAM_OPEN',
    'Cannot run a statement here while rows are streamed: MySQL sends them by the one stream of the connection. In the ' +
      'loop use engine.db or another session, or stream by engine.stream().',
  )
}

function wouldCommit(): StatementError {
  return new StatementError(
    'INVALID_STATEMENT',
    'Cannot run this statement in a transaction: MySQL would commit the transaction with it, without a word. ' +
      'Run it by engine.db, or in a session with autocommit.',
  )
}

function lostBy(reason: Error): ConnectionLostError {
  return new ConnectionLostError(
    'The connection to MySQL was lost. A statement that was under way may or may not have taken effect.',
    { cause: isOwnError(reason) || isServerError(reason) ? reason : withoutStatement(reason) },
  )
}

/** mysql2 hangs the statement on whatever error breaks its socket; this is what says why. */
function withoutStatement({ message, code }: Error & { code?: unknown }): Error {
  return Object.assign(new Error(message), typeof code === 'string' && { code })
}

const ISOLATION_LEVELS = ['read uncommitted', 'read committed', 'repeatable read', 'serializable'] as const

/**
 * The statements that begin a transaction, in order.
 * @throws OptionError when the isolation level is none: it becomes part of a statement
 */
function beginTexts({ isolationLevel, readOnly, withConsistentSnapshot }: TransactionOptions): string[] {
  const modes = [withConsistentSnapshot && 'with consistent snapshot', readOnly && 'read only'].filter(
    Boolean,
  )
  const start = modes.length === 0 ? 'start transaction' : `start transaction ${modes.join(', ')}`
  if (isolationLevel === undefined) return [start]
  const level = toWord('isolationLevel', isolationLevel, ISOLATION_LEVELS)
  return [`set transaction isolation level ${level}`, start]
}
