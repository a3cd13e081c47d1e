import { inspect } from 'node:util'
import { isNativeError } from 'node:util/types'
import { TaskError, type TaskFailure } from '../errors.ts'
import { type Dict, getItem, isDict, PyException, PyObject, PyTuple } from '../pickle/values.ts'
import type { TaskMeta } from './task-meta.ts'
import { cleanText } from './text-guard.ts'

export { TaskError }

/** A failure as Celery stores it unless it pickles exceptions whole. */
export interface ExceptionDict {
  readonly exc_type: string
  readonly exc_message: PyTuple
  readonly exc_module: string | null
}

/**
 * The dict that Celery makes an exception of again. It does so by the name of the class: one that its module does not have
 * becomes a new class of `celery.exceptions`, which nobody catches. So JavaScript's own errors take the names of Python's:
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
 * from whatever else a task's code has put there.
 */
export function taskErrorOf(meta: TaskMeta): TaskError {
  const { taskId, status, traceback, result } = meta
  const { excType, excModule, excMessage } =
    exceptionOf(result) ?? (result === null && status === 'REVOKED' ? REVOKED : unnamed(result))
  return new TaskError({ taskId, traceback, excType, excModule, excMessage })
}

type Exception = Pick<TaskFailure, 'excType' | 'excModule' | 'excMessage'>

/** A worker that was killed may have had no time to say more. */
const REVOKED: Exception = { excType: 'TaskRevokedError', excModule: 'celery.exceptions', excMessage: [] }

/** What is no exception, but stored or thrown as one. */
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

/** What Celery has stored: an exception that it pickled whole, or the dict. */
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
 * Celery wraps what Python could not pickle: `(module, class, arguments, text)`. It does so before it knows how the exception
 * is stored. The arguments are a text where the serializer has no word for one of them.
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

/** A program may have put anything there. */
function textOr(value: unknown, otherwise: string): string {
  return typeof value === 'string' && value !== '' ? value : otherwise
}

function isEncodable(value: unknown, encode: (value: unknown) => unknown): boolean {
  try {
    encode(value)
    return true
  } catch {
    // Why does not matter: its text takes its place.
    return false
  }
}

/** Python would take its `repr`. */
function textOf(value: unknown): string {
  try {
    return inspect(value, { depth: 2, maxArrayLength: 100, maxStringLength: 1_000, breakLength: Infinity })
  } catch {
    // An `inspect` of its own, or a getter, that throws.
    return '<unprintable>'
  }
}
