import { Stream } from 'node:stream'
import { isMarked, unmarkName, unmarkRows } from '../../driver/column-names.ts'
import { transactionControlRefused } from '../../driver/statement.ts'
import { StatementError } from '../../errors.ts'
import { JSON_OID, jsonReader, type RelationalColumns } from '../postgresql/relational-json.ts'

/** What postgres.js resolves to: the rows, and beside them what the server said; for several statements, one of these each. */
export interface QueryResult extends Array<unknown> {
  command: string | null | undefined
  readonly state: { readonly pid: number; readonly secret: number } | undefined
  /** What is known of the columns, shared by all runs of one prepared statement. */
  columns: readonly Column[] | null | undefined
}

interface Column {
  readonly name: string
  readonly type: number
  readonly parser?: ((text: string) => unknown) | undefined
}

/** The result of a statement, without what postgres.js puts into it that is not the statement's. */
export function resultOf(answer: QueryResult, carriedBegin: boolean): QueryResult {
  if (answer instanceof Stream) return answer
  const result = carriedBegin ? withoutBegin(answer) : answer
  dropHoles(isResult(result[0]) ? result[0] : result)
  if (result.columns === null || result.columns === undefined) result.filter(isResult).forEach(unmark)
  else unmark(result)
  return result
}

/** Why a result may not be handed out, and its connection not be used again. */
export function refusalOf(result: QueryResult, mayControl: boolean): StatementError | null {
  if (result instanceof Stream) return copyRefused(result)
  return !mayControl && controlsTransaction(result) ? transactionControlRefused() : null
}

/** By the server's own word; of several statements, for any of them. */
function controlsTransaction(result: QueryResult): boolean {
  const { command } = result
  if (command !== undefined) return CONTROLS.has(command)
  return result.some((each) => isResult(each) && CONTROLS.has(each.command))
}

const CONTROLS: ReadonlySet<unknown> = new Set([
  'BEGIN',
  'START TRANSACTION',
  'COMMIT',
  'ROLLBACK',
  'PREPARE TRANSACTION',
])

/** Reads the bytes that a relational query was answered with, JSON of rows by its own rules, the rest as postgres.js would. */
export function readRelational(result: QueryResult, relational: RelationalColumns): void {
  const readers = Array.from(result.columns ?? [], ({ type, parser = (text: string) => text }, at) =>
    type === JSON_OID ? jsonReader(relational, at) : parser,
  )
  for (const row of result) {
    if (!Array.isArray(row)) continue
    for (const [at, value] of row.entries()) if (value !== null) row[at] = readers[at]?.(String(value))
  }
}

/** Gives columns back the names that they were marked with. */
function unmark(result: QueryResult): void {
  const { columns } = result
  if (!columns?.some(({ name }) => isMarked(name))) return
  unmarkRows(result)
  result.columns = columns.map((column) => ({ ...column, name: unmarkName(column.name) }))
}

/**
 * BEGIN's answer is taken for a part of the statement's: where rows are described behind it, for a result of its own; an
 * empty statement has no word that would replace it.
 */
function withoutBegin(answer: QueryResult): QueryResult {
  const own =
    answer.command === undefined ? answer.find((each) => isResult(each) && each.command !== 'BEGIN') : answer
  if (!isResult(own)) return answer
  if (own.command === 'BEGIN') own.command = null
  return own
}

/** After a statement that failed amid its rows, the next result begins with as many empty places. */
function dropHoles(rows: QueryResult): void {
  if (rows.length === 0 || 0 in rows) return
  const holes = rows.findIndex((row) => row !== undefined)
  rows.splice(0, holes)
}

/** The stream fails when its connection is thrown away, and would end the process if nobody listened. */
function copyRefused(stream: Stream): StatementError {
  stream.on('error', () => {})
  return new StatementError(
    'INVALID_STATEMENT',
    'Cannot run COPY FROM STDIN or COPY TO STDOUT: a Drizzle handle has no stream for the data. ' +
      'Use a client of your own for it.',
  )
}

function isResult(value: unknown): value is QueryResult {
  return Array.isArray(value) && 'command' in value
}
