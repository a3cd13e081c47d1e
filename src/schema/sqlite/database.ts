import { type SQL, sql } from 'drizzle-orm'
import { isSeveral } from '../../driver/statement.ts'
import {
  AccessDeniedError,
  causes,
  TransactionConflictError,
  TransactionExpiredError,
  textOf,
} from '../../errors.ts'
import { cachedByModels, type Definition } from '../definition.ts'
import {
  type Changes,
  changeStatements,
  compare,
  type DatabaseSchema,
  type Findings,
  type LockedOptions,
  type LockedSchema,
  labelsOf,
  otherHasName,
  type SchemaDialect,
  schemaError,
} from '../diff.ts'
import { SchemaError, type SchemaErrorCode } from '../errors.ts'
import type { Casing } from '../names.ts'
import { catalogueQuery, foundTable } from './catalogue.ts'
import { sqliteDefinitions } from './definitions.ts'

export const dialect: SchemaDialect<SqliteTarget> = {
  definitions: sqliteDefinitions,
  open: (target, models, options) => new SqliteSchema(target, models, options),
}

class SqliteSchema implements DatabaseSchema {
  readonly definitions: readonly Definition[]
  readonly #target: SqliteTarget
  readonly #query: SQL
  /** The last introspection, for error messages. */
  #found: Findings = { missing: [], gaps: [] }

  constructor(
    target: SqliteTarget,
    models: Readonly<Record<string, unknown>>,
    { casing }: { readonly casing: Casing | undefined },
  ) {
    const { definitions, query } = read(models, casing)
    this.definitions = definitions
    this.#target = target
    this.#query = query
  }

  introspect(): Promise<Findings> {
    return this.#introspect(this.#target.db)
  }

  rows(query: SQL): Promise<object[]> {
    return rowsOf(this.#target.db, query)
  }

  locked<Result>(
    work: (schema: LockedSchema) => Promise<Result>,
    { withoutForeignKeys = false }: LockedOptions = {},
  ): Promise<Result> {
    if (!withoutForeignKeys) return this.#transaction(this.#target.db, work)
    return onConnectionWithoutForeignKeys(this.#target, (db) =>
      this.#transaction(db, (schema) => keepingReferences(schema, work)),
    )
  }

  statements(changes: Changes): string[] {
    return changeStatements(changes)
  }

  isMissingTable(error: unknown): boolean {
    return causes(error).some((cause) => /no such table/.test(textOf(cause, 'message') ?? ''))
  }

  #transaction<Result>(db: SqliteHandle, work: (schema: LockedSchema) => Promise<Result>): Promise<Result> {
    // Immediate: a transaction that reads first may be refused the write lock without waiting.
    return db.transaction(
      (tx) =>
        work({
          introspect: () => this.#introspect(tx),
          rows: (query) => rowsOf(tx, query),
          async run(statements) {
            for (const statement of statements) {
              assertSingleStatement(statement)
              await tx.run(sql.raw(statement))
            }
          },
        }),
      { behavior: 'immediate' },
    )
  }

  isRace(error: unknown): boolean {
    const all = causes(error)
    // Our own adapter has already waited for the lock.
    if (all.some((cause) => cause instanceof TransactionConflictError)) return false
    return all.some(
      (cause) => cause instanceof TransactionExpiredError || isContention(cause) || isAlreadyThere(cause),
    )
  }

  explain(error: unknown): SchemaError | undefined {
    const { missing, gaps } = this.#found
    if (missing.length + gaps.length === 0 || error instanceof SchemaError) return undefined
    for (const cause of causes(error)) {
      const known = KNOWN.find(({ matches }) => matches(cause))
      if (known === undefined) continue
      const words = [known.reason, textOf(cause, 'message')].filter((text) => text !== undefined)
      return schemaError(known.code, words.join(': '), {
        labels: labelsOf(this.#found),
        statements: this.statements({ missing, additions: gaps }),
        cause: error,
      })
    }
    return undefined
  }

  async #introspect(db: Queryable): Promise<Findings> {
    const found = new Map<string, object>()
    for (const row of await rowsOf(db, this.#query)) found.set(textOf(row, 'at') ?? '', row)

    this.#found = compare(this.definitions, (definition, at) => {
      const row = found.get(String(at))
      const kind = textOf(row, 'kind')
      if (row === undefined || kind === undefined) return undefined
      if (ACCEPTED_KINDS[definition.kind]?.includes(kind)) return { table: foundTable(row) }
      throw otherHasName(definition, kind === 'index' ? 'an index' : `a ${kind}`)
    })
    return this.#found
  }
}

