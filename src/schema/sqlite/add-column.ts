import type { Check, SQLiteColumn } from 'drizzle-orm/sqlite-core'
import { columnName } from '../casing.ts'
import type { SchemaStatement } from '../definition.ts'
import { mentions } from '../expression.ts'
import { checkText, checkValue, foreignKeysOf, named, referencesText } from './constraints.ts'
import { hasConstraints } from './declared-type.ts'
import { defaultText, isConstant, isNull } from './default.ts'
import type { TableModel } from './table-model.ts'
import { quote } from './text.ts'

/**
 * What adds a column to a table with rows, together with the foreign keys and checks that are its own;
 * undefined when SQLite refuses that, or when a constraint over several columns would be missing afterwards.
 */
export function addColumn(
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

  // One value in every row.
  if (!isEmpty && isUnique(table, column)) return undefined

  const references = referencesOf(table, column)
  const checks = checksOf(table, column)
  if (references === undefined || checks === undefined) return undefined
  // SQLite refuses it while it enforces foreign keys, for the rows may refer to nothing.
  if (references.length > 0 && !isEmpty) return undefined
  const text = [`ALTER TABLE ${quote(table.name)} ADD COLUMN ${columnText}`, ...references, ...checks].join(
    ' ',
  )
  return [{ stage: column.generated === undefined ? 'column' : 'generated column', text }]
}

/** Whether no two rows may have the same in this column. */
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
