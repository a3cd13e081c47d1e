import { setMaxListeners } from 'node:events'
import { setTimeout as sleep, setImmediate as turnOfTheLoop } from 'node:timers/promises'
import type { Connection, TransactionOptions } from '../../adapter.ts'
import {
  ClosedError,
  ConnectionLostError,
  ContentionError,
  DrizzleCeleryError,
  StatementError,
} from '../../errors.ts'
import { hideParams, isOwnError } from '../../statement.ts'
import { StatementCache } from '../../statement-cache.ts'
import type { InArgs, LibsqlStatement, ResultSet } from './client.ts'
import { fileError, isOpeningFailure } from './connect.ts'
import { isContention, isLoss, isSqlError, isTransactionClosed, judged, scrub } from './driver-error.ts'
import type { Reading, SafeText, Unlearned } from './safe-text.ts'
import type { WriteMutex } from './write-mutex.ts'

/** What we use of a client of `@libsql/client`. */
export interface Client {
  execute(statement: SentStatement): Promise<ResultSet>
  transaction(mode: 'write' | 'read' | 'deferred'): Promise<ClientTransaction>
  migrate(statements: SentStatement[]): Promise<ResultSet[]>
  executeMultiple(sql: string): Promise<void>
  sync(): Promise<unknown>
  reconnect(): unknown
  close(): void
}

interface ClientTransaction {
  execute(statement: SentStatement): Promise<ResultSet>
  executeMultiple(sql: string): Promise<void>
  commit(): Promise<void>
  rollback(): Promise<void>
  close(): void
}

interface SentStatement {
  readonly sql: string
  readonly args: InArgs
}

export interface ConnectionParts {
  readonly client: Client
  readonly safeText: SafeText
  /** Whose turn it is to write to the file; `null` where nobody else can, or the server says. */
  readonly mutex: WriteMutex | null
  readonly kind: 'memory' | 'file' | 'replica' | 'remote'
  /** The file, for errors. */
  readonly file: string | null
  /** The file can only be read. */
  readonly readOnly: boolean
  /** Milliseconds that others may hold the database before we give up. */
  readonly busyTimeout: number
  readonly statementCacheSize: number
  readonly exposeParameters: boolean
}

/** A transaction that has begun. */
interface Open {
  readonly driver: ClientTransaction
  readonly isReadOnly: boolean
  /** Ends our turn to write. */
  release(): void
}

/**
 * One libSQL client with one SQLite connection, or one remote client.
 *
 * - A local driver call is synchronous: while it waits for a lock the event loop stands still. So it may wait for a few
 *   milliseconds only, and the waiting for others is done here: for writers of this process by the mutex, for those of
 *   other processes by trying again.
 * - After SQLITE_BUSY the driver never resets the statement, and whatever the connection writes from then on is
 *   acknowledged, visible to itself, and lost. So calls are made one at a time, and the SQLite connection is replaced
 *   before the next one. Only `executeMultiple` does not have the fault: that is how we commit.
 * - Statements keep their order, with one exception: reads pass writes that wait for others.
 */
export class LibsqlConnection implements Connection {
  readonly #parts: ConnectionParts
  readonly #client: Client
  readonly #safeText: SafeText
  readonly #texts: StatementCache
  readonly #stop = new AbortController()
  /** Calls that wait for the one under way. */
  readonly #queue: (() => void)[] = []
  #isCalling = false
  #transaction: Open | null = null
  #lost: Error | null = null
  #isTainted = false
  #closed: Promise<void> | null = null
  onLost: (() => void) | null = null

