import { is, SQL } from 'drizzle-orm'
import { drawsFrom } from '../../models/mysql-sequence.ts'
import { type ColumnDefinition, type SchemaStatement, unsupported } from '../definition.ts'
import { generatedText } from '../expression.ts'
import { columnName } from '../names.ts'
import { behindParentheses, isNull } from '../text.ts'
import { checks, references } from './constraints.ts'
import { type Column, type Flavor, isAutoIncrement, type TableModel } from './model.ts'
import { sequenceCalled } from './objects.ts'
import { additionText, ddlText, literal, operand, qualified, quote, waiting } from './text.ts'
import { type ColumnType, columnType } from './types.ts'

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
  // MariaDB rejects AUTO_INCREMENT behind serial, which includes it.
  const isSerial = /^serial$/i.test(type.text)
  const typeText = isSerial && !isCounting ? 'bigint unsigned' : type.text

  let text = `${quote(columnName(column, table.casing))} ${typeText}`
  if (isCounting && !isSerial) text += ' AUTO_INCREMENT'
  text += generatedText(table, column, ddlText)
  if (isNotNull(table, column)) text += ' NOT NULL'
  // With explicit_defaults_for_timestamp off, a timestamp is NOT NULL by default.
  else if (/^timestamp\b/i.test(typeText) && column.generated === undefined) text += ' NULL'

  const value =
    sequence === undefined ? defaultText(table, column, type) : `nextval(${sequenceCalled(sequence)})`
  if (value !== undefined) text += ` DEFAULT ${value}`
  if (Reflect.get(column, 'hasOnUpdateNow') === true) {
    text += ` ON UPDATE CURRENT_TIMESTAMP${/\(\d\)/.exec(typeText)?.[0] ?? ''}`
  }
  return text
}

/** MariaDB has no NOT NULL for generated columns. */
function isNotNull({ flavor, primaryKeys }: TableModel, column: Column): boolean {
  const isInKey = primaryKeys.some(({ columns }) => columns.some(({ name }) => name === column.name))
  return (column.notNull || isInKey) && (column.generated === undefined || flavor === 'mysql')
}

/**
 * The statement that adds a column, with its own checks and foreign keys, to a table with rows: one statement, since
 * MySQL runs it as a whole or not at all. Undefined if existing rows would violate it, or if a constraint over several
 * columns would be missing afterwards. Its uniques are added as indexes.
 */
function addColumn(
  table: TableModel,
  column: Column,
  columnText: string,
): readonly SchemaStatement[] | undefined {
  const name = columnName(column, table.casing)
  const isOwn = ({ columns }: { readonly columns: readonly string[] }) => columns.includes(name)
  const referring = references(table).filter(isOwn)
  const own = [...checks(table).filter(isOwn), ...referring]

  const isInKey = table.primaryKeys.some(({ columns }) => columns.some((each) => each.name === column.name))
  if (column.primary || isInKey || isAutoIncrement(column)) return undefined
  if (own.some(({ columns }) => columns.length > 1)) return undefined
  if (CONSTRAINTS.test(column.getSQLType())) return undefined

  const filled = valueOfExistingRows(table, column)
  // MySQL would fill in an implicit value.
  if (filled === 'none' && column.notNull) return undefined
  if (filled === 'one' && (isUnique(table, column) || referring.length > 0)) return undefined

  const parts = [`COLUMN ${columnText}`, ...own.map(({ text }) => `CONSTRAINT ${text}`)]
  return [
    {
      stage: column.generated === undefined ? 'column' : 'generated column',
      text: additionText(table.flavor, qualified(table.schema, table.name), parts),
    },
  ]
}

/** Whether the values of this column must be unique. */
function isUnique({ uniqueConstraints, indexes }: TableModel, column: Column): boolean {
  const uniques = [
    ...uniqueConstraints.map(({ columns }) => columns),
    ...indexes.flatMap(({ config }) => (config.unique ? [config.columns] : [])),
  ]
  return column.isUnique || uniques.some((columns) => columns.length === 1 && columns[0] === column)
}

/** What existing rows get: no value, one value for all, or a value each. */
function valueOfExistingRows(table: TableModel, column: Column): 'none' | 'one' | 'each' {
  if (column.generated !== undefined) return 'each'
  if (table.flavor === 'mariadb' && drawsFrom(column) !== undefined) return 'each'
  const text = defaultText(table, column, columnType(column))
  if (text === undefined || isNull(text)) return 'none'
  return is(column.default, SQL) && DIFFERING.test(text) ? 'each' : 'one'
}

