/**
 * What stands for Python values that JavaScript has no equal of. All are plain data without accessors or functions of
 * their own: JSON, `util.inspect` and `structuredClone` see their properties.
 */

/**
 * A Python tuple: an array that is written as a tuple again. Make one with `PyTuple.of(…)` or `PyTuple.from(…)`:
 * `new PyTuple(3)` has, as with any array, three holes.
 */
export class PyTuple<Item = unknown> extends Array<Item> {
  static override readonly name: string = 'PyTuple'

  /** Items of several types, unlike `Array.of`. */
  static override of<Items extends unknown[]>(...items: Items): PyTuple<Items[number]> {
    const tuple = new PyTuple<Items[number]>()
    for (const item of items) tuple.push(item)
    return tuple
  }
}

/** The items from `start` on. `slice` and `from` make a tuple by way of its class, item by item, ten times as slowly. */
export function tupleOf(items: readonly unknown[], start = 0): PyTuple {
  const tuple = new PyTuple()
  for (let index = start; index < items.length; index++) tuple.push(items[index])
  return tuple
}

/** How a PyObject came to be: named, called, or made without its constructor being run (`cls.__new__`). */
export type PyObjectKind = 'global' | 'call' | 'new'

/** What a `PyObject` is made from. */
export interface PyObjectFields {
  readonly kind: PyObjectKind
  readonly module: string
  readonly name: string
  readonly callee?: PyObject | null
  readonly args?: PyTuple
  readonly kwargs?: unknown
}

/**
 * A Python class, function or instance that is none of the known ones. It is only described: nothing was imported,
 * called or restored.
 */
export class PyObject {
  static readonly name: string = 'PyObject'

  /** Where the class or function lives, in Python 3's spelling: `builtins`, also if Python 2 wrote `__builtin__`. */
  readonly module: string
  /** Its name there; dots when it is nested. */
  readonly name: string
  readonly kind: PyObjectKind
  /** What was called, when that was itself the result of a call; `module` and `name` are those of it. */
  readonly callee: PyObject | null
  /** What it was called with; empty for a class or function that is only named. */
  readonly args: PyTuple
  /** Keyword arguments, a dict, or `null`. */
  readonly kwargs: unknown
  /** What `__setstate__` would be given, mostly a dict of attributes; `null` if nothing. */
  state: unknown = null
  /** The function that is called to set the state instead; `null` for `__setstate__`, as usual. */
  stateSetter: PyObject | null = null
  /** The items of a subclass of `list`, `deque` and the like; `null` if none were added. */
  listItems: unknown[] | null = null
  /** The items of a subclass of `dict` and the like; `null` if none were added. */
  dictItems: Map<unknown, unknown> | null = null

  constructor({ kind, module, name, callee = null, args = new PyTuple(), kwargs = null }: PyObjectFields) {
    this.module = module
    this.name = name
    this.kind = kind
    this.callee = callee
    this.args = args
    this.kwargs = kwargs
  }
}

/** A Python exception. Never thrown by itself. */
export class PyException {
  static readonly name: string = 'PyException'

  /** The module of its class: `builtins`, `celery.exceptions`, … */
  readonly module: string
  /** The qualified name of its class: `ValueError`, `Outer.Inner`. */
  readonly type: string
  readonly args: PyTuple
  /** Its instance attributes, a dict; `null` if it has none. */
  state: unknown

  constructor(module: string, type: string, args: Iterable<unknown> = [], state: unknown = null) {
    this.module = module
    this.type = type
    this.args = args instanceof PyTuple ? args : PyTuple.from(args)
    this.state = state
  }

  /** `ValueError: bad`, as the last line of a traceback has it, as far as the arguments are texts and numbers. */
  toString(): string {
    const args = this.args.map((arg) => (typeof arg === 'object' && arg !== null ? '…' : String(arg)))
    return args.length === 0 ? this.type : `${this.type}: ${args.join(', ')}`
  }
}

/** A `decimal.Decimal`, kept as its exact text. */
export class PyDecimal {
  static readonly name: string = 'PyDecimal'

  /** As Python prints it: `1.50`, `-1.2E+34`, `NaN`. */
  readonly text: string

  /** @throws RangeError if Python's `Decimal` does not read the text */
  constructor(text: string) {
    if (!PyDecimal.isDecimal(text)) throw new RangeError('This text is no Decimal')
    this.text = text
  }

