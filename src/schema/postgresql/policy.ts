import { getTableUniqueName, is } from 'drizzle-orm'
import { getTableConfig, PgPolicy, type PgPolicyToOption, PgRole, PgTable } from 'drizzle-orm/pg-core'
import type { Casing } from '../casing.ts'
import type { Definition } from '../definition.ts'
import { ddlText } from './literal.ts'
import { label, qualified, quote, storedName, storedSchema, truncated } from './names.ts'

/** A policy that was linked to a table which is none of the models: one of Supabase's, for instance. */
export function policyDefinition(policy: PgPolicy, table: PgTable, casing: Casing | undefined): Definition {
  const { name: on, schema } = getTableConfig(table)
  // Without a schema its table is wherever the search_path finds it.
  const text = policyText(policy, schema, on, casing)
  return {
    kind: 'policy',
    ...storedName(policy.name),
    schema: storedSchema(schema),
    table: truncated(on),
    label: `policy ${label(undefined, policy.name)} on ${label(schema, on)}`,
    columns: [],
    indexes: [],
    statements: () => [{ stage: 'policy', text }],
  }
}

/** The table that a policy was linked to, which is no part of Drizzle's types. */
export function linkedTable(policy: PgPolicy): PgTable | undefined {
  const table: unknown = Reflect.get(policy, '_linkedTable')
  return is(table, PgTable) ? table : undefined
}

/** The policies among the models that were linked to a table, by whichever description of it. */
export function policiesLinkedTo(table: PgTable, models: Record<string, unknown>): PgPolicy[] {
  return Object.values(models).filter((model): model is PgPolicy => {
    const linked = is(model, PgPolicy) ? linkedTable(model) : undefined
    return linked !== undefined && getTableUniqueName(linked) === getTableUniqueName(table)
  })
}

export function policyText(
  policy: PgPolicy,
  schema: string | undefined,
  table: string,
  casing: Casing | undefined,
): string {
  const { name, as = 'permissive', for: command = 'all', to = 'public', using, withCheck } = policy
  const place = { owner: table, what: `its policy "${name}"`, casing }
  const roles = rolesOf(to).sort().map(roleText)

  let text = `CREATE POLICY ${quote(name)} ON ${qualified(schema, table)}`
  text += ` AS ${as.toUpperCase()} FOR ${command.toUpperCase()} TO ${roles.join(', ')}`
  if (using !== undefined) text += ` USING (${ddlText(using, place)})`
  if (withCheck !== undefined) text += ` WITH CHECK (${ddlText(withCheck, place)})`
  return text
}

function rolesOf(to: PgPolicyToOption): string[] {
  if (Array.isArray(to)) return to.flatMap(rolesOf)
  return [is(to, PgRole) ? to.name : to]
}

/** Names that PostgreSQL reads as words. */
const ROLE_WORDS = new Set(['public', 'current_role', 'current_user', 'session_user'])

function roleText(role: string): string {
  return ROLE_WORDS.has(role) ? role : quote(role)
}
