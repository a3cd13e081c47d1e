/** Classes of Python that the program, or the library, gives a meaning: pickles of real Python, see fixtures/pickle/classes.py. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import {
  type DecodeOptions,
  dataclass,
  decode,
  encode,
  enumOf,
  namedtuple,
  numpyClasses,
  PyComplex,
  PyFraction,
  PyObject,
  PyTuple,
  pandasClasses,
  pydantic,
  standardClasses,
} from 'drizzle-celery/pickle'
import { describe, expect, it } from 'vitest'

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/pickle/${name}`, import.meta.url))
const pickles: Record<string, Record<string, string>> = JSON.parse(
  readFileSync(fixture('classes.json'), 'utf8'),
)
const PROTOCOLS = ['2', '4', '5']
const hasPython = spawnSync('python3', ['-c', 'import sys; assert sys.version_info >= (3, 10)']).status === 0

const classes = {
  ...standardClasses,
  ...numpyClasses,
  ...pandasClasses,
  ...enumOf('shop.Color', { RED: 1, BLUE: 'b' }),
  ...namedtuple('shop.Point', ['x', 'y']),
  ...dataclass('shop.Order'),
  ...dataclass('shop.Slotted', { fields: ['total'] }),
  ...dataclass('shop.Slots'),
  ...pydantic('shop.User'),
  'shop.LoginError': ({ args }: PyObject) => ({ user: args[0] }),
}

function read(name: string, protocol: string, options: DecodeOptions = { classes }): unknown {
  return decode(Buffer.from(pickles[name]?.[protocol] ?? '', 'hex'), options)
}

const order = { total: 3, lines: [{ x: 1, y: 2 }, 1] }
const VALUES: Record<string, unknown> = {
  enum: [1, 'b'],
  'enum by name': 'b',
  'enum key': new Map([[1, 1]]),
  namedtuple: { x: 1, y: 'y' },
  dataclass: order,
  'dataclass twice': [order, order],
  'dataclass, frozen with slots': { total: 3 },
  slots: { total: 3 },
  'named like an exception': { user: 'ann' },
  Fraction: new PyFraction(3n, 4n),
  'large Fraction': new PyFraction(1n << 70n, 3n),
  complex: [new PyComplex(1, 2), new PyComplex(-0, -1.5)],
  deque: [1, 2],
  paths: ['/a/b', 'a/b', '/', '.', 'C:\\a\\b', '/tmp'],
  addresses: [
    ...['10.0.0.1', '0.0.0.0', '::', '::1', '1::', '2001:db8::1:0:0:1', '2001:db8:0:1:1:1:1:1'],
    'fe80::1%eth0',
  ],
  networks: ['10.0.0.0/8', '2001:db8::/32', '10.0.0.1/8'],
  pydantic: { name: 'ann', age: 3, color: 'red' },
  'numpy scalars': [1.5, 0.5, 3, 1n << 60n, 7, true, 'é'],
  'numpy floats': Float64Array.of(1.5, -0.5),
  'numpy integers': BigInt64Array.of(0n, 1n, 2n),
  'numpy bytes': Uint8Array.of(1, 255),
  'numpy big-endian': Int32Array.of(1, -2),
  'numpy booleans': [true, false],
  'numpy texts': ['a', 'bcd', ''],
  'numpy objects': [1, null, 'x'],
  'numpy rows': [Float64Array.of(1, 2, 3), Float64Array.of(4, 5, 6)],
  'numpy columns': [Float64Array.of(1, 2, 3), Float64Array.of(4, 5, 6)],
  'numpy cube': [
    [Int32Array.of(0, 1), Int32Array.of(2, 3)],
    [Int32Array.of(4, 5), Int32Array.of(6, 7)],
  ],
  'numpy Fortran cube': [
    [Int32Array.of(0, 1), Int32Array.of(2, 3)],
    [Int32Array.of(4, 5), Int32Array.of(6, 7)],
  ],
  'numpy empty': new Float64Array(),
  'numpy of no dimension': 3.5,
}

describe.each(PROTOCOLS)('protocol %s', (protocol) => {
  it.each(Object.entries(VALUES))('reads %s', (name, value) => {
    expect(read(name, protocol)).toStrictEqual(value)
  })

  it('reads moments of pandas, to the microsecond', () => {
    expect((read('Timestamp', protocol) as unknown[]).map(String)).toEqual([
      '2024-01-02T03:04:05.123456',
      '2024-01-02T00:00:00',
      '2024-07-02T01:04:05+00:00',
      '1960-01-01T00:00:00.000001',
      'null',
    ])
  })

  it.each(['numpy complex', 'numpy date'])('leaves %s as it is', (name) => {
    expect(read(name, protocol)).toBeInstanceOf(PyObject)
    expect(read(name, protocol)).toEqual(read(name, protocol, {}))
  })

  it('makes what is shared once, and leaves what holds itself as it is there', () => {
    const [one, other] = read('dataclass twice', protocol) as [unknown, unknown]
    expect(one).toBe(other)
    const cyclic = read('dataclass in itself', protocol) as { total: number; lines: unknown[] }
    expect(cyclic).toMatchObject({ total: 1, lines: [{ name: 'Order' }] })
  })

  it.each(Object.keys(pickles))('reads %s without classes, and writes it back as it came', (name) => {
    const value = read(name, protocol, {})

    expect(decode(encode(value, { protocol: Number(protocol) }))).toEqual(value)
  })
})

describe('classes of the program', () => {
  class Order {
    total = 1
    lines: unknown[] = []
  }
  class Point {
    x = 1
    y = 2
  }
  class Slotted {
    total = 5
  }
  class User {
    name = 'ann'
    age = 4
  }
  class Money {
    readonly cents: number
    constructor(cents: number) {
      this.cents = cents
    }
  }
  const own = {
    ...standardClasses,
    ...numpyClasses,
    ...dataclass('shop.Order', { as: Order }),
    ...namedtuple('shop.Point', ['x', 'y'], { as: Point }),
    ...dataclass('shop.Slotted', { fields: ['total'], as: Slotted }),
    ...pydantic('shop.User', { as: User }),
    'shop.Money': {
      read: ({ args }: PyObject) => new Money(Number(args[0])),
      write: (value: object) =>
        value instanceof Money
          ? new PyObject({ kind: 'call', module: 'shop', name: 'Money', args: PyTuple.of(value.cents) })
          : undefined,
    },
  }
  const whole = Object.assign(new Order(), {
    lines: [
      ...[new Point(), new Slotted(), new User(), new Money(3), Float64Array.of(1.5), BigInt64Array.of(3n)],
      ...[new PyFraction(3n, 4n), new PyComplex(1, -2)],
    ],
  })

  it.each([2, 4, 5])('are written and read again, in protocol %i', (protocol) => {
    expect(decode(encode(whole, { protocol, classes: own }), { classes: own })).toStrictEqual(whole)
  })

  it.skipIf(!hasPython)('are what Python has', () => {
    const value = Object.assign(new Order(), {
      lines: [new Point(), new Slotted(), new PyFraction(3n, 4n), new PyComplex(1, -2)],
    })
    for (const protocol of [2, 4, 5]) {
      const hex = Buffer.from(encode(value, { protocol, classes: own })).toString('hex')
      const { stdout, stderr } = spawnSync('python3', [fixture('classes.py'), hex], { encoding: 'utf8' })
      expect(stderr).toBe('')
      expect(stdout).toBe(
        'Order(total=1, lines=[Point(x=1, y=2), Slotted(total=5), Fraction(3, 4), (1-2j)])\n',
      )
    }
  })

  it('are not written without their class, and never taken from a prototype', () => {
    expect(() => encode(new Money(1))).toThrow(expect.objectContaining({ code: 'PICKLE_UNENCODABLE' }))
    const hostile = new PyObject({ kind: 'new', module: 'shop', name: 'Order' })
    hostile.state = JSON.parse('{"__proto__": {"isAdmin": true}, "total": 1}')
    const read = decode(encode(hostile), { classes: own }) as Order & { isAdmin?: boolean }
    expect(read).toBeInstanceOf(Order)
    expect(read.isAdmin).toBeUndefined()
  })

  it('tell by name what threw', () => {
    const cause = new RangeError('no such color')
    const throws = {
      'shop.Color': () => {
        throw cause
      },
    }
    expect(() => read('enum', '5', { classes: throws })).toThrow(
      expect.objectContaining({
        code: 'PICKLE_CLASS',
        message: expect.stringContaining('shop.Color'),
        cause,
      }),
    )
  })

  it.each([
    [null],
    [{ 'shop.Money': 1 }],
    [{ 'shop.Money': {} }],
    [{ 'shop.Money': { read: () => 1, write: 1 } }],
  ])('are refused when they are none: %j', (given) => {
    const invalid = expect.objectContaining({ code: 'INVALID_OPTION' })
    expect(() => decode(encode(1), { classes: given as never })).toThrow(invalid)
    expect(() => encode(1, { classes: given as never })).toThrow(invalid)
  })
})

describe('a pickle made by hand', () => {
  const ONES = Array.from({ length: 63 }, () => 1)
  const array = (shape: unknown, dtype = '<f8', bytes = new Uint8Array(8)) => {
    const args = PyTuple.of<unknown[]>(shape, dtype, bytes)
    return encode(new PyObject({ kind: 'call', module: 'numpy', name: 'ndarray', args }))
  }
  const call = (path: string, ...args: unknown[]) => {
    const dot = path.lastIndexOf('.')
    const [module, name] = [path.slice(0, dot), path.slice(dot + 1)]
    return encode(new PyObject({ kind: 'call', module, name, args: PyTuple.from(args) }))
  }

  it.each([
    ['an array of more items than bytes', array(PyTuple.of(2))],
    ['a thousand million rows of nothing', array(PyTuple.of(1_000_000_000, 0), '<f8', new Uint8Array())],
    ['65 dimensions', array(PyTuple.from(Array.from({ length: 65 }, () => 1)))],
    ['63 arrays around each byte', array(PyTuple.of(1_000, ...ONES), '|i1', new Uint8Array(1_000))],
    ['a shape that is none', array(PyTuple.of(-1))],
    ['an unknown type', array(PyTuple.of(1), '<q8')],
    ['texts of no characters', array(PyTuple.of(1), '<U0')],
    ['a Fraction by zero', call('fractions.Fraction', 1, 0)],
    ['a Fraction of texts', call('fractions.Fraction', 'x'.repeat(20_000))],
    ['an address beyond', call('ipaddress.IPv4Address', 2 ** 40)],
    ['a path of numbers', call('pathlib.PosixPath', 1)],
    [
      'a moment beyond the calendar',
      call('pandas._libs.tslibs.timestamps._unpickle_timestamp', 1n << 100n, null, null, 7),
    ],
  ])('that is %s stays a PyObject', (_what, pickle) => {
    expect(decode(pickle, { classes })).toBeInstanceOf(PyObject)
  })

  it('has a text of any length', () => {
    const bytes = new Uint8Array(Uint32Array.from({ length: 300_000 }, () => 97).buffer)
    const [text] = decode(array(PyTuple.of(1), '<U300000', bytes), { classes }) as string[]

    expect(text).toBe('a'.repeat(300_000))
  })

  it('with characters that are none is refused', () => {
    const pickle = array(PyTuple.of(2), '<U1', Uint8Array.of(255, 255, 255, 127, 0, 0, 0, 0))

    expect(() => decode(pickle, { classes })).toThrow(expect.objectContaining({ code: 'PICKLE_CLASS' }))
  })
})
