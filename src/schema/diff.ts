import type { SQL } from 'drizzle-orm'
import { type Definition, type IndexDefinition, inStages, type SchemaStatement } from './definition.ts'
import { SchemaError, type SchemaErrorCode } from './errors.ts'
import type { Casing } from './names.ts'

/** A difference between an existing table and its model. */
export interface Gap {
  readonly difference: Difference
  /** The statements that add what is missing; undefined if adding is not enough. */
  readonly addition: readonly SchemaStatement[] | undefined
}

/** The result of an introspection. */
export interface Findings {
  readonly missing: readonly Definition[]
  readonly gaps: readonly Gap[]
}

/** What is to be done. */
export interface Changes {
  readonly missing: readonly Definition[]
  readonly additions: readonly Gap[]
}

/** The statements of changes in their order; `schemaOf` gives the schema of a definition that names none. */
export function changeStatements(
  { missing, additions }: Changes,
  schemaOf: (definition: Definition) => string | undefined = () => undefined,
): string[] {
  return inStages([
    ...missing.flatMap((definition) => definition.statements(schemaOf(definition))),
    ...additions.flatMap(({ addition }) => addition ?? []),
  ])
}

/** What can be asked of a database. */
export interface SchemaReader {
  /** Compares the models with the catalogue, by one query. */
  introspect(): Promise<Findings>
  rows(query: SQL): Promise<object[]>
}

/** One transaction that holds the lock of `prepareModels`; on MySQL one connection. */
export interface LockedSchema extends SchemaReader {
  /** The lock keeps out only who is connected to the same node of a cluster, each of which takes writes. @default false */
  readonly isLockLocal?: boolean
  /** Runs statements in order. */
  run(statements: readonly string[]): Promise<void>
}

export interface LockedOptions {
  /** The name of the lock. @default the labels of all definitions */
  readonly lock?: string
  /** Waits without a limit. @default false: no longer than 5 s */
  readonly waitsForever?: boolean
  /** SQLite: foreign keys are off, so that referenced tables can be rebuilt. @default false */
  readonly withoutForeignKeys?: boolean
}

/** The models against one database: one implementation per dialect, one instance per call. */
export interface DatabaseSchema extends SchemaReader {
  readonly definitions: readonly Definition[]
  /** Set where each statement commits by itself, as all DDL does on MySQL. */
  readonly commitsEach?: true
  /** Changes of this call that a failure did not roll back. */
  readonly kept?: Changes

  /** Runs `work` under the lock: in one transaction, unless each statement commits by itself. */
  locked<Result>(work: (schema: LockedSchema) => Promise<Result>, options?: LockedOptions): Promise<Result>

  /** The statements of changes in order, in the schemas that the last introspection found. */
  statements(changes: Changes): string[]

  /** Whether a query failed because its table does not exist. */
  isMissingTable(error: unknown): boolean

  /** Whether a concurrent change is the cause, so that another attempt may succeed. */
  isRace(error: unknown): boolean

  /** A clearer error for a failed preparation; undefined if there is nothing to add. */
  explain(error: unknown): SchemaError | undefined
}

/** What a dialect's folder has for the rest of this one. */
export interface SchemaDialect<Target> {
  /** What the models define in a database; `casing` is that of Drizzle 0.45's configuration, `flavor` MySQL's. */
  definitions(
    models: Readonly<Record<string, unknown>>,
    casing?: Casing,
    flavor?: 'mysql' | 'mariadb',
  ): Definition[]
  open(
    target: Target,
    models: Readonly<Record<string, unknown>>,
    options: { readonly casing: Casing | undefined; readonly widen: boolean },
  ): DatabaseSchema
}

/** A table, or a materialized view, as the catalogue has it. */
export interface FoundTable {
  /** The schema it is in; undefined where there are none. */
  readonly schema: string | undefined
  /** The type of a column; undefined when there is no such column. */
  typeOf(column: string): string | undefined
  isSameType(found: string, expected: string): boolean
  hasIndex(index: IndexDefinition): boolean
}

/**
 * What is missing and what differs.
 * @param find what the catalogue has for a definition, with its table if that is to be compared; it throws for an
 * object that has the name of a definition and cannot serve as it
 */
export function compare(
  definitions: readonly Definition[],
  find: (definition: Definition, at: number) => { readonly table: FoundTable | undefined } | undefined,
): Findings {
  const missing: Definition[] = []
  const gaps: Gap[] = []
  for (const [at, definition] of definitions.entries()) {
    const found = find(definition, at)
    if (found === undefined) missing.push(definition)
    else if (found.table !== undefined) gaps.push(...gapsOf(definition, found.table))
  }
  return { missing, gaps }
}

