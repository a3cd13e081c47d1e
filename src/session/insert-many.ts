import { importOnce } from '../driver/load.ts'
import { OptionError } from '../errors.ts'
import { aFunction, type Checks, check, checkOptions } from '../options/check.ts'

/** A table of Drizzle. */
interface InsertableTable {
  readonly $inferInsert: Record<string, unknown>
}

/** A handle of a session, an engine or a transaction. */
interface TransactingHandle {
  // biome-ignore lint/suspicious/noExplicitAny: each dialect's handles have a type of their own for it
  transaction(work: (tx: any) => Promise<any>): Promise<any>
}

/** What the work of a handle's `transaction()` is given. */
type TransactionOf<Db> = Db extends {
  // biome-ignore lint/suspicious/noExplicitAny: of each dialect's method only this parameter counts
  transaction(work: (tx: infer Tx, ...more: any[]) => any, ...more: any[]): any
}
  ? Tx
  : never

/** How many rows are inserted, and by which statement. */
export interface InsertManyOptions<Tx, Row> {
  /** The most rows of one statement; fewer where the dialect takes no more parameters. @default 1000 */
  chunk?: number | undefined
  /**
   * Inserts one chunk, in the transaction of all: for conflict clauses, as in
   * `(tx, rows) => tx.insert(city).values(rows).onConflictDoNothing()`.
   * @default `tx.insert(table).values(rows)`
   */
  insert?: ((tx: Tx, rows: Row[]) => PromiseLike<unknown>) | undefined
  /** Called after each statement, with how many rows were given to the database so far. */
  onProgress?: ((rows: number) => void) | undefined
}

const CHECKS: Checks<InsertManyOptions<never, never>> = {
  chunk: check((value) => Number.isSafeInteger(value) && Number(value) >= 1, 'a whole number of rows from 1'),
  insert: aFunction,
  onProgress: aFunction,
}

/**
 * Inserts any number of rows in one transaction (a savepoint where the handle is in one already), as many with each statement as
 * the dialect has parameters for. Of rows that come by an async iterable no more than a chunk is in memory.
 * @returns how many rows were given to the database
 * @throws OptionError, what the iterable throws, and what the statements throw: nothing is kept then
 */
export async function insertMany<Db extends TransactingHandle, Table extends InsertableTable>(
  db: Db,
  table: Table,
  rows: Iterable<Table['$inferInsert']> | AsyncIterable<Table['$inferInsert']>,
  options: InsertManyOptions<TransactionOf<Db>, Table['$inferInsert']> = {},
): Promise<number> {
  checkOptions('insertMany', options, CHECKS)
  const {
    chunk = 1_000,
    insert = (tx, values) => insertInto(tx, table, values),
    onProgress = () => {},
  } = options
  const size = Math.min(chunk, await mostRows(table))

  return db.transaction(async (tx: TransactionOf<Db>) => {
    let count = 0
    let pending: Table['$inferInsert'][] = []
    const flush = async () => {
      if (pending.length === 0) return
      const values = pending
      pending = []
      await insert(tx, values)
      count += values.length
      onProgress(count)
    }
    for await (const row of rows) {
      if (pending.push(row) >= size) await flush()
    }
    await flush()
    return count
  })
}

/** No type of Drizzle's says that all dialects insert alike. */
function insertInto(tx: unknown, table: object, values: object[]): PromiseLike<unknown> {
  const { insert } = tx as { insert(table: object): { values(rows: object[]): PromiseLike<unknown> } }
  return insert.call(tx, table).values(values)
}

/** Parameters that one statement can have, by the kind of its tables. */
const PARAMETERS: Readonly<Record<string, number>> = {
  PgTable: 65_533,
  MySqlTable: 65_535,
  SQLiteTable: 32_766,
}

/** Those left for what a statement has beside its rows. */
const BESIDE_ROWS = 200

const drizzle = importOnce(() => import('drizzle-orm'))

/** Each column of a row may be a parameter. */
async function mostRows(table: object): Promise<number> {
  const { entityKind, getTableColumns, is, Table } = await drizzle()
  const kind: unknown = Reflect.get(Object(table).constructor ?? {}, entityKind)
  const parameters = PARAMETERS[String(kind)]
  if (parameters === undefined || !is(table, Table)) {
    const message =
      'Cannot insert rows: the second argument must be a table of Drizzle, of PostgreSQL, MySQL or SQLite'
    throw new OptionError('INVALID_OPTION', 'table', message)
  }
  const columns = Object.keys(getTableColumns(table)).length
  return Math.max(1, Math.floor((parameters - BESIDE_ROWS) / Math.max(1, columns)))
}
