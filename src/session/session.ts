import type { Dialect } from '../dburi/types.ts'
import type { Statement } from '../driver/statement.ts'
import type { Connection, DrizzleLogger, Executor, Transaction, TransactionOptions } from '../driver/types.ts'
import type { Engine } from '../engine/engine.ts'
import { type Origin, originOf, type Trace, unwatch, watch } from '../engine/leaks.ts'
import { assertOfDialect, refuseAll, TRANSACTION_CHECKS, transactionOptionsOf } from '../engine/options.ts'
import type { Lease } from '../engine/pool.ts'
import { type Limits, Scope } from '../engine/scope.ts'
import { ClosedError, DrizzleCeleryError, PendingRollbackError } from '../errors.ts'
import { aDeadline, aFlag, aLogger, aSignal, type Checks, checkOptions } from '../options/check.ts'

/**
 * How a session is opened. `isolationLevel`, `readOnly` and the other options of a transaction are those of each that it
 * begins; `begin()` overrules them for one.
 */
export interface SessionOptions extends TransactionOptions {
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
  /** Passed on to Drizzle for the statements of this session; it is given the bound parameters. @default the engine's */
  logger?: DrizzleLogger
}

/** What each option of a session must be. */
export const SESSION_CHECKS: Checks<SessionOptions> = {
  autocommit: aFlag,
  shortLivedSessions: aFlag,
  statementTimeout: aDeadline,
  signal: aSignal,
  logger: aLogger,
  ...TRANSACTION_CHECKS,
}

/**
 * Refuses options that a session on this dialect cannot have.
 * @throws OptionError
 */
export function assertNoneMisplaced(dialect: Dialect, options: SessionOptions): void {
  if (options.autocommit) refuseAll(options)
  assertOfDialect(dialect, options)
}

/** What a session holds while it has a connection. */
interface Hold {
  readonly lease: Lease<Connection>
  readonly autocommit: Scope
}

/**
 * Where a session stands, as SQLAlchemy's `SessionTransactionState` has it. While it is opening or ending, calls that ask
 * for the same share the outcome, and calls that ask for something else wait or are refused.
 */
type State = Settled | Opening | Ending | Closed

type Settled = Idle | Connected | Broken

interface Idle {
  readonly is: 'idle'
}

/** It has a connection; statements go to `scope`. */
interface Connected {
  readonly is: 'connected' | 'in transaction'
  readonly hold: Hold
  readonly scope: Scope
}

/** The transaction is gone until `rollback()`. */
interface Broken {
  readonly is: 'broken'
  readonly hold: Hold | null
  readonly cause: Error
}

interface Opening {
  readonly is: 'opening'
  /** Whether a transaction is begun too. */
  readonly begins: boolean
  readonly next: Promise<Connected>
}

interface Ending {
  readonly is: 'committing' | 'rolling back'
  /** Never rejects: a commit that fails leaves the session broken. */
  readonly next: Promise<Settled>
}

interface Closed {
  readonly is: 'closed'
  readonly next: Promise<void>
}

const IDLE: Idle = { is: 'idle' }

/**
 * One unit of work: a Drizzle handle on one connection, which is checked out at the first statement. Statements belong
 * to a transaction begun at the first of them; `commit()` keeps them, `rollback()` and `close()` undo them. The rules
 * are those of SQLAlchemy's `Session`.
 */
export class Session<D extends Dialect = Dialect, Db = unknown, Models = unknown> implements AsyncDisposable {
  static readonly name: string = 'Session'

  /** The dialect of `db`, the discriminant of a union of sessions. */
  readonly dialect: D
  /** The tables its database was prepared for. */
  readonly models: Models
  readonly #engine: Engine<D, Db>
  readonly #options: SessionOptions
  /** What its transactions are begun with. */
  readonly #transactionOptions: TransactionOptions
  readonly #limits: Limits
  /** What is known of the session when it is garbage-collected. */
  readonly #trace: SessionTrace
  #state: State = IDLE
  #db: Db | undefined
  /** Ends the waiting for a connection. */
  #stopWaiting: ((reason: Error) => void) | null = null

  constructor(engine: Engine<D, Db>, models: Models, options: SessionOptions = {}) {
    assertNoneMisplaced(engine.dialect, options)
    this.#engine = engine
    this.dialect = engine.dialect
    this.models = models
    this.#options = options
    this.#transactionOptions = transactionOptionsOf(options)
    engine.warnOfDeadline(options.statementTimeout)
    this.#limits = {
      statementTimeout: options.statementTimeout ?? engine.limits.statementTimeout,
      signal: options.signal,
      turnTimeout: engine.limits.turnTimeout,
    }
    this.#trace = new SessionTrace(originOf(Session), engine.sessionOpened())
    watch(this, this.#trace)
  }

  /** The engine its connection comes from, with the `statementTimeout` and the `logger` of the session. */
  get engine(): Engine<D, Db> {
    return this.#engine.within(this.#options)
  }

