import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { jsonSerializer, pickleSerializer, type Serializer, serializerOf } from '../../src/backend/column.ts'
import { BackendError } from '../../src/backend/errors.ts'
import { readJson } from '../../src/backend/json.ts'
import { writeJson } from '../../src/backend/json-writer.ts'
import {
  PyDate,
  PyDateTime,
  PyDecimal,
  PyObject,
  PyTime,
  PyTimeDelta,
  PyTimeZone,
  PyTuple,
} from '../../src/pickle/index.ts'
import { describeNeeding } from '../fixtures/servers.ts'
import { askCelery, hexOf } from './oracle.ts'

function read(text: string): unknown {
  return readJson(new TextEncoder().encode(text))
}

function errorOf(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('Nothing was thrown')
}

/** Values, each with the Python literal that is the same. */
const SAME: readonly (readonly [unknown, string])[] = [
  [null, 'None'],
  [[true, false], '[True, False]'],
  [
    [0, -1, 9_007_199_254_740_991, 2n ** 64n, -(10n ** 30n)],
    `[0, -1, 9007199254740991, ${2n ** 64n}, -${10n ** 30n}]`,
  ],
  [
    [1.5, -0, 0.1, 1e-5, 1.25e-7, 1e16, 1e21, 1.5e300, 5e-324],
    '[1.5, -0.0, 0.1, 1e-5, 1.25e-7, 1e16, 1e21, 1.5e300, 5e-324]',
  ],
  [[Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY], '[1e999, -1e999]'],
  [
    ['', 'a', 'é😀', '"\\/', '\b\f\n\r\t\0\x1f\x7f', '\ud83d', '\ude00x'],
    String.raw`['', 'a', 'é😀', '"\\/', '\b\f\n\r\t\0\x1f\x7f', '\ud83d', '\ude00x']`,
  ],
  [PyTuple.of(1, PyTuple.of('a'), new PyTuple()), "(1, ('a',), ())"],
  [{}, '{}'],
  [{ x: [1, { y: null }], é: {} }, "{'x': [1, {'y': None}], 'é': {}}"],
  [
    new Map<unknown, unknown>([
      [2, 'a'],
      [1.5, 'b'],
      [true, 'c'],
      [null, 'd'],
      [2n ** 70n, 'e'],
      ['s', 'f'],
    ]),
    `{2: 'a', 1.5: 'b', True: 'c', None: 'd', ${2n ** 70n}: 'e', 's': 'f'}`,
  ],
]

/** Values, each with what kombu 5.3 and later write for it. */
const MARKED: readonly (readonly [unknown, string])[] = [
  [
    new PyDateTime({ year: 2024, month: 1, day: 2, hour: 3, minute: 4, second: 5, microsecond: 678_901 }),
    '{"__type__": "datetime", "__value__": "2024-01-02T03:04:05.678901"}',
  ],
  [
    new PyDateTime({ year: 2024, month: 1, day: 2, tzinfo: PyTimeZone.utc }),
    '{"__type__": "datetime", "__value__": "2024-01-02T00:00:00+00:00"}',
  ],
  [
    new PyDateTime({
      ...{ year: 1, month: 12, day: 31, hour: 23 },
      tzinfo: new PyTimeZone(new PyTimeDelta({ seconds: -19_815, microseconds: -1 })),
    }),
    '{"__type__": "datetime", "__value__": "0001-12-31T23:00:00-05:30:15.000001"}',
  ],
  [new PyDate({ year: 2024, month: 2, day: 29 }), '{"__type__": "date", "__value__": "2024-02-29"}'],
  [new PyTime({ hour: 1, microsecond: 5 }), '{"__type__": "time", "__value__": "01:00:00.000005"}'],
  [new PyDecimal('1.50'), '{"__type__": "decimal", "__value__": "1.50"}'],
  [Uint8Array.from(Buffer.from('é')), '{"__type__": "bytes", "__value__": "\\u00e9"}'],
  [Uint8Array.of(0xff, 0), '{"__type__": "base64", "__value__": "/wA="}'],
]

describe('writing JSON', () => {
  it('marks values that JSON cannot express as kombu does, and reads them back', () => {
    for (const [value, text] of MARKED) {
      expect(writeJson(value)).toBe(text)
      expect(read(text)).toEqual(value)
    }
  })

  it('writes a Date as the moment in UTC', () => {
    const text = writeJson(new Date('2024-01-02T03:04:05.678Z'))

    expect(text).toBe('{"__type__": "datetime", "__value__": "2024-01-02T03:04:05.678000+00:00"}')
  })

  it('writes NaN and Infinity as bare words', () => {
    expect(writeJson([Number.NaN, Number.POSITIVE_INFINITY, -1 / 0])).toBe('[NaN, Infinity, -Infinity]')
  })

  it('leaves undefined properties out and writes other undefined as null', () => {
    expect(writeJson({ a: undefined, b: [undefined, 1] })).toBe('{"b": [null, 1]}')
  })

  it('takes the toJSON of an object of a class of its own', () => {
    expect(writeJson({ at: new URL('https://example.org/é') })).toBe('{"at": "https://example.org/%C3%A9"}')
  })

  it('names the place of what kombu cannot write either', () => {
    const refused: [unknown, string][] = [
      [{ rows: [{ callback: () => 1 }] }, '$.rows[0].callback'],
      [[new Set([1])], '$[0]'],
      [{ 'a b': Symbol('x') }, '$["a b"]'],
      [{ t: new PyTimeDelta({ days: 1 }) }, '$.t'],
      [{ m: new Map([[[], 1]]) }, '$.m'],
      [{ d: new Date(Number.NaN) }, '$.d'],
      [{ o: new PyObject({ kind: 'global', module: 'os', name: 'system' }) }, '$.o'],
    ]
    for (const [value, path] of refused) {
      expect(errorOf(() => writeJson(value))).toMatchObject({ code: 'RESULT_UNENCODABLE', path })
    }
  })

  it('refuses what holds itself', () => {
    const list: unknown[] = []
    list.push(list, list)

    expect(errorOf(() => writeJson(list))).toMatchObject({ code: 'RESULT_UNENCODABLE' })
  })
})

