/** Small pickles that are meant to cost much: each is refused or done at once, and so is what is done with the result. */
import { inspect } from 'node:util'
import { decode, PickleError } from 'drizzle-celery/pickle'
import { describe, expect, it } from 'vitest'
import { assemble, repeat, uint32 } from '../fixtures/pickle/assemble.ts'

/** What is promised (T70), for a machine that is so many times as fast as the slowest that run tests. */
const SLOWNESS = 5
const MOST_MILLISECONDS = 200 * SLOWNESS
const MOST_BYTES = 100e6

const HUGE = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0x80)

/** Lists of ten of the list before. */
function laughs(levels: number): Uint8Array {
  const list = (level: number) => assemble(']', 0x94, '(', repeat(10, 'h', level), 'e')
  return assemble(
    0x80,
    4,
    0x8c,
    3,
    'lol',
    0x94,
    ...Array.from({ length: levels }, (_, level) => list(level)),
    '.',
  )
}

/** `count` lists, each of which holds all of them. */
function tangle(count: number): Uint8Array {
  const all = Array.from({ length: count }, (_, index) => assemble('h', index))
  return assemble(repeat(count, ']', 0x94), ...all.map((one) => assemble(one, '(', ...all, 'e')), '.')
}

const million = repeat(1_000_000, 'a')

const bombs: readonly (readonly [string, Uint8Array, string | null])[] = [
  ['a text of 2^63 bytes', assemble(0x8d, HUGE, '.'), 'PICKLE_TRUNCATED'],
  ['bytes of 4 GiB', assemble('B', uint32(0xffffffff), '.'), 'PICKLE_TRUNCATED'],
  ['a bytearray of 2^63 bytes', assemble(0x96, HUGE, '.'), 'PICKLE_TRUNCATED'],
  ['a frame of 2^63 bytes', assemble(0x80, 4, 0x95, HUGE, 'N.'), 'PICKLE_TRUNCATED'],
  ['an integer of -1 bytes', assemble(0x8b, uint32(0xffffffff), '.'), 'PICKLE_VALUE'],
  ['the memo entry 2^31 - 1', assemble('Nr', uint32(0x7fffffff), '.'), null],
  ['lists 100,000 deep', assemble(repeat(100_000, ']'), repeat(99_999, 'a'), '.'), 'PICKLE_LIMIT'],
  ['lists 1,000 deep', assemble(repeat(1_000, ']'), repeat(999, 'a'), '.'), null],
  ['tuples 100,000 deep', assemble('N', repeat(100_000, 0x85), '.'), 'PICKLE_LIMIT'],
  ['dicts 5,000 deep', assemble(repeat(5_000, '}N'), 'N', repeat(5_000, 's'), '.'), 'PICKLE_LIMIT'],
  [
    'calls 5,000 deep',
    assemble('ca\nb\nq\0', repeat(5_000, 'h\0'), 'N', repeat(5_000, 0x85, 'R'), '.'),
    'PICKLE_LIMIT',
  ],
  ['calls 500 deep', assemble('ca\nb\nq\0', repeat(499, 'h\0'), 'N', repeat(499, 0x85, 'R'), '.'), null],
  ['five levels of laughs', laughs(5), null],
  ['six levels of laughs', laughs(6), 'PICKLE_LIMIT'],
  ['eight levels of laughs', laughs(8), 'PICKLE_LIMIT'],
  ['eighty levels of laughs', laughs(80), 'PICKLE_LIMIT'],
  ['pairs of the same, forty levels', assemble('N', repeat(40, '2', 0x86), '.'), 'PICKLE_LIMIT'],
  ['a list that holds itself', assemble(']q\0h\0a.'), null],
  ['a hundred lists that hold each other', tangle(100), 'PICKLE_LIMIT'],
  ['ten lists that hold each other', tangle(10), null],
  [
    'a text of 1 MB in 100,000 places',
    assemble('X', uint32(1e6), million, 'q\0](', repeat(100_000, 'h\0'), 'e.'),
    'PICKLE_LIMIT',
  ],
  [
    'bytes of 1 MB in 100,000 places',
    assemble('B', uint32(1e6), million, 'q\0](', repeat(100_000, 'h\0'), 'e.'),
    'PICKLE_LIMIT',
  ],
  [
    'a name of 1 MB in 100,000 places',
    assemble('c', million, '\na\nq\0](', repeat(100_000, 'h\0'), 'e.'),
    'PICKLE_LIMIT',
  ],
  ['an integer of 1 MB', assemble(0x8b, uint32(1e6), million, '.'), 'PICKLE_LIMIT'],
  ['an integer of 5,000,000 digits', assemble('I', repeat(5_000_000, '9'), '\n.'), 'PICKLE_LIMIT'],
  ['a long of 5,000,000 digits', assemble('L', repeat(5_000_000, '9'), 'L\n.'), 'PICKLE_LIMIT'],
  ['a float of 5,000,000 digits', assemble('F', repeat(5_000_000, '9'), '\n.'), 'PICKLE_LIMIT'],
  ['an integer of 4,096 bytes', assemble(0x8b, uint32(4_096), repeat(4_096, 'a'), '.'), null],
]

