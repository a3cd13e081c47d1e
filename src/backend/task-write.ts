import { BackendError, DrizzleCeleryError, StatementError } from '../errors.ts'
import { encodeResult } from './result-column.ts'
import type { Serializer } from './serializer.ts'
import type { OptionalColumn, TaskWrite } from './statements/statements.ts'
import type { State } from './states.ts'
import { guardText } from './text-guard.ts'

/** What a worker knows of the task it runs: Celery's `task.request`, as far as a result row has room for it. */
export interface TaskRequest {
  /** The name the task is registered under. */
  readonly task?: string | null
  /** The same; `task` wins. */
  readonly name?: string | null
  /** @default none, which is stored as the serializer's null, or kept as it was with `preserveExtended` */
  readonly args?: readonly unknown[] | null
  /** @default none, which is stored as the serializer's null, or kept as it was with `preserveExtended` */
  readonly kwargs?: Readonly<Record<string, unknown>> | null
  /** The worker's node name, `celery@host`. */
  readonly hostname?: string | null
  /** The same; `hostname` wins. */
  readonly worker?: string | null
  /** How often the task was retried so far. */
  readonly retries?: number | null
  /** How the task was delivered: its routing key is what Celery stores as the queue. */
  readonly deliveryInfo?: { readonly routingKey?: string | null } | null
  /** The same; the routing key wins. */
  readonly queue?: string | null
  /** The tasks it started: ids, or Celery's tuples `[[id, parent], null]`. Stored where the table has a column for it. */
  readonly children?: readonly unknown[] | null
  /** What it was stamped with. Stored where the table has a column for it. */
  readonly stamps?: Readonly<Record<string, unknown>> | null
}

/** What is stored with a result. */
export interface StoreOptions {
  /** @default the stack of an `Error` stored as FAILURE or RETRY, else none */
  readonly traceback?: string | null
  /** What the extended columns are filled from. @default none: they are cleared */
  readonly request?: TaskRequest | null
  /** Ends the trying again, with an `AbortedError`; a statement under way is not interrupted. */
  readonly signal?: AbortSignal | undefined
}

/** How values become bytes. */
export interface WriteContext {
  readonly wire: 'pickle' | 'serializer'
  readonly serializer: Serializer
  /** The optional columns that will be written. */
  readonly written: readonly OptionalColumn[]
  /** Whether what is not given is to be kept, for which the serializer's null would be a value. */
  readonly preserveExtended: boolean
}

/**
 * The row of a task's result, as `DatabaseBackend._update_result` and `Backend._get_result_meta` make it.
 * @throws StatementError for texts and numbers that do not fit; BackendError `RESULT_UNENCODABLE` for values that cannot be written
 */
export function taskWriteOf(
  taskId: string,
  result: unknown,
  state: State,
  { traceback, request }: StoreOptions,
  { wire, serializer, written, preserveExtended }: WriteContext,
): TaskWrite {
  const encoded = (column: OptionalColumn, value: () => unknown) =>
    request != null && written.includes(column) ? encodeWith(serializer, column, value()) : null
  const given = (column: 'args' | 'kwargs') =>
    preserveExtended && request?.[column] == null ? null : encoded(column, () => request?.[column] ?? null)
  return {
    taskId: guardText('taskId', taskId),
    status: guardText('status', state),
    result: encodeResult(result, state, { wire, serializer }),
    traceback: guardText('traceback', traceback === undefined ? stackOf(result, state) : traceback),
    name: guardText('name', request?.task ?? request?.name),
    args: given('args'),
    kwargs: given('kwargs'),
    worker: guardText('worker', request?.hostname ?? request?.worker),
    retries: guardRetries(request?.retries),
    queue: guardText('queue', request?.deliveryInfo?.routingKey ?? request?.queue),
    children: request?.children == null ? null : encoded('children', () => request.children?.map(asTuple)),
    stamps: request?.stamps == null ? null : encoded('stamps', () => request.stamps),
  }
}

function encodeWith(serializer: Serializer, column: OptionalColumn, value: unknown): Uint8Array {
  try {
    return serializer.encode(value)
  } catch (error) {
    if (error instanceof DrizzleCeleryError) throw error
    throw new BackendError(
      'RESULT_UNENCODABLE',
      `Cannot store the ${column} of a task: the serializer ${serializer.name} cannot write them`,
    )
  }
}

/** PostgreSQL would refuse what its column does not hold, and SQLite keep it for Python to read. */
function guardRetries(retries: number | null | undefined): number | null {
  if (retries === null || retries === undefined) return null
  if (Number.isInteger(retries) && Math.abs(retries) <= 2_147_483_647) return retries
  throw new StatementError(
    'INVALID_PARAMETER',
    'Cannot store the retries of the task: they are no whole number of 32 bits',
  )
}

/** A traceback is stored with what failed; a revoked task has none, as in Celery. */
function stackOf(result: unknown, state: State): string | null {
  const mayHave = state === 'RETRY' || state === 'FAILURE'
  return mayHave && result instanceof Error ? (result.stack ?? null) : null
}

/** Celery's `AsyncResult.as_tuple()` of a task without a parent. */
function asTuple(child: unknown): unknown {
  return typeof child === 'string' ? [[child, null], null] : child
}
