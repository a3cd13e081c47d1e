import { is } from 'drizzle-orm'
import { MySqlCustomColumn } from 'drizzle-orm/mysql-core'
import type { Column } from './model.ts'
import { enumValue, quote } from './text.ts'

export interface ColumnType {
  /** As a statement writes it. */
  readonly text: string
  /** The catalogue's type in the form of `catalogueType`; undefined if we cannot tell. */
  readonly catalogue: string | undefined
}

export function columnType(column: Column): ColumnType {
  const type = column.getSQLType()
  const values = enumValues(column, type)
  if (values !== undefined) {
    const text = `enum(${values.map(enumValue).join(',')})`
    return { text: text + characters(column), catalogue: enumType(values) }
  }
  // A custom type may say anything, also an ENUM or a constraint.
  const catalogue = is(column, MySqlCustomColumn) && /^(?:enum|set)\b/i.test(type) ? undefined : type
  return {
    text: type + characters(column),
    catalogue: catalogue === undefined ? undefined : catalogueType(catalogue),
  }
}

/** Of an ENUM: Drizzle writes its values without escaping their quotes. A text may have such values, too. */
function enumValues(column: Column, type: string): readonly string[] | undefined {
  return type.startsWith('enum(') && !is(column, MySqlCustomColumn) ? column.enumValues : undefined
}

/** The character set and the collation that Drizzle 1.0 lets a column have. */
function characters(column: Column): string {
  return (
    words('CHARACTER SET', Reflect.get(column, 'charSet')) +
    words('COLLATE', Reflect.get(column, 'collation'))
  )
}

function words(lead: string, name: unknown): string {
  return typeof name === 'string' ? ` ${lead} ${quote(name)}` : ''
}

/**
 * A type in one form, from a model or a catalogue: MariaDB writes `int(11)` where MySQL writes `int`, and both have several
 * names for one type. Undefined for text that is not understood.
 */
export function catalogueType(text: string): string | undefined {
  if (/^(?:enum|set)\s*\(/i.test(text)) return text.replace(CHARACTERS, '')
  const [, name = '', first = '', second = '', attributes = ''] =
    TYPE.exec(text.replace(CHARACTERS, '')) ?? []
  if (name === '') return undefined
  const words = name.toLowerCase().replace(/\s+/g, ' ')
  const written = (TYPES.get(words) ?? named(words))(first, second)
  return written === undefined ? undefined : written + sign(attributes.toLowerCase())
}

/** An ENUM as the catalogue writes it. */
function enumType(values: readonly string[]): string {
  return `enum(${values.map((value) => `'${escaped(value)}'`).join(',')})`
}

function escaped(value: string): string {
  return value
    .replace(/ +$/, '')
    .replaceAll('\\', '\\\\')
    .replaceAll("'", "''")
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replaceAll('\0', '\\0')
}

/** `name (first, second) unsigned zerofill` */
const TYPE =
  /^\s*([a-z][a-z\d_]*(?:\s+(?:precision|varying))?)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?((?:\s+(?:unsigned|signed|zerofill))*)\s*$/i

const CHARACTERS = /(?:\s+(?:character\s+set|charset|collate)\s+\w+)+\s*$/i

/** ZEROFILL implies UNSIGNED. */
function sign(attributes: string): string {
  if (attributes.includes('zerofill')) return ' unsigned zerofill'
  return attributes.includes('unsigned') ? ' unsigned' : ''
}

type Write = (first: string, second: string) => string | undefined

const named =
  (name: string): Write =>
  (first, second) =>
    first === '' ? name : `${name}(${second === '' ? first : `${first},${second}`})`

/** Its length is a display width, which does not matter. */
const plain =
  (name: string): Write =>
  () =>
    name

/** One character or bit by default. */
const counted =
  (name: string): Write =>
  (first) =>
    `${name}(${first || 1})`

const timed =
  (name: string): Write =>
  (first) =>
    first === '' || first === '0' ? name : `${name}(${first})`

/** With a length it becomes the smallest type that holds it, so the type is unknown here. */
const sized =
  (name: string): Write =>
  (first) =>
    first === '' ? name : undefined

const decimal: Write = (first, second) => `decimal(${first || 10},${second || 0})`

const float: Write = (first, second) => {
  if (second !== '') return `float(${first},${second})`
  return Number(first) > 24 ? 'double' : 'float'
}

const double: Write = (first, second) => (second === '' ? 'double' : `double(${first},${second})`)

const TYPES = new Map<string, Write>([
  ...names(plain('tinyint'), 'tinyint', 'boolean', 'bool', 'int1'),
  ...names(plain('smallint'), 'smallint', 'int2'),
  ...names(plain('mediumint'), 'mediumint', 'middleint', 'int3'),
  ...names(plain('int'), 'int', 'integer', 'int4'),
  ...names(plain('bigint'), 'bigint', 'int8'),
  ...names(plain('bigint unsigned'), 'serial'),
  ...names(plain('year'), 'year'),
  ...names(decimal, 'decimal', 'dec', 'numeric', 'fixed'),
  ...names(float, 'float', 'float4'),
  ...names(double, 'double', 'double precision', 'real', 'float8'),
  ...names(counted('char'), 'char', 'character', 'nchar'),
  ...names(counted('binary'), 'binary'),
  ...names(counted('bit'), 'bit'),
  ...names(named('varchar'), 'varchar', 'character varying', 'char varying', 'nvarchar', 'varcharacter'),
  ...names(named('varbinary'), 'varbinary'),
  ...names(timed('datetime'), 'datetime'),
  ...names(timed('timestamp'), 'timestamp'),
  ...names(timed('time'), 'time'),
  ...names(sized('text'), 'text'),
  ...names(sized('blob'), 'blob'),
])

function names(write: Write, ...aliases: string[]): [string, Write][] {
  return aliases.map((alias) => [alias, write])
}
