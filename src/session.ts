import type { Connection, Executor, Transaction, TransactionOptions } from './adapter.ts'
import type { Dialect } from './dialect.ts'
import type { Engine } from './engine.ts'
import { ClosedError, DrizzleCeleryError, PendingRollbackError } from './errors.ts'
import type { Limits } from './limits.ts'
import type { Lease } from './pool.ts'
import { checkSeconds } from './pool-options.ts'
import type { Statement } from './statement.ts'
import { Scope } from './transaction.ts'
import { type Place, placeOf, type Trace, unwatch, watch } from './unclosed.ts'

/** How a session is opened. */
export interface SessionOptions {
  /**
   * Let each statement commit by itself, on one connection that is kept from the first statement until `close()`.
   * `begin()` still begins a transaction.
   * @default false
   */
  autocommit?: boolean
  /**
   * A connection of its own, opened at the first statement, kept between transactions and closed with the session, for
   * what is not to be left on a shared one. It counts for the limit of the pool.
   * @default false
   */
  shortLivedSessions?: boolean
  /**
   * Seconds a statement may take, above 0. One that takes longer rejects with a `StatementTimeoutError`, whether it took
   * effect is unknown, and the connection is thrown away: the session then wants a `rollback()` or `close()`. A wrong
   * value is an `OptionError` when the session is made.
   * @default the engine's
   */
  statementTimeout?: number
  /**
   * Stops the waiting for a connection, or the statement under way by throwing the connection away; either rejects with
   * an `AbortedError`. What comes after it is refused, except `rollback()` and `close()`.
   * @default none
   */
  signal?: AbortSignal
}

/** What a session holds while it has a connection. */
interface Hold {
  readonly lease: Lease<Connection>
  readonly autocommit: Scope
  /** Where its statements go. */
  scope: Scope
}

/**
 * One unit of work: a Drizzle handle on one connection, which is checked out at the first statement. Statements belong
 * to a transaction begun at the first of them; `commit()` keeps them, `rollback()` and `close()` undo them. The rules
 * are those of SQLAlchemy's `Session`.
 */
export class Session<D extends Dialect = Dialect, Db = unknown, Models = unknown> implements AsyncDisposable {
  static readonly name: string = 'Session'

  /** The engine its connection comes from. */
  readonly engine: Engine<D, Db>
  /** The dialect of `db`, which tells the members of a union of sessions apart. */
  readonly dialect: D
  /** The tables its database was prepared for. */
  readonly models: Models
  readonly #options: SessionOptions
  readonly #limits: Limits
  /** What is known of the session when it is garbage-collected. */
  readonly #trace: SessionTrace
  #isWatched = false
  #db: Db | undefined
  #hold: Hold | null = null
  #opening: Promise<Hold> | null = null
  /** Ends the waiting for a connection. */
  #stopWaiting: ((reason: Error) => void) | null = null
  /** Why the transaction is gone, until `rollback()`. */
  #broken: Error | null = null
  #closed: Promise<void> | null = null

