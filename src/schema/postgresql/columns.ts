import { is, SQL } from 'drizzle-orm'
import { IndexedColumn, type PgColumn } from 'drizzle-orm/pg-core'
import { type ColumnDefinition, type SchemaStatement, type StoredName, unsupported } from '../definition.ts'
import { generatedText } from '../expression.ts'
import { type Casing, columnName, isDrizzle1 } from '../names.ts'
import { checks, foreignKeys, uniques } from './constraints.ts'
import type { Column, TableModel } from './model.ts'
import { sequenceOptions } from './objects.ts'
import { ddlText, literal, qualified, quote, storedColumnName, storedName } from './text.ts'
import { type ColumnType, columnType } from './types.ts'

export function columnDefinition(model: TableModel, column: Column): ColumnDefinition {
  return {
    name: storedColumnName(column, model.casing),
    type: columnType(column).catalogue,
    add(defaultSchema) {
      const home = model.config.schema ?? defaultSchema
      return addColumn(model, column, columnText(model, column, home), home)
    },
  }
}

/** A column of a CREATE TABLE in `schema`. */
export function columnText(model: TableModel, column: Column, schema: string | undefined): string {
  const { config, casing } = model
  const type = columnType(column)
  const value = defaultText(config.name, column, type, casing)

  let text = `${quote(columnName(column, casing))} ${type.text}`
  if (value !== undefined) text += ` DEFAULT ${value}`
  text += generatedText({ name: config.name, casing }, column, ddlText, 'stored')
  text += identityText(model, column, schema)
  if (column.primary) text += ' PRIMARY KEY'
  if (column.notNull) text += ' NOT NULL'
  return text
}

function identityText(model: TableModel, column: Column, schema: string | undefined): string {
  const { generatedIdentity: identity } = column
  const stored = identityName(model, column)
  if (identity === undefined || stored === undefined) return ''

  const { type, sequenceOptions: options = {} } = identity
  // drizzle-kit gives every descending one the range of a smallint.
  const isDescending = Number(options.increment ?? 1) < 0
  const least = isDescending && options.minValue === undefined ? { minValue: -32768 } : {}
  const parts = [`SEQUENCE NAME ${qualified(schema, stored.name)}`]
  parts.push(...sequenceOptions(model.config.name, { ...options, ...least }))
  return ` GENERATED ${type === 'always' ? 'ALWAYS' : 'BY DEFAULT'} AS IDENTITY (${parts.join(' ')})`
}

/** What the sequence of an identity is called. */
export function identityName(
  { config, casing }: TableModel,
  column: Column,
): (StoredName & { readonly isDerived: boolean }) | undefined {
  const { generatedIdentity: identity } = column
  if (identity === undefined) return undefined
  const { sequenceName: chosen } = identity
  const name = chosen ?? `${config.name}_${columnName(column, casing)}_seq`
  return { ...storedName(name), isDerived: chosen === undefined }
}

/**
 * The statements that add a column, with its own constraints, to a table with rows. Undefined if existing rows would
 * violate it, or if a constraint over several columns would be missing afterwards.
 */
function addColumn(
  model: TableModel,
  column: Column,
  columnText: string,
  home: string | undefined,
): readonly SchemaStatement[] | undefined {
  const { config, casing } = model
  const name = storedColumnName(column, casing)
  const isOwn = ({ columns }: { readonly columns: readonly string[] }) => columns.includes(name)
  const unique = uniques(model).filter(isOwn)
  const checked = checks(model).filter(isOwn)
  const references = foreignKeys(model).filter(isOwn)

  // A primary key cannot be added with a column.
  if (
    column.primary ||
    config.primaryKeys.some(({ columns }) => columns.some((each) => each.name === column.name))
  )
    return undefined
  if ([...unique, ...checked, ...references].some(({ columns }) => columns.length > 1)) return undefined
  if (hasConstraints(columnType(column).text)) return undefined

  const filled = valueOfExistingRows(model, column)
  if (filled === 'none' && column.notNull) return undefined
  const isUnique = unique.length > 0 || hasUniqueIndex(model, column)
  if (filled === 'one' && (isUnique || references.length > 0)) return undefined
  if (filled === 'none' && unique.some(({ isStrict }) => isStrict)) return undefined

  const target = qualified(home, config.name)
  const inline = [...unique.map(({ inline }) => inline), ...checked.map(({ text }) => text)]
  const parts = [columnText, ...inline.map((text) => `CONSTRAINT ${text}`)]
  return [
    {
      stage: column.generated === undefined ? 'column' : 'generated column',
      text: `ALTER TABLE ${target} ADD COLUMN ${parts.join(' ')}`,
    },
    ...references.map(
      ({ text }): SchemaStatement => ({
        stage: 'foreign key',
        text: `ALTER TABLE ${target} ADD CONSTRAINT ${text}`,
      }),
    ),
  ]
}

