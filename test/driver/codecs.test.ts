import { inspect } from 'node:util'
import * as mysqlCore from 'drizzle-orm/mysql-core'
import * as pgCore from 'drizzle-orm/pg-core'
import { describe, expect, it } from 'vitest'
import { mysqlCodecs } from '../../src/adapters/mysql2/codecs.ts'
import { pgliteCodecs, postgresJsCodecs } from '../../src/adapters/postgresql/handles.ts'
import { strictly } from '../../src/driver/handles.ts'
import { drizzleMajor } from '../fixtures/drizzle-major.ts'

/** What Drizzle 1.0 is told of the values of a driver is what its own module for that driver says. */

type Codecs = Record<string, Record<string, unknown>>

/** What columns may hold, as drivers give it, and what programs may send. */
const VALUES: readonly unknown[] = [
  '1',
  1,
  '2024-02-29 12:34:56',
  '2024-02-29',
  new Date(0),
  '(1,2)',
  '{1,2,3}',
  '[1,2,3]',
  '0101000000000000000000F03F0000000000000040',
  Buffer.from('bytes'),
  [1, [2, 'x']],
  [['a', null]],
  { a: 1 },
  [{ a: 1 }, [1, 2]],
  null,
  true,
]

const drivers: readonly [string, () => unknown, string, string][] = [
  ['mysql2', () => mysqlCodecs(strictly(mysqlCore)), 'mysql2', 'mysql2Codecs'],
  ['postgres.js', () => postgresJsCodecs(strictly(pgCore)), 'postgres-js', 'postgresJsCodecs'],
  ['PGlite', () => pgliteCodecs(strictly(pgCore)), 'pglite', 'pgliteCodecs'],
]

// Under Drizzle 0.45 there is no such thing.
describe.runIf(drizzleMajor !== '0.45').each(drivers)('the codecs of %s', (_name, own, folder, exported) => {
  it('are those of Drizzle 1.0', async () => {
    const module: unknown = await import(`drizzle-orm/${folder}/codecs`)
    const drizzles: Codecs = Reflect.get(Object(module), exported)

    expect(described(own() as Codecs)).toEqual(described(drizzles))
  })
})

it('what a version of Drizzle lacks throws where it is asked for, and is not left out', () => {
  expect(() => Reflect.get(strictly(pgCore), 'noSuchCodec')).toThrow(
    'This version of drizzle-orm has no noSuchCodec',
  )
})

/** What each hook of each type makes of each value. */
function described(codecs: Codecs): Record<string, string> {
  return Object.fromEntries(
    Object.entries(codecs).flatMap(([type, hooks]) =>
      Object.entries(hooks ?? {}).flatMap(([hook, does]) =>
        does === undefined
          ? []
          : [[`${type}.${hook}`, VALUES.map((value) => outcome(does, value)).join('\n')]],
      ),
    ),
  )
}

function outcome(does: unknown, value: unknown): string {
  if (typeof does !== 'function') return inspect(does)
  try {
    return inspect(does(structuredClone(value), {}, 2), { depth: 6 })
  } catch (error) {
    return `throws ${error instanceof Error ? error.name : error}`
  }
}
