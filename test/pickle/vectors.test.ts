/** Pickles written by CPython and by Celery, and what each of them is here. */
import { readFileSync } from 'node:fs'
import {
  decode,
  PyDate,
  PyDateTime,
  PyDecimal,
  PyException,
  PyObject,
  type PyObjectFields,
  PyTime,
  PyTimeDelta,
  PyTimeZone,
  PyTuple,
} from 'drizzle-celery/pickle'
import { describe, expect, it } from 'vitest'

interface Vector {
  readonly name: string
  readonly python_repr: string
  readonly hex: string
}

const file = new URL('../fixtures/pickle/vectors.json', import.meta.url)
const vectors: Vector[] = JSON.parse(readFileSync(file, 'utf8'))

const tuple = (...items: unknown[]) => PyTuple.from(items)
const bytes = (...items: number[]) => Uint8Array.from(items)
const exception = (module: string, type: string, ...args: unknown[]) => new PyException(module, type, args)
const builtin = (type: string, ...args: unknown[]) => exception('builtins', type, ...args)
const excdict = (type: string, message: unknown, module: string | null = 'builtins') => ({
  exc_type: type,
  exc_message: message,
  exc_module: module,
})

function object(
  kind: PyObjectFields['kind'],
  module: string,
  name: string,
  args: readonly unknown[] = [],
  rest: Partial<PyObject> = {},
): PyObject {
  return Object.assign(new PyObject({ kind, module, name, args: PyTuple.from(args) }), rest)
}

const global = (module: string, name: string) => object('global', module, name)
const numbers = (count: number) => Array.from({ length: count }, (_, index) => index)

const selfList: unknown[] = []
selfList.push(selfList)
const selfTuple = tuple([])
;(selfTuple[0] as unknown[]).push(selfTuple)
const selfTuple4 = tuple([], 1, 2, 3)
;(selfTuple4[0] as unknown[]).push(selfTuple4)
const sharedList = [1]
const stamp = { year: 2024, month: 1, day: 2, hour: 3, minute: 4, second: 5 }

const uuid = (digit: string) =>
  `${digit.repeat(8)}-${digit.repeat(4)}-${digit.repeat(4)}-${digit.repeat(4)}-${digit.repeat(12)}`
const appattr = (...args: unknown[]) => object('call', 'celery.app.base', '_unpickle_appattr', args)
const bareMember = (id: string) => appattr('AsyncResult', tuple(id, null, null, null, null))

