import { is, SQL } from 'drizzle-orm'
import { getTableConfig, type Index, IndexedColumn, type PgPolicy, type PgTable } from 'drizzle-orm/pg-core'
import {
  type Definition,
  type IndexDefinition,
  type SchemaStatement,
  type StoredName,
  twins,
  unsupported,
} from '../definition.ts'
import type { SchemaError } from '../errors.ts'
import { columnsIn } from '../expression.ts'
import { type Casing, type ColumnKey, columnName } from '../names.ts'
import { columnDefinition, columnText, identityName } from './columns.ts'
import { checks, foreignKeys, keysMade, primaryKeys, uniques } from './constraints.ts'
import type { TableModel } from './model.ts'
import { policyText, storageParameters } from './objects.ts'
import { ddlText, label, qualified, quote, storedColumnName, storedName, storedSchema } from './text.ts'

/** A table with its constraints, indexes and policies, including those `linked` to it. */
export function tableDefinition(
  table: PgTable,
  linked: readonly PgPolicy[],
  casing: Casing | undefined,
): Definition {
  const model: TableModel = { config: getTableConfig(table), casing }
  const { name, schema, columns, enableRLS } = model.config
  const policies = [...new Set([...model.config.policies, ...linked])]
  const checked = checks(model)
  const constraints = [...primaryKeys(model), ...uniques(model), ...checked].map(
    ({ text }) => `CONSTRAINT ${text}`,
  )
  const references = foreignKeys(model)
  const indexes = model.config.indexes.map((index) => indexDefinition(model, index))
  const isSecured = enableRLS || policies.length > 0
  const named = {
    column: columns.map((column) => storedName(columnName(column, casing))),
    key: keysMade(model),
    check: checked,
    'foreign key': references,
    policy: policies.map((policy) => storedName(policy.name)),
    index: indexes,
    sequence: columns.flatMap((column) => identityName(model, column) ?? []),
  }
  const obstacle =
    clashIn(name, 'columns', named.column) ??
    clashIn(name, 'constraints', [...named.key, ...checked, ...references]) ??
    clashIn(name, 'policies', named.policy)

  const definition: Definition = {
    kind: 'table',
    ...storedName(name),
    schema: storedSchema(schema),
    label: label(schema, name),
    columns: columns.map((column) => columnDefinition(model, column)),
    indexes,
    relations: [...named.key, ...named.index, ...named.sequence],
    parts: Object.entries(named).flatMap(([what, all]) => chosen(what, all)),
    ...(obstacle !== undefined && { obstacle }),
    statements(defaultSchema) {
      const home = schema ?? defaultSchema
      const target = qualified(home, name)
      const body = [...columns.map((column) => columnText(model, column, home)), ...constraints].join(',\n  ')
      return [
        { stage: 'table', text: `CREATE TABLE ${target} (\n  ${body}\n)` },
        ...(isSecured ? [secured(target)] : []),
        ...indexes.map((index): SchemaStatement => ({ stage: 'index', text: index.create(defaultSchema) })),
        ...references.map(
          ({ text }): SchemaStatement => ({
            stage: 'foreign key',
            text: `ALTER TABLE ${target} ADD CONSTRAINT ${text}`,
          }),
        ),
        ...policies.map(
          (policy): SchemaStatement => ({ stage: 'policy', text: policyText(policy, home, name, casing) }),
        ),
      ]
    },
  }
  // Errors of its statements are thrown now, before any statement of any definition runs.
  definition.statements(undefined)
  return definition
}

/**
 * Two parts of a table with one name: it cannot be created, but two keys of a model may map to one column of an
 * existing table.
 * @throws SchemaError when PostgreSQL truncates two names to the same
 */
function clashIn(table: string, what: string, names: readonly StoredName[]): SchemaError | undefined {
  const taken = new Map<string, string>()
  let clash: SchemaError | undefined
  for (const { name, modelName } of names) {
    const first = taken.get(name) ?? modelName
    if (taken.has(name)) {
      const error = twins(table, what, name, first, modelName)
      if (first !== modelName) throw error
      clash ??= error
    }
    taken.set(name, first)
  }
  return clash
}

type Part = NonNullable<Definition['parts']>[number]

function chosen(what: string, named: readonly (StoredName & { readonly isDerived?: boolean })[]): Part[] {
  return named.flatMap(({ name, modelName, isDerived }) => (isDerived ? [] : { what, name, modelName }))
}

function secured(target: string): SchemaStatement {
  return { stage: 'table', text: `ALTER TABLE ${target} ENABLE ROW LEVEL SECURITY` }
}

interface TableIndex extends IndexDefinition, StoredName {
  /** Whether its name is derived, not chosen. */
  readonly isDerived: boolean
}

/** An index. `concurrently` is ignored, since everything is created in one transaction. */
function indexDefinition(model: TableModel, { config }: Index): TableIndex {
  const { name: table, schema } = model.config
  const { unique, where, only, method = 'btree', with: parameters } = config
  const stored = storedName(config.name ?? defaultName(model, config.columns))
  const { name } = stored
  const context = { owner: table, casing: model.casing, isUnqualified: true }

  const columns = config.columns.map((column) => {
    if (is(column, SQL)) return ddlText(column, { ...context, what: `its index "${name}"` })
    return indexedColumnText(model, name, column)
  })
  // Drizzle sets `only` for every index with a method, so it counts only without one.
  const on = only && method === 'btree' ? 'ON ONLY' : 'ON'
  let tail = ` USING ${method} (${columns.join(', ')})`
  if (parameters !== undefined) tail += storageParameters(table, parameters)
  if (where !== undefined) tail += ` WHERE ${ddlText(where, { ...context, what: `its index "${name}"` })}`

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
