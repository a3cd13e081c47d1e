import { existsSync } from 'node:fs'
import type { BackendOptions } from '../backend/database-backend.ts'
import { DatabaseBackend } from '../backend/database-backend.ts'
import { parseDburi } from '../dburi/parse.ts'
import { isPath } from '../dburi/schemes.ts'
import type { Engine, EngineOptions } from '../engine/engine.ts'
import { resultModelsOf } from '../models/by-dialect.ts'
import type { PreparedModels } from '../schema/diff.ts'
import { SchemaError } from '../schema/errors.ts'
import type { PrepareOptions, PrepareTarget } from '../schema/options.ts'
import { prepareModels } from '../schema/prepare.ts'
import { SessionManager } from '../session/open-manager.ts'
import { type Call, UsageError } from './command.ts'

/**
 * Runs `work` with the engine of the dburi, and closes it, also after Ctrl-C.
 * @param isNew whether a database of one's own files may begin with it
 */
export async function withEngine<Result>(
  { dburi }: Pick<Call, 'dburi'>,
  work: (engine: Engine) => Promise<Result>,
  isNew = false,
): Promise<Result> {
  if (!isNew) assertExists(dburi)
  const manager = new SessionManager({ prepare: 'none', engineOptions: ENGINE_OPTIONS })
  try {
    return await work(await manager.getEngine(dburi))
  } finally {
    await manager.dispose()
  }
}

/**
 * Runs `work` with the results of the dburi. Nothing is created: looking at a database leaves it as it is.
 * @throws SchemaError where there are no result tables
 */
export async function withBackend<Result>(
  { dburi, flags }: Pick<Call, 'dburi' | 'flags'>,
  work: (backend: DatabaseBackend) => Promise<Result>,
  options: BackendOptions = {},
  engineOptions: EngineOptions = ENGINE_OPTIONS,
): Promise<Result> {
  assertExists(dburi)
  const names = { task: flags.text('task-table'), group: flags.text('group-table') }
  const schemas = { task: flags.text('table-schema'), group: flags.text('table-schema') }
  const manager = new SessionManager({ prepare: 'none', engineOptions })
  const backend = new DatabaseBackend(dburi, {
    ...{ manager, resultExtended: true, databaseCreateTablesAtSetup: false },
    ...{ databaseTableNames: names, databaseTableSchemas: schemas },
    ...{ celeryVersion: flags.text('celery'), timezone: flags.text('timezone') },
    ...options,
  })
  try {
    const engine = await manager.getEngine(dburi)
    const models = await resultModelsOf(engine.dialect, { tableNames: names, schemas })
    const { missing } = await prepareTables(engine, models, { prepare: 'check' })
    if (missing.length > 0) throw noTables(missing)
    return await work(backend)
  } finally {
    await backend.dispose()
    await manager.dispose()
  }
}

/** Looking at a file that is not there would make an empty one. */
function assertExists(dburi: string): void {
  const parsed = parseDburi(dburi)
  const { database, memory } = parsed
  if (!isPath(parsed) || memory || database === null || existsSync(database)) return
  throw new UsageError(
    `There is no file ${database}. To begin one with Celery's tables: drizzle-celery prepare DBURI`,
  )
}

/** One person looks: two connections are enough, and a server that is down is told of at once. */
const ENGINE_OPTIONS = { poolSize: 2, maxOverflow: 0 }

export function prepareTables(
  engine: Engine,
  models: Readonly<Record<string, unknown>>,
  options: PrepareOptions,
): Promise<PreparedModels> {
  // An engine's dialect decides the type of its `db`, which the compiler cannot see in a union.
  return prepareModels(engine as Engine & PrepareTarget, models, options)
}

function noTables(missing: readonly string[]): SchemaError {
  return new SchemaError(
    'SCHEMA_DIFFERENCE',
    `There are no result tables of Celery here: ${missing.join(', ')} missing. ` +
      'A worker creates them with its first result, and so does: drizzle-celery prepare DBURI. ' +
      'Other names are given by --task-table, --group-table and --table-schema',
  )
}
