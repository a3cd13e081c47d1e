import { AbortedError, OptionError } from '../errors.ts'

/** How expired rows are deleted. */
export interface CleanupOptions {
  /** Ends it between two batches, with an `AbortedError`; what was deleted stays deleted. */
  readonly signal?: AbortSignal | undefined
  /**
   * Rows a statement deletes at most, 1 to 100,000. On SQLite the event loop stands still meanwhile, so it is fewer.
   * @default 1000, on SQLite 250
   */
  readonly batchSize?: number | undefined
  /** Called after each batch with what was deleted so far. */
  readonly onProgress?: ((deleted: CleanupCounts) => void) | undefined
}

/** How many rows were deleted. A batch whose connection was lost may be missing. */
export interface CleanupCounts {
  readonly tasks: number
  readonly groups: number
}

/** What became of one batch. */
export interface CleanedBatch {
  readonly deleted: number
  /** Whether there may be more: as many rows were found as the limit allows, even if others deleted some of them. */
  readonly isFull: boolean
}

/**
 * Deletes in batches until one is not full, so that no lock is held for long.
 * @param deleteBatch deletes up to `limit` rows
 */
export async function cleanUp(
  deleteBatch: (table: 'task' | 'group', limit: number) => Promise<CleanedBatch>,
  { signal, batchSize, onProgress }: CleanupOptions & { readonly batchSize: number },
): Promise<CleanupCounts> {
  if (!Number.isInteger(batchSize) || batchSize < 1 || batchSize > 100_000) {
    const message = 'The option batchSize must be a whole number from 1 to 100000'
    throw new OptionError('INVALID_OPTION', 'batchSize', message)
  }
  const deleted = { tasks: 0, groups: 0 }
  for (const [table, counter] of [
    ['task', 'tasks'],
    ['group', 'groups'],
  ] as const) {
    for (let isFull = true; isFull; ) {
      if (signal?.aborted) throw aborted(signal)
      const batch = await deleteBatch(table, batchSize)
      isFull = batch.isFull
      deleted[counter] += batch.deleted
      onProgress?.({ ...deleted })
    }
  }
  return deleted
}

function aborted(signal: AbortSignal): AbortedError {
  const message = 'The cleanup was stopped: the signal was aborted. What was deleted before stays deleted.'
  return new AbortedError(message, { cause: signal.reason })
}
