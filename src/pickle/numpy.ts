import type { PyClasses } from './classes.ts'
import { PyDateTime } from './times.ts'
import { PyObject, PyTuple } from './values.ts'

/**
 * What numpy stores. A scalar is a boolean, a text or a number, or a bigint where a number would lose digits. An array is a
 * typed array of its kind, `BigInt64Array` for `int64`; one of booleans, texts or objects is an array, and one of several
 * dimensions an array of these. Complex numbers, dates, structures, bytes, `float16`, `longdouble`, and arrays of many more
 * rows than items, stay PyObjects. Typed arrays but Uint8Array, which is `bytes`, are written as arrays of numpy.
 */
export const numpyClasses: PyClasses = {
  ...both('multiarray.scalar', ({ args: [dtype, bytes] }) => {
    const kind = kindOf(dtype)
    return kind && bytes instanceof Uint8Array ? scalarOf(valuesIn(kind, bytes, 1)?.[0]) : undefined
  }),
  ...both('numeric._frombuffer', ({ args: [bytes, dtype, shape, order] }) => {
    const kind = kindOf(dtype)
    return kind && bytes instanceof Uint8Array ? shaped(kind, bytes, shape, order === 'F') : undefined
  }),
  ...both('multiarray._reconstruct', ({ state }) => {
    if (!Array.isArray(state)) return undefined
    const [, shape, dtype, isFortran, contents] = state
    if (isNamed(dtype, 'O') && Array.isArray(contents)) return nested(contents, shape, isFortran === true)
    const kind = kindOf(dtype)
    return kind && contents instanceof Uint8Array
      ? shaped(kind, contents, shape, isFortran === true)
      : undefined
  }),
  'numpy.ndarray': {
    read({ args: [shape, dtype, bytes] }) {
      const kind = typeof dtype === 'string' ? kindBy(dtype.slice(1), dtype[0]) : undefined
      return kind && bytes instanceof Uint8Array ? shaped(kind, bytes, shape, false) : undefined
    },
    write: ndarrayOf,
  },
}

/**
 * What pandas stores of a moment: a `Timestamp` is a PyDateTime, cut to microseconds, and in UTC where it had a zone; written
 * it is a `datetime`. `NaT` is `null`.
 */
export const pandasClasses: PyClasses = {
  'pandas._libs.tslibs.timestamps._unpickle_timestamp': ({ args: [value, , tz, unit] }) =>
    toMoment(value, tz, unit),
  'pandas._libs.tslibs.nattype._nat_unpickle': () => null,
}

/** numpy 2 has its functions in another module than numpy 1. */
function both(path: string, read: (object: PyObject) => unknown): PyClasses {
  return { [`numpy.core.${path}`]: read, [`numpy._core.${path}`]: read }
}

/** The items of an array. */
type Items = ArrayLike<unknown> & {
  subarray?(start: number, end: number): Items
  slice(start: number, end: number): Items
}

interface Kind {
  /** Bytes of an item. */
  readonly size: number
  /** Bytes of what an order of bytes applies to: a character of a text. */
  readonly step: number
  readonly isBigEndian: boolean
  make(bytes: ArrayBuffer): Items
}

const MAKERS: ReadonlyMap<string, (bytes: ArrayBuffer) => Items> = new Map<
  string,
  (bytes: ArrayBuffer) => Items
>([
  ['i1', (bytes) => new Int8Array(bytes)],
  ['i2', (bytes) => new Int16Array(bytes)],
  ['i4', (bytes) => new Int32Array(bytes)],
  ['i8', (bytes) => new BigInt64Array(bytes)],
  ['u1', (bytes) => new Uint8Array(bytes)],
  ['u2', (bytes) => new Uint16Array(bytes)],
  ['u4', (bytes) => new Uint32Array(bytes)],
  ['u8', (bytes) => new BigUint64Array(bytes)],
  ['f4', (bytes) => new Float32Array(bytes)],
  ['f8', (bytes) => new Float64Array(bytes)],
  ['b1', (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte !== 0)],
])

