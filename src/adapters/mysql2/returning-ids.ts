import type { DrizzleClient } from './client.ts'

/** What we use of Drizzle's session, which both majors have. */
export interface DrizzleSession {
  readonly client: DrizzleClient
  prepareQuery(...args: unknown[]): object
}

/**
 * Has `$returningId()` count beyond 2^53. Drizzle counts from `insertId` on by `i++` until it has counted `affectedRows`:
 * numbers stand still there, and mysql2's string, which it gives for such an id, grows longer and longer. Given both as
 * bigint the same loop ends, and its ids are right.
 */
export function countIdsExactly(session: DrizzleSession): void {
  const { prepareQuery } = session
  session.prepareQuery = (...args) => prepareQuery.apply(returnsIds(args) ? counting(session) : session, args)
}

/** 0.45 is told which columns to return, 1.0 what makes them of the header. */
function returnsIds([, mode, mapper, , returning]: readonly unknown[]): boolean {
  return returning !== undefined || (mode === 'raw' && mapper !== undefined)
}

/** The same session on a client whose headers can be counted from. */
function counting(session: DrizzleSession): DrizzleSession {
  const { client } = session
  const query: DrizzleClient['query'] = async (...args) => {
    const [answer, fields] = await client.query(...args)
    return [countable(answer), fields]
  }
  return Object.create(session, { client: { value: { query } } })
}

function countable(answer: unknown): unknown {
  if (!isHeader(answer)) return answer
  const { insertId, affectedRows } = answer
  if (Number(insertId) + affectedRows <= Number.MAX_SAFE_INTEGER) return answer
  return { ...answer, insertId: BigInt(insertId), affectedRows: BigInt(affectedRows) }
}

interface Header {
  readonly insertId: number | string
  readonly affectedRows: number
}

function isHeader(answer: unknown): answer is Header {
  return typeof answer === 'object' && answer !== null && 'insertId' in answer && 'affectedRows' in answer
}
