/** What a stream of MySQL's rows owes to who fetches, where the server ends it in its own time. */
import { ClosedError } from 'drizzle-celery'
import { describe, expect, it } from 'vitest'
import { RowStream } from '../../../src/adapters/mysql2/row-stream.ts'

const FLOW = { pause() {}, resume() {}, stop: async () => {} }

describe('a stream of rows that is closed', () => {
  it('lets nobody who still fetches take the rows so far for all rows', async () => {
    const rows = new RowStream(10, FLOW)
    rows.push('one')
    const fetched = rows.fetch()
    await rows.close()
    // The statement ended before it could be killed.
    rows.push('two')
    rows.end(null)

    await expect(fetched).rejects.toBeInstanceOf(ClosedError)
  })

  it('says why it ended, where that was no end of its rows', async () => {
    const rows = new RowStream(10, FLOW)
    const fetched = rows.fetch()
    await rows.close()
    rows.end(new Error('killed'))

    await expect(fetched).rejects.toThrow('killed')
  })

  it('has given all rows by its end', async () => {
    const rows = new RowStream(2, FLOW)
    for (const row of ['one', 'two']) rows.push(row)
    expect(await rows.fetch()).toEqual(['one', 'two'])
    rows.end(null)
    expect(await rows.fetch()).toEqual([])
    await rows.close()
  })
})
