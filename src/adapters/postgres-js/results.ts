import { isMarked, unmarkName, unmarkRows } from '../../driver/column-names.ts'
import { isResult, type QueryResult } from '../postgresql/client.ts'
import { JSON_OID, jsonReader, type RelationalColumns } from '../postgresql/relational-json.ts'

/** What postgres.js resolves to: the rows, and beside them what the server said; for several statements, one of these each. */
export interface Answer extends QueryResult {
  command: string | null | undefined
  /** What is known of the columns, shared by all runs of one prepared statement. */
  columns: readonly Column[] | null | undefined
}

interface Column {
  readonly name: string
  readonly type: number
  readonly parser?: ((text: string) => unknown) | undefined
}

/** The result of a statement, without what postgres.js puts into it that is not the statement's. */
export function resultOf(answer: Answer, carriedBegin: boolean): Answer {
  const result = carriedBegin ? withoutBegin(answer) : answer
  dropHoles(isAnswer(result[0]) ? result[0] : result)
  if (result.columns === null || result.columns === undefined) result.filter(isAnswer).forEach(unmark)
  else unmark(result)
  return result
}

/** Reads the bytes that a relational query was answered with, JSON of rows by its own rules, the rest as postgres.js would. */
export function readRelational(result: Answer, relational: RelationalColumns): void {
  const readers = Array.from(result.columns ?? [], ({ type, parser = (text: string) => text }, at) =>
    type === JSON_OID ? jsonReader(relational, at) : parser,
  )
  for (const row of result) {
    if (!Array.isArray(row)) continue
    for (const [at, value] of row.entries()) if (value !== null) row[at] = readers[at]?.(String(value))
  }
}

/** Gives columns back the names that they were marked with. */
function unmark(result: Answer): void {
  const { columns } = result
  if (!columns?.some(({ name }) => isMarked(name))) return
  unmarkRows(result)
  result.columns = columns.map((column) => ({ ...column, name: unmarkName(column.name) }))
}

/**
 * BEGIN's answer is taken for a part of the statement's: where rows are described behind it, for a result of its own; an
 * empty statement has no word that would replace it.
 */
function withoutBegin(answer: Answer): Answer {
  const own =
    answer.command === undefined ? answer.find((each) => isAnswer(each) && each.command !== 'BEGIN') : answer
  if (!isAnswer(own)) return answer
  if (own.command === 'BEGIN') own.command = null
  return own
}

/** After a statement that failed amid its rows, the next result begins with as many empty places. */
function dropHoles(rows: Answer): void {
  if (rows.length === 0 || 0 in rows) return
  const holes = rows.findIndex((row) => row !== undefined)
  rows.splice(0, holes)
}

function isAnswer(value: unknown): value is Answer {
  return isResult(value)
}
