import { getTableConfig, type PgTable } from 'drizzle-orm/pg-core'
import type { Casing } from '../casing.ts'
import type { Definition, SchemaStatement } from '../definition.ts'
import { columnDefinition, columnText } from './column.ts'
import { checks, foreignKeys, primaryKeys, uniques } from './constraint.ts'
import { label, qualified } from './names.ts'
import { policyText } from './policy.ts'
import { indexDefinition } from './table-index.ts'

export interface TableModel {
  readonly config: ReturnType<typeof getTableConfig>
  readonly casing: Casing | undefined
}

/** A table; `isLinked` when a policy outside of it is linked to it. */
export function tableDefinition(table: PgTable, casing: Casing | undefined, isLinked: boolean): Definition {
  const model: TableModel = { config: getTableConfig(table), casing }
  const { name, schema, columns, policies, enableRLS } = model.config
  const constraints = [...primaryKeys(model), ...uniques(model), ...checks(model)].map(
    ({ text }) => `CONSTRAINT ${text}`,
  )
  const references = foreignKeys(model)
  const indexes = model.config.indexes.map((index) => indexDefinition(model, index))
  const isSecured = enableRLS || policies.length > 0 || isLinked

  const definition: Definition = {
    kind: 'table',
    name,
    schema,
    label: label(schema, name),
    columns: columns.map((column) => columnDefinition(model, column)),
    indexes,
    statements(place) {
      const home = schema ?? place
      const target = qualified(home, name)
      const body = [...columns.map((column) => columnText(model, column, home)), ...constraints].join(',\n  ')
      return [
        { stage: 'table', text: `CREATE TABLE ${target} (\n  ${body}\n)` },
        ...(isSecured ? [secured(target)] : []),
        ...indexes.map((index): SchemaStatement => ({ stage: 'index', text: index.create(place) })),
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
  // What cannot be expressed is refused now, before any statement of any definition runs.
  definition.statements(undefined)
  return definition
}

function secured(target: string): SchemaStatement {
  return { stage: 'table', text: `ALTER TABLE ${target} ENABLE ROW LEVEL SECURITY` }
}
