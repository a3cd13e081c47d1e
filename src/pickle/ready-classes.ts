import type { PyClass, PyClasses } from './classes.ts'
import {
  attributesOf,
  dictOf,
  entriesOf,
  getItem,
  isDict,
  isPlainObject,
  PyComplex,
  PyFraction,
  PyObject,
  PyTuple,
  setProperty,
} from './values.ts'

/** A class of the program whose instances hold fields; no constructor is run. */
// biome-ignore lint/suspicious/noExplicitAny: as for any class, its constructor may take anything.
export type FieldsClass = abstract new (...args: any[]) => object

/** How the instances of a Python class with fields are read and written. */
export interface FieldsOptions {
  /**
   * The names of the fields in Python's order. A dataclass with `frozen=True` and `slots=True` pickles none, and a namedtuple
   * never does. @default those that are pickled
   */
  readonly fields?: readonly string[] | undefined
  /** The class whose instances stand for Python's: only they are written again. @default plain objects */
  readonly as?: FieldsClass | undefined
}

/**
 * An enum of Python's `enum`: a member is its value. `members` gives the values by their names, as an enum of TypeScript or a
 * constant does; Python 3.11.0 to 3.11.3 pickles names, and without `members` those stay names.
 */
export function enumOf(name: string, members: Readonly<Record<string, unknown>> = {}): PyClasses {
  const read = ({ module, name: made, args }: PyObject) => {
    const isByName = module === 'builtins' && made === 'getattr'
    const [first, second] = args
    if (!isByName) return first
    return typeof second === 'string' && Object.hasOwn(members, second) ? members[second] : second
  }
  return { [name]: { read } }
}

/** A dataclass, attrs class or any other whose state is its attributes, with or without slots. */
export function dataclass(name: string, { fields, as }: FieldsOptions = {}): PyClasses {
  const read = (object: PyObject) => {
    const { state } = object
    const isValues = fields !== undefined && Array.isArray(state) && state.length === fields.length
    const all = isValues ? fields.map((field, at) => [field, state[at]] as const) : attributesOf(state)
    return all && madeOf(all, as)
  }
  const write = writerOf(as, (value) => {
    const values = Object.entries(value)
    const state = fields === undefined ? dictOf(values) : fields.map((field) => Reflect.get(value, field))
    return made('new', name, [], state)
  })
  return { [name]: { read, ...write } }
}

/** A namedtuple; its pickle has values only, so that the names of its fields must be given. */
export function namedtuple(
  name: string,
  fields: readonly string[],
  { as }: Pick<FieldsOptions, 'as'> = {},
): PyClasses {
  const read = ({ args }: PyObject) =>
    args.length === fields.length
      ? madeOf(
          fields.map((field, at) => [field, args[at]] as const),
          as,
        )
      : undefined
  const write = writerOf(as, (value) =>
    made(
      'new',
      name,
      fields.map((field) => Reflect.get(value, field)),
    ),
  )
  return { [name]: { read, ...write } }
}

/** A model of pydantic, 1 or 2: its fields, and the extra ones it allows. */
export function pydantic(name: string, { as }: Pick<FieldsOptions, 'as'> = {}): PyClasses {
  const read = ({ state }: PyObject) => {
    const fields = isDict(state) ? getItem(state, '__dict__') : undefined
    if (!isDict(state) || !isDict(fields)) return undefined
    const extra = getItem(state, '__pydantic_extra__')
    return madeOf([...entriesOf(fields), ...(isDict(extra) ? entriesOf(extra) : [])], as)
  }
  const write = writerOf(as, (value) => {
    const fields = dictOf(Object.entries(value))
    const state = {
      __dict__: fields,
      __pydantic_extra__: null,
      __pydantic_fields_set__: new Set(Object.keys(value)),
      __pydantic_private__: null,
    }
    return made('new', name, [], state)
  })
  return { [name]: { read, ...write } }
}

/**
 * Classes of Python's standard library: `Fraction` and `complex` are a {@link PyFraction} and a {@link PyComplex}, `deque` an
 * array, and paths and the addresses, networks and interfaces of `ipaddress` their texts.
 */
