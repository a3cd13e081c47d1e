import { type DecodeOptions, type Limits, limitsOf, MANY_KEYS } from '../pickle/limits.ts'
import { TextBuilder } from '../pickle/text.ts'
import { PyDate, type PyDateFields, PyDateTime, PyTime, type PyTimeFields } from '../pickle/times.ts'
import { PyDecimal, setProperty } from '../pickle/values.ts'
import { PyTimeDelta, PyTimeZone } from '../pickle/zones.ts'
import { BackendError } from './errors.ts'

/**
 * Reads what Python and kombu write as JSON, which JSON.parse does not: the bare words NaN, Infinity and -Infinity, and
 * integers beyond 2^53, which become bigints. What kombu marked with `__type__` becomes a PyDateTime, PyDate, PyTime,
 * PyDecimal, Uint8Array, and a UUID its text; an unknown type stays an object with `__type__` and `__value__`.
 * `__proto__` is a property like any other.
 *
 * @param options of the limits of a pickle those that JSON has too: `maxObjects` counts arrays and objects, by default up
 * to 4,000,000, and `maxOpcodes` values and keys, by default up to 20,000,000. A text counts as two of these, with escapes
 * as four, a fraction or large integer as three, a key that is seen for the first time as 20 more, a datetime as 100 more.
 * With more than 1,000 different keys an object is a hash table, and counts as three.
 * @throws BackendError (`RESULT_UNREADABLE`) for what is no JSON in UTF-8, for what goes past a limit, and for what is
 * deeper than 1,000 or has a number of more than 4,300 digits, which Python does not read either
 */
export function readJson(bytes: Uint8Array, options: DecodeOptions = {}): unknown {
  const { maxObjects = MAX_OBJECTS, maxOpcodes = MAX_VALUES } = options
  const limits = limitsOf({ ...options, maxObjects, maxOpcodes }, bytes.length)
  return new JsonReader(textOf(bytes), limits).read()
}

/** More than in a pickle, where each costs more. */
const MAX_OBJECTS = 4_000_000
const MAX_VALUES = 20_000_000
/** How many objects a hash table counts as. */
const HEAVY = 3
/** Shorter arrays get the memory they need; V8 gives one that grows room for 17 items. */
const FEW_ITEMS = 8
const MAX_DEPTH = 1_000
const MAX_DIGITS = 4_300
/** What these cost beyond a value, in values: a new key, a point in time, any other marked value. */
const KEY_COST = 20
const MOMENT_COST = 100
const MARKED_COST = 3
/** Digits of an integer that is always safe. */
const SAFE_DIGITS = 15

const QUOTE = 0x22
const BACKSLASH = 0x5c
const MINUS = 0x2d

const WORDS: readonly (readonly [string, unknown])[] = [
  ['null', null],
  ['true', true],
  ['false', false],
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
]

/** The unit that a letter behind a backslash stands for. */
const ESCAPES: ReadonlyMap<number, number> = new Map(
  ['""', '\\\\', '//', 'b\b', 'f\f', 'n\n', 'r\r', 't\t'].map((pair) => [
    pair.charCodeAt(0),
    pair.charCodeAt(1),
  ]),
)

const MOMENT = /^(?:date|time)/
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y

class JsonReader {
  readonly #text: string
  readonly #limits: Limits
  #at = 0
  #depth = 0
  #objects = 0
  /** Values and keys, in the measure of opcodes. */
  #work = 0
  readonly #keys = new Set<string>()
  /** The position of the next backslash, as of the last search. */
  #backslash = -1

  constructor(text: string, limits: Limits) {
    this.#text = text
    this.#limits = limits
  }

  read(): unknown {
    const value = this.#value()
    this.#skipBlanks()
    if (this.#at < this.#text.length) throw this.#malformed()
    return value
  }

  #value(): unknown {
    this.#skipBlanks()
    this.#spend(1)
    switch (this.#text[this.#at]) {
      case '"':
        return this.#string()
      case '{':
        return this.#object()
      case '[':
        return this.#array()
      default:
        return this.#number() ?? this.#word()
    }
  }

