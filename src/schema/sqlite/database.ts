import { type SQL, sql } from 'drizzle-orm'
import { causes, textOf } from '../../causes.ts'
import { SchemaError, type SchemaErrorCode, TransactionConflictError } from '../../errors.ts'
import { isSeveral } from '../../statement.ts'
import type { Casing } from '../casing.ts'
import type {
  Changes,
  DatabaseSchema,
  Findings,
  Gap,
  LockedOptions,
  LockedSchema,
} from '../database-schema.ts'
import { type Definition, inStages, remembering } from '../definition.ts'
import { gapsOf } from '../gaps.ts'
import { labelsOf, schemaError } from '../schema-error.ts'
import { catalogueQuery, foundTable } from './catalogue.ts'
import { sqliteDefinitions } from './definitions.ts'
import { keepingReferences, onConnectionWithoutForeignKeys } from './foreign-keys.ts'
import { type Asks, rowsOf, type SqliteHandle, type SqliteTarget } from './target.ts'

export class SqliteSchema implements DatabaseSchema {
  readonly definitions: readonly Definition[]
  readonly #target: SqliteTarget
  readonly #query: SQL
  /** The last look: what an error is explained with. */
  #found: Findings = { missing: [], gaps: [] }

  constructor(target: SqliteTarget, models: Readonly<Record<string, unknown>>, casing: Casing | undefined) {
    const { definitions, query } = read(models, casing)
    this.definitions = definitions
    this.#target = target
    this.#query = query
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
    if (!withoutForeignKeys) return this.#transaction(this.#target.db, work)
    return onConnectionWithoutForeignKeys(this.#target, (db) =>
      this.#transaction(db, (schema) => keepingReferences(schema, work)),
    )
  }

  statements({ missing, additions }: Changes): string[] {
    return inStages([
      ...missing.flatMap((definition) => definition.statements(undefined)),
      ...additions.flatMap(({ addition }) => addition ?? []),
    ])
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
            for (const statement of statements) {
              refuseSeveral(statement)
              await tx.run(sql.raw(statement))
            }
          },
        }),
      { behavior: 'immediate' },
    )
  }

  isRace(error: unknown): boolean {
    const all = causes(error)
    // Our own adapter has waited for the lock by itself, for as long as it may.
    if (all.some((cause) => cause instanceof TransactionConflictError)) return false
    return all.some((cause) => isContention(cause) || isAlreadyThere(cause))
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
      else {
        const table = foundTable(row)
        if (table !== undefined) gaps.push(...gapsOf(definition, table))
      }
    }
    this.#found = { missing, gaps }
    return this.#found
  }
}

const read = remembering((models, casing) => {
  const definitions = sqliteDefinitions(models, casing)
  return { definitions, query: catalogueQuery(definitions) }
})

/** Drivers run the first of several statements and forget the rest. */
function refuseSeveral(statement: string): void {
  if (!isSeveral(statement)) return
  throw new SchemaError(
    'SCHEMA_MIGRATIONS',
    'Cannot run several statements as one on SQLite: divide them by "--> statement-breakpoint", as drizzle-kit does.',
  )
}

/** What serves in the place of what is asked for: a view can be read like a table, but a table is no view. */
const SERVES: Partial<Record<Definition['kind'], readonly string[]>> = {
  table: ['table', 'view'],
  view: ['view'],
}

interface Known {
  readonly code: SchemaErrorCode
  /** What the database's own words are put behind, if anything. */
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
    matches: (error) => hasCode(error, 'SQLITE_AUTH') || hasCode(error, 'SQLITE_PERM'),
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

function nameTaken({ kind, label }: Definition, other: string): SchemaError {
  const article = other === 'index' ? 'an' : 'a'
  return new SchemaError(
    'SCHEMA_NAME_TAKEN',
    `Cannot create the ${kind} ${label}: ${article} ${other} there has that name`,
  )
}
