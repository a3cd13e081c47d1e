/** What `res.json()` makes of what Python stored. */
import { DatabaseBackend, toPlainJson } from 'drizzle-celery/backend'
import { PyDate, PyDecimal, PyException, PyObject, PyTimeDelta, PyTuple } from 'drizzle-celery/pickle'
import { describe, expect, it } from 'vitest'

function objectOf(fields: Partial<PyObject>): PyObject {
  const object = new PyObject({ kind: 'new', module: 'shop', name: 'Money', ...fields })
  return Object.assign(object, fields)
}

describe('toPlainJson', () => {
  it.each<[string, unknown, unknown]>([
    ['None', null, null],
    ['a float that JSON lacks', [Number.NaN, Number.NEGATIVE_INFINITY], ['NaN', '-Infinity']],
    ['integers beyond 2^53', [1n << 60n, 7n], ['1152921504606846976', 7]],
    ['a set', { tags: new Set(['a', 'b']) }, { tags: ['a', 'b'] }],
    ['keys that are numbers', new Map([[1, 'x']]), { 1: 'x' }],
    [
      'keys of one text',
      new Map<unknown, string>([
        [1, 'x'],
        ['1', 'y'],
      ]),
      [
        [1, 'x'],
        ['1', 'y'],
      ],
    ],
    ['keys that are tuples', new Map([[PyTuple.of(1, 2), 'x']]), [[[1, 2], 'x']]],
    ['bytes', new TextEncoder().encode('ab'), 'YWI='],
    ['a Buffer', Buffer.from('ab'), 'YWI='],
    ['numbers of one type', Float64Array.of(1.5, Number.NaN), [1.5, 'NaN']],
    ['integers of one type', BigInt64Array.of(3n), [3]],
    [
      'a date and a time',
      [new PyDate({ year: 2024, month: 2, day: 29 }), new PyTimeDelta({ days: 1 })],
      ['2024-02-29', '1 day, 0:00:00'],
    ],
    ['a decimal', new PyDecimal('1.50'), '1.50'],
    [
      'an exception',
      new PyException('shop', 'OutOfStock', [3n]),
      { excType: 'OutOfStock', excModule: 'shop', excMessage: [3] },
    ],
    ['a class', objectOf({ kind: 'global' }), 'shop.Money'],
    ['a dataclass', objectOf({ state: { amount: 3, tags: new Set([1]) } }), { amount: 3, tags: [1] }],
    ['slots', objectOf({ state: PyTuple.of(null, { amount: 3 }) }), { amount: 3 }],
    ['a state that is a decimal', objectOf({ state: new PyDecimal('1.5') }), '1.5'],
    ['a namedtuple', objectOf({ args: PyTuple.of(1, 2) }), [1, 2]],
    ['a list of a class', objectOf({ listItems: [1] }), [1]],
    [
      'all at once',
      objectOf({ args: PyTuple.of(1), state: { a: 2 }, listItems: [3] }),
      { args: [1], state: { a: 2 }, items: [3] },
    ],
    ['nothing', objectOf({}), {}],
  ])('tells %s', (_what, value, plain) => {
    expect(toPlainJson(value)).toEqual(plain)
    expect(JSON.parse(JSON.stringify(toPlainJson(value)))).toEqual(plain)
  })

  it('refuses what holds itself, without its keys', () => {
    const own: Record<string, unknown> = {}
    own['secret'] = own

    expect(() => toPlainJson(own)).toThrow(expect.objectContaining({ code: 'RESULT_UNREADABLE' }))
    expect(() => toPlainJson(own)).not.toThrow(/secret/)
  })
})

describe('a meta in JSON', () => {
  it('has its values by that rule, exceptions in one form, and shows nothing else', async () => {
    await using backend = new DatabaseBackend('file::memory:', { resultExtended: true })
    const request = { task: 'add', args: [1n << 60n, new Date(0)] }
    await backend.storeResult('done', new Map([[1, new Set(['a'])]]), 'SUCCESS', { request })
    await backend.markAsFailure('failed', new TypeError('no'), { traceback: 'Traceback' })

    const [done, failed] = [await backend.getTaskMeta('done'), await backend.getTaskMeta('failed')]
    expect(JSON.parse(JSON.stringify(done))).toEqual({
      taskId: 'done',
      status: 'SUCCESS',
      result: { 1: ['a'] },
      traceback: null,
      dateDone: done.dateDone?.toISOString(),
      name: 'add',
      args: ['1152921504606846976', '1970-01-01T00:00:00+00:00'],
      kwargs: null,
      worker: null,
      retries: null,
      queue: null,
    })
    expect(JSON.parse(JSON.stringify({ failed })).failed.result).toEqual({
      excType: 'TypeError',
      excModule: 'builtins',
      excMessage: ['no'],
    })
    expect(Object.keys(done)).not.toContain('toJSON')
    expect(structuredClone(failed)).toEqual({ ...failed })
  })

  it('tells what cannot be read, and the rest', async () => {
    const resultSerializer = {
      name: 'odd',
      contentType: 'application/x-odd',
      encode: () => Uint8Array.of(1),
      decode() {
        throw new Error('secret')
      },
    }
    await using backend = new DatabaseBackend('file::memory:', { wire: 'serializer', resultSerializer })
    await backend.markAsDone('t', 1)

    const plain = JSON.parse(JSON.stringify(await backend.getTaskMeta('t')))
    expect(plain).toMatchObject({
      status: 'SUCCESS',
      result: null,
      unreadable: { result: expect.any(String) },
    })
    expect(JSON.stringify(plain)).not.toContain('secret')
  })
})
