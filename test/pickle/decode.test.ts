import {
  decode,
  encode,
  OptionError,
  PickleError,
  PyDateTime,
  PyException,
  PyObject,
  PyTuple,
} from 'drizzle-celery/pickle'
import { describe, expect, it } from 'vitest'
import { assemble, repeat, text, uint32 } from '../fixtures/pickle/assemble.ts'

const PROTOCOLS = [0, 1, 2, 3, 4, 5]
const code = (expected: string) => expect.objectContaining({ code: expected })

describe('what cannot be read is a PickleError with its position', () => {
  it.each([
    ['nothing', '', 'PICKLE_TRUNCATED', 'end', 0],
    ['a missing argument', 'K', 'PICKLE_TRUNCATED', 'BININT1', 0],
    ['a missing line end', 'NI12', 'PICKLE_TRUNCATED', 'INT', 1],
    ['a missing STOP', 'N', 'PICKLE_TRUNCATED', 'end', 1],
    ['an unknown opcode', '\x80\x04\xff.', 'PICKLE_OPCODE', '0xff', 2],
    ['a newer protocol', '\x80\x06N.', 'PICKLE_PROTOCOL', 'PROTO', 0],
    ['an empty stack', '0.', 'PICKLE_STACK', 'POP', 0],
    ['nothing to return', '.', 'PICKLE_STACK', 'STOP', 0],
    ['a missing mark', 'Nt.', 'PICKLE_STACK', 'TUPLE', 1],
    ['a tuple across a mark', 'N(\x85.', 'PICKLE_STACK', 'TUPLE1', 2],
    ['a key without a value', '}(Nu.', 'PICKLE_STACK', 'SETITEMS', 3],
    ['items for a tuple', ')Na.', 'PICKLE_STACK', 'APPEND', 2],
    ['items for a number', 'K\x01(Ne.', 'PICKLE_STACK', 'APPENDS', 4],
    ['entries for a list', ']NNs.', 'PICKLE_STACK', 'SETITEM', 3],
    ['members for a list', '](N\x90.', 'PICKLE_STACK', 'ADDITEMS', 3],
    ['a call of a text', 'Vx\n)R.', 'PICKLE_STACK', 'REDUCE', 4],
    ['a call without a tuple', 'ca\nb\nNR.', 'PICKLE_STACK', 'REDUCE', 6],
    ['a state for a number', 'K\x01}b.', 'PICKLE_STACK', 'BUILD', 3],
    ['a class that is no text', 'NN\x93.', 'PICKLE_STACK', 'STACK_GLOBAL', 2],
    ['an entry that the memo has not', 'h\x07.', 'PICKLE_MEMO', 'BINGET', 0],
    ['a list as a key', '}]Ns.', 'PICKLE_VALUE', 'SETITEM', 3],
    ['a dict in a set', '\x8f(}\x90.', 'PICKLE_VALUE', 'ADDITEMS', 3],
    ['no UTF-8', '\x8c\x01\xff.', 'PICKLE_VALUE', 'SHORT_BINUNICODE', 0],
    ['overlong UTF-8', '\x8c\x02\xc0\x80.', 'PICKLE_VALUE', 'SHORT_BINUNICODE', 0],
    ['a decimal that is none', 'I1_0\n.', 'PICKLE_VALUE', 'INT', 0],
    ['a float that is none', 'F0x1\n.', 'PICKLE_VALUE', 'FLOAT', 0],
    ['half an escape', 'V\\u12\n.', 'PICKLE_VALUE', 'UNICODE', 0],
    ['a quote that is not closed', "S'a\n.", 'PICKLE_VALUE', 'STRING', 0],
    ['a persistent id', 'Px\n.', 'PICKLE_REFUSED', 'PERSID', 0],
    ['an extension', '\x80\x02\x82\x01.', 'PICKLE_REFUSED', 'EXT1', 2],
    ['an out-of-band buffer', '\x80\x05\x97.', 'PICKLE_REFUSED', 'NEXT_BUFFER', 2],
    ['a read-only buffer', '\x80\x05N\x98.', 'PICKLE_REFUSED', 'READONLY_BUFFER', 3],
  ])('%s', (_, input, expected, opcode, position) => {
    const reading = () => decode(assemble(input))

    expect(reading).toThrow(PickleError)
    expect(reading).toThrow(expect.objectContaining({ code: expected, opcode, position }))
  })

  it('no Uint8Array', () => {
    // @ts-expect-error: not bytes
    expect(() => decode('gASVBQ==')).toThrow(code('PICKLE_INPUT'))
  })

  it('the message repeats nothing of what the pickle holds', () => {
    expect(() => decode(assemble(text('hunter2'), 'chunter2\nhunter2\nhunter2'))).toThrow(/^(?!.*hunter2)/)
  })
})

