import { createHash } from 'node:crypto'
import { type SQL, sql } from 'drizzle-orm'
import { schemaMayHaveChanged } from '../../adapters/postgresql/statement.ts'
import { causes, textOf } from '../../errors.ts'
import { assertCreatable, cachedByModels, type Definition } from '../definition.ts'
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
import { catalogueQuery, FAMILIES, foundTable, keyOf, keyOfRow, targetSchemasQuery } from './catalogue.ts'
import { postgresqlDefinitions } from './definitions.ts'
import { isRace, troubleOf } from './errors.ts'
import { quote } from './text.ts'

/** The part of a Drizzle handle for PostgreSQL that is used here, whatever its driver. */
export interface PostgresqlHandle {
  execute(query: SQL): PromiseLike<unknown>
  transaction<Result>(
    run: (tx: { execute(query: SQL): PromiseLike<unknown> }) => Promise<Result>,
    config: { isolationLevel: 'read committed' },
  ): Promise<Result>
}

/** A database; an `Engine` also has `connect`. */
export interface PostgresqlTarget {
  readonly db: PostgresqlHandle
  readonly connect?: unknown
}

/** The schema in which something is missing, and whether it can be used. */
interface TargetSchema {
  readonly schema: string
  readonly state: 'usable' | 'shut' | 'absent'
}

type Executes = Pick<PostgresqlHandle, 'execute'>

export const dialect: SchemaDialect<PostgresqlTarget> = {
  definitions: postgresqlDefinitions,
  open: (target, models, options) => new PostgresqlSchema(target, models, options),
}

class PostgresqlSchema implements DatabaseSchema {
  readonly definitions: readonly Definition[]
  readonly #db: PostgresqlHandle
  readonly #isOurs: boolean
  readonly #query: SQL
  /** The last introspection and the target schemas, for error messages. */
  #found: Findings = { missing: [], gaps: [] }
  #targetSchemas: ReadonlyMap<string | undefined, TargetSchema> = new Map()
  #role = ''
  #database = ''

  constructor(
    { db, connect }: PostgresqlTarget,
    models: Readonly<Record<string, unknown>>,
    { casing }: { readonly casing: Casing | undefined },
  ) {
    const { definitions, query } = read(models, casing)
    this.definitions = definitions
    this.#db = db
    this.#isOurs = connect !== undefined
    this.#query = query
  }

