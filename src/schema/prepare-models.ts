import { retry } from '../retry.ts'
import type { DatabaseSchema } from './database-schema.ts'
import { type PostgresqlHandle, PostgresqlSchema } from './postgresql/database.ts'
import { type SqliteHandle, SqliteSchema } from './sqlite/database.ts'

/** The database to prepare: an `Engine`, or any Drizzle handle with its dialect. */
export type PrepareTarget =
  | { readonly dialect: 'postgresql'; readonly db: PostgresqlHandle }
  | { readonly dialect: 'sqlite'; readonly db: SqliteHandle }

export interface PrepareOptions {
  /** Ends the waiting between two attempts; a transaction under way is not interrupted. */
  readonly signal?: AbortSignal | undefined
}

export interface PreparedModels {
  /** What this call created: tables and sequences, those of a named schema as `schema.name`. */
  readonly created: string[]
  /** What was there, or was created by somebody else meanwhile. */
  readonly present: string[]
  readonly milliseconds: number
}

/**
 * Brings a database up to its models: creates the tables and sequences that are missing, and changes nothing that is
 * there. When all is there it costs one catalogue query, takes no lock and needs no right to create.
 *
 * `models` is what you export for drizzle-kit. Any number of processes may prepare the same database at once, also
 * together with Celery's own `create_all`, which takes no lock. As in Celery (`SessionManager.prepare_models`) a lost
 * race is tried again up to 10 times, 10 ms doubling to 1 s with full jitter; unlike there, an error that trying
 * again cannot cure is thrown at once, as a `SchemaError` with the statements and the grant that would help.
 */
export async function prepareModels(
  target: PrepareTarget,
  models: Record<string, unknown>,
  options: PrepareOptions = {},
): Promise<PreparedModels> {
  const started = performance.now()
  const schema = schemaOf(target, models)

  const created = await createMissing(schema, options)

  return {
    created: created.map(({ label }) => label),
    present: schema.definitions
      .filter((definition) => !created.includes(definition))
      .map(({ label }) => label),
    milliseconds: performance.now() - started,
  }
}

function schemaOf(target: PrepareTarget, models: Record<string, unknown>): DatabaseSchema {
  switch (target.dialect) {
    case 'postgresql':
      return new PostgresqlSchema(target.db, models)
    case 'sqlite':
      return new SqliteSchema(target.db, models)
  }
}

async function createMissing(schema: DatabaseSchema, { signal }: PrepareOptions) {
  if (schema.definitions.length === 0) return []
  try {
    return await retry(
      async () => ((await schema.missing()).length === 0 ? [] : await schema.createMissing()),
      { retries: 10, base: 10, max: 1000, retryable: (error) => schema.isRace(error), signal },
    )
  } catch (error) {
    throw schema.explain(error) ?? error
  }
}
