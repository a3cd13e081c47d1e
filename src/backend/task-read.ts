import { BackendError } from '../errors.ts'
import type { DecodeOptions } from '../pickle/limits.ts'
import { dateOf } from './clock.ts'
import { decodeResult } from './result-column.ts'
import type { Serializer } from './serializer.ts'
import type { TaskRow } from './statements/statements.ts'
import { READY_STATES } from './states.ts'
import type { TaskMeta } from './task-meta.ts'
import type { WallClock } from './wall-clock.ts'

/** How bytes become values. */
export interface ReadContext {
  readonly serializer: Serializer
  /** The serializers whose arguments may be read; `null` for all. Results are read whatever they are written with. */
  readonly accept: readonly string[] | null
  readonly pickle: DecodeOptions
  /** Whether the extended fields are asked for. */
  readonly isExtended: boolean
  readonly hasChildren: boolean
  readonly hasStamps: boolean
  /** Bytes; a larger result was not fetched. */
  readonly maxResultBytes: number
  /** What dates are shown by. */
  readonly clock: WallClock
}

/**
 * The meta of a row. One value that cannot be decoded does not hide the others: its property throws the error when it is
 * looked at, and only then.
 */
export function metaOf(row: TaskRow, context: ReadContext): TaskMeta {
  const { serializer, accept, pickle, isExtended, hasChildren, hasStamps, clock } = context
  const meta: Record<string, unknown> = {
    taskId: row.taskId,
    status: row.status ?? 'PENDING',
  }
  const define = (property: string, decode: () => unknown) => {
    try {
      meta[property] = decode()
    } catch (error) {
      const get = () => {
        throw error
      }
      Object.defineProperty(meta, property, { get, enumerable: false, configurable: true })
    }
  }
  const decoded = (bytes: Uint8Array | null) => decodeResult(bytes, { serializer, pickle, accept })
  define('result', () => {
    const bytes = withinLimit(row.result, row.size, context.maxResultBytes)
    return decodeResult(bytes, { serializer, pickle })
  })
  meta['traceback'] = row.traceback
  // Celery gives unfinished tasks a date at every second update.
  meta['dateDone'] = READY_STATES.has(row.status ?? '') ? dateOf(row.dateDone, clock) : null
  if (isExtended) {
    const { name, worker, retries, queue } = row
    Object.assign(meta, { name, worker, retries, queue })
    define('args', () => decoded(row.args))
    define('kwargs', () => decoded(row.kwargs))
  }
  if (hasChildren) define('children', () => decoded(row.children))
  if (isExtended && hasStamps) define('stamps', () => decoded(row.stamps))
  // The properties are TaskMeta's, one by one.
  return meta as unknown as TaskMeta
}

/** The meta of a task that nothing is stored of. */
export function pendingMeta(taskId: string, { isExtended, hasChildren, hasStamps }: ReadContext): TaskMeta {
  const nothing = { name: null, args: null, kwargs: null, worker: null, retries: null, queue: null }
  return {
    taskId,
    status: 'PENDING',
    result: null,
    traceback: null,
    dateDone: null,
    ...(isExtended && nothing),
    ...(hasChildren && { children: null }),
    ...(isExtended && hasStamps && { stamps: null }),
  }
}

/** @throws BackendError `RESULT_TOO_LARGE` when it was left in the database for its size */
export function withinLimit(bytes: Uint8Array | null, size: number | null, most: number): Uint8Array | null {
  if (size === null || size <= most) return bytes
  throw new BackendError(
    'RESULT_TOO_LARGE',
    `Cannot read a result of ${size} bytes: maxResultBytes is ${most}. It was not fetched.`,
  )
}
