import { is, SQL } from 'drizzle-orm'
import { type Index, IndexedColumn } from 'drizzle-orm/pg-core'
import { type ColumnKey, columnName } from '../casing.ts'
import { type IndexDefinition, type StoredName, unsupported } from '../definition.ts'
import { columnsIn } from '../expression.ts'
import { ddlText } from './literal.ts'
import { qualified, quote, storedColumnName, storedName } from './names.ts'
import { storageParameters } from './storage-parameters.ts'
import type { TableModel } from './table.ts'

export interface TableIndex extends IndexDefinition, StoredName {
  /** Whether nobody chose its name. */
  readonly isDerived: boolean
}

/** An index; `concurrently` is passed over, for everything is made in one transaction. */
export function indexDefinition(model: TableModel, { config }: Index): TableIndex {
  const { name: table, schema } = model.config
  const { unique, where, only, method = 'btree', with: parameters } = config
  const stored = storedName(config.name ?? defaultName(model, config.columns))
  const { name } = stored
  const place = { owner: table, casing: model.casing, isUnqualified: true }

  const columns = config.columns.map((column) => {
    if (is(column, SQL)) return ddlText(column, { ...place, what: `its index "${name}"` })
    return indexedColumnText(model, name, column)
  })
  // Drizzle says "only" of every index with a method: it is meant where none was given.
  const on = only && method === 'btree' ? 'ON ONLY' : 'ON'
  let tail = ` USING ${method} (${columns.join(', ')})`
  if (parameters !== undefined) tail += storageParameters(table, parameters)
  if (where !== undefined) tail += ` WHERE ${ddlText(where, { ...place, what: `its index "${name}"` })}`

  const head = `CREATE ${unique ? 'UNIQUE INDEX' : 'INDEX'} ${quote(name)} ${on}`
  const used = [...config.columns.flatMap(keysOf), ...columnsIn(where)]
  const names = new Set(used.map((column) => storedColumnName(column, model.casing)))
  return {
    ...stored,
    isDerived: config.name === undefined,
    columns: [...names],
    create: (to) => `${head} ${qualified(schema ?? to, table)}${tail}`,
  }
}

type IndexColumn = Index['config']['columns'][number]

function keysOf(column: IndexColumn): ColumnKey[] {
  if (!is(column, IndexedColumn) || column.name === undefined) return columnsIn(column)
  return [{ name: column.name, keyAsName: column.keyAsName ?? false }]
}

/** drizzle-kit's. */
function defaultName({ config, casing }: TableModel, columns: readonly IndexColumn[]): string {
  const names = columns.map((column) => {
    if (is(column, IndexedColumn) && column.name !== undefined)
      return columnName({ ...column, name: column.name }, casing)
    throw unsupported(config.name, 'it has an index over an expression that bears no name')
  })
  return `${config.name}_${names.join('_')}_index`
}

function indexedColumnText({ config, casing }: TableModel, index: string, column: IndexColumn): string {
  if (!is(column, IndexedColumn) || column.name === undefined) {
    throw unsupported(config.name, `its index "${index}" is over something that is neither a column nor SQL`)
  }
  const { order = 'asc', nulls, opClass } = column.indexConfig ?? {}
  let text = quote(columnName({ keyAsName: column.keyAsName, name: column.name }, casing))
  if (opClass !== undefined) text += ` ${opClass}`
  if (order === 'desc') text += ` DESC NULLS ${(nulls ?? 'first').toUpperCase()}`
  else if (nulls === 'first') text += ' NULLS FIRST'
  return text
}
