import { is, SQL } from 'drizzle-orm'
import type { Index } from 'drizzle-orm/mysql-core'
import { type Definition, type IndexDefinition, type SchemaStatement, unsupported } from '../definition.ts'
import { columnsIn } from '../expression.ts'
import { columnName, columnNames } from '../names.ts'
import { dotted } from '../text.ts'
import { columnDefinition, columnText, isParenthesised } from './columns.ts'
import { assertDistinct, checks, ownerOf, primaryKeyText, type Reference, references } from './constraints.ts'
import type { Column, TableModel } from './model.ts'
import { additionText, ddlText, list, literal, qualified, quote } from './text.ts'

/**
 * The comment of a table whose foreign keys are still to be added. Only the statement that adds them removes it, so
 * that the next call finishes a table whose process was killed in between.
 */
export const UNFINISHED = 'drizzle-celery: foreign keys follow'

/**
 * A table with its constraints and indexes. Each statement commits by itself, so everything is part of the CREATE
 * TABLE, except foreign keys to tables that are created later (`isLater`).
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
    label: dotted(schema, name),
    columns: table.columns.map((column) => columnDefinition(table, column)),
    indexes,
    statements: () => statements,
  }
}

interface TableIndex extends IndexDefinition {
  /** Its text in a CREATE TABLE. */
  readonly text: string
}

/** The indexes of a table. Uniques are among them: to MySQL they are the same. */
function indexesOf(table: TableModel): TableIndex[] {
  const indexes = [...columnUniques(table), ...uniques(table), ...ownIndexes(table)].map(
    ({ tail = '', ...index }): TableIndex => ({
      ...index,
      create: () => additionText(table.flavor, qualified(table.schema, table.name), [index.text]) + tail,
    }),
  )
  assertDistinct(table.name, 'indexes', indexes)
  return indexes
}

interface Written extends Omit<TableIndex, 'create'> {
  /** Options of the statement that adds it. */
  readonly tail?: string
}

function columnUniques(table: TableModel): Written[] {
  return table.columns
    .filter(({ isUnique }) => isUnique)
    .map((column) => unique(table, column.uniqueName ?? `${column.name}_unique`, [column]))
}

/** Drizzle 0.45 puts the table into derived names, 1.0 only the columns. */
function uniques(table: TableModel): Written[] {
  return table.uniqueConstraints.map((constraint) => {
    const columns = constraint.columns.map(({ name }) => name).join('_')
    const isDerived = Reflect.get(constraint, 'isNameExplicit') === false
    const name = constraint.getName() ?? `${ownerOf(constraint)}_${columns}_unique`
    return unique(table, isDerived ? `${columns}_unique` : name, constraint.columns)
  })
}

function unique({ casing }: TableModel, name: string, columns: readonly Column[]): Written {
  const names = columnNames(columns, casing)
  return {
    name,
    columns: names,
    uniqueOn: names,
    text: `UNIQUE INDEX ${quote(name)} (${list(names)})`,
  }
}

function ownIndexes(table: TableModel): Written[] {
  return table.indexes.map(({ config }) => {
    const { name, columns, unique, using, algorithm, lock } = config
    const parts = columns.map((column) =>
      is(column, SQL) ? expressionPart(table, name, column) : quote(columnName(column, table.casing)),
    )
    const method = using === undefined ? '' : ` USING ${using.toUpperCase()}`
    return {
      name,
      columns: [...new Set(columnNames(columnsIn(columns), table.casing))],
      text: `${unique ? 'UNIQUE INDEX' : 'INDEX'} ${quote(name)}${method} (${parts.join(', ')})`,
      tail: option('ALGORITHM', algorithm) + option('LOCK', lock),
    }
  })
}

function option(name: string, value: Index['config']['algorithm'] | Index['config']['lock']): string {
  return value === undefined ? '' : `, ${name} = ${value.toUpperCase()}`
}

/** A column with the length of its prefix or an order; anything else is an expression, which MySQL wants in parentheses. */
function expressionPart({ name: table, casing, flavor }: TableModel, index: string, part: SQL): string {
  const text = ddlText(part, {
    owner: table,
    what: `its index "${index}"`,
    casing,
    isUnqualified: true,
  }).trim()
  if (COLUMN.test(text)) return text
  if (flavor === 'mariadb') {
    throw unsupported(table, `its index "${index}" is over an expression, which MariaDB does not index`)
  }
  const [, body = text, order = ''] = ORDERED.exec(text) ?? []
  return (isParenthesised(body) ? body : `(${body})`) + order
}

const COLUMN = /^(?:`(?:[^`]|``)+`|[\w$]+)(?:\s*\(\s*\d+\s*\))?(?:\s+(?:asc|desc))?$/i
const ORDERED = /^(.*\S)(\s+(?:asc|desc))$/is