  constructor(engine: Engine<D, Db>, models: Models, options: SessionOptions = {}) {
    this.engine = engine
    this.dialect = engine.dialect
    this.models = models
    this.#options = options
    this.#limits = {
      statementTimeout: options.statementTimeout ?? engine.limits.statementTimeout,
      signal: options.signal,
      turnTimeout: engine.limits.turnTimeout,
    }
    if (options.statementTimeout !== undefined) checkSeconds('statementTimeout', options.statementTimeout)
    this.#trace = new SessionTrace(placeOf(Session), engine.sessionOpened())
  }

  /** The Drizzle handle of this session. Its `transaction()` sets a savepoint. */
  get db(): Db {
    this.#db ??= this.engine.handle(this.#executor())
    return this.#db
  }

  /** Whether `close()` was called. */
  get isClosed(): boolean {
    return this.#closed !== null
  }

  /** Whether statements would join a transaction that has begun. */
  get inTransaction(): boolean {
    return this.#hold !== null && this.#hold.scope !== this.#hold.autocommit
  }

  /**
   * Begins a transaction with options of its own; without it the first statement begins one with the server's defaults.
   * On PostgreSQL (postgres.js) one without options is sent with the first statement: `now()` is that moment, and what
   * stands in its way rejects there.
   * @throws DrizzleCeleryError with code `IN_TRANSACTION` when one has begun already
   */
  async begin(options: TransactionOptions = {}): Promise<void> {
    this.#refuse()
    if (this.#opening !== null) await this.#opening
    if (this.inTransaction) {
      throw new DrizzleCeleryError(
        'IN_TRANSACTION',
        'Cannot begin a transaction: this session is in one already. Call commit() or rollback() first, ' +
          'or use db.transaction() for a savepoint.',
      )
    }
    await this.#open(options, true)
  }

  /**
   * Keeps what was done since the transaction began. Without a transaction it does nothing.
   * @throws TransactionConflictError when others were in its way: all of it can be run again; TransactionAbortedError
   * when a statement had failed on PostgreSQL; PendingRollbackError after the connection was lost; ConnectionLostError
   * when it is lost during the commit, whose outcome is then unknown. After any of these the session wants a
   * `rollback()`.
   */
  async commit(): Promise<void> {
    this.#refuse()
    const hold = await this.#settled()
    if (hold === null || !this.inTransaction) return
    try {
      await hold.scope.commit()
    } catch (error) {
      this.#broken = error instanceof Error ? error : new Error(String(error))
      // It may never have come to a commit; where it did, this does nothing.
      await hold.scope.rollback()
      throw error
    } finally {
      await this.#ended(hold)
    }
  }

  /** Undoes what was done since the transaction began; after a lost connection it makes the session usable again. */
  async rollback(): Promise<void> {
    if (this.#closed !== null) throw new ClosedError('session')
    await this.#rollback()
  }

  /**
   * Rolls back what was not committed and gives the connection back. Who still waits for a connection is told `CLOSED`
   * at once. Safe to call twice.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Safe to print: no password. */
  toJSON(): object {
    return { dialect: this.dialect, isClosed: this.isClosed, inTransaction: this.inTransaction }
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    const state = this.isClosed ? 'closed' : this.inTransaction ? 'in a transaction' : 'idle'
    return `Session(${this.dialect}, ${state})`
  }

  #executor(): Executor {
    return {
      run: (statement) => this.#run(statement),
      begin: (options) => this.#beginInner(options),
    }
  }

  #run(statement: Statement): Promise<unknown> {
    const refusal = this.#refusal()
    if (refusal !== null) return Promise.reject(refusal)
    const scope = this.#readyScope
    if (scope !== null) return scope.run(statement)
    return this.#open({}).then((hold) => hold.scope.run(statement))
  }

  async #beginInner(options?: TransactionOptions): Promise<Transaction> {
    this.#refuse()
    const scope = this.#readyScope ?? (await this.#open({})).scope
    return scope.begin(options)
  }

  /** Where statements may go at once; `null` when a connection or a transaction is needed first. */
  get #readyScope(): Scope | null {
    if (this.#hold === null || this.#opening !== null) return null
    return this.inTransaction || this.#options.autocommit ? this.#hold.scope : null
  }

  /** Checks out a connection and begins, once for all callers that come meanwhile. */
  #open(options: TransactionOptions, isExplicit = false): Promise<Hold> {
    this.#opening ??= this.#checkoutAndBegin(options, isExplicit).finally(() => {
      this.#opening = null
      this.#stopWaiting = null
    })
    return this.#opening
  }

  async #checkoutAndBegin(options: TransactionOptions, isExplicit: boolean): Promise<Hold> {
    const hold = this.#hold ?? (await this.#checkout())
    this.#keep(hold)
    try {
      if (isExplicit || !this.#options.autocommit) hold.scope = await hold.autocommit.begin(options)
      return hold
    } catch (error) {
      await this.#letGo(hold)
      throw error
    }
  }

  async #checkout(): Promise<Hold> {
    if (!this.#isWatched) watch(this, this.#trace)
    this.#isWatched = true
    const lease = await this.engine.checkout({
      signal: this.#options.signal,
      ownConnection: this.#options.shortLivedSessions,
      onWait: (leave) => {
        this.#stopWaiting = leave
      },
    })
    if (this.#closed !== null) {
      lease.release()
      throw new ClosedError('session')
    }
    return holdOf(lease, this.#limits)
  }

  /** What is held, once it is no longer being opened. */
  async #settled(): Promise<Hold | null> {
    if (this.#opening !== null) await this.#opening.catch(() => {})
    return this.#hold
  }

  async #rollback(): Promise<void> {
    const hold = await this.#settled()
    this.#broken = null
    if (hold === null) return
    if (hold.scope !== hold.autocommit) await hold.scope.rollback()
    await this.#ended(hold)
  }

  async #close(): Promise<void> {
    this.#stopWaiting?.(new ClosedError('session'))
    try {
      await this.#rollback()
      if (this.#hold !== null) await this.#letGo(this.#hold)
    } finally {
      unwatch(this)
      this.#trace.closed()
    }
  }

  /** The transaction is over: pooled connections go back, those of its own are kept until the session is closed. */
  async #ended(hold: Hold): Promise<void> {
    const isKept = this.#options.shortLivedSessions || this.#options.autocommit
    if (!isKept || hold.lease.connection.lost !== null) await this.#letGo(hold)
    else hold.scope = hold.autocommit
  }

  #keep(hold: Hold | null): void {
    this.#hold = hold
    this.#trace.hold = hold
  }

  #letGo(hold: Hold): Promise<void> {
    if (this.#hold === hold) this.#keep(null)
    return hold.autocommit.close()
  }

  #refuse(): void {
    const refusal = this.#refusal()
    if (refusal !== null) throw refusal
  }

  #refusal(): Error | null {
    if (this.#closed !== null) return new ClosedError('session')
    const broken = this.#broken ?? this.#hold?.lease.connection.lost
    return broken ? new PendingRollbackError({ cause: broken }) : null
  }
}

/** Made here, where nothing leads to the session that is watched: closures keep what their neighbours use. */
function holdOf(lease: Lease<Connection>, limits: Limits): Hold {
  const autocommit = Scope.autocommit(lease.connection, limits)
  autocommit.onEnd = () => lease.release()
  return { lease, autocommit, scope: autocommit }
}

/** What a session leaves when it is garbage-collected unclosed. */
class SessionTrace implements Trace {
  readonly what = 'session'
  readonly place: Place
  hold: Hold | null = null
  readonly #sessionClosed: () => void

  constructor(place: Place, sessionClosed: () => void) {
    this.place = place
    this.#sessionClosed = sessionClosed
  }

  /** The session is closed. */
  closed(): void {
    this.#sessionClosed()
  }

  letGo(): void {
    const closed = this.hold === null ? Promise.resolve() : this.hold.autocommit.close()
    void closed.then(() => this.closed())
  }
}
