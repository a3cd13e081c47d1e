import { inspect } from 'node:util'
import { isNativeError } from 'node:util/types'
import { DrizzleCeleryError } from '../errors.ts'
import { classesOf, type PyClasses, readBy } from '../pickle/classes.ts'
import { decode } from '../pickle/decode.ts'
import { encode } from '../pickle/encode.ts'
import type { DecodeOptions } from '../pickle/limits.ts'
import { childrenOf } from '../pickle/measure.ts'
import { type Dict, getItem, isDict, PyException, PyObject, PyTuple } from '../pickle/values.ts'
import { BackendError, TaskError, type TaskFailure } from './errors.ts'
import { readJson } from './json.ts'
import { writeJson } from './json-writer.ts'
import { cleanText } from './texts.ts'
import { EXCEPTION_STATES, type StoredTask } from './types.ts'

export interface EncodeResultOptions {
  /**
   * `pickle`: what every Celery up to 5.6 writes and reads in this column, whatever its serializer. `serializer`: what
   * Celery 5.7 writes; older ones cannot read even the state of such a row.
   */
  readonly wire: 'pickle' | 'serializer'
  /** Also says, for `pickle`, which arguments of an exception are kept and which are replaced by their texts. */
  readonly serializer: Serializer
  /** Classes of the program, for pickles. */
  readonly classes?: PyClasses | undefined
}

export interface DecodeResultOptions {
  /** What the column was written with, when it is no pickle. */
  readonly serializer: Serializer
  /** What a pickle may cost, and JSON where it has the same limits. */
  readonly pickle?: DecodeOptions | undefined
  /** The names or content types that may be read. @default all */
  readonly accept?: readonly string[] | null | undefined
}

/**
 * What Celery stores in the `result` column: SQL NULL for `null` and `undefined`, in the states of `EXCEPTION_STATES` the
 * dict of `exceptionDict`, and in the others the value as it is. A thrown value that is no error becomes such a dict,
 * too, unless it is one: Celery fails on anything else there, even when it only reads the state.
 *
 * @throws PickleError (`PICKLE_UNENCODABLE`), BackendError (`RESULT_UNENCODABLE`) or what a serializer of your own throws
 */
export function encodeResult(value: unknown, state: string, options: EncodeResultOptions): Uint8Array | null {
  if (value === null || value === undefined) return null
  const write = writerOf(options)
  if (!EXCEPTION_STATES.has(state) || isExceptionDict(value)) return write(value)
  // As Celery: an argument that the serializer cannot write is replaced, also when the result is pickled.
  return write(
    exceptionDict(value, (arg) => {
      encodeBy(options.serializer, arg, options.classes)
      return write(arg)
    }),
  )
}

/** How values of this wire become bytes. */
function writerOf({ wire, serializer, classes }: EncodeResultOptions): (value: unknown) => Uint8Array {
  return wire === 'pickle'
    ? (value) => encode(value, { classes })
    : (value) => encodeBy(serializer, value, classes)
}

/** What a serializer writes; only a pickle can hold classes of the program. */
export function encodeBy(serializer: Serializer, value: unknown, classes: PyClasses | undefined): Uint8Array {
  if (serializer !== pickleSerializer) return serializer.encode(value)
  return encode(value, { protocol: PICKLE_PROTOCOL, classes })
}

function isExceptionDict(value: unknown): boolean {
  return isDict(value) && typeof getItem(value, 'exc_type') === 'string'
}

/**
 * Reads a `result` column, or one of the extended columns, written by Python or Node: a pickle of protocol 2 to 5 is known by its
 * first two bytes and its last, all else goes to the serializer, and what that cannot read may be a pickle of protocol 0
 * or 1. The database URL in a pickled AsyncResult is left out.
 *
 * Celery fails on an unreadable row before it reads the state. So decode only when the result is needed.
 *
 * @throws BackendError (`RESULT_UNREADABLE`), which never repeats what is stored; its `cause` is the PickleError or the
 * BackendError with the reason
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

export { TaskError }

/** A failure as Celery stores it unless it pickles exceptions whole. */
export interface ExceptionDict {
  readonly exc_type: string
  readonly exc_message: PyTuple
  readonly exc_module: string | null
}

