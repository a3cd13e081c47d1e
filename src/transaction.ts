import type { Connection, Transaction, TransactionOptions } from './adapter.ts'
import { ClosedError, PendingRollbackError, StatementError, TransactionAbortedError } from './errors.ts'
import { type Limits, runWithin } from './limits.ts'
import type { Statement } from './statement.ts'

/** How a level ends on its connection. */
interface Ending {
  /** Resolves to false when the database rolled back instead. */
  commit(): Promise<boolean>
  rollback(): Promise<unknown>
}

const AUTOCOMMIT: Ending = { commit: async () => true, rollback: async () => {} }

/**
 * One level of a held connection: autocommit, a transaction, or a savepoint in one. A level has one inner level open
 * at a time; whatever else is asked of it meanwhile waits its turn, so that no statement slips into a transaction it
 * was not written for.
 */
export class Scope implements Transaction {
  readonly #connection: Connection
  readonly #limits: Limits
  readonly #outer: Scope | null
  readonly #depth: number
  readonly #ending: Ending
  #isEnded = false
  #inner: Promise<void> | null = null
  #innerEnded: () => void = () => {}
  #failure: unknown
  /** Called once, when the level has ended. */
  onEnd: (() => void) | null = null

  private constructor(connection: Connection, limits: Limits, outer: Scope | null, ending: Ending) {
    this.#connection = connection
    this.#limits = limits
    this.#outer = outer
    this.#depth = outer === null ? 0 : outer.#depth + 1
    this.#ending = ending
  }

  /** The outermost level: statements autocommit, `begin` begins a real transaction. */
  static autocommit(connection: Connection, limits: Limits): Scope {
    return new Scope(connection, limits, null, AUTOCOMMIT)
  }

  /** Refuses whatever comes later, on this level and inside it: the connection is no longer ours. */
  end(): void {
    this.#isEnded = true
    if (this.#outer !== null) this.#outer.#innerEnded()
    this.onEnd?.()
    this.onEnd = null
  }

  run(statement: Statement): Promise<unknown> {
    if (this.#inner !== null) return this.#turn().then(() => this.run(statement))
    const refusal = this.#refusal()
    if (refusal !== null) return Promise.reject(refusal)
    const result = runWithin(this.#connection, statement, this.#limits)
    result.catch((error: unknown) => {
      this.#failure ??= error
    })
    return result
  }

  async begin(options: TransactionOptions = {}): Promise<Scope> {
    while (this.#inner !== null) await this.#turn()
    const refusal = this.#refusal()
    if (refusal !== null) throw refusal

    let innerEnded = () => {}
    this.#inner = new Promise((resolve) => {
      innerEnded = resolve
    })
    this.#innerEnded = () => {
      this.#inner = null
      innerEnded()
    }
    try {
      const ending = this.#outer === null ? await this.#beginTransaction(options) : await this.#setSavepoint()
      return new Scope(this.#connection, this.#limits, this, ending)
    } catch (error) {
      this.#innerEnded()
      throw error
    }
  }

  /**
   * Ends the level and keeps what was done in it.
   * @throws TransactionAbortedError when the database rolled back instead, since a statement had failed
   */
  async commit(): Promise<void> {
    while (this.#inner !== null) await this.#turn()
    const refusal = this.#refusal()
    if (refusal !== null) throw refusal
    this.#isEnded = true
    try {
      if (!(await this.#ending.commit())) throw new TransactionAbortedError({ cause: this.#failure })
    } catch (error) {
      // A savepoint that cannot be released leaves its transaction failed: undo it, as the caller will expect.
      if (this.#depth > 1 && this.#connection.lost === null) await this.#ending.rollback().catch(() => {})
      throw error
    } finally {
      this.end()
    }
  }

  /** Ends the level and undoes what was done in it. Passes silently when the connection is lost: all is undone then. */
  async rollback(): Promise<void> {
    if (this.#isEnded) return
    this.#isEnded = true
    try {
      if (this.#connection.lost === null) await this.#ending.rollback()
    } catch (error) {
      if (this.#connection.lost === null) {
        this.#connection.discard(error instanceof Error ? error : new Error(String(error)))
      }
    } finally {
      this.end()
    }
  }

  async #beginTransaction(options: TransactionOptions): Promise<Ending> {
    const connection = this.#connection
    await connection.begin(options)
    return { commit: () => connection.commit(), rollback: () => connection.rollback() }
  }

  async #setSavepoint(): Promise<Ending> {
    // Levels nest strictly, so the depth is name enough.
    const savepoint = `dc_${this.#depth}`
    const run = (sql: string) =>
      runWithin(this.#connection, { sql, params: [], asArrays: false }, this.#limits)
    await run(`savepoint ${savepoint}`)
    return {
      commit: () => run(`release savepoint ${savepoint}`).then(() => true),
      rollback: () => run(`rollback to savepoint ${savepoint}`),
    }
  }

  #refusal(): Error | null {
    for (let scope: Scope | null = this; scope !== null; scope = scope.#outer) {
      if (scope.#isEnded) return new ClosedError(this.#outer === null ? 'connection' : 'transaction')
    }
    const { lost } = this.#connection
    if (lost === null) return null
    return this.#outer === null ? lost : new PendingRollbackError({ cause: lost })
  }

  /** Waits for the inner level to end. */
  async #turn(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const tooLong = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(innerStillOpen(this.#limits.turnTimeout)),
        this.#limits.turnTimeout * 1_000,
      )
    })
    await Promise.race([this.#inner, tooLong]).finally(() => clearTimeout(timer))
  }
}

function innerStillOpen(seconds: number): StatementError {
  return new StatementError(
    'NESTED_TRANSACTION_OPEN',
    `Waited ${seconds} s for a nested transaction of this handle to end. Inside db.transaction(async (tx) => …) ` +
      'use `tx`: the outer handle waits until the transaction has ended.',
  )
}
