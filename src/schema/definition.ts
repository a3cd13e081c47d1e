import { getTableName, is, Table, View } from 'drizzle-orm'
import { SchemaError } from '../errors.ts'
import type { Casing } from './names.ts'

/** The stages in which parts of a schema are made: a part may rest on those of the stages before its own. */
const STAGES = [
  'role',
  'schema',
  'type',
  'sequence',
  'table',
  'column',
  'generated column',
  'index',
  'foreign key',
  'view',
  'policy',
] as const

/** One statement, and when it may run. Nothing in it alters or removes what is there. */
export interface SchemaStatement {
  readonly stage: (typeof STAGES)[number]
  readonly text: string
}

/** A name as the database stores it, and as its model has it: of a long one a database may store less. */
export interface StoredName {
  readonly name: string
  readonly modelName: string
}

/** One thing the models ask for, and how it is made. */
export interface Definition {
  readonly kind: 'role' | 'schema' | 'enum' | 'sequence' | 'table' | 'view' | 'materialized view' | 'policy'
  /** As the database stores it. */
  readonly name: string
  /** As its model has it, where the database may store less of that. */
  readonly modelName?: string
  /** The schema its model names; undefined leaves the choice to the database. */
  readonly schema: string | undefined
  /** The table of a policy. */
  readonly table?: string
  /** What reports and errors call it. */
  readonly label: string
  /** What makes it, in `place` when its model names no schema; without `place` the names stay unqualified. */
  statements(place: string | undefined): readonly SchemaStatement[]
  /** A table's columns; empty for everything else. */
  readonly columns: readonly ColumnDefinition[]
  /** The indexes of a table or a materialized view. */
  readonly indexes: readonly IndexDefinition[]
  /** On PostgreSQL, what else it calls by a name that no table of its schema can have then: indexes and sequences. */
  readonly relations?: readonly StoredName[]
  /** The parts of a table whose names its model chose, and what they are. */
  readonly parts?: readonly (StoredName & { readonly what: string })[]
  /** Why it cannot be made; one that is there may serve all the same. */
  readonly obstacle?: SchemaError
}

export interface ColumnDefinition {
  readonly name: string
  /** The type as the catalogue of the database would write it, that of SQLite in upper case; undefined if we cannot tell. */
  readonly type: string | undefined
  /**
   * What adds it to a table that has rows, with every constraint that is its own; undefined when the database would
   * refuse that, or when a constraint that it shares with other columns would be missing afterwards.
   */
  add(place: string | undefined): readonly SchemaStatement[] | undefined
}

export interface IndexDefinition {
  readonly name: string
  /** The names of the columns it cannot be without, also those in its expressions as far as they are Drizzle's columns. */
  readonly columns: readonly string[]
  /** The columns it keeps unique, when that is all it does: on SQLite an index of another name may do the same. */
  readonly uniqueOn?: readonly string[]
  create(place: string | undefined): string
}

/**
 * The statements that make `definitions` in an empty database, each when what it rests on is there.
 * @throws SchemaError for what cannot be made
 */
export function statementsOf(definitions: readonly Definition[]): string[] {
  refuseObstacles(definitions)
  return inStages(definitions.flatMap((definition) => definition.statements(undefined)))
}

/** Throws the first reason why one of `definitions` cannot be made. */
export function refuseObstacles(definitions: readonly Definition[]): void {
  for (const { obstacle } of definitions) if (obstacle !== undefined) throw obstacle
}

/** The texts of statements in an order in which they can run. */
export function inStages(statements: readonly SchemaStatement[]): string[] {
  return STAGES.flatMap((wanted) =>
    statements.filter(({ stage }) => stage === wanted).map(({ text }) => text),
  )
}

/**
 * Reads one export: its definition, 'existing' for what others look after, undefined for what the dialect has no word
 * for.
 */
export type Define = (value: unknown, name: string) => Definition | 'existing' | undefined

/**
 * The definitions in what a user exports for drizzle-kit. Relations and everything that is no part of a schema are
 * passed over, as drizzle-kit does; a part of a schema that cannot be expressed is refused by its name.
 */
