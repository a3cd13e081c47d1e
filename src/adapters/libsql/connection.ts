import { isOwnError, StatementCache, traitsOf } from '../../driver/statement.ts'
import type { Connection, RunOptions, TransactionOptions, WaitOptions } from '../../driver/types.ts'
import {
  AccessDeniedError,
  ClosedError,
  ConnectionLostError,
  type ConnectTarget,
  StatementError,
  StatementTimeoutError,
  TransactionExpiredError,
  toError,
} from '../../errors.ts'
import { fileError, isOpeningFailure } from './connect.ts'
import { type ClientTransaction, LOOK, type SentStatement } from './driver.ts'
import type { LibsqlStatement, ResultSet } from './drizzle-client.ts'
import {
  isContention,
  isExpired,
  isLoss,
  isReadOnly,
  isTransactionClosed,
  type Primary,
  primaryError,
  releaseFrames,
  type Sent,
  scrub,
  translateError,
} from './errors.ts'
import { type Contended, LockRetry } from './lock-retry.ts'
import type { JournalMode } from './options.ts'
import { SerialQueue } from './serial-queue.ts'
import { SetUpClient } from './set-up-client.ts'
import { SafeStatements, type SafeText } from './text/safe-text.ts'
import { scriptParts } from './text/tokens.ts'
import { beginLocally, OpenTransaction, type TransactionMode } from './transaction.ts'
import type { Writer } from './write-mutex.ts'

/** What a connection is made of. */
export interface ConnectionParts extends Contended {
  readonly safeText: SafeText
  /** Of an embedded replica. */
  readonly primary: Primary | null
  /** Missing for a database in memory. */
  readonly target: ConnectTarget | undefined
  /** The file can only be read. */
  readonly readOnly: boolean
  /** The server was given a token that may only read, and does not say so itself where it refuses. */
  readonly tokenOnlyReads: boolean
  /** Milliseconds that a server has for its answers to one call. */
  readonly requestTimeout: number
  readonly statementCacheSize: number
  readonly exposeParameters: boolean
}

/**
 * One libSQL client with one SQLite connection, or one remote client.
 *
 * - After SQLITE_BUSY the driver never resets the statement, and whatever the connection writes from then on is
 *   acknowledged, visible to itself, and lost. So calls are made one at a time, and the SQLite connection is replaced
 *   before the next one. Only `executeMultiple` does not have the fault: that is how we commit.
 * - Statements keep their order, with one exception: reads pass writes that wait for others.
 */
export class LibsqlConnection implements Connection {
  readonly #parts: ConnectionParts
  readonly #client: SetUpClient
  readonly #texts: StatementCache
  readonly #queue: SerialQueue
  readonly #lockRetry: LockRetry
  readonly #statements: SafeStatements
  #transaction: OpenTransaction | null = null
  #isTainted = false
  #closed: Promise<void> | null = null
  /** Settles when the file handles are closed, some time after the driver's client. */
  #released: Promise<void> | undefined
  onLost: (() => void) | null = null

