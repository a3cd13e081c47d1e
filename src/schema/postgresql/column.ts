import { is, SQL } from 'drizzle-orm'
import { columnName } from '../casing.ts'
import type { ColumnDefinition, StoredName } from '../definition.ts'
import { addColumn } from './add-column.ts'
import { columnType } from './column-type.ts'
import { defaultText } from './default.ts'
import { ddlText } from './literal.ts'
import { qualified, quote, storedColumnName, storedName } from './names.ts'
import { sequenceOptions } from './sequence.ts'
import type { TableModel } from './table.ts'

export type Column = TableModel['config']['columns'][number]

export function columnDefinition(model: TableModel, column: Column): ColumnDefinition {
  return {
    name: storedColumnName(column, model.casing),
    type: columnType(column).catalogue,
    add(place) {
      const home = model.config.schema ?? place
      return addColumn(model, column, columnText(model, column, home), home)
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

function identityText(model: TableModel, column: Column, place: string | undefined): string {
  const { generatedIdentity: identity } = column
  const stored = identityName(model, column)
  if (identity === undefined || stored === undefined) return ''

  const { type, sequenceOptions: options = {} } = identity
  // drizzle-kit gives every descending one the range of a smallint.
  const isDescending = Number(options.increment ?? 1) < 0
  const least = isDescending && options.minValue === undefined ? { minValue: -32768 } : {}
  const parts = [`SEQUENCE NAME ${qualified(place, stored.name)}`]
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
