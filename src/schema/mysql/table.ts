import type { Definition, SchemaStatement } from '../definition.ts'
import { unsupported } from '../definition.ts'
import { columnDefinition, columnText } from './column.ts'
import { checks, primaryKeyText, type Reference, references } from './constraint.ts'
import { indexesOf } from './indexes.ts'
import type { TableModel } from './table-model.ts'
import { additionText, label, literal, qualified } from './text.ts'

/**
 * The comment of a table whose foreign keys are still to come. Nothing but the statement that adds them takes it away, so
 * that a table is finished that was made by a process which was killed before it came to them.
 */
export const UNFINISHED = 'drizzle-celery: foreign keys follow'

/**
 * A table with all that is its own. Each statement commits by itself: what can stand in the CREATE TABLE stands there, and
 * only foreign keys to a table that is made after this one, of which `isLater` tells, are added when that is there.
 */
export function tableDefinition(
  table: TableModel,
  isLater: (target: Reference['target']) => boolean,
): Definition {
  const { name, schema, flavor } = table
  if (table.columns.length === 0) throw unsupported(name, 'it has no columns')
  const indexes = indexesOf(table)
  const all = references(table)
  const later = all.filter(({ target }) => isLater(target))
  const primaryKey = primaryKeyText(table)
  const constraints = [...checks(table), ...all.filter((each) => !later.includes(each))]
  const body = [
    ...table.columns.map((column) => columnText(table, column)),
    ...(primaryKey === undefined ? [] : [primaryKey]),
    ...indexes.map(({ text }) => text),
    ...constraints.map(({ text }) => `CONSTRAINT ${text}`),
  ].join(',\n  ')

  const target = qualified(schema, name)
  const tail = later.length === 0 ? '' : ` COMMENT = ${literal(UNFINISHED)}`
  const statements: SchemaStatement[] = [
    { stage: 'table', text: `CREATE TABLE ${target} (\n  ${body}\n)${tail}` },
  ]
  if (later.length > 0) {
    const parts = later.map(({ text }) => `CONSTRAINT ${text}`)
    statements.push({
      stage: 'foreign key',
      text: `${additionText(flavor, target, parts)}, COMMENT = ''`,
    })
  }
  return {
    kind: 'table',
    name,
    schema,
    label: label(schema, name),
    columns: table.columns.map((column) => columnDefinition(table, column)),
    indexes,
    statements: () => statements,
  }
}
