import { StatementError } from '../../../errors.ts'
import { type Column, GUARDS, guardOf, PACKINGS, packingOf } from './columns.ts'
import { plain, type RewritePlan, readerOf, type UnknownColumns, unpackerOf } from './result.ts'
import { isColumn, splitItems, type Text, type Token, tokensOf } from './tokens.ts'

/**
 * How a text is run, as far as the text itself shows.
 * @throws StatementError when it holds several statements
 */
export function formOf(sql: string, guards: boolean): RewritePlan | UnknownColumns {
  const tokens = tokensOf(sql)
  // SQLite will say what is wrong with it; nothing of it runs before that.
  if (tokens === null) return plain(sql, true)
  while (tokens[0]?.text === ';') tokens.shift()
  while (tokens.at(-1)?.text === ';') tokens.pop()
  const first = tokens[0]
  const last = tokens.at(-1)
  if (first === undefined || last === undefined) return plain(sql, false)

  const verb = verbOf(tokens)
  if (verb !== 'create' || !tokens.some(isWord('trigger'))) refuseSeveral(tokens)
  if (!isBalanced(tokens)) return plain(sql, true)
  if (!guards) return plain(sql, !READERS.has(verb), DDL.has(verb))
  const text: Text = { sql, tokens, body: sql.slice(first.start, last.end) }
  if (verb === 'select' || verb === 'values') return selectForm(text)
  if (WRITERS.has(verb)) return writeForm(text, verb)
  return plain(sql, !READERS.has(verb), DDL.has(verb))
}

const READERS = new Set(['select', 'values', 'explain', 'pragma'])
const WRITERS = new Set(['insert', 'replace', 'update', 'delete'])
const DDL = new Set(['create', 'alter', 'drop'])

/** The word that says what a statement does; behind `with`, that of its main part. */
function verbOf(tokens: readonly Token[]): string {
  const first = tokens[0]?.word ?? ''
  if (first !== 'with') return first
  const main = tokens.find(({ word, depth }) => depth === 0 && (READERS.has(word) || WRITERS.has(word)))
  return main?.word ?? ''
}

function refuseSeveral(tokens: readonly Token[]): void {
  if (!tokens.some(({ text }) => text === ';')) return
  throw new StatementError(
    'INVALID_STATEMENT',
    'Cannot run several statements at once: libSQL would run the first and ignore the others. ' +
      'Run them one by one, or with batch() or executeMultiple() of db.$client.',
  )
}

function isBalanced(tokens: readonly Token[]): boolean {
  const parentheses = tokens.filter(({ text }) => text === '(' || text === ')')
  const opened = parentheses.filter(({ text }) => text === '(').length
  return opened * 2 === parentheses.length && tokens.every(({ depth }) => depth >= 0)
}

function isWord(word: string): (token: Token) => boolean {
  return (token) => token.word === word
}

/** How a statement is run that does nothing but read. */
function selectForm(text: Text): RewritePlan | UnknownColumns {
  const list = plainList(text)
  if (list?.every(({ isSafe }) => isSafe)) return plain(text.sql, false)
  const describe = `select * from (${text.body}) limit 0`
  const base = { text: text.sql, describe, writes: false }
  if (list !== null)
    return { ...base, isLasting: true, reading: (columns) => listReading(text, list, columns) }
  // With a star in the list the columns are those of the moment.
  return { ...base, isLasting: !hasStar(text.tokens), reading: (columns) => framedReading(text, columns) }
}

/** An item of a list of columns, as it stands in the text. */
interface Item {
  readonly start: number
  readonly end: number
  /** It is a number or a count: nothing that needs a guard. */
  readonly isSafe: boolean
}

/**
 * The items of a `select` whose columns can be guarded where they stand: plain columns and what is surely no text,
 * without other names. `null` where that might change what is ordered, grouped, or taken for the same.
 */
function plainList({ tokens }: Text): Item[] | null {
  if (tokens[0]?.word !== 'select') return null
  const outer = tokens.filter(({ depth }) => depth === 0)
  if (outer.some(({ word }) => COMPOUND.has(word))) return null
  const ordering = outer.slice(outer.findIndex(({ word }) => word === 'order' || word === 'group') + 1)
  if (ordering.length < outer.length && ordering.some(isPosition)) return null

  const from = tokens.findIndex(({ word, depth }) => depth === 0 && word === 'from')
  const items = splitItems(tokens.slice(1, from === -1 ? undefined : from))
  const list: Item[] = []
  for (const item of items) {
    const [start, end] = [item[0]?.start, item.at(-1)?.end]
    const isSafe = isNeverText(item)
    if (start === undefined || end === undefined || !(isSafe || isColumn(item))) return null
    list.push({ start, end, isSafe })
  }
  return list
}

