import { is } from 'drizzle-orm'
import {
  getTableConfig,
  type Index,
  IndexedColumn,
  isPgEnum,
  isPgSequence,
  PgPolicy,
  PgRole,
  PgSchema,
  type PgSequence,
  PgTable,
} from 'drizzle-orm/pg-core'
import {
  type ColumnDefinition,
  type Definition,
  defaultText,
  definitionsOf,
  type IndexDefinition,
  quoteIdentifier,
  type SchemaStatement,
  unsupported,
} from '../definition.ts'

type TableConfig = ReturnType<typeof getTableConfig>
type Column = TableConfig['columns'][number]

/** PostgreSQL cuts longer identifiers short in silence. */
const MAX_NAME_BYTES = 63

/** What the models ask of a PostgreSQL database. */
export function postgresqlDefinitions(models: Record<string, unknown>): Definition[] {
  return definitionsOf(models, (value, name) => {
    if (is(value, PgTable)) return tableDefinition(getTableConfig(value))
    if (isPgSequence(value)) return sequenceDefinition(value, name)
    if (isPgEnum(value)) throw unsupported(name, 'it is an enum')
    if (is(value, PgSchema)) throw unsupported(name, 'it is a schema')
    if (is(value, PgRole)) throw unsupported(name, 'it is a role')
    if (is(value, PgPolicy)) throw unsupported(name, 'it is a policy')
    return undefined
  })
}

/** Quotes an identifier for PostgreSQL. */
export function quote(name: string): string {
  return quoteIdentifier(name, MAX_NAME_BYTES)
}

function tableDefinition(config: TableConfig): Definition {
  const { name, schema } = config
  for (const [reason, isUsed] of UNSUPPORTED) if (isUsed(config)) throw unsupported(name, reason)

  // Written down at once, so that whatever cannot be written is refused before any statement is sent.
  const body = [
    ...config.columns.map((column) => columnText(config, column)),
    ...config.primaryKeys.map(
      (key) => `CONSTRAINT ${quote(key.getName())} PRIMARY KEY (${list(key.columns)})`,
    ),
    ...uniques(config).map(([unique, columns]) => `CONSTRAINT ${quote(unique)} UNIQUE (${list(columns)})`),
  ].join(',\n  ')
  const indexes = config.indexes.map((index) => indexDefinition(config, index))
  const columns = config.columns.map((column) => columnDefinition(config, column))
  qualified(schema, name)

  return {
    kind: 'table',
    name,
    schema,
    label: label(schema, name),
    columns,
    indexes,
    statements(place) {
      const table = qualified(schema ?? place, name)
      return [
        { stage: 'table', text: `CREATE TABLE ${table} (\n  ${body}\n)` },
        ...indexes.map((index): SchemaStatement => ({ stage: 'index', text: index.create(place) })),
      ]
    },
  }
}

const UNSUPPORTED: readonly (readonly [string, (config: TableConfig) => boolean])[] = [
  ['it has a foreign key', ({ foreignKeys }) => foreignKeys.length > 0],
  ['it has a check', ({ checks }) => checks.length > 0],
  ['it has row-level security', ({ enableRLS, policies }) => enableRLS || policies.length > 0],
  ['it has a generated column', ({ columns }) => columns.some((column) => column.generated !== undefined)],
  [
    'it has an identity column',
    ({ columns }) => columns.some((column) => column.generatedIdentity !== undefined),
  ],
  ['it has a column of an enum type', ({ columns }) => columns.some(isOfEnum)],
  [
    'it has a unique constraint with NULLS NOT DISTINCT',
    ({ columns, uniqueConstraints }) =>
      columns.some(({ uniqueType }) => uniqueType === 'not distinct') ||
      uniqueConstraints.some(({ nullsNotDistinct }) => nullsNotDistinct),
  ],
]

/** Also an array of an enum, whose elements 0.45 describes in `baseColumn`. */
function isOfEnum(column: object): boolean {
  if ('enum' in column && column.enum !== undefined) return true
  return 'baseColumn' in column && typeof column.baseColumn === 'object' && column.baseColumn !== null
    ? isOfEnum(column.baseColumn)
    : false
}

function columnText({ name: table }: TableConfig, column: Column): string {
  let text = `${quote(column.name)} ${column.getSQLType()}`
  if (column.default !== undefined) {
    const value = defaultText(column)
    if (value === undefined)
      throw unsupported(table, `the default of its column "${column.name}" is no plain value`)
    text += ` DEFAULT ${value}`
  }
  if (column.primary) text += ' PRIMARY KEY'
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

function columnDefinition(config: TableConfig, column: Column): ColumnDefinition {
  const text = columnText(config, column)
  const isAddable = !column.notNull || column.default !== undefined
  return {
    name: column.name,
    type: column.getSQLType(),
    add: (place) =>
      isAddable
        ? `ALTER TABLE ${qualified(config.schema ?? place, config.name)} ADD COLUMN ${text}`
        : undefined,
  }
}

function indexDefinition({ name: table, schema }: TableConfig, { config }: Index): IndexDefinition {
  const { name, unique, columns, method, where, only } = config
  if (name === undefined) throw unsupported(table, 'it has an index without a name')

  const names: string[] = []
  for (const column of columns) {
    if (!is(column, IndexedColumn) || column.name === undefined || !isPlain(column.indexConfig)) {
      throw unsupported(table, `its index "${name}" is not over plain columns`)
    }
    names.push(quote(column.name))
  }
  if ((method ?? 'btree') !== 'btree' || only || where !== undefined || config.with !== undefined) {
    throw unsupported(table, `its index "${name}" is not a plain one`)
  }
  const head = `CREATE ${unique ? 'UNIQUE INDEX' : 'INDEX'} ${quote(name)}`
  return {
    name,
    create: (place) => `${head} ON ${qualified(schema ?? place, table)} (${names.join(', ')})`,
  }
}

function isPlain(config: { order?: string; nulls?: string; opClass?: string } | undefined): boolean {
  const { order = 'asc', nulls = 'last', opClass } = config ?? {}
  return order === 'asc' && nulls === 'last' && opClass === undefined
}

function sequenceDefinition({ seqName: name, schema, seqOptions }: PgSequence, key: string): Definition {
  if (name === undefined) throw unsupported(key, 'it is a sequence without a name')
  if (seqOptions !== undefined && Object.keys(seqOptions).length > 0) {
    throw unsupported(name, 'it is a sequence with options')
  }

  qualified(schema, name)
  return {
    kind: 'sequence',
    name,
    schema,
    label: label(schema, name),
    columns: [],
    indexes: [],
    statements: (place) => [
      { stage: 'sequence', text: `CREATE SEQUENCE ${qualified(schema ?? place, name)}` },
    ],
  }
}

function qualified(schema: string | undefined, name: string): string {
  return schema === undefined ? quote(name) : `${quote(schema)}.${quote(name)}`
}

function list(columns: readonly { readonly name: string }[]): string {
  return columns.map(({ name }) => quote(name)).join(', ')
}

function label(schema: string | undefined, name: string): string {
  return schema === undefined ? name : `${schema}.${name}`
}
