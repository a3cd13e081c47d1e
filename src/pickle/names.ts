/** The names of Python's classes and functions, in the spelling of Python 3. */

interface GlobalName {
  readonly module: string
  readonly name: string
}

/** Python 3's name for what protocols 0 to 2 call by Python 2's. */
export function modernize(module: string, name: string): GlobalName {
  const moved = MODERN_NAMES.get(module)?.get(name)
  return moved ?? { module: MODERN_MODULES.get(module) ?? module, name }
}

/** What CPython writes in protocols 0 to 2. Exceptions that Python 2 did not have keep their name, so that none is lost. */
export function antiquate(module: string, name: string): GlobalName {
  if (module === 'builtins' && BUILTIN_EXCEPTIONS.has(name)) {
    return { module: NEW_EXCEPTIONS.has(name) ? module : 'exceptions', name }
  }
  const moved = ANTIQUE_NAMES.get(module)?.get(name)
  return moved ?? { module: ANTIQUE_MODULES.get(module) ?? module, name }
}

/** By module, then by name: a key made of both would be a text of its own for each look-up. */
type Names = ReadonlyMap<string, ReadonlyMap<string, GlobalName>>

function reverse([old, modern]: readonly [string, string]): readonly [string, string] {
  return [modern, old]
}

function namesOf(pairs: readonly (readonly [string, string])[]): Names {
  const names = new Map<string, Map<string, GlobalName>>()
  for (const [from, to] of pairs) {
    const { module, name } = globalOf(from)
    const inModule = names.get(module) ?? new Map<string, GlobalName>()
    names.set(module, inModule.set(name, globalOf(to)))
  }
  return names
}

function globalOf(path: string): GlobalName {
  const dot = path.lastIndexOf('.')
  return { module: path.slice(0, dot), name: path.slice(dot + 1) }
}

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

/** Exceptions of the standard library whose names do not show it, by their modules. */
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
const NEW_EXCEPTIONS: ReadonlySet<string> = words(`
  BaseExceptionGroup BlockingIOError BrokenPipeError ChildProcessError ConnectionAbortedError ConnectionError
  ConnectionRefusedError ConnectionResetError EncodingWarning ExceptionGroup FileExistsError FileNotFoundError
  InterruptedError IsADirectoryError ModuleNotFoundError NotADirectoryError PermissionError ProcessLookupError
  PythonFinalizationError RecursionError ResourceWarning StopAsyncIteration TimeoutError _IncompleteInputError`)

