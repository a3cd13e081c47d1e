import { getTableName } from 'drizzle-orm'
import type { Check, ForeignKey, PrimaryKey } from 'drizzle-orm/sqlite-core'
import { columnList, doubleQuote, quote, sqlText, type TableModel } from './model.ts'

/** The primary key over several columns; that over one stands at its column. */
export function primaryKeyText({ casing }: TableModel, { name, columns }: PrimaryKey): string {
  return `${named(name)}PRIMARY KEY(${columnList(columns, casing, ', ')})`
}

export function foreignKeyText(table: TableModel, key: ForeignKey): string {
  const { name, columns } = key.reference()
  return `${named(name)}FOREIGN KEY (${columnList(columns, table.casing)}) ${referencesText(table, key)}`
}

export function referencesText(
  { casing }: TableModel,
  { reference, onUpdate, onDelete }: ForeignKey,
): string {
  const { foreignTable, foreignColumns } = reference()
  const target = `${quote(getTableName(foreignTable))}(${columnList(foreignColumns, casing)})`
  return `REFERENCES ${target} ON UPDATE ${onUpdate ?? 'no action'} ON DELETE ${onDelete ?? 'no action'}`
}

/** The foreign keys of a table; of two that differ only in their actions the last counts, as in drizzle-kit. */
export function foreignKeysOf({ foreignKeys }: TableModel): ForeignKey[] {
  const keys = new Map<string, ForeignKey>()
  for (const key of foreignKeys) {
    const { columns, foreignTable, foreignColumns } = key.reference()
    const names = [columns, foreignColumns].map((side) => side.map(({ name }) => name))
    keys.set(JSON.stringify([key.getName(), getTableName(foreignTable), names]), key)
  }
  return [...keys.values()]
}

export function checkText(table: TableModel, check: Check): string {
  return `CONSTRAINT ${doubleQuote(check.name)} CHECK(${checkValue(table, check, { isUnqualified: false })})`
}

export function checkValue(
  { name: table, casing }: TableModel,
  { name, value }: Check,
  { isUnqualified }: { isUnqualified: boolean },
): string {
  return sqlText(value, { owner: table, what: `its check "${name}"`, casing, isUnqualified })
}

/** Only a chosen name. No catalogue of SQLite shows it, and drizzle-kit 0.31 writes none at all. */
export function named(name: string | undefined): string {
  return name === undefined ? '' : `CONSTRAINT ${quote(name)} `
}
