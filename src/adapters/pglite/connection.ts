import { type Statement, StatementCache } from '../../driver/statement.ts'
import type { Connection, Cursor, RunOptions, TransactionOptions } from '../../driver/types.ts'
import { ClosedError, ConnectionLostError, type ConnectTarget, toError } from '../../errors.ts'
import { beginText, withConflict } from '../postgresql/begin.ts'
import { declareCursor, type PostgresStatement } from '../postgresql/cursor.ts'
import { isServerError, translated } from '../postgresql/errors.ts'
import {
  JSON_OID,
  type RelationalColumns,
  readJsonColumns,
  relationalColumnsOf,
} from '../postgresql/relational-json.ts'
import { assertUseful, type PostgresTraits, postgresTraits } from '../postgresql/statement.ts'
import type { Driver, Instance, Result, ResultOptions } from './instance.ts'
import { type BoundValue, bindParameters } from './parameters.ts'

export interface ConnectionOptions {
  readonly statementCacheSize: number
  readonly exposeParameters: boolean
}

/**
 * The use of a PGlite from one `connect` to its end. A statement of PGlite cannot be stopped, so discarding the
 * connection lets the one under way run to its end in vain, sends none of those that wait, and leaves the rollback of
 * its transaction to the next `connect`, which waits for all this. The data stays.
 */
export class PgliteConnection implements Connection {
  readonly #instance: Instance
  readonly #options: ConnectionOptions
  readonly #texts: StatementCache<PostgresTraits & { readonly relational: RelationalColumns | null }>
  readonly #running = new Set<(error: Error) => void>()
  #lost: Error | null = null
  #isTainted = false
  /** Declared in the transaction. */
  #cursors = 0
  onLost: (() => void) | null = null

