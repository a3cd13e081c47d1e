import {
  Column,
  getTableColumns,
  is,
  Name,
  SQL,
  type SQLChunk,
  StringChunk,
  Subquery,
  Table,
} from 'drizzle-orm'
import { type Casing, columnName } from './casing.ts'

/**
 * A view's query with the names that the columns bear in the database. Drizzle's query builder has written the keys of
 * the columns it selects, for it knows nothing of a casing.
 */
export function viewQuery(query: SQL, selectedFields: object, casing: Casing | undefined): SQL {
  const names = new Map<string, string>()
  if (casing !== undefined) {
    for (const column of columnsOf([query, ...Object.values(selectedFields)])) {
      if (column.keyAsName) names.set(column.name, columnName(column, casing))
    }
  }
  return names.size === 0 ? query : renamed(query, names)
}

/** The columns of a selection and of the tables it reads, however deep they are. */
function columnsOf(fields: readonly unknown[]): Column[] {
  return fields.flatMap((field): Column[] => {
    if (is(field, Column)) return [field]
    if (is(field, Table)) return Object.values(getTableColumns(field))
    if (is(field, SQL)) return columnsOf(field.queryChunks)
    if (is(field, SQL.Aliased)) return columnsOf([field.sql])
    if (is(field, Subquery)) return columnsOf([field._.sql])
    const isNested = typeof field === 'object' && field !== null && field.constructor === Object
    return isNested ? columnsOf(Object.values(field)) : []
  })
}

/** The same SQL with other names; an alias, or what stands before a dot, is no column's name. */
function renamed(query: SQL, names: ReadonlyMap<string, string>): SQL {
  const { queryChunks } = query
  return new SQL(
    queryChunks.map((chunk, at): SQLChunk => {
      if (is(chunk, SQL)) return renamed(chunk, names)
      if (is(chunk, Subquery) && !chunk._.isWith) {
        return new SQL([
          new StringChunk('('),
          renamed(chunk._.sql, names),
          new StringChunk(') '),
          new Name(chunk._.alias),
        ])
      }
      if (!is(chunk, Name)) return chunk

      const isColumn =
        !/ as $/i.test(textOf(queryChunks[at - 1])) && !textOf(queryChunks[at + 1]).startsWith('.')
      return new Name((isColumn ? names.get(chunk.value) : undefined) ?? chunk.value)
    }),
  )
}

function textOf(chunk: SQLChunk | undefined): string {
  return is(chunk, StringChunk) ? [chunk.value].flat().join('') : ''
}
