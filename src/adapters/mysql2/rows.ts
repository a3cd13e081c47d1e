import type { FieldPacket } from 'mysql2'
import { isMarked, markName, unmarkRows } from '../../marked-names.ts'

/** `mysql2.Types.FLOAT`. */
const FLOAT = 4
/** What `decimals` says of a column without a fixed number of them. */
const NOT_FIXED = 31

/**
 * Prepared statements answer with all digits of a FLOAT, 3.14 as 3.140000104904175, where the text protocol rounds. One
 * statement is to read like another, so this does what every client of MySQL shows: six digits, or the decimals of
 * `float(m, d)`.
 * @param fields of one result its columns; of several, as a CALL has them, a list of that for each, or undefined
 */
export function roundFloats(answer: unknown, fields: readonly unknown[], asArrays: boolean): void {
  if (!Array.isArray(answer)) return
  if (isColumns(fields)) roundIn(answer, fields, asArrays)
  else
    for (const [index, each] of fields.entries()) if (isColumns(each)) roundIn(answer[index], each, asArrays)
}

/** Marks the names that mysql2 refuses, before it makes rows of the columns; whether there are any. */
export function markNames(fields: readonly FieldPacket[]): boolean {
  for (const field of fields) field.name = markName(field.name)
  return fields.some(({ name }) => isMarked(name))
}

/** Gives the rows of an answer, or of each of its results, the names that were marked. */
export function unmarkNames(answer: unknown): void {
  if (!Array.isArray(answer)) return
  if (answer.some(Array.isArray)) for (const rows of answer) unmarkNames(rows)
  else unmarkRows(answer)
}

function isColumns(fields: unknown): fields is readonly FieldPacket[] {
  return Array.isArray(fields) && fields.every((field) => field !== undefined && !Array.isArray(field))
}

function roundIn(rows: object[], fields: readonly FieldPacket[], asArrays: boolean): void {
  const names = fields.map(({ name }) => name)
  for (const [index, { columnType, name, decimals }] of fields.entries()) {
    // Of columns of the same name an object has the last.
    if (columnType !== FLOAT || (!asArrays && names.lastIndexOf(name) !== index)) continue
    const key = asArrays ? index : name
    for (const row of rows) {
      const value: unknown = Reflect.get(row, key)
      if (typeof value !== 'number') continue
      Reflect.set(row, key, Number(decimals < NOT_FIXED ? value.toFixed(decimals) : value.toPrecision(6)))
    }
  }
}
