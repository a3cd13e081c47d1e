/** CPython writes and we read, we write and CPython reads. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import {
  decode,
  encode,
  PyDate,
  PyDateTime,
  PyDecimal,
  PyException,
  PyObject,
  PyTime,
  PyTimeDelta,
  PyTimeZone,
  PyTuple,
} from 'drizzle-celery/pickle'
import { describe, expect, it, vi } from 'vitest'
import { loops } from '../fixtures/loops.ts'
import { canon } from '../fixtures/pickle/canon.ts'
import { Random } from '../fixtures/pickle/mutate.ts'

interface Pickled {
  readonly name: string
  readonly protocol: number
  readonly hex: string
}

interface Sample {
  /** Null when it is no value of ours. */
  readonly canon: unknown
  readonly pickles: readonly Pickled[]
}

// A slow machine needs minutes for what is compared here.
vi.setConfig({ testTimeout: 120_000 })
const oracle = fileURLToPath(new URL('../fixtures/pickle/oracle.py', import.meta.url))
const hasPython = spawnSync('python3', ['-c', 'import zoneinfo']).status === 0
const title = hasPython ? 'CPython' : 'CPython (skipped: there is no python3 of 3.9 or later here)'
const VALUES = loops(10_000, 10_000, 2_000)
const PROTOCOLS = [0, 1, 2, 3, 4, 5]

function ask<Answer>(command: 'dump' | 'load' | 'describe', pickles: readonly string[] = []): Answer {
  const input = JSON.stringify({ command, pickles })
  const { stdout, stderr, status } = spawnSync('python3', [oracle], {
    input,
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
  })
  if (status !== 0) throw new Error(stderr.slice(-2_000))
  return JSON.parse(stdout)
}

function python<Answer>(program: string, input: unknown = null): Answer {
  const { stdout, stderr, status } = spawnSync('python3', ['-c', program], {
    input: JSON.stringify(input),
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
  })
  if (status !== 0) throw new Error(stderr.slice(-2_000))
  return JSON.parse(stdout)
}

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, 'hex'))
}

function hexOf(value: unknown, protocol: number): string {
  return Buffer.from(encode(value, { protocol })).toString('hex')
}

