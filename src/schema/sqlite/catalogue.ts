import { type SQL, sql } from 'drizzle-orm'
import { textOf } from '../../errors.ts'
import type { Definition } from '../definition.ts'
import type { FoundTable } from '../diff.ts'

/** SQLite compares names without regard to case. */
export function catalogueQuery(definitions: readonly Definition[]): SQL {
  const names = JSON.stringify(definitions.map(({ name }) => name))
  return sql`select cast(w.key as text) as "at", m.type as "kind",
  case m.type when 'table' then (
    select json_group_array(json_array(c.name, c.type)) from pragma_table_xinfo(m.name) c) end as "columns",
  case m.type when 'table' then (
    select json_group_array(json_array(i.name, case when i."unique" and not i.partial then (
      select json_group_array(k.name) from pragma_index_info(i.name) k) end))
    from pragma_index_list(m.name) i) end as "indexes"
from json_each(${names}) w
join sqlite_master m on m.name = w.value collate nocase and m.type in ('table', 'view', 'index')`
}

/** The table of a row; undefined for a view, which is not compared. */
export function foundTable(row: object): FoundTable | undefined {
  if (textOf(row, 'kind') !== 'table') return undefined
  const types = new Map(listIn(textOf(row, 'columns')).map(([name, type]) => [lower(name), String(type)]))
  const names = new Set<string>()
  const uniques = new Set<string>()
  for (const [name, uniqueOn] of listIn(textOf(row, 'indexes'))) {
    names.add(lower(name))
    // Some versions of SQLite return nested JSON as it is, others as its text.
    if (uniqueOn !== null)
      uniques.add(lower(typeof uniqueOn === 'string' ? uniqueOn : JSON.stringify(uniqueOn)))
  }
  return {
    schema: undefined,
    typeOf: (column) => types.get(lower(column)),
    isSameType: (found, expected) => found.toUpperCase() === expected,
    // A UNIQUE in the text of a table has an index without a name of its own, which serves as well.
    hasIndex: ({ name, uniqueOn }) =>
      names.has(lower(name)) || (uniqueOn !== undefined && uniques.has(lower(JSON.stringify(uniqueOn)))),
  }
}

function lower(name: unknown): string {
  return String(name).toLowerCase()
}

function listIn(json: string | undefined): unknown[][] {
  const list: unknown = json === undefined ? [] : JSON.parse(json)
  return Array.isArray(list) ? list : []
}
