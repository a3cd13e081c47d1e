/** What all databases promise of `insertMany` is in the conformance suite; here are more rows than fit into memory. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { childRun, scenario } from '../fixtures/child-run.ts'
import { isLong, loops } from '../fixtures/loops.ts'
import { describeNeeding, describePostgres, freshMysql, freshPostgres } from '../fixtures/servers.ts'

const MANY = loops(20_000, 1_000_000)
/** Of each row, so that all of them would be more than the heap has. */
const LETTERS = Math.ceil(80_000_000 / MANY)
const timeout = isLong ? 700_000 : 90_000

async function fits(dburi: string): Promise<void> {
  const result = await childRun(scenario('insert-many'), {
    arguments: [dburi, String(MANY), String(LETTERS)],
    nodeFlags: ['--max-old-space-size=60'],
    timeout,
  })
  expect(result).toMatchObject({ exitCode: 0, emitted: [MANY] })
}

describe(`${MANY} rows of an async iterable fit in 60 MB of heap`, () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'drizzle-celery-test-'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  it('on SQLite', { tags: 'full', timeout }, () => fits(`file:${join(folder, 'many.db')}`))
  // Its memory is not that of the heap; what is sent to it is made as for PostgreSQL.
  if (isLong) it('on PGlite', () => fits('pglite:'), timeout)
  describePostgres('on PostgreSQL', (scheme) => {
    const database = freshPostgres({ scheme })
    it('by the driver', { tags: 'full', timeout }, () => fits(database.dburi))
  })
  describeNeeding('mysql', 'on MySQL or MariaDB', () => {
    const database = freshMysql()
    it('by the driver', { tags: 'full', timeout }, () => fits(database.dburi))
  })
})
