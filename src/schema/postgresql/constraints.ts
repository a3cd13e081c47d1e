import { getTableName } from 'drizzle-orm'
import { getTableConfig, type PgTable } from 'drizzle-orm/pg-core'
import type { StoredName } from '../definition.ts'
import { mentions } from '../expression.ts'
import { type Casing, foreignKeyName, isDrizzle1, recased } from '../names.ts'
import type { Column, TableModel } from './model.ts'
import {
  ddlText,
  list,
  MAX_NAME_BYTES,
  qualified,
  quote,
  storedColumnName,
  storedName,
  truncated,
} from './text.ts'

interface Constraint extends StoredName {
  /** Whether its name is derived, not chosen. */
  readonly isDerived?: boolean
  /** The names of its columns. */
  readonly columns: readonly string[]
  /** The text behind CONSTRAINT in a table. */
  readonly text: string
  /** NULLS NOT DISTINCT. */
  readonly isStrict?: boolean
}

interface UniqueConstraint extends Constraint {
  /** The text behind CONSTRAINT at its only column. */
  readonly inline: string
}

export function primaryKeys({ config, casing }: TableModel): Constraint[] {
  return config.primaryKeys.map((key) => {
    const columns = namesOf(key.columns, casing)
    const parts = [ownerOf(key), ...key.columns.map(({ name }) => name)] as const
    const isDerived = !isChosen(key, key.getName(), `${parts.join('_')}_pk`)
    const full = isDerived ? derivedNames.primaryKey(...parts) : key.getName()
    const stored = storedName(recased(full, key.columns, casing))
    return { ...stored, isDerived, columns, text: `${quote(stored.name)} PRIMARY KEY (${list(columns)})` }
  })
}

export function uniques({ config, casing }: TableModel): UniqueConstraint[] {
  const ofColumns = config.columns
    .filter(({ isUnique }) => isUnique)
    .map((column) => {
      const derived = derivedNames.unique(config.name, column.name)
      const { uniqueName: name = derived, uniqueType } = column
      return { columns: [column], name, isDerived: name === derived, isStrict: uniqueType === 'not distinct' }
    })
  const ofTable = config.uniqueConstraints.map((unique) => {
    const { columns, nullsNotDistinct: isStrict } = unique
    const derived = derivedNames.unique(ownerOf(unique), ...columns.map(({ name }) => name))
    const name = unique.getName() ?? derived
    const isDerived = !isChosen(unique, name, derived)
    return { columns, name: isDerived ? derived : name, isDerived, isStrict }
  })

  return [...ofColumns, ...ofTable].map(({ columns, name: full, isDerived, isStrict }) => {
    const stored = storedName(full)
    const inline = `${quote(stored.name)} UNIQUE${isStrict ? ' NULLS NOT DISTINCT' : ''}`
    const names = namesOf(columns, casing)
    return { ...stored, isDerived, columns: names, isStrict, inline, text: `${inline} (${list(names)})` }
  })
}

/** The primary keys and uniques that become indexes: of two equal ones PostgreSQL creates the first. */
export function keysMade(model: TableModel): Constraint[] {
  const made = new Map<string, Constraint>()
  for (const constraint of [...primaryKeys(model), ...uniques(model)]) {
    const { columns, isStrict = false } = constraint
    const key = JSON.stringify([isStrict, columns])
    made.set(key, made.get(key) ?? constraint)
  }
  return [...made.values()]
}

export function checks({ config, casing }: TableModel): Constraint[] {
  return config.checks.map(({ name, value }) => {
    const context = { owner: config.name, what: `its check "${name}"`, casing, isUnqualified: true }
    const condition = ddlText(value, context)
    const bare = withoutLiterals(condition)
    const columns = namesOf(config.columns, casing).filter((column) => mentions(bare, column))
    return { ...storedName(name), columns, text: `${quote(name)} CHECK (${condition})` }
  })
}

