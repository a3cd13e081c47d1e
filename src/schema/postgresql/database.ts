import { createHash } from 'node:crypto'
import { type SQL, sql } from 'drizzle-orm'
import { causes, textOf } from '../../causes.ts'
import { SchemaError, type SchemaErrorCode } from '../../errors.ts'
import type { DatabaseSchema } from '../database-schema.ts'
import { type Definition, statementsOf } from '../definition.ts'
import { schemaError } from '../schema-error.ts'
import { postgresqlDefinitions, quote } from './definitions.ts'

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

export class PostgresqlSchema implements DatabaseSchema {
  readonly definitions: readonly Definition[]
  readonly #db: PostgresqlHandle
  readonly #query: SQL
  /** The last look, and where things belong: what an error is explained with. */
  #missing: readonly Definition[] = []
  #places: ReadonlyMap<string | undefined, Place> = new Map()
  #role = ''

  constructor(db: PostgresqlHandle, models: Record<string, unknown>) {
    this.definitions = postgresqlDefinitions(models)
    this.#db = db
    this.#query = catalogueQuery(this.definitions)
  }

  async missing(): Promise<readonly Definition[]> {
    await this.#look(this.#db)
    if (this.#missing.length > 0 && this.#places.size === 0) await this.#locate()
    return this.#missing
  }

  async createMissing(): Promise<readonly Definition[]> {
    const key = this.#lockKey()
    // Under repeatable read, which may be the database's default, the second look would see the past.
    return await this.#db.transaction(
      async (tx) => {
        // A function in FROM has run when the one in the select list is called: the lock knows its timeout.
        const timeout = `pg_catalog.set_config('lock_timeout', '5000', true)`
        await tx.execute(sql.raw(`select pg_catalog.pg_advisory_xact_lock(${key}) from ${timeout}`))

        await this.#look(tx)
        for (const statement of this.#statements()) await tx.execute(sql.raw(statement))
        return this.#missing
      },
      { isolationLevel: 'read committed' },
    )
  }

  isRace(error: unknown): boolean {
    return causes(error).some((cause) => {
      const code = textOf(cause, 'code') ?? ''
      return RACES.has(code) || (code === '23505' && isOnCatalogue(cause))
    })
  }

  explain(error: unknown): SchemaError | undefined {
    if (this.#missing.length === 0 || error instanceof SchemaError) return undefined
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

  /** Notes what is missing. */
  async #look(db: Pick<PostgresqlHandle, 'execute'>): Promise<void> {
    const found = new Map<string, object>()
    for (const row of rowsOf(await db.execute(this.#query))) {
      const [schema, name] = [textOf(row, 'schema') ?? '', textOf(row, 'name') ?? '']
      found.set(keyOf(schema, name), row)
      // Nearest first: what comes later on the search_path is hidden by it.
      const isOnPath = textOf(row, 'place') !== undefined
      if (isOnPath && !found.has(keyOf(undefined, name))) found.set(keyOf(undefined, name), row)
    }

    this.#missing = this.definitions.filter((definition) => {
      const row = found.get(keyOf(definition.schema, definition.name))
      if (row !== undefined) refuseUnserving(definition, row)
      return row === undefined
    })
  }

  /** Finds out where the missing belongs, and refuses at once what no statement of ours could mend. */
  async #locate(): Promise<void> {
    const wanted = [...new Set(this.definitions.map(({ schema }) => schema))]
    const places = new Map<string | undefined, Place>()
    for (const row of rowsOf(await this.#db.execute(placesQuery(wanted)))) {
      const isUsable = textOf(row, 'usable')
      const state = isUsable === undefined ? 'absent' : isUsable === 'true' ? 'usable' : 'shut'
      places.set(textOf(row, 'wanted'), { schema: textOf(row, 'schema') ?? 'public', state })
      this.#role = textOf(row, 'role') ?? ''
    }
    this.#places = places

    for (const { schema, state } of this.#missing.map((definition) => this.#placeOf(definition))) {
      if (state !== 'absent') continue
      throw this.#error(
        'SCHEMA_MISSING_SCHEMA',
        `there is no schema "${schema}", and schemas are yours to create`,
      )
    }
  }

  #placeOf({ schema }: Definition): Place {
    const place = this.#places.get(schema)
    if (place === undefined) throw new Error('A place was asked for before it was looked up')
    return place
  }

