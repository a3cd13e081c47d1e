import { is, SQL } from 'drizzle-orm'
import {
  SQLiteBlobJson,
  SQLiteBoolean,
  type SQLiteColumn,
  SQLiteNumericBigInt,
  SQLiteNumericNumber,
  SQLiteTextJson,
} from 'drizzle-orm/sqlite-core'
import { unsupported } from '../definition.ts'
import { constantText, literal } from './text.ts'

/**
 * What stands behind DEFAULT; undefined for a column without one. It is drizzle-kit's text wherever Drizzle reads that
 * as the value of the model, and else what Drizzle would have sent: for dates, bytes, null and custom types.
 */
export function defaultText(table: string, column: SQLiteColumn): string | undefined {
  const value: unknown = column.default
  if (value === undefined) return undefined

  const what = `the default of its column "${column.name}"`
  let sent: unknown
  try {
    sent = is(value, SQL) ? value : valueSent(column, value)
  } catch (error) {
    throw unsupported(table, `${what} cannot be converted (${error})`)
  }
  if (is(sent, SQL)) return expression(constantText(sent, { owner: table, what }).trim())

  const text = literal(sent)
  if (text === undefined) throw unsupported(table, `${what} is no plain value`)
  return text
}

/** Whether a column with this default can be added to a table with rows: SQLite runs no expression for them. */
export function isConstant(text: string): boolean {
  return CONSTANT.test(text)
}

/** Whether a default is no more than the lack of one. */
export function isNull(text: string): boolean {
  return /^[(\s]*null[)\s]*$/i.test(text)
}

const NUMBER = String.raw`[+-]?\s*(?:0x[\da-f]+|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)`
const QUOTED = `x?'(?:[^']|'')*'`
const CONSTANT = new RegExp(String.raw`^[(\s]*(?:${NUMBER}|${QUOTED}|null|true|false)[)\s]*$`, 'i')

/** What SQLite takes without parentheses: a literal, or one word. */
const BARE = new RegExp(String.raw`^(?:${NUMBER}|${QUOTED}|"(?:[^"]|"")*"|[a-z_]\w*)$`, 'i')

function expression(text: string): string {
  return BARE.test(text) || isParenthesised(text) ? text : `(${text})`
}

/** Whether the first parenthesis is closed by the last. */
function isParenthesised(text: string): boolean {
  const bare = text.replace(/'(?:[^']|'')*'|"(?:[^"]|"")*"/g, '""')
  let depth = 0
  for (let at = 0; at < bare.length; at++) {
    if (bare[at] === '(') depth += 1
    if (bare[at] === ')') depth -= 1
    if (depth === 0) return bare[at] === ')' && at === bare.length - 1
  }
  return false
}

function valueSent(column: SQLiteColumn, value: unknown): unknown {
  if (is(column, SQLiteTextJson)) return typeof value === 'number' ? value : JSON.stringify(value)
  if (is(column, SQLiteBlobJson)) return JSON.stringify(value)
  return value === null || WRITTEN_AS_THEY_ARE.some((type) => is(column, type))
    ? value
    : column.mapToDriverValue(value)
}

/** Drizzle sends 1 for true and a text for a number; SQLite stores the same for both. */
const WRITTEN_AS_THEY_ARE = [SQLiteBoolean, SQLiteNumericNumber, SQLiteNumericBigInt]
