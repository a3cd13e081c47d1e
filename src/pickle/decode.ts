import { PickleError } from '../errors.ts'
import { classesOf, readBy } from './classes.ts'
import { type DecodeOptions, type Limits, limitsOf } from './limits.ts'
import { Machine } from './machine.ts'
import { readDecimalInteger, readFloat, readTwosComplement } from './numbers.ts'
import { BINPERSID, EXT1, EXT2, EXT4, NEXT_BUFFER, opcodeName, PERSID, READONLY_BUFFER } from './opcodes.ts'
import { Reader } from './reader.ts'
import { readLatin1, readQuotedBytes, readRawUnicodeEscape, readUtf8, textOrBytes } from './text.ts'

/**
 * Reads a Python pickle of protocol 0 to 5 as data. Nothing it names is imported, called or looked up: a class, a function
 * or an instance that is not one of the values below becomes a {@link PyObject}, which only describes it.
 *
 * | Python | here |
 * |---|---|
 * | `None`, `bool`, `str` | `null`, boolean, string; lone surrogates are kept |
 * | `int` | number when safe, else bigint (which `JSON.stringify` refuses) |
 * | `float` | number; a whole one such as `1.0` is no longer told from `1` |
 * | `bytes`, `bytearray` | Uint8Array, a copy |
 * | `list`; `tuple` | Array; PyTuple |
 * | `set`, `frozenset` | Set |
 * | `dict`, `OrderedDict`, `defaultdict`, `Counter` | a plain object when every key is a string, else a Map |
 * | `date`, `time`, `datetime`, `timedelta` | PyDate, PyTime, PyDateTime, PyTimeDelta |
 * | `timezone`, `ZoneInfo` | PyTimeZone |
 * | `Decimal`; `UUID` | PyDecimal; string |
 * | exceptions | PyException |
 * | anything else | PyObject, or what the option `classes` makes of it |
 *
 * A `str` of Python 2 is a string when it is ASCII, else a Uint8Array. As in every JavaScript object, keys that look like
 * array indices come first. Values that are the same in Python are the same here, cycles included. What follows the end
 * of the pickle is ignored, and so are the attributes of a subclass instance that is read as a dict.
 *
 * An exception is known by its name when it is built in, of the standard library, or of Celery, kombu, billiard, amqp,
 * SQLAlchemy, psycopg, redis, requests, urllib3, botocore or Django's core; any other when its class was called, as
 * exceptions are pickled, and is named like one: `…Error`, `…Exception`, `…Warning`, `…Timeout`, `…DoesNotExist` and the
 * like. One with other names is a PyObject, and so is what is named like one but has items.
 *
 * Some distinctions of Python are lost: a `frozenset` is written again as a `set` where it is a value, a `bytearray` as
 * `bytes`, and a `defaultdict`, without its factory, as a `dict`. Of several keys `nan` the last one stays, the key `-0.0`
 * becomes `0`, and two lone surrogates that follow each other in a `str` become one character.
 *
 * The result may be given to `util.inspect`, `structuredClone` and `JSON.stringify`: the limits see to it that it is not
 * too deep for them, and that they do not make much more of it than the pickle is long, unless it has large bytes. JSON
 * has no cycles and no bigints (a TypeError), and makes `{}` of a Map and a Set. Of a Uint8Array it makes an object of
 * numbers, which takes seconds for some megabytes: encode large bytes in base64 before.
 *
 * @throws PickleError if it cannot be read or is larger than the options allow
 * @throws OptionError for an option that is unknown or no whole number
 */
export function decode(bytes: Uint8Array, options: DecodeOptions = {}): unknown {
  if (!(bytes instanceof Uint8Array)) {
    throw new PickleError('PICKLE_INPUT', 'Cannot decode the pickle: it must be given as a Uint8Array')
  }
  const limits = limitsOf(options, bytes.length)
  if (bytes.length > limits.maxBytes) {
    const message = `Cannot decode the pickle: its ${bytes.length} bytes are more than maxBytes, ${limits.maxBytes}`
    throw new PickleError('PICKLE_LIMIT', message, { limit: 'maxBytes' })
  }
  // A Buffer's `slice` would share its memory.
  const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const value = run(new Reader(plain), limits)
  return options.classes === undefined ? value : readBy(classesOf(options.classes), value)
}

