import { is } from 'drizzle-orm'
import {
  getTableConfig,
  isPgEnum,
  isPgSequence,
  PgMaterializedView,
  PgPolicy,
  PgRole,
  PgSchema,
  PgTable,
  PgView,
} from 'drizzle-orm/pg-core'
import { type Definition, definitionsOf, unsupported } from '../definition.ts'
import type { Casing } from '../names.ts'
import { inOrderOfUse } from '../view-order.ts'
import {
  enumDefinition,
  linkedTable,
  policiesLinkedTo,
  policyDefinition,
  roleDefinition,
  schemaDefinition,
  sequenceDefinition,
  viewDefinition,
} from './objects.ts'
import { tableDefinition } from './table.ts'

/** What the models define in a PostgreSQL database; `casing` is that of Drizzle 0.45's configuration. */
export function postgresqlDefinitions(models: Record<string, unknown>, casing?: Casing): Definition[] {
  const definitions = definitionsOf(models, (value, name) => {
    if (is(value, PgTable)) return tableDefinition(value, policiesLinkedTo(value, models), casing)
    if (is(value, PgView) || is(value, PgMaterializedView)) return viewDefinition(value, casing) ?? 'existing'
    if (isPgSequence(value)) return sequenceDefinition(value, name)
    if (isPgEnum(value)) return enumDefinition(value)
    if (is(value, PgSchema)) return schemaDefinition(value)
    if (is(value, PgRole)) return roleDefinition(value) ?? 'existing'
    if (is(value, PgPolicy)) return exportedPolicy(value, models, casing)
    return undefined
  })
  return inOrderOfUse(definitions, 'public')
}

/** One of a table among the models comes with that table. */
function exportedPolicy(
  policy: PgPolicy,
  models: Record<string, unknown>,
  casing: Casing | undefined,
): Definition | 'existing' {
  const linked = linkedTable(policy)
  const isOfTable = Object.values(models)
    .filter((model) => is(model, PgTable))
    .some((table) =>
      linked === undefined
        ? getTableConfig(table).policies.includes(policy)
        : policiesLinkedTo(table, models).includes(policy),
    )
  if (isOfTable) return 'existing'
  if (linked === undefined) throw unsupported(policy.name, 'it is a policy of no table')
  return policyDefinition(policy, linked, casing)
}
