import { type SQL, sql } from 'drizzle-orm'
import { causes, textOf } from '../../causes.ts'
import { ContentionError, SchemaError, type SchemaErrorCode } from '../../errors.ts'
import type { Casing } from '../casing.ts'
import type { DatabaseSchema, Findings, Gap, LockedOptions, LockedSchema } from '../database-schema.ts'
import { type Definition, statementsOf } from '../definition.ts'
import { labelsOf, schemaError } from '../schema-error.ts'
import { sqliteDefinitions } from './definitions.ts'

/** What we use of a Drizzle handle for SQLite, whichever its driver. */
export interface SqliteHandle {
  all(query: SQL): PromiseLike<unknown[]>
  run(query: SQL): PromiseLike<unknown>
  transaction<Result>(run: (tx: Asks) => Promise<Result>, config: { behavior: 'immediate' }): Promise<Result>
}

type Asks = Pick<SqliteHandle, 'all' | 'run'>

/** A database, and one connection of it for what only one connection can do: an `Engine` is such a target. */
export interface SqliteTarget {
  readonly db: SqliteHandle
  connect?(): Promise<AsyncDisposable & { readonly db: SqliteHandle }>
}

export class SqliteSchema implements DatabaseSchema {
  readonly definitions: readonly Definition[]
  readonly #target: SqliteTarget
  readonly #query: SQL
  /** The last look: what an error is explained with. */
  #found: Findings = { missing: [], gaps: [] }

  constructor(target: SqliteTarget, models: Readonly<Record<string, unknown>>, casing: Casing | undefined) {
    this.definitions = sqliteDefinitions(models, casing)
    this.#target = target
    this.#query = catalogueQuery(this.definitions)
  }

  look(): Promise<Findings> {
    return this.#look(this.#target.db)
  }

  rows(query: SQL): Promise<object[]> {
    return rowsOf(this.#target.db, query)
  }

  locked<Result>(
    work: (schema: LockedSchema) => Promise<Result>,
    { withoutForeignKeys = false }: LockedOptions = {},
  ): Promise<Result> {
    return withoutForeignKeys
      ? this.#withoutForeignKeys((db) => this.#transaction(db, (schema) => keepingReferences(schema, work)))
      : this.#transaction(this.#target.db, work)
  }

  statements(missing: readonly Definition[]): string[] {
    return statementsOf(missing, () => undefined)
  }

  isMissingTable(error: unknown): boolean {
    return causes(error).some((cause) => /no such table/.test(textOf(cause, 'message') ?? ''))
  }

  #transaction<Result>(db: SqliteHandle, work: (schema: LockedSchema) => Promise<Result>): Promise<Result> {
    // Immediate: a transaction that reads before it asks for the write lock may be refused it without a wait.
    return db.transaction(
      (tx) =>
        work({
          look: () => this.#look(tx),
          rows: (query) => rowsOf(tx, query),
          async run(statements) {
            for (const statement of statements) await tx.run(sql.raw(statement))
          },
        }),
      { behavior: 'immediate' },
    )
  }