export function definitionsOf(models: Record<string, unknown>, define: Define): Definition[] {
  const seen = new Map<unknown, Definition>()
  for (const [name, value] of Object.entries(models)) {
    if (seen.has(value)) continue
    const owner = is(value, Table) ? getTableName(value) : name
    const definition = withOwner(owner, () => define(value, name))
    if (definition === 'existing') continue
    if (definition !== undefined) seen.set(value, definition)
    else if (is(value, Table)) throw unsupported(name, 'it is a table of another dialect')
    else if (is(value, View)) throw unsupported(name, 'it is a view of another dialect')
  }

  const definitions = [...seen.values()]
  refuseDuplicates(definitions)
  const stages = new Map(definitions.map((definition) => [definition, stageOf(definition)]))
  return definitions.sort((one, other) => (stages.get(one) ?? 0) - (stages.get(other) ?? 0))
}

/**
 * Reads models once for as long as they are the same: a program prepares many databases with the same ones, and to read
 * two hundred tables takes longer than to ask a database for them.
 */
export function remembering<Read>(
  read: (models: Models, casing: Casing | undefined) => Read,
): (models: Models, casing: Casing | undefined) => Read {
  const known = new WeakMap<Models, { values: unknown[]; casing: Casing | undefined; result: Read }>()
  return (models, casing) => {
    const values = Object.values(models)
    const last = known.get(models)
    const isSame =
      last?.casing === casing &&
      last?.values.length === values.length &&
      last.values.every((value, index) => value === values[index])
    if (isSame) return last.result

    const result = read(models, casing)
    known.set(models, { values, casing, result })
    return result
  }
}

type Models = Readonly<Record<string, unknown>>

function stageOf(definition: Definition): number {
  const stages = definition.statements(undefined).map(({ stage }) => STAGES.indexOf(stage))
  return Math.min(...stages)
}

function refuseDuplicates(definitions: readonly Definition[]): void {
  const taken = new Map<string, { definition: Definition; modelName: string }>()
  for (const definition of definitions) {
    const { kind, schema, table, name, modelName = name, relations = [] } = definition
    const own = FAMILIES[kind].map((family) => ({ family, name, modelName }))
    for (const each of [...own, ...relations.map((relation) => ({ family: 'relation', ...relation }))]) {
      // Labels will not do: a table `a.b` may stand beside the table b of the schema a.
      const key = JSON.stringify([each.family, schema, table, each.name])
      const first = taken.get(key)
      if (first !== undefined) {
        throw nameTaken(clashOf(first.definition, definition, each.name), first.modelName, each.modelName)
      }
      taken.set(key, { definition, modelName: each.modelName })
    }
  }
}

function clashOf(first: Definition, second: Definition, name: string): string {
  const { label } = second
  if (first === second) return `Cannot prepare "${label}": two things of it are called "${name}"`
  if (first.label === label) return `Two models are called "${label}"`
  return `Cannot prepare "${first.label}" and "${label}": both have something that is called "${name}"`
}

/** Says that a name is taken, be it that the database truncates another one to the same. */
export function nameTaken(clash: string, first: string, second: string): SchemaError {
  const advice =
    first === second
      ? ''
      : `, to which the database truncates "${first}" and "${second}". Give one of them a shorter name in its model`
  return new SchemaError('SCHEMA_NAME_TAKEN', clash + advice)
}

/** What shares its names with whom: PostgreSQL has a type for the rows of every table and view. */
const FAMILIES: Record<Definition['kind'], readonly string[]> = {
  role: ['role'],
  schema: ['schema'],
  enum: ['type'],
  sequence: ['relation'],
  table: ['relation', 'type'],
  view: ['relation', 'type'],
  'materialized view': ['relation', 'type'],
  policy: ['policy'],
}

/** Says that a model is beyond what is created at run time. */
export function unsupported(name: string, reason: string): SchemaError {
  return new SchemaError(
    'SCHEMA_UNSUPPORTED',
    `Cannot prepare "${name}": ${reason}, which prepareModels cannot create. Nothing was created. ` +
      'Use drizzle-kit migrations for these models.',
  )
}

/** Says whose name it is that `work` refuses. */
export function withOwner<Result>(owner: string, work: () => Result): Result {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof SchemaError) || error.code !== 'SCHEMA_INVALID_NAME') throw error
    throw new SchemaError(error.code, `Cannot prepare "${owner}": ${error.message.replace(/^C/, 'c')}`)
  }
}

/** Quotes an identifier, refusing one that no statement can carry. */
export function quoteIdentifier(name: string, mark = '"'): string {
  if (name === '' || name.includes('\0')) {
    const what = name === '' ? 'an empty name' : `the name ${JSON.stringify(name)}: it holds a NUL character`
    throw new SchemaError('SCHEMA_INVALID_NAME', `Cannot use ${what}`)
  }
  return `${mark}${name.replaceAll(mark, mark + mark)}${mark}`
}