function hasUniqueIndex({ config }: TableModel, { name }: Column): boolean {
  return config.indexes.some(({ config: { unique, where, columns } }) => {
    const [first, second] = columns
    return (
      unique && where === undefined && second === undefined && is(first, IndexedColumn) && first.name === name
    )
  })
}

/** What existing rows get: no value, one value for all, or a value each. */
function valueOfExistingRows({ config, casing }: TableModel, column: Column): 'none' | 'one' | 'each' {
  if (column.generated !== undefined || column.generatedIdentity !== undefined) return 'each'
  if (/^(?:small|big)?serial/i.test(column.getSQLType())) return 'each'

  const text = defaultText(config.name, column, columnType(column), casing)
  if (text === undefined || /^[(\s]*null\b/i.test(text)) return 'none'
  return is(column.default, SQL) && DIFFERING.test(text) ? 'each' : 'one'
}

/** Volatile functions: evaluated per row. */
const DIFFERING = /\b(?:nextval|random|gen_random_uuid|uuid_generate_v\w+|uuidv[47])"?\s*\(/i

/** Whether a custom type contains a constraint, as `text not null` does. */
function hasConstraints(type: string): boolean {
  return CONSTRAINTS.test(type.replace(/"(?:[^"]|"")*"/g, '""'))
}

const CONSTRAINTS = /\s(?:constraint|default|null|not|primary|unique|check|references|generated)\b/i

/** The text behind DEFAULT; undefined for a column without one. */
function defaultText(
  table: string,
  column: PgColumn,
  type: ColumnType,
  casing: Casing | undefined,
): string | undefined {
  const what = `the default of its column "${column.name}"`
  const value: unknown = column.default
  if (value === undefined) return undefined
  if (is(value, SQL)) return ddlText(value, { owner: table, what, casing, isUnqualified: true })

  const text = type.dimensions > 0 ? arrayText(column, type, value) : valueText(column, value)
  if (text === undefined) throw unsupported(table, `${what} cannot be written down`)
  return text
}

function valueText(column: PgColumn, value: unknown): string | undefined {
  if (isJson(column)) {
    const json = jsonText(value)
    return json === undefined ? undefined : literal(json)
  }
  const mapped = toDriver(column, value)
  // A number that its column sends as text is still written as the number that it is, as drizzle-kit does.
  return literal(String(mapped) === String(value) ? value : mapped)
}

function isJson(column: PgColumn): boolean {
  return /^jsonb?$/.test(column.getSQLType())
}

/** Text that is valid JSON is used as it is, as drizzle-kit does before 1.0. */
function jsonText(value: unknown): string | undefined {
  if (typeof value !== 'string' || isDrizzle1) return attempt(() => JSON.stringify(value))
  return attempt(() => JSON.parse(value)) === undefined ? JSON.stringify(value) : value
}

/** The value as an insert sends it; unchanged if its column cannot map it. */
function toDriver(column: PgColumn, value: unknown): unknown {
  return value === null ? null : (attempt(() => column.mapToDriverValue(value)) ?? value)
}

/** Undefined if `work` throws: errors of a value's own toJSON and the like say nothing useful. */
function attempt<Result>(work: () => Result): Result | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}

function arrayText(
  column: PgColumn,
  { element, dimensions }: ColumnType,
  value: unknown,
): string | undefined {
  if (!Array.isArray(value)) return literal(value)
  // Under Drizzle 1.0 the column is its own element, and maps the array as a whole.
  const isMapped = element === column && !isJson(element)
  const elements: unknown = isMapped ? toDriver(column, value) : value
  const written = elementText(elements, dimensions, (item) => {
    if (isJson(element)) return jsonText(item)
    return isMapped ? item : toDriver(element, item)
  })
  return written === undefined ? undefined : literal(written)
}

/** An array in the form that PostgreSQL reads, down to the depth at which its elements are. */
function elementText(value: unknown, depth: number, map: (item: unknown) => unknown): string | undefined {
  if (value === null) return 'NULL'
  if (depth > 0 && Array.isArray(value)) {
    const items = value.map((item) => elementText(item, depth - 1, map))
    return items.includes(undefined) ? undefined : `{${items.join(',')}}`
  }

  const mapped = map(value)
  if (mapped instanceof Uint8Array) return `"\\\\x${Buffer.from(mapped).toString('hex')}"`
  if (mapped instanceof Date) return `"${mapped.toISOString()}"`
  if (typeof mapped === 'string') return `"${mapped.replace(/["\\]/g, '\\$&')}"`
  return typeof mapped === 'number' || typeof mapped === 'bigint' || typeof mapped === 'boolean'
    ? String(mapped)
    : undefined
}
