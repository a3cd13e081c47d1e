import type { getViewConfig } from 'drizzle-orm/mysql-core'
import type { Casing } from '../casing.ts'
import type { Definition } from '../definition.ts'
import { viewQuery } from '../view-query.ts'
import { ddlText, label, qualified } from './text.ts'

/** A view, or 'existing' for one that its model only describes. */
export function viewDefinition(
  view: ReturnType<typeof getViewConfig>,
  casing: Casing | undefined,
): Definition | 'existing' {
  const { name, schema, query, selectedFields, algorithm, sqlSecurity, withCheckOption } = view
  if (query === undefined) return 'existing'

  let text = 'CREATE'
  if (algorithm !== undefined) text += ` ALGORITHM = ${algorithm.toUpperCase()}`
  if (sqlSecurity !== undefined) text += ` SQL SECURITY ${sqlSecurity.toUpperCase()}`
  const place = { owner: name, what: 'its query', casing }
  text += ` VIEW ${qualified(schema, name)} AS (${ddlText(viewQuery(query, selectedFields, casing), place)})`
  if (withCheckOption !== undefined) text += ` WITH ${withCheckOption.toUpperCase()} CHECK OPTION`
  return {
    kind: 'view',
    name,
    schema,
    label: label(schema, name),
    columns: [],
    indexes: [],
    statements: () => [{ stage: 'view', text }],
  }
}