  #statements(): string[] {
    return statementsOf(this.#missing, (definition) => this.#placeOf(definition).schema)
  }

  /** Advisory locks are one namespace a database: 63 bits of a hash keep ours out of everybody else's way. */
  #lockKey(): bigint {
    const names = this.definitions.map((definition) => [this.#placeOf(definition).schema, definition.name])
    const hash = createHash('sha256').update(JSON.stringify(['drizzle-celery', 'prepareModels', ...names]))
    return BigInt.asUintN(63, hash.digest().readBigUInt64BE())
  }

  #error(code: SchemaErrorCode, reason: string, cause?: unknown): SchemaError {
    const places = this.#missing.map((definition) => this.#placeOf(definition))
    const schemas = [...new Set(places.map(({ schema }) => quote(schema)))]
    const absent = places.flatMap(({ schema, state }) => (state === 'absent' ? quote(schema) : []))

    return schemaError(code, reason, {
      labels: this.#missing.map(({ label }) => label),
      statements: [...[...new Set(absent)].map((schema) => `CREATE SCHEMA ${schema}`), ...this.#statements()],
      grant:
        code === 'SCHEMA_PERMISSION'
          ? `GRANT USAGE, CREATE ON SCHEMA ${schemas.join(', ')} TO ${quote(this.#role)}`
          : undefined,
      cause,
    })
  }
}

/** What serves, by its `relkind`: whatever can be read like a table, or a sequence. */
const KINDS: Partial<Record<Definition['kind'], readonly string[]>> = {
  table: ['r', 'p', 'v', 'm', 'f'],
  sequence: ['S'],
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
  if (!KINDS[kind]?.includes(textOf(row, 'kind') ?? '')) {
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

function keyOf(schema: string | undefined, name: string): string {
  return JSON.stringify([schema, name])
}

/** postgres.js and our engines answer with the rows, PGlite and node-postgres with an object that has them. */
function rowsOf(answer: unknown): object[] {
  const rows: unknown = Array.isArray(answer) ? answer : Reflect.get(Object(answer), 'rows')
  return Array.isArray(rows) ? rows : []
}

/**
 * Everything of a wanted name in a wanted schema or on the `search_path`, the nearest first, all of it text.
 *
 * A name without a schema means what an unqualified statement means by it, and SQLAlchemy's existence check: the
 * first on the whole `search_path`. Temporary tables come and go with a pooled connection, so they do not count.
 * pg_class can always be read, while `to_regclass` fails without USAGE on the schema.
 *
 * Both sides of every comparison have one type, so that no operator of another schema is the better match and runs
 * its owner's code (CVE-2018-1058).
 */
function catalogueQuery(definitions: readonly Definition[]): SQL {
  const names = arrayLiteral(definitions.map(({ name }) => name))
  const schemas = arrayLiteral(definitions.flatMap(({ schema }) => schema ?? []))
  return sql`select c.relname::text as name, n.nspname::text as schema, c.relkind::text as kind,
  pg_catalog.array_position(pg_catalog.current_schemas(false), n.nspname)::text as place,
  pg_catalog.has_schema_privilege(n.oid, 'USAGE')::text as usable, current_user::text as role
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relname = any (${names}::text::name[]) and c.relpersistence <> 't'
  and n.nspname = any (pg_catalog.current_schemas(false) || ${schemas}::text::name[])
order by pg_catalog.array_position(pg_catalog.current_schemas(false), n.nspname)`
}

/**
 * One row a wanted schema, null being none in particular: then things are created in the first schema of the
 * `search_path`. When the path leads nowhere the answer is what it should have led to, preferably a schema that exists
 * and that this role may only not use.
 */
function placesQuery(wanted: readonly (string | undefined)[]): SQL {
  const rows = JSON.stringify(wanted.map((schema) => ({ schema: schema ?? null })))
  return sql`select w.schema as wanted, h.schema as schema, current_user::text as role,
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
