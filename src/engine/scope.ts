import { isPending } from '../driver/deadline.ts'
import { Fifo } from '../driver/fifo.ts'
import type { Statement } from '../driver/statement.ts'
import type { Connection, Cursor, Transaction, TransactionOptions, WaitOptions } from '../driver/types.ts'
import {
  ClosedError,
  PendingRollbackError,
  StatementError,
  TransactionAbortedError,
  toError,
} from '../errors.ts'
import { type Limits, runWithin, unsent, untilStopped } from './limits.ts'
import { noCursors } from './stream.ts'
import { type SeenTransaction, seenBeginning, seenRunning, seenStreaming } from './traced.ts'

/** How a level ends on its connection. */
interface Ending {
  /** Resolves to false when the database rolled back instead. */
  commit(): Promise<boolean>
  rollback(): Promise<unknown>
}

/** The level inside another one. */
interface Inner {
  /** `null` while it is on its way. */
  scope: Scope | null
  readonly openedAt: number
  /** Called when it has ended. */
  onEnded: (() => void) | null
  ended(): void
}

/** What waits for the inner level to end. */
interface Turn {
  readonly cameAt: number
  go(): void
  reject(error: Error): void
}

/** Seconds after which a connection that does not answer to a rollback is thrown away, which undoes everything too. */
const ROLLBACK_TIMEOUT = 5

const DONE = Promise.resolve()

const AUTOCOMMIT: Ending = { commit: async () => true, rollback: async () => {} }

/**
 * One level of a held connection: autocommit, a transaction, or a savepoint in one. A level has one inner level open
 * at a time; whatever else is asked of it meanwhile waits its turn, so that no statement slips into a transaction it
 * was not written for. Once a level is over, nothing of it or inside it reaches the connection again.
 */
export class Scope implements Transaction {
  readonly #connection: Connection
  readonly #limits: Limits
  readonly #outer: Scope | null
  readonly #depth: number
  readonly #ending: Ending
  /** What its transaction was begun with. */
  readonly #options: TransactionOptions
  #inner: Inner | null = null
  /** The end of the level: running, or done. */
  #over: Promise<void> | null = null
  /** The first failure that the database answered with. */
  #failure: unknown
  #running = 0
  /** When the first statement was asked for; `undefined` once it was sent. */
  #askedAt: number | undefined
  readonly #onQuiet: (() => void)[] = []
  readonly #turns = new Fifo<Turn>()
  #turnTimer: NodeJS.Timeout | undefined
  /** Where somebody listens to what becomes of it. */
  #seen: SeenTransaction | null = null
  /** Called once, when the level has ended. Who ended it waits for what it returns. */
  onEnd: (() => Promise<void> | void) | null = null

  private constructor(
    connection: Connection,
    limits: Limits,
    outer: Scope | null,
    ending: Ending,
    options: TransactionOptions = {},
  ) {
    this.#connection = connection
    this.#limits = limits
    this.#outer = outer
    this.#depth = outer === null ? 0 : outer.#depth + 1
    this.#ending = ending
    this.#options = options
  }

  /**
   * The outermost level: statements autocommit, `begin` begins a real transaction.
   * @param askedAt when its connection was asked for, if that was for the first statement
   */
  static autocommit(connection: Connection, limits: Limits, askedAt?: number): Scope {
    const scope = new Scope(connection, limits, null, AUTOCOMMIT)
    scope.#askedAt = askedAt
    return scope
  }

  /** Why its connection can never be used again; `null` while it can. */
  get lost(): Error | null {
    return this.#connection.lost
  }