  /** The Drizzle handle of this session. Its `transaction()` sets a savepoint. */
  get db(): Db {
    this.#db ??= this.#engine.handle(this.#executor(), this.#options.logger)
    return this.#db
  }

  /** Whether `close()` was called. */
  get isClosed(): boolean {
    return this.#state.is === 'closed'
  }

  /** Whether statements would join a transaction that has begun. */
  get inTransaction(): boolean {
    return this.#state.is === 'in transaction'
  }

  /**
   * Begins a transaction with options of its own, which overrule those of the session one by one; without it the first
   * statement begins one as the session's options say. On PostgreSQL (postgres.js) it is sent with the first statement:
   * `now()` is that moment, and what stands in its way rejects there.
   * @throws OptionError for what the dialect has not; DrizzleCeleryError with code `IN_TRANSACTION` when one has begun, is being begun, or is not ended yet
   */
  async begin(options: TransactionOptions = {}): Promise<void> {
    checkOptions('begin', options, TRANSACTION_CHECKS)
    const asked = transactionOptionsOf(options, this.#transactionOptions)
    assertOfDialect(this.dialect, asked)
    if (isEnding(this.#state)) throw inTransaction()
    this.#assertUsable()
    if (hasBegun(this.#state)) throw inTransaction()
    await this.#open(asked)
  }

  /**
   * Keeps what was done since the transaction began. Without a transaction it does nothing; called while a commit is
   * under way it shares the outcome.
   * @throws TransactionConflictError when others were in its way: all of it can be run again; TransactionAbortedError
   * when a statement had failed on PostgreSQL; PendingRollbackError after the connection was lost; ConnectionLostError
   * when it is lost during the commit, whose outcome is then unknown. After any of these the session wants a
   * `rollback()`. ClosedError while it is being rolled back.
   */
  async commit(): Promise<void> {
    const state = this.#state
    if (state.is === 'committing') return committed(await state.next)
    this.#assertUsable()
    if (hasBegun(state)) committed(await this.#end('committing', this.#commit(state)))
  }

  /**
   * Undoes what was done since the transaction began; after a lost connection it makes the session usable again. A commit
   * under way is waited for; its own caller gets its outcome.
   */
  async rollback(): Promise<void> {
    const state = this.#state
    if (state.is === 'closed') throw new ClosedError('session')
    if (state.is === 'rolling back') await state.next
    else if (hasBegun(state) || this.#refusal() !== null) {
      await this.#end('rolling back', this.#rollback(state))
    }
  }

  /**
   * Rolls back what was not committed and gives the connection back. Who still waits for a connection is told `CLOSED`
   * at once. Safe to call twice.
   */
  close(): Promise<void> {
    if (this.#state.is === 'closed') return this.#state.next
    const next = this.#close(this.#state)
    this.#move({ is: 'closed', next })
    return next
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
    const state = this.#state
    if (this.#isReady(state)) return state.scope.run(statement)
    return this.#opened().then(({ scope }) => scope.run(statement))
  }

  async #beginInner(options?: TransactionOptions): Promise<Transaction> {
    this.#assertUsable()
    const state = this.#state
    const { scope } = this.#isReady(state) ? state : await this.#opened()
    return scope.begin(options)
  }

  /** Whether statements may run at once; if not, a connection or a transaction is needed first. */
  #isReady(state: State): state is Connected {
    return state.is === 'in transaction' || (state.is === 'connected' && this.#options.autocommit === true)
  }

  /** Ready for statements; opened once for all callers that come meanwhile. */
  #opened(): Promise<Connected> {
    if (this.#state.is === 'opening') return this.#state.next
    return this.#open(this.#options.autocommit ? null : this.#transactionOptions)
  }

  /** Moves to a state, and from one that passes on to the next, unless another call has moved the session meanwhile. */
  #move(state: State): void {
    this.#state = state
    if (state.is !== 'opening' && !isEnding(state)) return
    const moveOn = (next: Settled) => {
      if (this.#state === state) this.#move(next)
    }
    // The first to be told: who waits for the same promise finds the session moved.
    state.next.then(moveOn, () => moveOn(IDLE))
  }

  /** @param options of the transaction to begin; `null` for none */
  #open(options: TransactionOptions | null): Promise<Connected> {
    const next = this.#connect(this.#state, options)
    this.#move({ is: 'opening', begins: options !== null, next })
    return next
  }

  async #connect(from: State, options: TransactionOptions | null): Promise<Connected> {
    const { hold } =
      from.is === 'opening' ? await from.next : from.is === 'connected' ? from : await this.#checkout()
    if (options === null) return { is: 'connected', hold, scope: hold.autocommit }
    try {
      return { is: 'in transaction', hold, scope: await hold.autocommit.begin(options) }
    } catch (error) {
      await this.#letGo(hold)
      throw error
    }
  }

  async #checkout(): Promise<{ hold: Hold }> {
    const lease = await this.#engine.checkout({
      signal: this.#options.signal,
      ownConnection: this.#options.shortLivedSessions,
      onWait: (leave) => {
        this.#stopWaiting = leave
      },
    })
    this.#stopWaiting = null
    if (this.isClosed) {
      await lease.release()
      throw new ClosedError('session')
    }
    const hold = holdOf(lease, this.#limits)
    this.#trace.hold = hold
    return { hold }
  }

  #end(how: Ending['is'], next: Promise<Settled>): Promise<Settled> {
    this.#move({ is: how, next })
    return next
  }

  async #commit(from: Connected | Opening): Promise<Settled> {
    const state = await settled(from)
    if (state.is !== 'in transaction') return state
    const { hold, scope } = state
    try {
      await scope.commit()
    } catch (error) {
      // It may never have come to a commit; where it did, this does nothing.
      await scope.rollback()
      const cause = error instanceof Error ? error : new Error(String(error))
      const rest = await this.#ended(hold)
      return { is: 'broken', hold: rest.is === 'idle' ? null : hold, cause }
    }
    return this.#ended(hold)
  }

  async #rollback(from: Exclude<State, Closed>): Promise<Settled> {
    const state = await settled(from)
    if (state.is === 'in transaction') await state.scope.rollback()
    return state.is === 'idle' || state.hold === null ? IDLE : this.#ended(state.hold)
  }