describe.skipIf(!hasPython)(title, () => {
  const samples = hasPython ? ask<Sample[]>('dump') : []

  it('what both of CPython’s picklers write in protocols 0 to 5 is read as the same value', () => {
    for (const { canon: told, pickles } of samples.filter(isValue)) {
      for (const { name, hex } of pickles) expect(canon(decode(bytesOf(hex)), false), name).toEqual(told)
    }
  })

  it('what we read and write again does the same with the same classes', () => {
    const vectors: Pickled[] = JSON.parse(
      readFileSync(new URL('../fixtures/pickle/vectors.json', import.meta.url), 'utf8'),
    )
    const objects = [
      ...samples.filter((sample) => !isValue(sample)).flatMap(({ pickles }) => pickles),
      ...vectors.filter(isObject),
    ]
    const again = objects.map(({ hex, protocol }) => hexOf(decode(bytesOf(hex)), protocol))

    expect(objects.length).toBeGreaterThan(100)
    expect(ask('describe', again)).toEqual(
      ask(
        'describe',
        objects.map(({ hex }) => hex),
      ),
    )
  })

  it('plain values have the exact bytes of the C pickler', () => {
    const uuid = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'
    const values: unknown[] = [
      { exc_type: 'ValueError', exc_message: PyTuple.of('bad', 1, null), exc_module: 'builtins' },
      { exc_type: 'RuntimeError', exc_message: new PyTuple(), exc_module: 'builtins' },
      { pid: 4242, hostname: 'celery@host1' },
      PyTuple.of(PyTuple.of(uuid, null), null),
      [
        1,
        -1,
        255,
        256,
        65_536,
        2 ** 40,
        2n ** 70n,
        true,
        false,
        null,
        1.5,
        -0,
        'é',
        '',
        Uint8Array.of(1, 255),
      ],
      Object.fromEntries(Array.from({ length: 2_000 }, (_, index) => [`k${index}`, index + 0.5])),
      ['y'.repeat(65_536), 'z'.repeat(70_000), Uint8Array.from({ length: 66_000 }, () => 7), 'after'],
      Array.from({ length: 30_000 }, (_, index) => index * 7),
      new Set([1, 2, 3]),
    ]
    const program =
      'import json, pickle, sys; print(json.dumps([[pickle.dumps(pickle.loads(bytes.fromhex(h)), p).hex() for p in range(6)] for h in json.load(sys.stdin)]))'
    const input = JSON.stringify(values.map((value) => hexOf(value, 5)))
    const { stdout } = spawnSync('python3', ['-c', program], { input, encoding: 'utf8', maxBuffer: 2 ** 30 })

    expect(values.map((value) => PROTOCOLS.map((protocol) => hexOf(value, protocol)))).toEqual(
      JSON.parse(stdout),
    )
  })

  it('exceptions of the standard library are exceptions in every protocol, and written again at 5 the same', () => {
    const told = python<{ module: string; type: string; pickles: string[] }[]>(`
import asyncio, configparser, decimal, http.client, json, pickle, queue, socket, subprocess, urllib.error
errors = [urllib.error.URLError("x"), http.client.BadStatusLine("x"), http.client.IncompleteRead(b"x"),
    configparser.NoSectionError("x"), queue.Full(), queue.Empty(), subprocess.TimeoutExpired("x", 1),
    subprocess.CalledProcessError(1, "x"), decimal.InvalidOperation("x"), decimal.DivisionByZero(),
    socket.gaierror(1, "x"), socket.timeout("x"), json.JSONDecodeError("x", "doc", 1), asyncio.CancelledError(),
    asyncio.InvalidStateError("x"), FileNotFoundError(2, "x"), UnicodeDecodeError("utf8", b"x", 0, 1, "y")]
print(json.dumps([{"module": type(e).__module__, "type": type(e).__qualname__,
    "pickles": [pickle.dumps(e, p).hex() for p in range(6)]} for e in errors]))`)
    const again = told.map(({ module, type, pickles }) =>
      pickles.map((hex) => {
        const value = decode(bytesOf(hex))
        expect(value, `${module}.${type}`).toBeInstanceOf(PyException)
        return hexOf(value, 5)
      }),
    )
    const program = `
import json, pickle, sys
def told(h):
    e = pickle.loads(bytes.fromhex(h))
    return [type(e).__module__, type(e).__qualname__, repr(e.args), repr(e.__dict__)]
print(json.dumps([[told(h) for h in hs] for hs in json.load(sys.stdin)]))`

    expect(python(program, again)).toEqual(
      python(
        program,
        told.map(({ pickles }) => pickles),
      ),
    )
  })

  it('a state that a function sets is set again', () => {
    const program = (body: string) => `
import io, json, pickle, sys, types
app = types.ModuleType("app"); sys.modules["app"] = app
class Thing: pass
def set_state(thing, state): thing.seen = state
Thing.__module__ = set_state.__module__ = "app"; app.Thing = Thing; app.set_state = set_state
Thing.__reduce__ = lambda self: (Thing, (), {"a": 1}, None, None, set_state)
${body}`
    const pickles = python<string[]>(
      program('print(json.dumps([pickle.dumps([Thing()], p).hex() for p in range(6)]))'),
    )
    const again = pickles.map((hex, protocol) => hexOf(decode(bytesOf(hex)), protocol))
    const states = python(
      program('print(json.dumps([pickle.loads(bytes.fromhex(h))[0].seen for h in json.load(sys.stdin)]))'),
      again,
    )

    expect(states).toEqual(PROTOCOLS.map(() => ({ a: 1 })))
  })

  it('a set that its members lead back to is one set', () => {
    const set = new Set<PyObject>()
    for (let index = 0; index < 5; index++) {
      const member = new PyObject({ kind: 'new', module: 'app', name: 'Node' })
      member.state = { index, set }
      set.add(member)
    }
    const program = `
import json, pickle, sys, types
app = types.ModuleType("app"); sys.modules["app"] = app
class Node: pass
app.Node = Node
def told(h):
    s = pickle.loads(bytes.fromhex(h))
    return [len(s), all(node.set is s for node in s)]
print(json.dumps([told(h) for h in json.load(sys.stdin)]))`

    expect(
      python(
        program,
        PROTOCOLS.map((protocol) => hexOf(set, protocol)),
      ),
    ).toEqual(PROTOCOLS.map(() => [5, true]))
  })

  it(`${VALUES} values encoded by us are equal there, with a reader that refuses all classes but the documented`, () => {
    const random = new Random(72)
    const values = Array.from({ length: VALUES }, () => someValue(random, 4))
    const pickles = values.map((value, index) => hexOf(value, index % 6))
    const loaded = ask<unknown[]>('load', pickles)

    for (const [index, value] of values.entries()) {
      expect(loaded[index], pickles[index]).toEqual(canon(value, true))
    }
  })
})

function isValue({ canon: told }: Sample): boolean {
  return told !== null
}

