/**
 * Values of 60 MB, within `maxBytes`, in a process of 1 GB: each is read, or refused by the name of a limit. `npm test` does
 * it with a fifth of the bytes and half of the memory: some limits are the same whatever the size.
 */
import { describe, expect, it } from 'vitest'
import { childRun, scenario } from '../fixtures/child-run.ts'
import { loops } from '../fixtures/loops.ts'

const MEGABYTES = loops(60, 60, 12)
const HEAP = loops(1024, 1024, 512)

const FLOODS = [
  'UNICODE escapes',
  'wide UNICODE escapes',
  'backslashes in UNICODE',
  'STRING escapes',
  'octal STRING escapes',
  'lines of escapes',
  'lines of floats',
  'lone surrogates',
  'memo entries far apart',
  'keys of one dict',
  'members of one set',
  'datetimes',
  'integers of 4,096 bytes',
  'JSON escapes',
  'short JSON escapes',
  'JSON objects',
  'JSON arrays of one',
  'JSON objects of different forms',
  'keys of one JSON object',
  'marked JSON objects',
]
const units = (bytes: number) => Math.floor((MEGABYTES * 1_000_000) / bytes)
/** The lists in JSON have one more member than units, which has no comma behind it. */
const HONEST: Readonly<Record<string, object>> = {
  'a text as a pickle': { type: 'string', size: units(1) },
  'a text as a pickle of protocol 0': { type: 'string', size: units(1) },
  'a text as JSON': { type: 'string', size: units(1) },
  'floats as a pickle': { type: 'object', size: units(9) },
  'floats as JSON': { type: 'object', size: units(19) + 1 },
  'nested dicts as a pickle': { type: 'object', size: units(178) },
  'nested dicts as JSON': { type: 'object', size: units(88) + 1 },
}

async function read(name: string) {
  const { exitCode, signal, stderr, emitted } = await childRun(scenario('flood'), {
    arguments: [name, String(MEGABYTES)],
    nodeFlags: [`--max-old-space-size=${HEAP}`],
    timeout: 120_000,
  })
  expect([exitCode, signal, stderr]).toEqual([0, null, ''])
  return emitted[0]
}

describe('a flood of', { timeout: 180_000 }, () => {
  it.each(FLOODS)('%s neither ends the process nor escapes the limits', { tags: 'full' }, async (name) => {
    const outcome = await read(name)

    expect(outcome).toSatisfy(
      (seen: { type?: string; code?: string; message?: string }) =>
        seen.type !== undefined ||
        (seen.code === 'RESULT_UNREADABLE' && /\bmax[A-Z]\w+/.test(seen.message ?? '')),
    )
  })
})

describe(`${MEGABYTES} MB of`, { timeout: 180_000 }, () => {
  it.each(Object.entries(HONEST))('%s are read', async (name, expected) => {
    expect(await read(name)).toEqual(expected)
  })
})