  async #close(from: Exclude<State, Closed>): Promise<void> {
    this.#stopWaiting?.(new ClosedError('session'))
    try {
      const state = await settled(from)
      if (state.is !== 'idle' && state.hold !== null) await this.#letGo(state.hold)
    } finally {
      unwatch(this)
      this.#trace.closed()
    }
  }

  /** The transaction is over: pooled connections go back, those of its own are kept until the session is closed. */
  async #ended(hold: Hold): Promise<Idle | Connected> {
    const isKept = this.#options.shortLivedSessions || this.#options.autocommit
    if (isKept && hold.lease.connection.lost === null)
      return { is: 'connected', hold, scope: hold.autocommit }
    await this.#letGo(hold)
    return IDLE
  }

  /** Rolls back what is open, and gives the connection back. */
  #letGo(hold: Hold): Promise<void> {
    this.#trace.hold = null
    return hold.autocommit.close()
  }

  #assertUsable(): void {
    const refusal = this.#refusal()
    if (refusal !== null) throw refusal
  }

  /** Why nothing runs now; `null` if it may. */
  #refusal(): Error | null {
    const state = this.#state
    switch (state.is) {
      case 'closed':
        return new ClosedError('session')
      case 'committing':
      case 'rolling back':
        return new ClosedError('transaction', { reason: `a call is ${state.is} it. Await that call first` })
      case 'broken':
        return new PendingRollbackError({ cause: state.cause })
      case 'connected':
      case 'in transaction': {
        const { lost } = state.hold.lease.connection
        return lost === null ? null : new PendingRollbackError({ cause: lost })
      }
      default:
        return null
    }
  }
}

function isEnding(state: State): state is Ending {
  return state.is === 'committing' || state.is === 'rolling back'
}

/** Whether there is a transaction to commit, or will be. */
function hasBegun(state: State): state is Connected | Opening {
  return state.is === 'in transaction' || (state.is === 'opening' && state.begins)
}

/** What a state comes to. Who asked for an opening that fails is told by that call. */
function settled(state: Exclude<State, Closed>): Promise<Settled> | Settled {
  if (state.is === 'opening') return state.next.catch(() => IDLE)
  return isEnding(state) ? state.next : state
}

function committed(state: Settled): void {
  if (state.is === 'broken') throw state.cause
}

function inTransaction(): DrizzleCeleryError {
  return new DrizzleCeleryError(
    'IN_TRANSACTION',
    'Cannot begin a transaction: this session is in one already. Await commit() or rollback() first, ' +
      'or use db.transaction() for a savepoint.',
  )
}

/** Made here, where nothing leads to the session that is watched: closures keep what their neighbours use. */
function holdOf(lease: Lease<Connection>, limits: Limits): Hold {
  const autocommit = Scope.autocommit(lease.connection, limits, lease.askedAt)
  autocommit.onEnd = () => lease.release()
  return { lease, autocommit }
}

/** What a session leaves when it is garbage-collected unclosed. */
class SessionTrace implements Trace {
  readonly what = 'session'
  readonly origin: Origin
  isUnused = true
  #hold: Hold | null = null
  readonly #sessionClosed: () => void

  constructor(origin: Origin, sessionClosed: () => void) {
    this.origin = origin
    this.#sessionClosed = sessionClosed
  }

  set hold(hold: Hold | null) {
    this.isUnused = false
    this.#hold = hold
  }

  /** The session is closed. */
  closed(): void {
    this.#sessionClosed()
  }

  letGo(): void {
    const closed = this.#hold === null ? Promise.resolve() : this.#hold.autocommit.close()
    void closed.then(() => this.closed())
  }
}