  constructor(parts: ConnectionParts) {
    this.#parts = parts
    this.#client = parts.client
    this.#safeText = parts.safeText
    this.#texts = new StatementCache(parts.statementCacheSize)
    // Any number of statements may wait for their turn.
    setMaxListeners(0, this.#stop.signal)
  }

  get lost(): Error | null {
    return this.#lost
  }

  get tainted(): boolean {
    return this.#isTainted
  }

  run(statement: LibsqlStatement): Promise<unknown> {
    const { sql, params } = statement
    try {
      if (this.#lost !== null) throw this.#lostError()
      if (this.#texts.look(sql).taints) this.#isTainted = true
      if (statement.call !== undefined) return this.#call(statement, statement.call)
      const reading = this.#safeText.look(sql)
      return 'describe' in reading ? this.#learnAndRun(statement, reading) : this.#run(statement, reading)
    } catch (error) {
      if (!this.#parts.exposeParameters) hideParams(params)
      return Promise.reject(error)
    }
  }

  async begin({ readOnly = false }: TransactionOptions): Promise<void> {
    const isReadOnly = readOnly || this.#parts.readOnly
    let release = noRelease
    try {
      if (!isReadOnly) release = await this.#turnToWrite()
      const driver = await this.#patiently(() => this.#begin(isReadOnly))
      const transaction = { driver, isReadOnly, release }
      if (this.#lost === null) {
        this.#transaction = transaction
        return
      }
      this.#undo(transaction)
      throw this.#lostError()
    } catch (error) {
      release()
      throw this.#judged(error, [])
    }
  }

  async commit(): Promise<boolean> {
    const transaction = this.#openTransaction()
    try {
      await this.#commit(transaction)
      return true
    } catch (error) {
      this.#undo(transaction)
      if (isTransactionClosed(error)) return false
      throw this.#judged(error, [])
    } finally {
      this.#ended(transaction)
    }
  }

  async rollback(): Promise<void> {
    const transaction = this.#openTransaction()
    const { driver, isReadOnly } = transaction
    try {
      if (isReadOnly && this.#isLocal) await driver.execute(WRITABLE)
      await this.#unlessStopped(driver.rollback())
    } catch (error) {
      // It was rolled back before us: that is what we wanted.
      if (!isTransactionClosed(error)) throw this.#judged(error, [])
    } finally {
      this.#ended(transaction)
    }
  }

  /** SQLite remembers it in the file. */
  async setJournalMode(mode: 'wal' | 'delete'): Promise<void> {
    const statement = { sql: `pragma journal_mode=${mode}`, args: [] }
    await this.#inTurn(() => this.#client.execute(statement)).catch((error: unknown) => {
      throw this.#judged(error, [])
    })
  }

  async ping(): Promise<void> {
    if (this.#lost !== null) throw this.#lostError()
    await this.#alone(() => this.#client.execute(PING)).catch((error: unknown) => {
      throw this.#judged(error, [])
    })
  }

  discard(reason: Error): void {
    if (this.#lost !== null) return
    this.#lost = reason
    this.#end()
    this.onLost?.()
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#lost !== null) return
    this.#lost = new ClosedError('connection')
    this.#end()
    // The driver lets go of a file when its statements are garbage-collected; the finalizers run between two turns of
    // the event loop. Whoever opens and closes without ever pausing would run out of file handles.
    if (this.#isLocal) await turnOfTheLoop()
  }

  #end(): void {
    const transaction = this.#transaction
    this.#transaction = null
    this.#stop.abort(this.#lost)
    if (transaction !== null) {
      this.#undo(transaction)
      transaction.release()
    }
    // The database in memory is the client; it is the adapter's, and goes on without us.
    if (this.#parts.kind !== 'memory') this.#client.close()
    for (const go of this.#queue.splice(0)) go()
  }

  get #isLocal(): boolean {
    return this.#parts.kind !== 'remote'
  }

  /** @param isFresh what is known of the text was learned a moment ago: it cannot be stale */
  #run(statement: LibsqlStatement, reading: Reading, isFresh = false): Promise<unknown> {
    const read = (result: ResultSet) => this.#read(statement, reading, result, isFresh)
    const fail = (error: unknown) => this.#failed(statement, reading, error, isFresh)
    const transaction = this.#transaction
    if (transaction !== null) {
      return this.#inTransaction(transaction, (driver) => driver.execute(sent(reading, statement))).then(
        read,
        fail,
      )
    }
    const call = () => this.#client.execute(sent(reading, statement))
    if (reading.writes && this.#parts.mutex?.isHeld) return this.#inTurn(call).then(read, fail)
    return this.#alone(call).then(read, (error: unknown) => {
      if (!isContention(error) || this.#lost !== null) return fail(error)
      const retried = reading.writes ? this.#inTurn(call, error) : this.#patiently(call, error)
      return retried.then(read, fail)
    })
  }

  #read(statement: LibsqlStatement, reading: Reading, result: ResultSet, isFresh: boolean): unknown {
    if (reading.isDdl) this.#safeText.forget()
    const fit = reading.read(result)
    if (fit === 'exact' || reading.exact === undefined) return result
    this.#safeText.unpack(statement.sql, reading.exact)
    return fit === 'large' ? result : this.#run(statement, reading.exact, isFresh)
  }

  /** A statement whose columns were learned before the tables changed is learned and run once more. */
  #failed(statement: LibsqlStatement, reading: Reading, error: unknown, isFresh: boolean): Promise<unknown> {
    if (reading.isLearned && !isFresh && isSqlError(error) && this.#lost === null) {
      this.#safeText.forget()
      const unlearned = this.#safeText.look(statement.sql)
      if ('describe' in unlearned) return this.#learnAndRun(statement, unlearned)
    }
    throw this.#judged(error, statement.params)
  }