const LONGEST_TEXT = 1_000_000

/** Of `numpy.dtype('f8', False, True)` and its state `(3, '<', …)`. */
function kindOf(dtype: unknown): Kind | undefined {
  if (!(dtype instanceof PyObject) || dtype.module !== 'numpy' || dtype.name !== 'dtype') return undefined
  const [name] = dtype.args
  const order: unknown = Array.isArray(dtype.state) ? dtype.state[1] : undefined
  return typeof name === 'string' ? kindBy(name, order) : undefined
}

function kindBy(name: string, order: unknown): Kind | undefined {
  const isBigEndian = order === '>'
  const text = /^U(\d{1,7})$/.exec(name)
  const length = Number(text?.[1])
  if (text !== null && length > 0 && length <= LONGEST_TEXT)
    return { size: length * 4, step: 4, isBigEndian, make: (bytes) => textsIn(bytes, length) }
  const make = MAKERS.get(name)
  const size = Number(name.slice(1))
  return make && { size, step: size, isBigEndian, make }
}

function isNamed(dtype: unknown, letter: string): boolean {
  return dtype instanceof PyObject && typeof dtype.args[0] === 'string' && dtype.args[0].startsWith(letter)
}

/** A copy, in this machine's order of bytes, which is little-endian wherever Node runs but on s390x. */
function valuesIn(kind: Kind, bytes: Uint8Array, count: number): Items | undefined {
  if (bytes.length !== kind.size * count) return undefined
  const copy = bytes.slice()
  for (let at = 0; kind.isBigEndian !== IS_BIG_ENDIAN && at < copy.length; at += kind.step)
    copy.subarray(at, at + kind.step).reverse()
  return kind.make(copy.buffer)
}

/** As an `int` of Python is read. */
function scalarOf(value: unknown): unknown {
  const number = Number(value)
  return typeof value === 'bigint' && Number.isSafeInteger(number) ? number : value
}

const IS_BIG_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 0

function textsIn(bytes: ArrayBuffer, length: number): string[] {
  const points = new Uint32Array(bytes)
  return Array.from({ length: points.length / length }, (_, at) => {
    const text = points.subarray(at * length, (at + 1) * length)
    const end = text.findLastIndex((point) => point !== 0) + 1
    // One by one: a call takes some hundred thousand arguments at most.
    return Array.from(text.subarray(0, end), (point) => String.fromCodePoint(point)).join('')
  })
}

function shaped(kind: Kind, bytes: Uint8Array, shape: unknown, isFortran: boolean): unknown {
  const count = countOf(shape)
  const items = count === undefined ? undefined : valuesIn(kind, bytes, count)
  return items && nested(items, shape, isFortran)
}

/** How many items an array of this shape has. */
function countOf(shape: unknown): number | undefined {
  if (!Array.isArray(shape) || !shape.every((length) => Number.isSafeInteger(length) && length >= 0))
    return undefined
  const count = shape.reduce<number>((product, length) => product * length, 1)
  if (shape.length > MOST_DIMENSIONS || !Number.isSafeInteger(count)) return undefined
  // Rows of no items, or of one in many dimensions, cost few bytes of the pickle.
  return rowsIn(shape) <= MOST_DIMENSIONS + ROWS_AN_ITEM * count ? count : undefined
}

/** How many arrays stand for the rows of all its dimensions. */
function rowsIn(shape: readonly number[]): number {
  let rows = 1
  let all = 0
  for (const length of shape.slice(0, -1)) {
    rows *= length
    all += rows
  }
  return all
}

const ROWS_AN_ITEM = 4

/** numpy's own limit is 64. */
const MOST_DIMENSIONS = 64

function nested(items: Items, shape: unknown, isFortran: boolean): unknown {
  const count = countOf(shape)
  if (count !== items.length || !Array.isArray(shape)) return undefined
  const lengths: number[] = shape
  if (lengths.length === 0) return items[0]
  if (lengths.length === 1) return items
  const rows = isFortran ? reordered(items, lengths) : items
  return rowsOf(rows, lengths, 0, count)
}

