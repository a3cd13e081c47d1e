import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { childRun } from '../fixtures/child-run.ts'
import { loops } from '../fixtures/loops.ts'
import { fuzzFile } from '../fixtures/pickle/fuzz.ts'

const vectorsFile = fileURLToPath(new URL('../fixtures/pickle/vectors.json', import.meta.url))
const COUNT = loops(100_000, 1_000_000, 10_000)
const SEED = Number(process.env['PICKLE_SEED'] ?? Date.now() % 2 ** 32)

it(`${COUNT} mutated and made-up pickles are decoded or refused by a PickleError (PICKLE_SEED=${SEED})`, async () => {
  const timeout = 600_000
  const { exitCode, signal, stderr, emitted } = await childRun(fuzzFile, {
    arguments: [String(COUNT), String(SEED), vectorsFile],
    timeout,
  })
  console.log(`PICKLE_SEED=${SEED}`, JSON.stringify(emitted[0]))

  expect({ exitCode, signal, stderr }).toEqual({ exitCode: 0, signal: null, stderr: '' })
  expect(emitted[0]).toMatchObject({ untyped: [] })
  // As promised: no input takes a second, none of them all 300 MB, and a million of them no minute on the machine on
  // which that was promised. Others may be five times as slow, and few take as long as a hundred thousand would to begin with.
  expect(emitted[0]).toSatisfy(
    ({ slowestMilliseconds, rssMegabytes, seconds }) =>
      slowestMilliseconds < 1_000 &&
      rssMegabytes < 300 &&
      seconds < (Math.max(COUNT, 100_000) / 1_000_000) * 300,
  )
}, 600_000)
