import type { getViewConfig } from 'drizzle-orm/sqlite-core'
import type { Casing } from '../casing.ts'
import type { Definition } from '../definition.ts'
import { mentions } from '../expression.ts'
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

/** Views after those that they speak of; all else stays as it is. */
export function inOrderOfUse(definitions: readonly Definition[]): Definition[] {
  const ordered = new Set<Definition>()
  const visited = new Set<Definition>()
  for (const definition of definitions) place(definition)
  return [...ordered]

  function place(definition: Definition): void {
    if (visited.has(definition)) return
    visited.add(definition)
    if (definition.kind === 'view') {
      const [statement] = definition.statements(undefined)
      for (const other of definitions) {
        if (other.kind === 'view' && mentions(statement?.text ?? '', other.name)) place(other)
      }
    }
    ordered.add(definition)
  }
}
