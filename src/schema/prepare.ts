import { is, Table } from 'drizzle-orm'
import type { Dialect } from '../dburi/types.ts'
import { importOnce } from '../driver/load.ts'
import { causes, DrizzleCeleryError, NotServingError, textOf } from '../errors.ts'
import { checkOptions } from '../options/check.ts'
import { assertOption } from '../options/values.ts'
import { retry } from '../retry.ts'
import {
  type Changes,
  type DatabaseSchema,
  type Difference,
  type Findings,
  inWords,
  type PreparedModels,
  type SchemaDialect,
} from './diff.ts'
import { SchemaError } from './errors.ts'
import { type MigrationsOptions, migrate } from './migrate.ts'
import { checkCasing } from './names.ts'
import { PREPARE_CHECKS, type PrepareOptions, type PrepareTarget, type TargetByDialect } from './options.ts'

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
  checkPrepareOptions(target, models, options)
  const outcome = options.prepare === 'none' ? NOTHING : await prepare(target, models, options)
  return { ...outcome, milliseconds: performance.now() - started }
}

const NOTHING: Outcome = {
  created: [],
  added: [],
  widened: [],
  present: [],
  missing: [],
  differences: [],
  migrated: [],
}

async function prepare(
  target: PrepareTarget,
  models: Readonly<Record<string, unknown>>,
  options: PrepareOptions,
): Promise<Outcome> {
  const schema = await schemaFor(target, models, options)
  let last: string | undefined
  let elsewhere = 2
  try {
    const outcome = await retry(() => attempt(schema, options), {
      retries: 10,
      base: 10,
      max: 1000,
      retryable(error) {
        // What commits by itself may be half done, and is not begun anew.
        if (schema.commitsEach && error instanceof SchemaError) return false
        // The next connection goes to another host, where there is one.
        if (isNotServing(error)) return elsewhere-- > 0
        // A SchemaError is final, whatever caused it.
        if (error instanceof SchemaError || !schema.isRace(error)) return false
        // A name that exists twice in a row and still is not found belongs to something else.
        const isHeld = last !== undefined && alreadyThere(error) === last
        last = alreadyThere(error)
        return !isHeld
      },
      signal: options.signal,
    })
    warn(outcome, options)
    return outcome
  } catch (error) {
    // Drizzle wraps what a connection throws as a failed query.
    const own = causes(error).find((cause) => cause instanceof DrizzleCeleryError)
    throw schema.explain(error) ?? own ?? error
  }
}

/** The server takes no writes any more: in a transaction PostgreSQL says it by its own code. */
function isNotServing(error: unknown): boolean {
  return causes(error).some((cause) => cause instanceof NotServingError || textOf(cause, 'code') === '25006')
}

/** The dialects. Each is loaded with the part of Drizzle that its tables are made of. */
const DIALECTS: {
  readonly [D in Dialect]: () => Promise<{ readonly dialect: SchemaDialect<TargetByDialect[D]> }>
} = {
  postgresql: importOnce(() => import('./postgresql/database.ts')),
  mysql: importOnce(() => import('./mysql/database.ts')),
  sqlite: importOnce(() => import('./sqlite/database.ts')),
}

async function schemaFor(
  target: PrepareTarget,
  models: Readonly<Record<string, unknown>>,
  options: PrepareOptions,
): Promise<DatabaseSchema> {
  try {
    return await schemaOf(target, models, options)
  } catch (error) {
    // A model that cannot be created can still be migrated; it is only not compared.
    if (options.prepare === 'migrate' && error instanceof SchemaError)
      return await schemaOf(target, {}, options)
    throw error
  }
}

async function schemaOf<D extends Dialect>(
  target: PrepareTarget<D>,
  models: Readonly<Record<string, unknown>>,
  { casing, widen = false }: PrepareOptions,
): Promise<DatabaseSchema> {
  const { dialect } = await DIALECTS[target.dialect]()
  return dialect.open(target, models, { casing, widen })
}

function alreadyThere(error: unknown): string | undefined {
  return causes(error)
    .map((cause) => textOf(cause, 'message'))
    .findLast((message) => message !== undefined && /already exists$/.test(message))
}

async function attempt(schema: DatabaseSchema, options: PrepareOptions): Promise<Outcome> {
  if (options.prepare === 'migrate' && options.migrations !== undefined) {
    return await migrated(schema, options.migrations, options)
  }
  if (schema.definitions.length === 0) return NOTHING

  const findings = await schema.introspect()
  const changes = changesFor(findings, options)
  const outcome = outcomeOf(schema, findings, changes)
  assertNoDifferences(outcome, options)
  if (changes.missing.length + changes.additions.length === 0) return outcome

  // Throws for missing schemas before it waits for the lock.
  schema.statements(changes)
  return await schema.locked(async (locked) => {
    const again = await locked.introspect()
    const wanted = changesFor(again, options)
    const outcome = outcomeOf(schema, again, wanted)
    assertNoDifferences(outcome, options)
    await locked.run(schema.statements(wanted))
    return outcome
  })
}

