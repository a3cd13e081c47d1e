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

  it.each([1, 2, 20])('keeps a set with %d members that lead back to it', (count) => {
    const set = new Set<PyObject>()
    for (let index = 0; index < count; index++) {
      const member = new PyObject({ kind: 'new', module: 'app', name: 'Node' })
      member.state = { index, set }
      set.add(member)
    }
    const sets = (value: Set<PyObject>) =>
      new Set([...value].map(({ state }) => (state as { set: unknown }).set))
    const self = again(set) as Set<PyObject>
    const [member] = set
    const other = again(member) as PyObject

    expect(self.size).toBe(count)
    expect([...sets(self)]).toEqual([self])
    expect((other.state as { set: Set<unknown> }).set.has(other)).toBe(true)
    expect(encode(set, { protocol }).length).toBeLessThan(4_000)
  })

  it('keeps a frozenset with a member that leads back to it', () => {
    const member = new PyObject({ kind: 'new', module: 'app', name: 'Node' })
    const set = new Set([member])
    member.state = new Map([[set, 1]])
    const self = again(member) as PyObject

    expect([...(self.state as Map<Set<unknown>, unknown>).keys()].map((each) => each.has(self))).toEqual([
      true,
    ])
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

describe('what Python cannot express is a PickleError with the path to it', () => {
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
    ['a Proxy of a Map', { a: [new Proxy(new Map(), {})] }, '$.a[0]'],
    ['a Proxy of a Set', new Proxy(new Set(), {}), '$'],
    ['a Proxy of bytes', new Proxy(new Uint8Array(2), {}), '$'],
    ['a Proxy of a Date', new Proxy(new Date(), {}), '$'],
    ['a Proxy that was revoked', { a: revoked() }, '$.a'],
    ['what inherits from Map', Object.create(Map.prototype), '$'],
    ['an instance of a class named by a symbol', oddlyNamed(), '$'],
    ['a PyDateTime without fields', Object.create(PyDateTime.prototype), '$'],
    ['a PyTimeZone without fields', Object.create(PyTimeZone.prototype), '$'],
    ['a PyDateTime in no zone', new PyDateTime({ year: 1, month: 1, day: 1, tzinfo: 1 as never }), '$'],
    ['a PyException without fields', Object.create(PyException.prototype), '$'],
    ['a PyObject of an array', Object.assign(named(), { args: [] }), '$'],
    ['Math', [Math], '$[0]'],
    ['JSON', [JSON], '$[0]'],
    ['Reflect', [Reflect], '$[0]'],
    ['Intl', [Intl], '$[0]'],
    ['the arguments of a call', [argumentsOf(1)], '$[0]'],
    [
      'keys that are equal in Python',
      {
        a: new Map<unknown, unknown>([
          [1, 'a'],
          [true, 'b'],
        ]),
      },
      '$.a',
    ],
    ['members that are equal in Python', new Set<unknown>([2 ** 53, 2n ** 53n]), '$'],
  ])('%s', (_, value, path) => {
    for (const protocol of PROTOCOLS) {
      const writing = () => encode(value, { protocol })

      expect(writing).toThrow(PickleError)
      expect(writing).toThrow(expect.objectContaining({ code: 'PICKLE_UNENCODABLE', path }))
    }
  })

  it('too deep a value is a PickleError', () => {
    let deep: unknown[] = []
    for (let depth = 0; depth < 100_000; depth++) deep = [deep]

    expect(() => encode(deep)).toThrow(expect.objectContaining({ code: 'PICKLE_LIMIT', limit: 'maxDepth' }))
    expect(decode(encode([[[1]]], { maxDepth: 3 }))).toEqual([[[1]]])
  })
})

it('an error of a getter is passed on', () => {
  const error = new Error('mine')

  expect(() =>
    encode({
      get a() {
        throw error
      },
    }),
  ).toThrow(error)
})

it('a class without a name, or of no module, is written where it can be spelt', () => {
  for (const place of [
    { module: '', name: 'x' },
    { module: 'x', name: '' },
  ]) {
    const object = new PyObject({ kind: 'global', ...place })

    for (const protocol of [0, 1, 2, 3]) {
      expect(() => encode(object, { protocol })).toThrow(
        expect.objectContaining({ code: 'PICKLE_UNENCODABLE' }),
      )
    }
    expect(decode(encode(object, { protocol: 4 }))).toEqual(object)
  }
})

it('names are kept apart even when they have line breaks', () => {
  const objects = [
    new PyObject({ kind: 'global', module: 'a\nb', name: 'c' }),
    new PyObject({ kind: 'global', module: 'a', name: 'b\nc' }),
  ]

  expect(decode(encode(objects))).toEqual(objects)
})

it('is as long as maxBytes at most', () => {
  const limit = expect.objectContaining({ code: 'PICKLE_LIMIT', limit: 'maxBytes' })

  expect(() => encode(new Array(1e9), { maxBytes: 1e6 })).toThrow(limit)
  expect(encode([1], { maxBytes: 17 })).toHaveLength(17)
  expect(() => encode([1], { maxBytes: 16 })).toThrow(limit)
})

it('a long text with a lone surrogate is no slower than its length', () => {
  const text = `${'é'.repeat(500_000)}\ud800${'😀'.repeat(10)}\udc00`
  const startedAt = performance.now()

  expect(decode(encode(text))).toBe(text)
  expect(performance.now() - startedAt).toBeLessThan(10_000)
})

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

function oddlyNamed(): object {
  class Odd {}
  return new (Object.defineProperty(Odd, 'name', { value: Symbol('x') }))()
}

function named(): PyObject {
  return new PyObject({ kind: 'global', module: 'app', name: 'x' })
}

function argumentsOf(..._: unknown[]): unknown {
  // biome-ignore lint/complexity/noArguments: it is what is tested
  return arguments
}

it('a protocol that there is not is an OptionError, and so is an unknown option', () => {
  expect(() => encode(1, { protocol: 6 })).toThrow(OptionError)
  expect(() => encode(1, { protocol: 1.5 })).toThrow(OptionError)
  // @ts-expect-error: not an option
  expect(() => encode(1, { version: 2 })).toThrow(OptionError)
})
