import { causes } from '../causes.ts'
import { DrizzleCeleryError, OptionError, SchemaError } from '../errors.ts'
import { retry } from '../retry.ts'
import type { Casing } from './casing.ts'
import type { DatabaseSchema, Findings, Gap } from './database-schema.ts'
import type { Definition } from './definition.ts'
import { type MigrationsOptions, migrate } from './migrate.ts'
import type { PostgresqlHandle } from './postgresql/database.ts'
import { type Difference, inWords, type PreparedModels } from './report.ts'
import type { SqliteHandle } from './sqlite/database.ts'

/** The database to prepare: an `Engine`, or any Drizzle handle with its dialect. */
export type PrepareTarget =
  | { readonly dialect: 'postgresql'; readonly db: PostgresqlHandle }
  | {
      readonly dialect: 'sqlite'
      readonly db: SqliteHandle
      /** One connection, which migrations want that rebuild tables: `Engine` has it. */
      connect?(): Promise<AsyncDisposable & { readonly db: SqliteHandle }>
    }

/**
 * - `'create'`: creates what is missing, and never touches what is there.
 * - `'upgrade'`: also adds missing columns that are nullable or have a default, and missing indexes.
 * - `'check'`: creates nothing and reports.
 * - `'migrate'`: runs a drizzle-kit migrations folder.
 * - `'none'`: does not even look.
 */
export type PrepareMode = 'create' | 'upgrade' | 'check' | 'migrate' | 'none'

export interface PrepareOptions {
  /** @default 'create' */
  readonly prepare?: PrepareMode | undefined
  /**
   * What becomes of a difference between a table that is there and its model, and of what `'check'` finds missing:
   * nothing but the report, a warning of the process, or a `SchemaError` with code `SCHEMA_DIFFERENCE`, before anything
   * is created.
   * @default 'ignore'
   */
  readonly onDifference?: 'ignore' | 'warn' | 'error' | undefined
  /** The migrations of `'migrate'`. */
  readonly migrations?: MigrationsOptions | undefined
  /** The `casing` your handles are made with (Drizzle 0.45). */
  readonly casing?: Casing | undefined
  /** Ends the waiting between two attempts; a transaction under way is not interrupted. */
  readonly signal?: AbortSignal | undefined
}

type Outcome = Omit<PreparedModels, 'milliseconds'>

/**
 * Brings a database up to its models: creates the tables, sequences and the like that are missing, and changes nothing
 * that is there. When all is there it costs one catalogue query, takes no lock and needs no right to create.
 *
 * `models` is what you export for drizzle-kit. Any number of processes may prepare the same database at once, also
 * together with Celery's own `create_all`, which takes no lock. As in Celery (`SessionManager.prepare_models`) a lost
 * race is tried again up to 10 times, 10 ms doubling to 1 s with full jitter; unlike there, an error that trying
 * again cannot cure is thrown at once, as a `SchemaError` with the statements and the grant that would help.
 * @throws SchemaError, OptionError, and what the connection throws
 */
export async function prepareModels(
  target: PrepareTarget,
  models: Readonly<Record<string, unknown>>,
  options: PrepareOptions = {},
): Promise<PreparedModels> {
  const started = performance.now()
  refuseOptions(options)
  const outcome = options.prepare === 'none' ? NOTHING : await prepare(target, models, options)
  return { ...outcome, milliseconds: performance.now() - started }
}

const NOTHING: Outcome = { created: [], added: [], present: [], missing: [], differences: [], migrated: [] }

async function prepare(
  target: PrepareTarget,
  models: Readonly<Record<string, unknown>>,
  options: PrepareOptions,
): Promise<Outcome> {
  const schema = await schemaOf(target, models, options.casing)
  try {
    return await retry(() => attempt(schema, options), {
      retries: 10,
      base: 10,
      max: 1000,
      // What has been judged is no race, whatever caused it.
      retryable: (error) => !(error instanceof SchemaError) && schema.isRace(error),
      signal: options.signal,
    })
  } catch (error) {
    // Drizzle calls whatever a connection throws a failed query.
    const own = causes(error).find((cause) => cause instanceof DrizzleCeleryError)
    throw schema.explain(error) ?? own ?? error
  }
}

/** Loads the part of Drizzle that the dialect's tables are made of. */
async function schemaOf(
  target: PrepareTarget,
  models: Readonly<Record<string, unknown>>,
  casing: Casing | undefined,
): Promise<DatabaseSchema> {
  switch (target.dialect) {
    case 'postgresql': {
      const { PostgresqlSchema } = await import('./postgresql/database.ts')
      return new PostgresqlSchema(target.db, models, casing)
    }
    case 'sqlite': {
      const { SqliteSchema } = await import('./sqlite/database.ts')
      return new SqliteSchema(target, models, casing)
    }
  }
}

