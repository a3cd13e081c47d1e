import { AbortListeners } from '../driver/deadline.ts'
import { Fifo } from '../driver/fifo.ts'
import type { Statement } from '../driver/statement.ts'
import type { Connection, Transaction, TransactionOptions, WaitOptions } from '../driver/types.ts'
import {
  AbortedError,
  ClosedError,
  PendingRollbackError,
  StatementError,
  StatementTimeoutError,
  TransactionAbortedError,
} from '../errors.ts'

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
  readonly over: Promise<void>
  readonly openedAt: number
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
  /** What ends the level, under way or done. */
  #over: Promise<void> | null = null
  /** The first failure that the database answered with. */
  #failure: unknown
  #running = 0
  /** When what comes first was wanted; `undefined` from then on. */
  #askedAt: number | undefined
  readonly #onQuiet: (() => void)[] = []
  readonly #turns = new Fifo<Turn>()
  #turnTimer: NodeJS.Timeout | undefined
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
   * @param askedAt when its connection was checked out, where that was done for what comes first and comes now
   */
  static autocommit(connection: Connection, limits: Limits, askedAt?: number): Scope {
    const scope = new Scope(connection, limits, null, AUTOCOMMIT)
    scope.#askedAt = askedAt
    return scope
  }

  run(statement: Statement): Promise<unknown> {
    if (this.#inner !== null) return this.#inTurn(() => this.run(statement))
    const refusal = this.#refusal()
    if (refusal !== null) return Promise.reject(refusal)
    const wait = this.#takeWait()
    const result = runWithin(this.#connection, () => this.#connection.run(statement, wait), this.#limits)
    this.#running++
    result.then(
      () => this.#settled(),
      (error: unknown) => {
        if (!(error instanceof StatementError)) this.#failure ??= error
        this.#settled()
      },
    )
    return result
  }

  begin(options: TransactionOptions = {}): Promise<Scope> {
    return this.#inTurn(() => this.#begin(options))
  }

  async #begin(options: TransactionOptions): Promise<Scope> {
    const refusal = this.#refusal()
    if (refusal !== null) throw refusal
    if (this.#outer !== null) assertSameAsOuter(options, this.#options)

    const inner = this.#openInner()
    try {
      // Not every driver keeps a statement that it takes several calls for out of a transaction begun after it.
      if (this.#outer === null && this.#running > 0) await this.#quiet()
      const ending = this.#outer === null ? await this.#beginTransaction(options) : await this.#setSavepoint()
      const begunWith = this.#outer === null ? options : this.#options
      inner.scope = new Scope(this.#connection, this.#limits, this, ending, begunWith)
    } catch (error) {
      inner.ended()
      throw error
    }
    if (this.#over === null) return inner.scope
    // Ended while this was on its way: by a transaction's end it is undone already, by a close it is not.
    await inner.scope.#undo(this.#outer === null)
    throw new ClosedError('transaction')
  }

  /**
   * Ends the level and keeps what was done in it.
   * @throws TransactionAbortedError when the database rolled back instead, since a statement had failed
   */
  commit(): Promise<void> {
    return this.#inTurn(async () => {
      const refusal = this.#refusal()
      if (refusal !== null) throw refusal
      await this.#endWith(this.#commit())
    })
  }

  /** Ends the level and undoes what was done in it. Passes silently when the connection is lost: all is undone then. */
  rollback(): Promise<void> {
    return this.#undo(!this.#isOutlived)
  }

  /** Ends the outermost level, after rolling back what is open inside it. Safe to call twice. */
  close(): Promise<void> {
    return this.#over ?? this.#endWith(this.#closeInner())
  }

  async #closeInner(): Promise<void> {
    const inner = this.#inner
    if (inner?.scope != null) await inner.scope.#undo(true)
    await inner?.over
    // What is still under way must not meet the next holder, nor its deadline break the connection under that one.
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
    // How a commit went that is under way is told to who asked for it.
    if (this.#over !== null) await this.#over.catch(() => {})
    else await this.#endWith(reaches ? this.#rollback() : Promise.resolve())
  }

  #endWith(work: Promise<void>): Promise<void> {
    this.#over = work.finally(() => {
      if (this.#outer !== null) this.#outer.#inner?.ended()
      return this.onEnd?.()
    })
    return this.#over
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
      this.#connection.discard(error instanceof Error ? error : new Error(String(error)))
    }
  }

  async #beginTransaction(options: TransactionOptions): Promise<Ending> {
    const connection = this.#connection
    const within = <Result>(work: () => Promise<Result>, limits: Limits = this.#limits) =>
      runWithin(connection, work, limits)
    const wait = this.#takeWait()
    await within(() => connection.begin(options, wait))
    return {
      commit: () => within(() => connection.commit()),
      // A signal that stopped the statements has nothing against undoing them; a server that is silent has.
      rollback: () =>
        within(() => connection.rollback(), {
          statementTimeout: this.#limits.statementTimeout ?? ROLLBACK_TIMEOUT,
          turnTimeout: this.#limits.turnTimeout,
        }),
    }
  }

  /** Only what comes first has waited for the connection. */
  #takeWait(): WaitOptions | undefined {
    const askedAt = this.#askedAt
    if (askedAt === undefined) return undefined
    this.#askedAt = undefined
    return { askedAt }
  }

  async #setSavepoint(): Promise<Ending> {
    // Levels nest strictly, so the depth is name enough.
    const savepoint = `dc_${this.#depth}`
    const connection = this.#connection
    const run = (sql: string) =>
      runWithin(connection, () => connection.run({ sql, params: [], asArrays: false }), this.#limits)
    await run(`savepoint ${savepoint}`)
    return {
      commit: () => run(`release savepoint ${savepoint}`).then(() => true),
      rollback: () => run(`rollback to savepoint ${savepoint}`),
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
    let resolve = () => {}
    const over = new Promise<void>((settle) => {
      resolve = settle
    })
    const inner: Inner = {
      scope: null,
      over,
      openedAt: performance.now(),
      ended: () => {
        resolve()
        if (this.#inner !== inner) return
        this.#inner = null
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

/** How long a holder's statements may take, and what stops them. */
export interface Limits {
  /** Seconds a statement may take; its connection is thrown away when it takes longer. @default none */
  readonly statementTimeout?: number | undefined
  /** Stops what is under way; the connection is thrown away. */
  readonly signal?: AbortSignal | undefined
  /** Seconds a statement waits for a nested transaction of its handle to end. */
  readonly turnTimeout: number
}

/**
 * Does something on a connection within limits. Stopping it means breaking the connection, since nothing else settles a
 * statement whose server fell silent.
 * @throws StatementTimeoutError, AbortedError, and what the connection throws
 */
export function runWithin<Result>(
  connection: Connection,
  work: () => Promise<Result>,
  { statementTimeout, signal }: Pick<Limits, 'statementTimeout' | 'signal'>,
): Promise<Result> {
  if (statementTimeout === undefined && signal === undefined) return work()

  return new Promise((resolve, reject) => {
    const stop = (error: Error) => {
      settle()
      reject(error)
      connection.discard(error)
    }
    const timer =
      statementTimeout === undefined
        ? undefined
        : setTimeout(() => stop(new StatementTimeoutError(statementTimeout)), statementTimeout * 1_000)
    let unlisten = () => {}
    const settle = () => {
      clearTimeout(timer)
      unlisten()
    }

    if (signal?.aborted) {
      stop(aborted(signal))
      return
    }
    if (signal !== undefined) unlisten = aborts.add(signal, () => stop(aborted(signal)))
    work().then(resolve, reject).finally(settle)
  })
}

const aborts = new AbortListeners()

function aborted(signal: AbortSignal): AbortedError {
  return new AbortedError('The statement was stopped: the signal was aborted. Its outcome is unknown.', {
    cause: signal.reason,
  })
}
