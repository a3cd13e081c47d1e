import { getTableConfig, type PgPolicy, type PgTable } from 'drizzle-orm/pg-core'
import type { Casing } from '../casing.ts'
import type { Definition, SchemaStatement } from '../definition.ts'
import { columnDefinition, columnText, identityName } from './column.ts'
import { checks, foreignKeys, namesOfIndexes, primaryKeys, uniques } from './constraint.ts'
import { label, qualified } from './names.ts'
import { policyText } from './policy.ts'
import { indexDefinition } from './table-index.ts'

export interface TableModel {
  readonly config: ReturnType<typeof getTableConfig>
  readonly casing: Casing | undefined
}

/** A table with all that is its own, also the policies that were `linked` to it. */
export function tableDefinition(
  table: PgTable,
  linked: readonly PgPolicy[],
  casing: Casing | undefined,
): Definition {
  const model: TableModel = { config: getTableConfig(table), casing }
  const { name, schema, columns, enableRLS } = model.config
  const policies = [...new Set([...model.config.policies, ...linked])]
  const constraints = [...primaryKeys(model), ...uniques(model), ...checks(model)].map(
    ({ text }) => `CONSTRAINT ${text}`,
  )
  const references = foreignKeys(model)
  const indexes = model.config.indexes.map((index) => indexDefinition(model, index))
  const isSecured = enableRLS || policies.length > 0

  const definition: Definition = {
    kind: 'table',
    name,
    schema,
    label: label(schema, name),
    columns: columns.map((column) => columnDefinition(model, column)),
    indexes,
    relations: [
      ...namesOfIndexes(model),
      ...indexes.map((index) => index.name),
      ...columns.flatMap((column) => identityName(model, column) ?? []),
    ],
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