  /** Whether Python's `Decimal()` takes this text. */
  static isDecimal(text: string): boolean {
    return /^[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|s?nan\d*)$/i.test(text)
  }

  /** The digits as Python's `str` writes them. */
  toString(): string {
    return this.text
  }

  /** A string, so that no digit is lost. */
  toJSON(): string {
    return this.text
  }

  /** The nearest float. */
  toNumber(): number {
    if (/nan/i.test(this.text)) return Number.NaN
    if (!/inf/i.test(this.text)) return Number(this.text)
    return this.text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
  }
}

/** A `fractions.Fraction`. */
export class PyFraction {
  static readonly name: string = 'PyFraction'

  readonly numerator: bigint
  readonly denominator: bigint

  /** @throws RangeError if the denominator is not above 0; Python's are reduced */
  constructor(numerator: bigint, denominator: bigint = 1n) {
    if (denominator <= 0n) throw new RangeError('The denominator of a Fraction is above 0')
    this.numerator = numerator
    this.denominator = denominator
  }

  /** As Python's `str`: `3/4`, `2`. */
  toString(): string {
    return this.denominator === 1n ? String(this.numerator) : `${this.numerator}/${this.denominator}`
  }

  /** As `toString()`. */
  toJSON(): string {
    return this.toString()
  }

  /** The nearest float, or about that where the parts are beyond 2^53. */
  toNumber(): number {
    return Number(this.numerator) / Number(this.denominator)
  }
}

/** A `complex` number. */
export class PyComplex {
  static readonly name: string = 'PyComplex'

  readonly real: number
  readonly imag: number

  constructor(real: number, imag: number) {
    this.real = real
    this.imag = imag
  }

  /** A pair of numbers, `(1+2j)`, which Python's `complex()` reads. */
  toString(): string {
    const imag = Object.is(this.imag, -0) || this.imag < 0 ? `-${Math.abs(this.imag)}` : `+${this.imag}`
    return `(${Object.is(this.real, -0) ? '-0' : this.real}${imag}j)`
      .replaceAll('Infinity', 'inf')
      .replaceAll('NaN', 'nan')
  }

  /** As `toString()`. */
  toJSON(): string {
    return this.toString()
  }
}

/** A dict: a plain object as long as every key is a string, else a Map. */
export type Dict = Map<unknown, unknown> | Record<string, unknown>

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}

export function isDict(value: unknown): value is Dict {
  return value instanceof Map || isPlainObject(value)
}

/** As JSON.parse does: `__proto__` becomes a property like any other, and so do those names of a frozen prototype. */
export function setProperty(object: Record<string, unknown>, key: string, value: unknown): void {
  if (key in Object.prototype) {
    Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true })
  } else {
    object[key] = value
  }
}

export function dictOf(entries: readonly (readonly [unknown, unknown])[]): Dict {
  const object: Record<string, unknown> = {}
  for (const [key, value] of entries) {
    if (typeof key !== 'string') return new Map(entries)
    setProperty(object, key, value)
  }
  return object
}

export function entriesOf(dict: Dict): [unknown, unknown][] {
  return dict instanceof Map ? [...dict] : Object.entries(dict)
}

export function getItem(dict: Dict, key: string): unknown {
  if (dict instanceof Map) return dict.get(key)
  return Object.hasOwn(dict, key) ? dict[key] : undefined
}

/**
 * The attributes in the state of a PyObject: a dict, or with `__slots__` a pair of dicts, the second one of the slots.
 * `undefined` for a state of another form.
 */
export function attributesOf(state: unknown): readonly (readonly [unknown, unknown])[] | undefined {
  if (state === null) return []
  if (isDict(state)) return entriesOf(state)
  if (!Array.isArray(state) || state.length !== 2) return undefined
  const [attributes, slots] = state
  if ((attributes !== null && !isDict(attributes)) || !isDict(slots)) return undefined
  return [...(attributes === null ? [] : entriesOf(attributes)), ...entriesOf(slots)]
}

/** A property's name, or an index. */
export type Step = string | number

/** `$.rows[3].callback`, from the value that was given. */
export function formatPath(steps: readonly Step[]): string {
  return `$${steps.map(format).join('')}`
}

function format(step: Step): string {
  if (typeof step === 'number') return `[${step}]`
  return /^[\p{L}_$][\w$]*$/u.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`
}
