import { getTableName } from 'drizzle-orm'
import { type ForeignKey, getTableConfig } from 'drizzle-orm/mysql-core'
import { twins, unsupported } from '../definition.ts'
import { mentions } from '../expression.ts'
import { columnNames, foreignKeyName, recased } from '../names.ts'
import type { TableModel } from './model.ts'
import { ddlText, list, qualified, quote } from './text.ts'

export interface Constraint {
  readonly name: string
  /** The names of its columns. */
  readonly columns: readonly string[]
  /** The text behind CONSTRAINT in a table. */
  readonly text: string
}

export interface Reference extends Constraint {
  /** The table it leads to, as its model describes it. */
  readonly target: { readonly schema: string | undefined; readonly name: string }
}

/** Its name is always PRIMARY; undefined for a table without one. */
export function primaryKeyText({ name, columns, primaryKeys, casing }: TableModel): string | undefined {
  const keys = [
    ...columns.filter(({ primary }) => primary).map((column) => [column]),
    ...primaryKeys.map((key) => key.columns),
  ].map((key) => list(columnNames(key, casing)))
  if (new Set(keys).size > 1) throw unsupported(name, 'it has more than one primary key')
  return keys[0] === undefined ? undefined : `PRIMARY KEY (${keys[0]})`
}

export function checks({ name: table, columns, casing, checks }: TableModel): Constraint[] {
  const all = checks.map(({ name, value }): Constraint => {
    const context = { owner: table, what: `its check "${name}"`, casing, isUnqualified: true }
    const condition = ddlText(value, context)
    const bare = /\\/.test(condition) ? condition : condition.replace(/'(?:[^']|'')*'/g, "''")
    const mentioned = columnNames(columns, casing).filter((column) => mentions(bare, column))
    return { name, columns: mentioned, text: `${quote(name)} CHECK (${condition})` }
  })
  assertDistinct(table, 'checks', all)
  return all
}

export function references(table: TableModel): Reference[] {
  // Of two that differ only in their actions the last counts, as in drizzle-kit.
  const keys = new Map(
    table.foreignKeys.map((key) => {
      const reference = referenceOf(table, key)
      const { name, columns, target } = reference
      const referenced = columnNames(key.reference().foreignColumns, table.casing)
      return [JSON.stringify([name, columns, target, referenced]), reference] as const
    }),
  )
  const unique = [...keys.values()]
  assertDistinct(table.name, 'foreign keys', unique)
  return unique
}

function referenceOf({ name: table, schema, casing }: TableModel, key: ForeignKey): Reference {
  const { columns, foreignColumns, foreignTable } = key.reference()
  const { name: targetName, schema: targetSchema } = getTableConfig(foreignTable)
  const name = recased(recased(nameOf(key), columns, casing), foreignColumns, casing)
  if (schema !== undefined && targetSchema === undefined) {
    // An unqualified name would be resolved in the database of the referring table.
    const reason = `its foreign key "${name}" leads to "${targetName}", whose model names no database`
    throw unsupported(table, reason)
  }
  const { onUpdate = 'no action', onDelete = 'no action' } = key
  if (onUpdate === 'set default' || onDelete === 'set default') {
    // MySQL rejects it, and MariaDB ignores it silently.
    throw unsupported(table, `its foreign key "${name}" is to set a default, which InnoDB does not`)
  }
  const names = columnNames(columns, casing)
  const head = `${quote(name)} FOREIGN KEY (${list(names)})`
  const target = `${qualified(targetSchema, targetName)} (${list(columnNames(foreignColumns, casing))})`
  return {
    name,
    columns: names,
    target: { schema: targetSchema, name: targetName },
    text: `${head} REFERENCES ${target} ON DELETE ${onDelete} ON UPDATE ${onUpdate}`,
  }
}

/** The name that drizzle-kit of the same major derives; from 1.0 on a foreign key knows whether its name was chosen. */
function nameOf(key: ForeignKey): string {
  const isChosen: unknown = Reflect.get(key, 'isNameExplicit')
  const name = key.getName()
  return typeof isChosen === 'function' && isChosen.call(key) === false
    ? foreignKeyName(ownerOf(key), name.replace(/_fk$/, '_fkey'))
    : name
}

/** Names are case-insensitive. */
export function assertDistinct(
  table: string,
  what: string,
  named: readonly { readonly name: string }[],
): void {
  const taken = new Set<string>()
  for (const { name } of named) {
    const key = name.toLowerCase()
    if (taken.has(key)) throw twins(table, what, name)
    taken.add(key)
  }
}

/** The name of a table as declared: names are derived from it also for an alias. */
export function ownerOf({ table }: { readonly table: Parameters<typeof getTableName>[0] }): string {
  return getTableName(table)
}
