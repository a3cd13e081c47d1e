import { createHash } from 'node:crypto'
import type { Statement } from '../../driver/statement.ts'
import { StatementError, TransactionConflictError, textOf } from '../../errors.ts'
import type { WallClock } from '../clock.ts'
import { READY_STATES } from '../types.ts'
import { countOf, type OptionalColumn, READY, type Runner, rowsOf, type TaskWrite } from './types.ts'

/** A table of tasks, and how its rows are written. */
export interface Store {
  readonly table: string
  readonly clock: WallClock
  readonly columns: readonly Column[]
  /** Draws a new id; `null` where only the table knows. */
  readonly next: string | null
  readonly preserves: boolean
}

/** The id is a store's first column. What a guard looks at comes last: MySQL reads what it has just assigned. */
export type Column = 'task_id' | OptionalColumn | 'traceback' | 'result' | 'status'

/** The statements that write one row. */
export interface RowStatements {
  readonly update: Statement
  /** Finds the row whose id is the same to the column's collation, if to nobody else. */
  readonly find: Statement
  readonly insert: Statement
  /** The update leaves a row alone that is in a ready state. */
  readonly guarded: boolean
}

/** How often a row may come and go between two statements of one write. */
const MOST_ROUNDS = 10

/**
 * Writes one row. Somebody else may do so between two of the statements: then it is begun anew.
 * @param statementsOf makes them for each round: a statement that failed has no parameters any more
 * @returns false where the guard kept what was there
 * @throws StatementError when the table cannot tell the id from that of another row
 */
export async function writeRow(
  runner: Runner,
  id: string,
  statementsOf: () => RowStatements,
): Promise<boolean> {
  for (let round = 1; round <= MOST_ROUNDS; round++) {
    const { update, find, insert, guarded } = statementsOf()
    if (countOf(await runner.run(update)) > 0) return true

    const [found] = guarded || round > 1 ? rowsOf(await runner.run(find)) : []
    if (found !== undefined) {
      const there = String(Reflect.get(found, 'id'))
      if (there !== id) throw idTaken(there)
      if (guarded && READY_STATES.has(String(Reflect.get(found, 'status')))) return false
      continue
    }
    try {
      await runner.run(insert)
      return true
    } catch (error) {
      if (textOf(error, 'code') !== 'ER_DUP_ENTRY' || round === MOST_ROUNDS) throw error
    }
  }
  throw new TransactionConflictError(
    'Others stored and deleted the same row again and again. Nothing was stored.',
  )
}

/**
 * Writes rows of different ids in one statement. Those that are there keep the numbers they have, which are asked for
 * first, and only new ones draw from the sequence. They do so beforehand: MariaDB 10.11 was seen to die of many `nextval`
 * in one insert, where the table has one as its default.
 * @returns how many of the rows have what was given
 * @throws StatementError when the table cannot tell one of the ids from that of another row
 */
export async function writeRows(
  runner: Runner,
  store: Store,
  writes: readonly TaskWrite[],
  guarded: boolean,
): Promise<number> {
  const taskIds = writes.map(({ taskId }) => taskId)
  const ask = async (columns: string) => {
    const sql = `select t.task_id, ${columns} from ${store.table} t where ${isAmong(taskIds)}`
    const rows = rowsOf(await runner.run({ sql, params: padded(taskIds), asArrays: false }))
    return new Map(rows.map((row) => [String(Reflect.get(row, 'task_id')), row]))
  }

  const before = await ask('t.id')
  const wanted = new Set(taskIds)
  for (const there of before.keys()) if (!wanted.has(there)) throw idTaken(there)

  const drawn = store.next === null ? [] : await draw(runner, store.next, taskIds.length - before.size)
  const params = writes.flatMap((write) => [
    Reflect.get(before.get(write.taskId) ?? drawn.pop() ?? {}, 'id') ?? null,
    secondsAhead(store, write),
    ...store.columns.map((column) => valueIn(write, column)),
  ])
  try {
    await runner.run({ sql: upsertText(store, writes.length, guarded), params, asArrays: false })
  } catch (error) {
    throw textOf(error, 'code') === 'ER_SUBQUERY_NO_1_ROW' ? idTaken(null) : error
  }
  if (!guarded) return writes.length

  // The server counts the rows that it found, not those that the guard let pass.
  const after = await ask('t.status, sha2(t.result, 256) as digest')
  return writes.filter(({ taskId, status, result }) => {
    const row = after.get(taskId) ?? {}
    return Reflect.get(row, 'status') === status && Reflect.get(row, 'digest') === digestOf(result)
  }).length
}

/** New numbers, in rows with an `id`, the last of which is the first. */
async function draw(runner: Runner, next: string, rows: number): Promise<object[]> {
  if (rows === 0) return []
  const sql = `select ${next} as id from ${TEN} a, ${TEN} b, ${TEN} c limit ${rows}`
  return [...rowsOf(await runner.run({ sql, params: [], asArrays: false }))].reverse()
}

/** Together as many as one call of `storeMany` has rows. */
const TEN = `(${Array(10).fill('select 1').join(' union all ')})`