export const standardClasses: PyClasses = {
  'fractions.Fraction': toFraction,
  'builtins.complex': toComplex,
  'collections.deque': ({ args, listItems }) => {
    const [items] = args
    return [...(Array.isArray(items) ? items : []), ...(listItems ?? [])]
  },
  ...pathClasses(),
  'ipaddress.IPv4Address': ({ args: [address] }) => toAddress(address, 4),
  'ipaddress.IPv6Address': ({ args: [address] }) => toAddress(address, 6),
  ...namedBy(['IPv4Network', 'IPv6Network', 'IPv4Interface', 'IPv6Interface'], 'ipaddress', ({ args }) =>
    typeof args[0] === 'string' ? args[0] : undefined,
  ),
}

function pathClasses(): PyClasses {
  const names = ['PosixPath', 'PurePosixPath', 'WindowsPath', 'PureWindowsPath', 'Path', 'PurePath']
  // Since Python 3.13 they live in a module of their own.
  return { ...namedBy(names, 'pathlib', toPath), ...namedBy(names, 'pathlib._local', toPath) }
}

function namedBy(names: readonly string[], module: string, read: PyClass['read']): PyClasses {
  return Object.fromEntries(names.map((name) => [`${module}.${name}`, read]))
}

function toPath({ name, args }: PyObject): string | undefined {
  if (!args.every((part) => typeof part === 'string')) return undefined
  const separator = name.includes('Windows') ? '\\' : '/'
  const [first = '.', ...others] = args
  if (others.length === 0) return first
  return `${first}${first.endsWith(separator) ? '' : separator}${others.join(separator)}`
}

/** `(3, 4)`; before Python 3.11 `('3/4',)`. */
function toFraction({ args }: PyObject): PyFraction | undefined {
  const [numerator, denominator = 1] = args.length === 1 ? partsOf(args[0]) : args
  if (!isInteger(numerator) || !isInteger(denominator) || BigInt(denominator) <= 0n) return undefined
  return new PyFraction(BigInt(numerator), BigInt(denominator))
}

function partsOf(text: unknown): readonly unknown[] {
  const match = typeof text === 'string' && text.length < LONGEST_FRACTION ? FRACTION.exec(text) : null
  return match === null
    ? []
    : match.slice(1).flatMap((digits) => (digits === undefined ? [] : BigInt(digits)))
}

const FRACTION = /^(-?\d+)(?:\/(\d+))?$/
const LONGEST_FRACTION = 10_000

function toComplex({ args: [real, imag = 0] }: PyObject): PyComplex | undefined {
  return typeof real === 'number' && typeof imag === 'number' ? new PyComplex(real, imag) : undefined
}

function toAddress(address: unknown, version: 4 | 6): string | undefined {
  // With a scope it is a text already.
  if (typeof address === 'string') return address
  if (!isInteger(address)) return undefined
  const number = BigInt(address)
  if (number < 0n || number >= 1n << (version === 4 ? 32n : 128n)) return undefined
  if (version === 4) return [24n, 16n, 8n, 0n].map((shift) => (number >> shift) & 0xffn).join('.')
  const hex = number.toString(16).padStart(32, '0')
  const address6 = (hex.match(/.{4}/g) ?? [])
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')
  // As RFC 5952 and Python shorten it: the first of the longest runs of two zeros or more.
  const runs = [...address6.matchAll(/(?:^|:)0(?::0)+(?=:|$)/g)].sort(
    (one, other) => other[0].length - one[0].length,
  )
  const [longest] = runs
  if (longest === undefined) return address6
  const before = address6.slice(0, longest.index)
  const after = address6.slice(longest.index + longest[0].length).replace(/^:/, '')
  return `${before}::${after}`
}

function isInteger(value: unknown): value is number | bigint {
  return typeof value === 'bigint' || Number.isSafeInteger(value)
}

function madeOf(fields: readonly (readonly [unknown, unknown])[], as: FieldsClass | undefined): unknown {
  const dict = dictOf(fields)
  if (as === undefined || !isPlainObject(dict)) return dict
  const instance: Record<string, unknown> = Object.create(as.prototype)
  for (const [field, value] of Object.entries(dict)) setProperty(instance, field, value)
  return instance
}

/** Only for a class of the program, whose instances are known from all others. */
function writerOf(as: FieldsClass | undefined, write: (value: object) => PyObject): Pick<PyClass, 'write'> {
  return as === undefined ? {} : { write: (value) => (value instanceof as ? write(value) : undefined) }
}

function made(kind: 'call' | 'new', path: string, args: readonly unknown[], state: unknown = null): PyObject {
  const dot = path.lastIndexOf('.')
  const [module, name] = [path.slice(0, dot), path.slice(dot + 1)]
  const object = new PyObject({ kind, module, name, args: PyTuple.from(args) })
  object.state = state
  return object
}
