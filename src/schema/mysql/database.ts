import { type SQL, sql } from 'drizzle-orm'
import { cachedByModels, type Definition, inStages, type SchemaStatement } from '../definition.ts'
import {
  type Changes,
  type DatabaseSchema,
  type Findings,
  type Gap,
  gapsOf,
  type LockedOptions,
  type LockedSchema,
  labelsOf,
  otherHasName,
  type SchemaDialect,
  schemaError,
} from '../diff.ts'
import { SchemaError, type SchemaErrorCode } from '../errors.ts'
import type { Casing } from '../names.ts'
import { ACCEPTED_KINDS, catalogueQuery, type Found, type MysqlTable, readCatalogue } from './catalogue.ts'
import { isWider, widenText } from './columns.ts'
import { mysqlDefinitions, sequencesOf } from './definitions.ts'
import { explanationOf, isRace, numberOf } from './errors.ts'
import { grantOf } from './grant.ts'
import {
  isGalera,
  isLockLocal,
  type MysqlTarget,
  onOneConnection,
  type Queryable,
  rowsOf,
  withLock,
} from './lock.ts'
import type { Flavor } from './model.ts'
import { sequenceDefinition } from './objects.ts'
import { qualified, quote } from './text.ts'

export const dialect: SchemaDialect<MysqlTarget> = {
  definitions: mysqlDefinitions,
  open: (target, models, options) => new MysqlSchema(target, models, options),
}

class MysqlSchema implements DatabaseSchema {
  readonly commitsEach = true
  readonly #target: MysqlTarget
  readonly #models: ModelsRead
  /** Whether an upgrade makes columns wider. */
  readonly #widen: boolean
  /** MySQL's, until an introspection has shown which server it is. */
  #definitions: readonly Definition[]
  /** The last introspection, for error messages. */
  #findings: Findings = { missing: [], gaps: [] }
  #found: Found | undefined
  /** Whether this is a node of a Galera cluster, which takes sequences only with an increment by node. */
  #isGalera = false
  /** Tables whose foreign keys are still to be added. */
  #unfinished: ReadonlySet<Definition> = new Set()
  /** The definition or gap to which each of the last statements belongs. */
  #sources: ReadonlyMap<string, Definition | Gap> = new Map()
  readonly #made = new Set<Definition | Gap>()

  constructor(
    target: MysqlTarget,
    models: Readonly<Record<string, unknown>>,
    { casing, widen }: { readonly casing: Casing | undefined; readonly widen: boolean },
  ) {
    this.#target = target
    this.#models = read(models, casing)
    this.#widen = widen
    this.#definitions = this.#models.of('mysql')
  }

  get definitions(): readonly Definition[] {
    return this.#definitions
  }

  introspect(): Promise<Findings> {
    return this.#introspect(this.#target.db)
  }