  async introspect(): Promise<Findings> {
    const found = await this.#introspect(this.#db)
    if (found.missing.length > 0 && this.#targetSchemas.size === 0) await this.#findTargetSchemas()
    return found
  }

  async rows(query: SQL): Promise<object[]> {
    return rowsOf(await this.#db.execute(query))
  }

  async locked<Result>(
    work: (schema: LockedSchema) => Promise<Result>,
    { lock, waitsForever = false }: LockedOptions = {},
  ): Promise<Result> {
    const key = lockKey(lock === undefined ? this.definitions.map(({ label }) => label) : [lock])
    // A function in FROM runs before the select list, so the timeout is set when the lock is taken.
    const timeout = waitsForever ? '' : ` from pg_catalog.set_config('lock_timeout', '5000', true)`
    // Under repeatable read, which may be the default, the introspection under the lock would use an old snapshot.
    const locked = this.#db.transaction(
      async (tx) => {
        await tx.execute(sql.raw(`select pg_catalog.pg_advisory_xact_lock(${key})${timeout}`))
        return await work({
          introspect: () => this.#introspect(tx),
          rows: async (query) => rowsOf(await tx.execute(query)),
          run: (statements) => this.#run(tx, statements),
        })
      },
      { isolationLevel: 'read committed' },
    )
    // Our own connections notice DDL by themselves; other clients' DDL is only seen here.
    return await locked.finally(schemaMayHaveChanged)
  }

  async #run(tx: Executes, statements: readonly string[]): Promise<void> {
    // Our own connections pipeline several statements; other drivers need them one by one.
    if (this.#isOurs) await Promise.all(statements.map((statement) => tx.execute(sql.raw(statement))))
    else for (const statement of statements) await tx.execute(sql.raw(statement))
  }

  statements(changes: Changes): string[] {
    assertCreatable(changes.missing)
    const [absent] = this.#absentSchemas(changes.missing)
    if (absent === undefined) return this.#statements(changes)
    if (absent.schema === '') {
      throw this.#error(
        'SCHEMA_MISSING_SCHEMA',
        'the search_path leads nowhere, and their models name no schema',
      )
    }
    throw this.#error(
      'SCHEMA_MISSING_SCHEMA',
      `there is no schema "${absent.schema}", and schemas are yours to create`,
    )
  }

  isMissingTable(error: unknown): boolean {
    return causes(error).some((cause) => textOf(cause, 'code') === '42P01')
  }

  isRace(error: unknown): boolean {
    return causes(error).some(isRace)
  }

  explain(error: unknown): SchemaError | undefined {
    const { missing, gaps } = this.#found
    if (missing.length + gaps.length === 0 || error instanceof SchemaError) return undefined
    const race = causes(error).find(isRace)
    if (race !== undefined) {
      // Also if the index of another table has this name, where no retry helps.
      const reason = `others have it or keep creating it: ${textOf(race, 'message')}`
      return this.#error('SCHEMA_CONFLICT', reason, error)
    }

    const trouble = troubleOf(error)
    if (trouble !== undefined) return this.#error(trouble.code, trouble.reason, error)
    return undefined
  }

  async #introspect(db: Executes): Promise<Findings> {
    const found = new Map<string, object>()
    for (const row of rowsOf(await db.execute(this.#query))) {
      const schema = textOf(row, 'schema')
      found.set(keyOfRow(row, schema), row)
      // Rows are ordered by the search_path: the first one hides later ones.
      const isOnPath = textOf(row, 'path_position') !== undefined
      const nearest = keyOfRow(row, undefined)
      if (isOnPath && !found.has(nearest)) found.set(nearest, row)
    }

    this.#found = compare(this.definitions, (definition) => {
      const row = found.get(keyOf(definition))
      if (row === undefined) return undefined
      assertUsable(definition, row)
      return { table: foundTable(row) }
    })
    return this.#found
  }

  /** Finds the schemas in which missing objects are created. */
  async #findTargetSchemas(): Promise<void> {
    const wanted = [...new Set(this.definitions.map(({ schema }) => schema))]
    const targets = new Map<string | undefined, TargetSchema>()
    for (const row of rowsOf(await this.#db.execute(targetSchemasQuery(wanted)))) {
      const isUsable = textOf(row, 'usable')
      const state = isUsable === undefined ? 'absent' : isUsable === 'true' ? 'usable' : 'shut'
      targets.set(textOf(row, 'wanted'), { schema: textOf(row, 'schema') ?? '', state })
      this.#role = textOf(row, 'role') ?? ''
      this.#database = textOf(row, 'database') ?? ''
    }
    this.#targetSchemas = targets
  }

  /** The schemas of missing objects that do not exist and that the models do not create. */
  #absentSchemas(missing: readonly Definition[]): TargetSchema[] {
    const made = new Set(missing.flatMap(({ kind, name }) => (kind === 'schema' ? name : [])))
    return missing
      .filter(({ kind }) => FAMILIES[kind].isInSchema)
      .flatMap((definition) => this.#targetSchemas.get(definition.schema) ?? [])
      .filter(({ schema, state }) => state === 'absent' && !made.has(schema))
  }

  #statements(changes: Changes): string[] {
    return changeStatements(changes, ({ schema }) => this.#targetSchemas.get(schema)?.schema || undefined)
  }

  #error(code: SchemaErrorCode, reason: string, cause?: unknown): SchemaError {
    const { missing, gaps } = this.#found
    const absent = new Set(this.#absentSchemas(missing).map(({ schema }) => schema))
    absent.delete('')

    return schemaError(code, reason, {
      labels: labelsOf(this.#found),
      statements: [
        ...[...absent].map((schema) => `CREATE SCHEMA ${quote(schema)}`),
        ...this.#statements({ missing, additions: gaps }),
      ],
      grant: code === 'SCHEMA_PERMISSION' ? this.#grant() : undefined,
      cause,
    })
  }

  /**
   * The GRANT that allows this role to create what is missing. Creating roles is an attribute of a role and cannot be
   * granted.
   */
  #grant(): string | undefined {
    const { missing } = this.#found
    // Only the owner of a table can add columns and indexes; no GRANT changes that.
    if (missing.length === 0) return undefined
    const role = quote(this.#role)
    const targets = missing
      .filter(({ kind }) => FAMILIES[kind].isInSchema)
      .flatMap((definition) => this.#targetSchemas.get(definition.schema) ?? [])
      .filter(({ state }) => state !== 'absent')
    const schemas = [...new Set(targets.map(({ schema }) => quote(schema)))]
    const grants =
      schemas.length > 0 ? [`GRANT USAGE, CREATE ON SCHEMA ${schemas.join(', ')} TO ${role}`] : []
    if (missing.some(({ kind }) => kind === 'schema')) {
      grants.push(`GRANT CREATE ON DATABASE ${quote(this.#database)} TO ${role}`)
    }
    return grants.length === 0 ? undefined : grants.join(';\n')
  }
}

const read = cachedByModels((models, casing) => {
  const definitions = postgresqlDefinitions(models, casing)
  warnOfTruncation(definitions)
  return { definitions, query: catalogueQuery(definitions) }
})

const warned = new Set<string>()

/** Once for each name that a model chose; derived names cannot be changed. */
function warnOfTruncation(definitions: readonly Definition[]): void {
  const names = definitions.flatMap(({ kind, label, name, modelName = name, parts = [] }) => [
    ...(name === modelName ? [] : [`the ${kind} "${modelName}" is called "${name}"`]),
    ...parts
      .filter((part) => part.name !== part.modelName)
      .map((part) => `the ${part.what} "${part.modelName}" of ${label} is called "${part.name}"`),
  ])
  const news = names.filter((name) => !warned.has(name))
  if (news.length === 0) return
  for (const name of news) warned.add(name)
  process.emitWarning(
    `PostgreSQL truncates names to 63 bytes: ${news.join('; ')}. Shorter names in the models would be kept.`,
    { code: 'DRIZZLE_CELERY_TRUNCATED_NAME' },
  )
}

/** @throws SchemaError for an existing object that cannot be used */
function assertUsable(definition: Definition, row: object): void {
  const { kind, label } = definition
  if (!FAMILIES[kind].accepted.includes(textOf(row, 'kind') ?? '')) {
    throw otherHasName(definition, 'something else')
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

/** Advisory locks share one namespace per database: 63 bits of a hash avoid collisions. */
function lockKey(names: readonly string[]): bigint {
  const hash = createHash('sha256').update(JSON.stringify(['drizzle-celery', 'prepareModels', ...names]))
  return BigInt.asUintN(63, hash.digest().readBigUInt64BE())
}

/** postgres.js and our engines answer with the rows, PGlite and node-postgres with an object that has them. */
function rowsOf(answer: unknown): object[] {
  const rows: unknown = Array.isArray(answer) ? answer : Reflect.get(Object(answer), 'rows')
  return Array.isArray(rows) ? rows : []
}
