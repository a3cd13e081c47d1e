import { getTableConfig } from 'drizzle-orm/pg-core'
import { type Casing, columnName } from '../casing.ts'
import type { Column } from './column.ts'
import { derivedNames } from './derived-names.ts'
import { ddlText } from './literal.ts'
import { list, qualified, quote, shortened } from './names.ts'
import type { TableModel } from './table.ts'

export interface Constraint {
  /** The names of the columns it is over. */
  readonly columns: readonly string[]
  /** What stands behind CONSTRAINT in a table. */
  readonly text: string
}

/** One that can also stand behind its only column. */
export interface ColumnConstraint extends Constraint {
  /** What stands behind CONSTRAINT there. */
  readonly inline: string
}

export function primaryKeys({ config, casing }: TableModel): Constraint[] {
  return config.primaryKeys.map((key) => {
    const columns = namesOf(key.columns, casing)
    const keys = key.columns.map(({ name }) => name)
    const isDerived = !isChosen(key, key.getName(), `${config.name}_${keys.join('_')}_pk`)
    const name = recased(
      isDerived ? derivedNames.primaryKey(config.name, ...keys) : key.getName(),
      key.columns,
      casing,
    )
    return { columns, text: `${constraintName(name, isDerived)} PRIMARY KEY (${list(columns)})` }
  })
}

export function uniques({ config, casing }: TableModel): ColumnConstraint[] {
  const ofColumns = config.columns
    .filter(({ isUnique }) => isUnique)
    .map((column) => {
      const derived = derivedNames.uniqueColumn(config.name, column.name)
      const { uniqueName: name = derived, uniqueType } = column
      return { columns: [column], name, isDerived: name === derived, isStrict: uniqueType === 'not distinct' }
    })
  const ofTable = config.uniqueConstraints.map((unique) => {
    const { columns, nullsNotDistinct: isStrict } = unique
    const derived = `${config.name}_${columns.map(({ name }) => name).join('_')}_unique`
    const name = unique.getName() ?? derived
    return { columns, name, isDerived: !isChosen(unique, name, derived), isStrict }
  })

  return [...ofColumns, ...ofTable].map(({ columns, name, isDerived, isStrict }) => {
    const inline = `${constraintName(name, isDerived)} UNIQUE${isStrict ? ' NULLS NOT DISTINCT' : ''}`
    const names = namesOf(columns, casing)
    return { columns: names, inline, text: `${inline} (${list(names)})` }
  })
}

export function checks({ config, casing }: TableModel): Constraint[] {
  return config.checks.map(({ name, value }) => {
    const place = { owner: config.name, what: `its check "${name}"`, casing, isUnqualified: true }
    return { columns: [], text: `${quote(name)} CHECK (${ddlText(value, place)})` }
  })
}

export function foreignKeys({ config, casing }: TableModel): ColumnConstraint[] {
  return config.foreignKeys.map((key) => {
    const { name: chosen, columns, foreignColumns, foreignTable } = key.reference()
    const target = getTableConfig(foreignTable)
    const parts = [config.name, ...columns.map(({ name }) => name)]
    const derived = derivedNames.foreignKey(...parts, target.name, ...foreignColumns.map(({ name }) => name))
    const name = recased(recased(chosen ?? derived, columns, casing), foreignColumns, casing)

    const head = constraintName(name, chosen === undefined)
    // Without a schema it is the table that the search_path leads to: a table may be there already, and elsewhere.
    let references = `REFERENCES ${qualified(target.schema, target.name)} (${list(namesOf(foreignColumns, casing))})`
    if (key.onDelete !== undefined) references += ` ON DELETE ${key.onDelete}`
    if (key.onUpdate !== undefined) references += ` ON UPDATE ${key.onUpdate}`

    const names = namesOf(columns, casing)
    return {
      columns: names,
      inline: `${head} ${references}`,
      text: `${head} FOREIGN KEY (${list(names)}) ${references}`,
    }
  })
}

/** Drizzle 1.0 says whether a name was chosen; to 0.45 one that is as it would be anyway is none. */
function isChosen(constraint: object, name: string, derived: string): boolean {
  return Reflect.get(constraint, 'isNameExplicit') === true || name !== derived
}

function constraintName(name: string, isDerived: boolean): string {
  return quote(isDerived ? shortened(name) : name)
}

function namesOf(
  columns: readonly Pick<Column, 'name' | 'keyAsName'>[],
  casing: Casing | undefined,
): string[] {
  return columns.map((column) => columnName(column, casing))
}

/** As drizzle-kit does it, also in a name that was chosen: each key's first mention becomes its column's name. */
function recased(name: string, columns: readonly Column[], casing: Casing | undefined): string {
  if (casing === undefined) return name
  return columns.reduce((text, column) => text.replace(column.name, columnName(column, casing)), name)
}