/** The error for an object of another kind under the name of a definition. */
export function otherHasName({ kind, label }: Definition, other: string): SchemaError {
  return new SchemaError(
    'SCHEMA_NAME_TAKEN',
    `Cannot create the ${kind} ${label}: ${other} there has that name`,
  )
}

/** The differences between a table and its model. */
export function gapsOf({ label: table, columns, indexes }: Definition, found: FoundTable): Gap[] {
  const gaps: Gap[] = []
  const unaddable = new Set<string>()
  for (const { name: column, type, add } of columns) {
    const is = found.typeOf(column)
    if (is === undefined) {
      const addition = add(found.schema)
      if (addition === undefined) unaddable.add(column)
      gaps.push({ difference: { kind: 'missing column', table, column, expected: type }, addition })
    } else if (type !== undefined && !found.isSameType(is, type)) {
      const difference = { kind: 'other type', table, column, expected: type, found: is } as const
      gaps.push({ difference, addition: undefined })
    }
  }
  for (const index of indexes.filter((each) => !found.hasIndex(each))) {
    const isAddable = !index.columns.some((column) => unaddable.has(column))
    gaps.push({
      difference: { kind: 'missing index', table, index: index.name },
      addition: isAddable ? [{ stage: 'index', text: index.create(found.schema) }] : undefined,
    })
  }
  return gaps
}

/** A difference between the database and its models, or a migration that was edited after it ran. */
export type Difference =
  | {
      readonly kind: 'missing column'
      readonly table: string
      readonly column: string
      /** The type in the model; undefined if it is not built in. */
      readonly expected: string | undefined
    }
  | {
      readonly kind: 'other type'
      readonly table: string
      readonly column: string
      readonly expected: string
      /** The type in the database. */
      readonly found: string
    }
  | { readonly kind: 'missing index'; readonly table: string; readonly index: string }
  | { readonly kind: 'edited migration'; readonly migration: string }

/** What `prepareModels` found and did. Things in a schema that their model names are called `schema.name`. */
export interface PreparedModels {
  /** The tables, sequences, enums and the like that this call created. */
  readonly created: string[]
  /** What this call added to tables that were there: columns as `table.column`, indexes by their names. */
  readonly added: string[]
  /** MySQL: the columns this call made wider, as `table.column`. */
  readonly widened: string[]
  /** What existed, or was created by another process meanwhile. */
  readonly present: string[]
  /** What does not exist and was not created: only with `'check'` and `'migrate'`. */
  readonly missing: string[]
  /** How existing tables still differ from their models. */
  readonly differences: Difference[]
  /** The migrations that this call ran, in order. */
  readonly migrated: string[]
  readonly milliseconds: number
}

/** A difference in one line. */
export function inWords(difference: Difference): string {
  switch (difference.kind) {
    case 'missing column':
      return `${difference.table} has no column "${difference.column}"`
    case 'other type':
      return `${difference.table}.${difference.column} is ${difference.found}, its model says ${difference.expected}`
    case 'missing index':
      return `${difference.table} has no index "${difference.index}"`
    case 'edited migration':
      return `the migration ${difference.migration} was changed after it ran`
  }
}

interface Trouble {
  /** What could not be prepared, as reports call it. */
  readonly labels: readonly string[]
  /** The DDL of what is missing. */
  readonly statements: readonly string[]
  readonly grant?: string | undefined
  /** What was done before and stays. */
  readonly done?: readonly string[]
  readonly cause: unknown
}

/** The error of a failed preparation: what, why, and the SQL that someone with the privileges can run. */
export function schemaError(code: SchemaErrorCode, reason: string, trouble: Trouble): SchemaError {
  const { labels, statements, grant, done = [], cause } = trouble
  const changed = done.length === 0 ? 'Nothing was changed' : `Done before and kept: ${done.join(', ')}`
  const parts = [`Cannot prepare ${labels.join(', ')}: ${reason}. ${changed}.`]
  if (statements.length > 0) parts.push(`What is missing:\n${statements.join(';\n')};`)
  if (grant !== undefined) parts.push(`What would let this role do it:\n${grant};`)

  return new SchemaError(code, parts.join('\n'), {
    statements,
    ...(grant !== undefined && { grant }),
    ...(cause !== undefined && { cause }),
  })
}

/** Everything missing, and every table that differs. */
export function labelsOf({ missing, gaps }: Findings): string[] {
  const tables = gaps.flatMap(({ difference }) => ('table' in difference ? difference.table : []))
  return [...missing.map(({ label }) => label), ...new Set(tables)]
}
