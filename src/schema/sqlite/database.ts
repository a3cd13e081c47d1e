import { type SQL, sql } from 'drizzle-orm'
import { causes, textOf } from '../../causes.ts'
import { ContentionError, SchemaError, type SchemaErrorCode } from '../../errors.ts'
import type { DatabaseSchema } from '../database-schema.ts'
import { type Definition, statementsOf } from '../definition.ts'
import { schemaError } from '../schema-error.ts'
import { sqliteDefinitions } from './definitions.ts'

/** What we use of a Drizzle handle for SQLite, whichever its driver. */
export interface SqliteHandle {
  all(query: SQL): PromiseLike<unknown[]>
  transaction<Result>(
    run: (tx: {
      all(query: SQL): PromiseLike<unknown[]>
      run(query: SQL): PromiseLike<unknown>
    }) => Promise<Result>,
    config: { behavior: 'immediate' },
  ): Promise<Result>
}

export class SqliteSchema implements DatabaseSchema {
  readonly definitions: readonly Definition[]
  readonly #db: SqliteHandle
  readonly #query: SQL
  /** The last look: what an error is explained with. */
  #missing: readonly Definition[] = []

  constructor(db: SqliteHandle, models: Record<string, unknown>) {
    this.definitions = sqliteDefinitions(models)
    this.#db = db
    this.#query = catalogueQuery(this.definitions)
  }

  async missing(): Promise<readonly Definition[]> {
    this.#missing = await this.#look(this.#db)
    return this.#missing
  }

  async createMissing(): Promise<readonly Definition[]> {
    // Immediate: a transaction that reads before it asks for the write lock may be refused it without a wait.
    return await this.#db.transaction(
      async (tx) => {
        const missing = await this.#look(tx)
        for (const statement of statementsOf(missing, () => undefined)) await tx.run(sql.raw(statement))
        return missing
      },
      { behavior: 'immediate' },
    )
  }

  isRace(error: unknown): boolean {
    const all = causes(error)
    // Our own adapter has waited for the lock by itself, for as long as it may.
    if (all.some((cause) => cause instanceof ContentionError)) return false
    return all.some((cause) => isContention(cause) || isAlreadyThere(cause))
  }

  explain(error: unknown): SchemaError | undefined {
    if (this.#missing.length === 0 || error instanceof SchemaError) return undefined
    for (const cause of causes(error)) {
      const known = KNOWN.find(({ matches }) => matches(cause))
      if (known === undefined) continue
      return schemaError(known.code, known.reason ?? textOf(cause, 'message') ?? 'a statement failed', {
        labels: this.#missing.map(({ label }) => label),
        statements: statementsOf(this.#missing, () => undefined),
        cause: error,
      })
    }
    return undefined
  }

  async #look(db: Pick<SqliteHandle, 'all'>): Promise<readonly Definition[]> {
    const kinds = new Map<string, string>()
    for (const row of await db.all(this.#query)) {
      const kind = textOf(row, 'kind')
      if (kind !== undefined) kinds.set(textOf(row, 'at') ?? '', kind)
    }

    return this.definitions.filter((definition, at) => {
      const kind = kinds.get(String(at))
      if (kind === 'index') throw nameTaken(definition.label)
      return kind === undefined
    })
  }
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

function nameTaken(label: string): SchemaError {
  return new SchemaError(
    'SCHEMA_NAME_TAKEN',
    `Cannot create the table ${label}: an index there has that name`,
  )
}

/** SQLite compares names without regard to case. */
function catalogueQuery(definitions: readonly Definition[]): SQL {
  const names = JSON.stringify(definitions.map(({ name }) => name))
  return sql`select cast(w.key as text) as "at", m.type as "kind"
from json_each(${names}) w
join sqlite_master m on m.name = w.value collate nocase and m.type in ('table', 'view', 'index')`
}
