import type { Dialect } from '../dburi/types.ts'
import { isPending } from '../driver/deadline.ts'
import type { Statement } from '../driver/statement.ts'
import type {
  Connection,
  Cursor,
  DrizzleLogger,
  Executor,
  Transaction,
  TransactionOptions,
} from '../driver/types.ts'
import type { Engine } from '../engine/engine.ts'
import { type Origin, originOf, unwatch, watch } from '../engine/leaks.ts'
import {
  type Limited,
  limitedHandle,
  STATEMENT_CHECKS,
  type StatementOptions,
  streamOf,
} from '../engine/limited.ts'
import { type Limits, limitsWithin, untilStopped } from '../engine/limits.ts'
import { assertOfDialect, refuseAll, TRANSACTION_CHECKS, transactionOptionsOf } from '../engine/options.ts'
import type { Lease } from '../engine/pool-rules.ts'
import type { Scope } from '../engine/scope.ts'
import type { StreamOptions, StreamSource } from '../engine/stream.ts'
import { ClosedError, PendingRollbackError, toError } from '../errors.ts'
import { aFlag, type Checks, checkOptions } from '../options/check.ts'
import {
  type Closed,
  type Connected,
  committed,
  cursorWithout,
  type Ending,
  type Hold,
  hasBegun,
  holdOf,
  holdWithin,
  IDLE,
  type Idle,
  inTransaction,
  isEnding,
  Opening,
  SessionTrace,
  type Settled,
  type State,
  settled,
} from './states.ts'

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
  autocommit?: boolean | undefined
  /**
   * A connection of its own, opened at the first statement, kept between transactions and closed with the session, for
   * what is not to be left on a shared one. It counts for the limit of the pool.
   * @default false
   */
  shortLivedSessions?: boolean | undefined
  /**
   * Seconds a statement may take, above 0. One that takes longer rejects with a `StatementTimeoutError`, whether it took
   * effect is unknown, and the connection is thrown away: the session then wants a `rollback()` or `close()`. A wrong
   * value is an `OptionError` when the session is made.
   * @default the engine's
   */
  statementTimeout?: number | undefined
  /**
   * Ends the wait for a connection, or a running statement by throwing the connection away; either rejects with an
   * `AbortedError`. Later calls are refused, except `rollback()` and `close()`.
   * @default none
   */
  signal?: AbortSignal | undefined
  /** Drizzle's logger for the statements of this session; it sees the bound parameters. @default the engine's */
  logger?: DrizzleLogger | undefined
}