describe('limits', () => {
  it.each([
    ['maxBytes', 3, 'NNN.'],
    ['maxOpcodes', 2, 'N0N.'],
    ['maxMemo', 1, 'Nq\x00q\x01.'],
    ['maxObjects', 2, ']]].'],
    ['maxObjects', 2, '\x8f.'],
    ['maxObjects', 2, `C\x41${'a'.repeat(65)}.`],
    ['maxOpcodes', 600, `cbuiltins\ntuple\nq\x00](${'N'.repeat(20)}e\x85q\x01h\x00h\x01Rh\x00h\x01R.`],
    ['maxBigKeys', 1, '\x8f(\x8a\x08aaaaaaaa\x8a\x08bbbbbbbb\x90.'],
    ['maxBigKeys', 1, '}\x8a\x08aaaaaaaaNs\x8a\x08bbbbbbbbNs.'],
    ['maxDepth', 2, ']]]aa.'],
    ['maxNumberBytes', 4, '\x8a\x05aaaaa.'],
    ['maxExpansion', 10, ']q\x00(h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00t.'],
  ])('%s is refused beyond %d, and can be raised', (limit, most, input) => {
    const pickle = assemble(input)

    expect(() => decode(pickle, { [limit]: most })).toThrow(
      expect.objectContaining({ code: 'PICKLE_LIMIT', limit }),
    )
    expect(() => decode(pickle, { [limit]: most + 100 })).not.toThrow()
  })

  it('what is large is counted from its second place on', () => {
    const shared = [1]
    const value = [shared, shared, new Uint8Array(400_000), 'x'.repeat(4_000_000)]

    expect(decode(encode(value), { maxExpansion: 10 })).toHaveLength(4)
    expect(() => decode(encode([...value, value[2]]), { maxExpansion: 10 })).toThrow(code('PICKLE_LIMIT'))
  })

  it('what is large without being shared is no expansion', () => {
    const numbers = Array.from({ length: 500_000 }, (_, index) => index)

    expect(decode(encode([numbers, 'x'.repeat(1_000_000)]), { maxExpansion: 1 })).toHaveLength(2)
  })

  it('keys that many rows share are not held against them', () => {
    const rows = Array.from({ length: 20_000 }, (_, id) => ({
      identifier: id,
      description: 'the same',
      created: null,
    }))

    expect(decode(encode(rows))).toEqual(rows)
  })

  it('an option that is unknown or no whole number is an OptionError', () => {
    // @ts-expect-error: not an option
    expect(() => decode(assemble('N.'), { maxSize: 1 })).toThrow(OptionError)
    expect(() => decode(assemble('N.'), { maxDepth: -1 })).toThrow(OptionError)
  })
})

describe('identity', () => {
  it('a dict that turns out to have other keys than texts is the same Map everywhere', () => {
    // d = {'a': d}; d[1] = [d]
    const map = decode(assemble('}q\x00Va\nh\x00sK\x01]h\x00as.'))

    expect(map).toBeInstanceOf(Map)
    expect(map).toSatisfy((self) => self.get('a') === self && self.get(1)[0] === self)
  })

  it('a Map that is referred to before it is one is replaced in objects, too', () => {
    // d = {}; o = Thing(d); o.state = {'d': d}; d[1] = o
    const object = decode(assemble('}q\x00K\x01capp\nThing\n(h\x00tR}Vd\nh\x00sbs.'))

    expect(object).toSatisfy((map) => {
      const thing = map.get(1)
      return thing.args[0] === map && thing.state.d === map
    })
  })

  it('a dict that became a Map takes its next text as a key, too', () => {
    expect(decode(assemble('}2K\x01Ns0Va\nK\x02s.'))).toEqual(
      new Map<unknown, unknown>([
        [1, null],
        ['a', 2],
      ]),
    )
  })

  it('a UUID is its text wherever it is referred to', () => {
    const uuid = assemble('cuuid\nUUID\n)', 0x81, 'q\x00}Vint\nK\x07sb')

    expect(decode(assemble('(', uuid, 'h\x00t.'))).toEqual(
      PyTuple.of('00000000-0000-0000-0000-000000000007', '00000000-0000-0000-0000-000000000007'),
    )
  })

  it('bytes are copies: the input may be used for something else', () => {
    const input = Buffer.from(assemble('\x80\x03C\x02ab.'))
    const value = decode(input)
    input.fill(0)

    expect(value).toEqual(Uint8Array.of(97, 98))
  })
})

