import { BackendError, DrizzleCeleryError } from '../errors.ts'
import { encode } from '../pickle/encode.ts'
import type { DecodeOptions } from '../pickle/limits.ts'
import { getItem, isDict } from '../pickle/values.ts'
import { exceptionDict } from './exceptions.ts'
import { readJson } from './json-reader.ts'
import { readPickle } from './read-pickle.ts'
import { jsonSerializer, pickleSerializer, type Serializer } from './serializer.ts'
import { EXCEPTION_STATES } from './states.ts'

export interface EncodeResultOptions {
  /**
   * `pickle`: what every Celery up to 5.6 writes and reads in this column, whatever its serializer. `serializer`: what
   * Celery 5.7 writes; older ones cannot read even the state of such a row.
   */
  readonly wire: 'pickle' | 'serializer'
  /** Also tells, for `pickle`, which arguments of an exception are kept and which are replaced by their texts. */
  readonly serializer: Serializer
}

export interface DecodeResultOptions {
  /** What the column was written with, when it is no pickle. */
  readonly serializer: Serializer
  /** What a pickle may cost, and JSON where it has the same limits. */
  readonly pickle?: DecodeOptions | undefined
  /** The names or content types of what may be read. @default anything */
  readonly accept?: readonly string[] | null | undefined
}

/**
 * What Celery stores in the `result` column: SQL NULL for `null` and `undefined`, in the states of `EXCEPTION_STATES` the
 * dict of `exceptionDict`, and in the others the value as it is. What was thrown and is no error becomes such a dict, too,
 * unless it is one: Celery fails on anything else there, even when it is only asked for the state.
 *
 * @throws PickleError (`PICKLE_UNENCODABLE`), BackendError (`RESULT_UNENCODABLE`) or what a serializer of your own throws
 */
export function encodeResult(value: unknown, state: string, options: EncodeResultOptions): Uint8Array | null {
  if (value === null || value === undefined) return null
  const write = writerOf(options)
  if (!EXCEPTION_STATES.has(state) || isExceptionDict(value)) return write(value)
  // As Celery, which keeps what the serializer can write, also when it pickles it then.
  return write(
    exceptionDict(value, (arg) => {
      options.serializer.encode(arg)
      return write(arg)
    }),
  )
}

/** How values of this wire become bytes. */
function writerOf({ wire, serializer }: EncodeResultOptions): (value: unknown) => Uint8Array {
  return wire === 'pickle' ? (value) => encode(value) : (value) => serializer.encode(value)
}

function isExceptionDict(value: unknown): boolean {
  return isDict(value) && typeof getItem(value, 'exc_type') === 'string'
}

/**
 * Reads a `result` column, or one of the extended columns, whoever wrote it: a pickle of protocol 2 to 5 is known by its
 * first two bytes and its last, all else is for the serializer; and what that cannot read may be a pickle of protocol 0
 * or 1. The database URL in a pickled AsyncResult is left out.
 *
 * Celery fails on an unreadable row before it knows the state. So decode only when the result is asked for.
 *
 * @throws BackendError (`RESULT_UNREADABLE`), which never repeats what is stored; its `cause` is the PickleError or the
 * BackendError that tells more
 */
export function decodeResult(bytes: Uint8Array | null, options: DecodeResultOptions): unknown {
  if (bytes === null) return null
  const failures: unknown[] = []
  for (const read of readersFor(bytes, options)) {
    try {
      return read(bytes)
    } catch (error) {
      failures.push(error)
    }
  }
  throw unreadable(failures, options)
}

type Read = (bytes: Uint8Array) => unknown

function readersFor(bytes: Uint8Array, { serializer, pickle, accept }: DecodeResultOptions): Read[] {
  const allows = ({ name, contentType }: Serializer) =>
    !accept || accept.includes(name) || accept.includes(contentType)
  const pickleReader: Read[] = allows(pickleSerializer) ? [(pickled) => readPickle(pickled, pickle)] : []
  if (isPickle(bytes) || serializer === pickleSerializer) return pickleReader
  const readOwn: Read =
    serializer === jsonSerializer ? (json) => readJson(json, pickle) : (own) => serializer.decode(own)
  const ownReader: Read[] = allows(serializer) ? [readOwn] : []
  return endsLikePickle(bytes) ? [...ownReader, ...pickleReader] : ownReader
}

/** `80 02` to `80 05` and a final `2e`. JSON never begins with 80, and MessagePack's empty map is nothing but it. */
function isPickle(bytes: Uint8Array): boolean {
  const [first, protocol = 0] = bytes
  return first === 0x80 && protocol >= 2 && protocol <= 5 && endsLikePickle(bytes)
}

function endsLikePickle(bytes: Uint8Array): boolean {
  return bytes.at(-1) === 0x2e
}

/** A serializer of the user's own may show the contents in its errors, as JSON.parse does: those are not passed on. */
function unreadable([cause]: readonly unknown[], { serializer, accept }: DecodeResultOptions): BackendError {
  const reason =
    cause === undefined
      ? `neither ${serializer.name} nor what it was written with is among the accepted ${(accept ?? []).join(', ')}`
      : cause instanceof DrizzleCeleryError
        ? cause.message
        : `it is no pickle, and the serializer ${serializer.name} cannot read it`
  return new BackendError(
    'RESULT_UNREADABLE',
    `Cannot read what is stored: ${reason}`,
    cause instanceof DrizzleCeleryError ? { cause } : {},
  )
}