  #enter(): void {
    if (++this.#depth > MAX_DEPTH) throw unreadable(`it is deeper than ${MAX_DEPTH}`)
    if (++this.#objects > this.#limits.maxObjects) throw this.#tooMuch('maxObjects', 'arrays and objects')
    this.#at++
  }

  #array(): unknown[] {
    this.#enter()
    const items: unknown[] = []
    if (!this.#takes(']')) {
      do items.push(this.#value())
      while (this.#takes(','))
      this.#expect(']')
    }
    this.#depth--
    return items.length <= FEW_ITEMS ? items.slice() : items
  }

  #object(): unknown {
    this.#enter()
    if (this.#keys.size > MANY_KEYS) {
      this.#objects += HEAVY - 1
      this.#spend(KEY_COST)
    }
    const object: Record<string, unknown> = {}
    let isMarked = false
    if (!this.#takes('}')) {
      do {
        this.#skipBlanks()
        const key = this.#string()
        if (!this.#keys.has(key)) this.#addKey(key)
        this.#expect(':')
        if (key === '__type__') isMarked = true
        setProperty(object, key, this.#value())
      } while (this.#takes(','))
      this.#expect('}')
    }
    this.#depth--
    if (!isMarked) return object
    this.#spend(MOMENT.test(String(object['__type__'])) ? MOMENT_COST : MARKED_COST)
    return unmarked(object)
  }

  #addKey(key: string): void {
    this.#keys.add(key)
    this.#spend(KEY_COST)
  }

  #string(): string {
    this.#spend(1)
    const text = this.#text
    if (text.charCodeAt(this.#at) !== QUOTE) throw this.#malformed()
    const start = this.#at + 1
    if (this.#backslash < start) this.#backslash = indexOf(text, '\\', start)
    const end = indexOf(text, '"', start)
    if (end > this.#backslash) return this.#escaped(start)
    this.#at = Math.min(end, text.length)
    if (end === Number.POSITIVE_INFINITY) throw this.#malformed()
    this.#at++
    return text.slice(start, end)
  }

  #escaped(start: number): string {
    const text = this.#text
    this.#spend(2)
    const built = new TextBuilder()
    this.#at = start
    for (;;) {
      const unit = text.charCodeAt(this.#at)
      // NaN behind the end.
      if (!(unit >= 0)) throw this.#malformed()
      this.#at++
      if (unit === QUOTE) return built.finish()
      built.add(unit === BACKSLASH ? this.#escape() : unit)
    }
  }

  #escape(): number {
    const letter = this.#text.charCodeAt(this.#at++)
    const unit = ESCAPES.get(letter)
    if (unit !== undefined) return unit
    const digits = this.#text.slice(this.#at, this.#at + 4)
    if (letter !== 0x75 || !/^[\da-fA-F]{4}$/.test(digits)) throw this.#malformed()
    this.#at += 4
    return Number.parseInt(digits, 16)
  }

  #number(): number | bigint | undefined {
    const small = this.#smallInteger()
    if (small !== undefined) return small
    NUMBER.lastIndex = this.#at
    const number = NUMBER.exec(this.#text)?.[0]
    if (number === undefined) return undefined
    this.#spend(2)
    this.#at += number.length
    return toNumber(number)
  }

  /** The fast path for most numbers; `undefined` for all others. */
  #smallInteger(): number | undefined {
    const text = this.#text
    const isNegative = text.charCodeAt(this.#at) === MINUS
    const start = this.#at + (isNegative ? 1 : 0)
    let at = start
    let value = 0
    let digit = text.charCodeAt(at) - 0x30
    while (digit >= 0 && digit <= 9) {
      value = value * 10 + digit
      digit = text.charCodeAt(++at) - 0x30
    }
    const length = at - start
    const goesOn = digit === DOT || digit === SMALL_E || digit === LARGE_E
    if (length === 0 || length > SAFE_DIGITS || goesOn || (length > 1 && text[start] === '0'))
      return undefined
    this.#at = at
    return isNegative && value !== 0 ? -value : value
  }

  #word(): unknown {
    const found = WORDS.find(([word]) => this.#text.startsWith(word, this.#at))
    if (found === undefined) throw this.#malformed()
    const [word, value] = found
    this.#at += word.length
    return value
  }

  #expect(sign: string): void {
    if (!this.#takes(sign)) throw this.#malformed()
  }

  #takes(sign: string): boolean {
    this.#skipBlanks()
    if (this.#text[this.#at] !== sign) return false
    this.#at++
    return true
  }

  #skipBlanks(): void {
    while (isBlank(this.#text.charCodeAt(this.#at))) this.#at++
  }

  #spend(cost: number): void {
    this.#work += cost
    if (this.#work > this.#limits.maxOpcodes) throw this.#tooMuch('maxOpcodes', 'values and keys')
  }

  #tooMuch(limit: 'maxObjects' | 'maxOpcodes', what: string): BackendError {
    return unreadable(
      `its ${what} are more than ${this.#limits[limit]}, which is the ${limit} of the backend's option "pickle"`,
    )
  }

  #malformed(): BackendError {
    return unreadable(`it is malformed at character ${Math.min(this.#at, this.#text.length)}`)
  }
}

/** Infinity where there is none. */
function indexOf(text: string, sign: string, start: number): number {
  const index = text.indexOf(sign, start)
  return index === -1 ? Number.POSITIVE_INFINITY : index
}

/** Less the character 0. */
const DOT = 0x2e - 0x30
const SMALL_E = 0x65 - 0x30
const LARGE_E = 0x45 - 0x30

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09
}

function toNumber(text: string): number | bigint {
  const value = Number(text)
  if (/[.eE]/.test(text)) return value
  if (Number.isSafeInteger(value)) return value === 0 ? 0 : value
  if (text.length > MAX_DIGITS) throw unreadable(`it has a number of more than ${MAX_DIGITS} digits`)
  return BigInt(text)
}

function unmarked(object: Record<string, unknown>): unknown {
  if (!Object.hasOwn(object, '__type__') || !Object.hasOwn(object, '__value__')) return object
  if (Object.keys(object).length !== 2) return object
  return unmark(object['__type__'], object['__value__']) ?? object
}

function textOf(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw unreadable('it is no UTF-8')
  }
}

function unreadable(reason: string): BackendError {
  return new BackendError('RESULT_UNREADABLE', `Cannot read the JSON: ${reason}`)
}

/** A value that JSON cannot express, as kombu marks it. */
export interface Marked {
  readonly type: string
  readonly text: string
}

/** kombu's `__type__` and `__value__`; `null` for what it does not mark, `'unknown'` for an invalid Date. */
export function markedOf(value: object): Marked | 'unknown' | null {
  if (value instanceof Date) return markedDate(value)
  if (value instanceof PyDateTime) {
    const isTold = value.tzinfo === null || value.utcOffset() !== null
    return isTold ? { type: 'datetime', text: value.toString() } : 'unknown'
  }
  if (value instanceof PyDate) return { type: 'date', text: value.toString() }
  if (value instanceof PyTime) return { type: 'time', text: value.toString() }
  if (value instanceof PyDecimal) return { type: 'decimal', text: value.text }
  return value instanceof Uint8Array ? markedBytes(value) : null
}

function markedDate(date: Date): Marked | 'unknown' {
  const year = date.getUTCFullYear()
  const isTold = year >= 1 && year <= 9_999
  return isTold ? { type: 'datetime', text: PyDateTime.fromDate(date).toString() } : 'unknown'
}

function markedBytes(bytes: Uint8Array): Marked {
  try {
    return { type: 'bytes', text: utf8.decode(bytes) }
  } catch {
    // No UTF-8.
    return {
      type: 'base64',
      text: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64'),
    }
  }
}

/** What `{"__type__": type, "__value__": value}` stands for; `undefined` for types and values kombu itself does not know. */
function unmark(type: unknown, value: unknown): unknown {
  const read = typeof type === 'string' ? READERS.get(type) : undefined
  if (read === undefined) return undefined
  try {
    return read(value)
  } catch (error) {
    // A day or an hour that does not exist.
    if (error instanceof RangeError) return undefined
    throw error
  }
}

const READERS: ReadonlyMap<string, (value: unknown) => unknown> = new Map([
  ['datetime', fromText(readDateTime)],
  ['date', fromText(readDate)],
  ['time', fromText(readTime)],
  ['decimal', fromText((text) => new PyDecimal(text))],
  ['bytes', fromText((text) => new TextEncoder().encode(text))],
  ['base64', fromText(readBase64)],
  ['uuid', readUuid],
])

function fromText(read: (text: string) => unknown): (value: unknown) => unknown {
  return (value) => (typeof value === 'string' ? read(value) : undefined)
}

const DATE = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](.+))?$/
const TIME = /^(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{6}))?)?(Z|[+-].+)?$/
const OFFSET = /^([+-])(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{6}))?)?$/

