import { parseDburi } from '../dburi.ts'
import { registeredSchemes } from '../dialect-resolver.ts'
import { ClosedError, OptionError } from '../errors.ts'
import { SessionManager } from '../session-manager.ts'
import type { Statement } from '../statement.ts'
import type { SettledBackendOptions } from './backend-options.ts'
import { openTables, type Tables, type TablesOptions } from './open-tables.ts'
import { NotBegunError, type Operation, type RetryPolicy, retrying } from './retrying.ts'
import type { TableNames } from './statements/statements.ts'
import { wallClockOf } from './wall-clock.ts'

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
