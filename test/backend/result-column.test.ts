import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import {
  decodeResult,
  encodeResult,
  jsonSerializer,
  pickleSerializer,
  type Serializer,
} from '../../src/backend/column.ts'
import { BackendError, TaskError } from '../../src/backend/errors.ts'
import { decode, encode, PyException, PyObject, PyTuple } from '../../src/pickle/index.ts'
import { describeNeeding } from '../fixtures/servers.ts'
import { askCelery, bytesOf, hexOf, type ReadRows, recordedRows, vector, type WrittenRows } from './oracle.ts'

// A slow machine needs long to start Celery, and for thousands of bytes that are none of ours.
vi.setConfig({ testTimeout: 120_000 })
const asPickle = { wire: 'pickle', serializer: jsonSerializer } as const
const asJson = { wire: 'serializer', serializer: jsonSerializer } as const

function errorOf(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('Nothing was thrown')
}

function textOf(bytes: Uint8Array | null): string | null {
  return bytes && new TextDecoder().decode(bytes)
}

describe('encodeResult', () => {
  it('stores null and undefined as SQL NULL', () => {
    for (const options of [asPickle, asJson]) {
      expect(encodeResult(null, 'SUCCESS', options)).toBeNull()
      expect(encodeResult(undefined, 'FAILURE', options)).toBeNull()
    }
  })

  it('pickles in protocol 5 whatever the serializer, as Celery does', () => {
    const options = { wire: 'pickle', serializer: pickleSerializer } as const

    for (const each of [asPickle, options]) {
      expect(hexOf(encodeResult({ pid: 4242, hostname: 'celery@host1' }, 'STARTED', each))).toBe(
        hexOf(vector('started_meta@p5')),
      )
    }
  })

  it('stores an error in a failure state as the dict with the three keys, its arguments a tuple', () => {
    const expected = {
      exc_type: 'ValueError',
      exc_message: PyTuple.of('too large'),
      exc_module: 'builtins',
    }
    for (const state of ['FAILURE', 'RETRY', 'REVOKED']) {
      const bytes = encodeResult(new RangeError('too large'), state, asPickle)

      expect(bytes && decode(bytes)).toStrictEqual(expected)
    }
  })

  it("has the bytes of Celery's own dict for the exception of a Python task", () => {
    const error = new PyException('builtins', 'ValueError', ['bad', 1, null])

    expect(hexOf(encodeResult(error, 'FAILURE', asPickle))).toBe(hexOf(vector('excdict_valueerror@p5')))
  })

  it('stores what was thrown and is no error as an Exception, for Celery could not even read the state', () => {
    for (const thrown of ['out of stock', '', 0, [1], { sku: 7 }, { exc_type: 5 }, new Map([[1, 2]])]) {
      const bytes = encodeResult(thrown, 'FAILURE', asPickle)

      expect(bytes && decode(bytes)).toStrictEqual({
        exc_type: 'Exception',
        exc_message: PyTuple.of(thrown),
        exc_module: 'builtins',
      })
    }
  })

  it('takes a dict that is such a failure already as it is, and what others pickled for what it was', () => {
    const dict = { exc_type: 'OutOfStock', exc_message: ['sku'], exc_module: 'shop' }
    const whole = new PyObject({
      kind: 'call',
      module: 'shop',
      name: 'OutOfStock',
      args: PyTuple.of('sku'),
    })

    const [fromDict, fromWhole] = [dict, whole].map((value) => encodeResult(value, 'RETRY', asPickle))

    expect(fromDict && decode(fromDict)).toStrictEqual(dict)
    expect(fromWhole && decode(fromWhole)).toStrictEqual({ ...dict, exc_message: PyTuple.of('sku') })
  })

  it('replaces an argument that the serializer cannot write by its text, also when it pickles', () => {
    const error = new PyException('shop', 'OutOfStock', ['sku', new Set([1]), PyTuple.of(2)])
    const bytes = encodeResult(error, 'FAILURE', asPickle)

    expect(bytes && decode(bytes)).toMatchObject({
      exc_message: PyTuple.of('sku', 'Set(1) { 1 }', PyTuple.of(2)),
    })
  })

  it('refuses an error as the result of a task that succeeded', () => {
    expect(errorOf(() => encodeResult(new Error('x'), 'SUCCESS', asPickle))).toMatchObject({
      code: 'PICKLE_UNENCODABLE',
    })
    expect(errorOf(() => encodeResult(new Error('x'), 'SUCCESS', asJson))).toMatchObject({
      code: 'RESULT_UNENCODABLE',
    })
  })

  it('gives all to the serializer on that wire', () => {
    expect(textOf(encodeResult({ a: 1 }, 'SUCCESS', asJson))).toBe('{"a": 1}')
    expect(textOf(encodeResult(new TypeError('no'), 'FAILURE', asJson))).toBe(
      '{"exc_type": "TypeError", "exc_message": ["no"], "exc_module": "builtins"}',
    )
  })
})