/** The changes that the mode makes of the findings. */
function changesFor({ missing, gaps }: Findings, { prepare = 'create' }: PrepareOptions): Changes {
  return {
    missing: prepare === 'check' ? [] : missing,
    additions: prepare === 'upgrade' ? gaps.filter(({ addition }) => addition !== undefined) : [],
  }
}

function outcomeOf(
  { definitions, kept = NO_CHANGES }: DatabaseSchema,
  { missing, gaps }: Findings,
  changes: Changes,
): Outcome {
  const created = new Set([...kept.missing, ...changes.missing])
  const found = definitions.filter((definition) => !missing.includes(definition) && !created.has(definition))
  const additions = [...kept.additions, ...changes.additions].map(({ difference }) => difference)
  return {
    created: [...created].map(({ label }) => label),
    added: additions.filter(({ kind }) => kind !== 'other type').map(nameOf),
    widened: additions.filter(({ kind }) => kind === 'other type').map(nameOf),
    present: found.map(({ label }) => label),
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
  const isCompared = schema.definitions.length > 0
  const before = isCompared ? await schema.introspect().catch(unlessSchemaError) : NOTHING_FOUND
  const { migrated, differences } = await migrate(schema, migrations)
  const after = isCompared && migrated.length > 0 ? await schema.introspect() : before
  const found = outcomeOf(schema, after, NO_CHANGES)
  const created = before.missing.filter((definition) => !after.missing.includes(definition))
  const outcome = {
    ...found,
    created: created.map(({ label }) => label),
    present: found.present.filter((label) => !created.some((definition) => definition.label === label)),
    differences: [...differences, ...found.differences],
    migrated,
  }
  assertNoDifferences(outcome, options)
  return outcome
}

const NOTHING_FOUND: Findings = { missing: [], gaps: [] }
const NO_CHANGES: Changes = { missing: [], additions: [] }

/** The migrations may remove what is in the way now. */
function unlessSchemaError(error: unknown): Findings {
  if (error instanceof SchemaError) return NOTHING_FOUND
  throw error
}

/** @throws SchemaError for differences that remain: before anything is done, with migrations afterwards */
function assertNoDifferences(outcome: Outcome, { onDifference }: PrepareOptions): void {
  const complaint = complaintOf(outcome)
  if (onDifference !== 'error' || complaint === undefined) return
  const done = outcome.migrated.length === 0 ? 'Nothing was changed' : 'The migrations ran'
  throw new SchemaError(
    'SCHEMA_DIFFERENCE',
    `${complaint} ${done}. prepare: 'upgrade' adds missing columns and indexes; the rest wants migrations.`,
  )
}

/** Once per call, however many attempts it took. */
function warn(outcome: Outcome, { onDifference }: PrepareOptions): void {
  const complaint = complaintOf(outcome)
  if (onDifference !== 'warn' || complaint === undefined) return
  process.emitWarning(complaint, { code: 'DRIZZLE_CELERY_SCHEMA_DIFFERENCE' })
}

function complaintOf({ missing, differences }: Outcome): string | undefined {
  const complaints = [...missing.map((label) => `there is no ${label}`), ...differences.map(inWords)]
  return complaints.length === 0
    ? undefined
    : `The database differs from its models: ${complaints.join('; ')}.`
}

/** @throws OptionError listing everything wrong with the options */
function checkPrepareOptions(
  { dialect }: PrepareTarget,
  models: Readonly<Record<string, unknown>>,
  options: PrepareOptions,
): void {
  assertOption(Object.hasOwn(DIALECTS, dialect), 'dialect', 'postgresql, sqlite or mysql')
  const areModels = typeof models === 'object' && models !== null && !isTable(models)
  assertOption(areModels, 'models', 'an object that has the tables as its properties')
  checkOptions('prepareModels', options, PREPARE_CHECKS)
  const { prepare = 'create', casing, migrations, widen = false } = options
  checkCasing(casing)
  assertOption(!widen || (dialect === 'mysql' && prepare === 'upgrade'), 'widen', "for MySQL, with 'upgrade'")
  const isThere = prepare !== 'migrate' || migrations !== undefined
  assertOption(isThere, 'migrations', "given for 'migrate': { folder: './drizzle' }")
}

/** Drizzle's `is` throws for an object without a prototype, such as `import * as models`. */
function isTable(value: object): boolean {
  return Object.getPrototypeOf(value) !== null && is(value, Table)
}
