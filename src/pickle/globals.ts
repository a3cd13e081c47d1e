/** The names of Python's classes and functions, in the spelling of Python 3, and which of them are exceptions. */

export interface GlobalName {
  readonly module: string
  readonly name: string
}

/** Protocols 0 to 2 spell what moved in Python 3 as Python 2 did: of that, what is built in is put right. */
export function modernize(module: string, name: string): GlobalName {
  const moved = module === '__builtin__' ? MODERN_NAMES.get(name) : undefined
  return moved ?? { module: MODERN_MODULES.get(module) ?? module, name }
}

/** What CPython writes in protocols 0 to 2. Exceptions that Python 2 did not have keep their name, so that none is lost. */
export function antiquate(module: string, name: string): GlobalName {
  const moved = ANTIQUE_NAMES.get(keyOf(module, name))
  if (moved !== undefined) return { module: '__builtin__', name: moved }
  if (module === 'builtins' && BUILTIN_EXCEPTIONS.has(name)) {
    return { module: NEW_EXCEPTIONS.has(name) ? module : 'exceptions', name }
  }
  return { module: ANTIQUE_MODULES.get(module) ?? module, name }
}

/** A key for tables of known names: no other pair shares it, since none of theirs has a line break. */
export function keyOf(module: string, name: string): string {
  return `${module}\n${name}`
}

/** What left Python 2's `__builtin__`: its name there, its module and its name now. */
const MOVED = [
  ['xrange', 'builtins', 'range'],
  ['unicode', 'builtins', 'str'],
  ['long', 'builtins', 'int'],
  ['unichr', 'builtins', 'chr'],
  ['reduce', 'functools', 'reduce'],
  ['intern', 'sys', 'intern'],
] as const

const MODERN_NAMES: ReadonlyMap<string, GlobalName> = new Map([
  ...MOVED.map(([old, module, name]) => [old, { module, name }] as const),
  ['basestring', { module: 'builtins', name: 'str' }],
])
const ANTIQUE_NAMES: ReadonlyMap<string, string> = new Map(
  MOVED.map(([old, module, name]) => [keyOf(module, name), old]),
)
const MODERN_MODULES: ReadonlyMap<string, string> = new Map([
  ['__builtin__', 'builtins'],
  ['copy_reg', 'copyreg'],
  ['exceptions', 'builtins'],
])
const ANTIQUE_MODULES: ReadonlyMap<string, string> = new Map([
  ['builtins', '__builtin__'],
  ['copyreg', 'copy_reg'],
])

/**
 * Whether a class is an exception. Known for Python's own and for those of Celery, kombu and billiard; a class of another
 * module counts as one when its arguments were given to it by a call, as exceptions are pickled, and its name ends like
 * an exception's.
 */
export function isException(module: string, name: string, isCall: boolean): boolean {
  if (module === 'builtins') return BUILTIN_EXCEPTIONS.has(name)
  if (EXCEPTION_MODULES.has(module)) return /^[A-Z]/.test(name)
  const simpleName = name.slice(name.lastIndexOf('.') + 1)
  return isCall && EXCEPTION_NAME.test(simpleName)
}

const EXCEPTION_MODULES: ReadonlySet<string> = new Set([
  'celery.exceptions',
  'kombu.exceptions',
  'billiard.exceptions',
  'amqp.exceptions',
  'sqlalchemy.exc',
  'requests.exceptions',
  'concurrent.futures._base',
])

const EXCEPTION_NAME =
  /^_*[A-Z]\w*(Error|Exception|ExceptionGroup|ExceptionWrapper|Warning|Exit|Interrupt|Timeout|Failure|Fault)$|^Error$|^Exception$|^Timeout$/

/** Those of Python 3 only. */
const NEW_EXCEPTIONS: ReadonlySet<string> = new Set(
  `BaseExceptionGroup BlockingIOError BrokenPipeError ChildProcessError ConnectionAbortedError ConnectionError
  ConnectionRefusedError ConnectionResetError EncodingWarning ExceptionGroup FileExistsError FileNotFoundError
  InterruptedError IsADirectoryError ModuleNotFoundError NotADirectoryError PermissionError ProcessLookupError
  PythonFinalizationError RecursionError ResourceWarning StopAsyncIteration TimeoutError _IncompleteInputError`.split(
    /\s+/,
  ),
)

const BUILTIN_EXCEPTIONS: ReadonlySet<string> = new Set([
  ...NEW_EXCEPTIONS,
  ...`ArithmeticError AssertionError AttributeError BaseException BufferError BytesWarning DeprecationWarning EOFError
  EnvironmentError Exception FloatingPointError FutureWarning GeneratorExit IOError ImportError ImportWarning
  IndentationError IndexError KeyError KeyboardInterrupt LookupError MemoryError NameError NotImplementedError OSError
  OverflowError PendingDeprecationWarning ReferenceError RuntimeError RuntimeWarning StandardError StopIteration
  SyntaxError SyntaxWarning SystemError SystemExit TabError TypeError UnboundLocalError UnicodeDecodeError
  UnicodeEncodeError UnicodeError UnicodeTranslateError UnicodeWarning UserWarning ValueError Warning
  ZeroDivisionError`.split(/\s+/),
])
