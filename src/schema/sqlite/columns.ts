import { is, SQL } from 'drizzle-orm'
import {
  type Check,
  SQLiteBlobJson,
  SQLiteBoolean,
  type SQLiteColumn,
  SQLiteNumericBigInt,
  SQLiteNumericNumber,
  SQLiteTextJson,
} from 'drizzle-orm/sqlite-core'
import { type ColumnDefinition, type SchemaStatement, unsupported } from '../definition.ts'
import { generatedText, mentions } from '../expression.ts'
import { columnName } from '../names.ts'
import { behindParentheses, isNull } from '../text.ts'
import { checkText, checkValue, foreignKeysOf, named, referencesText } from './constraints.ts'
import { constantText, literal, quote, sqlText, type TableModel } from './model.ts'

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
  text += generatedText(table, column, sqlText)
  if (column.notNull) text += ' NOT NULL'
  return text
}

/**
 * The statement that adds a column, with its own foreign keys and checks, to a table with rows. Undefined if SQLite
 * rejects it, or if a constraint over several columns would be missing afterwards.
 */
function addColumn(
  table: TableModel,
  column: SQLiteColumn,
  columnText: string,
): readonly SchemaStatement[] | undefined {
  const isKey = column.primary || table.primaryKeys.some(({ columns }) => columns.includes(column))
  const isStored = column.generated?.mode === 'stored'
  if (isKey || isStored || hasConstraints(column.getSQLType())) return undefined

  const value = defaultText(table.name, column)
  if (value !== undefined && !isConstant(value)) return undefined
  const isEmpty = value === undefined || isNull(value)
  if (isEmpty && column.notNull && column.generated === undefined) return undefined

  // Every row would get the same value.
  if (!isEmpty && isUnique(table, column)) return undefined

  const references = referencesOf(table, column)
  const checks = checksOf(table, column)
  if (references === undefined || checks === undefined) return undefined
  // SQLite rejects it while foreign keys are on, since the default may refer to no row.
  if (references.length > 0 && !isEmpty) return undefined
  const text = [`ALTER TABLE ${quote(table.name)} ADD COLUMN ${columnText}`, ...references, ...checks].join(
    ' ',
  )
  return [{ stage: column.generated === undefined ? 'column' : 'generated column', text }]
}

/** Whether the values of this column must be unique. */
function isUnique(table: TableModel, column: SQLiteColumn): boolean {
  const uniques = [
    ...table.uniqueConstraints.map(({ columns }) => columns),
    ...table.indexes.flatMap(({ config }) => (config.unique && !config.where ? [config.columns] : [])),
  ]
  return column.isUnique || uniques.some((columns) => columns.length === 1 && columns[0] === column)
}

/** The foreign keys of this column alone; undefined if it shares one. */
function referencesOf(table: TableModel, column: SQLiteColumn): string[] | undefined {
  const keys = foreignKeysOf(table).filter((key) => key.reference().columns.includes(column))
  return keys.some((key) => key.reference().columns.length > 1)
    ? undefined
    : keys.map((key) => named(key.reference().name) + referencesText(table, key))
}

/** The checks of this column alone; undefined if it shares one. */
function checksOf(table: TableModel, column: SQLiteColumn): string[] | undefined {
  const isAbout = (check: Check, each: SQLiteColumn) =>
    mentions(checkValue(table, check, { isUnqualified: true }), columnName(each, table.casing))

  const checks = table.checks.filter((check) => isAbout(check, column))
  const others = table.columns.filter((other) => other !== column)
  return checks.some((check) => others.some((other) => isAbout(check, other)))
    ? undefined
    : checks.map((check) => checkText(table, check))
}

/**
 * The text behind DEFAULT; undefined for a column without one. It is drizzle-kit's text if Drizzle reads that back as
 * the model's value, else what Drizzle would send: for dates, bytes, null and custom types.
 */
function defaultText(table: string, column: SQLiteColumn): string | undefined {
  const value: unknown = column.default
  if (value === undefined) return undefined

  const what = `the default of its column "${column.name}"`
  let sent: unknown
  try {
    sent = is(value, SQL) ? value : valueSent(column, value)
  } catch (error) {
    throw unsupported(table, `${what} cannot be converted (${error})`)
  }
  if (is(sent, SQL)) return expression(constantText(sent, { owner: table, what }).trim())

  const text = literal(sent)
  if (text === undefined) throw unsupported(table, `${what} is no plain value`)
  return text
}

/** Whether a column with this default can be added to a table with rows: SQLite runs no expression for them. */
function isConstant(text: string): boolean {
  return CONSTANT.test(text)
}

const NUMBER = String.raw`[+-]?\s*(?:0x[\da-f]+|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)`
const QUOTED = `x?'(?:[^']|'')*'`
const CONSTANT = new RegExp(String.raw`^[(\s]*(?:${NUMBER}|${QUOTED}|null|true|false)[)\s]*$`, 'i')

/** What SQLite takes without parentheses: a literal, or one word. */
const BARE = new RegExp(String.raw`^(?:${NUMBER}|${QUOTED}|"(?:[^"]|"")*"|[a-z_]\w*)$`, 'i')

function expression(text: string): string {
  return BARE.test(text) || isParenthesised(text) ? text : `(${text})`
}

/** Whether the first parenthesis is closed by the last. */
function isParenthesised(text: string): boolean {
  const bare = text.replace(/'(?:[^']|'')*'|"(?:[^"]|"")*"/g, '""')
  return behindParentheses(bare) === ''
}

function valueSent(column: SQLiteColumn, value: unknown): unknown {
  if (is(column, SQLiteTextJson)) return typeof value === 'number' ? value : JSON.stringify(value)
  if (is(column, SQLiteBlobJson)) return JSON.stringify(value)
  return value === null || WRITTEN_AS_THEY_ARE.some((type) => is(column, type))
    ? value
    : column.mapToDriverValue(value)
}

/** Drizzle sends 1 for true and text for a number, which SQLite stores as the same values. */
const WRITTEN_AS_THEY_ARE = [SQLiteBoolean, SQLiteNumericNumber, SQLiteNumericBigInt]

/**
 * A type as `pragma table_info` gives it, in upper case: SQLite gives back `INTEGER` for `integer` but `numeric` as it
 * was written, and to it case makes no difference, so the catalogue's is to be compared in upper case too. Undefined
 * for text that is not understood.
 */
function declaredType(type: string): string | undefined {
  // Of a type that begins with a quote SQLite keeps what is in the quotes, and nothing else.
  const [, double, single, tick, bracket] = QUOTED_TYPE.exec(type) ?? []
  const quoted =
    double?.replaceAll('""', '"') ?? single?.replaceAll("''", "'") ?? tick?.replaceAll('``', '`') ?? bracket
  if (quoted !== undefined) return quoted.toUpperCase()
  return /--|\/\*/.test(type) ? undefined : type.replace(CONSTRAINTS, '').trim().toUpperCase()
}

/** Whether a custom type contains a constraint, as `text not null` does; a collation is none. */
function hasConstraints(type: string): boolean {
  const constraints = CONSTRAINTS.exec(type.replace(QUOTED_TYPE, ''))
  return constraints !== null && !/^\s*collate\s+\S+\s*$/i.test(constraints[0])
}

const CONSTRAINTS =
  /(?:^|\s+)(?:constraint|default|null|not|primary|unique|check|references|collate|generated|as)\b.*$/is

const QUOTED_TYPE = /^\s*(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)'|`((?:[^`]|``)*)`|\[([^\]]*)\])/
