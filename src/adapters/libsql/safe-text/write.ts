import type { Column } from './column.ts'
import { GUARDS } from './guard.ts'
import { readerOf } from './read-result.ts'
import { plain, type Reading, type Unlearned } from './reading.ts'
import { isColumn, splitItems, type Text, type Token } from './tokens.ts'

/** Writes bring rows only by `returning`, whose items are guarded where they stand: there is no frame for a write. */
export function writeForm(text: Text, verb: string): Reading | Unlearned {
  const { sql, tokens } = text
  const at = tokens.findLastIndex(({ word, depth }) => depth === 0 && word === 'returning')
  if (at === -1) return plain(sql, true)
  const items = splitItems(tokens.slice(at + 1)).map((item) => returned(sql, item))
  if (items.some((item) => item === null)) return plain(sql, true)
  const known = items.filter((item) => item !== null)
  if (known.every(({ name }) => name !== '*')) return returning(text, known)

  const table = targetOf(sql, tokens, verb)
  if (table === null) return plain(sql, true)
  return {
    text: sql,
    describe: `select * from ${table} limit 0`,
    isLasting: false,
    writes: true,
    reading: (columns) => returning(text, known, columns),
  }
}

/** An item of `returning`. */
interface Returned {
  readonly start: number
  readonly end: number
  /** What its column is called; `*` for all columns. */
  readonly name: string
  readonly guarded: string
}

function returned(sql: string, item: readonly Token[]): Returned | null {
  const [first, last] = [item[0], item.at(-1)]
  if (first === undefined || last === undefined) return null
  const place = { start: first.start, end: last.end }
  if (item.length === 1 && first.text === '*') return { ...place, name: '*', guarded: '*' }
  if (isColumn(item)) {
    return { ...place, name: nameOf(last), guarded: GUARDS.hex(sql.slice(first.start, last.end)) }
  }

  const before = item.at(-2)
  const hasAs = before?.word === 'as' && last.isName
  const isNamed = hasAs || (last.isName && before !== undefined && (before.isName || before.text === ')'))
  const inner = isNamed ? item.slice(0, hasAs ? -2 : -1) : item
  const end = inner.at(-1)?.end
  if (end === undefined) return null
  const expression = sql.slice(first.start, end)
  const guarded = isColumn(inner)
    ? GUARDS.hex(expression)
    : `(select ${GUARDS.hex('dc_')} from (select ${expression} as dc_))`
  return { ...place, name: isNamed ? nameOf(last) : expression, guarded }
}

function returning({ sql }: Text, items: readonly Returned[], columns: readonly Column[] = []): Reading {
  const all = columns.map(({ name }) => GUARDS.hex(`"${name.replaceAll('"', '""')}"`)).join(',')
  const names = items.flatMap(({ name }) => (name === '*' ? columns : [{ name, type: '' }]))
  return {
    sql: replaced(sql, items, (_, at) => {
      const item = items[at]
      return item === undefined || item.name === '*' ? all : item.guarded
    }),
    writes: true,
    isDdl: false,
    isLearned: false,
    read: readerOf(
      names,
      names.map(() => 'hex'),
    ),
  }
}

/** The table a write goes to, as it is written. */
function targetOf(sql: string, tokens: readonly Token[], verb: string): string | null {
  const at = tokens.findIndex(({ word, depth }) => depth === 0 && word === verb)
  let from = tokens.findIndex((token, index) => index > at && token.depth === 0 && isTargetWord(verb, token))
  if (verb === 'update') from = tokens[at + 1]?.word === 'or' ? at + 2 : at
  const first = tokens[from + 1]
  if (from === -1 || first === undefined) return null
  const last = tokens[from + 2]?.text === '.' ? tokens[from + 3] : first
  return sql.slice(first.start, last?.end)
}

function isTargetWord(verb: string, { word }: Token): boolean {
  return word === (verb === 'delete' ? 'from' : 'into')
}

/** The text with other text where items stand. */
function replaced(
  sql: string,
  items: readonly { readonly start: number; readonly end: number }[],
  by: (item: string, at: number) => string,
): string {
  let result = ''
  let done = 0
  for (const [at, { start, end }] of items.entries()) {
    result += sql.slice(done, start) + by(sql.slice(start, end), at)
    done = end
  }
  return result + sql.slice(done)
}

function nameOf({ text }: Token): string {
  const quote = text[0] === '[' ? ']' : text[0]
  if (!/^["`'[]/.test(text) || quote === undefined) return text
  return text.slice(1, -1).replaceAll(quote + quote, quote)
}
