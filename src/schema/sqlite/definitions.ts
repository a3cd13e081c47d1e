import { is, SQL } from 'drizzle-orm'
import { getTableConfig, type Index, SQLiteTable } from 'drizzle-orm/sqlite-core'
import {
  type ColumnDefinition,
  type Definition,
  defaultText,
  definitionsOf,
  quoteIdentifier,
  type SchemaStatement,
  unsupported,
} from '../definition.ts'

type TableConfig = ReturnType<typeof getTableConfig>
type Column = TableConfig['columns'][number]

/** What the models ask of an SQLite database. */
export function sqliteDefinitions(models: Record<string, unknown>): Definition[] {
  return definitionsOf(models, (value) =>
    is(value, SQLiteTable) ? tableDefinition(getTableConfig(value)) : undefined,
  )
}

function tableDefinition(config: TableConfig): Definition {
  const { name } = config
  for (const [reason, isUsed] of UNSUPPORTED) if (isUsed(config)) throw unsupported(name, reason)

  const table = quote(name)
  const body = [
    ...config.columns.map((column) => columnText(config, column)),
    ...config.primaryKeys.map(
      (key) => `CONSTRAINT ${quote(key.getName())} PRIMARY KEY (${list(key.columns)})`,
    ),
  ]
  const indexes = [
    // As drizzle-kit does it: a unique constraint of SQLite would lose its name.
    ...uniques(config).map(([unique, columns]): [string, string] => [
      unique,
      `CREATE UNIQUE INDEX ${quote(unique)} ON ${table} (${list(columns)})`,
    ]),
    ...config.indexes.map((index): [string, string] => [index.config.name, indexText(config, index)]),
  ]
  const create = `CREATE TABLE ${table} (\n  ${body.join(',\n  ')}\n)`
  return {
    kind: 'table',
    name,
    schema: undefined,
    label: name,
    columns: config.columns.map((column) => columnDefinition(config, column)),
    indexes: indexes.map(([index, text]) => ({ name: index, create: () => text })),
    statements: () => [
      { stage: 'table', text: create },
      ...indexes.map(([, text]): SchemaStatement => ({ stage: 'index', text })),
    ],
  }
}

const UNSUPPORTED: readonly (readonly [string, (config: TableConfig) => boolean])[] = [
  ['it has a foreign key', ({ foreignKeys }) => foreignKeys.length > 0],
  ['it has a check', ({ checks }) => checks.length > 0],
  ['it has a generated column', ({ columns }) => columns.some((column) => column.generated !== undefined)],
]

function columnDefinition(config: TableConfig, column: Column): ColumnDefinition {
  const text = columnText(config, column)
  const isAddable = !column.notNull || column.default !== undefined
  return {
    name: column.name,
    type: column.getSQLType(),
    add: () => (isAddable ? `ALTER TABLE ${quote(config.name)} ADD COLUMN ${text}` : undefined),
  }
}

function columnText({ name: table }: TableConfig, column: Column): string {
  let text = `${quote(column.name)} ${column.getSQLType()}`
  if (column.primary) text += ' PRIMARY KEY'
  if ('autoIncrement' in column && column.autoIncrement === true) text += ' AUTOINCREMENT'
  if (column.default !== undefined) {
    const value = defaultText(column)
    if (value === undefined)
      throw unsupported(table, `the default of its column "${column.name}" is no plain value`)
    text += ` DEFAULT ${value}`
  }
  if (column.notNull) text += ' NOT NULL'
  return text
}

function uniques({ name, columns, uniqueConstraints }: TableConfig): [string, readonly { name: string }[]][] {
  return [
    ...columns
      .filter(({ isUnique }) => isUnique)
      .map((column): [string, Column[]] => [column.uniqueName ?? `${name}_${column.name}_unique`, [column]]),
    ...uniqueConstraints.map((unique): [string, Column[]] => [
      unique.getName() ?? `${name}_${unique.columns.map((column) => column.name).join('_')}_unique`,
      unique.columns,
    ]),
  ]
}

function indexText({ name: table }: TableConfig, { config }: Index): string {
  const { name, unique, columns, where } = config
  if (where !== undefined) throw unsupported(table, `its index "${name}" is a partial one`)

  const names = columns.map((column) => {
    if (is(column, SQL)) throw unsupported(table, `its index "${name}" is not over plain columns`)
    return quote(column.name)
  })
  return `CREATE ${unique ? 'UNIQUE INDEX' : 'INDEX'} ${quote(name)} ON ${quote(table)} (${names.join(', ')})`
}

function list(columns: readonly { readonly name: string }[]): string {
  return columns.map(({ name }) => quote(name)).join(', ')
}

/** SQLite sets no limit to a name but the length of a statement. */
function quote(name: string): string {
  return quoteIdentifier(name, Number.POSITIVE_INFINITY)
}
