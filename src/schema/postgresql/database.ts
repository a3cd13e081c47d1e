import { createHash } from 'node:crypto'
import { type SQL, sql } from 'drizzle-orm'
import { causes, textOf } from '../../causes.ts'
import { SchemaError, type SchemaErrorCode } from '../../errors.ts'
import type { Casing } from '../casing.ts'
import type { DatabaseSchema, Findings, Gap, LockedSchema } from '../database-schema.ts'
import { type Definition, statementsOf } from '../definition.ts'
import { labelsOf, schemaError } from '../schema-error.ts'
import { postgresqlDefinitions } from './definitions.ts'
import { quote } from './names.ts'

/** What we use of a Drizzle handle for PostgreSQL, whichever its driver. */
export interface PostgresqlHandle {
  execute(query: SQL): PromiseLike<unknown>
  transaction<Result>(
    run: (tx: { execute(query: SQL): PromiseLike<unknown> }) => Promise<Result>,
    config: { isolationLevel: 'read committed' },
  ): Promise<Result>
}

/** Where something is missing, and in what state the schema is that it belongs in. */
interface Place {
  readonly schema: string
  readonly state: 'usable' | 'shut' | 'absent'
}

type Executes = Pick<PostgresqlHandle, 'execute'>

export class PostgresqlSchema implements DatabaseSchema {
  readonly definitions: readonly Definition[]
  readonly #db: PostgresqlHandle
  readonly #query: SQL
  /** The last look, and where things belong: what an error is explained with. */
  #found: Findings = { missing: [], gaps: [] }
  #places: ReadonlyMap<string | undefined, Place> = new Map()
  #role = ''
  #database = ''

  constructor(db: PostgresqlHandle, models: Readonly<Record<string, unknown>>, casing: Casing | undefined) {
    this.definitions = postgresqlDefinitions(models, casing)
    this.#db = db
    this.#query = catalogueQuery(this.definitions)
  }

  async look(): Promise<Findings> {
    const found = await this.#look(this.#db)
    if (found.missing.length > 0 && this.#places.size === 0) await this.#locate()
    return found
  }

  async rows(query: SQL): Promise<object[]> {
    return rowsOf(await this.#db.execute(query))
  }

  async locked<Result>(work: (schema: LockedSchema) => Promise<Result>): Promise<Result> {
    const key = lockKey(this.definitions)
    // Under repeatable read, which may be the database's default, the second look would see the past.
    return await this.#db.transaction(
      async (tx) => {
        // A function in FROM has run when the one in the select list is called: the lock knows its timeout.
        const timeout = `pg_catalog.set_config('lock_timeout', '5000', true)`
        await tx.execute(sql.raw(`select pg_catalog.pg_advisory_xact_lock(${key}) from ${timeout}`))
        return await work({
          look: () => this.#look(tx),
          rows: async (query) => rowsOf(await tx.execute(query)),
          async run(statements) {
            // One behind the other without waiting: a round trip for each may take longer than the work.
            await Promise.all(statements.map((statement) => tx.execute(sql.raw(statement))))
          },
        })
      },
      { isolationLevel: 'read committed' },
    )
  }

  statements(missing: readonly Definition[]): string[] {
    const [absent] = this.#absentPlaces(missing)
    if (absent === undefined) return this.#statements(missing)
    throw this.#error(
      'SCHEMA_MISSING_SCHEMA',
      `there is no schema "${absent.schema}", and schemas are yours to create`,
    )
  }

  isMissingTable(error: unknown): boolean {
    return causes(error).some((cause) => textOf(cause, 'code') === '42P01')
  }

  isRace(error: unknown): boolean {
    return causes(error).some((cause) => {
      const code = textOf(cause, 'code') ?? ''
      return RACES.has(code) || (code === '23505' && isOnCatalogue(cause))
    })
  }

