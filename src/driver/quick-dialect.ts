import type { SQL, SQLChunk } from 'drizzle-orm'
import { importOnce } from './load.ts'
import {
  BASE_NAME,
  type ColumnParts,
  type Frame,
  IS_ALIAS,
  type Query,
  queryTexts,
  SCHEMA,
  TABLE_NAME,
  type TableParts,
  type TextRules,
} from './query-text.ts'

type Drizzle = typeof import('drizzle-orm')

/** What Drizzle 0.45 has of a dialect; its types leave half of it out. */
interface Dialect extends TextRules {
  sqlToQuery(sql: SQL, invokeSource?: string): Query
  buildSelection(fields: Fields, options?: { readonly isSingleTable?: boolean }): SQL
  buildSelectQuery(select: Select): SQL
}

/** What the dialects read of a select. */
interface Select {
  readonly fields: object
  readonly fieldsFlat?: Fields
  readonly table: unknown
  readonly joins?: readonly { readonly alias: string | undefined }[] | undefined
  readonly withList?: readonly unknown[] | undefined
  readonly where?: SQL | undefined
  readonly having?: unknown
  readonly orderBy?: readonly unknown[] | undefined
  readonly groupBy?: readonly unknown[] | undefined
  readonly limit?: unknown
  readonly offset?: unknown
  readonly distinct?: unknown
  readonly setOperators?: readonly unknown[] | undefined
  readonly lockingClause?: unknown
  readonly useIndex?: readonly unknown[] | undefined
  readonly forceIndex?: readonly unknown[] | undefined
  readonly ignoreIndex?: readonly unknown[] | undefined
}

type Fields = Iterable<{ readonly field: unknown }>
type Quicken = <Given extends object>(dialect: Given) => Given

/** The versions whose texts are compared with ours by `test/driver/query-text.test.ts`, all with the same builder. */
const KNOWN: readonly string[] = ['0.45.2', '0.45.3', '0.45.4']

/**
 * Has a dialect of Drizzle build its queries sooner, the same to the letter (`query-text.ts`). Any version that is not known
 * to build them so is left as it is.
 */
export const loadQuicken: () => Promise<Quicken> = importOnce(async () => {
  const { npmVersion } = await import('drizzle-orm/version')
  return KNOWN.includes(npmVersion) ? quickener(await import('drizzle-orm')) : (dialect) => dialect
})

/** Of each dialect: how it writes a column in a query of several tables. */
type Qualified = (column: ColumnParts, name: SQLChunk) => SQLChunk