  rows(query: SQL): Promise<object[]> {
    return rowsOf(this.#target.db, query)
  }

  async locked<Result>(
    work: (schema: LockedSchema) => Promise<Result>,
    { lock, waitsForever = false }: LockedOptions = {},
  ): Promise<Result> {
    const names = lock === undefined ? this.#definitions.map(({ label }) => label) : [lock]
    const timeout = waitsForever ? FOR_EVER : 5
    return await onOneConnection(this.#target, (db) =>
      withLock(db, { names, timeout }, async (state) => {
        // The lock's last holder may have created what was missing.
        if (state === 'timeout' && (await this.#introspect(db)).missing.length > 0) {
          throw this.#error('SCHEMA_LOCK_TIMEOUT', KEPT)
        }
        // A lost race is retried; a migration that ran twice cannot be undone.
        if (state !== 'held' && lock !== undefined) throw lockMissing()
        return await work({
          isLockLocal: lock !== undefined && (await isLockLocal(db)),
          introspect: () => this.#introspect(db),
          rows: (query) => rowsOf(db, query),
          run: (statements) => this.#run(db, statements),
        })
      }),
    )
  }

  statements(changes: Changes): string[] {
    const sources = new Map<string, Definition | Gap>()
    const note = (source: Definition | Gap, statements: readonly SchemaStatement[]) => {
      for (const { text } of statements) sources.set(text, source)
      return statements
    }
    const statements = [
      ...changes.missing.flatMap((definition) => note(definition, this.#statementsOf(definition))),
      ...changes.additions.flatMap((gap) => note(gap, gap.addition ?? [])),
    ]
    this.#sources = sources
    return inStages(statements)
  }

  /** What failed attempts did before they failed: DDL cannot be rolled back. */
  get kept(): Changes {
    const made = [...this.#made]
    return {
      missing: made.filter((source) => 'statements' in source),
      additions: made.filter((source) => 'difference' in source),
    }
  }

  isMissingTable(error: unknown): boolean {
    return numberOf(error) === 1146
  }

  isRace(error: unknown): boolean {
    return isRace(error)
  }

  explain(error: unknown): SchemaError | undefined {
    const { missing, gaps } = this.#findings
    if (missing.length + gaps.length === 0 || error instanceof SchemaError) return undefined
    const explanation = explanationOf(error)
    return explanation && this.#error(explanation.code, explanation.reason, error)
  }

  async #run(db: Queryable, statements: readonly string[]): Promise<void> {
    for (const statement of statements) {
      await db.execute(sql.raw(statement))
      const source = this.#sources.get(statement)
      if (source !== undefined) this.#made.add(source)
    }
  }

  async #introspect(db: Queryable): Promise<Findings> {
    const found = readCatalogue(await rowsOf(db, this.#models.query))
    this.#definitions = this.#models.of(found.flavor)
    this.#found = found

    const missing: Definition[] = []
    const gaps: Gap[] = []
    const unfinished = new Set<Definition>()
    for (const definition of this.#definitions) {
      const kind = found.kindOf(definition)
      if (kind === undefined) missing.push(definition)
      else if (!ACCEPTED_KINDS[definition.kind]?.includes(kind))
        throw otherHasName(definition, `a ${kind.toLowerCase()}`)
      else {
        const table = found.tableOf(definition)
        if (table === undefined) continue
        gaps.push(...gapsOf(definition, table).map((gap) => this.#widening(definition, table, gap)))
        if (table.isUnfinished) {
          unfinished.add(definition)
          missing.push(definition)
        }
      }
    }
    if (missing.some(({ kind }) => kind === 'sequence')) this.#isGalera = await isGalera(db)
    this.#unfinished = unfinished
    this.#findings = { missing, gaps }
    return this.#findings
  }

  #statementsOf(definition: Definition): readonly SchemaStatement[] {
    const statements = definition.statements(undefined)
    if (definition.kind === 'sequence' && this.#isGalera) {
      return statements.map(({ stage, text }) => ({ stage, text: `${text} INCREMENT BY 0` }))
    }
    return this.#unfinished.has(definition)
      ? statements.filter(({ stage }) => stage === 'foreign key')
      : statements
  }

  /** Adds the statement that widens a column, if `widen` is set. */
  #widening({ schema, name }: Definition, table: MysqlTable, gap: Gap): Gap {
    const { difference } = gap
    if (!this.#widen || difference.kind !== 'other type') return gap
    const { column, expected, found } = difference
    const attributes = table.attributesOf(column)
    if (attributes === undefined || !isWider(found, expected)) return gap
    const flavor = this.#found?.flavor ?? 'mysql'
    const text = widenText(flavor, qualified(schema, name), quote(column), expected + attributes)
    return { difference, addition: [{ stage: 'column', text }] }
  }

  #error(code: SchemaErrorCode, reason: string, cause?: unknown): SchemaError {
    const { missing, gaps } = this.#findings
    const statements = this.statements({ missing, additions: gaps })
    const isForbidden = code === 'SCHEMA_PERMISSION'
    return schemaError(code, reason, {
      labels: labelsOf(this.#findings),
      statements,
      done: [
        ...this.kept.missing.map(({ label }) => label),
        ...labelsOf({ missing: [], gaps: this.kept.additions }),
      ],
      grant: isForbidden && this.#found ? grantOf({ missing, additions: gaps }, this.#found) : undefined,
      cause,
    })
  }
}

/** The definitions for either server, and the catalogue query for both. */
interface ModelsRead {
  readonly query: SQL
  of(flavor: Flavor): readonly Definition[]
}

const read = cachedByModels((models, casing): ModelsRead => {
  const mysql = mysqlDefinitions(models, casing)
  const sequences = [...sequencesOf(models).values()].map(sequenceDefinition)
  let mariadb: readonly Definition[] | undefined
  return {
    query: catalogueQuery([...mysql, ...sequences]),
    of(flavor) {
      if (flavor === 'mysql') return mysql
      mariadb ??= mysqlDefinitions(models, casing, flavor)
      return mariadb
    },
  }
})

/** In seconds; MariaDB has no value for "without limit". */
const FOR_EVER = 10 * 365 * 24 * 3600

const KEPT = 'another session kept the lock of prepareModels for more than 5 s'

function lockMissing(): SchemaError {
  return new SchemaError(
    'SCHEMA_MIGRATIONS',
    'Cannot run the migrations: this server has no GET_LOCK, without which two processes might run the same one. ' +
      'Use drizzle-kit migrate, in one place.',
  )
}