describe('decodeResult', () => {
  const json = { serializer: jsonSerializer }

  it('reads SQL NULL as null', () => {
    expect(decodeResult(null, json)).toBeNull()
  })

  it('distinguishes pickles of protocols 2 to 5 from JSON', () => {
    expect(decodeResult(encode([1], { protocol: 2 }), json)).toEqual([1])
    expect(decodeResult(encode([1], { protocol: 5 }), json)).toEqual([1])
    expect(decodeResult(Buffer.from('[1]'), json)).toEqual([1])
    expect(decodeResult(Buffer.from('null'), json)).toBeNull()
  })

  it('reads pickles of protocols 0 and 1, which only end like one', () => {
    const value = { a: [1, 'x'] }

    expect(decodeResult(encode(value, { protocol: 0 }), json)).toEqual(value)
    expect(decodeResult(encode(value, { protocol: 1 }), json)).toEqual(value)
  })

  it("leaves MessagePack's empty map, a lone 80, to its serializer", () => {
    const serializer: Serializer = {
      name: 'msgpack',
      contentType: 'application/x-msgpack',
      encode: () => Uint8Array.of(0x80),
      decode: () => ({}),
    }

    expect(decodeResult(Uint8Array.of(0x80), { serializer })).toEqual({})
  })

  it('says what is wrong with an unreadable one, never what is in it', () => {
    const broken = [
      new Uint8Array(),
      Buffer.from('secret'),
      Buffer.from('secret.'),
      Uint8Array.of(0x80, 5, ...Buffer.from('secret.')),
      Uint8Array.of(0xff, 0xfe),
    ]
    for (const bytes of broken) {
      const error = errorOf(() => decodeResult(bytes, json))

      expect(error).toBeInstanceOf(BackendError)
      expect(error).toMatchObject({ code: 'RESULT_UNREADABLE' })
      expect(inspect(error)).not.toContain('secret')
    }
  })

  it("passes on nothing of what another's serializer throws: JSON.parse shows what it read", () => {
    const serializer: Serializer = {
      ...jsonSerializer,
      name: 'own',
      decode: (bytes) => JSON.parse(Buffer.from(bytes).toString()),
    }
    const error = errorOf(() => decodeResult(Buffer.from('secret'), { serializer }))

    expect(error).toMatchObject({ code: 'RESULT_UNREADABLE' })
    expect(error).not.toHaveProperty('cause')
    expect(inspect(error)).not.toContain('secret')
  })

  it('keeps to the limits for pickles', () => {
    const bytes = encode([[[]]])

    expect(errorOf(() => decodeResult(bytes, { ...json, pickle: { maxDepth: 2 } }))).toMatchObject({
      code: 'RESULT_UNREADABLE',
      cause: { code: 'PICKLE_LIMIT', limit: 'maxDepth' },
    })
  })

  it('reads only what is accepted, by name or content type', () => {
    const pickled = encode([1])

    expect(decodeResult(Buffer.from('[1]'), { ...json, accept: ['application/json'] })).toEqual([1])
    expect(decodeResult(pickled, { ...json, accept: ['json', 'pickle'] })).toEqual([1])
    expect(errorOf(() => decodeResult(pickled, { ...json, accept: ['json'] }))).toMatchObject({
      code: 'RESULT_UNREADABLE',
    })
    expect(errorOf(() => decodeResult(Buffer.from('[1]'), { ...json, accept: ['pickle'] }))).toMatchObject({
      code: 'RESULT_UNREADABLE',
    })
  })

  it('leaves the database URL out of a pickled AsyncResult', () => {
    for (const bytes of [
      vector('asyncresult_object@p5'),
      bytesOf(recordedRows().pickle.tasks['nested']?.result ?? ''),
    ]) {
      const shown = inspect(decodeResult(bytes, json), { depth: 20 })

      expect(Buffer.from(bytes).includes('sqlite:///')).toBe(true)
      expect(shown).toContain('unpickle_backend')
      expect(shown).not.toContain('sqlite:///')
      expect(shown).not.toContain('dburi')
    }
  })

  it('leaves it out whatever the protocol and the serializer, and keeps to the limits', () => {
    const pickled = encode(decode(vector('asyncresult_object@p5')), { protocol: 0 })
    const options = { serializer: pickleSerializer }

    expect(Buffer.from(pickled).includes('sqlite:///')).toBe(true)
    expect(inspect(decodeResult(pickled, options), { depth: 20 })).not.toContain('sqlite:///')
    expect(inspect(pickleSerializer.decode(pickled), { depth: 20 })).not.toContain('sqlite:///')
    expect(errorOf(() => decodeResult(pickled, { ...options, pickle: { maxDepth: 2 } }))).toMatchObject({
      cause: { code: 'PICKLE_LIMIT' },
    })
  })

  it('throws nothing but its own error, whatever the bytes', { tags: 'full' }, () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.uint8Array({ maxLength: 40 }).map((body) => Uint8Array.of(0x80, 5, ...body, 0x2e)),
      fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
      fc.json().map((text) => Buffer.from(text.slice(0, -1))),
    )
    const property = fc.property(bytes, (stored) => {
      try {
        decodeResult(stored, json)
      } catch (error) {
        expect(error).toMatchObject({ code: 'RESULT_UNREADABLE' })
      }
    })

    fc.assert(property, { numRuns: 2_000 })
  })

  it('reads the rows of Celery with either serializer', () => {
    const { json: plain, pickle: pickled } = recordedRows()
    const value = { a: PyTuple.of(1, 2.5, null), b: new Set([3]) }

    for (const { tasks } of [plain, pickled]) {
      expect(decodeResult(bytesOf(tasks['value']?.result ?? ''), json)).toStrictEqual(value)
      expect(decodeResult(bytesOf(tasks['value']?.args ?? ''), json)).toEqual([1, 'é'])
      expect(decodeResult(bytesOf(tasks['value']?.kwargs ?? ''), json)).toEqual({ y: null })
    }
  })
})

