import { is } from 'drizzle-orm'
import { getTableConfig, getViewConfig, isMySqlSchema, MySqlTable, MySqlView } from 'drizzle-orm/mysql-core'
import { drawsFrom, MysqlSequence } from '../../models/mysql-sequence.ts'
import { type Definition, definitionsOf, inOrderOfNeed, reordered, withOwner } from '../definition.ts'
import { SchemaError } from '../errors.ts'
import type { Casing } from '../names.ts'
import { inOrderOfUse } from '../view-order.ts'
import { references } from './constraints.ts'
import type { Flavor, TableModel } from './model.ts'
import { schemaDefinition, sequenceDefinition, viewDefinition } from './objects.ts'
import { tableDefinition } from './table.ts'

/** What the models define in a MySQL or MariaDB database; `casing` is that of Drizzle 0.45's configuration. */
export function mysqlDefinitions(
  models: Readonly<Record<string, unknown>>,
  casing?: Casing,
  flavor: Flavor = 'mysql',
): Definition[] {
  const tables = inOrderOfReference(
    Object.values(models)
      .filter((model) => is(model, MySqlTable))
      .map((table): TableModel => ({ ...getTableConfig(table), casing, flavor })),
  )
  assertNoClashes(tables)
  const positions = new Map(tables.map((table, at) => [keyOf(table), at]))

  const definitions = definitionsOf(withSequences(models), (value) => {
    if (is(value, MySqlTable)) {
      const table = { ...getTableConfig(value), casing, flavor }
      const position = positions.get(keyOf(table)) ?? 0
      return tableDefinition(table, (target) => (positions.get(keyOf(target)) ?? 0) > position)
    }
    if (is(value, MySqlView)) return viewDefinition(getViewConfig(value), casing)
    if (isMySqlSchema(value)) return schemaDefinition(value)
    if (value instanceof MysqlSequence) return flavor === 'mariadb' ? sequenceDefinition(value) : 'existing'
    return undefined
  })
  const inTurn = definitions
    .filter(({ kind }) => kind === 'table')
    .sort((one, other) => (positions.get(keyOf(one)) ?? 0) - (positions.get(keyOf(other)) ?? 0))
  return inOrderOfUse(reordered(definitions, inTurn), undefined)
}

/** The models with the sequences that their columns use, which need not be exported. */
function withSequences(models: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const others = Object.entries(models).filter(([, model]) => !(model instanceof MysqlSequence))
  return { ...Object.fromEntries(others), ...Object.fromEntries(sequencesOf(models)) }
}

/** All sequences, one per name. */
export function sequencesOf(models: Readonly<Record<string, unknown>>): Map<string, MysqlSequence> {
  const all = Object.values(models).flatMap((model) => {
    if (model instanceof MysqlSequence) return model
    if (!is(model, MySqlTable)) return []
    return getTableConfig(model).columns.flatMap((column) => drawsFrom(column) ?? [])
  })
  return new Map(
    all.map((sequence) => [keyOf({ schema: sequence.schema, name: sequence.sequenceName }), sequence]),
  )
}

interface Named {
  readonly schema: string | undefined
  readonly name: string
}

function keyOf({ schema, name }: Named): string {
  return JSON.stringify([schema, name])
}

/** Each table after the tables that it references, except in cycles. */
function inOrderOfReference(tables: readonly TableModel[]): TableModel[] {
  const byKey = new Map(tables.map((table) => [keyOf(table), table]))
  return inOrderOfNeed(tables, (table) =>
    withOwner(table.name, () => references(table)).flatMap(({ target }) => byKey.get(keyOf(target)) ?? []),
  )
}

/** Names of foreign keys are unique in a database, ignoring case. */
function assertNoClashes(tables: readonly TableModel[]): void {
  const taken = new Map<string, TableModel>()
  for (const table of tables) {
    for (const { name } of references(table)) {
      const key = JSON.stringify([table.schema, name.toLowerCase()])
      const first = taken.get(key)
      if (first !== undefined && keyOf(first) !== keyOf(table)) {
        throw new SchemaError(
          'SCHEMA_NAME_TAKEN',
          `Cannot prepare "${first.name}" and "${table.name}": both have a foreign key that is called "${name}"`,
        )
      }
      taken.set(key, table)
    }
  }
}
