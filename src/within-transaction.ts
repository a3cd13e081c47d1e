import type { Executor, Transaction, TransactionOptions } from './adapter.ts'

/** Does something in a transaction of its own, or a savepoint: kept when it returns, undone when it throws. */
export async function withinTransaction<Result>(
  executor: Executor,
  work: (transaction: Transaction) => Result | Promise<Result>,
  options?: TransactionOptions,
): Promise<Result> {
  const transaction = await executor.begin(options)
  try {
    const result = await work(transaction)
    await transaction.commit()
    return result
  } catch (error) {
    await transaction.rollback()
    throw error
  }
}