describe('Python 2', () => {
  it('a str is text when it is ASCII, else bytes', () => {
    expect(decode(assemble("S'a\\x41\\'\\n'\n."))).toBe("aA'\n")
    expect(decode(assemble('U\x02\xc3\xa9.'))).toEqual(Uint8Array.of(0xc3, 0xa9))
    expect(decode(assemble('T', uint32(2), 'ab.'))).toBe('ab')
  })

  it('a datetime that was packed into a str is one', () => {
    const packed = '\x07\xe8\x01\x02\x03\x04\x05\x00\x00\x00'
    const expected = new PyDateTime({ year: 2024, month: 1, day: 2, hour: 3, minute: 4, second: 5 })

    expect(decode(assemble('cdatetime\ndatetime\n(U\x0a', packed, 'tR.'))).toEqual(expected)
  })

  it.each([
    ['urllib2', 'URLError', 'urllib.error', 'URLError'],
    ['httplib', 'BadStatusLine', 'http.client', 'BadStatusLine'],
    ['ConfigParser', 'NoSectionError', 'configparser', 'NoSectionError'],
    ['Queue', 'Full', 'queue', 'Full'],
    ['UserDict', 'IterableUserDict', 'collections', 'UserDict'],
    ['commands', 'TimeoutExpired', 'subprocess', 'TimeoutExpired'],
    ['exceptions', 'StandardError', 'builtins', 'Exception'],
    ['exceptions', 'ValueError', 'builtins', 'ValueError'],
    ['itertools', 'izip', 'builtins', 'zip'],
  ])('%s.%s is %s.%s', (oldModule, oldName, module, name) => {
    const named = (protocol: number) => decode(assemble(0x80, protocol, `c${oldModule}\n${oldName}\n.`))

    expect(named(2)).toMatchObject({ module, name })
    expect(named(3)).toMatchObject({ module: oldModule, name: oldName })
    expect(decode(encode(named(2), { protocol: 2 }))).toEqual(named(2))
  })

  it('what moved in Python 3 has its new name in protocols 0 to 2 only', () => {
    expect(decode(assemble('c__builtin__\nunicode\n.'))).toMatchObject({ module: 'builtins', name: 'str' })
    expect(decode(assemble('ccopy_reg\nx\n.'))).toMatchObject({ module: 'copyreg', name: 'x' })
    expect(decode(assemble('\x80\x03c__builtin__\nunicode\n.'))).toMatchObject({ module: '__builtin__' })
  })
})