/** The opcodes stand as numbers, because only a switch over literals is a jump: by their names it takes fifty times as long. */
function run(reader: Reader, limits: Limits): unknown {
  const machine = new Machine(reader, limits)
  const { maxOpcodes } = limits
  for (let count = 1; ; count++) {
    const opcode = reader.opcode()
    if (count > maxOpcodes)
      throw reader.error('PICKLE_LIMIT', `more opcodes than maxOpcodes, ${maxOpcodes}`, 'maxOpcodes')
    switch (opcode) {
      case 0x94: // MEMOIZE
        machine.memoize()
        break
      case 0x8c: // SHORT_BINUNICODE
        machine.push(utf8(reader, reader.byte()))
        break
      case 0x68: // BINGET
        machine.get(reader.byte())
        break
      case 0x47: // BINFLOAT
        machine.push(reader.float())
        break
      case 0x4b: // BININT1
        machine.push(reader.byte())
        break
      case 0x4d: // BININT2
        machine.push(reader.uint16())
        break
      case 0x4a: // BININT
        machine.push(reader.int32())
        break
      case 0x6a: // LONG_BINGET
        machine.get(reader.uint32())
        break
      case 0x71: // BINPUT
        machine.put(reader.byte())
        break
      case 0x72: // LONG_BINPUT
        machine.put(reader.uint32())
        break
      case 0x58: // BINUNICODE
        machine.push(utf8(reader, reader.uint32()))
        break
      case 0x4e: // NONE
        machine.push(null)
        break
      case 0x88: // NEWTRUE
        machine.push(true)
        break
      case 0x89: // NEWFALSE
        machine.push(false)
        break
      case 0x28: // MARK
        machine.mark()
        break
      case 0x7d: // EMPTY_DICT
        machine.pushContainer({})
        break
      case 0x73: // SETITEM
        machine.setItem()
        break
      case 0x75: // SETITEMS
        machine.setItems()
        break
      case 0x5d: // EMPTY_LIST
        // V8 gives a literal the form that earlier lists grew into, in which each float would be an object of its own.
        machine.pushContainer(Array.of())
        break
      case 0x61: // APPEND
        machine.append()
        break
      case 0x65: // APPENDS
        machine.appends()
        break
      case 0x29: // EMPTY_TUPLE
        machine.tuple(0)
        break
      case 0x85: // TUPLE1
        machine.tuple(1)
        break
      case 0x86: // TUPLE2
        machine.tuple(2)
        break
      case 0x87: // TUPLE3
        machine.tuple(3)
        break
      case 0x74: // TUPLE
        machine.tupleOfMarked()
        break
      case 0x8a: // LONG1
        machine.pushNumber(integer(reader, reader.byte(), limits))
        break
      case 0x8b: // LONG4
        machine.pushNumber(integer(reader, reader.int32(), limits))
        break
      case 0x93: // STACK_GLOBAL
        machine.stackGlobal()
        break
      case 0x52: // REDUCE
        machine.reduce()
        break
      case 0x62: // BUILD
        machine.build()
        break
      case 0x81: // NEWOBJ
        machine.newObject()
        break
      case 0x92: // NEWOBJ_EX
        machine.newObjectWithKeywords()
        break
      case 0x43: // SHORT_BINBYTES
        machine.pushBytes(bytes(reader, reader.byte()))
        break
      case 0x42: // BINBYTES
        machine.pushBytes(bytes(reader, reader.uint32()))
        break
      case 0x8f: // EMPTY_SET
        machine.pushSet(new Set())
        break
      case 0x90: // ADDITEMS
        machine.addItems()
        break
      case 0x91: // FROZENSET
        machine.frozenSet()
        break
      case 0x95: // FRAME
        reader.expect(reader.length64())
        break
      case 0x80: // PROTO
        machine.protocol(reader.byte())
        break
      case 0x2e: // STOP
        return machine.stop()
      case 0x30: // POP
        machine.pop()
        break
      case 0x31: // POP_MARK
        machine.popMark()
        break
      case 0x32: // DUP
        machine.duplicate()
        break
      case 0x8d: // BINUNICODE8
        machine.push(utf8(reader, reader.length64()))
        break
      case 0x8e: // BINBYTES8
      case 0x96: // BYTEARRAY8
        machine.pushBytes(bytes(reader, reader.length64()))
        break
      case 0x49: // INT
        machine.pushLine(integerLine(reader, limits))
        break
      case 0x4c: // LONG
        machine.pushLine(longLine(reader, limits))
        break
      case 0x46: // FLOAT
        machine.pushLine(floatLine(reader, limits))
        break
      case 0x53: // STRING
        machine.pushBytes(textOrBytes(valid(reader, readQuotedBytes(reader.line()))))
        break
      case 0x54: // BINSTRING
        machine.pushBytes(string(reader, reader.int32()))
        break
      case 0x55: // SHORT_BINSTRING
        machine.pushBytes(string(reader, reader.byte()))
        break
      case 0x56: // UNICODE
        machine.pushLine(valid(reader, readRawUnicodeEscape(reader.line())))
        break
      case 0x6c: // LIST
        machine.listOfMarked()
        break
      case 0x64: // DICT
        machine.dictOfMarked()
        break
      case 0x67: // GET
        machine.get(index(reader))
        break
      case 0x70: // PUT
        machine.put(index(reader))
        break
      case 0x63: // GLOBAL
        machine.global(name(reader), name(reader))
        break
      case 0x69: // INST
        machine.instance(name(reader), name(reader))
        break
      case 0x6f: // OBJ
        machine.objectOfMarked()
        break
      default:
        throw refusal(reader, opcode)
    }
  }
}

