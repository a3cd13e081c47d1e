import { type SQL, sql } from 'drizzle-orm'
import { textOf } from '../../errors.ts'
import type { Definition, IndexDefinition } from '../definition.ts'
import type { FoundTable } from '../diff.ts'
import type { Flavor } from './model.ts'
import { UNFINISHED } from './table.ts'
import { catalogueType } from './types.ts'

/** An object to find in the catalogue. */
export type Wanted = Pick<Definition, 'kind' | 'name' | 'schema'>

/**
 * The server, and all objects of the expected names, as text. One row per column and per column of an index, since
 * MySQL truncates GROUP_CONCAT at 1 kB.
 */
export function catalogueQuery(wanted: readonly Wanted[]): SQL {
  const relations = wanted.filter(({ kind }) => kind !== 'schema')
  const parts = [...new Set(relations.map(({ schema }) => schema))].flatMap((schema) => {
    const home = schema === undefined ? sql`database()` : sql`${schema}`
    const those = relations.filter((relation) => relation.schema === schema)
    const names = sql.join(
      those.map(({ name }) => sql`${name}`),
      sql`, `,
    )
    const is = (column: SQL) => sql`table_schema = ${home} and ${column} in (${names})`
    const owner = schema === undefined ? sql`null` : sql`${schema}`
    return [
      sql`select 'table', ${owner}, table_name, null, table_type, table_comment, null, null, 0
from information_schema.tables where ${is(sql`table_name`)}`,
      sql`select 'column', ${owner}, table_name, column_name, column_type, is_nullable, collation_name,
  case when column_comment <> '' or extra <> '' or column_default is not null
    and not (column_default = 'NULL' and version() like '%MariaDB%') then 'more' end, ordinal_position
from information_schema.columns where ${is(sql`table_name`)}`,
      sql`select 'index', ${owner}, table_name, index_name, column_name, case non_unique when 0 then 'unique' end,
  case when sub_part is not null then 'prefix' end, null, seq_in_index
from information_schema.statistics where ${is(sql`table_name`)}`,
    ]
  })
  const schemas = wanted.filter(({ kind }) => kind === 'schema')
  const databases = schemas.map(
    ({ name }) => sql`select 'schema', null, null, schema_name, null, null, null, null, 0
from information_schema.schemata where schema_name = ${name}`,
  )
  return sql`select 'server' as part, cast(null as char(64)) as home, database() as owner, current_user() as name,
  version() as type, cast(@@lower_case_table_names as char) as a, cast(null as char(64)) as b,
  cast(null as char(64)) as c, 0 as ordinal
union all ${sql.join([...parts, ...databases], sql` union all `)} order by ordinal`
}

/** A server, and the expected objects that it has. */
export interface Found {
  readonly flavor: Flavor
  /** The database of the connection, and who is connected, as `user@host`. */
  readonly database: string | undefined
  readonly user: string
  /** The kind of the object that has a definition's name: `BASE TABLE`, `VIEW`, `SEQUENCE`, `schema`. */
  kindOf(wanted: Wanted): string | undefined
  tableOf(wanted: Wanted): MysqlTable | undefined
}

export interface MysqlTable extends FoundTable {
  readonly isUnfinished: boolean
  /** The attributes that a change of a column's type must repeat; undefined if they are not understood. */
  attributesOf(column: string): string | undefined
}

