import { BackendError } from '../errors.ts'
import { setProperty } from '../pickle/dicts.ts'
import { unmark } from './json-types.ts'

/**
 * Reads what Python and kombu write as JSON, which JSON.parse does not: the bare words NaN, Infinity and -Infinity, and
 * integers beyond 2^53, which become bigints. What kombu marked with `__type__` becomes a PyDateTime, PyDate, PyTime,
 * PyDecimal, Uint8Array, and a UUID its text; a type nobody knows stays an object with `__type__` and `__value__`.
 * `__proto__` is a property like any other.
 *
 * @throws BackendError (`RESULT_UNREADABLE`) for what is no JSON in UTF-8, and for what is deeper than 1,000 or has a
 * number of more than 4,300 digits, which Python does not read either
 */
export function readJson(bytes: Uint8Array): unknown {
  return new JsonReader(textOf(bytes)).read()
}

const MAX_DEPTH = 1_000
const MAX_DIGITS = 4_300

const WORDS: readonly (readonly [string, unknown])[] = [
  ['null', null],
  ['true', true],
  ['false', false],
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
]

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ['\\', '\\'],
  ['/', '/'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
])

const PLAIN = /[^"\\]*/y
const FOUR_DIGITS = /[\da-fA-F]{4}/y
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y

class JsonReader {
  readonly #text: string
  #at = 0
  #depth = 0

  constructor(text: string) {
    this.#text = text
  }

  read(): unknown {
    const value = this.#value()
    this.#skipBlanks()
    if (this.#at < this.#text.length) throw this.#malformed()
    return value
  }

  #value(): unknown {
    this.#skipBlanks()
    switch (this.#text[this.#at]) {
      case '"':
        return this.#string()
      case '{':
        return this.#nested(() => this.#object())
      case '[':
        return this.#nested(() => this.#array())
      default:
        return this.#wordOrNumber()
    }
  }

  #nested<Value>(read: () => Value): Value {
    if (++this.#depth > MAX_DEPTH) throw unreadable(`it is deeper than ${MAX_DEPTH}`)
    this.#at++
    const value = read()
    this.#depth--
    return value
  }

  #array(): unknown[] {
    const items: unknown[] = []
    if (this.#takes(']')) return items
    do items.push(this.#value())
    while (this.#takes(','))
    this.#expect(']')
    return items
  }

  #object(): unknown {
    const object: Record<string, unknown> = {}
    if (this.#takes('}')) return object
    do {
      this.#skipBlanks()
      const key = this.#string()
      this.#expect(':')
      setProperty(object, key, this.#value())
    } while (this.#takes(','))
    this.#expect('}')
    return unmarked(object)
  }

  #string(): string {
    if (this.#text[this.#at] !== '"') throw this.#malformed()
    this.#at++
    let text = ''
    for (;;) {
      text += this.#match(PLAIN)
      const end = this.#text[this.#at++]
      if (end === '"') return text
      if (end !== '\\') throw this.#malformed()
      text += this.#escape()
    }
  }

  #escape(): string {
    const letter = this.#text[this.#at++] ?? ''
    if (letter !== 'u') {
      const unit = ESCAPES.get(letter)
      if (unit === undefined) throw this.#malformed()
      return unit
    }
    const digits = this.#match(FOUR_DIGITS)
    if (digits === '') throw this.#malformed()
    return String.fromCharCode(Number.parseInt(digits, 16))
  }

  #wordOrNumber(): unknown {
    const number = this.#match(NUMBER)
    if (number !== '') return toNumber(number)
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

  /** What a sticky pattern finds here, which may be nothing. */
  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)?.[0] ?? ''
    this.#at += found.length
    return found
  }

  #malformed(): BackendError {
    return unreadable(`it is malformed at character ${Math.min(this.#at, this.#text.length)}`)
  }
}

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

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

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