const REFUSED: ReadonlyMap<number, string> = new Map([
  [PERSID, 'a persistent id stands for something outside the pickle'],
  [BINPERSID, 'a persistent id stands for something outside the pickle'],
  [EXT1, 'an extension code stands for a class that only its writer knows'],
  [EXT2, 'an extension code stands for a class that only its writer knows'],
  [EXT4, 'an extension code stands for a class that only its writer knows'],
  [NEXT_BUFFER, 'the buffer is outside the pickle'],
  [READONLY_BUFFER, 'the buffer is outside the pickle'],
])

function refusal(reader: Reader, opcode: number): PickleError {
  const reason = REFUSED.get(opcode)
  if (reason !== undefined) return reader.error('PICKLE_REFUSED', reason)
  return reader.error('PICKLE_OPCODE', `${opcodeName(opcode)} is no opcode`)
}

function valid<Value>(reader: Reader, value: Value | undefined): Value {
  if (value === undefined) throw reader.error('PICKLE_VALUE', 'the argument is malformed')
  return value
}

function utf8(reader: Reader, length: number): string {
  const start = reader.take(length)
  return valid(reader, readUtf8(reader.bytes, start, start + length))
}

function bytes(reader: Reader, length: number): Uint8Array {
  const start = reader.take(length)
  return reader.bytes.slice(start, start + length)
}

/** A Python 2 `str`. */
function string(reader: Reader, length: number): string | Uint8Array {
  if (length < 0) throw reader.error('PICKLE_VALUE', 'the length is negative')
  const start = reader.take(length)
  return textOrBytes(reader.bytes.subarray(start, start + length))
}

function integer(reader: Reader, length: number, { maxNumberBytes }: Limits): number | bigint {
  if (length < 0) throw reader.error('PICKLE_VALUE', 'the length is negative')
  checkNumber(reader, length, maxNumberBytes)
  const start = reader.take(length)
  return readTwosComplement(reader.bytes.subarray(start, start + length))
}

/** `00` and `01` are how protocols 0 and 1 write booleans. */
function integerLine(reader: Reader, { maxNumberBytes }: Limits): number | bigint | boolean {
  const line = reader.line()
  checkNumber(reader, line.length / DIGITS_A_BYTE, maxNumberBytes)
  const text = readLatin1(line, 0, line.length)
  if (text === '00' || text === '01') return text === '01'
  return valid(reader, readDecimalInteger(text))
}

function longLine(reader: Reader, { maxNumberBytes }: Limits): number | bigint {
  const line = reader.line()
  checkNumber(reader, line.length / DIGITS_A_BYTE, maxNumberBytes)
  return valid(reader, readDecimalInteger(readLatin1(line, 0, line.length).replace(/L$/, '')))
}

function floatLine(reader: Reader, { maxNumberBytes }: Limits): number {
  const line = reader.line()
  checkNumber(reader, line.length / DIGITS_A_BYTE, maxNumberBytes)
  return valid(reader, readFloat(readLatin1(line, 0, line.length)))
}

const DIGITS_A_BYTE = 8 * Math.log10(2)

function checkNumber(reader: Reader, length: number, maxNumberBytes: number): void {
  if (length <= maxNumberBytes) return
  throw reader.error(
    'PICKLE_LIMIT',
    `a number of more than maxNumberBytes, ${maxNumberBytes}`,
    'maxNumberBytes',
  )
}

function index(reader: Reader): number {
  const line = reader.line()
  // More digits than a safe integer has, whatever they are.
  const text = line.length > 16 ? '' : readLatin1(line, 0, line.length)
  const value = readDecimalInteger(text)
  if (typeof value !== 'number' || value < 0) throw reader.error('PICKLE_VALUE', 'the argument is malformed')
  return value
}

/** A line of the name of a class or function. */
function name(reader: Reader): string {
  const line = reader.line()
  return valid(reader, readUtf8(line, 0, line.length))
}