/** By the vector's name; the same in all protocols. */
const expected: Readonly<Record<string, unknown>> = {
  none: null,
  true: true,
  false: false,
  int_1: 1,
  int_127: 127,
  int_255: 255,
  'int_-128': -128,
  int_65535: 65_535,
  int_65536: 65_536,
  int_5_all: 5,
  int_300_all: 300,
  int_neg1_all: -1,
  int_2p32: 2 ** 32,
  int_max_safe: Number.MAX_SAFE_INTEGER,
  int_neg_2p63: -(2n ** 63n),
  int_2p64: 2n ** 64n,
  int_10p30: 10n ** 30n,
  int_neg_10p30: -(10n ** 30n),
  int_2p40_all: 2 ** 40,
  int_2p64_all: 2n ** 64n,
  float_0: 0,
  float_1_5: 1.5,
  float_neg_1_5: -1.5,
  float_pi: Math.PI,
  float_1e308: 1e308,
  'float_5e-324': 5e-324,
  float_0_1: 0.1,
  float_neg_zero: -0,
  float_nan: Number.NaN,
  float_inf: Number.POSITIVE_INFINITY,
  float_neg_inf: Number.NEGATIVE_INFINITY,
  float_1_5_all: 1.5,
  complex: object('call', 'builtins', 'complex', [1, 2]),
  str_empty: '',
  str_ascii: 'hello',
  str_latin: 'héllo',
  str_bmp: '你好',
  str_emoji: '😀👨\u200d👩',
  str_lone_high_surrogate: '\ud83d',
  str_lone_low_surrogate: 'a\udc00b',
  str_nul: 'a\0b',
  str_256: 'x'.repeat(256),
  str_utf8_over_255: 'é'.repeat(128),
  str_70000_outside_frame: 'y'.repeat(70_000),
  str_ffff: '\uffff\ufffe',
  bytes_empty: bytes(),
  bytes_short: bytes(0, 255, 97, 98, 99),
  bytearray: bytes(0, 1, 255),
  bytearray_empty: bytes(),
  bytes_utf8_text: bytes(99, 97, 102, 0xc3, 0xa9),
  list_empty: [],
  list_1: [1],
  list_3: [1, 'a', null],
  list_nested: [[], [1, [2, [3]]]],
  tuple_0: tuple(),
  tuple_1: tuple(1),
  tuple_2: tuple(1, 2),
  tuple_4: tuple(1, 2, 3, 4),
  dict_empty: {},
  dict_1: { a: 1 },
  dict_3: { a: 1, b: [1, 2], c: { d: null } },
  dict_tuple_key: new Map([[tuple(1, 2), 'x']]),
  dict_mixed_keys: new Map<unknown, number>([
    [null, 1],
    [true, 2],
    [1.5, 3],
    [bytes(107), 4],
  ]),
  dict_proto_key: JSON.parse('{"__proto__":1,"constructor":2}'),
  dict_1001_batches: new Map(numbers(1_001).map((index) => [index, index])),
  set_empty: new Set(),
  set_1: new Set([1]),
  frozenset: new Set([1]),
  frozenset_empty: new Set(),
  shared_refs: ['shared', 'shared', sharedList, sharedList, { l: sharedList }],
  recursive_list: selfList,
  recursive_tuple: selfTuple,
  recursive_tuple4: selfTuple4,
  memo_over_255: [...numbers(300), ...numbers(300)].map(String),
  nested_json_like: {
    ok: true,
    items: [
      { id: 1, name: 'é', tags: ['a', 'b'], price: 1.25, none: null },
      { id: 2 ** 40, name: '', tags: [], price: -0.5, none: null },
    ],
  },
  datetime_naive: new PyDateTime({ ...stamp, microsecond: 678_901 }),
  datetime_utc: new PyDateTime({ ...stamp, microsecond: 678_901, tzinfo: PyTimeZone.utc }),
  datetime_offset: new PyDateTime({
    ...stamp,
    tzinfo: new PyTimeZone(new PyTimeDelta({ seconds: 19_800 })),
  }),
  datetime_zoneinfo: new PyDateTime({ ...stamp, month: 7, tzinfo: new PyTimeZone(null, 'Europe/Paris') }),
  datetime_min: new PyDateTime({ year: 1, month: 1, day: 1 }),
  date: new PyDate({ year: 2024, month: 2, day: 29 }),
  time: new PyTime({ hour: 1, minute: 2, second: 3, microsecond: 4 }),
  time_utc: new PyTime({ hour: 1, minute: 2, second: 3, tzinfo: PyTimeZone.utc }),
  timedelta: new PyTimeDelta({ days: 1, seconds: 2, microseconds: 3 }),
  newobj_ex: new PyTimeDelta({ days: 1 }),
  decimal: new PyDecimal('1.50'),
  decimal_nan: new PyDecimal('NaN'),
  decimal_big: new PyDecimal('-1.23456789012345678901234567890123E+34'),
  uuid4: '12345678-1234-4234-8234-123456789abc',
  uuid_zero: '00000000-0000-0000-0000-000000000000',
  fraction: object('call', 'fractions', 'Fraction', [1, 3]),
  ordereddict: { b: 1, a: 2 },
  ordereddict_p0: { a: 1 },
  defaultdict_list: { a: [1] },
  counter: { a: 2, b: 1 },
  deque: object('call', 'collections', 'deque', [tuple(), 3], { listItems: [1, 2] }),
  range: object('call', 'builtins', 'range', [1, 10, 2]),
  range_p2: object('call', 'builtins', 'range', [0, 3, 1]),
  posixpath: object('call', 'pathlib', 'PurePosixPath', ['/', 'a', 'b']),
  slice_like_ellipsis: global('builtins', 'Ellipsis'),
  class_ref_builtin: global('builtins', 'dict'),
  function_ref: global('math', 'sqrt'),
  simplenamespace: object('call', 'types', 'SimpleNamespace', [], { state: { a: 1, b: 'x' } }),
  struct_time: object('call', 'time', 'struct_time', [
    tuple(1970, 1, 1, 0, 0, 0, 3, 1, 0),
    { tm_zone: 'GMT', tm_gmtoff: 0 },
  ]),
  partial: object('call', 'functools', 'partial', [global('_operator', 'add')], {
    state: tuple(global('_operator', 'add'), tuple(1), {}, null),
  }),
  exc_valueerror: builtin('ValueError', 'bad', 1),
  exc_keyerror: builtin('KeyError', 'k'),
  exc_runtime_noargs: builtin('RuntimeError'),
  exc_zerodivision_raised: builtin('ZeroDivisionError', 'division by zero'),
  exc_unicode: builtin('UnicodeDecodeError', 'utf-8', bytes(255), 0, 1, 'invalid'),
  exc_with_instance_dict: new PyException('builtins', 'ValueError', ['with dict'], { extra: { code: 42 } }),
  exc_TaskRevokedError: exception('celery.exceptions', 'TaskRevokedError', 'revoked'),
  exc_ChordError: exception('celery.exceptions', 'ChordError', "Dependency x raised KeyError('k')"),
  exc_TimeLimitExceeded: exception('billiard.exceptions', 'TimeLimitExceeded', 30),
  exc_SoftTimeLimitExceeded: exception('billiard.exceptions', 'SoftTimeLimitExceeded'),
  exc_NotRegistered: exception('celery.exceptions', 'NotRegistered', 'nope.task'),
  exc_Retry: exception('celery.exceptions', 'Retry', 'retry later', builtin('ValueError', 'x'), 180),
  exc_group: builtin('ExceptionGroup', 'eg', [builtin('ValueError', 1), builtin('KeyError', 'k')]),
  excdict_valueerror: excdict('ValueError', tuple('bad', 1, null)),
  excdict_filenotfound: excdict('FileNotFoundError', tuple(2, 'No such file')),
  excdict_revoked: excdict('TaskRevokedError', tuple('revoked'), 'celery.exceptions'),
  excdict_terminated: excdict('TaskRevokedError', tuple('terminated'), 'celery.exceptions'),
  excdict_expired: excdict('TaskRevokedError', tuple('expired'), 'celery.exceptions'),
  excdict_timelimit: excdict('TimeLimitExceeded', tuple(30), 'billiard.exceptions'),
  excdict_workerlost: excdict(
    'WorkerLostError',
    tuple('Worker exited prematurely: signal 9 (SIGKILL) Job: 0.'),
    'billiard.exceptions',
  ),
  excdict_unicode_msg: excdict('ValueError', tuple('hé 😀')),
  excdict_dict_arg: excdict('ValueError', tuple({ code: 1, tags: ['a'] })),
  excdict_nested_qualname: excdict('Outer.Inner', tuple('x'), 'app.errors'),
  excdict_notregistered: excdict('NotRegistered', tuple('nope.task'), 'celery.exceptions'),
  excdict_list_message: excdict('ValueError', ['bad']),
  excdict_string_message: excdict('ValueError', 'bad'),
  excdict_no_module: excdict('RemoteError', ['x'], null),
  started_meta: { pid: 4242, hostname: 'celery@host1' },
  asyncresult_as_tuple: tuple(tuple(uuid('1'), null), null),
  asyncresult_with_parent_as_tuple: tuple(tuple(uuid('2'), tuple(tuple(uuid('1'), null), null)), null),
  groupresult_as_tuple: tuple(tuple(uuid('3'), null), [
    tuple(tuple('a', null), null),
    tuple(tuple('b', null), null),
  ]),
  signature: object('call', 'celery.canvas', 'signature', [
    {
      task: 'proj.add',
      args: tuple(1, 2),
      kwargs: { y: 3 },
      options: {},
      subtask_type: null,
      immutable: false,
    },
  ]),
  save_group_arbitrary_dict: { something: 'special' },
  group_minimal_no_backend: appattr('GroupResult', tuple(uuid('7'), [bareMember('a'), bareMember('b')])),
  py2_short_binstring: 'hello',
  py2_binstring: 'hello',
  py2_unicode_dict: { a: 'b' },
  long_text_p0: 12_345_678_901_234_567_890n,
  bool_int_p0: true,
  no_proto_header: 7,
  inst_opcode: 'boom',
}

