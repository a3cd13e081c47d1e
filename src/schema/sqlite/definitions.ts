import { is } from 'drizzle-orm'
import { getTableConfig, getViewConfig, SQLiteTable, SQLiteView } from 'drizzle-orm/sqlite-core'
import { type Definition, definitionsOf, objectDefinition } from '../definition.ts'
import { SchemaError } from '../errors.ts'
import { viewQuery } from '../expression.ts'
import type { Casing } from '../names.ts'
import { inOrderOfUse } from '../view-order.ts'
import { quote, sqlText } from './model.ts'
import { tableDefinition } from './table.ts'

/** What the models define in an SQLite database; `casing` is that of Drizzle 0.45's configuration. */
export function sqliteDefinitions(models: Record<string, unknown>, casing?: Casing): Definition[] {
  const definitions = definitionsOf(models, (value) => {
    if (is(value, SQLiteTable)) return tableDefinition({ ...getTableConfig(value), casing })
    if (is(value, SQLiteView)) return viewDefinition(getViewConfig(value), casing)
    return undefined
  })
  assertNoClashes(definitions)
  return inOrderOfUse(definitions, 'main')
}

/** Tables, views and indexes share their names; to SQLite an ASCII letter is the same in either case. */
function assertNoClashes(definitions: readonly Definition[]): void {
  const taken = new Map<string, string>()
  for (const { label, name, indexes } of definitions) {
    for (const each of [name, ...indexes.map((index) => index.name)]) {
      const key = each.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
      const first = taken.get(key)
      if (first !== undefined) {
        throw new SchemaError(
          'SCHEMA_NAME_TAKEN',
          `Cannot prepare "${first}" and "${label}": both have something that is called "${each}"`,
        )
      }
      taken.set(key, label)
    }
  }
}

type ViewModel = Pick<ReturnType<typeof getViewConfig>, 'name' | 'query' | 'selectedFields'>

/** A view, or 'existing' for one that its model only describes. */
function viewDefinition(
  { name, query, selectedFields }: ViewModel,
  casing: Casing | undefined,
): Definition | 'existing' {
  if (query === undefined) return 'existing'
  const select = sqlText(viewQuery(query, selectedFields, casing), { owner: name, what: 'its query', casing })
  return objectDefinition(
    { kind: 'view', name, schema: undefined, label: name },
    'view',
    () => `CREATE VIEW ${quote(name)} AS ${select}`,
  )
}
