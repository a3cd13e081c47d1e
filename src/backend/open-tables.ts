import type { Engine, EngineOptions } from '../engine.ts'
import { SchemaError } from '../errors.ts'
import type { SessionManager } from '../session-manager.ts'
import { lookAtPostgresql, postgresqlStatements } from './statements/postgresql.ts'
import { lookAtSqlite, sqliteStatements } from './statements/sqlite.ts'
import {
  EXTENDED,
  LATER,
  type OptionalColumn,
  rowsOf,
  type Statements,
  type TableFacts,
  type TableNames,
} from './statements/statements.ts'

/** Which tables of which database, and what is done with them. */
export interface TablesOptions {
  readonly manager: SessionManager
  readonly dburi: string
  readonly engineOptions: EngineOptions | undefined
  readonly names: TableNames
  /** The manager may look after other tables than these: they are prepared beside it. */
  readonly isForeign: boolean
  readonly resultExtended: boolean
  readonly preserveExtended: boolean
  readonly maxResultBytes: number
}

/** Tables that are there, on an engine that is open. */
export interface Tables {
  readonly engine: Engine
  readonly statements: Statements
  /** The optional columns that are written. */
  readonly written: readonly OptionalColumn[]
  readonly hasChildren: boolean
  readonly hasStamps: boolean
}

/**
 * Opens the database, creates what is missing in it, and looks once at what columns the tables have: Celery 5.7 adds
 * `children` and `stamps`, and what another version or we created is used as it is.
 * @throws SchemaError, ConnectError, DburiError, OptionError
 */
export async function openTables(options: TablesOptions): Promise<Tables> {
  const {
    manager,
    dburi,
    engineOptions,
    names,
    isForeign,
    resultExtended,
    preserveExtended,
    maxResultBytes,
  } = options
  const engine: Engine = await manager.getEngine(dburi, engineOptions)
  if (isForeign) await prepareForeign(engine, names)
  else await manager.prepareModels(engine)

  const facts = await lookAt(engine, names)
  refuseMissing(facts, names)
  const later = LATER.filter((column) => facts.task.has(column) && (column === 'children' || resultExtended))
  const optional = [...(resultExtended ? EXTENDED : []), ...later]
  const makeStatements = engine.dialect === 'sqlite' ? sqliteStatements : postgresqlStatements
  return {
    engine,
    statements: makeStatements(names, facts, {
      written: optional,
      read: optional,
      preserveExtended,
      maxResultBytes,
    }),
    written: optional,
    hasChildren: later.includes('children'),
    hasStamps: later.includes('stamps'),
  }
}

async function lookAt(engine: Engine, names: TableNames): Promise<TableFacts> {
  const look = engine.dialect === 'sqlite' ? lookAtSqlite(names) : lookAtPostgresql(names)
  const found = rowsOf(await engine.run(look)).map((row) => ({
    kind: String(Reflect.get(row, 'kind')),
    name: String(Reflect.get(row, 'name')),
  }))
  const namesOf = (kind: string) => new Set(found.filter((row) => row.kind === kind).map(({ name }) => name))
  return {
    task: namesOf('task'),
    group: namesOf('group'),
    hasTaskSequence: namesOf('task sequence').size > 0,
    hasGroupSequence: namesOf('group sequence').size > 0,
  }
}

/** Loads what creates tables only where the manager does not do it itself. */
async function prepareForeign(engine: Engine, names: TableNames): Promise<void> {
  const { prepareModels } = await import('../schema/prepare-models.ts')
  const models = await modelsOf(engine, names)
  // An engine's dialect tells the type of its `db`, which the compiler cannot see once it is one of many.
  await prepareModels(engine as Engine & Parameters<typeof prepareModels>[0], models)
}

async function modelsOf(
  { dialect }: Engine,
  { task, group, taskSchema, groupSchema }: TableNames,
): Promise<Readonly<Record<string, unknown>>> {
  const tableNames = { task, group }
  if (dialect === 'sqlite') return (await import('../models/sqlite.ts')).resultModels({ tableNames })
  const { resultModels } = await import('../models/postgresql.ts')
  const schemas = {
    ...(taskSchema !== undefined && { task: taskSchema }),
    ...(groupSchema !== undefined && { group: groupSchema }),
  }
  return resultModels({ tableNames, schemas })
}

/** A manager that prepares nothing, or other models, leaves that to whoever made it. */
function refuseMissing(facts: TableFacts, { task, group }: TableNames): void {
  const missing = [facts.task.size === 0 ? task : null, facts.group.size === 0 ? group : null]
  const names = missing.filter((name) => name !== null)
  if (names.length === 0) return
  throw new SchemaError(
    'SCHEMA_DIFFERENCE',
    `Cannot store results: there is no table ${names.join(' and no table ')}, and the session manager did not create any.`,
  )
}
