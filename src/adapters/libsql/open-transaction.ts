import type { Calls } from './calls.ts'
import { type Client, type ClientTransaction, LOOK, type SentStatement } from './driver.ts'
import { isContention, isTransactionClosed } from './driver-error.ts'
import type { Patience } from './patience.ts'

/** How a transaction was begun, and by whom it is asked for things. */
export interface OpenTransactionParts {
  readonly isLocal: boolean
  readonly isReadOnly: boolean
  readonly calls: Calls
  readonly patience: Patience
  /** Ends our turn to write. */
  release(): void
}

/** Begins a transaction of the driver. */
export async function beginTransaction(
  client: Client,
  { isLocal, isReadOnly }: Pick<OpenTransactionParts, 'isLocal' | 'isReadOnly'>,
): Promise<ClientTransaction> {
  if (!isLocal) return client.transaction(isReadOnly ? 'read' : 'write')
  if (!isReadOnly) return client.transaction('write')
  const driver = await client.transaction('deferred')
  try {
    // libSQL's own "read" mode lets writes pass.
    await driver.execute(QUERY_ONLY)
    // Fixes what the transaction sees, and meets others' locks here, where we can try again.
    await driver.execute(LOOK)
    return driver
  } catch (error) {
    await driver.execute(WRITABLE).catch(() => {})
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

  /** Asks the driver's transaction for something. */
  run<Result>(call: (driver: ClientTransaction) => Promise<Result>): Promise<Result> {
    return this.#parts.calls.unlessStopped(call(this.#driver))
  }

  commit(): Promise<void> {
    return this.#parts.isLocal ? this.#commitLocally() : this.run((driver) => driver.commit())
  }

  async rollback(): Promise<void> {
    const { isLocal, isReadOnly } = this.#parts
    try {
      if (isReadOnly && isLocal) await this.#driver.execute(WRITABLE)
      await this.run((driver) => driver.rollback())
    } catch (error) {
      // It was rolled back before us: that is what we wanted.
      if (!isTransactionClosed(error)) throw error
    }
  }

  /** Rolls back what is still open, without asking a server. @throws what the driver throws when it cannot */
  undo(): void {
    const { isLocal, isReadOnly } = this.#parts
    if (isReadOnly && isLocal) void this.#driver.execute(WRITABLE).catch(() => {})
    this.#driver.close()
  }

  /** Ends our turn to write. */
  release(): void {
    this.#parts.release()
  }

  async #commitLocally(): Promise<void> {
    const { isReadOnly, patience } = this.#parts
    const driver = this.#driver
    if (isReadOnly) await driver.execute(WRITABLE)
    const deadline = patience.deadline()
    for (;;) {
      try {
        // Unlike `commit()` it can be tried again when somebody is still reading.
        await driver.executeMultiple('commit')
        break
      } catch (error) {
        if (!isContention(error)) throw error
        await patience.pause(deadline, error)
      }
    }
    driver.close()
  }
}

const QUERY_ONLY: SentStatement = { sql: 'pragma query_only=1', args: [] }
const WRITABLE: SentStatement = { sql: 'pragma query_only=0', args: [] }
