import { is, SQL } from 'drizzle-orm'
import type { SQLiteColumn } from 'drizzle-orm/sqlite-core'
import { columnName } from '../casing.ts'
import type { ColumnDefinition } from '../definition.ts'
import { addColumn } from './add-column.ts'
import { named } from './constraints.ts'
import { declaredType } from './declared-type.ts'
import { defaultText } from './default.ts'
import type { TableModel } from './table-model.ts'
import { quote, sqlText } from './text.ts'

export function columnDefinition(table: TableModel, column: SQLiteColumn): ColumnDefinition {
  const text = columnText(table, column)
  return {
    name: columnName(column, table.casing),
    type: declaredType(column.getSQLType()),
    add: () => addColumn(table, column, text),
  }
}

export function columnText(table: TableModel, column: SQLiteColumn): string {
  const { name, casing, primaryKeys } = table
  let text = `${quote(columnName(column, casing))} ${column.getSQLType()}`

  const key = primaryKeys.find(({ columns }) => columns.length === 1 && columns[0] === column)
  if (key !== undefined || column.primary) text += ` ${named(key?.name)}PRIMARY KEY`
  if ('autoIncrement' in column && column.autoIncrement === true) text += ' AUTOINCREMENT'

  const value = defaultText(name, column)
  if (value !== undefined) text += ` DEFAULT ${value}`
  if (column.generated !== undefined) text += ` ${generatedText(table, column, column.generated)}`
  if (column.notNull) text += ' NOT NULL'
  return text
}

function generatedText(
  { name, casing }: TableModel,
  column: SQLiteColumn,
  { as, mode = 'virtual' }: NonNullable<SQLiteColumn['generated']>,
): string {
  const expression: unknown = typeof as === 'function' ? as() : as
  const what = `the expression of its column "${column.name}"`
  const text = is(expression, SQL)
    ? sqlText(expression, { owner: name, what, casing, isUnqualified: true })
    : String(expression)
  return `GENERATED ALWAYS AS (${text}) ${mode.toUpperCase()}`
}
