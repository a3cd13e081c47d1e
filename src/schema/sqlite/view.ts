import type { getViewConfig } from 'drizzle-orm/sqlite-core'
import type { Casing } from '../casing.ts'
import type { Definition } from '../definition.ts'
import { viewQuery } from '../view-query.ts'
import { quote, sqlText } from './text.ts'

type ViewModel = Pick<ReturnType<typeof getViewConfig>, 'name' | 'query' | 'selectedFields'>

/** A view, or 'existing' for one that its model only describes. */
export function viewDefinition(
  { name, query, selectedFields }: ViewModel,
  casing: Casing | undefined,
): Definition | 'existing' {
  if (query === undefined) return 'existing'
  const select = sqlText(viewQuery(query, selectedFields, casing), { owner: name, what: 'its query', casing })
  return {
    kind: 'view',
    name,
    schema: undefined,
    label: name,
    columns: [],
    indexes: [],
    statements: () => [{ stage: 'view', text: `CREATE VIEW ${quote(name)} AS ${select}` }],
  }
}