/** A literal may contain the name of a column. Where quotes may be escaped, literals stay. */
function withoutLiterals(text: string): string {
  return /[\\$]/.test(text) ? text : text.replace(/'(?:[^']|'')*'/g, "''")
}

export function foreignKeys({ config, casing }: TableModel): Constraint[] {
  // Of two that differ only in their actions the last counts, as in drizzle-kit 0.31.
  const made = new Map<string, Constraint>()
  for (const key of config.foreignKeys) {
    const { name: chosen, columns, foreignColumns, foreignTable } = key.reference()
    const target = getTableConfig(foreignTable)
    const parts = [ownerOf(key), ...columns.map(({ name }) => name)]
    const derived = derivedNames.foreignKey(...parts, target.name, ...foreignColumns.map(({ name }) => name))
    const stored = storedName(recased(recased(chosen ?? derived, columns, casing), foreignColumns, casing))
    // Without a schema it is the first table on the search_path, which may be in another schema.
    let references = `REFERENCES ${qualified(target.schema, target.name)} (${list(namesOf(foreignColumns, casing))})`
    const names = namesOf(columns, casing)
    const identity = JSON.stringify([stored.name, names, references])
    if (key.onDelete !== undefined) references += ` ON DELETE ${key.onDelete}`
    if (key.onUpdate !== undefined) references += ` ON UPDATE ${key.onUpdate}`

    const text = `${quote(stored.name)} FOREIGN KEY (${list(names)}) ${references}`
    made.set(identity, { ...stored, isDerived: chosen === undefined, columns: names, text })
  }
  return [...made.values()]
}

/** Drizzle 1.0 knows whether a name was chosen; under 0.45 a name equal to the derived one counts as derived. */
function isChosen(constraint: object, name: string, derived: string): boolean {
  const isExplicit: unknown = Reflect.get(constraint, 'isNameExplicit')
  return typeof isExplicit === 'boolean' ? isExplicit : name !== derived
}

/** The name of the table as declared: names are derived from it also for an alias. */
function ownerOf({ table }: { readonly table: PgTable }): string {
  return getTableName(table)
}

function namesOf(
  columns: readonly Pick<Column, 'name' | 'keyAsName'>[],
  casing: Casing | undefined,
): string[] {
  return columns.map((column) => storedColumnName(column, casing))
}

/**
 * The names of keys without a chosen name, as drizzle-kit derives them; from 1.0 on it leaves keys of one column to
 * PostgreSQL.
 */
const derivedNames: DerivedNames = isDrizzle1
  ? {
      primaryKey: (table, ...columns) => (columns.length === 1 ? composed([table], 'pkey') : `${table}_pkey`),
      unique: (table, ...columns) =>
        columns.length === 1
          ? composed([table, ...columns], 'key')
          : `${[table, ...columns].join('_')}_unique`,
      foreignKey: (...parts) => foreignKeyName(parts[0] ?? '', `${parts.join('_')}_fkey`),
    }
  : {
      primaryKey: (...parts) => `${parts.join('_')}_pk`,
      unique: (...parts) => `${parts.join('_')}_unique`,
      foreignKey: (...parts) => `${parts.join('_')}_fk`,
    }

interface DerivedNames {
  primaryKey(table: string, ...columns: string[]): string
  unique(table: string, ...columns: string[]): string
  /** Of a table and its columns, the foreign table and its columns. */
  foreignKey(...parts: string[]): string
}

/** As PostgreSQL makes names (`makeObjectName`): while they are too long the longer part loses bytes at its end. */
function composed(parts: readonly string[], ending: string): string {
  const lengths = parts.map((part) => Buffer.byteLength(part))
  const room = MAX_NAME_BYTES - ending.length - parts.length
  while (lengths.reduce((sum, length) => sum + length, 0) > room) {
    const longest = Math.max(...lengths)
    lengths[lengths.lastIndexOf(longest)] = longest - 1
  }
  return [...parts.map((part, at) => truncated(part, lengths[at])), ending].join('_')
}