const COMPOUND = new Set(['distinct', 'union', 'intersect', 'except', 'with'])

/** `order by 1`: the first column, whatever it is then. */
function isPosition(token: Token, at: number, tokens: readonly Token[]): boolean {
  const before = tokens[at - 1]
  return /^\d/.test(token.text) && (before?.word === 'by' || before?.text === ',')
}

const NUMERIC = new Set(['count', 'sum', 'avg', 'total', 'length'])

/** A whole number, or one call of a function that gives numbers only. */
function isNeverText(item: readonly Token[]): boolean {
  const [first, second] = item
  if (item.length === 1) return /^\d+$/.test(first?.text ?? '')
  if (first === undefined || second?.text !== '(' || !NUMERIC.has(first.word)) return false
  return item.findIndex((token, at) => at > 1 && token.text === ')' && token.depth === 0) === item.length - 1
}

function hasStar(tokens: readonly Token[]): boolean {
  return tokens.some(({ text }, at) => {
    const before = tokens[at - 1]
    return text === '*' && (before === undefined || /^[.,]$/.test(before.text) || STARRED.has(before.word))
  })
}

const STARRED = new Set(['select', 'distinct', 'all'])

/** The columns are guarded where they stand. */
function listReading({ sql }: Text, list: readonly Item[], columns: readonly Column[]): RewritePlan {
  const names = list.map(({ start, end }) => sql.slice(start, end))
  const [before, after] = [sql.slice(0, list[0]?.start), sql.slice(list.at(-1)?.end)]
  return learned(names, columns, (items) => `${before}${items}${after}`)
}

/**
 * The statement stays as it is, in a frame that guards its columns. Where there are expressions among them the frame
 * must not be merged with it: they would be computed more than once.
 */
function framedReading({ body }: Text, columns: readonly Column[]): RewritePlan {
  const names = columns.map((_, at) => `c${at}`)
  const materialized = columns.some(({ type }) => type === '') ? ' materialized' : ''
  return learned(
    names,
    columns,
    (items) => `with dc_(${names}) as${materialized} (${body}) select ${items} from dc_`,
  )
}

/** Fewer are read faster by themselves: a pack is a text to be made and parsed for each row. */
const LEAST_PACKED = 3
/** More would be too many arguments for a function. */
const MOST_PACKED = 100

function learned(
  names: readonly string[],
  columns: readonly Column[],
  select: (items: readonly string[]) => string,
): RewritePlan {
  const base = { writes: false, isDdl: false, isLearned: true }
  const guards = columns.map(guardOf)
  const guarded = names.map((name, at) => GUARDS[guards[at] ?? 'exact'](name))
  const exact: RewritePlan = { ...base, sql: select(guarded), read: readerOf(columns, guards) }
  const packings = columns.map(packingOf)
  const packable = packings.filter((packing) => packing !== 'own').length
  if (packable < LEAST_PACKED || columns.length > MOST_PACKED) return exact

  const packed: string[] = []
  const own: string[] = []
  for (const [at, name] of names.entries()) {
    const packing = packings[at] ?? 'own'
    if (packing === 'own') own.push(guarded[at] ?? name)
    else packed.push(PACKINGS[packing](name))
  }
  const items = [`cast(json_array(${packed}) as blob)`, ...own]
  return { ...base, sql: select(items), read: unpackerOf(columns, packings, guards), exact }
}

/** Writes bring rows only by `returning`, whose items are guarded where they stand: there is no frame for a write. */
function writeForm(text: Text, verb: string): RewritePlan | UnknownColumns {
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
  const location = { start: first.start, end: last.end }
  if (item.length === 1 && first.text === '*') return { ...location, name: '*', guarded: '*' }
  if (isColumn(item)) {
    return { ...location, name: nameOf(last), guarded: GUARDS.hex(sql.slice(first.start, last.end)) }
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
  return { ...location, name: isNamed ? nameOf(last) : expression, guarded }
}

function returning({ sql }: Text, items: readonly Returned[], columns: readonly Column[] = []): RewritePlan {
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
