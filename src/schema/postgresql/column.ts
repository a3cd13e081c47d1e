import { is, SQL } from 'drizzle-orm'
import { columnName } from '../casing.ts'
import type { ColumnDefinition } from '../definition.ts'
import { columnType } from './column-type.ts'
import { foreignKeys, uniques } from './constraint.ts'
import { defaultText } from './default.ts'
import { ddlText } from './literal.ts'
import { qualified, quote, shortened } from './names.ts'
import { sequenceOptions } from './sequence.ts'
import type { TableModel } from './table.ts'

export type Column = TableModel['config']['columns'][number]

export function columnDefinition(model: TableModel, column: Column): ColumnDefinition {
  const { name: table, schema } = model.config
  return {
    name: columnName(column, model.casing),
    type: columnType(column).catalogue,
    add(place) {
      if (!isAddable(model, column)) return undefined
      const home = schema ?? place
      const text = [columnText(model, column, home), ...inlineConstraints(model, column)].join(' ')
      return `ALTER TABLE ${qualified(home, table)} ADD COLUMN ${text}`
    },
  }
}

/** A column of a CREATE TABLE in the schema `place`. */
export function columnText(model: TableModel, column: Column, place: string | undefined): string {
  const { config, casing } = model
  const type = columnType(column)
  const value = defaultText(config.name, column, type, casing)

  let text = `${quote(columnName(column, casing))} ${type.text}`
  if (value !== undefined) text += ` DEFAULT ${value}`
  text += generatedText(model, column) + identityText(model, column, place)
  if (column.primary) text += ' PRIMARY KEY'
  if (column.notNull) text += ' NOT NULL'
  return text
}

function generatedText({ config, casing }: TableModel, { name, generated }: Column): string {
  if (generated === undefined) return ''
  const as: unknown = typeof generated.as === 'function' ? generated.as() : generated.as
  const place = { owner: config.name, what: `its generated column "${name}"`, casing, isUnqualified: true }
  const text = is(as, SQL) ? ddlText(as, place) : String(as)
  return ` GENERATED ALWAYS AS (${text}) ${generated.mode === 'virtual' ? 'VIRTUAL' : 'STORED'}`
}

function identityText({ config, casing }: TableModel, column: Column, place: string | undefined): string {
  const { generatedIdentity: identity } = column
  if (identity === undefined) return ''

  const { type, sequenceName, sequenceOptions: options = {} } = identity
  const name = sequenceName ?? shortened(`${config.name}_${columnName(column, casing)}_seq`)
  // drizzle-kit gives every descending one the range of a smallint.
  const isDescending = Number(options.increment ?? 1) < 0
  const least = isDescending && options.minValue === undefined ? { minValue: -32768 } : {}
  const parts = [`SEQUENCE NAME ${qualified(place, name)}`]
  parts.push(...sequenceOptions(config.name, { ...options, ...least }))
  return ` GENERATED ${type === 'always' ? 'ALWAYS' : 'BY DEFAULT'} AS IDENTITY (${parts.join(' ')})`
}

/** Whether the rows that are there can have it; a primary key is what a table is made with. */
function isAddable({ config }: TableModel, column: Column): boolean {
  const keys = config.primaryKeys.flatMap(({ columns }) => columns.map(({ name }) => name))
  if (column.primary || keys.includes(column.name)) return false
  if (!column.notNull || column.generated !== undefined || column.generatedIdentity !== undefined) return true
  return (column.default ?? null) !== null || /^(?:small|big)?serial/i.test(column.getSQLType())
}

/** What a column that is added brings along: the uniques and foreign keys that are over it alone. */
function inlineConstraints(model: TableModel, column: Column): string[] {
  const own = columnName(column, model.casing)
  return [...uniques(model), ...foreignKeys(model)]
    .filter(({ columns }) => columns.length === 1 && columns[0] === own)
    .map(({ inline }) => `CONSTRAINT ${inline}`)
}
