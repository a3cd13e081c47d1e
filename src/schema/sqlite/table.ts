import { is, SQL } from 'drizzle-orm'
import type { Index, SQLiteColumn } from 'drizzle-orm/sqlite-core'
import {
  type Definition,
  type IndexDefinition,
  type SchemaStatement,
  twins,
  unsupported,
} from '../definition.ts'
import { columnsIn } from '../expression.ts'
import { columnNames } from '../names.ts'
import { columnDefinition, columnText } from './columns.ts'
import { checkText, foreignKeysOf, foreignKeyText, primaryKeyText } from './constraints.ts'
import { columnList, quote, sqlText, type TableModel } from './model.ts'

export function tableDefinition(table: TableModel): Definition {
  const { name } = table
  assertValidTable(table)
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

/** @throws SchemaError for a table that SQLite cannot have */
function assertValidTable({ name, columns, primaryKeys, casing }: TableModel): void {
  if (columns.length === 0) throw unsupported(name, 'it has no columns')

  const keys = [
    ...columns.filter(({ primary }) => primary).map((column) => [column]),
    ...primaryKeys.map((key) => key.columns),
  ].map((key) => JSON.stringify(columnNames(key, casing)))
  if (new Set(keys).size > 1) throw unsupported(name, 'it has more than one primary key')
}

/**
 * The indexes of a table. Uniques are among them, as with drizzle-kit: the index of a UNIQUE constraint has a name of
 * SQLite's making, and no such constraint can be added later.
 */
function indexesOf(table: TableModel): IndexDefinition[] {
  const texts = new Map<string, NamedText>()
  for (const named of [...columnUniques(table), ...ownIndexes(table), ...uniques(table)]) {
    const { name, text } = named
    // A column's unique and an equal index are one, as in drizzle-kit.
    if ((texts.get(name)?.text ?? text) !== text) throw twins(table.name, 'indexes', name)
    texts.set(name, named)
  }
  return [...texts.values()].map(({ text, ...index }) => ({ ...index, create: () => text }))
}

interface NamedText {
  readonly name: string
  readonly text: string
  readonly columns: readonly string[]
  readonly uniqueOn?: readonly string[]
}

function columnUniques(table: TableModel): NamedText[] {
  return table.columns
    .filter(({ isUnique }) => isUnique)
    .map((column) => uniqueText(table, column.uniqueName ?? `${table.name}_${column.name}_unique`, [column]))
}

/** Drizzle names a unique by the keys of its columns, whatever the casing. */
function uniques(table: TableModel): NamedText[] {
  return table.uniqueConstraints.map(({ name, columns }) => {
    const names = columns.map((column) => column.name)
    return uniqueText(table, name ?? `${table.name}_${names.join('_')}_unique`, columns)
  })
}

function uniqueText(table: TableModel, name: string, columns: readonly SQLiteColumn[]): NamedText {
  const text = indexText(table, name, columnList(columns, table.casing), true)
  const names = columnNames(columns, table.casing)
  return { name, text, columns: names, uniqueOn: names }
}

function ownIndexes(table: TableModel): NamedText[] {
  return table.indexes.map(({ config }) => ({
    name: config.name,
    text: ownIndexText(table, config),
    columns: columnNames(columnsIn([config.columns, config.where]), table.casing),
  }))
}

function ownIndexText(table: TableModel, { name, columns, unique, where }: Index['config']): string {
  const context = { owner: table.name, what: `its index "${name}"`, casing: table.casing }
  const list = columns.map((column) =>
    is(column, SQL)
      ? sqlText(column, { ...context, isUnqualified: true })
      : columnList([column], table.casing),
  )
  const text = indexText(table, name, list.join(','), unique)
  return where === undefined ? text : `${text} WHERE ${sqlText(where, context)}`
}

function indexText({ name: table }: TableModel, name: string, list: string, isUnique: boolean): string {
  return `CREATE ${isUnique ? 'UNIQUE INDEX' : 'INDEX'} ${quote(name)} ON ${quote(table)} (${list})`
}
