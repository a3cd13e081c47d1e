import type { Column } from './column.ts'
import { GUARDS, guardOf } from './guard.ts'
import { PACKINGS, packingOf } from './packing.ts'
import { readerOf, unpackerOf } from './read-result.ts'
import { plain, type Reading, type Unlearned } from './reading.ts'
import { isColumn, splitItems, type Text, type Token } from './tokens.ts'

/** How a statement is run that does nothing but read. */
export function selectForm(text: Text): Reading | Unlearned {
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
function listReading({ sql }: Text, list: readonly Item[], columns: readonly Column[]): Reading {
  const names = list.map(({ start, end }) => sql.slice(start, end))
  const [before, after] = [sql.slice(0, list[0]?.start), sql.slice(list.at(-1)?.end)]
  return learned(names, columns, (items) => `${before}${items}${after}`)
}

/**
 * The statement stays as it is, in a frame that guards its columns. Where there are expressions among them the frame
 * must not be merged with it: they would be computed more than once.
 */
function framedReading({ body }: Text, columns: readonly Column[]): Reading {
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
): Reading {
  const base = { writes: false, isDdl: false, isLearned: true }
  const guards = columns.map(guardOf)
  const guarded = names.map((name, at) => GUARDS[guards[at] ?? 'exact'](name))
  const exact: Reading = { ...base, sql: select(guarded), read: readerOf(columns, guards) }
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
