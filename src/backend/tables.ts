import { parseDburi } from '../dburi/parse.ts'
import type { Statement } from '../driver/statement.ts'
import type { Engine, EngineOptions } from '../engine/engine.ts'
import { registeredSchemes } from '../engine/registry.ts'
import { ClosedError, OptionError, SchemaError } from '../errors.ts'
import { SessionManager } from '../session/manager.ts'
import { type WallClock, wallClockOf } from './clock.ts'
import { type CeleryVersion, dateRulesOf } from './date-done.ts'
import type { SettledBackendOptions } from './options.ts'
import { NotBegunError, type Operation, type RetryPolicy, retrying } from './retrying.ts'
import { introspectMysql, mysqlStatements } from './statements/mysql.ts'
import { introspectPostgresql, postgresqlStatements } from './statements/postgresql.ts'
import { introspectSqlite, sqliteStatements } from './statements/sqlite.ts'
import {
  EXTENDED,
  LATER,
  type OptionalColumn,
  rowsOf,
  type Statements,
  type TableFacts,
  type TableNames,
} from './statements/types.ts'

/** What a backend's options come to, and whose connections it uses. */
export interface AccessOptions {
  readonly settled: SettledBackendOptions
  readonly manager: SessionManager | undefined
  readonly maxResultBytes: number
}

/** @throws OptionError, DburiError */
export function accessTo(dburi: string, { settled, manager, maxResultBytes }: AccessOptions): TableAccess {
  // Read for its errors only: the engine reads it when it is opened.
  parseDburi(dburi, registeredSchemes())
  const { databaseTableNames: names, databaseTableSchemas: schemas, databaseEngineCallback } = settled
  if (manager !== undefined && databaseEngineCallback !== null) {
    throw new OptionError(
      'INVALID_OPTION',
      'databaseEngineCallback',
      "The option databaseEngineCallback goes with a manager of the backend's own: " +
        'give the other one its engineCallback.',
    )
  }
  const options = {
    ...settled.databaseEngineOptions,
    ...(settled.databaseShortLivedSessions && { pooled: false }),
  }
  const own = databaseEngineCallback === null ? {} : { engineCallback: databaseEngineCallback }
  return new TableAccess({
    manager: manager ?? new SessionManager(own),
    ownsManager: manager === undefined,
    dburi,
    engineOptions: Object.keys(options).length === 0 ? undefined : options,
    names: {
      task: names.task ?? 'celery_taskmeta',
      group: names.group ?? 'celery_tasksetmeta',
      taskSchema: schemas.task,
      groupSchema: schemas.group,
    },
    isForeign: [names, schemas].some(({ task, group }) => task !== undefined || group !== undefined),
    resultExtended: settled.resultExtended,
    preserveExtended: settled.preserveExtended,
    maxResultBytes,
    celeryVersion: settled.celeryVersion,
    appClock: wallClockOf(settled.timezone),
    retries: {
      retries: settled.resultBackendAlwaysRetry ? settled.resultBackendMaxRetries : 0,
      base: settled.resultBackendBaseSleepBetweenRetriesMs,
      max: settled.resultBackendMaxSleepBetweenRetriesMs,
      deadline: settled.retryDeadline ?? Number.POSITIVE_INFINITY,
    },
  })
}

export interface TableAccessOptions extends TablesOptions {
  readonly ownsManager: boolean
  readonly retries: RetryPolicy
}

/** A statement to run on the tables, and what becomes of a failure. */
export interface Request extends Omit<Operation<unknown>, 'attempt' | 'closed'> {
  /** Made anew for each attempt. */
  statement(tables: Tables, afterLoss: boolean): Statement
}

/**
 * The way to a backend's tables: opened by the first who needs them, shared by all who come meanwhile, opened again
 * after a failure or when the engine was disposed of. Whatever is done through it is tried again as the policy says.
 */
export class TableAccess {
  readonly #options: TableAccessOptions
  #tables: Tables | null = null
  #opening: Promise<Tables> | null = null
  #disposed: Promise<void> | null = null
  readonly #closed = new AbortController()

