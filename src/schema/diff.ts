import type { SQL } from 'drizzle-orm'
import { SchemaError, type SchemaErrorCode } from '../errors.ts'
import type { Definition, IndexDefinition, SchemaStatement } from './definition.ts'

/** Where a table that is there falls short of its model. */
export interface Gap {
  readonly difference: Difference
  /** What adds what is missing; undefined where adding is not enough. */
  readonly addition: readonly SchemaStatement[] | undefined
}

/** What a look at the catalogue told. */
export interface Findings {
  readonly missing: readonly Definition[]
  readonly gaps: readonly Gap[]
}

/** What is to be done. */
export interface Changes {
  readonly missing: readonly Definition[]
  readonly additions: readonly Gap[]
}

/** What can be asked of a database. */
export interface SchemaReader {
  /** What is missing, by one catalogue query. */
  look(): Promise<Findings>
  rows(query: SQL): Promise<object[]>
}

/** One transaction that holds the lock of `prepareModels`; on MySQL one connection. */
export interface LockedSchema extends SchemaReader {
  /** Runs statements in order. */
  run(statements: readonly string[]): Promise<void>
}

export interface LockedOptions {
  /** What the lock is for, when it is not for the models. */
  readonly lock?: string
  /** Waits for as long as others need it. @default no longer than 5 s */
  readonly patient?: boolean
  /** SQLite: lets tables be rebuilt whose rows others refer to. @default false */
  readonly withoutForeignKeys?: boolean
}

/** What the models find, and may make, in one database. One implementation a dialect, for one call. */
export interface DatabaseSchema extends SchemaReader {
  readonly definitions: readonly Definition[]
  /** Set where each statement commits by itself, as all DDL does on MySQL. */
  readonly commitsEach?: true
  /** What this call has done and no failure takes back. */
  readonly kept?: Changes

  /** Works where nobody else prepares: in a transaction, all or nothing, unless each statement commits by itself. */
  locked<Result>(work: (schema: LockedSchema) => Promise<Result>, options?: LockedOptions): Promise<Result>

  /** What makes the changes, everything where it belongs as found by the last look, and when it may run. */
  statements(changes: Changes): string[]

  /** Whether a query failed since its table is not there. */
  isMissingTable(error: unknown): boolean

  /** Whether somebody else was at the same thing at the same time, so that looking again helps. */
  isRace(error: unknown): boolean

  /** Says what kept the database from being brought up to the models; undefined when we cannot say it better. */
  explain(error: unknown): SchemaError | undefined
}

/** A table, or a materialized view, as the catalogue has it. */
export interface FoundTable {
  /** The schema it is in; undefined where there are none. */
  readonly place: string | undefined
  /** The type of a column; undefined when there is no such column. */
  typeOf(column: string): string | undefined
  isSameType(found: string, expected: string): boolean
  hasIndex(index: IndexDefinition): boolean
}

/** Where a table falls short of its model. */
export function gapsOf({ label: table, columns, indexes }: Definition, found: FoundTable): Gap[] {
  const gaps: Gap[] = []
  const unaddable = new Set<string>()
  for (const { name: column, type, add } of columns) {
    const is = found.typeOf(column)
    if (is === undefined) {
      const addition = add(found.place)
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
      addition: isAddable ? [{ stage: 'index', text: index.create(found.place) }] : undefined,
    })
  }
  return gaps
}

/** Where a database is not as its models have it, or a migration not as it was when it ran. */
export type Difference =
  | {
      readonly kind: 'missing column'
      readonly table: string
      readonly column: string
      /** The type the model wants; undefined when it is no type that the database is born with. */
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
  /** What was there, or was created by somebody else meanwhile. */
  readonly present: string[]
  /** What is not there and was not to be created: only `'check'` and `'migrate'` leave any. */
  readonly missing: string[]
  /** Where tables that were there still differ from their models. */
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
  /** What was done before, where nothing takes it back. */
  readonly done?: readonly string[]
  readonly cause: unknown
}

/** The one error of a failed preparation: what, why, and the SQL that somebody with the right to could run. */
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

/** Everything that is missing, and every table that lacks something. */
export function labelsOf({ missing, gaps }: Findings): string[] {
  const tables = gaps.flatMap(({ difference }) => ('table' in difference ? difference.table : []))
  return [...missing.map(({ label }) => label), ...new Set(tables)]
}