  /** Rebuilding a table begins by emptying it, which takes along the rows that refer to it, or is refused. */
  async #withoutForeignKeys<Result>(work: (db: SqliteHandle) => Promise<Result>): Promise<Result> {
    const connect = this.#target.connect?.bind(this.#target)
    if (connect === undefined) throw foreignKeysStay('this handle has no connect()')
    await using connection = await connect()
    const { db } = connection
    const before = await foreignKeys(db)
    await db.run(sql`pragma foreign_keys = off`)
    if ((await foreignKeys(db)) !== '0')
      throw foreignKeysStay('this database does not let them be turned off')
    try {
      return await work(db)
    } finally {
      await db.run(sql.raw(`pragma foreign_keys = ${before}`))
    }
  }

  isRace(error: unknown): boolean {
    const all = causes(error)
    // Our own adapter has waited for the lock by itself, for as long as it may.
    if (all.some((cause) => cause instanceof ContentionError)) return false
    return all.some((cause) => isContention(cause) || isAlreadyThere(cause))
  }

  explain(error: unknown): SchemaError | undefined {
    const { missing, gaps } = this.#found
    if (missing.length + gaps.length === 0 || error instanceof SchemaError) return undefined
    for (const cause of causes(error)) {
      const known = KNOWN.find(({ matches }) => matches(cause))
      if (known === undefined) continue
      return schemaError(known.code, known.reason ?? textOf(cause, 'message') ?? 'a statement failed', {
        labels: labelsOf(this.#found),
        statements: [...this.statements(missing), ...gaps.flatMap(({ addition }) => addition ?? [])],
        cause: error,
      })
    }
    return undefined
  }

  async #look(db: Asks): Promise<Findings> {
    const found = new Map<string, object>()
    for (const row of await rowsOf(db, this.#query)) found.set(textOf(row, 'at') ?? '', row)

    const missing: Definition[] = []
    const gaps: Gap[] = []
    for (const [at, definition] of this.definitions.entries()) {
      const row = found.get(String(at))
      const kind = textOf(row, 'kind')
      if (row === undefined || kind === undefined) missing.push(definition)
      else if (!SERVES[definition.kind]?.includes(kind)) throw nameTaken(definition, kind)
      else if (kind === 'table') gaps.push(...gapsOf(definition, row))
    }
    this.#found = { missing, gaps }
    return this.#found
  }
}

async function rowsOf(db: Asks, query: SQL): Promise<object[]> {
  const rows = await db.all(query)
  return rows.filter((row) => typeof row === 'object' && row !== null)
}

async function foreignKeys(db: Asks): Promise<string> {
  const [row] = await rowsOf(db, sql`select cast(foreign_keys as text) as "state" from pragma_foreign_keys`)
  return textOf(row, 'state') ?? ''
}

/** Refuses to leave more rows that refer to nothing than there were. */
async function keepingReferences<Result>(
  schema: LockedSchema,
  work: (schema: LockedSchema) => Promise<Result>,
): Promise<Result> {
  const query = sql`select "table" from pragma_foreign_key_check`
  const before = (await schema.rows(query)).length
  const result = await work(schema)
  const broken = await schema.rows(query)
  if (broken.length <= before) return result
  const tables = new Set(broken.map((row) => textOf(row, 'table')))
  throw new SchemaError(
    'SCHEMA_MIGRATIONS',
    `Cannot run the migrations: rows of ${[...tables].join(', ')} would refer to rows that are gone. Nothing was changed.`,
  )
}

function foreignKeysStay(reason: string): SchemaError {
  return new SchemaError(
    'SCHEMA_MIGRATIONS',
    `Cannot run migrations that rebuild tables: they want foreign keys turned off, and ${reason}. ` +
      'Use drizzle-kit migrate for this database.',
  )
}

/** What serves in the place of what is asked for: a view can be read like a table, but a table is no view. */
const SERVES: Partial<Record<Definition['kind'], readonly string[]>> = {
  table: ['table', 'view'],
  view: ['view'],
}

interface Known {
  readonly code: SchemaErrorCode
  /** The database's own words, if absent. */
  readonly reason?: string
  matches(error: unknown): boolean
}

const KNOWN: readonly Known[] = [
  { code: 'SCHEMA_LOCK_TIMEOUT', reason: 'others kept the database locked', matches: isContention },
  {
    code: 'SCHEMA_CONFLICT',
    reason: 'others kept creating the same at the same time',
    matches: isAlreadyThere,
  },
  {
    code: 'SCHEMA_READ_ONLY',
    reason: 'the database is read-only',
    matches: (error) => hasCode(error, 'SQLITE_READONLY'),
  },
  {
    code: 'SCHEMA_PERMISSION',
    reason: 'this connection may not create there',
    matches: (error) => hasCode(error, 'SQLITE_AUTH') || hasCode(error, 'SQLITE_PERM'),
  },
  { code: 'SCHEMA_REFUSED', matches: (error) => textOf(error, 'code') === 'SQLITE_ERROR' },
]

function isContention(error: unknown): boolean {
  return hasCode(error, 'SQLITE_BUSY') || hasCode(error, 'SQLITE_LOCKED') || error instanceof ContentionError
}

/** SQLite has no code of its own for it: "table x already exists", "there is already a table named x". */
function isAlreadyThere(error: unknown): boolean {
  return (
    hasCode(error, 'SQLITE_') &&
    /already exists|there is already an? (?:table|index)/.test(textOf(error, 'message') ?? '')
  )
}

/** Also extended codes, such as SQLITE_BUSY_SNAPSHOT. */
function hasCode(error: unknown, code: string): boolean {
  return ['extendedCode', 'code'].some((property) => textOf(error, property)?.startsWith(code))
}

function nameTaken({ kind, label }: Definition, other: string): SchemaError {
  const article = other === 'index' ? 'an' : 'a'
  return new SchemaError(
    'SCHEMA_NAME_TAKEN',
    `Cannot create the ${kind} ${label}: ${article} ${other} there has that name`,
  )
}

/** Where a table falls short of its model. SQLite takes names and types without regard to case. */
function gapsOf({ label, columns, indexes }: Definition, row: object): Gap[] {
  const types = new Map(listIn(textOf(row, 'columns')).map(([name, type]) => [lower(name), String(type)]))
  const names = new Set<string>()
  const uniques = new Set<string>()
  for (const [name, uniqueOn] of listIn(textOf(row, 'indexes'))) {
    names.add(lower(name))
    if (uniqueOn !== null) uniques.add(lower(uniqueOn))
  }

  const gaps: Gap[] = []
  for (const { name: column, type: expected, add } of columns) {
    const found = types.get(lower(column))
    if (found === undefined) {
      gaps.push({
        difference: { kind: 'missing column', table: label, column, expected },
        addition: add(undefined),
      })
    } else if (found.toUpperCase() !== expected) {
      gaps.push({
        difference: { kind: 'other type', table: label, column, expected, found },
        addition: undefined,
      })
    }
  }
  for (const { name: index, uniqueOn, create } of indexes) {
    // A UNIQUE in the text of a table has an index without a name of its own, which serves as well.
    const serves =
      names.has(lower(index)) || (uniqueOn !== undefined && uniques.has(lower(JSON.stringify(uniqueOn))))
    if (!serves)
      gaps.push({ difference: { kind: 'missing index', table: label, index }, addition: create(undefined) })
  }
  return gaps
}

function lower(name: unknown): string {
  return String(name).toLowerCase()
}

function listIn(json: string | undefined): unknown[][] {
  const list: unknown = json === undefined ? [] : JSON.parse(json)
  return Array.isArray(list) ? list : []
}

/** SQLite compares names without regard to case. */
function catalogueQuery(definitions: readonly Definition[]): SQL {
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