  constructor(options: TableAccessOptions) {
    this.#options = options
  }

  get manager(): SessionManager {
    return this.#options.manager
  }

  get names(): TableNames {
    return this.#options.names
  }

  /** Opens them ahead of time; a failure is left to the first who needs them. */
  openSoon(): void {
    this.#open().catch(() => {})
  }

  /** The tables, opened if they are not. @throws SchemaError, ConnectError, ClosedError */
  open(): Promise<Tables> {
    return retrying({ attempt: () => this.#open(), closed: this.#closed.signal }, this.#options.retries)
  }

  /** Runs one statement; the answer has the driver's own shape. */
  run(request: Request): Promise<unknown> {
    const { statement, ...operation } = request
    return this.use((tables, afterLoss) => tables.engine.run(statement(tables, afterLoss)), operation)
  }

  /** Does something with the tables, all of it again if need be. */
  use<Result>(
    work: (tables: Tables, afterLoss: boolean) => Promise<Result>,
    operation: Omit<Operation<Result>, 'attempt' | 'closed'>,
  ): Promise<Result> {
    return retrying(
      { ...operation, attempt: (afterLoss) => this.#attempt(work, afterLoss), closed: this.#closed.signal },
      this.#options.retries,
    )
  }

  /** Disposes of the manager if it was made for these tables, and ends the waiting of operations. Safe to call twice. */
  dispose(): Promise<void> {
    this.#disposed ??= this.#options.ownsManager ? this.#options.manager.dispose() : Promise.resolve()
    this.#closed.abort()
    return this.#disposed
  }

  async #attempt<Result>(
    work: (tables: Tables, afterLoss: boolean) => Promise<Result>,
    afterLoss: boolean,
  ): Promise<Result> {
    if (this.#disposed !== null) throw new ClosedError('database backend')
    const known = this.#tables
    const tables = known !== null && !known.engine.isDisposed ? known : await this.#openFirst()
    try {
      return await work(tables, afterLoss)
    } catch (error) {
      // Disposed of between two statements, by `invalidate` for example: there will be another engine.
      const isElsewhere = error instanceof ClosedError && tables.engine.isDisposed && this.#disposed === null
      throw isElsewhere ? new NotBegunError(error, true) : error
    }
  }

  async #openFirst(): Promise<Tables> {
    try {
      return await this.#open()
    } catch (error) {
      throw new NotBegunError(error)
    }
  }

  #open(): Promise<Tables> {
    if (this.#disposed !== null) return Promise.reject(new ClosedError('database backend'))
    if (this.#tables !== null && !this.#tables.engine.isDisposed) return Promise.resolve(this.#tables)
    this.#opening ??= openTables(this.#options)
      .then((tables) => {
        this.#tables = tables
        return tables
      })
      .finally(() => {
        this.#opening = null
      })
    return this.#opening
  }
}

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
async function openTables(options: TablesOptions): Promise<Tables> {
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

  const facts = await introspect(engine, names)
  assertTablesExist(facts, names)
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
  postgresql: { look: introspectPostgresql, statements: postgresqlStatements },
  mysql: { look: introspectMysql, statements: mysqlStatements },
  sqlite: { look: introspectSqlite, statements: sqliteStatements },
}

async function introspect(engine: Engine, names: TableNames): Promise<TableFacts> {
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
  // An engine's dialect decides the type of its `db`, which the compiler cannot see in a union.
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

/** A manager that prepares nothing, or other models, leaves that to the program that made it. */
function assertTablesExist(facts: TableFacts, { task, group }: TableNames): void {
  const missing = [facts.task.size === 0 ? task : null, facts.group.size === 0 ? group : null]
  const names = missing.filter((name) => name !== null)
  if (names.length === 0) return
  throw new SchemaError(
    'SCHEMA_DIFFERENCE',
    `Cannot store results: there is no table ${names.join(' and no table ')}, and the session manager did not create any.`,
  )
}