const str = (value: string) => assemble('X', uint32(value.length), value)
const each = (count: number, make: (index: number) => Uint8Array) =>
  assemble(...Array.from({ length: count }, (_, index) => make(index)))

/** A call with the same arguments, again and again. */
function calls(times: number, name: string, args: Uint8Array): Uint8Array {
  return assemble('c', name, '\nq\0', args, 'q\x01', repeat(times, 'h\0h\x01R0'), 'N.')
}

const nones = (count: number) => assemble('](', repeat(count, 'N'), 'e')
const ones = (count: number) => assemble('(', repeat(count, 'K\x01'), 't')
const packed = assemble('\x80\x03cdatetime\ndatetime\nq\0C\x0a\x07\xe8\x07\x02\x03\x04\x05\x00\x00\x00')

/** So many datetimes, each in one of the zones. */
function zoned(count: number, nameOf: (index: number) => string): Uint8Array {
  const one = (index: number) => assemble('h\0h\x01h\x02', str(nameOf(index)), 0x85, 'R', 0x86, 'R')
  return assemble(packed, 'q\x01czoneinfo\nZoneInfo\nq\x02(', each(count, one), 't.')
}

const zones = Intl.supportedValuesOf('timeZone').slice(0, 70)
/** All the same in their lowest 64 bits. */
const colliding = (index: number) => assemble(0x8a, 13, 1, repeat(7, 0), uint32(index + 1), 0)
const dictOf20_000 = assemble(
  '}(',
  each(20_000, (index) => assemble(str(`k${index}`), 'N')),
  'u',
)
const controls = repeat(1_250_000, '\x01')

