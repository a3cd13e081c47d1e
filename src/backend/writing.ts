import { DrizzleCeleryError, StatementError } from '../errors.ts'
import type { PyClasses } from '../pickle/classes.ts'
import { encodeBy, encodeResult, type Serializer } from './column.ts'
import { BackendError } from './errors.ts'
import type { OptionalColumn, TaskWrite } from './statements/types.ts'
import type { Tables } from './tables.ts'
import { guardText } from './texts.ts'
import type { State } from './types.ts'

/** The request of a task: the parts of Celery's `task.request` that a result row can hold. */
export interface TaskRequest {
  /** The name the task is registered under. */
  readonly task?: string | null
  /** The same; `task` wins. */
  readonly name?: string | null
  /** @default none: stored as the serializer's null, or with `preserveExtended` kept as it was */
  readonly args?: readonly unknown[] | null
  /** @default none: stored as the serializer's null, or with `preserveExtended` kept as it was */
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

/** Options of a store. */
export interface StoreOptions {
  /** @default the stack of an `Error` stored as FAILURE or RETRY, else none */
  readonly traceback?: string | null | undefined
  /** What the extended columns are filled from. @default none: they are cleared */
  readonly request?: TaskRequest | null | undefined
  /** Ends the retries with an `AbortedError`; a running statement is not interrupted. */
  readonly signal?: AbortSignal | undefined
}

/** How values are encoded. */
export interface WriteContext {
  readonly wire: 'pickle' | 'serializer'
  readonly serializer: Serializer
  /** Classes of the program, for pickles. */
  readonly classes: PyClasses | undefined
  /** The optional columns that will be written. */
  readonly written: readonly OptionalColumn[]
  /** Whether missing values are kept as they were: then SQL NULL is written, not the serializer's null. */
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
  { wire, serializer, classes, written, preserveExtended }: WriteContext,
): TaskWrite {
  const encoded = (column: OptionalColumn, value: () => unknown) =>
    request != null && written.includes(column) ? encodeWith({ serializer, classes }, column, value()) : null
  const given = (column: 'args' | 'kwargs') =>
    preserveExtended && request?.[column] == null ? null : encoded(column, () => request?.[column] ?? null)
  return {
    taskId: guardText('taskId', taskId),
    status: guardText('status', state),
    result: encodeResult(result, state, { wire, serializer, classes }),
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

function encodeWith(
  { serializer, classes }: Pick<WriteContext, 'serializer' | 'classes'>,
  column: OptionalColumn,
  value: unknown,
): Uint8Array {
  try {
    return encodeBy(serializer, value, classes)
  } catch (error) {
    if (error instanceof DrizzleCeleryError) throw error
    throw new BackendError(
      'RESULT_UNENCODABLE',
      `Cannot store the ${column} of a task: the serializer ${serializer.name} cannot write them`,
    )
  }
}

/** Beyond its range PostgreSQL would refuse the number, and SQLite store it for Python to fail on. */
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

/** Rows and bytes of one statement. */
const MOST_ROWS = 1_000
const MOST_BYTES = 4_194_304

/**
 * The rows of each statement: each task once, with its last result, ordered by id so that two writers of the same tasks lock
 * them in the same order.
 * @param mostBytes the most bytes of values in one statement
 */
export function piecesOf(writes: readonly TaskWrite[], mostBytes: number): TaskWrite[][] {
  const most = Math.min(MOST_BYTES, mostBytes)
  const last = new Map(writes.map((write) => [write.taskId, write]))
  const sorted = [...last.values()].sort((one, other) => (one.taskId < other.taskId ? -1 : 1))
  const pieces: TaskWrite[][] = []
  let piece: TaskWrite[] = []
  let bytes = 0
  for (const write of sorted) {
    const size = sizeOf(write)
    if (piece.length >= MOST_ROWS || (piece.length > 0 && bytes + size > most)) {
      pieces.push(piece)
      piece = []
      bytes = 0
    }
    piece.push(write)
    bytes += size
  }
  if (piece.length > 0) pieces.push(piece)
  return pieces
}

/**
 * Writes all of them or none, in one transaction if there are several statements. Where only some rows are guarded they are
 * not in the order of their ids, and two such writers may deadlock: that is retried.
 */
export async function storePieces(
  { engine, statements }: Tables,
  pieces: readonly TaskWrite[][],
  isGuarded: (write: TaskWrite) => boolean,
): Promise<number> {
  const parts = pieces.flatMap((piece) => partsOf(piece, isGuarded))
  const [first] = parts
  if (first === undefined) return 0
  if (parts.length === 1) return statements.storeMany(engine, first.writes, first.guarded)

  return engine.transaction(async (transaction) => {
    let written = 0
    for (const { writes, guarded } of parts) {
      written += await statements.storeMany(transaction, writes, guarded)
    }
    return written
  })
}

interface Part {
  readonly writes: readonly TaskWrite[]
  readonly guarded: boolean
}

/** A statement guards all of its rows or none. */
function partsOf(piece: readonly TaskWrite[], isGuarded: (write: TaskWrite) => boolean): Part[] {
  return [false, true]
    .map((guarded) => ({ guarded, writes: piece.filter((write) => isGuarded(write) === guarded) }))
    .filter(({ writes }) => writes.length > 0)
}

function sizeOf({ retries, ...fields }: TaskWrite): number {
  return Object.values(fields).reduce((sum, field) => sum + (field?.length ?? 0), 0)
}
