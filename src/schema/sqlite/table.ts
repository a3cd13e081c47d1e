import { columnName } from '../casing.ts'
import { type Definition, type SchemaStatement, unsupported } from '../definition.ts'
import { columnDefinition, columnText } from './column.ts'
import { checkText, foreignKeysOf, foreignKeyText, primaryKeyText } from './constraints.ts'
import { indexesOf } from './indexes.ts'
import type { TableModel } from './table-model.ts'
import { quote } from './text.ts'

export function tableDefinition(table: TableModel): Definition {
  const { name } = table
  refuseBadTable(table)
  const parts = [
    ...table.columns.map((column) => columnText(table, column)),
    ...table.primaryKeys.filter(({ columns }) => columns.length > 1).map((key) => primaryKeyText(table, key)),
    ...foreignKeysOf(table).map((key) => foreignKeyText(table, key)),
    ...table.checks.map((check) => checkText(table, check)),
  ]
  // White space and quotes are drizzle-kit's: the database keeps the text, and drizzle-kit reads it again.
  const create = `CREATE TABLE ${quote(name)} (\n\t${parts.join(',\n\t')}\n)`
  const columns = table.columns.map((column) => columnDefinition(table, column))
  const indexes = indexesOf(table)
  return {
    kind: 'table',
    name,
    schema: undefined,
    label: name,
    columns,
    indexes,
    statements: () => [
      { stage: 'table', text: create },
      ...indexes.map((index): SchemaStatement => ({ stage: 'index', text: index.create(undefined) })),
    ],
  }
}

/** Refuses what SQLite has no table for. */
function refuseBadTable({ name, columns, primaryKeys, casing }: TableModel): void {
  if (columns.length === 0) throw unsupported(name, 'it has no columns')

  const keys = [
    ...columns.filter(({ primary }) => primary).map((column) => [columnName(column, casing)]),
    ...primaryKeys.map((key) => key.columns.map((column) => columnName(column, casing))),
  ].map((key) => JSON.stringify(key))
  if (new Set(keys).size > 1) throw unsupported(name, 'it has more than one primary key')
}