/** What took seconds, or hundreds of megabytes, before it was counted. */
const hangs: readonly (readonly [string, Uint8Array, string | null])[] = [
  [
    'a tuple of the same list of 100,000, 1,000 times',
    calls(1_000, 'builtins\ntuple', assemble(nones(100_000), 0x85)),
    'PICKLE_LIMIT',
  ],
  [
    'a tuple of a tuple of a list of 100,000, and so on, 1,000 times',
    assemble(
      'cbuiltins\ntuple\nq\0',
      nones(100_000),
      0x94,
      each(1_000, (index) => assemble('0h\0j', uint32(index + 1), 0x85, 'R', 0x94)),
      'N.',
    ),
    'PICKLE_LIMIT',
  ],
  [
    'bytes of the same 1 MB, 500 times',
    calls(500, 'builtins\nbytes', assemble('B', uint32(1e6), million, 0x85)),
    'PICKLE_LIMIT',
  ],
  [
    'an OrderedDict of the same dict of 20,000, 200 times',
    calls(200, 'collections\nOrderedDict', assemble(dictOf20_000, 0x85)),
    'PICKLE_LIMIT',
  ],
  [
    'an object made of the same 100,000 arguments, 500 times',
    calls(500, 'copyreg\n__newobj__', assemble('(ca\nb\n', repeat(100_000, 'N'), 't')),
    'PICKLE_LIMIT',
  ],
  ['a time of 100,000 arguments, 500 times', calls(500, 'datetime\ntime', ones(100_000)), 'PICKLE_LIMIT'],
  [
    'a set of 100,000 members of which the last cannot be one, 5,000 times',
    calls(5_000, 'builtins\nset', assemble('](', repeat(100_000, 'N'), ']e', 0x85)),
    'PICKLE_LIMIT',
  ],
  [
    'a UUID of a text of 1 MB, 300 times',
    calls(300, 'uuid\nUUID', assemble('X', uint32(1e6), million, 0x85)),
    'PICKLE_LIMIT',
  ],
  [
    'a Decimal of 1,000,000 digits, 300 times',
    calls(300, 'decimal\nDecimal', assemble('X', uint32(1e6), repeat(1e6, '1'), 0x85)),
    'PICKLE_LIMIT',
  ],
  [
    'a call of a name of 1 MB, 2,000 times',
    calls(2_000, `a\n${'A'.repeat(1e6)}`, assemble(')')),
    'PICKLE_LIMIT',
  ],
  [
    'a Decimal of 200,000 digits and a letter',
    assemble('cdecimal\nDecimal\n', str(`${'1'.repeat(200_000)}x`), 0x85, 'R.'),
    null,
  ],
  [
    'a path to a zone with the same folder 20,000 times',
    assemble(
      packed,
      'cdateutil.tz.tz\ntzfile\nN',
      str(`${'/zoneinfo/'.repeat(20_000)}\n`),
      0x86,
      'R',
      0x86,
      'R.',
    ),
    null,
  ],
  [
    '30,000 integers that collide in a set',
    assemble(0x8f, '(', each(30_000, colliding), 0x90, '.'),
    'PICKLE_LIMIT',
  ],
  [
    '30,000 integers that collide in a list that becomes a set',
    assemble('cbuiltins\nset\n](', each(30_000, colliding), 'e', 0x85, 'R.'),
    'PICKLE_LIMIT',
  ],
  ['a memo index of 1,000,000 digits', assemble('Ng', repeat(1e6, '9'), '\n.'), 'PICKLE_VALUE'],
  [
    'a text of 1.25 MB of control characters in 100 places',
    assemble('X', uint32(1.25e6), controls, 'q\0(', repeat(100, 'h\0'), 't.'),
    'PICKLE_LIMIT',
  ],
  [
    'bytes of 1 MB in 60 places',
    assemble('B', uint32(1e6), million, 'q\0(', repeat(60, 'h\0'), 't.'),
    'PICKLE_LIMIT',
  ],
  ['70 zones, in turn', zoned(5_000, (index) => zones[index % 70] ?? ''), null],
  ['a zone that there is in 500 spellings', zoned(500, spelling), null],
  [
    '100,000 texts of 40 characters',
    assemble(
      '(',
      each(100_000, (index) => str(`${index}`.padStart(40))),
      't.',
    ),
    null,
  ],
  ['1,000,000 sets', assemble('(', repeat(1e6, 0x8f), 't.'), 'PICKLE_LIMIT'],
]

/** `Europe/Paris`, with other letters in upper case for each index. */
function spelling(index: number): string {
  const shout = (letter: string, at: number) => ((index >> at) & 1 ? letter.toUpperCase() : letter)
  return [...'europe/paris'].map(shout).join('')
}

describe.each([...bombs, ...hangs])('%s', (_, input, code) => {
  it(
    code === null ? 'is read, written, inspected and cloned at once' : `is refused at once by ${code}`,
    () => {
      decodeAndUse(assemble('N.'))
      const before = process.memoryUsage.rss()
      // Of the processor, which others may have meanwhile.
      const started = process.cpuUsage()
      const refusal = decodeAndUse(input)
      const { user, system } = process.cpuUsage(started)

      expect(refusal).toBe(code)
      expect((user + system) / 1_000).toBeLessThan(MOST_MILLISECONDS)
      expect(process.memoryUsage.rss() - before).toBeLessThan(MOST_BYTES)
    },
  )
})

function decodeAndUse(input: Uint8Array): string | null {
  try {
    use(decode(input))
    return null
  } catch (error) {
    if (error instanceof PickleError) return error.code
    throw error
  }
}

function use(value: unknown): void {
  try {
    JSON.stringify(value)
  } catch (error) {
    // JSON has no cycles and no bigints.
    expect(error).toBeInstanceOf(TypeError)
  }
  inspect(value)
  structuredClone(value)
}

it('a million empty tuples are read, one more is refused', () => {
  const tuples = (count: number) => assemble('(', repeat(count - 1, ')'), 't.')

  expect(decode(tuples(1_000_000))).toHaveLength(999_999)
  expect(() => decode(tuples(1_000_001))).toThrow(expect.objectContaining({ limit: 'maxObjects' }))
})