/** Volatile functions: evaluated per row. */
const DIFFERING = /\b(?:uuid|uuid_short|rand|random_bytes|sys_guid|nextval)\s*\(|\bnext\s+value\b/i

/** Whether a custom type contains a constraint, as `text not null` does. */
const CONSTRAINTS =
  /\s(?:constraint|default|null|not|primary|unique|key|check|references|generated|as|auto_increment|on)\b/i

/** The text behind DEFAULT; undefined for a column without one. */
function defaultText(
  { name: table, casing }: TableModel,
  column: Column,
  type: ColumnType,
): string | undefined {
  const value: unknown = column.default
  if (value === undefined) return undefined

  const what = `the default of its column "${column.name}"`
  const sent = is(value, SQL) ? value : valueSent(table, what, column, value)
  if (is(sent, SQL)) {
    return expression(ddlText(sent, { owner: table, what, casing, isUnqualified: true }).trim(), type)
  }
  const isExpression = sent !== null && TAKES_NO_LITERAL.test(type.text)
  const text = isExpression ? operand(sent) : literal(sent)
  if (text === undefined) throw unsupported(table, `${what} cannot be written down`)
  return isExpression ? `(${text})` : text
}

/** MySQL takes only an expression as the default of these types. */
const TAKES_NO_LITERAL = /^(?:tiny|medium|long)?(?:text|blob)\b|^json\b/i

const TAKES_NOW = /^(?:datetime|timestamp)\b/i
const NOW =
  /^(?:current_timestamp|now|localtime|localtimestamp)(?:\s*\(\s*\d*\s*\))?(?:\s+on\s+update\s.*)?$/i
const LITERAL =
  /^(?:[+-]?\s*(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|(?:_\w+\s*)?(?:[xbn]?'(?:[^'\\]|'')*')|0x[\da-f]+|null|true|false)$/i

/** MySQL requires parentheses, except around a literal, or the current time for a column of times. */
function expression(text: string, type: ColumnType): string {
  const isBare = NOW.test(text)
    ? TAKES_NOW.test(type.text)
    : LITERAL.test(text) && (isNull(text) || !TAKES_NO_LITERAL.test(type.text))
  return isBare || isParenthesised(text) ? text : `(${text})`
}

/** Whether the first parenthesis is closed by the last; a default may go on behind it with `on update`. */
export function isParenthesised(text: string): boolean {
  const bare = text.replace(/'(?:[^'\\]|''|\\.)*'|"(?:[^"\\]|""|\\.)*"|`(?:[^`]|``)*`/gs, "''")
  const rest = behindParentheses(bare)
  return rest !== undefined && /^(?:\s+on\s+update\s.*)?$/is.test(rest)
}

/** The value as an insert sends it, cut to the precision of the column. */
function valueSent(table: string, what: string, column: Column, value: unknown): unknown {
  const type = column.getSQLType().toLowerCase()
  if (value === null) return null
  if (type === 'json') return jsonText(table, what, value)

  let sent: unknown
  try {
    sent = typeof column.mapToDriverValue === 'function' ? column.mapToDriverValue(value) : value
  } catch (error) {
    throw unsupported(table, `${what} cannot be converted (${error})`)
  }
  const text = sent instanceof Date ? sent.toISOString().slice(0, -1).replace('T', ' ') : sent
  if (!(value instanceof Date) || typeof text !== 'string') return text
  if (type === 'date') return text.slice(0, 'YYYY-MM-DD'.length)
  return TAKES_NOW.test(type) ? withDigits(text, Number(/\((\d)\)/.exec(type)?.[1] ?? 0)) : text
}

function jsonText(table: string, what: string, value: unknown): string {
  try {
    const text: unknown = JSON.stringify(value)
    if (typeof text === 'string') return text
  } catch {
    // Says the same as what follows.
  }
  throw unsupported(table, `${what} is no JSON`)
}

/** A time with so many digits of its second. MySQL rounds what is beyond, MariaDB cuts it off. */
function withDigits(text: string, digits: number): string {
  const [seconds = '', fraction = ''] = text.split('.')
  return digits === 0 ? seconds : `${seconds}.${fraction.slice(0, digits)}`
}

/** Whether the types differ in size only and `expected` is the larger one, so that every existing value fits. */
export function isWider(found: string, expected: string): boolean {
  const sizes = SIZES.find((family) => family.includes(found) && family.includes(expected))
  if (sizes !== undefined) return sizes.indexOf(expected) > sizes.indexOf(found)

  const [, name, length = '0'] = SIZED.exec(found) ?? []
  const [, other, wanted = '0'] = SIZED.exec(expected) ?? []
  return name !== undefined && name === other && Number(wanted) > Number(length)
}

const SIZES: readonly (readonly string[])[] = [
  ['tinyblob', 'blob', 'mediumblob', 'longblob'],
  ['tinytext', 'text', 'mediumtext', 'longtext'],
]

/** A length in characters or bytes, or how many digits a second has. */
const SIZED = /^(varchar|varbinary|datetime|timestamp|time)(?:\((\d+)\))?$/

/** Changes the type of a column; `type` must repeat the attributes that stay. */
export function widenText(flavor: Flavor, table: string, column: string, type: string): string {
  return `ALTER TABLE ${table}${waiting(flavor)} MODIFY COLUMN ${column} ${type}`
}