function readDateTime(text: string): PyDateTime | undefined {
  const [, year, month, day, clock = '00:00'] = DATE.exec(text) ?? []
  const time = readClock(clock)
  return day === undefined || time === undefined
    ? undefined
    : new PyDateTime({ ...dateFields(year, month, day), ...time })
}

/** As kombu, which reads the date of a datetime too. */
function readDate(text: string): PyDate | undefined {
  const [, year, month, day] = DATE.exec(text) ?? []
  return day === undefined ? undefined : new PyDate(dateFields(year, month, day))
}

function readTime(text: string): PyTime | undefined {
  const time = readClock(text)
  return time && new PyTime(time)
}

function dateFields(year = '', month = '', day = ''): PyDateFields {
  return { year: Number(year), month: Number(month), day: Number(day) }
}

function readClock(text: string): PyTimeFields | undefined {
  const [, hour, minute, second = 0, microsecond = 0, zone] = TIME.exec(text) ?? []
  const tzinfo = zone === undefined ? null : readZone(zone)
  if (minute === undefined || tzinfo === undefined) return undefined
  return {
    hour: Number(hour),
    minute: Number(minute),
    second: Number(second),
    microsecond: Number(microsecond),
    tzinfo,
  }
}

function readZone(text: string): PyTimeZone | undefined {
  if (text === 'Z' || text === '+00:00') return PyTimeZone.utc
  const [, sign, hours, minutes, seconds = 0, microseconds = 0] = OFFSET.exec(text) ?? []
  if (minutes === undefined) return undefined
  const factor = sign === '-' ? -1 : 1
  const total = (Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)
  return new PyTimeZone(
    new PyTimeDelta({ seconds: factor * total, microseconds: factor * Number(microseconds) }),
  )
}

function readBase64(text: string): Uint8Array | undefined {
  return /^[A-Za-z0-9+/]*={0,2}$/.test(text) ? Uint8Array.from(Buffer.from(text, 'base64')) : undefined
}

/** As elsewhere here, a UUID is its text. */
function readUuid(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || !('hex' in value)) return undefined
  const { hex } = value
  if (typeof hex !== 'string' || !/^[\da-f]{32}$/i.test(hex)) return undefined
  return hex.toLowerCase().replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
