import { is } from 'drizzle-orm'
import { MySqlCustomColumn } from 'drizzle-orm/mysql-core'
import { catalogueType, enumType } from './catalogue-type.ts'
import type { Column } from './table-model.ts'
import { enumValue, quote } from './text.ts'

export interface ColumnType {
  /** As a statement writes it. */
  readonly text: string
  /** In the form that `catalogueType` makes of what the catalogue says; undefined if we cannot tell. */
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
