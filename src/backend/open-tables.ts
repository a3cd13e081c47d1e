import type { Engine, EngineOptions } from '../engine.ts'
import { SchemaError } from '../errors.ts'
import type { SessionManager } from '../session-manager.ts'
import { type CeleryVersion, dateRulesOf } from './date-done.ts'
import { lookAtMysql, mysqlStatements } from './statements/mysql.ts'
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
import type { WallClock } from './wall-clock.ts'

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
  readonly celeryVersion: CeleryVersion
  readonly appClock: WallClock
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
    celeryVersion,
    appClock,
  } = options
  const engine: Engine = await manager.getEngine(dburi, engineOptions)
  if (isForeign) await prepareForeign(engine, names)
  else await manager.prepareModels(engine)

  const facts = await lookAt(engine, names)
  refuseMissing(facts, names)
  const later = LATER.filter((column) => facts.task.has(column) && (column === 'children' || resultExtended))
  const optional = [...(resultExtended ? EXTENDED : []), ...later]
  return {
    engine,
    statements: DIALECTS[engine.dialect].statements(names, facts, {
      written: optional,
      read: optional,
      preserveExtended,
      maxResultBytes,
      dates: dateRulesOf(engine.dialect, celeryVersion, appClock),
    }),
    written: optional,
    hasChildren: later.includes('children'),
    hasStamps: later.includes('stamps'),
  }
}

const DIALECTS = {
  postgresql: { look: lookAtPostgresql, statements: postgresqlStatements },
  mysql: { look: lookAtMysql, statements: mysqlStatements },
  sqlite: { look: lookAtSqlite, statements: sqliteStatements },
}

async function lookAt(engine: Engine, names: TableNames): Promise<TableFacts> {
  const rows = rowsOf(await engine.run(DIALECTS[engine.dialect].look(names)))
  // The last two come from MySQL only; its number may be a text, since a union makes a decimal of it.
  const found = rows as { kind: string; name: string; octets?: string | null; charset?: string | null }[]
  const ofKind = (kind: string) =>
    new Map(
      found
        .filter((row) => row.kind === kind)
        .map(({ name, octets = null, charset = null }) => [
          name,
          { octets: octets === null ? null : Number(octets), charset },
        ]),
    )
  return {
    task: ofKind('task'),
    group: ofKind('group'),
    hasTaskSequence: ofKind('task sequence').size > 0,
    hasGroupSequence: ofKind('group sequence').size > 0,
    mostBytes: ofKind('packet').get('')?.octets ?? null,
  }
}

/** Loads what creates tables only where the manager does not do it itself. */
async function prepareForeign(engine: Engine, names: TableNames): Promise<void> {
  const { prepareModels } = await import('../schema/prepare.ts')
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
  const schemas = {
    ...(taskSchema !== undefined && { task: taskSchema }),
    ...(groupSchema !== undefined && { group: groupSchema }),
  }
  if (dialect === 'mysql') return (await import('../models/mysql.ts')).resultModels({ tableNames, schemas })
  return (await import('../models/postgresql.ts')).resultModels({ tableNames, schemas })
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
