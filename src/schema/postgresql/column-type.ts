import { is } from 'drizzle-orm'
import { isPgEnum, PgColumn, type PgEnum } from 'drizzle-orm/pg-core'
import { isDrizzle1 } from '../drizzle-version.ts'
import { catalogueName, catalogueType } from './catalogue-type.ts'
import { qualified } from './names.ts'

export interface ColumnType {
  /** As a statement writes it. */
  readonly text: string
  /** As `format_type` writes it; undefined if we cannot tell. */
  readonly catalogue: string | undefined
  /** How deep its arrays are nested; 0 when it is none. */
  readonly dimensions: number
  /** The column that describes the elements: itself, when it is no array or when Drizzle 1.0 made it. */
  readonly element: PgColumn
}

export function columnType(column: PgColumn): ColumnType {
  const base = baseColumn(column)
  if (base !== undefined) {
    const { text, catalogue, dimensions, element } = columnType(base)
    const size = 'size' in column && typeof column.size === 'number' ? column.size : ''
    return { text: `${text}[${size}]`, catalogue: asArray(catalogue), dimensions: dimensions + 1, element }
  }

  const dimensions = dimensionsOf(column)
  const type = enumOf(column)
  const text = type === undefined ? column.getSQLType() : qualified(type.schema, type.enumName)
  const catalogue = type === undefined ? catalogueType(text) : catalogueName(type.schema, type.enumName)
  return {
    text: text + '[]'.repeat(dimensions),
    catalogue: dimensions > 0 ? asArray(catalogue) : catalogue,
    dimensions,
    element: column,
  }
}

/** What the elements of an array are, which Drizzle 0.45 describes as a column. */
function baseColumn(column: PgColumn): PgColumn | undefined {
  if (!('baseColumn' in column)) return undefined
  return is(column.baseColumn, PgColumn) ? column.baseColumn : undefined
}

/** Drizzle 1.0 counts the dimensions of an array; what 0.45 calls so is the length of a vector. */
function dimensionsOf(column: PgColumn): number {
  if (!isDrizzle1 || !('dimensions' in column)) return 0
  return typeof column.dimensions === 'number' ? column.dimensions : 0
}

function enumOf(column: PgColumn): PgEnum<[string, ...string[]]> | undefined {
  return 'enum' in column && isPgEnum(column.enum) ? column.enum : undefined
}

/** The catalogue does not tell the dimensions of arrays apart. */
function asArray(type: string | undefined): string | undefined {
  return type === undefined || type.endsWith('[]') ? type : `${type}[]`
}