/**
 * The dict from which Celery makes an exception again, by the name of its class: a name that its module does not have becomes
 * a new class of `celery.exceptions`, which no program catches. So JavaScript's own errors take the names of Python's:
 *
 * | here | in Python |
 * |---|---|
 * | TypeError, SyntaxError, AssertionError | the same |
 * | RangeError, URIError | ValueError |
 * | ReferenceError | NameError |
 * | EvalError | RuntimeError |
 * | Error, AggregateError and any thrown value | Exception |
 * | a `TimeoutError`, `AbortSignal.timeout()`'s for example | TimeoutError |
 * | PyException, TaskError | what it was in Python |
 * | a class of your own | its `name`, or that of its class, in the module `node` |
 *
 * @param encode throws for what cannot be stored; such an argument of an exception is replaced by its text, as Celery does
 */
export function exceptionDict(error: unknown, encode: (value: unknown) => unknown): ExceptionDict {
  const { excType, excModule, excMessage } = exceptionOf(error) ?? unnamed(error)
  return {
    exc_type: cleanText(excType),
    exc_message: PyTuple.from(excMessage, (arg) => (isEncodable(arg, encode) ? arg : textOf(arg))),
    exc_module: excModule,
  }
}

/**
 * The error to throw for the failure in a task's `result`: from the dict, from a pickled exception, whole or wrapped, or
 * from any other value that a task's code has stored.
 */
export function taskErrorOf(meta: StoredTask): TaskError {
  const { taskId, status, traceback, result } = meta
  const { excType, excModule, excMessage } =
    exceptionOf(result) ?? (result === null && status === 'REVOKED' ? REVOKED : unnamed(result))
  return new TaskError({ taskId, traceback, excType, excModule, excMessage })
}

type Exception = Pick<TaskFailure, 'excType' | 'excModule' | 'excMessage'>

/** A worker that was killed may have stored nothing more. */
const REVOKED: Exception = { excType: 'TaskRevokedError', excModule: 'celery.exceptions', excMessage: [] }

/** A value that is no exception, but was stored or thrown as one. */
function unnamed(value: unknown): Exception {
  const excMessage = value === null || value === undefined ? [] : [value]
  return { excType: 'Exception', excModule: 'builtins', excMessage }
}

function exceptionOf(value: unknown): Exception | null {
  if (value instanceof TaskError) return value
  if (value instanceof Error || isNativeError(value)) return exceptionOfError(value)
  const stored = storedException(value)
  return stored === null ? null : unwrapped(stored)
}

/** An exception as Celery stores it: pickled whole, or as the dict. */
function storedException(value: unknown): Exception | null {
  if (value instanceof PyException) {
    return { excType: value.type, excModule: value.module, excMessage: value.args }
  }
  if (value instanceof PyObject && value.kind !== 'global') {
    return { excType: value.name, excModule: value.module, excMessage: value.args }
  }
  return isDict(value) ? exceptionOfDict(value) : null
}

/**
 * Celery wraps what Python could not pickle: `(module, class, arguments, text)`. It does so before it chooses
 * how to store the exception. The arguments are a text where the serializer cannot write one of them.
 */
function unwrapped(exception: Exception): Exception {
  if (exception.excModule !== WRAPPER.module || exception.excType !== WRAPPER.type) return exception
  const [excModule, excType, args] = exception.excMessage
  if (typeof excModule !== 'string' || typeof excType !== 'string') return exception
  return { excType, excModule, excMessage: argumentsOf(args) }
}

const WRAPPER = { module: 'celery.utils.serialization', type: 'UnpickleableExceptionWrapper' }

function exceptionOfDict(dict: Dict): Exception | null {
  const excType = getItem(dict, 'exc_type')
  const excModule = getItem(dict, 'exc_module')
  if (typeof excType !== 'string') return null
  return {
    excType,
    excModule: typeof excModule === 'string' ? excModule : null,
    excMessage: argumentsOf(getItem(dict, 'exc_message')),
  }
}

function argumentsOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value
  return value === undefined ? [] : [value]
}

function exceptionOfError(error: Error): Exception {
  const name = nameOf(error)
  const python = IN_PYTHON.get(name)
  return {
    excType: python ?? name,
    excModule: python === undefined ? 'node' : 'builtins',
    excMessage: error.message === '' ? [] : [error.message],
  }
}

