import { is, SQL } from 'drizzle-orm'
import { drawsFrom } from '../../mysql-sequence.ts'
import { columnName } from '../casing.ts'
import type { SchemaStatement } from '../definition.ts'
import { columnType } from './column-type.ts'
import { checks, references } from './constraint.ts'
import { defaultText, isNull } from './default.ts'
import { type Column, isAutoIncrement, type TableModel } from './table-model.ts'
import { additionText, qualified } from './text.ts'

/**
 * What adds a column to a table with rows, together with the checks and foreign keys that are its own, in one statement,
 * which MySQL does or does not do as a whole; undefined when the rows cannot have it, or when a constraint over several
 * columns would be missing afterwards. Its uniques are indexes, and added as such.
 */
export function addColumn(
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

  const given = valueGiven(table, column)
  // MySQL would make up a value.
  if (given === 'none' && column.notNull) return undefined
  if (given === 'one' && (isUnique(table, column) || referring.length > 0)) return undefined

  const parts = [`COLUMN ${columnText}`, ...own.map(({ text }) => `CONSTRAINT ${text}`)]
  return [
    {
      stage: column.generated === undefined ? 'column' : 'generated column',
      text: additionText(table.flavor, qualified(table.schema, table.name), parts),
    },
  ]
}

/** Whether no two rows may have the same in this column. */
function isUnique({ uniqueConstraints, indexes }: TableModel, column: Column): boolean {
  const uniques = [
    ...uniqueConstraints.map(({ columns }) => columns),
    ...indexes.flatMap(({ config }) => (config.unique ? [config.columns] : [])),
  ]
  return column.isUnique || uniques.some((columns) => columns.length === 1 && columns[0] === column)
}

/** What the rows that are there get: nothing, all of them the same, or each its own. */
function valueGiven(table: TableModel, column: Column): 'none' | 'one' | 'each' {
  if (column.generated !== undefined) return 'each'
  if (table.flavor === 'mariadb' && drawsFrom(column) !== undefined) return 'each'
  const text = defaultText(table, column, columnType(column))
  if (text === undefined || isNull(text)) return 'none'
  return is(column.default, SQL) && DIFFERING.test(text) ? 'each' : 'one'
}

/** Calls that give every row a value of its own. */
const DIFFERING = /\b(?:uuid|uuid_short|rand|random_bytes|sys_guid|nextval)\s*\(|\bnext\s+value\b/i

/** Whether a custom type brings a constraint along, as `text not null` does. */
const CONSTRAINTS =
  /\s(?:constraint|default|null|not|primary|unique|key|check|references|generated|as|auto_increment|on)\b/i