export function readCatalogue(rows: readonly object[]): Found {
  const server = rows.find((row) => textOf(row, 'part') === 'server')
  const flavor = /mariadb/i.test(textOf(server, 'type') ?? '') ? 'mariadb' : 'mysql'
  // If the server ignores case, it may store a name in another case than its model.
  const fold = (name: string) => (textOf(server, 'a') === '0' ? name : name.toLowerCase())
  const keyOf = (schema: string | undefined, name: string) =>
    JSON.stringify([schema === undefined ? null : fold(schema), fold(name)])

  const kinds = new Map<string, string>()
  const tables = new Map<string, TableRows>()
  const schemas = new Set<string>()
  for (const row of rows) {
    const key = keyOf(textOf(row, 'home'), textOf(row, 'owner') ?? '')
    const part = textOf(row, 'part')
    if (part === 'schema') schemas.add(fold(textOf(row, 'name') ?? ''))
    if (part === 'table') {
      kinds.set(key, textOf(row, 'type') ?? '')
      if (textOf(row, 'a') === UNFINISHED) tablesAt(key).isUnfinished = true
    }
    if (part === 'column') tablesAt(key).columns.set(lower(textOf(row, 'name')), row)
    if (part === 'index') {
      const name = lower(textOf(row, 'name'))
      const columns = tablesAt(key).indexes.get(name) ?? []
      tablesAt(key).indexes.set(name, [...columns, row])
    }
  }
  return {
    flavor,
    database: textOf(server, 'owner'),
    user: textOf(server, 'name') ?? '',
    kindOf({ kind, schema, name }) {
      if (kind === 'schema') return schemas.has(fold(name)) ? 'schema' : undefined
      return kinds.get(keyOf(schema, name))
    },
    tableOf({ schema, name }) {
      const key = keyOf(schema, name)
      return TABLES.has(kinds.get(key) ?? '') ? foundTable(tablesAt(key), flavor) : undefined
    },
  }

  function tablesAt(key: string): TableRows {
    const known = tables.get(key)
    if (known !== undefined) return known
    const table = { columns: new Map(), indexes: new Map(), isUnfinished: false }
    tables.set(key, table)
    return table
  }
}

const TABLES = new Set(['BASE TABLE', 'SYSTEM VERSIONED'])

/** The kinds accepted for each kind of definition: a view can be read like a table. */
export const ACCEPTED_KINDS: Partial<Record<Definition['kind'], readonly string[]>> = {
  schema: ['schema'],
  sequence: ['SEQUENCE'],
  table: [...TABLES, 'VIEW'],
  view: ['VIEW'],
}

interface TableRows {
  readonly columns: Map<string, object>
  readonly indexes: Map<string, readonly object[]>
  isUnfinished: boolean
}

/** Names of columns and indexes are case-insensitive. */
function lower(name: string | undefined): string {
  return (name ?? '').toLowerCase()
}

function foundTable({ columns, indexes, isUnfinished }: TableRows, flavor: Flavor): MysqlTable {
  const uniques = new Set([...indexes.values()].flatMap((rows) => uniqueKey(rows) ?? []))
  return {
    schema: undefined,
    isUnfinished,
    typeOf: (column) => textOf(columns.get(lower(column)), 'type'),
    isSameType(found, expected) {
      const type = catalogueType(found)
      // On MariaDB json is an alias of longtext.
      return type === undefined || type === expected || (expected === 'json' && isJson(type, flavor))
    },
    // Celery's unique index has another name and is accepted.
    hasIndex: ({ name, uniqueOn }: IndexDefinition) =>
      indexes.has(lower(name)) ||
      (uniqueOn !== undefined && uniques.has(JSON.stringify(uniqueOn.map(lower)))),
    attributesOf(column) {
      const row = columns.get(lower(column))
      if (row === undefined || textOf(row, 'c') !== undefined) return undefined
      const collation = textOf(row, 'b')
      return `${collation === undefined ? '' : ` COLLATE ${collation}`} ${textOf(row, 'a') === 'NO' ? 'NOT NULL' : 'NULL'}`
    },
  }
}

function isJson(type: string, flavor: Flavor): boolean {
  return flavor === 'mariadb' && type === 'longtext'
}

/** The columns of a unique index; undefined for a prefix index, which does not keep them unique. */
function uniqueKey(rows: readonly object[]): string | undefined {
  const isUnique = rows.every((row) => textOf(row, 'a') === 'unique' && textOf(row, 'b') === undefined)
  return isUnique ? JSON.stringify(rows.map((row) => lower(textOf(row, 'type')))) : undefined
}
