import { getTableName, is, Table, View } from 'drizzle-orm'
import { quoteBy } from '../models/names.ts'
import { SchemaError } from './errors.ts'
import type { Casing } from './names.ts'

/** The order in which statements run: each may depend on what earlier stages created. */
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

/** One statement and its stage. It never alters or removes what exists. */
export interface SchemaStatement {
  readonly stage: (typeof STAGES)[number]
  readonly text: string
}

/** A name as the database stores it, and as its model has it: a long one may be cut. */
export interface StoredName {
  readonly name: string
  readonly modelName: string
}

/** One object of the models, and the statements that create it. */
export interface Definition {
  readonly kind: 'role' | 'schema' | 'enum' | 'sequence' | 'table' | 'view' | 'materialized view' | 'policy'
  /** As the database stores it. */
  readonly name: string
  /** The name in its model, if the database may cut it. */
  readonly modelName?: string
  /** The schema its model names; undefined leaves the choice to the database. */
  readonly schema: string | undefined
  /** The table of a policy. */
  readonly table?: string
  /** What reports and errors call it. */
  readonly label: string
  /**
   * The statements that create it, in `defaultSchema` if its model names none; without both, names stay unqualified.
   */
  statements(defaultSchema: string | undefined): readonly SchemaStatement[]
  /** A table's columns; empty for everything else. */
  readonly columns: readonly ColumnDefinition[]
  /** The indexes of a table or a materialized view. */
  readonly indexes: readonly IndexDefinition[]
  /** PostgreSQL: its indexes and sequences, whose names no table of the same schema can have. */
  readonly relations?: readonly StoredName[]
  /** The parts of a table whose names its model chose, and what they are. */
  readonly parts?: readonly (StoredName & { readonly what: string })[]
  /** Why it cannot be created. An existing one is accepted all the same. */
  readonly obstacle?: SchemaError
}

export interface ColumnDefinition {
  readonly name: string
  /** The type as the catalogue of the database would write it, that of SQLite in upper case; undefined if we cannot tell. */
  readonly type: string | undefined
  /**
   * The statements that add it to a table with rows, with its own constraints. Undefined if the database would refuse
   * them, or if a constraint that it shares with other columns would be missing afterwards.
   */
  add(defaultSchema: string | undefined): readonly SchemaStatement[] | undefined
}

export interface IndexDefinition {
  readonly name: string
  /** The names of the columns it depends on, including Drizzle's columns in its expressions. */
  readonly columns: readonly string[]
  /** The columns of a plain unique index: an existing one of another name is accepted instead. */
  readonly uniqueOn?: readonly string[]
  create(defaultSchema: string | undefined): string
}

/** The definition of an object other than a table, created by one statement. */
export function objectDefinition(
  object: Omit<Definition, 'columns' | 'indexes' | 'statements'>,
  stage: SchemaStatement['stage'],
  text: (defaultSchema: string | undefined) => string,
): Definition {
  return {
    ...object,
    columns: [],
    indexes: [],
    statements: (defaultSchema) => [{ stage, text: text(defaultSchema) }],
  }
}

/** Each item after those that it needs, and otherwise in their order; in a circle the first one needs nothing. */
export function inOrderOfNeed<Item>(items: readonly Item[], needs: (item: Item) => readonly Item[]): Item[] {
  const ordered: Item[] = []
  const visited = new Set<Item>()
  for (const item of items) visit(item)
  return ordered

  function visit(item: Item): void {
    if (visited.has(item)) return
    visited.add(item)
    for (const needed of needs(item)) visit(needed)
    ordered.push(item)
  }
}

/** Definitions with those of `ordered` permuted among themselves; all others keep their positions. */
export function reordered(definitions: readonly Definition[], ordered: Iterable<Definition>): Definition[] {
  const those = new Set(ordered)
  const inTurn = those.values()
  return definitions.map((each) => (those.has(each) ? (inTurn.next().value ?? each) : each))
}

/**
 * The statements that create `definitions` in an empty database, in the order of their dependencies.
 * @throws SchemaError for a definition that cannot be created
 */
export function statementsOf(definitions: readonly Definition[]): string[] {
  assertCreatable(definitions)
  return inStages(definitions.flatMap((definition) => definition.statements(undefined)))
}

/** @throws SchemaError, the first reason why one of `definitions` cannot be created */
export function assertCreatable(definitions: readonly Definition[]): void {
  for (const { obstacle } of definitions) if (obstacle !== undefined) throw obstacle
}

/** The texts of statements, ordered by stage. */
export function inStages(statements: readonly SchemaStatement[]): string[] {
  return STAGES.flatMap((wanted) =>
    statements.filter(({ stage }) => stage === wanted).map(({ text }) => text),
  )
}

/**
 * Maps an export to its definition: 'existing' if it is managed elsewhere, undefined if it is no object of this
 * dialect.
 */
export type Define = (value: unknown, name: string) => Definition | 'existing' | undefined

/**
 * The definitions in what a user exports for drizzle-kit. Relations and everything else that is no database object are
 * ignored, as drizzle-kit does; a table or view of another dialect is an error.
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
  assertUniqueNames(definitions)
  const stages = new Map(definitions.map((definition) => [definition, stageOf(definition)]))
  return definitions.sort((one, other) => (stages.get(one) ?? 0) - (stages.get(other) ?? 0))
}

/**
 * Caches what `read` makes of models until they change: a program prepares many databases with the same models, and
 * reading two hundred tables takes longer than the catalogue query.
 */
export function cachedByModels<Read>(
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

function assertUniqueNames(definitions: readonly Definition[]): void {
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

/** The error for two objects of one name, also if only truncation makes the names equal. */
function nameTaken(clash: string, first: string, second: string): SchemaError {
  const advice =
    first === second
      ? ''
      : `, to which the database truncates "${first}" and "${second}". Give one of them a shorter name in its model`
  return new SchemaError('SCHEMA_NAME_TAKEN', clash + advice)
}

/** The error for two parts of a table that are called the same in the database. */
export function twins(table: string, what: string, name: string, first = name, second = name): SchemaError {
  return nameTaken(`Cannot prepare "${table}": two of its ${what} are called "${name}"`, first, second)
}

/** The namespaces in which each kind takes its name. On PostgreSQL each table and view also has a row type. */
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

/** The error for a model that prepareModels cannot create. */
export function unsupported(name: string, reason: string): SchemaError {
  return new SchemaError(
    'SCHEMA_UNSUPPORTED',
    `Cannot prepare "${name}": ${reason}, which prepareModels cannot create. Nothing was created. ` +
      'Use drizzle-kit migrations for these models.',
  )
}

/** Adds the owner to the error for a name that `work` rejects. */
export function withOwner<Result>(owner: string, work: () => Result): Result {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof SchemaError) || error.code !== 'SCHEMA_INVALID_NAME') throw error
    throw new SchemaError(error.code, `Cannot prepare "${owner}": ${error.message.replace(/^C/, 'c')}`)
  }
}

/** Quotes an identifier. @throws SchemaError for one that no statement can hold */
export function quoteIdentifier(name: string, mark: '"' | '`' = '"'): string {
  if (name === '' || name.includes('\0')) {
    const what = name === '' ? 'an empty name' : `the name ${JSON.stringify(name)}: it holds a NUL character`
    throw new SchemaError('SCHEMA_INVALID_NAME', `Cannot use ${what}`)
  }
  return quoteBy(mark)(name)
}
