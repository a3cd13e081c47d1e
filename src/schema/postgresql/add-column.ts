import { is, SQL } from 'drizzle-orm'
import { IndexedColumn } from 'drizzle-orm/pg-core'
import type { SchemaStatement } from '../definition.ts'
import type { Column } from './column.ts'
import { columnType } from './column-type.ts'
import { checks, foreignKeys, uniques } from './constraint.ts'
import { defaultText } from './default.ts'
import { qualified, storedColumnName } from './names.ts'
import type { TableModel } from './table.ts'

/**
 * What adds a column to a table with rows, together with the constraints that are its own; undefined when the rows
 * cannot have it, or when a constraint over several columns would be missing afterwards.
 */
export function addColumn(
  model: TableModel,
  column: Column,
  columnText: string,
  home: string | undefined,
): readonly SchemaStatement[] | undefined {
  const { config, casing } = model
  const name = storedColumnName(column, casing)
  const isOwn = ({ columns }: { readonly columns: readonly string[] }) => columns.includes(name)
  const unique = uniques(model).filter(isOwn)
  const checked = checks(model).filter(isOwn)
  const references = foreignKeys(model).filter(isOwn)

  // A primary key is what a table is made with.
  if (
    column.primary ||
    config.primaryKeys.some(({ columns }) => columns.some((each) => each.name === column.name))
  )
    return undefined
  if ([...unique, ...checked, ...references].some(({ columns }) => columns.length > 1)) return undefined
  if (hasConstraints(columnType(column).text)) return undefined

  const given = valueGiven(model, column)
  if (given === 'none' && column.notNull) return undefined
  const isUnique = unique.length > 0 || hasUniqueIndex(model, column)
  if (given === 'one' && (isUnique || references.length > 0)) return undefined
  if (given === 'none' && unique.some(({ isStrict }) => isStrict)) return undefined

  const target = qualified(home, config.name)
  const inline = [...unique.map(({ inline }) => inline), ...checked.map(({ text }) => text)]
  const parts = [columnText, ...inline.map((text) => `CONSTRAINT ${text}`)]
  return [
    {
      stage: column.generated === undefined ? 'column' : 'generated column',
      text: `ALTER TABLE ${target} ADD COLUMN ${parts.join(' ')}`,
    },
    ...references.map(
      ({ text }): SchemaStatement => ({
        stage: 'foreign key',
        text: `ALTER TABLE ${target} ADD CONSTRAINT ${text}`,
      }),
    ),
  ]
}

function hasUniqueIndex({ config }: TableModel, { name }: Column): boolean {
  return config.indexes.some(({ config: { unique, where, columns } }) => {
    const [first, second] = columns
    return (
      unique && where === undefined && second === undefined && is(first, IndexedColumn) && first.name === name
    )
  })
}

/** What the rows that are there get: nothing, all of them the same, or each its own. */
function valueGiven({ config, casing }: TableModel, column: Column): 'none' | 'one' | 'each' {
  if (column.generated !== undefined || column.generatedIdentity !== undefined) return 'each'
  if (/^(?:small|big)?serial/i.test(column.getSQLType())) return 'each'

  const text = defaultText(config.name, column, columnType(column), casing)
  if (text === undefined || /^[(\s]*null\b/i.test(text)) return 'none'
  return is(column.default, SQL) && DIFFERING.test(text) ? 'each' : 'one'
}

/** Calls that give every row a value of its own, in the heads of people or of PostgreSQL. */
const DIFFERING = /\b(?:nextval|random|gen_random_uuid|uuid_generate_v\w+|uuidv[47])"?\s*\(/i

/** Whether a custom type brings a constraint along, as `text not null` does. */
function hasConstraints(type: string): boolean {
  return CONSTRAINTS.test(type.replace(/"(?:[^"]|"")*"/g, '""'))
}

const CONSTRAINTS = /\s(?:constraint|default|null|not|primary|unique|check|references|generated)\b/i