  constructor(parts: ConnectionParts) {
    this.#parts = parts
    parts.file?.connectionOpened()
    this.#client = new SetUpClient(parts.client)
    this.#texts = new StatementCache(parts.statementCacheSize, traitsOf)
    this.#queue = new SerialQueue({
      isLocal: this.#isLocal,
      requestTimeout: parts.requestTimeout,
      onContention: (error) => this.#reopen(error),
      onSilence: () =>
        this.discard(new StatementTimeoutError(parts.requestTimeout / 1_000, 'request_timeout')),
    })
    this.#lockRetry = new LockRetry(this.#queue, parts)
    this.#statements = new SafeStatements({
      safeText: parts.safeText,
      execute: this.#isLocal
        ? (statement, writes, askedAt) => this.#execute(statement, writes, askedAt)
        : (statement, writes) => this.#execute(statement, writes).then(wellFormed),
      translateError: (error, { sql, params, named }, writes) =>
        this.#translateError(error, {
          sql,
          values: named === undefined ? params : Object.values(named),
          writes,
        }),
    })
  }

  get lost(): Error | null {
    return this.#queue.lost
  }

  get tainted(): boolean {
    return this.#isTainted
  }

  get target(): ConnectTarget | undefined {
    return this.#parts.target
  }

  run(statement: LibsqlStatement, { askedAt, isSetUp = false }: RunOptions = {}): Promise<unknown> {
    const { sql } = statement
    try {
      if (this.lost !== null) throw this.#queue.lostError()
      if (isSetUp) return this.#setUp(statement, askedAt)
      if (this.#texts.look(sql).taints) this.#isTainted = true
      if (statement.call !== undefined) return this.#call(statement, statement.call, askedAt)
      return this.#statements.run(statement, askedAt)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** All of it is kept: what fills a temporary table leaves nothing behind that its text would tell. */
  async #setUp(statement: LibsqlStatement, askedAt: number | undefined): Promise<unknown> {
    const { sql, params } = statement
    const args = [...params]
    const answer = await this.#statements.run(statement, askedAt)
    this.#client.add({ sql, args })
    return answer
  }

  async begin({ readOnly = false }: TransactionOptions, { askedAt }: WaitOptions = {}): Promise<void> {
    const isReadOnly = readOnly || this.#parts.readOnly
    const [queue, lockRetry, isLocal] = [this.#queue, this.#lockRetry, this.#isLocal]
    const writer: Writer = { what: 'transaction', hasWritten: false }
    const deadline = lockRetry.deadline(askedAt)
    let release = () => {}
    try {
      if (!isReadOnly) release = await lockRetry.turnToWrite(deadline, writer)
      const mode = isReadOnly ? READ_MODES[this.#parts.kind] : 'write'
      const driver = await this.#begin(mode, deadline)
      if (!isReadOnly) this.#parts.mutex?.moved()
      const transaction = new OpenTransaction(driver, { isLocal, mode, queue, lockRetry, writer, release })
      if (queue.lost === null) {
        this.#transaction = transaction
        return
      }
      this.#undo(transaction)
      throw queue.lostError()
    } catch (error) {
      release()
      throw this.#translateError(error)
    }
  }

  #begin(mode: TransactionMode, deadline: number): Promise<ClientTransaction> {
    const client = this.#client
    if (mode === 'query-only' || (mode === 'write' && this.#parts.kind === 'file')) {
      return this.#lockRetry.resuming(deadline, () => beginLocally(client, mode), PROBES[mode])
    }
    return this.#lockRetry.retryingBusy(deadline, () => client.transaction(mode))
  }

  async commit(): Promise<boolean> {
    const transaction = this.#openTransaction()
    try {
      await transaction.commit()
      return true
    } catch (error) {
      this.#undo(transaction)
      if (isTransactionClosed(error)) return false
      throw this.#translateError(error)
    } finally {
      this.#ended(transaction)
    }
  }

  async rollback(): Promise<void> {
    const transaction = this.#openTransaction()
    await this.#translating(transaction.rollback()).finally(() => this.#ended(transaction))
  }

  savepoint(name: string): Promise<void> {
    return this.#setSavepoint(`savepoint ${name}`)
  }

  release(name: string): Promise<void> {
    return this.#setSavepoint(`release savepoint ${name}`)
  }

  rollbackTo(name: string): Promise<void> {
    return this.#setSavepoint(`rollback to savepoint ${name}`)
  }

  async #setSavepoint(sql: string): Promise<void> {
    const call = (driver: ClientTransaction) => driver.execute({ sql, args: [] })
    await this.#translating(this.#inTransaction(this.#openTransaction(), call))
  }

  /** SQLite remembers it in the file. */
  async setJournalMode(mode: JournalMode): Promise<void> {
    const statement = { sql: `pragma journal_mode=${mode}`, args: [] }
    const deadline = this.#lockRetry.deadline()
    await this.#translating(this.#lockRetry.inTurn(deadline, () => this.#client.execute(statement)))
  }

  async ping(): Promise<void> {
    await this.#translating(this.#queue.alone(() => this.#client.execute(PING)))
  }

  discard(reason: Error): void {
    if (this.lost !== null) return
    this.#end(reason)
    this.onLost?.()
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#parts.file?.hasOneConnection) await this.#checkpoint()
    if (this.lost === null) this.#end(new ClosedError('connection'))
    await this.#released
  }

  /**
   * Moves what is in the write-ahead log to the database file: SQLite does that for the last one who closes it, but not
   * beside other processes.
   */
  async #checkpoint(): Promise<void> {
    if (this.#parts.kind !== 'file' || this.lost !== null) return
    // It moves what it can; where it may do nothing the log stays, which is as good a place.
    await this.#queue.alone(() => this.#client.executeMultiple(CHECKPOINT)).catch(() => {})
  }

  #end(reason: Error): void {
    const transaction = this.#transaction
    this.#transaction = null
    this.#queue.stop(reason)
    if (transaction !== null) {
      this.#undo(transaction)
      transaction.release()
    }
    // The database in memory is the client; it is the adapter's, and goes on without us.
    if (this.#parts.kind !== 'memory') this.#client.close()
    this.#released = this.#parts.file?.connectionClosed()
  }

  get #isLocal(): boolean {
    return this.#parts.kind !== 'remote'
  }

  #execute(statement: SentStatement, writes: boolean, askedAt?: number): Promise<ResultSet> {
    const transaction = this.#transaction
    const asksServer = this.#parts.kind === 'replica' && (writes || transaction !== null)
    if (asksServer && !Array.isArray(statement.args)) return Promise.reject(namedOnReplica())
    if (transaction !== null) {
      const mayWrite = writes && !SAVEPOINT.test(statement.sql)
      if (mayWrite && transaction.onlyReads) return Promise.reject(writeWhereOnlyRead())
      if (mayWrite) transaction.writes()
      return this.#inTransaction(transaction, (driver) => driver.execute(statement))
    }
    const call = () => this.#client.execute(statement)
    const lockRetry = this.#lockRetry
    if (writes && this.#parts.mutex?.isHeld) return lockRetry.inTurn(lockRetry.deadline(askedAt), call)
    return this.#queue.alone(call).catch((error: unknown) => {
      if (!isContention(error) || this.lost !== null) throw error
      const deadline = lockRetry.deadline(askedAt)
      return writes ? lockRetry.inTurn(deadline, call, error) : lockRetry.reading(deadline, call, error)
    })
  }

  /** What the client has a call of its own for. */
  #call(
    { sql }: LibsqlStatement,
    call: NonNullable<LibsqlStatement['call']>,
    askedAt: number | undefined,
  ): Promise<unknown> {
    return this.#dispatch(sql, call, this.#lockRetry.deadline(askedAt)).then(
      (result) => {
        this.#parts.safeText.forget()
        return result
      },
      (error: unknown) => {
        const isHalfDone = call.name === 'executeMultiple' && isContention(error)
        const sent = { sql, values: [], writes: call.name !== 'sync' && !traitsOf(sql).reads }
        throw this.#translateError(isHalfDone ? this.#lockRetry.tooLong(error, HALF_DONE) : error, sent)
      },
    )
  }

  async #dispatch(
    sql: string,
    call: NonNullable<LibsqlStatement['call']>,
    deadline: number,
  ): Promise<unknown> {
    const transaction = this.#transaction
    switch (call.name) {
      case 'executeMultiple':
        if (transaction?.onlyReads) throw writeWhereOnlyRead()
        if (transaction !== null) {
          transaction.writes()
          return this.#inTransaction(transaction, (driver) => driver.executeMultiple(sql))
        }
        return this.#lockRetry.holding(deadline, () => this.#script(sql, deadline))
      case 'migrate': {
        if (transaction !== null) throw migrationInTransaction()
        const statements = call.statements.map((each) => ({ sql: each.sql, args: each.params }))
        return this.#lockRetry.inTurn(deadline, () => this.#client.migrate(statements))
      }
      case 'sync':
        return this.#queue.alone(() => this.#client.sync())
    }
  }

  /** Goes on behind what is done, where a lock was met in between. A server does not say how far it came. */
  #script(sql: string, deadline: number): Promise<void> {
    if (this.#parts.kind !== 'file') return this.#queue.alone(() => this.#client.executeMultiple(sql))
    const parts = scriptParts(sql)
    let done = 0
    const runRest = async () => {
      for (const part of parts.slice(done)) {
        await this.#queue.pause()
        await this.#client.executeMultiple(part)
        done++
      }
    }
    return this.#lockRetry.resuming(deadline, runRest, { outcome: () => outcomeOf(parts, done) })
  }

  /** A statement of a transaction. Whatever goes wrong with the lock there is the end of the transaction. */
  #inTransaction<Result>(
    transaction: OpenTransaction,
    call: (driver: ClientTransaction) => Promise<Result>,
  ): Promise<Result> {
    return transaction.run(call).catch((error: unknown) => {
      if (isContention(error) && this.#transaction === transaction) {
        const contention = this.#lockRetry.tooLong(error)
        this.discard(contention)
        throw contention
      }
      throw error
    })
  }

  /** Replaces the SQLite connection, unless it has state that its user counts on. A transaction cannot outlive it. */
  #reopen(reason: unknown): void {
    const isKept = this.#transaction !== null || this.#parts.kind === 'memory'
    if (this.lost !== null || !this.#isLocal || isKept) return
    if (this.#isTainted) this.discard(this.#lockRetry.tooLong(reason))
    else this.#client.reconnect()
  }

  /** While it is being ended a transaction stays ours, so that `discard` finds it: libSQL would keep the file locked. */
  #openTransaction(): OpenTransaction {
    if (this.lost !== null) throw this.#queue.lostError()
    if (this.#transaction === null) throw new ClosedError('transaction')
    return this.#transaction
  }

  #ended(transaction: OpenTransaction): void {
    if (this.#transaction === transaction) this.#transaction = null
    transaction.release()
  }

  #undo(transaction: OpenTransaction): void {
    try {
      transaction.undo()
    } catch (error) {
      // What cannot be rolled back must not be used again.
      if (this.lost === null) this.discard(toError(error))
    }
  }

  #translating<Result>(work: Promise<Result>): Promise<Result> {
    return work.catch((error: unknown) => {
      throw this.#translateError(error)
    })
  }

  /** The error to throw; where the connection is lost, it is from now on. */
  #translateError(error: unknown, sent: Sent = { sql: '', values: [], writes: false }): unknown {
    const { exposeParameters, kind, file, primary, tokenOnlyReads } = this.#parts
    if (this.#isLocal) releaseFrames(error)
    if (!exposeParameters) scrub(error, sent)
    if (this.lost !== null) return this.#queue.lostError()
    const hasExpired = this.#transaction !== null && isExpired(error)
    if (kind === 'remote' && (hasExpired || isLoss(error))) {
      this.discard(hasExpired ? new TransactionExpiredError({ cause: error }) : toError(error))
      // Over WebSockets sqld breaks off what such a token may not do, and does not say why.
      if (tokenOnlyReads && sent.writes) return new AccessDeniedError({ cause: error })
      return this.#queue.lostError()
    }
    if (isOwnError(error)) return error
    const fromPrimary = primary && primaryError(error, primary)
    if (fromPrimary !== null) return fromPrimary
    if (isContention(error)) return this.#lockRetry.tooLong(error)
    // A file that is itself read-only says so below.
    if (this.#transaction?.isQueryOnly && !this.#parts.readOnly && isReadOnly(error))
      return writeWhereOnlyRead(error)
    if (file !== null && isOpeningFailure(error)) return fileError(file.path, error)
    return translateError(error, file?.path ?? null)
  }
}