/** Takes what `secondsAhead` says, the columns but the first, and the id twice; guarded, the state and the result's digest. */
export function updateText({ table, columns, preserves }: Store, guarded: boolean): string {
  const each = columns.slice(1).map((column) => {
    const isKept = preserves && isOptional(column)
    return `${column} = ${isKept ? `coalesce(?, ${column})` : '?'}`
  })
  const same = `(${bytesOf('status')} = ${bytesOf('?')} and sha2(result, 256) <=> ?)`
  const guard = guarded ? ` and (${isOpen('status')} or ${same})` : ''
  return `update ${table} set date_done = ${NOW}, ${each.join(', ')} where ${isExactly('task_id')}${guard}`
}

/** Takes what `secondsAhead` says, and the columns. */
export function insertText({ table, columns, next }: Store): string {
  const named = [...(next === null ? [] : ['id']), 'date_done', ...columns]
  const values = [...(next === null ? [] : [next]), NOW, ...columns.map(() => '?')]
  return `insert into ${table} (${named.join(', ')}) values (${values.join(', ')})`
}

/**
 * Takes for each row its number, or NULL where the table counts, what `secondsAhead` says, and the columns. A row that only looks
 * like the one that is there fails the statement, by a subquery that may not have two rows: nobody else's is ever written.
 */
function upsertText({ table, columns, preserves }: Store, rows: number, guarded: boolean): string {
  const row = `(${['?', NOW, ...columns.map(() => '?')].join(', ')})`
  const old = (column: string) => `${table}.${column}`

  const sameState = `${bytesOf(old('status'))} = ${bytesOf('values(status)')}`
  const isSame = `(${sameState} and ${old('result')} <=> values(result))`
  const mayWrite = `(${isOpen(old('status'))} or ${isSame})`
  const each = ['date_done', ...columns.slice(1)].map((column) => {
    const isKept = preserves && isOptional(column)
    const value = isKept ? `coalesce(values(${column}), ${old(column)})` : `values(${column})`
    return `${column} = ${guarded ? `if(${mayWrite}, ${value}, ${old(column)})` : value}`
  })
  const isOwn = `${bytesOf(old('task_id'))} = ${bytesOf('values(task_id)')}`
  return (
    `insert into ${table} (id, date_done, ${columns.join(', ')}) values ${Array(rows).fill(row).join(', ')} ` +
    `on duplicate key update task_id = if(${isOwn}, ${old('task_id')}, (select 1 union select 2)), ${each.join(', ')}`
  )
}

/** How far the clock of a task that is done is ahead of UTC; `null` for any other, which has no date. */
export function secondsAhead({ clock }: Store, { status }: TaskWrite): number | null {
  return READY_STATES.has(status) ? clock.offsetAt(Date.now()) / 1_000 : null
}

export function valueIn(write: TaskWrite, column: Column) {
  return column === 'task_id' ? write.taskId : write[column]
}

/** What `sha2(result, 256)` makes of it. */
export function digestOf(result: Uint8Array | null): string | null {
  return result === null ? null : createHash('sha256').update(result).digest('hex')
}

function isOptional(column: string): boolean {
  return !['date_done', 'traceback', 'result', 'status'].includes(column)
}

function idTaken(there: string | null): StatementError {
  const other = there === null ? 'another one' : JSON.stringify(there)
  return new StatementError(
    'INVALID_PARAMETER',
    `Cannot store under this id: the table cannot tell it from ${other}, since its collation disregards case, or blanks ` +
      'at the end. Nothing was stored.',
  )
}

/**
 * What a clock shows that is some seconds ahead of UTC, by the server's own, whatever zone its session is in: NULL for NULL.
 */
export const NOW = '(utc_timestamp(6) + interval ? second)'

/** Names the row whose id this is, by the index and then byte for byte; takes the id twice. */
export function isExactly(column: string): string {
  return `${column} = ? and ${bytesOf(column)} = ${bytesOf('?')}`
}

/**
 * Names the rows with these ids, and such as look the same to the column's collation; takes what `padded` makes of them.
 */
export function isAmong(ids: readonly string[]): string {
  return `t.task_id in (${padded(ids)
    .map(() => '?')
    .join(', ')})`
}

/** As many ids as a power of two, the last of them more than once: so few texts are prepared, however many are asked for. */
export function padded(ids: readonly string[]): string[] {
  const size = 2 ** Math.ceil(Math.log2(Math.max(ids.length, 1)))
  return [...ids, ...Array<string>(size - ids.length).fill(ids.at(-1) ?? '')]
}

/** The row is in none of the ready states. */
function isOpen(status: string): string {
  return `(${status} is null or ${bytesOf(status)} not in ${READY})`
}

/** A text as it is compared where collations may not have their say, in UTF-8 whatever its column is in. */
export function bytesOf(text: string): string {
  return `cast(convert(${text} using utf8mb4) as binary)`
}

export function nextOf(schema: string | undefined, sequence: string): string {
  return `nextval(${qualified(schema, sequence)})`
}

export function qualified(schema: string | undefined, name: string): string {
  return schema === undefined ? quoted(name) : `${quoted(schema)}.${quoted(name)}`
}

function quoted(identifier: string): string {
  return `\`${identifier.replaceAll('`', '``')}\``
}
