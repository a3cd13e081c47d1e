/**
 * PostgreSQL servers that are hostile or broken: each statement ends with a typed error, and the process goes on.
 *
 * @module-tag full
 */
import { beforeAll, describe, expect, it } from 'vitest'
import { type ChildResult, childRun, scenario } from '../fixtures/child-run.ts'
import { hostilePostgres } from '../fixtures/hostile-postgres.ts'

interface Met {
  readonly name: string
  readonly first: { readonly codes?: readonly string[]; readonly message?: string; readonly echo?: unknown }
  readonly second: Met['first']
}

describe.each(['postgresql', 'postgresql+pg'])('a hostile PostgreSQL server that sends, by %s:', (scheme) => {
  let child: ChildResult
  const met = new Map<string, Met>()

  beforeAll(async () => {
    // One that makes the process hang leaves all after it unmet.
    child = await childRun(scenario('hostile-postgres'), {
      arguments: [scheme],
      timeout: 120_000,
      nodeFlags: ['--max-old-space-size=256'],
    })
    for (const each of child.emitted as Met[]) if ('name' in each) met.set(each.name, each)
  }, 180_000)

  it.each(Array.from(hostilePostgres, ([name, { codes }]) => ({ name, codes })))(
    '$name',
    ({ name, codes }) => {
      const { first, second } = met.get(name) ?? {}

      expect(first?.codes ?? null, first?.message).toEqual(first === undefined ? 'met' : codes)
      expect(second, 'what comes next').toEqual({ echo: 'second' })
    },
  )

  it('anything of it, ends no process, and prints nothing', () => {
    expect(child).toMatchObject({ exitCode: 0, timedOut: false, stdout: '', stderr: '' })
  })
})