/** A server's result, whose shape the client takes as it comes. @throws ConnectionLostError */
function wellFormed(result: ResultSet): ResultSet {
  const { columns, rows } = result
  for (const row of rows) {
    const isWhole = Reflect.get(row, 'length') === columns.length
    if (isWhole && !Object.values(row).some(isBeyond64Bits)) continue
    throw new ConnectionLostError(
      'The libSQL server sent a row that its columns do not allow. Whether the statement took effect is unknown.',
    )
  }
  return result
}

function isBeyond64Bits(value: unknown): boolean {
  return typeof value === 'bigint' && BigInt.asIntN(64, value) !== value
}

/** What sets and ends savepoints writes nothing. */
const SAVEPOINT = /^\s*(?:savepoint|release|rollback)\b/i
const PROBES = { write: {}, 'query-only': { probe: LOOK.sql } } as const
const READ_MODES = { memory: 'query-only', file: 'query-only', replica: 'read', remote: 'read' } as const
const CHECKPOINT = 'pragma wal_checkpoint(truncate)'
const PING: SentStatement = { sql: 'select 1', args: [] }

function writeWhereOnlyRead(cause?: unknown): StatementError {
  return new StatementError(
    'INVALID_STATEMENT',
    'Cannot write in a read-only transaction: begin one without readOnly.',
    cause === undefined ? {} : { cause },
  )
}

/** The driver aborts the process over them, with sqld 0.24; older servers are sent NULL. */
function namedOnReplica(): StatementError {
  return new StatementError(
    'INVALID_STATEMENT',
    'Cannot send parameters by name from an embedded replica to its server: libSQL would lose them. Give them by position.',
  )
}

function migrationInTransaction(): StatementError {
  return new StatementError(
    'INVALID_STATEMENT',
    'Cannot migrate inside a transaction: SQLite checks foreign keys there, and dropping a table would delete what ' +
      'refers to it. Migrate with the engine: migrate(engine.db, …).',
  )
}

const HALF_DONE = 'Some of the statements of the script may be done.'

function outcomeOf(parts: readonly string[], done: number): string {
  if (done === 0) return 'Nothing was done: the script can be run again.'
  return `The first ${done} of the ${parts.length} statements of the script are done.`
}