/** What each option of a session must be. */
export const SESSION_CHECKS: Checks<SessionOptions> = {
  autocommit: aFlag,
  shortLivedSessions: aFlag,
  ...STATEMENT_CHECKS,
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
  /** Whose connection it shares. */
  readonly #outer: Session | null
  /** What its transactions are begun with. */
  readonly #transactionOptions: TransactionOptions
  readonly #limits: Limits
  /** For the warning when the session is garbage-collected unclosed. Must not reference the session. */
  readonly #trace: SessionTrace
  #state: State = IDLE
  #hasCommitted = false
  /** Why its transaction can only be rolled back: work that joined it failed. */
  #doom: Error | null = null
  #db: Db | undefined
  /** Ends the waiting for a connection. */
  #stopWaiting: ((reason: Error) => void) | null = null

  /** @param outer whose connection it shares: its own transactions are savepoints there */
  constructor(
    engine: Engine<D, Db>,
    models: Models,
    options: SessionOptions = {},
    outer: Session | null = null,
    origin: Origin | null = originOf(Session),
  ) {
    assertNoneMisplaced(engine.dialect, options)
    this.#engine = engine
    this.#outer = outer
    this.dialect = engine.dialect
    this.models = models
    this.#options = options
    // A savepoint is as the transaction that it is in.
    this.#transactionOptions = outer === null ? transactionOptionsOf(options) : {}
    engine.warnOfDeadline(options.statementTimeout)
    this.#limits = limitsWithin(outer?.limits ?? engine.limits, options)
    this.#trace = new SessionTrace(engine.seenAs.dburi, origin, engine.sessionOpened())
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

  /**
   * A handle of this session whose statements have a deadline, a signal or a logger of their own: `session.with({ signal }).db`.
   * One that is stopped while it runs costs the connection, as a deadline of the session does; one whose turn has not come is not sent.
   * @throws OptionError
   */
  with(options: StatementOptions): Limited<Db> {
    checkOptions('with', options, STATEMENT_CHECKS)
    this.#engine.warnOfDeadline(options.statementTimeout)
    const { logger = this.#options.logger } = options
    const limits = limitsWithin(this.#limits, options)
    return limitedHandle({
      ...this.#streamSource(limits, logger),
      db: () => this.#engine.handle(this.#executor(limits), logger),
    })
  }

  /**
   * The rows of a select, a batch at a time, in the transaction of this session. Rows are mapped as Drizzle maps them.
   * Breaking out of the loop ends the select; its transaction goes on. On MySQL, where the rows come by the connection's one
   * stream, other statements of the session are refused until then.
   * @param query what `db.select().from(…)` or `db.query.….findMany()` returns, not awaited
   * @throws OptionError; StatementError for what is no select, in a session with `autocommit`, and on libSQL, whose driver
   * gives all rows at once
   */
  stream<Row>(
    query: PromiseLike<readonly Row[]>,
    options: StreamOptions = {},
  ): AsyncGenerator<Row, void, undefined> {
    return streamOf(this.#streamSource(), query, options)
  }

  /** What its statements are held to. @internal */
  get limits(): Limits {
    return this.#limits
  }

  /** How it was opened. @internal */
  get options(): SessionOptions {
    return this.#options
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
   * statement begins one as the session's options say. On a PostgreSQL server it is sent with the first statement:
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
    else if (this.#doom !== null) throw new PendingRollbackError({ cause: this.#doom })
  }

  /** Lets its transaction be rolled back only: `commit()` does that, and rejects. @internal */
  doom(cause: Error): void {
    if (!this.#options.autocommit) this.#doom ??= cause
  }

  /**
   * Undoes what was done since the transaction began; after a lost connection it makes the session usable again. A commit
   * under way is waited for; its own caller gets its outcome.
   */
  async rollback(): Promise<void> {
    const state = this.#state
    if (state.is === 'closed') throw new ClosedError('session')
    this.#doom = null
    if (state.is === 'rolling back') await state.next
    else if (hasBegun(state) || this.#refusal() !== null) {
      await this.#end('rolling back', this.#rollback(state))
    }
  }

  /**
   * Rolls back what was not committed and gives the connection back. A caller that still waits for a connection rejects
   * with `CLOSED` at once. Safe to call twice.
   */
  close(): Promise<void> {
    if (this.#state.is === 'closed') return this.#state.next
    const next = this.#close(this.#state)
    this.#move({ is: 'closed', next })
    return next
  }

  /** Something was kept by it. @internal */
  get hasCommitted(): boolean {
    return this.#hasCommitted
  }

  /** For `await using`: `close()`. */
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

  /** @param limits of statements; without them those of the level that they come to */
  #executor(limits?: Limits): Executor {
    return {
      run: (statement) => this.#run(statement, limits),
      begin: (options) => this.#beginInner(options, limits),
      openCursor: (statement, batch) => this.#openCursor(statement, batch, limits),
    }
  }

  #streamSource(limits?: Limits, logger = this.#options.logger): StreamSource {
    return {
      handle: (executor, other = logger) => this.#engine.handle(executor, other),
      openCursor: (statement, batch) => this.#openCursor(statement, batch, limits),
    }
  }

  async #openCursor(statement: Statement, batch: number, limits?: Limits): Promise<Cursor> {
    const scope = await untilStopped(this.scope(limits), limits)
    if (!this.inTransaction) throw cursorWithout()
    return scope.openCursor(statement, batch, limits)
  }

  #run(statement: Statement, limits: Limits | undefined): Promise<unknown> {
    const refusal = this.#refusal()
    if (refusal !== null) return Promise.reject(refusal)
    const from = this.#state
    const opened = this.#opened(limits)
    if (!isPending(opened)) return opened.scope.run(statement, limits)
    return untilStopped(opened, limits).then(
      ({ scope }) => scope.run(statement, limits),
      (error: unknown) => {
        const isOthers = from.is === 'opening' && from.wasEndedByOthers(error, this.#limitsToBegin(limits))
        if (isOthers) return this.#run(statement, limits)
        throw error
      },
    )
  }

  async #beginInner(options?: TransactionOptions, limits?: Limits): Promise<Transaction> {
    const scope = await untilStopped(this.scope(limits), limits)
    return scope.begin(options, limits, this.#limitsToBegin(limits))
  }

  /** Where its statements go; its transaction is begun for it. @internal */
  async scope(limits?: Limits): Promise<Scope> {
    this.#assertUsable()
    const { scope } = await this.#opened(limits)
    return scope
  }

  /** Whether statements may run at once; if not, a connection or a transaction is needed first. */
  #isReady(state: State): state is Connected {
    return state.is === 'in transaction' || (state.is === 'connected' && this.#options.autocommit === true)
  }

  /** Ready for statements, begun by the deadline of the first; opened once for all callers that come meanwhile, and without a promise where it can be. */
  #opened(limits?: Limits): Connected | Promise<Connected> {
    const state = this.#state
    if (this.#isReady(state)) return state
    // Not one turn later: what is called next must not overtake.
    if (state.is === 'opening') return state.next
    return this.#open(this.#options.autocommit ? null : this.#transactionOptions, limits)
  }

  /** By the deadline of the statement that needs it begun; its signal must not end what others share. */
  #limitsToBegin({ statementTimeout }: Partial<Limits> = {}): Limits {
    return statementTimeout === undefined ? this.#limits : limitsWithin(this.#limits, { statementTimeout })
  }

  /** Moves to a state; when its promise settles, on to the next one, unless another call has moved the session meanwhile. */
  #move(state: State): void {
    this.#state = state
    if (state.is !== 'opening' && !isEnding(state)) return
    const moveOn = (next: Settled) => {
      if (this.#state === state) this.#move(next)
    }
    // Registered first, so that other waiters of this promise find the state already changed.
    state.next.then(moveOn, () => moveOn(IDLE))
  }

  /** @param options of the transaction to begin; `null` for none */
  #open(options: TransactionOptions | null, limits?: Limits): Connected | Promise<Connected> {
    const from = this.#state
    const opening = new Opening(options !== null, this.#limitsToBegin(limits).statementTimeout)
    // Before anything is done: those who are told of it may call the session.
    this.#state = opening
    const opened = opening.became(this.#connect(from, options, limits))
    if (this.#state === opening) this.#move(isPending(opened) ? opening : opened)
    return opened
  }

  #connect(from: State, options: TransactionOptions | null, limits?: Limits): Connected | Promise<Connected> {
    if (from.is === 'opening') return from.next.then(({ hold }) => this.#begin(hold, options, limits))
    const hold = from.is === 'connected' ? from.hold : this.#checkout()
    if (!isPending(hold)) return this.#begin(hold, options, limits)
    return hold.then((held) => this.#begin(held, options, limits))
  }

  #begin(hold: Hold, options: TransactionOptions | null, limits?: Limits): Connected | Promise<Connected> {
    if (options === null) return { is: 'connected', hold, scope: hold.level }
    const begun = (scope: Scope): Connected => ({ is: 'in transaction', hold, scope })
    const failed = async (error: unknown): Promise<never> => {
      await this.#letGo(hold)
      throw error
    }
    try {
      const scope = hold.level.beginNow(options, this.#limits, this.#limitsToBegin(limits))
      return isPending(scope) ? scope.then(begun, failed) : begun(scope)
    } catch (error) {
      return failed(error)
    }
  }

  #checkout(): Hold | Promise<Hold> {
    if (this.#outer !== null) return this.#holdWithin(this.#outer)
    const lease = this.#engine.checkout({
      signal: this.#options.signal,
      ownConnection: this.#options.shortLivedSessions,
      onWait: (leave) => {
        this.#stopWaiting = leave
      },
    })
    return isPending(lease) ? this.#holdGranted(lease) : this.#keep(holdOf(lease, this.#limits))
  }

  async #holdWithin(outer: Session): Promise<Hold> {
    const hold = holdWithin(await untilStopped(outer.scope(this.#limits), this.#limits))
    if (this.isClosed) throw new ClosedError('session')
    return this.#keep(hold)
  }

  async #holdGranted(granted: Promise<Lease<Connection>>): Promise<Hold> {
    const lease = await granted
    this.#stopWaiting = null
    if (!this.isClosed) return this.#keep(holdOf(lease, this.#limits))
    await lease.release()
    throw new ClosedError('session')
  }

  #keep(hold: Hold): Hold {
    this.#trace.hold = hold
    return hold
  }

  #end(how: Ending['is'], next: Promise<Settled>): Promise<Settled> {
    this.#move({ is: how, next })
    return next
  }

  async #commit(from: Connected | Opening): Promise<Settled> {
    const state = from.is === 'opening' ? await settled(from) : from
    if (state.is !== 'in transaction') return state
    const { hold, scope } = state
    try {
      if (this.#doom !== null) throw new PendingRollbackError({ cause: this.#doom })
      await scope.commit()
    } catch (error) {
      // Rolls back if no commit was reached; otherwise this does nothing.
      await scope.rollback()
      const cause = toError(error)
      const rest = await this.#ended(hold)
      return { is: 'broken', hold: rest.is === 'idle' ? null : hold, cause }
    }
    this.#hasCommitted = true
    return await this.#ended(hold)
  }

  async #rollback(from: Exclude<State, Closed>): Promise<Settled> {
    const state = await settled(from)
    if (state.is === 'in transaction') await state.scope.rollback()
    return state.is === 'idle' || state.hold === null ? IDLE : this.#ended(state.hold)
  }

  async #close(from: Exclude<State, Closed>): Promise<void> {
    this.#stopWaiting?.(new ClosedError('session'))
    try {
      const state = from.is === 'idle' ? from : await settled(from)
      if (state.is !== 'idle' && state.hold !== null) {
        await this.#letGo(state.hold, state.is === 'broken' ? null : state.scope)
      }
    } finally {
      unwatch(this)
      this.#trace.closed()
    }
  }

  /** The transaction is over: pooled connections go back, those of its own are kept until the session is closed. */
  async #ended(hold: Hold): Promise<Idle | Connected> {
    const isKept = this.#options.shortLivedSessions || this.#options.autocommit
    if (isKept && hold.connection.lost === null) return { is: 'connected', hold, scope: hold.level }
    await this.#letGo(hold)
    return IDLE
  }

  /** Rolls back what is open, and gives the connection back. */
  #letGo(hold: Hold, open: Scope | null = null): Promise<void> {
    this.#trace.hold = null
    return hold.close(open)
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
        const { lost } = state.hold.connection
        return lost === null ? null : new PendingRollbackError({ cause: lost })
      }
      default:
        return null
    }
  }
}