const BUILTIN_EXCEPTIONS: ReadonlySet<string> = new Set([
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

/**
 * What moved between Python 2 and 3, as both pickle modules of CPython know it: each old name stands before its new one.
 */

const MOVED_MODULES: readonly (readonly [string, string])[] = pairs(`
  __builtin__:builtins copy_reg:copyreg Queue:queue SocketServer:socketserver ConfigParser:configparser
  repr:reprlib tkFileDialog:tkinter.filedialog tkSimpleDialog:tkinter.simpledialog
  tkColorChooser:tkinter.colorchooser tkCommonDialog:tkinter.commondialog Dialog:tkinter.dialog
  Tkdnd:tkinter.dnd tkFont:tkinter.font tkMessageBox:tkinter.messagebox ScrolledText:tkinter.scrolledtext
  Tkconstants:tkinter.constants Tix:tkinter.tix ttk:tkinter.ttk Tkinter:tkinter markupbase:_markupbase
  _winreg:winreg thread:_thread dummy_thread:_dummy_thread dbhash:dbm.bsd dumbdbm:dbm.dumb dbm:dbm.ndbm
  gdbm:dbm.gnu xmlrpclib:xmlrpc.client SimpleXMLRPCServer:xmlrpc.server httplib:http.client
  htmlentitydefs:html.entities HTMLParser:html.parser Cookie:http.cookies cookielib:http.cookiejar
  BaseHTTPServer:http.server test.test_support:test.support urlparse:urllib.parse
  robotparser:urllib.robotparser urllib2:urllib.request anydbm:dbm _abcoll:collections.abc`)

/** Modules that were merged into others: they are read, never written. */
const MERGED_MODULES: readonly (readonly [string, string])[] = pairs(`
  commands:subprocess cPickle:pickle _elementtree:xml.etree.ElementTree FileDialog:tkinter.filedialog
  SimpleDialog:tkinter.simpledialog DocXMLRPCServer:xmlrpc.server SimpleHTTPServer:http.server
  CGIHTTPServer:http.server UserDict:collections UserList:collections UserString:collections whichdb:dbm
  StringIO:io cStringIO:io`)

/** Classes and functions that did not move with their module. `exceptions` as a whole became part of `builtins`. */
const MOVED_NAMES: readonly (readonly [string, string])[] = pairs(`
  __builtin__.xrange:builtins.range __builtin__.reduce:functools.reduce __builtin__.intern:sys.intern
  __builtin__.unichr:builtins.chr __builtin__.unicode:builtins.str __builtin__.long:builtins.int
  itertools.izip:builtins.zip itertools.imap:builtins.map itertools.ifilter:builtins.filter
  itertools.ifilterfalse:itertools.filterfalse itertools.izip_longest:itertools.zip_longest
  UserDict.IterableUserDict:collections.UserDict UserList.UserList:collections.UserList
  UserString.UserString:collections.UserString whichdb.whichdb:dbm.whichdb _socket.fromfd:socket.fromfd
  _multiprocessing.Connection:multiprocessing.connection.Connection
  multiprocessing.process.Process:multiprocessing.context.Process
  multiprocessing.forking.Popen:multiprocessing.popen_fork.Popen
  urllib.ContentTooShortError:urllib.error.ContentTooShortError
  urllib.getproxies:urllib.request.getproxies urllib.pathname2url:urllib.request.pathname2url
  urllib.quote_plus:urllib.parse.quote_plus urllib.quote:urllib.parse.quote
  urllib.unquote_plus:urllib.parse.unquote_plus urllib.unquote:urllib.parse.unquote
  urllib.url2pathname:urllib.request.url2pathname urllib.urlcleanup:urllib.request.urlcleanup
  urllib.urlencode:urllib.parse.urlencode urllib.urlopen:urllib.request.urlopen
  urllib.urlretrieve:urllib.request.urlretrieve urllib2.HTTPError:urllib.error.HTTPError
  urllib2.URLError:urllib.error.URLError
  multiprocessing.AuthenticationError:multiprocessing.context.AuthenticationError
  multiprocessing.BufferTooShort:multiprocessing.context.BufferTooShort
  multiprocessing.ProcessError:multiprocessing.context.ProcessError
  multiprocessing.TimeoutError:multiprocessing.context.TimeoutError`)

/** The same for classes and functions. */
const MERGED_NAMES: readonly (readonly [string, string])[] = pairs(`
  __builtin__.basestring:builtins.str exceptions.StandardError:builtins.Exception
  UserDict.UserDict:collections.UserDict socket._socketobject:socket.SocketType`)

function pairs(text: string): (readonly [string, string])[] {
  return text
    .trim()
    .split(/\s+/)
    .map((pair) => {
      const [old = '', modern = ''] = pair.split(':')
      return [old, modern] as const
    })
}

const MODERN_NAMES = namesOf([...MERGED_NAMES, ...MOVED_NAMES])
const ANTIQUE_NAMES = namesOf(MOVED_NAMES.map(reverse))
const MODERN_MODULES: ReadonlyMap<string, string> = new Map([
  ...MERGED_MODULES,
  ...MOVED_MODULES,
  ['exceptions', 'builtins'],
])
const ANTIQUE_MODULES: ReadonlyMap<string, string> = new Map(MOVED_MODULES.map(reverse))
