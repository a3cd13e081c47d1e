import { is, SQL } from 'drizzle-orm'
import { unsupported } from '../definition.ts'
import type { ColumnType } from './column-type.ts'
import type { Column, TableModel } from './table-model.ts'
import { ddlText, literal, operand } from './text.ts'

/** What stands behind DEFAULT; undefined for a column without one. */
export function defaultText(
  { name: table, casing }: TableModel,
  column: Column,
  type: ColumnType,
): string | undefined {
  const value: unknown = column.default
  if (value === undefined) return undefined

  const what = `the default of its column "${column.name}"`
  const sent = is(value, SQL) ? value : valueSent(table, what, column, value)
  if (is(sent, SQL)) {
    return expression(ddlText(sent, { owner: table, what, casing, isUnqualified: true }).trim(), type)
  }
  const isExpression = sent !== null && TAKES_NO_LITERAL.test(type.text)
  const text = isExpression ? operand(sent) : literal(sent)
  if (text === undefined) throw unsupported(table, `${what} cannot be written down`)
  return isExpression ? `(${text})` : text
}

/** Whether a default is no more than the lack of one. */
export function isNull(text: string): boolean {
  return /^[(\s]*null[)\s]*$/i.test(text)
}

/** MySQL gives these an expression for their default, or none. */
const TAKES_NO_LITERAL = /^(?:tiny|medium|long)?(?:text|blob)\b|^json\b/i

const TAKES_NOW = /^(?:datetime|timestamp)\b/i
const NOW =
  /^(?:current_timestamp|now|localtime|localtimestamp)(?:\s*\(\s*\d*\s*\))?(?:\s+on\s+update\s.*)?$/i
const LITERAL =
  /^(?:[+-]?\s*(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|(?:_\w+\s*)?(?:[xbn]?'(?:[^'\\]|'')*')|0x[\da-f]+|null|true|false)$/i

/** MySQL wants all but a literal, or the time for a column of times, in parentheses. */
function expression(text: string, type: ColumnType): string {
  const isBare = NOW.test(text)
    ? TAKES_NOW.test(type.text)
    : LITERAL.test(text) && (isNull(text) || !TAKES_NO_LITERAL.test(type.text))
  return isBare || isParenthesised(text) ? text : `(${text})`
}

/** Whether the first parenthesis is closed by the last; a default may go on behind it with `on update`. */
export function isParenthesised(text: string): boolean {
  const bare = text.replace(/'(?:[^'\\]|''|\\.)*'|"(?:[^"\\]|""|\\.)*"|`(?:[^`]|``)*`/gs, "''")
  let depth = 0
  for (let at = 0; at < bare.length; at++) {
    if (bare[at] === '(') depth += 1
    if (bare[at] === ')') depth -= 1
    if (depth === 0) return bare[at] === ')' && /^(?:\s+on\s+update\s.*)?$/is.test(bare.slice(at + 1))
  }
  return false
}

/** What an insert would send, cut to what the column keeps. */
function valueSent(table: string, what: string, column: Column, value: unknown): unknown {
  const type = column.getSQLType().toLowerCase()
  if (value === null) return null
  if (type === 'json') return jsonText(table, what, value)

  let sent: unknown
  try {
    sent = typeof column.mapToDriverValue === 'function' ? column.mapToDriverValue(value) : value
  } catch (error) {
    throw unsupported(table, `${what} cannot be converted (${error})`)
  }
  const text = sent instanceof Date ? sent.toISOString().slice(0, -1).replace('T', ' ') : sent
  if (!(value instanceof Date) || typeof text !== 'string') return text
  if (type === 'date') return text.slice(0, 'YYYY-MM-DD'.length)
  return TAKES_NOW.test(type) ? withDigits(text, Number(/\((\d)\)/.exec(type)?.[1] ?? 0)) : text
}

function jsonText(table: string, what: string, value: unknown): string {
  try {
    const text: unknown = JSON.stringify(value)
    if (typeof text === 'string') return text
  } catch {
    // Says the same as what follows.
  }
  throw unsupported(table, `${what} is no JSON`)
}

/** A time with so many digits of its second. MySQL rounds what is beyond, MariaDB cuts it off. */
function withDigits(text: string, digits: number): string {
  const [seconds = '', fraction = ''] = text.split('.')
  return digits === 0 ? seconds : `${seconds}.${fraction.slice(0, digits)}`
}