  async #learnAndRun(statement: LibsqlStatement, unlearned: Unlearned): Promise<unknown> {
    let reading: Reading
    try {
      reading = await this.#safeText.learn(unlearned, (sql) => this.#describe(sql, statement.sql))
    } catch (error) {
      throw this.#judged(error, statement.params)
    }
    return this.#run(statement, reading, true)
  }

  async #describe(sql: string, original: string): Promise<ResultSet> {
    // The driver asks for a statement's columns before SQLite sees that others changed the tables: make it look.
    await this.#execute(LOOK)
    try {
      return await this.#execute(sql)
    } catch (error) {
      // SQLite speaks of the text it was given; ask it about the one that was meant, without running it.
      if (isSqlError(error)) await this.#execute(`explain ${original}`)
      throw error
    }
  }

  #execute(sql: string): Promise<ResultSet> {
    const statement = { sql, args: [] }
    if (this.#transaction === null) return this.#patiently(() => this.#client.execute(statement))
    return this.#inTransaction(this.#transaction, (driver) => driver.execute(statement))
  }

  /** What the client has a call of its own for. */
  #call({ sql }: LibsqlStatement, call: NonNullable<LibsqlStatement['call']>): Promise<unknown> {
    return this.#dispatch(sql, call).then(
      (result) => {
        this.#safeText.forget()
        return result
      },
      (error: unknown) => {
        // Half of a script may be done: the driver's own word promises less than ours.
        throw call.name === 'executeMultiple' && isContention(error) ? error : this.#judged(error, [])
      },
    )
  }

  async #dispatch(sql: string, call: NonNullable<LibsqlStatement['call']>): Promise<unknown> {
    const transaction = this.#transaction
    switch (call.name) {
      case 'executeMultiple':
        // It cannot be tried again once it has met a lock, so it has to have its turn.
        if (transaction !== null)
          return this.#inTransaction(transaction, (driver) => driver.executeMultiple(sql))
        return this.#holding(() => this.#alone(() => this.#client.executeMultiple(sql)))
      case 'migrate': {
        if (transaction !== null) throw migrationInTransaction()
        const statements = call.statements.map((each) => ({ sql: each.sql, args: each.params }))
        return this.#inTurn(() => this.#client.migrate(statements))
      }
      case 'sync':
        return this.#alone(() => this.#client.sync())
    }
  }

  /** A statement of a transaction. Whatever goes wrong with the lock there is the end of the transaction. */
  #inTransaction<Result>(
    transaction: Open,
    call: (driver: ClientTransaction) => Promise<Result>,
  ): Promise<Result> {
    return this.#unlessStopped(call(transaction.driver)).catch((error: unknown) => {
      if (isContention(error) && this.#transaction === transaction) {
        const contention = this.#tooLong(error)
        this.discard(contention)
        throw contention
      }
      throw error
    })
  }

  /** Holds our turn to write while it runs. */
  async #holding<Result>(work: () => Promise<Result>): Promise<Result> {
    const release = await this.#turnToWrite()
    try {
      return await work()
    } finally {
      release()
    }
  }

  /** Tries until others let it, holding our turn to write. */
  #inTurn<Result>(call: () => Promise<Result>, failure?: unknown): Promise<Result> {
    return this.#holding(() => this.#patiently(call, failure))
  }

  #turnToWrite(): Promise<() => void> {
    const { mutex, busyTimeout } = this.#parts
    if (mutex === null) return Promise.resolve(noRelease)
    return mutex.acquire({ timeout: busyTimeout, signal: this.#stop.signal })
  }

  /**
   * Tries until others let it, up to the busy timeout. Only for what is surely not done when it meets a lock.
   * @param failure what it met at the first attempt, if there was one
   */
  async #patiently<Result>(call: () => Promise<Result>, failure?: unknown): Promise<Result> {
    const deadline = performance.now() + this.#parts.busyTimeout
    let met = failure
    for (;;) {
      if (met !== undefined) await this.#waitForOthers(deadline, met)
      try {
        return await this.#alone(call)
      } catch (error) {
        if (!isContention(error) || this.#lost !== null) throw error
        met = error
      }
    }
  }

  /** Waits until nobody writes. Asking for the lock by `executeMultiple` does no harm, so it can be done often. */
  async #waitForOthers(deadline: number, met: unknown): Promise<void> {
    let isLocked = true
    while (isLocked) {
      await this.#pause(deadline, met)
      if (this.#parts.kind !== 'file') return
      isLocked = await this.#alone(() => this.#client.executeMultiple(PROBE).then(() => false, isContention))
    }
  }

  /** Short and of random length: whoever waited long is not to wait longer than who comes new. */
  async #pause(deadline: number, met: unknown): Promise<void> {
    if (performance.now() >= deadline) throw this.#tooLong(met)
    const milliseconds = SHORTEST_PAUSE + Math.random() * (LONGEST_PAUSE - SHORTEST_PAUSE)
    await sleep(milliseconds, undefined, { signal: this.#stop.signal }).catch(() => {})
    if (this.#lost !== null) throw this.#lostError()
  }

  /** One call at a time, so that no other one comes between a lock that was met and the new SQLite connection. */
  #alone<Result>(call: () => Promise<Result>): Promise<Result> {
    if (!this.#isCalling) return this.#callNow(call)
    return new Promise<void>((go) => this.#queue.push(go)).then(() => this.#callNow(call))
  }

  #callNow<Result>(call: () => Promise<Result>): Promise<Result> {
    if (this.#lost !== null) return Promise.reject(this.#lostError())
    this.#isCalling = true
    return this.#unlessStopped(call()).then(
      (result) => {
        this.#called()
        return result
      },
      (error: unknown) => {
        if (isContention(error)) this.#reopen(error)
        this.#called()
        throw error
      },
    )
  }

  /** What a server is asked may never be answered; a local call is over at once. */
  #unlessStopped<Result>(answer: Promise<Result>): Promise<Result> {
    if (this.#isLocal) return answer
    return new Promise((resolve, reject) => {
      const { signal } = this.#stop
      const onAbort = () => reject(this.#lostError())
      signal.addEventListener('abort', onAbort)
      answer.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
    })
  }

  #called(): void {
    const next = this.#queue.shift()
    if (next === undefined) this.#isCalling = false
    else next()
  }

  /** Replaces the SQLite connection, unless it has state that its user counts on. */
  #reopen(reason: unknown): void {
    if (this.#lost !== null || !this.#isLocal || this.#parts.kind === 'memory') return
    if (this.#isTainted) this.discard(this.#tooLong(reason))
    else void this.#client.reconnect()
  }

  async #begin(isReadOnly: boolean): Promise<ClientTransaction> {
    const client = this.#client
    if (!this.#isLocal) return client.transaction(isReadOnly ? 'read' : 'write')
    if (!isReadOnly) return client.transaction('write')
    const driver = await client.transaction('deferred')
    try {
      // libSQL's own "read" mode lets writes pass.
      await driver.execute(QUERY_ONLY)
      // Fixes what the transaction sees, and meets others' locks here, where we can try again.
      await driver.execute({ sql: LOOK, args: [] })
      return driver
    } catch (error) {
      await driver.execute(WRITABLE).catch(() => {})
      driver.close()
      throw error
    }
  }

  async #commit({ driver, isReadOnly }: Open): Promise<void> {
    if (!this.#isLocal) return this.#unlessStopped(driver.commit())
    if (isReadOnly) await driver.execute(WRITABLE)
    const deadline = performance.now() + this.#parts.busyTimeout
    for (;;) {
      try {
        // Unlike `commit()` it can be tried again when somebody is still reading.
        await driver.executeMultiple('commit')
        break
      } catch (error) {
        if (!isContention(error)) throw error
        await this.#pause(deadline, error)
      }
    }
    driver.close()
  }

  /** While it is being ended a transaction stays ours, so that `discard` finds it: libSQL would keep the file locked. */
  #openTransaction(): Open {
    if (this.#lost !== null) throw this.#lostError()
    if (this.#transaction === null) throw new ClosedError('transaction')
    return this.#transaction
  }

  #ended(transaction: Open): void {
    if (this.#transaction === transaction) this.#transaction = null
    transaction.release()
  }

  /** Rolls back what is still open. */
  #undo({ driver, isReadOnly }: Open): void {
    if (isReadOnly && this.#isLocal) void driver.execute(WRITABLE).catch(() => {})
    try {
      driver.close()
    } catch (error) {
      // What cannot be rolled back must not be used again.
      if (this.#lost === null) this.discard(error instanceof Error ? error : new Error(String(error)))
    }
  }

  /** The error to throw; where the connection is lost, it is from now on. */
  #judged(error: unknown, params: unknown[]): unknown {
    const { exposeParameters, kind, file } = this.#parts
    if (!exposeParameters) scrub(error, params)
    if (!exposeParameters) hideParams(params)
    if (this.#lost !== null) return this.#lostError()
    if (isOwnError(error)) return error
    if (isContention(error)) return this.#tooLong(error)
    if (kind === 'remote' && isLoss(error)) {
      this.discard(error instanceof Error ? error : new Error(String(error)))
      return this.#lostError()
    }
    if (file !== null && isOpeningFailure(error)) return fileError(file, error)
    return judged(error, file)
  }

  #tooLong(cause: unknown): ContentionError {
    if (cause instanceof ContentionError) return cause
    const { file, busyTimeout } = this.#parts
    const where = file === null ? 'The server' : `The database file ${file}`
    const howLong = file === null ? '' : ` for ${busyTimeout / 1_000} s (the timeout option of the dburi)`
    return new ContentionError(
      `${where} was kept locked by others${howLong}. Nothing was done: the whole transaction can be tried again.`,
      { cause },
    )
  }

  #lostError(): Error {
    const reason = this.#lost
    if (reason instanceof DrizzleCeleryError) return reason
    return new ConnectionLostError(
      'The connection to the libSQL database was lost. A statement that was under way may or may not have taken effect.',
      { cause: reason },
    )
  }
}

const PING: SentStatement = { sql: 'select 1', args: [] }
const QUERY_ONLY: SentStatement = { sql: 'pragma query_only=1', args: [] }
const WRITABLE: SentStatement = { sql: 'pragma query_only=0', args: [] }
/** Reads a row of a table that always exists. */
const LOOK = 'select 1 from sqlite_schema limit 1'

const PROBE = 'begin immediate; commit'

/** Bounds of the pauses between two attempts, in milliseconds. */
const SHORTEST_PAUSE = 1
const LONGEST_PAUSE = 4

function sent({ sql }: Reading, { params, named }: LibsqlStatement): SentStatement {
  return { sql, args: named ?? params }
}

function noRelease(): void {}

function migrationInTransaction(): StatementError {
  return new StatementError(
    'INVALID_STATEMENT',
    'Cannot migrate inside a transaction: SQLite checks foreign keys there, and dropping a table would delete what ' +
      'refers to it. Migrate with the engine: migrate(engine.db, …).',
  )
}
