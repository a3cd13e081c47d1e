import { is } from 'drizzle-orm'
import { getTableConfig, getViewConfig, SQLiteTable, SQLiteView } from 'drizzle-orm/sqlite-core'
import { SchemaError } from '../../errors.ts'
import type { Casing } from '../casing.ts'
import { type Definition, definitionsOf } from '../definition.ts'
import { inOrderOfUse } from '../view-order.ts'
import { tableDefinition } from './table.ts'
import { viewDefinition } from './view.ts'

/** What the models ask of an SQLite database; `casing` is that of Drizzle 0.45's configuration. */
export function sqliteDefinitions(models: Record<string, unknown>, casing?: Casing): Definition[] {
  const definitions = definitionsOf(models, (value) => {
    if (is(value, SQLiteTable)) return tableDefinition({ ...getTableConfig(value), casing })
    if (is(value, SQLiteView)) return viewDefinition(getViewConfig(value), casing)
    return undefined
  })
  refuseClashes(definitions)
  return inOrderOfUse(definitions)
}

/** Tables, views and indexes share their names; to SQLite an ASCII letter is the same in either case. */
function refuseClashes(definitions: readonly Definition[]): void {
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
