import { StatementError } from '../errors.ts'

/** The columns that hold texts. */
export type TextColumn = 'taskId' | 'groupId' | 'status' | 'traceback' | 'name' | 'worker' | 'queue'

/**
 * A text as its column can hold it. PostgreSQL refuses NUL and every driver a lone surrogate, so each of them becomes
 * U+FFFD, the replacement character: a failure is stored whatever its traceback holds. Ids are compared, so they are refused
 * instead.
 *
 * @throws StatementError (`INVALID_PARAMETER`) for an id with such a character, for an id or a status that is missing or empty,
 * for what is no text, and for a text that is longer than its column: 155 characters, 50 for a status; also where SQLite
 * would take it
 */
export function guardText(column: TextColumn, text: string): string
export function guardText(column: TextColumn, text: string | null | undefined): string | null
export function guardText(column: TextColumn, text: string | null | undefined): string | null {
  const { words, most, isId, isRequired } = COLUMNS[column]
  if (isRequired && (text === null || text === undefined || text === '')) {
    throw refusal(words, 'it is missing or empty')
  }
  if (text === null || text === undefined) return null
  if (typeof text !== 'string') throw refusal(words, 'it is no text')
  if (isId && UNSTORABLE.test(text)) {
    throw refusal(words, 'it holds NUL or half a surrogate pair, which no database takes')
  }
  if (isLonger(text, most)) throw refusal(words, `it is longer than the ${most} characters of its column`)
  return cleanText(text)
}

/** A text without NUL and lone surrogates: U+FFFD stands in their places. */
export function cleanText(text: string): string {
  return text.replace(EVERY_UNSTORABLE, '\ufffd')
}

interface ColumnRule {
  readonly words: string
  /** Characters, as Python and the databases count them: a surrogate pair is one. */
  readonly most: number
  readonly isId: boolean
  /** Whether it must not be missing or empty. */
  readonly isRequired: boolean
}

const COLUMNS: Readonly<Record<TextColumn, ColumnRule>> = {
  taskId: { words: 'the id of the task', most: 155, isId: true, isRequired: true },
  groupId: { words: 'the id of the group', most: 155, isId: true, isRequired: true },
  status: { words: 'the status', most: 50, isId: false, isRequired: true },
  traceback: { words: 'the traceback', most: Number.POSITIVE_INFINITY, isId: false, isRequired: false },
  name: { words: 'the name of the task', most: 155, isId: false, isRequired: false },
  worker: { words: 'the name of the worker', most: 155, isId: false, isRequired: false },
  queue: { words: 'the name of the queue', most: 155, isId: false, isRequired: false },
}

const UNSTORABLE = /[\0\p{Surrogate}]/u
const EVERY_UNSTORABLE = /[\0\p{Surrogate}]/gu

function isLonger(text: string, most: number): boolean {
  if (text.length <= most) return false
  return text.length > most * 2 || [...text].length > most
}

function refusal(words: string, reason: string): StatementError {
  return new StatementError('INVALID_PARAMETER', `Cannot store ${words}: ${reason}`)
}

/** Whether a row can have this id: PostgreSQL fails on one with NUL or half a surrogate pair. */
export function isStorable(id: string): boolean {
  return !UNSTORABLE.test(id)
}