const IN_PYTHON: ReadonlyMap<string, string> = new Map([
  ['Error', 'Exception'],
  ['AggregateError', 'Exception'],
  ['AssertionError', 'AssertionError'],
  ['EvalError', 'RuntimeError'],
  ['RangeError', 'ValueError'],
  ['ReferenceError', 'NameError'],
  ['SyntaxError', 'SyntaxError'],
  ['TimeoutError', 'TimeoutError'],
  ['TypeError', 'TypeError'],
  ['URIError', 'ValueError'],
])

/** The name of an error, or of its class when that sets none and so inherits the one of a built-in class. */
function nameOf(error: Error): string {
  const name = textOr(error.name, 'Error')
  const className = textOr(error.constructor?.name, name)
  const isBuiltIn = className === 'DOMException' || IN_PYTHON.has(className)
  return isBuiltIn || !IN_PYTHON.has(name) ? name : className
}

/** A program may have stored anything here. */
function textOr(value: unknown, otherwise: string): string {
  return typeof value === 'string' && value !== '' ? value : otherwise
}

function isEncodable(value: unknown, encode: (value: unknown) => unknown): boolean {
  try {
    encode(value)
    return true
  } catch {
    // The reason does not matter: its text takes its place.
    return false
  }
}

/** In place of Python's `repr`. */
function textOf(value: unknown): string {
  try {
    return inspect(value, { depth: 2, maxArrayLength: 100, maxStringLength: 1_000, breakLength: Infinity })
  } catch {
    // An `inspect` of its own, or a getter, that throws.
    return '<unprintable>'
  }
}

/**
 * Reads a pickle that Celery wrote, its backends emptied: it pickles an AsyncResult and a group together with their
 * backend, and that as the database URL, password included, and the options of its engine. None of it is needed here.
 *
 * @throws PickleError
 */
function readPickle(bytes: Uint8Array, options: DecodeOptions = {}): unknown {
  const { classes, ...limits } = options
  const value = decode(bytes, limits)
  // Before a class of the program takes them in.
  if (mentionsBackend(bytes)) emptyBackends(value)
  return classes === undefined ? value : readBy(classesOf(classes), value)
}

function emptyBackends(value: unknown): void {
  const seen = new Set<object>()
  const left: unknown[] = [value]
  while (left.length > 0) {
    const next = left.pop()
    if (typeof next !== 'object' || next === null || seen.has(next)) continue
    seen.add(next)
    if (isBackend(next)) empty(next)
    for (const child of childrenOf(next)) left.push(child)
  }
}

const MAKER = 'unpickle_backend'

function mentionsBackend(pickle: Uint8Array): boolean {
  return Buffer.from(pickle.buffer, pickle.byteOffset, pickle.length).includes(MAKER)
}

function isBackend(value: object): value is PyObject {
  return value instanceof PyObject && value.kind === 'call' && value.name === MAKER
}

function empty(backend: PyObject): void {
  backend.args.length = 0
  backend.state = null
}

/** How values become the bytes of a column, and back: what kombu calls a serializer. */
export interface Serializer {
  /** As in Celery's `result_serializer`: `json`, `pickle`, `msgpack`, … */
  readonly name: string
  /** `application/json`, … */
  readonly contentType: string
  /** Throws for a value that it cannot write. */
  encode(value: unknown): Uint8Array
  /** Throws for bytes that it did not write; the error's text is never shown. */
  decode(bytes: Uint8Array): unknown
}

/** kombu's JSON, to the byte. */
export const jsonSerializer: Serializer = {
  name: 'json',
  contentType: 'application/json',
  encode: (value) => new TextEncoder().encode(writeJson(value)),
  decode: readJson,
}

/** kombu's. */
const PICKLE_PROTOCOL = 4

/** Pickles of protocol 4, as kombu writes them. Reading one runs nothing: see `drizzle-celery/pickle`. */
export const pickleSerializer: Serializer = {
  name: 'pickle',
  contentType: 'application/x-python-serialize',
  encode: (value) => encode(value, { protocol: PICKLE_PROTOCOL }),
  decode: (bytes) => readPickle(bytes),
}

/** The serializer of a name, or the one that was given. */
export function serializerOf(given: 'json' | 'pickle' | Serializer): Serializer {
  if (given === 'json') return jsonSerializer
  return given === 'pickle' ? pickleSerializer : given
}
