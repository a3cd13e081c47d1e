import { isPending } from '../driver/deadline.ts'
import type { Connection } from '../driver/types.ts'
import type { Origin, Trace } from '../engine/leaks.ts'
import type { Limits } from '../engine/limits.ts'
import type { Lease } from '../engine/pool-rules.ts'
import { Scope } from '../engine/scope.ts'
import { DrizzleCeleryError, StatementError, StatementTimeoutError } from '../errors.ts'

/** What a session holds while it has a connection. */
export interface Hold {
  readonly connection: Pick<Connection, 'lost'>
  /** Where its transactions are begun: statements autocommit, or belong to the transaction of an outer session. */
  readonly level: Scope
  /** Rolls back what is open, `open` included, and gives the connection back. */
  close(open: Scope | null): Promise<void>
}

/**
 * The state of a session, as in SQLAlchemy's `SessionTransactionState`. While it is opening or ending, calls for the same
 * share the outcome, and others wait or are refused.
 */
export type State = Settled | Opening | Ending | Closed

export type Settled = Idle | Connected | Broken

export interface Idle {
  readonly is: 'idle'
}

/** It has a connection; statements go to `scope`. */
export interface Connected {
  readonly is: 'connected' | 'in transaction'
  readonly hold: Hold
  readonly scope: Scope
}

/** The transaction is gone until `rollback()`. */
export interface Broken {
  readonly is: 'broken'
  readonly hold: Hold | null
  readonly cause: Error
}

/** Its promise is made only where somebody waits: what waits for nothing is opened within one call. */
export class Opening {
  readonly is = 'opening'
  /** Whether a transaction is begun too. */
  readonly begins: boolean
  /** Seconds that beginning it may take. */
  readonly #timeout: number | undefined
  #next: Promise<Connected> | null = null
  #resolve: (opened: Connected | Promise<Connected>) => void = () => {}

  constructor(begins: boolean, timeout?: number) {
    this.begins = begins
    this.#timeout = timeout
  }

  get next(): Promise<Connected> {
    this.#next ??= new Promise((resolve) => {
      this.#resolve = resolve
    })
    return this.#next
  }

  /** Whether a deadline ended it that is not that of the one who asks. */
  wasEndedByOthers(error: unknown, { statementTimeout }: Limits): boolean {
    return error instanceof StatementTimeoutError && statementTimeout !== this.#timeout
  }

  /** Tells those who have asked meanwhile. @returns what to wait for, if anything */
  became(opened: Connected | Promise<Connected>): Connected | Promise<Connected> {
    this.#resolve(opened)
    if (!isPending(opened)) return opened
    this.#next ??= opened
    return this.#next
  }
}

export interface Ending {
  readonly is: 'committing' | 'rolling back'
  /** Never rejects: a commit that fails leaves the session broken. */
  readonly next: Promise<Settled>
}

export interface Closed {
  readonly is: 'closed'
  readonly next: Promise<void>
}

export const IDLE: Idle = { is: 'idle' }

export function isEnding(state: State): state is Ending {
  return state.is === 'committing' || state.is === 'rolling back'
}

/** Whether there is a transaction to commit, or will be. */
export function hasBegun(state: State): state is Connected | Opening {
  return state.is === 'in transaction' || (state.is === 'opening' && state.begins)
}

/** The outcome of a state. An opening that fails rejects the call that began it, so it is ignored here. */
export function settled(state: Exclude<State, Closed>): Promise<Settled> | Settled {
  if (state.is === 'opening') return state.next.catch(() => IDLE)
  return isEnding(state) ? state.next : state
}

export function committed(state: Settled): void {
  if (state.is === 'broken') throw state.cause
}

/** A connection of the pool. Made out here, since closures within the session's methods could keep it alive. */
export function holdOf(lease: Lease<Connection>, limits: Limits): Hold {
  const level = Scope.autocommit(lease.connection, limits, lease.askedAt)
  level.onEnd = () => lease.release()
  return { connection: lease.connection, level, close: () => level.close() }
}

/** The connection of an outer session, whose transaction goes on: what is begun here is a savepoint in it. */
export function holdWithin(level: Scope): Hold {
  return {
    connection: level,
    level,
    async close(open) {
      if (open !== null && open !== level) await open.rollback()
    },
  }
}

/** What is left of a session that is garbage-collected without `close()`. */
export class SessionTrace implements Trace {
  readonly what: 'session' | 'work'
  readonly name: string
  readonly origin: Origin | null
  isUnused = true
  #hold: Hold | null = null
  readonly #sessionClosed: () => void

  constructor(name: string, origin: Origin | null, sessionClosed: () => void) {
    this.what = origin === null ? 'work' : 'session'
    this.name = name
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
    const closed = this.#hold === null ? Promise.resolve() : this.#hold.close(null)
    void closed.then(() => this.closed())
  }
}

export function cursorWithout(): StatementError {
  return new StatementError(
    'INVALID_STATEMENT',
    'Cannot stream rows in a session with autocommit: they come within a transaction. Use begin(), or engine.stream().',
  )
}

export function inTransaction(): DrizzleCeleryError {
  return new DrizzleCeleryError(
    'IN_TRANSACTION',
    'Cannot begin a transaction: this session is in one already. Await commit() or rollback() first, ' +
      'or use db.transaction() for a savepoint.',
  )
}
