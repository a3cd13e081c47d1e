import { type SQL, sql } from 'drizzle-orm'
import { textOf } from '../../errors.ts'
import type { Definition } from '../definition.ts'
import type { FoundTable } from '../diff.ts'

/**
 * All objects of the expected names, in their schemas or on the `search_path`, nearest first, as text. Only the
 * catalogues that the models need are read.
 *
 * A name without a schema means what an unqualified statement means by it, and SQLAlchemy's existence check: the first
 * on the whole `search_path`. Temporary tables come and go with a pooled connection, so they do not count. pg_class can
 * always be read, while `to_regclass` fails without USAGE on the schema.
 *
 * Both sides of every comparison have one type, so that no operator of another schema is the better match and runs its
 * owner's code (CVE-2018-1058).
 */
export function catalogueQuery(definitions: readonly Definition[]): SQL {
  const schemas = arrayLiteral(definitions.flatMap(({ schema }) => schema ?? []))
  const lookups = Object.entries(LOOKUPS).flatMap(([family, lookup]) => {
    const wanted = definitions.filter(({ kind }) => FAMILIES[kind].name === family)
    if (wanted.length === 0) return []
    // A subquery is read once; reading the text of an array is not immutable, and would be done for every relation.
    const names = sql`select ${arrayLiteral(wanted.map(({ name }) => name))}::text::name[]`
    return lookup(sql`any ((${names})::name[])`)
  })
  return sql`select f.family, f.name::text as name, f."table"::text as "table", n.nspname::text as schema, f.kind,
  f.columns, f.indexes,
  pg_catalog.array_position(pg_catalog.current_schemas(false), n.nspname)::text as path_position,
  coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), true)::text as usable, current_user::text as role
from (${sql.join(lookups, sql` union all `)}) f (family, name, "table", kind, namespace, columns, indexes)
left join pg_catalog.pg_namespace n on n.oid = f.namespace
where f.namespace is null or n.nspname = any (pg_catalog.current_schemas(false) || ${schemas}::text::name[])
order by pg_catalog.array_position(pg_catalog.current_schemas(false), n.nspname)`
}

const LOOKUPS: Record<string, (names: SQL) => SQL> = {
  relation: (names) => sql`select 'relation', c.relname, null::name, c.relkind::text, c.relnamespace,
  case when c.relkind in ('r', 'p') then (
    select pg_catalog.json_agg(
      pg_catalog.json_build_array(a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)))::text
    from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) end,
  case when c.relhasindex then (
    select pg_catalog.json_agg(pg_catalog.json_build_array(i.relname, ''))::text
    from pg_catalog.pg_index x join pg_catalog.pg_class i on i.oid = x.indexrelid where x.indrelid = c.oid) end
from pg_catalog.pg_class c where c.relname = ${names} and c.relpersistence <> 't'`,
  // PostgreSQL renames an array type when its name is needed for something else.
  type: (names) => sql`select 'type', t.typname, null::name, t.typtype::text, t.typnamespace, null, null
from pg_catalog.pg_type t where t.typname = ${names} and t.typcategory <> 'A'`,
  schema: (names) => sql`select 'schema', s.nspname, null::name, 'schema', null::oid, null, null
from pg_catalog.pg_namespace s where s.nspname = ${names}`,
  role: (names) => sql`select 'role', r.rolname, null::name, 'role', null::oid, null, null
from pg_catalog.pg_roles r where r.rolname = ${names}`,
  policy: (names) => sql`select 'policy', p.polname, c.relname, 'policy', c.relnamespace, null, null
from pg_catalog.pg_policy p join pg_catalog.pg_class c on c.oid = p.polrelid where p.polname = ${names}`,
}

/**
 * One row for each wanted schema; null stands for the first schema of the `search_path`. When no schema of the path can be
 * used it is the one that should have been, preferably one that exists but that this role may not use.
 */
export function targetSchemasQuery(wanted: readonly (string | undefined)[]): SQL {
  const rows = JSON.stringify(wanted.map((schema) => ({ schema: schema ?? null })))
  return sql`select w.schema as wanted, h.schema as schema, current_user::text as role,
  pg_catalog.current_database()::text as database,
  pg_catalog.has_schema_privilege(n.oid, 'USAGE')::text as usable
from pg_catalog.json_to_recordset(${rows}::text::json) as w(schema text)
cross join lateral (select coalesce(w.schema, pg_catalog.current_schema()::text, (
  select p.name
  from (
    select i, pg_catalog.replace(pg_catalog.btrim(part, ' "'), '$user', current_user::text) as name
    from pg_catalog.unnest(pg_catalog.string_to_array(pg_catalog.current_setting('search_path'), ','))
      with ordinality as t(part, i)
  ) p
  left join pg_catalog.pg_namespace e on e.nspname = p.name::name
  where p.name <> ''
  order by e.oid is null, p.i
  limit 1
)) as schema) h
left join pg_catalog.pg_namespace n on n.nspname = h.schema::name`
}

/** The text form of an array of names. */
function arrayLiteral(names: readonly string[]): string {
  return `{${names.map((name) => `"${name.replace(/["\\]/g, '\\$&')}"`).join(',')}}`
}

/** The `relkind`s that can be read like a table. */
const READABLE = ['r', 'p', 'v', 'm', 'f']

interface Family {
  /** Names are unique in a family: of the schema, the table or the server that they belong to. */
  readonly name: string
  readonly isInSchema: boolean
  /** The kinds in the catalogue that are accepted. */
  readonly accepted: readonly string[]
}

export const FAMILIES: Record<Definition['kind'], Family> = {
  role: { name: 'role', isInSchema: false, accepted: ['role'] },
  schema: { name: 'schema', isInSchema: false, accepted: ['schema'] },
  enum: { name: 'type', isInSchema: true, accepted: ['e'] },
  sequence: { name: 'relation', isInSchema: true, accepted: ['S'] },
  table: { name: 'relation', isInSchema: true, accepted: READABLE },
  view: { name: 'relation', isInSchema: true, accepted: READABLE },
  'materialized view': { name: 'relation', isInSchema: true, accepted: READABLE },
  policy: { name: 'policy', isInSchema: true, accepted: ['policy'] },
}

export function keyOf({ kind, schema, table, name }: Definition): string {
  return JSON.stringify([FAMILIES[kind].name, schema, table, name])
}

/** The key of the definition in `schema` that the row belongs to. */
export function keyOfRow(row: object, schema: string | undefined): string {
  return JSON.stringify([textOf(row, 'family'), schema, textOf(row, 'table'), textOf(row, 'name')])
}

/** The table of a row; undefined for a view and the like, which is not compared. */
export function foundTable(row: object): FoundTable | undefined {
  if (!['r', 'p', 'm'].includes(textOf(row, 'kind') ?? '')) return undefined
  const types = new Map(pairsIn(textOf(row, 'columns')))
  const indexes = new Set(pairsIn(textOf(row, 'indexes')).map(([name]) => name))
  return {
    schema: textOf(row, 'schema'),
    typeOf: (column) => types.get(column),
    isSameType,
    hasIndex: ({ name }) => indexes.has(name),
  }
}

/** `format_type` leaves out the schema of a type while it is on the search_path. */
function isSameType(found: string, expected: string): boolean {
  return found === expected || found === expected.replace(/^(?:"(?:[^"]|"")+"|[^".(]+)\./, '')
}

function pairsIn(json: string | undefined): [string, string][] {
  const pairs: unknown = json === undefined ? [] : JSON.parse(json)
  return Array.isArray(pairs) ? pairs.map(([name, value]: unknown[]) => [String(name), String(value)]) : []
}
