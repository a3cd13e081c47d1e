import { is, SQL } from 'drizzle-orm'
import { drawsFrom } from '../../mysql-sequence.ts'
import { columnName } from '../casing.ts'
import type { ColumnDefinition } from '../definition.ts'
import { addColumn } from './add-column.ts'
import { columnType } from './column-type.ts'
import { defaultText } from './default.ts'
import { sequenceCalled } from './sequence.ts'
import { type Column, isAutoIncrement, type TableModel } from './table-model.ts'
import { ddlText, quote } from './text.ts'

export function columnDefinition(table: TableModel, column: Column): ColumnDefinition {
  const text = columnText(table, column)
  return {
    name: columnName(column, table.casing),
    type: columnType(column).catalogue,
    add: () => addColumn(table, column, text),
  }
}

/** A column of a CREATE TABLE; its keys and checks stand behind all columns. */
export function columnText(table: TableModel, column: Column): string {
  const type = columnType(column)
  const sequence = table.flavor === 'mariadb' ? drawsFrom(column) : undefined
  const isCounting = isAutoIncrement(column) && sequence === undefined
  // MariaDB takes no AUTO_INCREMENT behind a serial, which has one already.
  const isSerial = /^serial$/i.test(type.text)
  const typeText = isSerial && !isCounting ? 'bigint unsigned' : type.text

  let text = `${quote(columnName(column, table.casing))} ${typeText}`
  if (isCounting && !isSerial) text += ' AUTO_INCREMENT'
  text += generatedText(table, column)
  if (isNotNull(table, column)) text += ' NOT NULL'
  // Where explicit_defaults_for_timestamp is off, one that says nothing is NOT NULL.
  else if (/^timestamp\b/i.test(typeText) && column.generated === undefined) text += ' NULL'

  const value =
    sequence === undefined ? defaultText(table, column, type) : `nextval(${sequenceCalled(sequence)})`
  if (value !== undefined) text += ` DEFAULT ${value}`
  if (Reflect.get(column, 'hasOnUpdateNow') === true) {
    text += ` ON UPDATE CURRENT_TIMESTAMP${/\(\d\)/.exec(typeText)?.[0] ?? ''}`
  }
  return text
}

/** MariaDB knows no NOT NULL of what is generated: whether it is null is for its expression to say. */
function isNotNull({ flavor, primaryKeys }: TableModel, column: Column): boolean {
  const isInKey = primaryKeys.some(({ columns }) => columns.some(({ name }) => name === column.name))
  return (column.notNull || isInKey) && (column.generated === undefined || flavor === 'mysql')
}

function generatedText({ name, casing }: TableModel, column: Column): string {
  const { generated } = column
  if (generated === undefined) return ''
  const as: unknown = typeof generated.as === 'function' ? generated.as() : generated.as
  const what = `the expression of its column "${column.name}"`
  const text = is(as, SQL) ? ddlText(as, { owner: name, what, casing, isUnqualified: true }) : String(as)
  return ` GENERATED ALWAYS AS (${text}) ${generated.mode === 'stored' ? 'STORED' : 'VIRTUAL'}`
}