const backendClass = global('celery.backends.database', 'DatabaseBackend')
const backend = object('call', 'celery.backends.base', 'unpickle_backend', [
  backendClass,
  tuple(),
  expect.objectContaining({ expires: expect.any(PyTimeDelta) }),
])
const member = (id: string, parent: unknown = null) => tuple(id, backend, null, null, parent)
const appMember = (id: string, parent: unknown = null) => appattr('AsyncResult', member(id, parent))
const pair = [appMember('a'), appMember('b')]

/** Those that hold a backend, of which only the shape is claimed. */
const shapes: Readonly<Record<string, PyObject>> = {
  group_saved_by_app_GroupResult: appattr('GroupResult', tuple(uuid('3'), pair)),
  group_saved_by_plain_GroupResult: object('call', 'celery.result', 'GroupResult', [
    uuid('4'),
    ['a', 'b'].map((id) => object('call', 'celery.result', 'AsyncResult', member(id))),
  ]),
  group_nested_and_parent: appattr(
    'GroupResult',
    tuple(uuid('5'), [appattr('GroupResult', tuple(uuid('3'), pair)), appMember('c', appMember('p'))]),
  ),
  asyncresult_object: appMember(uuid('1')),
}

describe.each(vectors)('$name', ({ name, python_repr, hex }) => {
  const [base = ''] = name.split('@')
  const input = Uint8Array.from(Buffer.from(hex, 'hex'))

  it(`is ${python_repr.slice(0, 60)}`, () => {
    const value = decode(input)

    if (base in shapes) expect(value).toEqual(shapes[base])
    else {
      expect(Object.keys(expected)).toContain(base)
      expect(value).toStrictEqual(expected[base])
    }
  })
})

it('what is shared or cyclic in Python is the same here', () => {
  const named = (name: string) => {
    const vector = vectors.find((each) => each.name === name)
    return decode(Uint8Array.from(Buffer.from(vector?.hex ?? '', 'hex')))
  }

  for (const protocol of [0, 2, 5]) {
    expect(named(`shared_refs@p${protocol}`)).toSatisfy(
      ([, , list, again, { l }]) => list === again && list === l,
    )
  }
  expect(named('recursive_list@p5')).toSatisfy((list) => list[0] === list)
  expect(named('recursive_tuple@p5')).toSatisfy(
    (self) => self instanceof PyTuple && Object.is(self[0]?.[0], self),
  )
})