  constructor(instance: Instance, options: ConnectionOptions) {
    this.#instance = instance
    this.#options = options
    this.#texts = new StatementCache(options.statementCacheSize, (sql) => ({
      ...postgresTraits(sql),
      relational: relationalColumnsOf(sql),
    }))
  }

  get lost(): Error | null {
    return this.#lost
  }

  get tainted(): boolean {
    return this.#isTainted
  }

  get target(): ConnectTarget | undefined {
    return this.#instance.target
  }

  async run(
    statement: PostgresStatement,
    { isShared = false, isSetUp = false }: RunOptions = {},
  ): Promise<unknown> {
    const { sql, params, asArrays, cursorOf } = statement
    let bound: BoundValue[] = []
    try {
      const text = this.#texts.look(sql)
      if (text.taints && !isSetUp) this.#isTainted = true
      assertUseful(text, isShared)
      bound = bindParameters(params)
      const { relational: columns } = cursorOf === undefined ? text : this.#texts.look(cursorOf)
      const relational = asArrays ? columns : null
      const parsers = relational === null ? PARSERS : PARSERS_WITHOUT_JSON
      const options: ResultOptions = { rowMode: asArrays ? 'array' : 'object', parsers }
      const results = await this.#send((driver) => runOn(driver, sql, bound, options))
      if (relational !== null) for (const result of results) readJsonColumns(result, relational)
      return rowsOf(results)
    } catch (error) {
      throw this.#translateError(error, sql, bound)
    }
  }

  openCursor(statement: Statement, batch: number): Promise<Cursor> {
    return declareCursor(`dc_cursor_${++this.#cursors}`, statement, batch, (each) => this.run(each))
  }

  async begin(options: TransactionOptions): Promise<void> {
    this.#cursors = 0
    await this.#control(beginText(options))
  }

  async commit(): Promise<boolean> {
    const [result] = await this.#control('commit')
    return result?.command === 'COMMIT'
  }

  async rollback(): Promise<void> {
    await this.#control('rollback')
  }

  async savepoint(name: string): Promise<void> {
    await this.#control(`savepoint ${name}`)
  }

  async release(name: string): Promise<void> {
    await this.#control(`release savepoint ${name}`)
  }

  async rollbackTo(name: string): Promise<void> {
    await this.#control(`rollback to savepoint ${name}`)
  }

  async ping(): Promise<void> {
    await this.#control('select 1')
  }

  discard(reason: Error): void {
    if (this.#lost !== null) return
    this.#lost = reason
    const error = this.#lostError()
    for (const reject of this.#running) reject(error)
    this.#running.clear()
    this.onLost?.()
  }

  /** Ends the use; PostgreSQL itself stops with the engine. */
  async close(): Promise<void> {
    if (this.#lost !== null) return
    this.#lost = new ClosedError('connection')
    await this.#instance.turn(async () => {})
  }

  async #control(sql: string): Promise<Result[]> {
    try {
      return await this.#send((driver) => driver.exec(sql))
    } catch (error) {
      throw this.#translateError(error, sql, [])
    }
  }

  #translateError(error: unknown, sql: string, bound: readonly BoundValue[]): unknown {
    if (!isServerError(error)) return error
    const params = bound.map(({ value }) => (value === null ? null : String(value)))
    return withConflict(translated(error, { sql, params }, this.#options))
  }

  /** Rejects at once when the connection is discarded, whatever becomes of the statement. */
  #send(work: (driver: Driver) => Promise<Result[]>): Promise<Result[]> {
    if (this.#lost !== null) return Promise.reject(this.#lostError())
    return new Promise((resolve, reject) => {
      this.#running.add(reject)
      const turn = this.#instance.turn(async (driver) => (this.#lost === null ? work(driver) : []))
      turn
        .then(resolve, (error: unknown) => {
          // Whatever is not PostgreSQL's word leaves PGlite in doubt.
          if (!isServerError(error)) this.discard(toError(error))
          reject(error)
        })
        .finally(() => this.#running.delete(reject))
    })
  }

  #lostError(): Error {
    if (this.#lost instanceof ClosedError) return this.#lost
    return new ConnectionLostError(
      'The connection to PGlite was discarded. A statement that was under way may or may not have taken effect.',
      { cause: this.#lost },
    )
  }
}

/** Without parameters the simple protocol saves most of PGlite's work, and takes several statements. */
async function runOn(
  driver: Driver,
  sql: string,
  bound: BoundValue[],
  options: ResultOptions,
): Promise<Result[]> {
  if (bound.length === 0) return driver.exec(sql, options)
  const paramTypes = bound.map(({ oid }) => oid)
  return [
    await driver.query(
      sql,
      bound.map(({ value }) => value),
      { ...options, paramTypes },
    ),
  ]
}

const asText = (text: string) => text

/** Dates, times and intervals stay text, also in arrays, and numeric[] too: Drizzle reads them by itself. */
const PARSERS: ResultOptions['parsers'] = {
  1082: asText,
  1114: asText,
  1115: asText,
  1182: asText,
  1184: asText,
  1185: asText,
  1186: asText,
  1187: asText,
  1231: asText,
}

const PARSERS_WITHOUT_JSON: ResultOptions['parsers'] = { ...PARSERS, [JSON_OID]: asText }

/**
 * The rows of one statement, in two shapes at once: an array with a `count`, as postgres.js gives, and an object with
 * `rows`, `fields` and `affectedRows`, as PGlite gives. So code written for either runs here. What is added
 * does not show in `console.log` or JSON.
 */
export interface Rows extends Array<unknown> {
  readonly rows: unknown[]
  readonly fields: Result['fields']
  readonly affectedRows: number
  /** Rows written, or given by a statement that writes none. */
  readonly count: number
  readonly command: string | undefined
}

/** The rows of the only statement, or, as postgres.js has it, a list of the rows of each. */
function rowsOf(results: readonly Result[]): Rows | Rows[] {
  const all = results.map(toRows)
  const [first] = all
  return first !== undefined && all.length === 1 ? first : all
}

export function isRows(answer: unknown): answer is Rows {
  return Array.isArray(answer) && 'affectedRows' in answer
}

function toRows({ rows, fields, affectedRows = 0, command, rowCount }: Result): Rows {
  const count = rowCount ?? rows.length
  // The assertion holds by the properties defined here.
  return Object.defineProperties(rows, {
    rows: { value: rows },
    fields: { value: fields },
    affectedRows: { value: affectedRows },
    count: { value: count },
    command: { value: command },
  }) as Rows
}
