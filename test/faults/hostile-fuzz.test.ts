/** What real servers say, with a few bytes changed: whatever comes of it, it ends, and with errors of ours or the driver's. */
import { describe, expect, it } from 'vitest'
import { childRun, scenario } from '../fixtures/child-run.ts'
import { loops } from '../fixtures/loops.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'

const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8].slice(0, loops(2, 8, 1))
const RUNS = 60

async function fuzz(dburi: string, seed: number) {
  const result = await childRun(scenario('hostile-fuzz'), {
    arguments: [dburi, String(seed), String(RUNS)],
    nodeFlags: ['--max-old-space-size=256'],
    timeout: 150_000,
  })
  const { ends = {} } = result.emitted.find((each) => Object(each).ends !== undefined) as {
    ends?: Record<string, number>
  }
  return { ...result, ends, count: Object.values(ends).reduce((sum, count) => sum + count, 0) }
}

describe('what a server says, with a few bytes changed,', () => {
  describeNeeding('postgresql', 'of PostgreSQL', () => {
    const database = freshPostgres()

    it.each(SEEDS)(
      'ends every statement, and no process: seed %i',
      { tags: 'full', timeout: 180_000 },
      async (seed) => {
        const { exitCode, timedOut, stderr, stdout, count, ends } = await fuzz(database.dburi, seed)

        expect({ exitCode, timedOut, stderr, stdout, count }, JSON.stringify(ends)).toEqual({
          exitCode: 0,
          timedOut: false,
          stderr: '',
          stdout: '',
          count: RUNS,
        })
      },
    )
  })

  describeNeeding('mysql', 'of MySQL', () => {
    it.each(SEEDS)(
      'ends every statement, and no process: seed %i',
      { tags: 'full', timeout: 180_000 },
      async (seed) => {
        const { exitCode, timedOut, stdout, count, ends } = await fuzz(process.env['MYSQL_URL'] ?? '', seed)

        expect({ exitCode, timedOut, stdout, count }, JSON.stringify(ends)).toEqual({
          exitCode: 0,
          timedOut: false,
          stdout: '',
          count: RUNS,
        })
      },
    )
  })
})