function quickener(drizzle: Drizzle): Quicken {
  const { entityKind, is, sql, SQL: SqlClass } = drizzle
  const { textOf, framed, isColumn, isTable } = queryTexts(drizzle)
  const { toQuery, buildQueryFromSourceParams } = SqlClass.prototype
  const orderSelectedFields: (fields: object) => Fields = Reflect.get(drizzle, 'orderSelectedFields')
  const comma = sql`, `
  const qualified: Readonly<Record<string, Qualified>> = {
    PgDialect: (column) => column,
    MySqlDialect: (column) => column,
    SQLiteAsyncDialect: ({ table }, name) => sql`${sql.identifier(table[TABLE_NAME])}.${name}`,
  }

  /** @param drizzles the dialect as Drizzle has it */
  function quickOf(drizzles: Dialect, qualify: Qualified): Partial<Dialect> & ThisType<Dialect> {
    const selections = new WeakMap<Dialect, WeakMap<TableParts, Selected[]>>()

    /** Made when the same columns are selected for the second time: what is selected once only costs nothing more. */
    function frameOf(dialect: Dialect, table: TableParts, select: Select): Frame | undefined {
      // An alias has new column objects at each access.
      if (table[IS_ALIAS]) return undefined
      const ofDialect = selections.get(dialect) ?? new WeakMap<TableParts, Selected[]>()
      const ofTable = ofDialect.get(table) ?? []
      const columns = Object.values(select.fields)
      const known = ofTable.find((selected) => isSame(selected, table, columns))
      if (known !== undefined) {
        known.frame ??= newFrame(dialect, select)
        return known.frame
      }
      const isOwn = (column: unknown) => isColumn(column) && column.table[TABLE_NAME] === table[TABLE_NAME]
      if (!columns.every(isOwn)) return undefined
      if (ofTable.length === MOST_SELECTED) ofTable.shift()
      ofTable.push({ name: table[TABLE_NAME], schema: table[SCHEMA], columns, frame: undefined })
      selections.set(dialect, ofDialect.set(table, ofTable))
      return undefined
    }

    /** Of what Drizzle builds around a condition of ours, which is then looked for. */
    function newFrame(dialect: Dialect, select: Select): Frame {
      const where = sql``
      const { queryChunks } = drizzles.buildSelectQuery.call(dialect, { ...select, where })
      const whereAt = queryChunks.findIndex((each) => is(each, SqlClass) && each.queryChunks.includes(where))
      const head = textOf(new SqlClass(queryChunks.slice(0, whereAt)), dialect).sql
      return { chunks: queryChunks, tables: queryChunks.filter(isTable), whereAt, head, rules: dialect }
    }

    return {
      sqlToQuery(sql, invokeSource) {
        // A class of the program's, another copy of Drizzle, or one that something was added to: that may write otherwise.
        const isPlain =
          sql.toQuery === toQuery && sql.buildQueryFromSourceParams === buildQueryFromSourceParams
        return isPlain && invokeSource === undefined
          ? textOf(sql, this)
          : drizzles.sqlToQuery.call(this, sql, invokeSource)
      },

      /** Columns by themselves, the rest by Drizzle, each in its place. */
      buildSelection(given, options) {
        const fields = given instanceof Checked ? given.fields : given
        let isFirst = true
        const chunks: SQLChunk[] = []
        // It looks for tables in the chunks that it is given here; there are none.
        const selection = new SqlClass(chunks)
        for (const each of fields) {
          const { field } = each
          if (!isFirst) chunks.push(comma)
          isFirst = false
          if (!isColumn(field) || field.columnType === 'SQLiteNumericBigInt') {
            chunks.push(...drizzles.buildSelection.call(this, [each], options).queryChunks)
            continue
          }
          const name = sql.identifier(this.casing.getColumnCasing(field))
          chunks.push(options?.isSingleTable ? name : qualify(field, name))
        }
        return selection
      },

      /** Each column must be of a table of the query: Drizzle says so of one that is not. */
      buildSelectQuery(select) {
        const { table, where } = select
        const frame = isPlain(select) && isTable(table) ? frameOf(this, table, select) : undefined
        if (frame !== undefined) return framed(frame, where ? sql` where ${where}` : undefined)
        const fields = select.fieldsFlat ?? orderSelectedFields(select.fields)
        const checked = isChecked(fields, select) ? new Checked(fields) : fields
        return drizzles.buildSelectQuery.call(this, withFields(select, checked))
      },
    }
  }

  function isChecked(fields: Fields, { table, joins = [] }: Select): boolean {
    if (!isTable(table)) return false
    const ownName = table[TABLE_NAME]
    for (const { field } of fields) {
      if (!isColumn(field)) continue
      const { table: of } = field
      if (of[TABLE_NAME] === ownName) continue
      const alias = of[IS_ALIAS] ? of[TABLE_NAME] : of[BASE_NAME]
      if (!joins.some((join) => join.alias === alias)) return false
    }
    return true
  }

  const known = new WeakMap<object, object>()
  return (dialect) => {
    const prototype: Dialect = Object.getPrototypeOf(dialect)
    const qualify = qualified[String(Reflect.get(prototype.constructor, entityKind))]
    if (qualify === undefined) return dialect
    const quick = known.get(prototype) ?? quickOf(prototype, qualify)
    known.set(prototype, quick)
    return Object.assign(dialect, quick)
  }
}

/** The columns that were selected of a table, and its name then. */
interface Selected {
  readonly name: string
  readonly schema: string | undefined
  readonly columns: readonly unknown[]
  frame: Frame | undefined
}

/** How many selections are kept of a table. */
const MOST_SELECTED = 8

/** All or some of one table, by a condition or none. */
function isPlain(select: Select): boolean {
  return (
    select.fieldsFlat === undefined &&
    isNone(select.joins) &&
    isNone(select.withList) &&
    isNone(select.setOperators) &&
    isNone(select.orderBy) &&
    isNone(select.groupBy) &&
    select.having === undefined &&
    select.limit === undefined &&
    select.offset === undefined &&
    select.distinct === undefined &&
    select.lockingClause === undefined &&
    isNone(select.useIndex) &&
    isNone(select.forceIndex) &&
    isNone(select.ignoreIndex)
  )
}

function isNone(list: readonly unknown[] | undefined): boolean {
  return list === undefined || list.length === 0
}

function isSame(selected: Selected, table: TableParts, columns: readonly unknown[]): boolean {
  const { name, schema, columns: others } = selected
  if (others.length !== columns.length || name !== table[TABLE_NAME] || schema !== table[SCHEMA]) return false
  for (let at = 0; at < columns.length; at++) if (columns[at] !== others[at]) return false
  return true
}

/** Written out: to spread it would take longer than all else that is done here. */
function withFields(select: Select, fieldsFlat: Fields): Select {
  return {
    fieldsFlat,
    fields: select.fields,
    table: select.table,
    joins: select.joins,
    withList: select.withList,
    where: select.where,
    having: select.having,
    orderBy: select.orderBy,
    groupBy: select.groupBy,
    limit: select.limit,
    offset: select.offset,
    distinct: select.distinct,
    setOperators: select.setOperators,
    lockingClause: select.lockingClause,
    useIndex: select.useIndex,
    forceIndex: select.forceIndex,
    ignoreIndex: select.ignoreIndex,
  }
}

/** Fields that need no check: Drizzle finds none in it, and hands it on. */
class Checked implements Fields {
  readonly fields: Fields

  constructor(fields: Fields) {
    this.fields = fields
  }

  *[Symbol.iterator](): Iterator<never> {}
}
