/** Which of Python's classes are exceptions. */

/** Names beyond are not looked at: a pickle may hold one of megabytes and use it often. */
const LONGEST_NAME = 1_000

/**
 * Known by name, or by a module that has nothing else to call. A class of another module counts as one when its arguments
 * were given to it by a call, as exceptions are pickled, and its name ends like an exception's.
 */
export function isException(module: string, name: string, isCall: boolean): boolean {
  if (module.length > LONGEST_NAME || name.length > LONGEST_NAME) return false
  if (module === 'builtins') return BUILTIN_EXCEPTIONS.has(name)
  if (KNOWN_EXCEPTIONS.get(module)?.has(name) === true) return true
  if (EXCEPTION_MODULES.has(module)) return /^[A-Z]/.test(name)
  return isCall && EXCEPTION_NAME.test(name.slice(name.lastIndexOf('.') + 1))
}

const EXCEPTION_MODULES: ReadonlySet<string> = words(`
  celery.exceptions kombu.exceptions billiard.exceptions amqp.exceptions sqlalchemy.exc requests.exceptions
  urllib3.exceptions redis.exceptions botocore.exceptions django.core.exceptions psycopg2.errors psycopg.errors
  concurrent.futures._base asyncio.exceptions`)

const EXCEPTION_NAME =
  /^_*[A-Z]\w*(?:Error|Exception|ExceptionGroup|ExceptionWrapper|Warning|Exit|Interrupt|Timeout|Failure|Fault)$|^(?:Error|Exception|Warning|Timeout|DoesNotExist|MultipleObjectsReturned)$/

/** Those of the standard library whose names do not tell, where Python says that they live. */
const KNOWN_EXCEPTIONS: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['subprocess', words('TimeoutExpired')],
  ['_queue', words('Empty')],
  ['queue', words('Empty Full ShutDown')],
  ['asyncio.queues', words('QueueEmpty QueueFull QueueShutDown')],
  ['multiprocessing.context', words('BufferTooShort')],
  ['concurrent.futures.process', words('BrokenProcessPool')],
  ['concurrent.futures.thread', words('BrokenThreadPool')],
  ['socket', words('error gaierror herror timeout')],
  ['select', words('error')],
  ['struct', words('error')],
  ['zlib', words('error')],
  ['re', words('error')],
  ['sre_constants', words('error')],
  ['binascii', words('Incomplete')],
  ['zipfile', words('BadZipFile LargeZipFile')],
  ['ftplib', words('error_perm error_proto error_reply error_temp')],
  [
    'decimal',
    words(`
      Clamped ConversionSyntax DivisionByZero DivisionImpossible DivisionUndefined FloatOperation Inexact InvalidContext
      InvalidOperation Overflow Rounded Subnormal Underflow`),
  ],
  [
    'http.client',
    words(`
      BadStatusLine CannotSendHeader CannotSendRequest ImproperConnectionState IncompleteRead InvalidURL LineTooLong
      NotConnected RemoteDisconnected ResponseNotReady UnimplementedFileMode UnknownProtocol UnknownTransferEncoding`),
  ],
  ['smtplib', words('SMTPRecipientsRefused SMTPSenderRefused SMTPServerDisconnected')],
])

/** Those of Python 3 only. */
export const NEW_EXCEPTIONS: ReadonlySet<string> = words(`
  BaseExceptionGroup BlockingIOError BrokenPipeError ChildProcessError ConnectionAbortedError ConnectionError
  ConnectionRefusedError ConnectionResetError EncodingWarning ExceptionGroup FileExistsError FileNotFoundError
  InterruptedError IsADirectoryError ModuleNotFoundError NotADirectoryError PermissionError ProcessLookupError
  PythonFinalizationError RecursionError ResourceWarning StopAsyncIteration TimeoutError _IncompleteInputError`)

export const BUILTIN_EXCEPTIONS: ReadonlySet<string> = new Set([
  ...NEW_EXCEPTIONS,
  ...words(`
    ArithmeticError AssertionError AttributeError BaseException BufferError BytesWarning DeprecationWarning EOFError
    EnvironmentError Exception FloatingPointError FutureWarning GeneratorExit IOError ImportError ImportWarning
    IndentationError IndexError KeyError KeyboardInterrupt LookupError MemoryError NameError NotImplementedError OSError
    OverflowError PendingDeprecationWarning ReferenceError RuntimeError RuntimeWarning StopIteration SyntaxError
    SyntaxWarning SystemError SystemExit TabError TypeError UnboundLocalError UnicodeDecodeError UnicodeEncodeError
    UnicodeError UnicodeTranslateError UnicodeWarning UserWarning ValueError Warning ZeroDivisionError`),
])

function words(text: string): ReadonlySet<string> {
  return new Set(text.trim().split(/\s+/))
}