async function attempt(schema: DatabaseSchema, options: PrepareOptions): Promise<Outcome> {
  if (options.prepare === 'migrate' && options.migrations !== undefined) {
    return await migrated(schema, options.migrations, options)
  }
  if (schema.definitions.length === 0) return NOTHING

  const findings = await schema.look()
  const changes = changesFor(findings, options)
  judge(findings, changes, options)
  if (changes.missing.length + changes.additions.length === 0) return outcomeOf(schema, findings, changes)

  // Refuses what has no place before anybody is made to wait.
  schema.statements(changes.missing)
  return await schema.locked(async (locked) => {
    const again = await locked.look()
    const wanted = changesFor(again, options)
    judge(again, wanted, options)
    await locked.run([
      ...schema.statements(wanted.missing),
      ...wanted.additions.flatMap(({ addition }) => addition ?? []),
    ])
    return outcomeOf(schema, again, wanted)
  })
}

/** What a mode makes of what was found. */
interface Changes {
  readonly missing: readonly Definition[]
  readonly additions: readonly Gap[]
}

function changesFor({ missing, gaps }: Findings, { prepare = 'create' }: PrepareOptions): Changes {
  return {
    missing: prepare === 'check' ? [] : missing,
    additions: prepare === 'upgrade' ? gaps.filter(({ addition }) => addition !== undefined) : [],
  }
}

function outcomeOf({ definitions }: DatabaseSchema, { missing, gaps }: Findings, changes: Changes): Outcome {
  return {
    created: changes.missing.map(({ label }) => label),
    added: changes.additions.map(({ difference }) => nameOf(difference)),
    present: definitions.filter((definition) => !missing.includes(definition)).map(({ label }) => label),
    missing: missing.filter((definition) => !changes.missing.includes(definition)).map(({ label }) => label),
    differences: gaps.filter((gap) => !changes.additions.includes(gap)).map(({ difference }) => difference),
    migrated: [],
  }
}

function nameOf(difference: Difference): string {
  switch (difference.kind) {
    case 'missing index':
      return difference.index
    case 'edited migration':
      return difference.migration
    default:
      return `${difference.table}.${difference.column}`
  }
}

async function migrated(
  schema: DatabaseSchema,
  migrations: MigrationsOptions,
  options: PrepareOptions,
): Promise<Outcome> {
  const before = schema.definitions.length === 0 ? NOTHING_FOUND : await schema.look()
  const { migrated, differences } = await migrate(schema, migrations)
  const after = migrated.length === 0 || schema.definitions.length === 0 ? before : await schema.look()
  complain(after.missing, [...differences, ...after.gaps.map(({ difference }) => difference)], options)

  const outcome = outcomeOf(schema, after, { missing: [], additions: [] })
  const created = before.missing.filter((definition) => !after.missing.includes(definition))
  return {
    ...outcome,
    created: created.map(({ label }) => label),
    present: outcome.present.filter((label) => !created.some((definition) => definition.label === label)),
    differences: [...differences, ...outcome.differences],
    migrated,
  }
}

const NOTHING_FOUND: Findings = { missing: [], gaps: [] }

/** Differences that stay, told before anything is done. */
function judge(findings: Findings, changes: Changes, options: PrepareOptions): void {
  complain(
    findings.missing.filter((definition) => !changes.missing.includes(definition)),
    findings.gaps.filter((gap) => !changes.additions.includes(gap)).map(({ difference }) => difference),
    options,
  )
}

function complain(
  missing: readonly Definition[],
  differences: readonly Difference[],
  { onDifference = 'ignore' }: PrepareOptions,
): void {
  const complaints = [
    ...missing.map(({ kind, label }) => `there is no ${kind} ${label}`),
    ...differences.map(inWords),
  ]
  if (onDifference === 'ignore' || complaints.length === 0) return
  const message = `The database differs from its models: ${complaints.join('; ')}.`
  if (onDifference === 'warn') {
    process.emitWarning(message, { code: 'DRIZZLE_CELERY_SCHEMA_DIFFERENCE' })
    return
  }
  throw new SchemaError(
    'SCHEMA_DIFFERENCE',
    `${message} Nothing was changed. prepare: 'upgrade' adds missing columns and indexes; the rest wants migrations.`,
  )
}

const MODES: readonly unknown[] = ['create', 'upgrade', 'check', 'migrate', 'none'] satisfies PrepareMode[]

function refuseOptions({ prepare = 'create', onDifference = 'ignore', migrations }: PrepareOptions): void {
  if (!MODES.includes(prepare)) {
    throw new OptionError(
      'INVALID_OPTION',
      'prepare',
      `The option prepare must be one of ${MODES.join(', ')}`,
    )
  }
  if (!['ignore', 'warn', 'error'].includes(onDifference)) {
    throw new OptionError(
      'INVALID_OPTION',
      'onDifference',
      'The option onDifference must be ignore, warn or error',
    )
  }
  if (prepare === 'migrate' && migrations === undefined) {
    throw new OptionError(
      'INVALID_OPTION',
      'migrations',
      "prepare: 'migrate' wants to know the folder of the migrations: migrations: { folder: './drizzle' }",
    )
  }
}