const read = cachedByModels((models, casing) => {
  const definitions = sqliteDefinitions(models, casing)
  return { definitions, query: catalogueQuery(definitions) }
})

/** Drivers run only the first of several statements. */
function assertSingleStatement(statement: string): void {
  if (!isSeveral(statement)) return
  throw new SchemaError(
    'SCHEMA_MIGRATIONS',
    'Cannot run several statements as one on SQLite: divide them by "--> statement-breakpoint", as drizzle-kit does.',
  )
}

/** The kinds accepted for each kind of definition: a view can be read like a table, but a table is no view. */
const ACCEPTED_KINDS: Partial<Record<Definition['kind'], readonly string[]>> = {
  table: ['table', 'view'],
  view: ['view'],
}

interface Known {
  readonly code: SchemaErrorCode
  /** Stands before the database's message. */
  readonly reason?: string
  matches(error: unknown): boolean
}

const KNOWN: readonly Known[] = [
  { code: 'SCHEMA_LOCK_TIMEOUT', reason: 'others kept the database locked', matches: isContention },
  {
    code: 'SCHEMA_CONFLICT',
    reason: 'others have it or keep creating it',
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
    matches: (error) =>
      error instanceof AccessDeniedError || hasCode(error, 'SQLITE_AUTH') || hasCode(error, 'SQLITE_PERM'),
  },
  { code: 'SCHEMA_REFUSED', matches: (error) => textOf(error, 'code') === 'SQLITE_ERROR' },
]

function isContention(error: unknown): boolean {
  return (
    hasCode(error, 'SQLITE_BUSY') ||
    hasCode(error, 'SQLITE_LOCKED') ||
    error instanceof TransactionConflictError
  )
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

/** The part of a Drizzle handle for SQLite that is used here, whatever its driver. */
export interface SqliteHandle {
  all(query: SQL): PromiseLike<unknown[]>
  run(query: SQL): PromiseLike<unknown>
  transaction<Result>(
    run: (tx: Queryable) => Promise<Result>,
    config: { behavior: 'immediate' },
  ): Promise<Result>
}

/** Runs queries, in a transaction or not. */
export type Queryable = Pick<SqliteHandle, 'all' | 'run'>

/** A database, and `connect` for work that needs one connection: an `Engine` is such a target. */
export interface SqliteTarget {
  readonly db: SqliteHandle
  connect?(): Promise<AsyncDisposable & { readonly db: SqliteHandle }>
}

/** The rows of a query. */
export async function rowsOf(db: Queryable, query: SQL): Promise<object[]> {
  const rows = await db.all(query)
  return rows.filter((row) => typeof row === 'object' && row !== null)
}

/** Rebuilding a table deletes its rows, which would cascade to referring rows, or fail. */
export async function onConnectionWithoutForeignKeys<Result>(
  target: SqliteTarget,
  work: (db: SqliteHandle) => Promise<Result>,
): Promise<Result> {
  const connect = target.connect?.bind(target)
  if (connect === undefined) throw foreignKeysStay('this handle has no connect()')
  await using connection = await connect()
  const { db } = connection
  const before = await foreignKeys(db)
  await db.run(sql`pragma foreign_keys = off`)
  if ((await foreignKeys(db)) !== '0') throw foreignKeysStay('this database does not let them be turned off')
  try {
    return await work(db)
  } finally {
    await db.run(sql.raw(`pragma foreign_keys = ${before}`))
  }
}

async function foreignKeys(db: Queryable): Promise<string> {
  const [row] = await rowsOf(db, sql`select cast(foreign_keys as text) as "state" from pragma_foreign_keys`)
  return textOf(row, 'state') ?? ''
}

/** @throws SchemaError if `work` leaves more dangling references than there were */
export async function keepingReferences<Result>(
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