const VALUES: readonly (readonly [unknown, string])[] = [
  [42, '42'],
  ['é😀', "'é😀'"],
  [[1, 2.5, null, true, 2n ** 70n], `[1, 2.5, None, True, ${2n ** 70n}]`],
  [PyTuple.of(PyTuple.of('a', null), null), "(('a', None), None)"],
  [{ a: { b: [Uint8Array.of(0, 255)] }, '': new Set([1]) }, "{'a': {'b': [b'\\x00\\xff']}, '': {1}}"],
  [
    new Map<unknown, unknown>([
      [1, 'x'],
      [PyTuple.of(2), 'y'],
    ]),
    "{1: 'x', (2,): 'y'}",
  ],
]

const ERRORS: readonly (readonly [unknown, string])[] = [
  [new RangeError('bad'), "{'exc_type': 'ValueError', 'exc_message': ('bad',), 'exc_module': 'builtins'}"],
  [new Error(), "{'exc_type': 'Exception', 'exc_message': (), 'exc_module': 'builtins'}"],
  [
    new PyException('celery.exceptions', 'TaskRevokedError', ['revoked']),
    "{'exc_type': 'TaskRevokedError', 'exc_message': ('revoked',), 'exc_module': 'celery.exceptions'}",
  ],
]

describeNeeding('python celery', 'what we store', () => {
  it("has the very bytes of Python's pickle", () => {
    const literals = [...VALUES, ...ERRORS].map(([, literal]) => literal)
    const ours = [
      ...VALUES.map(([value]) => hexOf(encodeResult(value, 'SUCCESS', asPickle))),
      ...ERRORS.map(([error]) => hexOf(encodeResult(error, 'FAILURE', asPickle))),
    ]

    expect(ours).toEqual(askCelery('dumps', { literals }))
  })

  it('is read by Celery as the same values and as exceptions that can be caught', () => {
    class OutOfStock extends Error {}
    const failures: [unknown, unknown][] = [
      [new TypeError('no'), ['builtins', 'TypeError', "('no',)"]],
      [new RangeError('no'), ['builtins', 'ValueError', "('no',)"]],
      [new ReferenceError('no'), ['builtins', 'NameError', "('no',)"]],
      [new SyntaxError('no'), ['builtins', 'SyntaxError', "('no',)"]],
      [new AggregateError([], 'no'), ['builtins', 'Exception', "('no',)"]],
      [new DOMException('no', 'TimeoutError'), ['builtins', 'TimeoutError', "('no',)"]],
      [new Error('half \ud83d'), ['builtins', 'Exception', "('half \\ud83d',)"]],
      [new OutOfStock('sku'), ['celery.exceptions', 'OutOfStock', "('sku',)"]],
      [
        new TaskError({
          ...{ taskId: 't', excType: 'KeyError', excModule: 'builtins', traceback: null },
          excMessage: ['k', 1],
        }),
        ['builtins', 'KeyError', "('k', 1)"],
      ],
    ]
    const tasks = [
      ...VALUES.map(([value], index) => ({
        ...{ id: `value-${index}`, status: 'SUCCESS' },
        ...{
          result: hexOf(encodeResult(value, 'SUCCESS', asPickle)),
          args: hexOf(jsonSerializer.encode([1])),
        },
      })),
      ...failures.map(([error], index) => ({
        ...{ id: `error-${index}`, status: 'FAILURE' },
        result: hexOf(encodeResult(error, 'FAILURE', asPickle)),
      })),
    ]
    const { tasks: told } = askCelery<ReadRows>('read', {
      tasks,
    })

    expect(told.slice(0, VALUES.length)).toEqual(
      VALUES.map(([, literal]) => ({ state: 'SUCCESS', result: literal, args: '[1]' })),
    )
    expect(told.slice(VALUES.length).map(({ result }) => result)).toEqual(
      failures.map(([, expected]) => expected),
    )
  })

  it('arguments pickled by us are read by a Celery that pickles', () => {
    const tasks = [
      { id: 'a', status: 'STARTED', result: null, args: hexOf(pickleSerializer.encode([PyTuple.of(1)])) },
    ]
    const told = askCelery<ReadRows>('read', { tasks, settings: { result_serializer: 'pickle' } })

    expect(told.tasks).toEqual([{ state: 'STARTED', result: 'None', args: '[(1,)]' }])
  })

  it('the recorded rows are what this Celery writes', () => {
    for (const serializer of ['json', 'pickle'] as const) {
      const rows = askCelery<WrittenRows>('write', {
        settings: { result_serializer: serializer },
      })
      const shown = (bytes: string) => decodeResult(bytesOf(bytes), { serializer: jsonSerializer })

      for (const [id, { status, result }] of Object.entries(recordedRows()[serializer].tasks)) {
        expect(rows.tasks[id]?.status).toBe(status)
        expect(shown(rows.tasks[id]?.result ?? '')).toEqual(shown(result ?? ''))
      }
    }
  })
})