  /** @param limits other than those of the level */
  run(statement: Statement, limits?: Limits): Promise<unknown> {
    if (this.#inner !== null) {
      const ran = this.#inTurn(() => this.run(statement, limits))
      return untilStopped(ran, limits)
    }
    const refusal = this.#refusal() ?? unsent(limits)
    if (refusal !== null) return Promise.reject(refusal)
    const wait = this.#takeWait()
    const connection = this.#connection
    // Counted first: those who are told of it may close this level.
    this.#running++
    const result = seenRunning(connection, statement, wait, this.#seen, (sent) =>
      runWithin(connection, () => connection.run(sent, wait), limits ?? this.#limits),
    )
    result.then(
      () => this.#settled(),
      (error: unknown) => {
        if (!(error instanceof StatementError)) this.#failure ??= error
        this.#settled()
      },
    )
    return result
  }

  /**
   * Opens a cursor, which ends with the level. Each fetch is held to the limits as a statement is, and waits its turn.
   * @throws StatementError where the driver has none
   */
  openCursor(statement: Statement, batch: number, limits: Limits = this.#limits): Promise<Cursor> {
    return this.#inTurn(async () => {
      const refusal = this.#refusal() ?? unsent(limits)
      if (refusal !== null) throw refusal
      const connection = this.#connection
      const open = connection.openCursor?.bind(connection)
      if (open === undefined) throw noCursors()
      return seenStreaming(connection, statement, batch, this.#seen, async (sent) => {
        const cursor = await runWithin(connection, () => open(sent, batch), limits)
        return {
          fetch: () =>
            this.#inTurn(() => {
              const refusal = this.#refusal()
              if (refusal !== null) return Promise.reject(refusal)
              return runWithin(connection, () => cursor.fetch(), limits)
            }),
          // With its level the cursor is gone, and the connection may be somebody else's.
          close: () =>
            this.#inTurn(async () => {
              if (this.#refusal() === null) await cursor.close()
            }),
        }
      })
    })
  }

  /**
   * @param limits other than those of the level, for what is run inside
   * @param toBegin the same, for beginning it
   */
  begin(options: TransactionOptions = {}, limits = this.#limits, toBegin = this.#limits): Promise<Scope> {
    return this.#inTurn(async () => await this.#begin(options, limits, toBegin))
  }

  /** The same without a promise, where nothing is waited for; it throws what would reject then. */
  beginNow(options: TransactionOptions, limits: Limits, toBegin = this.#limits): Scope | Promise<Scope> {
    return this.#inner === null ? this.#begin(options, limits, toBegin) : this.begin(options, limits, toBegin)
  }

  #begin(options: TransactionOptions, limits: Limits, toBegin: Limits): Scope | Promise<Scope> {
    const refusal = this.#refusal() ?? (limits === this.#limits ? null : unsent(limits))
    if (refusal !== null) throw refusal
    if (this.#outer !== null) assertSameAsOuter(options, this.#options)
    const inner = this.#openInner()
    const begunWith = this.#outer === null ? options : this.#options
    const seen = seenBeginning(this.#connection, this.#depth, this.#seen, begunWith)
    const begun = (ending: Ending) => {
      inner.scope = new Scope(this.#connection, limits, this, ending, begunWith)
      inner.scope.#seen = seen
      return inner.scope
    }
    const failed = (error: unknown): never => {
      seen?.failed(error)
      inner.ended()
      throw error
    }
    try {
      const ending = this.#beginEnding(options, toBegin)
      return isPending(ending)
        ? ending.then(begun).then((scope) => this.#unlessOver(scope), failed)
        : begun(ending)
    } catch (error) {
      return failed(error)
    }
  }

  /** What has begun, unless the level ended meanwhile. The end of a transaction has undone it too; a close has not. */
  async #unlessOver(scope: Scope): Promise<Scope> {
    if (this.#over === null) return scope
    await scope.#undo(this.#outer === null)
    throw new ClosedError('transaction')
  }

  #beginEnding(options: TransactionOptions, limits: Limits): Ending | Promise<Ending> {
    if (this.#outer !== null) return this.#setSavepoint(limits)
    // Not every driver keeps a statement that it takes several calls for out of a transaction begun after it.
    if (this.#running > 0) return this.#quiet().then(() => this.#beginTransaction(options, limits))
    return this.#beginTransaction(options, limits)
  }

  /**
   * Ends the level and keeps what was done in it.
   * @throws TransactionAbortedError when the database rolled back instead, since a statement had failed
   */
  commit(): Promise<void> {
    return this.#inTurn(() => {
      const refusal = this.#refusal()
      return refusal === null ? this.#endWith(this.#commit(), 'commit') : Promise.reject(refusal)
    })
  }

  /** Ends the level and undoes what was done in it. Passes silently when the connection is lost: all is undone then. */
  rollback(): Promise<void> {
    return this.#undo(!this.#isOutlived)
  }

  /** Ends the outermost level, after rolling back what is open inside it. Safe to call twice. */
  close(): Promise<void> {
    if (this.#over !== null) return this.#over
    if (this.#inner !== null || this.#running > 0) return this.#endWith(this.#closeInner(), 'rollback')
    this.#over = DONE
    this.#over = this.#leave() ?? DONE
    return this.#over
  }

  async #closeInner(): Promise<void> {
    const inner = this.#inner
    if (inner?.scope != null) await inner.scope.#undo(true)
    if (inner !== null && this.#inner === inner) {
      await new Promise<void>((resolve) => {
        inner.onEnded = resolve
      })
    }
    // A running statement must not reach the next holder, nor may its deadline break the connection under that one.
    await this.#quiet()
  }

  /** Resolves when no statement of this level is under way. */
  async #quiet(): Promise<void> {
    if (this.#running > 0) await new Promise<void>((resolve) => this.#onQuiet.push(resolve))
  }

  #settled(): void {
    this.#running--
    if (this.#running === 0) for (const resolve of this.#onQuiet.splice(0)) resolve()
  }

  /** @param reaches whether the connection is still ours */
  async #undo(reaches: boolean): Promise<void> {
    // The outcome of a running commit goes to its own caller.
    if (this.#over !== null) await this.#over.catch(() => {})
    else await this.#endWith(reaches ? this.#rollback() : Promise.resolve(), 'rollback')
  }

  #endWith(work: Promise<void>, outcome: 'commit' | 'rollback'): Promise<void> {
    const seen = this.#seen
    if (seen !== null) work.then(() => seen.ended(outcome), seen.failed)
    this.#over = this.#leaveAfter(work)
    return this.#over
  }

  async #leaveAfter(work: Promise<void>): Promise<void> {
    try {
      await work
    } finally {
      const left = this.#leave()
      if (left !== undefined) await left
    }
  }

  #leave(): Promise<void> | undefined {
    if (this.#outer !== null) this.#outer.#inner?.ended()
    return this.onEnd?.() ?? undefined
  }

  async #commit(): Promise<void> {
    try {
      if (!(await this.#ending.commit())) throw new TransactionAbortedError({ cause: this.#failure })
    } catch (error) {
      // A savepoint that cannot be released leaves its transaction failed: undo it, as the caller will expect.
      const isOurs = this.#connection.lost === null && !this.#isOutlived
      if (this.#depth > 1 && isOurs) await this.#ending.rollback().catch(() => {})
      throw error
    }
  }

  async #rollback(): Promise<void> {
    if (this.#connection.lost !== null) return
    try {
      await this.#ending.rollback()
    } catch (error) {
      this.#connection.discard(toError(error))
    }
  }

  #beginTransaction(options: TransactionOptions, limits: Limits): Ending | Promise<Ending> {
    const connection = this.#connection
    const within = <Result>(work: () => Promise<Result>, limits: Limits = this.#limits) =>
      runWithin(connection, work, limits)
    const ending: Ending = {
      commit: () => within(() => connection.commit()),
      // The signal stops statements, not the rollback. A server that does not answer must still be given up.
      rollback: () =>
        within(() => connection.rollback(), {
          statementTimeout: this.#limits.statementTimeout ?? ROLLBACK_TIMEOUT,
          turnTimeout: this.#limits.turnTimeout,
        }),
    }
    const wait = this.#takeWait()
    if (connection.beginLater === undefined || this.#limits.signal?.aborted)
      return within(() => connection.begin(options, wait), limits).then(() => ending)
    connection.beginLater(options)
    return ending
  }

  /** Only what comes first has waited for the connection. */
  #takeWait(): WaitOptions | undefined {
    const askedAt = this.#askedAt
    if (askedAt === undefined) return undefined
    this.#askedAt = undefined
    return { askedAt }
  }

  async #setSavepoint(limits: Limits): Promise<Ending> {
    // Levels nest strictly, so the depth makes a unique name.
    const name = `dc_${this.#depth}`
    const connection = this.#connection
    const within = (work: () => Promise<unknown>, limits = this.#limits) =>
      runWithin(connection, work, limits)
    const run = (sql: string) => connection.run({ sql, params: [], asArrays: false })
    await within(() => connection.savepoint?.(name) ?? run(`savepoint ${name}`), limits)
    return {
      commit: () =>
        within(() => connection.release?.(name) ?? run(`release savepoint ${name}`)).then(() => true),
      rollback: () => within(() => connection.rollbackTo?.(name) ?? run(`rollback to savepoint ${name}`)),
    }
  }

  /** An outer level is over, and this one with it. */
  get #isOutlived(): boolean {
    for (let scope = this.#outer; scope !== null; scope = scope.#outer) if (scope.#over !== null) return true
    return false
  }

  #refusal(): Error | null {
    if (this.#over !== null || this.#isOutlived) {
      return new ClosedError(this.#outer === null ? 'connection' : 'transaction')
    }
    const { lost } = this.#connection
    if (lost === null) return null
    return this.#outer === null ? lost : new PendingRollbackError({ cause: lost })
  }

  #openInner(): Inner {
    const inner: Inner = {
      scope: null,
      openedAt: performance.now(),
      onEnded: null,
      ended: () => {
        if (this.#inner !== inner) return
        this.#inner = null
        inner.onEnded?.()
        this.#takeTurns()
      },
    }
    this.#inner = inner
    return inner
  }

  /** Does something when no inner level is open, and after all that has waited for that before. */
  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#inner === null) return work()
    return new Promise((resolve, reject) => {
      this.#turns.push({ cameAt: performance.now(), go: () => resolve(work()), reject })
      this.#watchTurns()
    })
  }

  /** Lets go on what has waited, until some of it opens an inner level: the rest is not woken for nothing. */
  #takeTurns(): void {
    while (this.#inner === null) {
      const turn = this.#turns.shift()
      if (turn === undefined) break
      turn.go()
    }
    if (this.#turns.first !== undefined) return
    clearTimeout(this.#turnTimer)
    this.#turnTimer = undefined
  }

  /** One timer for all waiters: the first one has waited longest. */
  #watchTurns(): void {
    const { first } = this.#turns
    if (first === undefined || this.#turnTimer !== undefined) return
    const left = this.#limits.turnTimeout * 1_000 - this.#waitedFor(first)
    this.#turnTimer = setTimeout(() => this.#assertInTurn(), Math.max(1, Math.ceil(left)))
  }

  #assertInTurn(): void {
    this.#turnTimer = undefined
    const { turnTimeout } = this.#limits
    for (let turn = this.#turns.first; turn !== undefined; turn = this.#turns.first) {
      if (this.#waitedFor(turn) < turnTimeout * 1_000) break
      this.#turns.shift()
      turn.reject(innerStillOpen(turnTimeout))
    }
    this.#watchTurns()
  }

  /** Milliseconds, for the inner level that is open now. */
  #waitedFor({ cameAt }: Turn): number {
    return performance.now() - Math.max(cameAt, this.#inner?.openedAt ?? 0)
  }
}

/** A savepoint is as its transaction is, which was begun with `begunWith`. */
function assertSameAsOuter(options: TransactionOptions, begunWith: TransactionOptions): void {
  const asked = Object.entries(options).flatMap(([name, value]) =>
    value && value !== Reflect.get(begunWith, name) ? [name] : [],
  )
  if (asked.length === 0) return
  throw new StatementError(
    'INVALID_STATEMENT',
    `Cannot begin a nested transaction with ${asked.join(' and ')}: it is a savepoint, and the same as the transaction ` +
      'that it is in. Begin that one so.',
  )
}

function innerStillOpen(seconds: number): StatementError {
  return new StatementError(
    'NESTED_TRANSACTION_OPEN',
    `Waited ${seconds} s for a nested transaction of this handle to end. Inside db.transaction(async (tx) => …) ` +
      'use `tx`: the outer handle waits until the transaction has ended.',
  )
}