describe('reading JSON', () => {
  it('reads what JSON.parse reads', () => {
    const texts = [
      '{"a": [1, -2.5e3, true, false, null, "x\\u00e9\\n\\/"], "b": {}}',
      ' [ ] ',
      '"\\ud83d"',
      '0',
      '1E2',
    ]
    for (const text of texts) expect(read(text)).toEqual(JSON.parse(text))
  })

  it('reads bare words, and integers beyond 2^53 exactly', () => {
    expect(read('[NaN, Infinity, -Infinity, 9007199254740993, -18446744073709551616, 1e400, -0]')).toEqual([
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      9007199254740993n,
      -18446744073709551616n,
      Number.POSITIVE_INFINITY,
      0,
    ])
  })

  it('makes __proto__ a property like any other', () => {
    const value = read('{"__proto__": {"polluted": true}}')

    expect(Object.getOwnPropertyNames(value)).toEqual(['__proto__'])
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
  })

  it('reads a UUID as its text', () => {
    const text =
      '{"__type__": "uuid", "__value__": {"hex": "12345678123442348234123456789abc", "version": 4}}'

    expect(read(text)).toBe('12345678-1234-4234-8234-123456789abc')
  })

  it('leaves an object that only looks marked as it is', () => {
    const texts = [
      '{"__type__": "money", "__value__": 3}',
      '{"__type__": "datetime", "__value__": "2024-13-02T00:00:00"}',
      '{"__type__": "datetime", "__value__": 5}',
      '{"__type__": "decimal", "__value__": "many"}',
      '{"__type__": "date", "__value__": "2024-01-01", "more": 1}',
    ]
    for (const text of texts) expect(read(text)).toEqual(JSON.parse(text))
  })

  it('refuses what is no JSON, without showing it', () => {
    const texts = [
      '',
      'secret',
      '{"secret"}',
      '["secret",]',
      '[01]',
      '"secret',
      '"\\x"',
      '"\\u12',
      '[1] secret',
      '-',
      'nul',
    ]
    for (const text of texts) {
      const error = errorOf(() => read(text))

      expect(error).toBeInstanceOf(BackendError)
      expect(String(error)).not.toContain('secret')
    }
    expect(errorOf(() => readJson(Uint8Array.of(0x22, 0xff, 0x22)))).toBeInstanceOf(BackendError)
  })

  it('bounds depth and digits', () => {
    expect(errorOf(() => read('['.repeat(1_000_000)))).toMatchObject({ code: 'RESULT_UNREADABLE' })
    expect(errorOf(() => read('9'.repeat(1_000_000)))).toMatchObject({ code: 'RESULT_UNREADABLE' })
    expect(read(`${'['.repeat(1_000)}${']'.repeat(1_000)}`)).toHaveLength(1)
  })

  it('agrees with JSON.parse on what was written', () => {
    const property = fc.property(fc.jsonValue(), (value) => {
      const text = writeJson(value)

      expect(read(text)).toEqual(value)
      expect(JSON.parse(text)).toEqual(value)
    })

    fc.assert(property, { numRuns: 1_000 })
  })

  it('reads back what was written', () => {
    for (const [value] of SAME.slice(0, 6)) expect(read(writeJson(value))).toEqual(value)
  })
})

describe('serializerOf', () => {
  it('finds ours by name and gives back any other', () => {
    const own: Serializer = { ...jsonSerializer, name: 'own' }

    expect(serializerOf('json')).toBe(jsonSerializer)
    expect(serializerOf('pickle')).toBe(pickleSerializer)
    expect(serializerOf(own)).toBe(own)
  })

  it('pickles arguments in protocol 4, as kombu', () => {
    expect(hexOf(pickleSerializer.encode([]))).toBe('80045d942e')
    expect(hexOf(pickleSerializer.encode(null))).toBe('80044e2e')
    expect(pickleSerializer.decode(pickleSerializer.encode({ a: PyTuple.of(1) }))).toEqual({
      a: PyTuple.of(1),
    })
  })
})

describeNeeding('python celery', "kombu's JSON", () => {
  it('has the very bytes of ours', () => {
    const theirs = askCelery<string[]>('json', { literals: SAME.map(([, literal]) => literal) })

    expect(SAME.map(([value]) => writeJson(value))).toEqual(theirs)
  })
})