  explain(error: unknown): SchemaError | undefined {
    const { missing, gaps } = this.#found
    if (missing.length + gaps.length === 0 || error instanceof SchemaError) return undefined
    if (this.isRace(error)) {
      return this.#error('SCHEMA_CONFLICT', 'others kept creating the same at the same time', error)
    }

    for (const cause of causes(error)) {
      const state = textOf(cause, 'code') ?? ''
      const known = EXPLAINED.get(state)
      if (known !== undefined) return this.#error(known.code, `${known.reason} (${state})`, error)
      if (REFUSED.test(state))
        return this.#error('SCHEMA_REFUSED', `${textOf(cause, 'message')} (${state})`, error)
    }
    return undefined
  }

  async #look(db: Executes): Promise<Findings> {
    const found = new Map<string, object>()
    for (const row of rowsOf(await db.execute(this.#query))) {
      const schema = textOf(row, 'schema')
      found.set(keyOfRow(row, schema), row)
      // Nearest first: what comes later on the search_path is hidden by it.
      const isOnPath = textOf(row, 'place') !== undefined
      const nearest = keyOfRow(row, undefined)
      if (isOnPath && !found.has(nearest)) found.set(nearest, row)
    }

    const missing: Definition[] = []
    const gaps: Gap[] = []
    for (const definition of this.definitions) {
      const row = found.get(keyOf(definition))
      if (row === undefined) missing.push(definition)
      else {
        refuseUnserving(definition, row)
        gaps.push(...gapsOf(definition, row))
      }
    }
    this.#found = { missing, gaps }
    return this.#found
  }

  /** Finds out where the missing belongs. */
  async #locate(): Promise<void> {
    const wanted = [...new Set(this.definitions.map(({ schema }) => schema))]
    const places = new Map<string | undefined, Place>()
    for (const row of rowsOf(await this.#db.execute(placesQuery(wanted)))) {
      const isUsable = textOf(row, 'usable')
      const state = isUsable === undefined ? 'absent' : isUsable === 'true' ? 'usable' : 'shut'
      places.set(textOf(row, 'wanted'), { schema: textOf(row, 'schema') ?? 'public', state })
      this.#role = textOf(row, 'role') ?? ''
      this.#database = textOf(row, 'database') ?? ''
    }
    this.#places = places
  }

  /** The places of the missing that nobody makes, neither they nor anybody before. */
  #absentPlaces(missing: readonly Definition[]): Place[] {
    const made = new Set(missing.flatMap(({ kind, name }) => (kind === 'schema' ? name : [])))
    return missing
      .filter(({ kind }) => FAMILIES[kind].isInSchema)
      .flatMap((definition) => this.#places.get(definition.schema) ?? [])
      .filter(({ schema, state }) => state === 'absent' && !made.has(schema))
  }

  #statements(missing: readonly Definition[]): string[] {
    return statementsOf(missing, (definition) => this.#places.get(definition.schema)?.schema)
  }

  #error(code: SchemaErrorCode, reason: string, cause?: unknown): SchemaError {
    const { missing, gaps } = this.#found
    const absent = new Set(this.#absentPlaces(missing).map(({ schema }) => quote(schema)))

    return schemaError(code, reason, {
      labels: labelsOf(this.#found),
      statements: [
        ...[...absent].map((schema) => `CREATE SCHEMA ${schema}`),
        ...this.#statements(missing),
        ...gaps.flatMap(({ addition }) => addition ?? []),
      ],
      grant: code === 'SCHEMA_PERMISSION' ? this.#grant() : undefined,
      cause,
    })
  }

  /** What would let this role make the missing; to make roles is a property of a role, which no GRANT gives. */
  #grant(): string | undefined {
    const { missing } = this.#found
    const role = quote(this.#role)
    const places = missing
      .filter(({ kind }) => FAMILIES[kind].isInSchema)
      .flatMap((definition) => this.#places.get(definition.schema) ?? [])
      .filter(({ state }) => state !== 'absent')
    const schemas = [...new Set(places.map(({ schema }) => quote(schema)))]
    const grants =
      schemas.length > 0 ? [`GRANT USAGE, CREATE ON SCHEMA ${schemas.join(', ')} TO ${role}`] : []
    if (missing.some(({ kind }) => kind === 'schema')) {
      grants.push(`GRANT CREATE ON DATABASE ${quote(this.#database)} TO ${role}`)
    }
    return grants.length === 0 ? undefined : grants.join(';\n')
  }
}

/** What can be read like a table, by its `relkind`. */
const READABLE = ['r', 'p', 'v', 'm', 'f']

interface Family {
  /** Names are unique in a family: of the schema, the table or the server that they belong to. */
  readonly name: string
  readonly isInSchema: boolean
  /** The kinds of the catalogue that serve. */
  readonly serving: readonly string[]
}

const FAMILIES: Record<Definition['kind'], Family> = {
  role: { name: 'role', isInSchema: false, serving: ['role'] },
  schema: { name: 'schema', isInSchema: false, serving: ['schema'] },
  enum: { name: 'type', isInSchema: true, serving: ['e'] },
  sequence: { name: 'relation', isInSchema: true, serving: ['S'] },
  table: { name: 'relation', isInSchema: true, serving: READABLE },
  view: { name: 'relation', isInSchema: true, serving: READABLE },
  'materialized view': { name: 'relation', isInSchema: true, serving: READABLE },
  policy: { name: 'policy', isInSchema: true, serving: ['policy'] },
}

/** "Already there" in all its forms, deadlock, serialisation failure, "tuple concurrently updated", our own word. */
const RACES = new Set(['42P07', '42P06', '42710', '40P01', '40001', 'XX000', 'CONTENTION'])

const EXPLAINED = new Map<string, { readonly code: SchemaErrorCode; readonly reason: string }>([
  ['42501', { code: 'SCHEMA_PERMISSION', reason: 'this role may not create there' }],
  ['25006', { code: 'SCHEMA_READ_ONLY', reason: 'this connection may only read' }],
  ['3F000', { code: 'SCHEMA_MISSING_SCHEMA', reason: 'the schema is not there' }],
  ['55P03', { code: 'SCHEMA_LOCK_TIMEOUT', reason: 'another session kept a lock on them for more than 5 s' }],
])

/** The classes of SQLSTATE that find fault with a statement, as opposed to a connection or server in trouble. */
const REFUSED = /^(?:0A|22|23|42)[0-9A-Z]{3}$/

/** Two sessions that create the same at once meet in a unique index of the catalogue. */
function isOnCatalogue(error: unknown): boolean {
  const constraint =
    textOf(error, 'constraint_name') ?? textOf(error, 'constraint') ?? textOf(error, 'message')
  return constraint !== undefined && /\bpg_[a-z_]+_index\b/.test(constraint)
}

/** Refuses what is there but is of no use: no statement of ours could mend it. */
function refuseUnserving({ kind, label }: Definition, row: object): void {
  if (!FAMILIES[kind].serving.includes(textOf(row, 'kind') ?? '')) {
    throw new SchemaError(
      'SCHEMA_NAME_TAKEN',
      `Cannot create the ${kind} ${label}: something else there has that name`,
    )
  }
  if (textOf(row, 'usable') === 'true') return
  const schema = quote(textOf(row, 'schema') ?? '')
  throw schemaError('SCHEMA_PERMISSION', `it is there, but this role has no USAGE on the schema ${schema}`, {
    labels: [label],
    statements: [],
    grant: `GRANT USAGE ON SCHEMA ${schema} TO ${quote(textOf(row, 'role') ?? '')}`,
    cause: undefined,
  })
}

/** Advisory locks are one namespace a database: 63 bits of a hash keep ours out of everybody else's way. */
function lockKey(definitions: readonly Definition[]): bigint {
  const labels = definitions.map(({ label }) => label)
  const hash = createHash('sha256').update(JSON.stringify(['drizzle-celery', 'prepareModels', ...labels]))
  return BigInt.asUintN(63, hash.digest().readBigUInt64BE())
}

/** Where a table falls short of its model, by the columns and indexes that the catalogue has of it. */
function gapsOf({ label, columns, indexes }: Definition, row: object): Gap[] {
  const place = textOf(row, 'schema')
  const types = new Map(pairsIn(textOf(row, 'columns')))
  const names = new Set(pairsIn(textOf(row, 'indexes')).map(([name]) => name))
  const isTable = types.size > 0
  const gaps: Gap[] = []
  for (const { name: column, type: expected, add } of isTable ? columns : []) {
    const found = types.get(column)
    if (found === undefined) {
      gaps.push({
        difference: { kind: 'missing column', table: label, column, expected },
        addition: add(place),
      })
    } else if (!isSameType(found, expected)) {
      gaps.push({
        difference: { kind: 'other type', table: label, column, expected, found },
        addition: undefined,
      })
    }
  }
  const isIndexed = isTable || textOf(row, 'kind') === 'm'
  for (const { name: index, create } of isIndexed ? indexes : []) {
    if (!names.has(index)) {
      gaps.push({ difference: { kind: 'missing index', table: label, index }, addition: create(place) })
    }
  }
  return gaps
}

/** `format_type` leaves out the schema of a type while it is on the search_path. */
function isSameType(found: string, expected: string): boolean {
  return found === expected || found === expected.replace(/^(?:"(?:[^"]|"")+"|[^".(]+)\./, '')
}

function pairsIn(json: string | undefined): [string, string][] {
  const pairs: unknown = json === undefined ? [] : JSON.parse(json)
  return Array.isArray(pairs) ? pairs.map(([name, value]: unknown[]) => [String(name), String(value)]) : []
}

function keyOf({ kind, schema, table, name }: Definition): string {
  return JSON.stringify([FAMILIES[kind].name, schema, table, name])
}

/** The key of a definition in `schema` that the row is an answer to. */
function keyOfRow(row: object, schema: string | undefined): string {
  return JSON.stringify([textOf(row, 'family'), schema, textOf(row, 'table'), textOf(row, 'name')])
}

/** postgres.js and our engines answer with the rows, PGlite and node-postgres with an object that has them. */
function rowsOf(answer: unknown): object[] {
  const rows: unknown = Array.isArray(answer) ? answer : Reflect.get(Object(answer), 'rows')
  return Array.isArray(rows) ? rows : []
}

/**
 * Everything of a wanted name in a wanted schema or on the `search_path`, the nearest first, all of it text; of the
 * catalogues only those are read that the models have something in.
 *
 * A name without a schema means what an unqualified statement means by it, and SQLAlchemy's existence check: the
 * first on the whole `search_path`. Temporary tables come and go with a pooled connection, so they do not count.
 * pg_class can always be read, while `to_regclass` fails without USAGE on the schema.
 *
 * Both sides of every comparison have one type, so that no operator of another schema is the better match and runs
 * its owner's code (CVE-2018-1058).
 */
function catalogueQuery(definitions: readonly Definition[]): SQL {
  const schemas = arrayLiteral(definitions.flatMap(({ schema }) => schema ?? []))
  const lookups = Object.entries(LOOKUPS).flatMap(([family, lookup]) => {
    const wanted = definitions.filter(({ kind }) => FAMILIES[kind].name === family)
    return wanted.length === 0
      ? []
      : lookup(sql`any (${arrayLiteral(wanted.map(({ name }) => name))}::text::name[])`)
  })
  return sql`select f.family, f.name::text as name, f."table"::text as "table", n.nspname::text as schema, f.kind,
  f.columns, f.indexes,
  pg_catalog.array_position(pg_catalog.current_schemas(false), n.nspname)::text as place,
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
  // An array type steps aside when its name is wanted for something else.
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
 * One row a wanted schema, null being none in particular: then things are created in the first schema of the
 * `search_path`. When the path leads nowhere the answer is what it should have led to, preferably a schema that exists
 * and that this role may only not use.
 */
function placesQuery(wanted: readonly (string | undefined)[]): SQL {
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
), 'public') as schema) h
left join pg_catalog.pg_namespace n on n.nspname = h.schema::name`
}

/** The text form of an array of names. */
function arrayLiteral(names: readonly string[]): string {
  return `{${names.map((name) => `"${name.replace(/["\\]/g, '\\$&')}"`).join(',')}}`
}