function rowsOf(
  items: Items,
  [length = 0, ...others]: readonly number[],
  start: number,
  count: number,
): unknown {
  if (others.length === 0) return items.slice(start, start + count)
  const each = length === 0 ? 0 : count / length
  return Array.from({ length }, (_, at) => rowsOf(items, others, start + at * each, each))
}

/** Items in the order in which the first index runs fastest, as those whose last one does. */
function reordered(items: Items, lengths: readonly number[]): Items {
  const ordered = items.slice(0, items.length)
  const strides = lengths.map((_, at) =>
    lengths.slice(0, at).reduce((product, length) => product * length, 1),
  )
  for (let to = 0; to < items.length; to++) {
    let rest = to
    let from = 0
    for (let at = lengths.length - 1; at >= 0; at--) {
      const length = lengths[at] ?? 1
      from += (rest % length) * (strides[at] ?? 0)
      rest = Math.floor(rest / length)
    }
    Reflect.set(ordered, to, items[from])
  }
  return ordered
}

/** `numpy.ndarray(shape, dtype, bytearray)`, which every numpy makes, and whose items can be changed. */
function ndarrayOf(value: object): PyObject | undefined {
  if (!ArrayBuffer.isView(value) || value instanceof DataView || value instanceof Uint8Array) return undefined
  const dtype = DTYPES.get(Object.prototype.toString.call(value).slice(8, -1))
  if (dtype === undefined) return undefined
  const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength).slice()
  const size = Number(dtype.slice(-1))
  const order = IS_BIG_ENDIAN ? '>' : '<'
  const buffer = new PyObject({
    kind: 'call',
    module: 'builtins',
    name: 'bytearray',
    args: PyTuple.of(bytes),
  })
  const args = PyTuple.of<unknown[]>(PyTuple.of(bytes.length / size), `${order}${dtype}`, buffer)
  return new PyObject({ kind: 'call', module: 'numpy', name: 'ndarray', args })
}

const DTYPES: ReadonlyMap<string, string> = new Map([
  ['Int8Array', 'i1'],
  ['Int16Array', 'i2'],
  ['Int32Array', 'i4'],
  ['BigInt64Array', 'i8'],
  ['Uint16Array', 'u2'],
  ['Uint32Array', 'u4'],
  ['BigUint64Array', 'u8'],
  ['Float32Array', 'f4'],
  ['Float64Array', 'f8'],
])

/** Units of pandas in a second, by their numbers. */
const UNITS: ReadonlyMap<unknown, bigint> = new Map([
  [7, 1n],
  [8, 1_000n],
  [9, 1_000_000n],
  [10, 1_000_000_000n],
])

/** The time since 1970 in UTC; without a unit, as before pandas 2, in nanoseconds. */
function toMoment(value: unknown, tz: unknown, unit: unknown = 10): PyDateTime | undefined {
  const perSecond = UNITS.get(unit)
  if (perSecond === undefined || (typeof value !== 'bigint' && !Number.isSafeInteger(value))) return undefined
  const given = BigInt(value as bigint | number)
  const microseconds =
    perSecond >= 1_000_000n ? floor(given, perSecond / 1_000_000n) : given * (1_000_000n / perSecond)
  const milliseconds = floor(microseconds, 1_000n)
  const date = new Date(Number(milliseconds))
  if (Number.isNaN(date.getTime())) return undefined
  try {
    const utc = PyDateTime.fromDate(date)
    const exact = new PyDateTime({
      ...utc,
      microsecond: Number(((microseconds % 1_000_000n) + 1_000_000n) % 1_000_000n),
    })
    return tz === null ? new PyDateTime({ ...exact, tzinfo: null }) : exact
  } catch (error) {
    // A year beyond those of Python's datetime.
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function floor(value: bigint, by: bigint): bigint {
  return (value - (((value % by) + by) % by)) / by
}
