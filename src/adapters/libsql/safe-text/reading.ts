import type { ResultSet } from '../client.ts'
import type { Column } from './column.ts'
import { type Fit, readerOf } from './read-result.ts'

/** How a text is run, and its result read. */
export interface Reading {
  /** What the driver is given instead. */
  readonly sql: string
  /** It may write: it has to wait for its turn. */
  readonly writes: boolean
  /** It may change tables. */
  readonly isDdl: boolean
  /** It was made from what the tables looked like once. */
  readonly isLearned: boolean
  /** Turns the driver's result, in place, into what the text asked for. */
  read(result: ResultSet): Fit
  /** The same without packing. */
  readonly exact?: Reading
}

/** A text about whose columns the database must be asked first. */
export interface Unlearned {
  readonly text: string
  /** Runs without touching a row; its result has the columns. */
  readonly describe: string
  /** The columns cannot change behind our back. */
  readonly isLasting: boolean
  readonly writes: boolean
  reading(columns: readonly Column[]): Reading
}

/** A statement that brings no text, or none that others wrote. */
export function plain(sql: string, writes: boolean, isDdl = false): Reading {
  const read = readerOf(null, [])
  return { sql, writes, isDdl, isLearned: false, read }
}
