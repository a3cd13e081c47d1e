/** Small pickles that are meant to cost much: each is refused or done at once, and so is what is done with the result. */
import { inspect } from 'node:util'
import { decode, PickleError } from 'drizzle-celery/pickle'
import { describe, expect, it } from 'vitest'
import { assemble, repeat, uint32 } from '../fixtures/pickle/assemble.ts'

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

describe.each(bombs)('%s', (_, input, code) => {
  it(
    code === null ? 'is read, written, inspected and cloned at once' : `is refused at once by ${code}`,
    () => {
      decodeAndUse(assemble('N.'))
      const before = process.memoryUsage.rss()
      const startedAt = performance.now()
      const refusal = decodeAndUse(input)

      expect(refusal).toBe(code)
      // Promised for a machine that is several times as fast as those that run tests.
      expect(performance.now() - startedAt).toBeLessThan(1_000)
      expect(process.memoryUsage.rss() - before).toBeLessThan(100e6)
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
