import type { Connection as Driver, FieldPacket } from 'mysql2'
import type { RowStream } from './row-stream.ts'
import { type BoundValue, markNames, roundFloats, unmarkNames } from './values.ts'

/** What the server answered. */
export interface Answer {
  readonly answer: unknown
  /** Whether it left a transaction open; `null` where it does not say. */
  readonly isOpen: boolean | null
}

/** One statement on its way to the server. */
export interface Work {
  readonly sql: string
  /** The parameters as they are sent. */
  readonly bound: BoundValue[]
  readonly asArrays: boolean
  /** It may end a transaction without being asked to, for all that its text tells. */
  readonly mayEnd: boolean
  /** Where its rows go, if they are not collected. */
  readonly rows?: RowStream
}

/** Our own statements, which need no looking after. */
export function plain(sql: string): Work {
  return { sql, bound: [], asArrays: false, mayEnd: false }
}

/** Begins to ask the driver for something; the driver, or the loss of the connection, settles it. */
export type Begin = (done: (error: Error | null, answer?: unknown) => void) => void

type Ask = (begin: Begin) => Promise<unknown>

/** Sends a statement; the rows of one with a stream go there. */
export async function send(driver: Driver, work: Work, ask: Ask): Promise<Answer> {
  if (work.rows !== undefined) return stream(driver, work, work.rows, ask)
  let columns: readonly unknown[] | undefined
  let isMarked = false
  const answer = await ask((done) => {
    const answered = (error: Error | null, answer: unknown, fields?: readonly unknown[]) => {
      columns = fields
      done(error, answer)
    }
    // Without parameters the text protocol saves a round trip, and takes what cannot be prepared.
    const query =
      work.bound.length === 0
        ? driver.query(optionsOf(work), answered)
        : driver.execute(optionsOf(work), work.bound, answered)
    // Told also of results that are no rows, with no columns.
    query.on('fields', (fields?: readonly FieldPacket[]) => {
      if (fields !== undefined && markNames(fields)) isMarked = true
    })
  })
  if (work.bound.length > 0 && columns !== undefined) roundFloats(answer, columns, work.asArrays)
  if (isMarked && !work.asArrays) unmarkNames(answer)
  return { answer, isOpen: isInTransaction(answer, columns) }
}

/** Sends a statement whose rows go to its stream. */
async function stream(driver: Driver, work: Work, rows: RowStream, ask: Ask): Promise<Answer> {
  await ask((done) => {
    const { bound, asArrays } = work
    const query = bound.length === 0 ? driver.query(optionsOf(work)) : driver.execute(optionsOf(work), bound)
    let hasColumns = false
    query.on('fields', (fields?: readonly FieldPacket[]) => {
      if (fields === undefined) return
      hasColumns = true
      const isMarked = markNames(fields)
      rows.begin((batch) => {
        if (bound.length > 0) roundFloats(batch, fields, asArrays)
        if (isMarked && !asArrays) unmarkNames(batch)
      })
    })
    query.on('result', (row: unknown) => {
      if (hasColumns) rows.push(row)
    })
    query.on('error', (error: Error) => done(error))
    query.on('end', () => done(null))
  })
  return { answer: rows, isOpen: null }
}

export function optionsOf({ sql, asArrays }: Work): { sql: string; rowsAsArray: boolean } {
  return { sql, rowsAsArray: asArrays }
}

/** What the driver reads: under TLS not the socket it was given. */
export function flowOf(driver: Driver): { pause(): void; resume(): void } {
  return Reflect.get(driver, 'stream')
}

/** `SERVER_STATUS_IN_TRANS` of the protocol. */
const IN_TRANSACTION = 1

/**
 * Whether an answer leaves a transaction open, by the server's own word; `null` for rows, which do not say, except those
 * of a CALL, whose last part is the end of the procedure.
 * @param fields what mysql2 gives beside the answer: the columns of its rows, or of each of its parts
 */
function isInTransaction(answer: unknown, fields: unknown): boolean | null {
  const end = endOf(answer, fields)
  if (end === null) return null
  if (typeof end === 'object' && 'serverStatus' in end && typeof end.serverStatus === 'number') {
    return (end.serverStatus & IN_TRANSACTION) !== 0
  }
  throw new Error('mysql2 answered without the status of the server')
}

/**
 * mysql2's `ResultSetHeader`, known by its place: a row may have columns of any name, and bundlers rename classes. Rows
 * come in a list, and what is no rows has no columns.
 */
function endOf(answer: unknown, fields: unknown): object | null {
  if (!Array.isArray(answer)) return Object(answer)
  const hasParts = Array.isArray(fields) && fields.length > 0 && fields.at(-1) === undefined
  return hasParts ? Object(answer.at(-1)) : null
}