function isObject({ name }: Pickled): boolean {
  return /^(group|asyncresult_object|signature|exc_|partial|deque|range|simplen|struct)/.test(name)
}

function someValue(random: Random, depth: number): unknown {
  return random.pick(depth > 0 && random.below(3) > 0 ? NESTED : LEAVES)(random, depth - 1)
}

type Make = (random: Random, depth: number) => unknown

function list(random: Random, make: () => unknown): unknown[] {
  return Array.from({ length: random.below(5) }, make)
}

const UNITS = [
  'a',
  'Z',
  '0',
  ' ',
  '\n',
  '\\',
  '\0',
  'é',
  '你',
  '😀',
  '\ud83d',
  '\udc00',
  '\u2028',
  '__proto__',
]

const text: Make = (random) => list(random, () => random.pick(UNITS)).join('')
const clock = (random: Random) => ({
  ...{ hour: random.below(24), minute: random.below(60), second: random.below(60) },
  microsecond: random.pick([0, random.below(1e6)]),
})
const date = (random: Random) => ({
  ...{ year: 1 + random.below(9_999), month: 1 + random.below(12), day: 1 + random.below(28) },
})
const timedelta = (random: Random) =>
  new PyTimeDelta({
    days: random.below(9) - 4,
    seconds: random.below(86_400),
    microseconds: random.below(1e6),
  })
const zone = (random: Random) =>
  random.pick([
    null,
    PyTimeZone.utc,
    new PyTimeZone(new PyTimeDelta({ seconds: (random.below(47) - 23) * 1_800 }), random.pick([null, 'X'])),
    new PyTimeZone(null, 'Asia/Kolkata'),
  ])

const LEAVES: readonly Make[] = [
  text,
  text,
  (random) => random.pick([null, true, false]),
  (random) => random.below(2 ** 32) - 2 ** 31,
  (random) =>
    random.pick([0, -1, 255, 256, 65_535, 65_536, 2 ** 31, -(2 ** 31), 2 ** 53 - 1, 2 ** 53, 1e300]),
  (random) => random.below(1e9) / 7,
  (random) => random.pick([-0, Number.NaN, Number.POSITIVE_INFINITY, 5e-324, 1e-5, 1e16]),
  (random) => BigInt(random.below(2 ** 32)) ** BigInt(random.below(9)) * (random.below(2) === 0 ? 1n : -1n),
  (random) => Uint8Array.from({ length: random.below(300) }, () => random.below(256)),
  (random) => new PyDate(date(random)),
  (random) => new PyTime({ ...clock(random), tzinfo: random.pick([null, PyTimeZone.utc]) }),
  // Years in which the zone had the offset it has today, and which Python and Intl tell alike.
  (random) =>
    new PyDateTime({
      ...date(random),
      ...clock(random),
      year: 1990 + random.below(40),
      tzinfo: zone(random),
    }),
  timedelta,
  (random) => new PyDecimal(random.pick(['1.50', '-0', 'NaN', '1E+30', `${random.below(1e9)}.000`])),
  (random) => new PyException('builtins', random.pick(['ValueError', 'KeyError']), [text(random, 0)]),
]

const key: Make = (random, depth) =>
  random.pick<Make>([
    text,
    (r) => r.below(1_000),
    (r) => PyTuple.from(list(r, () => r.below(9))),
    (r) => new Set(list(r, () => r.below(9))),
    (r) => Uint8Array.of(r.below(256), r.below(256)),
  ])(random, depth)

const NESTED: readonly Make[] = [
  (random, depth) => list(random, () => someValue(random, depth)),
  (random, depth) => PyTuple.from(list(random, () => someValue(random, depth))),
  (random, depth) =>
    Object.fromEntries(
      list(random, () => [text(random, 0), someValue(random, depth)]) as [string, unknown][],
    ),
  (random, depth) =>
    distinct(list(random, () => [key(random, depth), someValue(random, depth)]) as [unknown, unknown][]),
  (random) => new Set(list(random, () => random.below(50))),
  (random, depth) => {
    const shared = someValue(random, depth)
    return [shared, { again: shared }]
  },
  (random, depth) => {
    const cycle: unknown[] = [someValue(random, depth)]
    cycle.push(PyTuple.of(cycle))
    return cycle
  },
]

/** Keys that are equal in Python are one there. */
function distinct(entries: [unknown, unknown][]): Map<unknown, unknown> {
  const seen = new Map(entries.map((entry) => [JSON.stringify(canon(entry[0], true)), entry]))
  return new Map(seen.values())
}
