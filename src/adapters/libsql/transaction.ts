import {
  type Client,
  type ClientTransaction,
  LOOK,
  NOT_WAITING,
  type SentStatement,
  WAITING,
} from './driver.ts'
import { isContention, isLoss, isTransactionClosed } from './errors.ts'
import type { LockRetry } from './lock-retry.ts'
import type { SerialQueue } from './serial-queue.ts'
import type { Writer } from './write-mutex.ts'

/**
 * How a transaction keeps from writing, if it does: `query-only` has SQLite refuse what writes. libSQL's own `read` lets
 * it pass (its client begins a transaction that is merely called READONLY), and servers and replicas know no other way:
 * there we refuse what looks as if it wrote.
 */
export type TransactionMode = 'write' | 'read' | 'query-only'

/** How a transaction was begun, and by whom it is asked for things. */
export interface OpenTransactionParts {
  readonly isLocal: boolean
  readonly mode: TransactionMode
  readonly queue: SerialQueue
  readonly lockRetry: LockRetry
  /** How others are told of it. */
  readonly writer: Writer
  /** Ends our turn to write. */
  release(): void
}

/**
 * Begins a transaction on a file so that meeting a lock does no harm, and it can be tried often: by `executeMultiple`,
 * within a transaction of the driver that has no lock yet.
 */
export async function beginLocally(client: Client, mode: 'write' | 'query-only'): Promise<ClientTransaction> {
  const driver = await client.transaction('deferred')
  try {
    await driver.executeMultiple(BEGINNINGS[mode])
    return driver
  } catch (error) {
    if (mode === 'query-only') await driver.execute(WRITABLE).catch(() => {})
    driver.close()
    throw error
  }
}

/** A transaction that has begun. */
export class OpenTransaction {
  readonly #driver: ClientTransaction
  readonly #parts: OpenTransactionParts

  constructor(driver: ClientTransaction, parts: OpenTransactionParts) {
    this.#driver = driver
    this.#parts = parts
  }

  /** We have to see to it that nothing is written. */
  get onlyReads(): boolean {
    return this.#parts.mode === 'read'
  }

  /** SQLite refuses what writes. */
  get isQueryOnly(): boolean {
    return this.#parts.mode === 'query-only'
  }

  /** It no longer only reads. */
  writes(): void {
    this.#parts.writer.hasWritten = true
  }

  /** Asks the driver's transaction for something. */
  run<Result>(call: (driver: ClientTransaction) => Promise<Result>): Promise<Result> {
    const { isLocal, queue } = this.#parts
    return queue.alone(() => (isLocal ? call(this.#driver) : this.#ask(call)))
  }

  commit(): Promise<void> {
    return this.#parts.isLocal ? this.#commitLocally() : this.run((driver) => driver.commit())
  }

  async rollback(): Promise<void> {
    const { mode } = this.#parts
    try {
      if (mode === 'query-only') await this.run((driver) => driver.execute(WRITABLE))
      await this.run((driver) => driver.rollback())
    } catch (error) {
      // It was rolled back before us: that is what we wanted.
      if (!isTransactionClosed(error)) throw error
    }
  }

  /** Rolls back what is still open, without asking a server. @throws what the driver throws when it cannot */
  undo(): void {
    const { mode } = this.#parts
    if (mode === 'query-only') void this.#driver.execute(WRITABLE).catch(() => {})
    this.#driver.close()
  }

  /** Ends our turn to write. */
  release(): void {
    this.#parts.release()
  }

  /**
   * Some failures roll the transaction back at the server, and the protocol we speak there (Hrana 2) would let what
   * follows autocommit. So nothing follows a failure until the server has said that the transaction is still open.
   */
  async #ask<Result>(call: (driver: ClientTransaction) => Promise<Result>): Promise<Result> {
    const driver = this.#driver
    try {
      return await call(driver)
    } catch (error) {
      if (isLoss(error) || isContention(error) || isTransactionClosed(error)) throw error
      const isOpen = await driver.execute(BEGIN).then(() => false, isWithinTransaction)
      if (!isOpen) driver.close()
      throw error
    }
  }

  async #commitLocally(): Promise<void> {
    const { mode, lockRetry } = this.#parts
    if (mode === 'query-only') await this.run((driver) => driver.execute(WRITABLE))
    const deadline = lockRetry.deadline()
    for (let script = COMMIT; ; script = `${NOT_WAITING}; ${COMMIT}; ${WAITING}`) {
      try {
        // Unlike `commit()` it can be tried again when somebody is still reading.
        await this.run((driver) => driver.executeMultiple(script))
        break
      } catch (error) {
        if (!isContention(error)) throw error
        await this.run((driver) => driver.executeMultiple(WAITING))
        await lockRetry.pause('passing', deadline, error)
      }
    }
    this.#driver.close()
  }
}

function isWithinTransaction(error: unknown): boolean {
  return error instanceof Error && error.message.includes('within a transaction')
}

/** Refused where a transaction is open. */
const BEGIN: SentStatement = { sql: 'begin', args: [] }
const COMMIT = 'commit'
const BEGINNINGS = {
  write: 'rollback; begin immediate',
  // Reading fixes what the transaction sees, and meets others' locks here, where we can try again.
  'query-only': `pragma query_only=1; ${LOOK.sql}`,
} as const
const WRITABLE: SentStatement = { sql: 'pragma query_only=0', args: [] }