describe('classes', () => {
  it('with unfitting arguments stay descriptions', () => {
    for (const input of [
      'cdatetime\ndate\n(K\x01K\x0dK\x01tR.',
      'cdatetime\ntimezone\n(NtR.',
      'cdecimal\nDecimal\n(Vx\ntR.',
      'cuuid\nUUID\n(Vx\ntR.',
      'cbuiltins\nset\n(NtR.',
      'cbuiltins\nset\n(](]etR.',
      'c_codecs\nencode\n(Va\nVrot13\ntR.',
    ]) {
      expect(decode(assemble(input))).toBeInstanceOf(PyObject)
    }
  })

  it('an exception is known by its module, or called by a name like one', () => {
    const made = (module: string, name: string) => decode(assemble(`c${module}\n${name}\n(Vx\ntR.`))

    expect(made('app.errors', 'PaymentError')).toBeInstanceOf(PyException)
    expect(made('app', 'Outer.BadException')).toBeInstanceOf(PyException)
    expect(made('kombu.exceptions', 'ContentDisallowed')).toBeInstanceOf(PyException)
    expect(made('app', 'Invoice')).toBeInstanceOf(PyObject)
    expect(made('app', 'raise_error')).toBeInstanceOf(PyObject)
    expect(made('builtins', 'OwnError')).toBeInstanceOf(PyObject)
    expect(made('celery.exceptions', 'reraise')).toBeInstanceOf(PyObject)
  })

  it('an exception of the standard library is known by its name', () => {
    for (const [module, name] of [
      ['subprocess', 'TimeoutExpired'],
      ['_queue', 'Empty'],
      ['decimal', 'InvalidOperation'],
      ['socket', 'gaierror'],
      ['http.client', 'RemoteDisconnected'],
      ['psycopg2.errors', 'UniqueViolation'],
      ['shop.models', 'Order.DoesNotExist'],
    ]) {
      expect(decode(assemble(`\x80\x03c${module}\n${name}\n(Vx\ntR.`))).toEqual(
        new PyException(module ?? '', name ?? '', ['x']),
      )
    }
  })

  it('what has items is no exception, whatever its name', () => {
    const args = 'capp\nCustomError\n)R'

    for (const items of ['Va\nK\x01s', '(Va\nK\x01u', 'K\x01a', '(K\x01e']) {
      const [object, again] = decode(assemble('(', args, 'q\0', items, 'h\0t.')) as unknown[]

      expect(object).toBeInstanceOf(PyObject)
      expect(object).toMatchObject({ kind: 'call', module: 'app', name: 'CustomError' })
      expect(again).toBe(object)
      expect(decode(encode(object))).toEqual(object)
    }
  })

  it('a state that is given to a function of its own is kept, and written as that', () => {
    for (const protocol of PROTOCOLS) {
      const input = assemble('capp\nThing\n)Rq\0capp\nset_state\n(h\0K\x07tR0.')
      const object = decode(input)

      expect(object).toMatchObject({ name: 'Thing', state: 7, stateSetter: { name: 'set_state' } })
      expect(decode(encode(object, { protocol }))).toEqual(object)
    }
  })

  it('a state for an object that cannot have one is rejected', () => {
    for (const target of ['capp\nThing\n', '}', ']', 'capp\nThing\n)RK\x01b']) {
      expect(() => decode(assemble(target, 'q\0capp\nset_state\n(h\0K\x07tR0.'))).toThrow(
        code('PICKLE_REFUSED'),
      )
    }
  })

  it('a list made of a tuple is a plain array', () => {
    const list = decode(assemble('cbuiltins\nlist\nK\x01K\x02', 0x86, 0x85, 'RK\x03a.'))

    expect(list).toEqual([1, 2, 3])
    expect(list).not.toBeInstanceOf(PyTuple)
  })

  it('a subclass of dict keeps its items, one of list too', () => {
    expect(decode(assemble('capp\nBag\n)', 0x81, 'Va\nK\x01s.'))).toMatchObject({
      dictItems: new Map([['a', 1]]),
      listItems: null,
    })
    expect(decode(assemble('capp\nRow\n)R(K\x01K\x02e.'))).toMatchObject({ listItems: [1, 2] })
  })

  it('a call of the result of a call says what was called', () => {
    const object = decode(assemble('cfunctools\npartial\n(ca\nb\ntR)R.'))

    expect(object).toMatchObject({ callee: { module: 'functools', name: 'partial' }, args: [] })
  })
})

it('a key may have the name of what cannot be overwritten', () => {
  const name = 'frozenHere'
  Object.defineProperty(Object.prototype, name, { value: 1, configurable: true })
  try {
    expect(Object.entries(decode(assemble('}', text(name), 'K\x02s.')) as object)).toEqual([[name, 2]])
  } finally {
    Reflect.deleteProperty(Object.prototype, name)
  }
})

it('an object keeps `__proto__` as a key of its own', () => {
  const value = decode(assemble('}', text('__proto__'), '}', text('x'), 'Nss.'))

  expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
  expect(JSON.stringify(value)).toBe('{"__proto__":{"x":null}}')
})

it('memo entries may have any index, in any order', () => {
  expect(
    decode(assemble('(Va\np70\nVb\nq\x01Vc\nr', uint32(2 ** 31), 'h\x01g70\nj', uint32(2 ** 31), 't.')),
  ).toEqual(PyTuple.of('a', 'b', 'c', 'b', 'a', 'c'))
})

it('what follows the end is ignored, and frames may be of any size', () => {
  const frame = assemble(0x95, uint32(2), uint32(0))

  expect(decode(assemble('\x80\x04', frame, 'K\x07.', repeat(9, 'x')))).toBe(7)
})
