import {
  decode,
  encode,
  OptionError,
  PickleError,
  PyDateTime,
  PyException,
  PyObject,
  PyTimeZone,
  PyTuple,
} from 'drizzle-celery/pickle'
import { describe, expect, it } from 'vitest'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const PROTOCOLS = [0, 1, 2, 3, 4, 5]

/** As in the contract of Celery: what its own workers wrote. */
it.each([
  [null, '80054e2e'],
  [65_536, '80059506000000000000004a000001002e'],
  [2n ** 64n, '8005950c000000000000008a090000000000000000012e'],
  [-0, '8005950a000000000000004780000000000000002e'],
  ['héllo', '8005950a000000000000008c0668c3a96c6c6f942e'],
  ['\ud83d', '80059507000000000000008c03eda0bd942e'],
  [Uint8Array.of(0, 255, 97, 98, 99), '8005950900000000000000430500ff616263942e'],
  [PyTuple.of(1, 2, 3), '80059509000000000000004b014b024b0387942e'],
  [
    { exc_type: 'RuntimeError', exc_message: new PyTuple(), exc_module: 'builtins' },
    '80059546000000000000007d94288c086578635f74797065948c0c52756e74696d654572726f72948c0b6578635f6d65737361676594298c0a6578635f6d6f64756c65948c086275696c74696e7394752e',
  ],
  [
    { pid: 4242, hostname: 'celery@host1' },
    '80059528000000000000007d94288c03706964944d92108c08686f73746e616d65948c0c63656c65727940686f73743194752e',
  ],
])('%o is written as Celery writes it', (value, expected) => {
  expect(hex(encode(value))).toBe(expected)
})

describe.each(PROTOCOLS)('protocol %d', (protocol) => {
  const again = (value: unknown) => decode(encode(value, { protocol }))

  it('brings back every kind of value', () => {
    const value = {
      scalars: [null, true, false, 0, -1, 1.5, -0, Number.NaN, 2n ** 80n, '', 'é\n\\u0041\ud800'],
      bytes: Uint8Array.from({ length: 300 }, (_, index) => index & 0xff),
      tuple: PyTuple.of(1, PyTuple.of(), [2], PyTuple.of(1, 2, 3, 4)),
      set: new Set<unknown>([1, 'a', PyTuple.of(1)]),
      map: new Map<unknown, unknown>([
        [1, 'one'],
        [PyTuple.of(new Set([1])), 'frozen'],
      ]),
      exception: new PyException('app', 'AppError', ['x'], { code: 1 }),
      __proto__: null,
    }

    expect(again(value)).toEqual({ ...value })
  })

  it('keeps what is shared and what is cyclic', () => {
    const shared = { a: [1] }
    const cycle: unknown[] = [shared, shared, Uint8Array.of(1)]
    cycle.push(PyTuple.of(cycle), new Map([[1, cycle]]), cycle[2])

    expect(again(cycle)).toSatisfy(
      (self) => self[0] === self[1] && self[3][0] === self && self[4].get(1) === self && self[5] === self[2],
    )
  })

  it('keeps an object whose state leads back to it', () => {
    const object = new PyObject({ kind: 'new', module: 'app', name: 'Node' })
    object.state = { self: object }
    object.listItems = [object]

    expect(again(object)).toSatisfy((self) => self.state.self === self && self.listItems[0] === self)
  })

  it('keeps an object whose arguments lead back to it', () => {
    const inner: unknown[] = []
    const object = new PyObject({ kind: 'call', module: 'app', name: 'Node', args: PyTuple.of(inner) })
    inner.push(PyTuple.of(object))

    expect(() => again(object)).not.toThrow(RangeError)
  })
})

it('undefined is left out as a property, and None elsewhere', () => {
  expect(decode(encode({ a: undefined, b: [undefined], c: new Map([[1, undefined]]) }))).toEqual({
    b: [null],
    c: new Map([[1, null]]),
  })
  expect(decode(encode(undefined))).toBeNull()
})

it('a number is an int when it is a safe integer, else a float', () => {
  expect(hex(encode(1, { protocol: 2 }))).toBe('80024b012e')
  expect(hex(encode(2 ** 53, { protocol: 2 }))).toBe('80024743400000000000002e')
  expect(hex(encode(-0, { protocol: 2 }))).toBe('80024780000000000000002e')
})

it('a Date is an aware datetime, a Buffer bytes, an object without prototype a dict', () => {
  const date = new Date('2024-01-02T03:04:05.678Z')

  expect(decode(encode(date))).toEqual(
    new PyDateTime({
      ...{ year: 2024, month: 1, day: 2, hour: 3, minute: 4, second: 5, microsecond: 678_000 },
      tzinfo: PyTimeZone.utc,
    }),
  )
  expect(decode(encode(Buffer.from('ab')))).toEqual(Uint8Array.of(97, 98))
  expect(decode(encode(Object.assign(Object.create(null), { a: 1 })))).toEqual({ a: 1 })
})

describe('what Python has not is a PickleError with the way to it', () => {
  class Invoice {}

  it.each<[string, unknown, string]>([
    ['a function', { rows: [0, { callback: () => 1 }] }, '$.rows[1].callback'],
    ['a symbol', [Symbol('x')], '$[0]'],
    ['an instance', { 'an invoice': new Invoice() }, '$["an invoice"]'],
    ['an Error', PyTuple.of(new Error('x')), '$[0]'],
    ['an invalid Date', { at: new Date(Number.NaN) }, '$.at'],
    ['a Date beyond the year 9999', new Date(8.64e15), '$'],
    ['a list as a key', new Map([[[1], 1]]), '$.key'],
    ['a dict in a set', { tags: new Set([{}]) }, '$.tags[0]'],
    ['a list in a tuple as a key', new Map([[PyTuple.of([1]), 1]]), '$.key[0]'],
    ['an array of other numbers', new Float64Array(1), '$'],
    ['a Promise', Promise.resolve(1), '$'],
  ])('%s', (_, value, path) => {
    for (const protocol of PROTOCOLS) {
      const writing = () => encode(value, { protocol })

      expect(writing).toThrow(PickleError)
      expect(writing).toThrow(expect.objectContaining({ code: 'PICKLE_UNENCODABLE', path }))
    }
  })

  it('and so is what is too deep', () => {
    let deep: unknown[] = []
    for (let depth = 0; depth < 100_000; depth++) deep = [deep]

    expect(() => encode(deep)).toThrow(expect.objectContaining({ code: 'PICKLE_LIMIT', limit: 'maxDepth' }))
    expect(decode(encode([[[1]]], { maxDepth: 3 }))).toEqual([[[1]]])
  })
})

it('a protocol that there is not is an OptionError, and so is an unknown option', () => {
  expect(() => encode(1, { protocol: 6 })).toThrow(OptionError)
  expect(() => encode(1, { protocol: 1.5 })).toThrow(OptionError)
  // @ts-expect-error: not an option
  expect(() => encode(1, { version: 2 })).toThrow(OptionError)
})
