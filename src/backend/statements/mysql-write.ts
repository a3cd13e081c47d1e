import { createHash } from 'node:crypto'
import type { Statement } from '../../driver/statement.ts'
import { StatementError, TransactionConflictError, textOf } from '../../errors.ts'
import { namesBy, quoteBy } from '../../models/names.ts'
import type { WallClock } from '../clock.ts'
import { READY_STATES } from '../types.ts'
import {
  countOf,
  isOptional,
  READY,
  type Runner,
  rowsOf,
  type TaskColumn,
  type TaskWrite,
  valueIn,
} from './types.ts'

/** A table of tasks, and how its rows are written. */
export interface Store {
  readonly table: string
  readonly clock: WallClock
  /** The id is the first. What a guard looks at comes last: MySQL reads what it has just assigned. */
  readonly columns: readonly TaskColumn[]
  /** Draws a new id; `null` where only the table knows. */
  readonly next: string | null
  readonly preserves: boolean
}

/** The statements that write one row. */
export interface RowStatements {
  readonly update: Statement
  /** Finds the row whose id is equal by the column's collation. */
  readonly find: Statement
  readonly insert: Statement
  /** Whether the update keeps a row that is in a ready state. */
  readonly guarded: boolean
}

/** How often others may insert or delete the row between the statements of one write. */
const MOST_ROUNDS = 10

/**
 * Writes one row, and starts again if another transaction writes it between two of the statements.
 * @param statementsOf called for each round: a statement that failed has no parameters any more
 * @returns false where the guard kept the row
 * @throws StatementError when the id equals that of another row by the collation
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
 * Writes rows of different ids in one statement. Existing rows keep their numbers, which are read first, and only new ones
 * draw from the sequence, in a statement of their own: MariaDB 10.11 crashed on many `nextval` in one insert into a table
 * with one as a default.
 * @returns how many of the rows have what was given
 * @throws StatementError when one of the ids equals that of another row by the collation
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

  // The server counts the rows that it found, also those that the guard kept.
  const after = await ask('t.status, sha2(t.result, 256) as digest')
  return writes.filter(({ taskId, status, result }) => {
    const row = after.get(taskId) ?? {}
    return Reflect.get(row, 'status') === status && Reflect.get(row, 'digest') === digestOf(result)
  }).length
}

/** New numbers, in rows with an `id`, in descending order. */
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
 * Takes for each row its number, or NULL where the table counts, what `secondsAhead` says, and the columns. An id that
 * equals that of another row only by the collation fails the statement, by a subquery of two rows, so that row is not
 * overwritten.
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

/** How far the clock is ahead of UTC; `null` for a task that is not finished, which has no date. */
export function secondsAhead({ clock }: Store, { status }: TaskWrite): number | null {
  return READY_STATES.has(status) ? clock.offsetAt(Date.now()) / 1_000 : null
}

/** The same as `sha2(result, 256)`. */
export function digestOf(result: Uint8Array | null): string | null {
  return result === null ? null : createHash('sha256').update(result).digest('hex')
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
 * The server's time on a clock that is some seconds ahead of UTC, in any zone of the session; NULL for NULL.
 */
export const NOW = '(utc_timestamp(6) + interval ? second)'

/** Finds the row with this id, by the index and then byte for byte; takes the id twice. */
export function isExactly(column: string): string {
  return `${column} = ? and ${bytesOf(column)} = ${bytesOf('?')}`
}

/**
 * Finds the rows with these ids, and with those that are equal by the collation; takes the ids `padded`.
 */
export function isAmong(ids: readonly string[]): string {
  return `t.task_id in (${padded(ids)
    .map(() => '?')
    .join(', ')})`
}

/** Repeats the last id up to a power of two, so that there are few texts to prepare. */
export function padded(ids: readonly string[]): string[] {
  const size = 2 ** Math.ceil(Math.log2(Math.max(ids.length, 1)))
  return [...ids, ...Array<string>(size - ids.length).fill(ids.at(-1) ?? '')]
}

/** The row is in no ready state. */
function isOpen(status: string): string {
  return `(${status} is null or ${bytesOf(status)} not in ${READY})`
}

/** The bytes of a text, to compare it without a collation; in UTF-8 whatever the charset of its column. */
export function bytesOf(text: string): string {
  return `cast(convert(${text} using utf8mb4) as binary)`
}

export function nextOf(schema: string | undefined, sequence: string): string {
  return `nextval(${qualified(schema, sequence)})`
}

export const { qualified } = namesBy(quoteBy('`'))
