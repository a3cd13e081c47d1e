import type { Dialect } from '../dburi/types.ts'
import { importOnce } from '../driver/load.ts'
import type { Statement } from '../driver/statement.ts'
import type { Engine, EngineOptions } from '../engine/engine.ts'
import { ClosedError, OptionError } from '../errors.ts'
import { resultModelsOf } from '../models/by-dialect.ts'
import { SchemaError } from '../schema/errors.ts'
import type { CoreSessionManager } from '../session/manager.ts'
import { SessionManager } from '../session/open-manager.ts'
import { type WallClock, wallClockOf } from './clock.ts'
import { type CeleryVersion, dateRulesOf } from './date-done.ts'
import type { SettledBackendOptions } from './options.ts'
import { isHostUnknown, NotBegunError, type Operation, type RetryPolicy, retrying } from './retrying.ts'
import {
  type BackendDialect,
  EXTENDED,
  LATER,
  type OptionalColumn,
  rowsOf,
  type Statements,
  type TableFacts,
  type TableNames,
} from './statements/types.ts'

/** The options of a backend, and the manager whose connections it uses. */
export interface AccessOptions {
  readonly settled: SettledBackendOptions
  readonly manager: CoreSessionManager | undefined
  readonly maxResultBytes: number
}

/** @throws OptionError, DburiError */
export function accessTo(
  dburi: string,
  { settled, manager: given, maxResultBytes }: AccessOptions,
): TableAccess {
  const { databaseTableNames: names, databaseTableSchemas: schemas, databaseEngineCallback } = settled
  if (given !== undefined && databaseEngineCallback !== null) {
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
  const manager = given ?? new SessionManager(own)
  // For its errors only: the engine parses it again when it is opened.
  manager.parse(dburi)
  return new TableAccess({
    manager,
    ownsManager: given === undefined,
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

/** A statement to run on the tables, and how a failure is handled. */
export interface Request extends Omit<Operation<unknown>, 'attempt' | 'closed'> {
  /** Called for each attempt: a statement that failed has no parameters any more. */
  statement(tables: Tables, afterLoss: boolean): Statement
}

/**
 * Opens a backend's tables on first use, for all callers at once, and again after a failure or when the engine was disposed
 * of. Its operations are retried as the policy says.
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

  get manager(): CoreSessionManager {
    return this.#options.manager
  }

  get names(): TableNames {
    return this.#options.names
  }

  /** Opens them ahead of time; a failure is not reported: the first use tries again. */
  openSoon(): void {
    this.#open().catch(() => {})
  }

  /** The tables, opened if they are not. @throws SchemaError, ConnectError, ClosedError */
  open(): Promise<Tables> {
    return retrying({ attempt: () => this.#openFirst(), closed: this.#closed.signal }, this.#options.retries)
  }

  /** Runs one statement; the answer has the driver's own shape. */
  run(request: Request): Promise<unknown> {
    const { statement, ...operation } = request
    return this.use((tables, afterLoss) => tables.engine.run(statement(tables, afterLoss)), operation)
  }

  /** Runs `work` with the tables; a retry runs all of it again. */
  use<Result>(
    work: (tables: Tables, afterLoss: boolean) => Promise<Result>,
    operation: Omit<Operation<Result>, 'attempt' | 'closed'>,
  ): Promise<Result> {
    return retrying(
      { ...operation, attempt: (afterLoss) => this.#attempt(work, afterLoss), closed: this.#closed.signal },
      this.#options.retries,
    )
  }

  /** Disposes of a manager of its own, and ends the waits between retries. Safe to call twice. */
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
      // The engine was disposed of between two statements, by `invalidate` for example: the next attempt opens another.
      const isElsewhere = error instanceof ClosedError && tables.engine.isDisposed && this.#disposed === null
      throw isElsewhere ? new NotBegunError(error, true) : error
    }
  }

  async #openFirst(): Promise<Tables> {
    try {
      return await this.#open()
    } catch (error) {
      // Unknown from the start, the host is misspelt; that of a container is unknown while it starts anew.
      const isMisspelt = this.#tables === null && isHostUnknown(error)
      throw isMisspelt ? new NotBegunError(error, false) : new NotBegunError(error)
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

/** Which tables of which database, and how they are used. */
export interface TablesOptions {
  readonly manager: CoreSessionManager
  readonly dburi: string
  readonly engineOptions: EngineOptions | undefined
  readonly names: TableNames
  /** Whether these may be other tables than the manager's, so that they are prepared apart. */
  readonly isForeign: boolean
  readonly resultExtended: boolean
  readonly preserveExtended: boolean
  readonly maxResultBytes: number
  readonly celeryVersion: CeleryVersion
  readonly appClock: WallClock
}

/** Existing tables, on an open engine. */
export interface Tables {
  readonly engine: Engine
  readonly dialect: BackendDialect
  readonly statements: Statements
  /** The optional columns that are written. */
  readonly written: readonly OptionalColumn[]
  readonly hasChildren: boolean
  readonly hasStamps: boolean
}

/**
 * Opens the database, creates what is missing in it, and reads once which columns the tables have: Celery 5.7 adds
 * `children` and `stamps`. Existing tables are used as they are.
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
  if (!isForeign) await manager.prepareModels(engine)
  else if (manager.creates) await prepareForeign(engine, names)

  const { dialect } = await DIALECTS[engine.dialect]()
  const facts = await introspect(engine, dialect.introspect(names))
  assertTablesExist(facts, names)
  const later = LATER.filter((column) => facts.task.has(column) && (column === 'children' || resultExtended))
  const optional = [...(resultExtended ? EXTENDED : []), ...later]
  return {
    engine,
    dialect,
    statements: dialect.statements(names, facts, {
      written: optional,
      read: optional,
      preserveExtended,
      maxResultBytes,
      dates: dateRulesOf(dialect.convertsDates, celeryVersion, appClock),
    }),
    written: optional,
    hasChildren: later.includes('children'),
    hasStamps: later.includes('stamps'),
  }
}

const DIALECTS = {
  postgresql: importOnce(() => import('./statements/postgresql.ts')),
  mysql: importOnce(() => import('./statements/mysql.ts')),
  sqlite: importOnce(() => import('./statements/sqlite.ts')),
} satisfies Record<Dialect, unknown>

async function introspect(engine: Engine, statement: Statement): Promise<TableFacts> {
  const rows = rowsOf(await engine.run(statement))
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
    indexes: new Set(ofKind('index').keys()),
    mostBytes: ofKind('packet').get('')?.octets ?? null,
  }
}

/** Creates tables that are not the manager's; the code for it is loaded only then. */
async function prepareForeign(engine: Engine, names: TableNames): Promise<void> {
  const { prepareModels } = await import('../schema/prepare.ts')
  const models = await resultModelsOf(engine.dialect, {
    tableNames: { task: names.task, group: names.group },
    schemas: { task: names.taskSchema, group: names.groupSchema },
  })
  // An engine's dialect decides the type of its `db`, which the compiler cannot see in a union.
  await prepareModels(engine as Engine & Parameters<typeof prepareModels>[0], models)
}

/** With a manager that prepares nothing, or other models, the program must create the tables. */
function assertTablesExist(facts: TableFacts, { task, group }: TableNames): void {
  const missing = [facts.task.size === 0 ? task : null, facts.group.size === 0 ? group : null]
  const names = missing.filter((name) => name !== null)
  if (names.length === 0) return
  throw new SchemaError(
    'SCHEMA_DIFFERENCE',
    `Cannot store results: there is no table ${names.join(' and no table ')}, and the session manager did not create any.`,
  )
}
